# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A clean-up run: look, plan, act, and say what came of it."""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import threading
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import lock, outcome, state
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import require
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import MissingProgram, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._logs import report, writers
from ansible_collections.sre.runbooks.plugins.module_utils._logs.actions import ACTIONS, CHANGED, Left, Tools
from ansible_collections.sre.runbooks.plugins.module_utils._logs.folders import FolderError, Look, open_folder
from ansible_collections.sre.runbooks.plugins.module_utils._logs.plan import (
    OPEN,
    Block,
    Chooser,
    Folder,
    Plan,
    passed_limits,
    still_meant,
)

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._logs.actions import File
    from ansible_collections.sre.runbooks.plugins.module_utils._logs.caps import Cap
    from ansible_collections.sre.runbooks.plugins.module_utils._logs.containers import Containers, Wish
    from ansible_collections.sre.runbooks.plugins.module_utils._logs.policy import Limits, Policy

RunCommand = t.Callable[..., tuple[int, str, str]]
FAILURES = 10
WORKERS = 4
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


class Work(t.NamedTuple):
    """What a user asks of a run."""

    policies: t.Sequence[Policy]
    limits: Limits
    containers: Wish | None = None


def run(work: Work, state_dir: str | None, run_command: RunCommand, check_mode: bool) -> dict[str, t.Any]:
    """Clean up and return the envelope with a `diff`; `Busy` while another run does."""
    if check_mode:
        return _run(work, run_command, True)
    with lock.hold(state.directory(state_dir), "log_cleanup"), writers.lease_breaks_ignored():
        return _run(work, run_command, False)


def _run(work: Work, run_command: RunCommand, check_mode: bool) -> dict[str, t.Any]:
    now, policies = time.time(), work.policies
    missing = _missing_means(policies)
    open_files = writers.look()
    plan = observe(policies, now, open_files)
    containers = _containers(work.containers, run_command)
    results = [Done() for _each in policies]
    refusal = passed_limits(plan, work.limits, containers.planned_bytes if containers else 0)
    swept = 0
    if not check_mode and not refusal:
        swept = _rounds(plan, now, run_command, results, missing)
    outcomes = [
        report.tell(policy, tally, None if check_mode else done, refusal, missing.get(rank, ""), open_files.hidden)
        for rank, (policy, tally, done) in enumerate(zip(policies, plan.tallies, results))
    ]
    if check_mode:
        changed = not refusal and bool(plan.leftovers or _possible(plan, missing))
    else:
        changed = bool(swept or any(done.files for done in results))
    if containers:
        told, pruned = containers.tell(refusal, check_mode)
        outcomes.append(told)
        changed = changed or pruned
    return outcome.envelope(outcomes, changed, diff=report.difference(plan, bool(refusal)))


def _containers(wish: Wish | None, run_command: RunCommand) -> Containers | None:
    if wish is None:
        return None
    from ansible_collections.sre.runbooks.plugins.module_utils._logs import containers

    return containers.Containers(wish, run_command)


def _possible(plan: Plan, missing: t.Mapping[int, str]) -> int:
    return sum(tally.chosen_files for rank, tally in enumerate(plan.tallies) if rank not in missing)


def _missing_means(policies: t.Sequence[Policy]) -> dict[int, str]:
    """Policies (by number) that cannot work on this host, with the reason."""
    missing = {}
    for rank, policy in enumerate(policies):
        if policy.action == "compress" and policy.compression == "zstd":
            try:
                require("zstd")
            except MissingProgram as error:
                missing[rank] = str(error)
        if policy.archive_dir is not None and os.path.lexists(policy.archive_dir):
            try:
                os.close(open_folder(policy.archive_dir))
            except FolderError as error:
                missing[rank] = str(error)
    return missing


def observe(policies: t.Sequence[Policy], now: float, open_files: writers.Writers, capacity: int | None = None) -> Plan:
    """Look through the folders and plan; nothing is changed. `now` is in seconds since the epoch.

    Where a policy caps a sum of sizes, a look before the look finds out where the cap cuts.
    """
    caps = _caps(policies, now, open_files) if any(policy.max_total is not None for policy in policies) else {}
    plan = Plan(policies) if capacity is None else Plan(policies, capacity)
    Look(plan, Chooser(plan, now, open_files.files, caps)).run()
    return plan


def _caps(policies: t.Sequence[Policy], now: float, open_files: writers.Writers) -> dict[int, Cap | None]:
    plan = Plan(policies, 0)
    chooser = Chooser(plan, now, open_files.files)
    Look(plan, chooser).run()
    return {rank: sizes.cap(policies[rank].max_total or 0) for rank, sizes in chooser.sizes.items()}


def _rounds(
    plan: Plan, now: float, run_command: RunCommand, results: t.Sequence[Done], missing: t.Mapping[int, str]
) -> int:
    """Act, and look again for what did not fit into the plan or came back from a killed run; return files swept.

    The limits held for the first look at everything; later rounds never act on more files than that found.
    """
    allowance, swept_all = plan.chosen_files, 0
    while True:
        before = sum(done.files for done in results)
        swept, restored = sweep(plan)
        swept_all += swept
        allowance += restored
        if plan.blocks:
            apply(plan, run_command, results, missing, allowance - before)
        acted = sum(done.files for done in results) - before
        if not restored and not (plan.truncated and acted):
            return swept_all
        plan = observe(plan.policies, now, writers.look(), None)


def sweep(plan: Plan) -> tuple[int, int]:
    """Clear away what killed runs left; return how many files, and how many of them are sources put back."""
    from ansible_collections.sre.runbooks.plugins.module_utils._logs import retire

    swept = restored = 0
    for folder, name in plan.leftovers:
        with contextlib.suppress(OSError, FolderError, Left), _opened(folder) as descriptor:
            back = retire.sweep(descriptor, name)
            restored += back
            swept += not os.path.lexists(f"/proc/self/fd/{descriptor}/{name}")
    return swept, restored


def apply(
    plan: Plan,
    run_command: RunCommand,
    results: t.Sequence[Done],
    missing: t.Mapping[int, str] | None = None,
    allowance: int | None = None,
) -> None:
    """Act on the plan's files, each looked at once more, and count in `results` what came of it."""
    blocks = [block for block in plan.blocks if block.rank not in (missing or {})]
    acting = Acting(plan, run_command, results, plan.chosen_files if allowance is None else allowance)
    # What is looked at waits for nobody, what is deleted waits for the disk: in several folders at once that is half the
    # time. In one folder the kernel lets one in after the other anyway, and the waiting makes it slower.
    folders = [list(group) for _folder, group in itertools.groupby(blocks, key=lambda block: block.folder)]
    deleting = all(plan.policies[block.rank].action == "delete" for block in blocks)
    workers = min(WORKERS, os.cpu_count() or 1, len(folders)) if deleting and plan.chosen_files > EXACT else 1
    if workers < 2:
        acting.work(folders)
        return
    threads = [threading.Thread(target=acting.work, args=(folders[number::workers],)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if acting.problem is not None:
        raise acting.problem


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
            with _opened(block.folder) as descriptor:
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
def _opened(folder: Folder) -> t.Iterator[int]:
    """The folder of the plan; `Left` when another one has its place now."""
    descriptor = open_folder(folder.path)
    try:
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) != (folder.device, folder.inode):
            raise Left(f"folder {CHANGED}")
        yield descriptor
    finally:
        os.close(descriptor)
