# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Folders by descriptor: opened without following any symbolic link, looked through without leaving the file system."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import stat
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._logs.plan import Chooser, Folder, Plan

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._logs.policy import Policy

BATCH = 20_000  # entries of a folder that are put in order at a time, some 300 bytes each
MAKING = ("archive", "compress")  # actions that can leave something behind when they are killed
DEEPEST = 64  # folders below a policy's own; each level holds a descriptor open
# What a killed run leaves: `.<name>.<suffix>.<process>.partial`, half an archive, and
# `.<name>.<process>.source.partial`, a source whose archive is complete.
LEFTOVER = re.compile(r"\.(?:(?P<source>.+)\.\d+\.source|.+\.\d+\.copy|.+\.(?:zst|gz)\.\d+)\.partial", re.DOTALL)

SYMLINK = "symbolic link"
SPECIAL = "not a regular file"
OTHER_FILE_SYSTEM = "folder on another file system"
UNREADABLE = "folder that cannot be read"
TOO_DEEP = f"folder more than {DEEPEST} levels down"

_THROUGH = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class FolderError(RunbookError):
    """A folder cannot be looked at."""


def open_folder(path: str, make: bool = False) -> int:
    """Open the folder `path` and return its descriptor; `FolderError` when any part of the path is a symbolic link.

    Every part counts: who owns a folder on the way could point it elsewhere. With `make` missing parts are created.
    """
    descriptor = os.open("/", _THROUGH)
    parts = path.strip("/").split("/")
    try:
        for number, part in enumerate(parts, 1):
            flags = _READ if number == len(parts) else _THROUGH
            try:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o750, dir_fd=descriptor)
                following = os.open(part, flags, dir_fd=descriptor)
            except OSError as error:
                reached = "/" + "/".join(parts[:number])
                raise FolderError(f"{path}: {_why(descriptor, part, reached, path, error)}") from error
            os.close(descriptor)
            descriptor = following
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def make_folder(path: str) -> int:
    """Open the folder `path`, created with its parents where it is missing, as `open_folder` does."""
    try:
        return open_folder(path)
    except FolderError:
        return open_folder(path, make=True)


def _why(descriptor: int, part: str, reached: str, path: str, error: OSError) -> str:
    with contextlib.suppress(OSError):
        if stat.S_ISLNK(os.stat(part, dir_fd=descriptor, follow_symlinks=False).st_mode):
            return f"{reached} is a symbolic link, which is not followed; name the real folder"
    if isinstance(error, FileNotFoundError):
        return "no such folder" if reached == path else f"no such folder: {reached} is missing"
    if isinstance(error, NotADirectoryError):
        return f"{reached} is no folder"
    return f"{reached} cannot be opened: {error.strerror}"


class Look:
    """One look through the folders of all policies, each folder read once however many policies name it."""

    def __init__(self, plan: Plan, chooser: Chooser) -> None:
        self._plan = plan
        self._policies: t.Sequence[Policy] = plan.policies
        self._chooser = chooser
        self._roots: dict[str, list[int]] = {}
        for rank, policy in enumerate(plan.policies):
            for path in policy.paths:
                self._roots.setdefault(path, []).append(rank)
        self._seen: set[str] = set()

    def run(self) -> None:
        """Fill the plan. A policy's folder that cannot be opened goes into its tally's `problems`."""
        # Parents sort before what is below them and meet it on their way, if they recurse.
        for path in sorted(self._roots):
            if path in self._seen:
                continue
            try:
                descriptor = open_folder(path)
            except FolderError as error:
                for rank in self._roots[path]:
                    self._plan.tallies[rank].problems.append(str(error))
                continue
            try:
                self._folder(descriptor, path, self._roots[path], 0)
            finally:
                os.close(descriptor)
        self._plan.flush()

    def _folder(self, descriptor: int, path: str, ranks: list[int], depth: int) -> None:
        self._seen.add(path)
        status = os.fstat(descriptor)
        folder = Folder(path, status.st_dev, status.st_ino)
        self._plan.enter(folder)
        below = self._entries(descriptor, folder, ranks)
        self._chooser.finish()
        for name in below:
            self._below(descriptor, folder, name, ranks, depth + 1)

    def _entries(self, descriptor: int, folder: Folder, ranks: list[int]) -> list[str]:
        """Offer the files of a folder to the policies; return the names of the folders in it."""
        below: list[str] = []
        with os.scandir(descriptor) as entries:
            while batch := list(itertools.islice(entries, BATCH)):
                # By inode the file system reads each of its blocks once: what makes the difference with a cold cache.
                batch.sort(key=os.DirEntry.inode)
                self._batch(descriptor, batch, folder, ranks, below)
                batch.clear()  # before the next is read
        return below

    def _batch(
        self, descriptor: int, batch: list[os.DirEntry[str]], folder: Folder, ranks: list[int], below: list[str]
    ) -> None:
        offer = self._chooser.offer
        sweeps = any(self._policies[rank].action in MAKING for rank in ranks)
        lone = ranks[0] if len(ranks) == 1 else None
        matches = None if lone is None or self._policies[lone].excludes else self._policies[lone].matches
        young_ns = None if lone is None or not self._chooser.plain(lone) else self._chooser.before_ns[lone]
        files = young = size = 0
        for entry in batch:
            if entry.is_dir(follow_symlinks=False):
                below.append(entry.name)
                continue
            name = entry.name
            if sweeps and name.endswith(".partial") and LEFTOVER.fullmatch(name):
                self._plan.leftovers.append((folder, name))
                continue
            matching = ranks if matches and matches(name) else [] if matches else self._matching(ranks, name)
            status = self._status(descriptor, entry, matching[0]) if matching else None
            if status is None:
                continue
            files += 1
            if young_ns is not None and status.st_mtime_ns > young_ns:
                young += 1
                size += status.st_size
            else:
                offer(name, status, matching)
        self._plan.files += files
        if lone is not None:
            self._plan.tallies[lone].files += young
            self._plan.tallies[lone].bytes += size

    def _status(self, descriptor: int, entry: os.DirEntry[str], rank: int) -> os.stat_result | None:
        """The status of a regular file; None for anything else, which is counted as skipped."""
        if not entry.is_file(follow_symlinks=False):
            self._skip([rank], SYMLINK if entry.is_symlink() else SPECIAL)
            return None
        try:
            status = os.stat(entry.name, dir_fd=descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None
        # The kind of the entry is from readdir(3); the name may have got another since.
        return status if stat.S_ISREG(status.st_mode) else None

    def _matching(self, ranks: list[int], name: str) -> list[int]:
        return [rank for rank in ranks if self._matches(rank, name)]

    def _matches(self, rank: int, name: str) -> bool:
        policy = self._policies[rank]
        return bool(policy.matches(name)) and not (policy.excludes and policy.excludes(name))

    def _below(self, descriptor: int, folder: Folder, name: str, ranks: list[int], depth: int) -> None:
        path = f"{folder.path}/{name}"
        roots = self._roots.get(path, [])
        inherited = [rank for rank in ranks if self._descends(rank, name)]
        if not roots and not inherited:
            return
        try:
            child = os.open(name, _READ, dir_fd=descriptor)
        except OSError:
            self._skip(inherited, UNREADABLE)
            return  # a folder that is a policy's own is opened again by its path, and reported
        try:
            if os.fstat(child).st_dev != folder.device:
                self._skip(inherited, OTHER_FILE_SYSTEM)
                inherited = []
            elif depth > DEEPEST:
                self._skip(inherited, TOO_DEEP)
                inherited = []
            active = sorted({*inherited, *roots})
            if active:
                self._folder(child, path, active, depth)
        finally:
            os.close(child)

    def _descends(self, rank: int, name: str) -> bool:
        policy = self._policies[rank]
        return policy.recurse and not (policy.excludes and policy.excludes(name))

    def _skip(self, ranks: list[int], reason: str) -> None:
        for rank in ranks:
            self._plan.tallies[rank].skipped[reason] += 1
