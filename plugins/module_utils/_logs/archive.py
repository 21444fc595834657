# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Move logs to another folder, on any file system, without losing a line or overwriting anything, killed at any moment.

On the same file system a name is reserved and the file renamed to it. To another one: copy under a temporary name, fsync,
read back and compare, give the copy its name, fsync the folder, then take the source away as compressing does. Killed in
between, the source is there, or both are; the next run finds the copy, sees that it is the same, and takes the source away.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._logs import retire, writers
from ansible_collections.sre.runbooks.plugins.module_utils._logs.actions import (
    CHANGED,
    READ,
    File,
    Known,
    Left,
    Sink,
    Tools,
    each,
    open_source,
    same,
)
from ansible_collections.sre.runbooks.plugins.module_utils._logs.folders import LEFTOVER, make_folder
from ansible_collections.sre.runbooks.plugins.module_utils._logs.plan import COMPRESSED, OPEN

TAKEN = "its names in the archive are taken by other files"
_NAMES = 100  # tried in the archive
_CHUNK = 1 << 20
_RESERVED = 0  # mode of an empty file that only holds a name
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def archive(folder: int, files: t.Iterable[File], tools: Tools, sink: Sink) -> None:
    """Move files of one folder to the same place below the policy's `archive_dir`."""
    archive_dir = tools.policy.archive_dir
    if archive_dir is None:
        raise RunbookError("archive_dir is missing")
    goal = make_folder(archive_dir + _below(tools.folder.path, tools.policy.paths))
    try:
        _sweep(goal)
        move = _rename if os.fstat(goal).st_dev == os.fstat(folder).st_dev else _copy

        def one(file: File) -> tuple[int, int]:
            source, before = open_source(folder, file, tools)
            try:
                return before[2], move(folder, file[0], source, before, goal)
            finally:
                os.close(source)

        each(files, one, sink)
        os.fsync(folder)
    finally:
        os.close(goal)


def _below(path: str, roots: t.Sequence[str]) -> str:
    """The part of a folder's path below the policy's folder that it was found in, with a leading slash, or nothing."""
    root = max((root for root in roots if path == root or path.startswith(f"{root}/")), key=len, default=path)
    return path[len(root) :]


def _sweep(goal: int) -> None:
    """Remove half copies of runs that were killed."""
    with os.scandir(goal) as entries:
        names = [entry.name for entry in entries if entry.name.endswith(".copy.partial")]
    for name in names:
        if LEFTOVER.fullmatch(name):
            retire.sweep(goal, name)


def _names(name: str, mtime_ns: int) -> t.Iterator[str]:
    """Names for a file in the archive: its own, then with the time of its last line before a suffix of compression."""
    yield name
    suffix = next((each for each in COMPRESSED if name.endswith(each)), "")
    stem = name[: len(name) - len(suffix)]
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(mtime_ns // 10**9))
    yield f"{stem}.{stamp}{suffix}"
    for number in range(2, _NAMES):
        yield f"{stem}.{stamp}-{number}{suffix}"


def _rename(folder: int, name: str, source: int, before: Known, goal: int) -> int:
    """Move within the file system; returns the bytes freed on it, which are none."""
    for candidate in _names(name, before[1]):
        if not _reserve(goal, candidate):
            continue
        try:
            _move(folder, name, source, before, goal, candidate)
        except BaseException:
            _give_back(goal, candidate)
            raise
        os.fsync(goal)
        return 0
    raise Left(TAKEN, fault=True)


def _move(folder: int, name: str, source: int, before: Known, goal: int, candidate: str) -> None:
    if not writers.claim(source):
        raise Left(OPEN)
    try:
        if not same(os.stat(name, dir_fd=folder, follow_symlinks=False), before):
            raise Left(CHANGED)
        os.rename(name, candidate, src_dir_fd=folder, dst_dir_fd=goal)
    finally:
        writers.release(source)
    if not same(os.stat(candidate, dir_fd=goal, follow_symlinks=False), before):
        # Something else had taken the name, or its writer came: it goes back.
        with contextlib.suppress(FileExistsError):
            retire.rename(goal, candidate, folder, name)
        raise Left(CHANGED)


def _reserve(goal: int, name: str) -> bool:
    """Take a name by an empty file that nobody may read, or take over the one that a killed run left."""
    try:
        os.close(os.open(name, _CREATE, _RESERVED, dir_fd=goal))
    except FileExistsError:
        return _reserved(goal, name)
    return True


def _reserved(goal: int, name: str) -> bool:
    status = os.stat(name, dir_fd=goal, follow_symlinks=False)
    mine = stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) == _RESERVED and status.st_uid == os.geteuid()
    return mine and status.st_size == 0


def _give_back(goal: int, name: str) -> None:
    """Remove a reserved name that was not used after all."""
    with contextlib.suppress(FileNotFoundError):
        if _reserved(goal, name):
            os.unlink(name, dir_fd=goal)


def _copy(folder: int, name: str, source: int, before: Known, goal: int) -> int:
    """Move to another file system; returns the bytes freed on the one of the source."""
    for candidate in _names(name, before[1]):
        if _stored(goal, candidate, source, before) or _store(goal, candidate, source, before):
            retire.retire(folder, name, source, before)
            return before[2]
    raise Left(TAKEN, fault=True)


def _stored(goal: int, name: str, source: int, before: Known) -> bool:
    """Whether a whole copy is there already, from a run that was killed before the last step."""
    try:
        copy = os.open(name, READ, dir_fd=goal)
    except OSError:
        return False  # missing, or nothing that could be a copy
    try:
        status = os.fstat(copy)
        alike = stat.S_ISREG(status.st_mode) and (status.st_mtime_ns, status.st_size) == before[1:3]
        return alike and _equal(source, copy, before[2])
    finally:
        os.close(copy)


def _store(goal: int, name: str, source: int, before: Known) -> bool:
    """Make a copy that appears whole or not at all; False when the name is taken."""
    with contextlib.suppress(FileNotFoundError):
        os.stat(name, dir_fd=goal, follow_symlinks=False)
        return False
    partial = f".{name}.{os.getpid()}.copy.partial"
    copy = os.open(partial, _CREATE, 0o600, dir_fd=goal)
    try:
        _write(source, copy, before[2])
        retire.take_after(os.fstat(source), copy)
        os.fsync(copy)
        # Out of the cache, so that what is compared comes from the disk.
        os.posix_fadvise(copy, 0, 0, os.POSIX_FADV_DONTNEED)
        if not _equal(source, copy, before[2]):
            raise Left(CHANGED)
        retire.rename(goal, partial, goal, name)
        os.fsync(goal)
    except FileExistsError:
        return False
    finally:
        os.close(copy)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial, dir_fd=goal)
    return True


def _write(source: int, copy: int, size: int) -> None:
    """Copy `size` bytes; holes stay holes."""
    zeros = bytes(_CHUNK)
    position = 0
    while position < size:
        piece = os.pread(source, min(_CHUNK, size - position), position)
        if not piece:
            raise Left(CHANGED)
        if piece[0] or piece != zeros[: len(piece)]:
            view = memoryview(piece)
            while view:
                written = os.pwrite(copy, view, position + len(piece) - len(view))
                view = view[written:]
        position += len(piece)
    os.ftruncate(copy, size)


def _equal(source: int, copy: int, size: int) -> bool:
    """Whether both files hold the same `size` bytes and nothing more."""
    for position in range(0, size + 1, _CHUNK):
        if os.pread(source, _CHUNK, position) != os.pread(copy, _CHUNK, position):
            return False
    return os.fstat(copy).st_size == size
