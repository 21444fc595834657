# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SQLite files: those that processes have open, and those below folders that the inventory names; bounded work."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import stat
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import _psutil
from ansible_collections.sre.runbooks.plugins.module_utils._preflight._ask import Database
from ansible_collections.sre.runbooks.plugins.module_utils._preflight._servers import Place

MAGIC = b"SQLite format 3\0"
# A page, and so a database, is a multiple of it (SQLite file format, 1.2).
LEAST_PAGE = 512
# What the distribution's own programs keep: caches and registers that are made anew or belong to the package manager.
OF_THE_SYSTEM = re.compile(
    r"/(?:usr|boot|proc|sys|dev|snap)/|/var/cache/|/var/lib/(?:PackageKit|apt|command-not-found|containerd|containers|dnf|docker|fail2ban"
    r"|flatpak|fwupd|rpm|snapd|systemd|ubuntu-advantage)/|/(?:home/[^/]+|root)/\.(?:cache|config|mozilla|local/share/containers)/"
)


class Limits(t.NamedTuple):
    """How much is looked at: files and folders below the named folders, and seconds for all of it."""

    files: int = 100000
    folders: int = 10000
    seconds: float = 10.0


class Open(t.NamedTuple):
    """Paths of regular files that processes have open, with whether one may write; `hidden` processes may not be looked at."""

    files: dict[str, bool]
    hidden: int


def open_files() -> Open:
    """The open files of every process of this host that this user may look at."""
    psutil = _psutil.get()
    files: dict[str, bool] = {}
    hidden = 0
    for process in psutil.process_iter():
        try:
            for each in process.open_files():
                files[each.path] = files.get(each.path, False) or each.mode != "r"
        except psutil.AccessDenied:
            hidden += 1
        except (psutil.Error, OSError):
            continue
    return Open(files, hidden)


def found(
    opened: Open, folders: t.Iterable[str], skip: t.Collection[str], limits: Limits
) -> tuple[list[Database], bool]:
    """The SQLite databases, by path, and whether all was looked at within the limits. Nothing below `skip` counts."""
    deadline = time.monotonic() + limits.seconds
    by_identity: dict[tuple[int, int], Database] = {}
    unwanted = tuple(os.path.join(os.path.realpath(each), "") for each in skip)
    walk = Walk(limits, deadline)
    for path, info in itertools.chain(seen(opened.files), walk.entries(folders)):
        if path.startswith(unwanted) or OF_THE_SYSTEM.match(path) or (info.st_dev, info.st_ino) in by_identity:
            continue
        if not _is_database(path, info):
            continue
        written = opened.files.get(path, False) or _has_journal(path)
        by_identity[info.st_dev, info.st_ino] = Database("sqlite", path, Place(), info.st_size, written)
    return sorted(by_identity.values(), key=_name), walk.complete


def seen(paths: t.Iterable[str]) -> t.Iterator[tuple[str, os.stat_result]]:
    """The paths that are there, with their own status: that of a link, not of what it leads to."""
    for path in paths:
        with contextlib.suppress(OSError):
            yield path, os.lstat(path)


def _name(database: Database) -> str:
    return database.name


def _has_journal(path: str) -> bool:
    """Whether a writer left its journal beside the file: somebody has it open, or was killed."""
    for end in ("-wal", "-journal"):
        with contextlib.suppress(OSError):
            if os.stat(path + end).st_size > 0:
                return True
    return False


def _is_database(path: str, info: os.stat_result) -> bool:
    """Whether the file with this status is a SQLite database."""
    if not stat.S_ISREG(info.st_mode) or info.st_size < LEAST_PAGE or info.st_size % LEAST_PAGE:
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            return os.read(descriptor, len(MAGIC)) == MAGIC
        finally:
            os.close(descriptor)
    except OSError:
        return False


def _still_there(entries: t.Iterable[os.DirEntry[str]]) -> t.Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    """Entries with their own status; one that has gone meanwhile hides no other of its folder."""
    for entry in entries:
        with contextlib.suppress(FileNotFoundError):
            yield entry, entry.stat(follow_symlinks=False)


class Walk:
    """Goes through folders until a limit is reached; `complete` says whether none was, `denied` what may not be read."""

    def __init__(self, limits: Limits, deadline: float) -> None:
        self._limits = limits
        self._deadline = deadline
        self._files = self._folders = 0
        self.complete = True
        self.denied: list[str] = []

    def entries(self, roots: t.Iterable[str]) -> t.Iterator[tuple[str, os.stat_result]]:
        """Regular files below `roots` with their status: no symbolic links, no other file systems."""
        visited: set[tuple[int, int]] = set()
        for root in roots:
            try:
                device = os.stat(root).st_dev
            except OSError:
                continue
            yield from self._below(os.path.realpath(root), device, visited)

    def _below(self, root: str, device: int, visited: set[tuple[int, int]]) -> t.Iterator[tuple[str, os.stat_result]]:
        todo = [root]
        while todo:
            folder = todo.pop()
            self._folders += 1
            try:
                with os.scandir(folder) as entries:
                    for entry, info in _still_there(entries):
                        if self._exhausted():
                            return
                        if stat.S_ISDIR(info.st_mode) and info.st_dev == device:
                            if (info.st_dev, info.st_ino) not in visited:
                                visited.add((info.st_dev, info.st_ino))
                                todo.append(entry.path)
                        elif stat.S_ISREG(info.st_mode):
                            self._files += 1
                            yield entry.path, info
            except NotADirectoryError:
                yield from seen([folder])
            except PermissionError:
                self.denied.append(folder)
            except OSError:
                continue

    def _exhausted(self) -> bool:
        if (
            self._files > self._limits.files
            or self._folders > self._limits.folders
            or time.monotonic() > self._deadline
        ):
            self.complete = False
        return not self.complete
