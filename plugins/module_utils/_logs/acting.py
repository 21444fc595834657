# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The acting half of a clean-up run: the plan's files, each looked at once more, and what came of them."""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import threading
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._logs import report, writers
from ansible_collections.sre.runbooks.plugins.module_utils._logs.actions import ACTIONS, CHANGED, Left, Tools
from ansible_collections.sre.runbooks.plugins.module_utils._logs.folders import open_folder
from ansible_collections.sre.runbooks.plugins.module_utils._logs.plan import OPEN, Block, Folder, Plan, still_meant

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._logs.actions import File

RunCommand = t.Callable[..., tuple[int, str, str]]
FAILURES = 10
EXACT = 20_000  # files; up to so many the kernel is asked about writers for each, for 5 µs
LOOK_EVERY = 256  # files


class Done:
    """What came of one policy.

    Files acted on, their bytes and those freed, files left (reason to number), failures (`FAILURES` told at most), files
    that were emptied below a writer without O_APPEND (`holes`).
    """

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0
        self.freed = 0
        self.holes = 0
        self.left: collections.Counter[str] = collections.Counter()
        self.faults = 0
        self.failures: list[str] = []

    def fail(self, path: str, reason: str) -> None:
        """Note a file that somebody should see to."""
        self.faults += 1
        if len(self.failures) < FAILURES:
            self.failures.append(f"{report.show(path)}: {reason}")

    def add(self, other: Done) -> None:
        """Count what came of a part."""
        self.files += other.files
        self.bytes += other.bytes
        self.freed += other.freed
        self.holes += other.holes
        self.left += other.left
        self.faults += other.faults
        self.failures = [*self.failures, *other.failures][:FAILURES]


class Part(Done):
    """What comes of the files of one folder."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder

    def acted(self, size: int, freed: int) -> None:
        """A file of `size` bytes is done with."""
        self.files += 1
        self.bytes += size
        self.freed += freed

    def refused(self, name: str, error: OSError | RunbookError) -> None:
        """A file stays."""
        if isinstance(error, FileNotFoundError):
            self.left["gone"] += 1
        elif isinstance(error, Left) and not error.fault:
            self.left[str(error)] += 1
        else:
            reason = str(error) if isinstance(error, RunbookError) else error.strerror or str(error)
            self.fail(f"{self._folder}/{name}", reason)


class Acting:
    """Acts on blocks of a plan, in one thread or several; never on more than `room` files in all."""

    def __init__(self, plan: Plan, run_command: RunCommand, results: t.Sequence[Done], room: int) -> None:
        self._plan = plan
        self._run_command = run_command
        self._results = results
        self._room = room
        self._exact = plan.chosen_files <= EXACT
        self._watch = writers.Watch()
        truncates = any(policy.action == "truncate" for policy in plan.policies)
        self._unappended = writers.look().unappended if truncates else frozenset()
        self._lock = threading.Lock()
        self.problem: BaseException | None = None

    def work(self, folders: t.Iterable[t.Iterable[Block]]) -> None:
        """Act on the blocks of folders, one after the other."""
        try:
            for block in itertools.chain.from_iterable(folders):
                self._block(block)
        except BaseException as error:
            self.problem = error
            if threading.current_thread() is threading.main_thread():
                raise

    def _block(self, block: Block) -> None:
        with self._lock:
            granted = min(self._room, len(block.inodes))
            self._room -= granted
        if granted <= 0:
            return
        part = Part(block.folder.path)
        try:
            with opened(block.folder) as descriptor:
                self._act(descriptor, block, granted, part)
        except Left as error:
            part.left[str(error)] += len(block.inodes)
        except RunbookError as error:
            part.fail(block.folder.path, str(error))
        except OSError as error:
            part.fail(block.folder.path, error.strerror or str(error))
        with self._lock:
            self._results[block.rank].add(part)
            self._room += granted - part.files

    def _act(self, descriptor: int, block: Block, granted: int, part: Part) -> None:
        policy, before_ns = self._plan.policies[block.rank], self._plan.before_ns[block.rank]
        tools = Tools(
            self._run_command, policy, block.folder, block.device, self._exact,
            lambda status: still_meant(policy, before_ns, status),
        )  # fmt: skip
        files: t.Iterable[File] = itertools.islice(block.files(), granted)
        files = (
            self._open(files, block.device, part) if policy.action == "truncate" else self._closed(files, block, part)
        )
        ACTIONS[policy.action](descriptor, files, tools, part)

    def _closed(self, files: t.Iterable[File], block: Block, part: Part) -> t.Iterator[File]:
        """Leave out what processes have open for writing, as of about a second ago."""
        inodes: set[int] = set()
        for number, file in enumerate(files):
            if number % LOOK_EVERY == 0:
                inodes = {inode for device, inode in self._watch.files() if device == block.device}
            if file[1] in inodes:
                part.left[OPEN] += 1
            else:
                yield file

    def _open(self, files: t.Iterable[File], device: int, part: Part) -> t.Iterator[File]:
        """Count what will have a hole as soon as its writer goes on."""
        for file in files:
            acted = part.files
            yield file
            part.holes += part.files > acted and (device, file[1]) in self._unappended


@contextlib.contextmanager
def opened(folder: Folder) -> t.Iterator[int]:
    """The folder of the plan; `Left` when another one has its place now."""
    descriptor = open_folder(folder.path)
    try:
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) != (folder.device, folder.inode):
            raise Left(f"folder {CHANGED}")
        yield descriptor
    finally:
        os.close(descriptor)
