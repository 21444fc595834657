# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compress a log in place without losing a line, killed at any moment.

The order: write an archive under a temporary name, fsync, unpack it again and compare, give it its name, move the source
aside, make sure that nobody wrote to it or has it open for writing, remove it. A source that changed goes back to its
name and the archive goes. Whatever a killed run leaves, the next one sweeps (`sweep`) and comes to the same end.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import gzip
import hashlib
import os
import stat
import typing as t
import zlib

from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands, require
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._logs import writers
from ansible_collections.sre.runbooks.plugins.module_utils._logs.actions import CHANGED, Known, Left, Tools, same
from ansible_collections.sre.runbooks.plugins.module_utils._logs.folders import LEFTOVER
from ansible_collections.sre.runbooks.plugins.module_utils._logs.plan import OPEN
from ansible_collections.sre.runbooks.plugins.module_utils._logs.policy import SUFFIXES

TAKEN = "its archive's name is taken by something else"
_CHUNK = 1 << 20
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)
# Descriptors instead of names: what the programs read and write cannot be swapped.
_PACK = 'exec zstd -q -c --stream-size="$1" <"/proc/self/fd/$2" >"/proc/self/fd/$3"'
_UNPACK = 'exec zstd -q -d -c <"/proc/self/fd/$1"'


def compress(folder: int, name: str, known: Known, tools: Tools) -> int:
    """Replace the file `name` by its compressed copy beside it, with its owner, mode and times; return the bytes freed.

    Raises `Left` when the file is being written, changed, or when something else has the archive's name.
    """
    target = name + SUFFIXES[tools.compression]
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        if not same(os.fstat(source), known):
            raise Left(CHANGED)
        if not (writers.claim(source) and writers.release(source)):
            raise Left(OPEN)
        made = not _archived(folder, target, source, tools)
        if made:
            _archive(folder, target, source, known, tools)
        try:
            _retire(folder, name, source, known)
        except Left:
            if made:
                os.unlink(target, dir_fd=folder)
            raise
    finally:
        os.close(source)
    return known[2] - os.stat(target, dir_fd=folder, follow_symlinks=False).st_size


def sweep(folder: int, leftover: str) -> bool:
    """Clear away what a killed run left in `folder`; return whether a source went back to its name.

    What belongs to a process that is alive is left to it.
    """
    match = LEFTOVER.fullmatch(leftover)
    owner = leftover.split(".")[-3 if match and match["source"] else -2]
    if match is None or (int(owner) != os.getpid() and os.path.exists(f"/proc/{owner}")):
        return False
    if not stat.S_ISREG(os.stat(leftover, dir_fd=folder, follow_symlinks=False).st_mode):
        return False
    if match["source"]:
        # A new file of that name: this one stays, for it may hold lines that the archive lacks.
        with contextlib.suppress(FileExistsError):
            _rename(folder, leftover, match["source"])
            return True
        return False
    os.unlink(leftover, dir_fd=folder)
    return False


def _archived(folder: int, target: str, source: int, tools: Tools) -> bool:
    """Whether a whole archive of `source` is there already, from a run that was killed before the last step."""
    try:
        archive = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Left(TAKEN, fault=True) from error
    try:
        regular = stat.S_ISREG(os.fstat(archive).st_mode)
        if regular and _unpacked_digest(archive, tools) == _digest(_pieces(source)):
            return True
    except (OSError, EOFError, zlib.error, RunbookError) as error:
        raise Left(TAKEN, fault=True) from error
    finally:
        os.close(archive)
    raise Left(TAKEN, fault=True)


def _archive(folder: int, target: str, source: int, known: Known, tools: Tools) -> None:
    """Make `target` of what `source` holds, compared with it; it appears whole or not at all."""
    partial = f".{target}.{os.getpid()}.partial"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    archive = os.open(partial, flags, 0o600, dir_fd=folder)
    try:
        _pack(source, archive, known, tools)
        if _unpacked_digest(archive, tools) != _digest(_pieces(source)):
            raise Left(CHANGED)
        _take_after(os.fstat(source), archive)
        os.fsync(archive)
        try:
            _rename(folder, partial, target)
        except FileExistsError as error:
            raise Left(TAKEN, fault=True) from error
        os.fsync(folder)
    finally:
        os.close(archive)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial, dir_fd=folder)


def _retire(folder: int, name: str, source: int, known: Known) -> None:
    """Remove the file `name`, whose archive is safe, unless it changed or somebody has it open for writing.

    First it moves aside, so that no new writer finds it; a writer that found it before shows by breaking the lease.
    """
    aside = f".{name}.{os.getpid()}.source.partial"
    if not writers.claim(source):
        raise Left(OPEN)
    try:
        if not same(os.stat(name, dir_fd=folder, follow_symlinks=False), known):
            raise Left(CHANGED)
        os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=folder)
        moved = os.stat(aside, dir_fd=folder, follow_symlinks=False)
    finally:
        undisturbed = writers.release(source)
    if undisturbed and same(moved, known) and same(os.fstat(source), known):
        os.unlink(aside, dir_fd=folder)
        os.fsync(folder)
        return
    # When the name is taken anew, the next run's sweep tries again.
    with contextlib.suppress(FileExistsError):
        _rename(folder, aside, name)
    raise Left(CHANGED)


def _rename(folder: int, old: str, new: str) -> None:
    """Rename within `folder`, never over something; FileExistsError when `new` is there."""
    try:
        os.link(old, new, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with contextlib.suppress(FileNotFoundError):
            os.stat(new, dir_fd=folder, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new) from error
        os.rename(old, new, src_dir_fd=folder, dst_dir_fd=folder)
        return
    os.unlink(old, dir_fd=folder)


def _pack(source: int, archive: int, known: Known, tools: Tools) -> None:
    if tools.compression == "gzip":
        with (
            os.fdopen(archive, "wb", closefd=False) as stream,
            gzip.GzipFile("", "wb", 6, stream, known[1] / 1e9) as packer,
        ):
            for piece in _pieces(source):
                packer.write(piece)
        return
    require("zstd")
    argv = ["sh", "-c", _PACK, "zstd", str(known[2]), str(source), str(archive)]
    _commands(tools, source, archive).run(argv)


def _unpacked_digest(archive: int, tools: Tools) -> str:
    """SHA-256 of what an archive unpacks to."""
    if tools.compression == "gzip":
        os.lseek(archive, 0, os.SEEK_SET)
        with os.fdopen(archive, "rb", closefd=False) as stream, gzip.GzipFile("", "rb", fileobj=stream) as unpacker:
            return _digest(iter(lambda: unpacker.read(_CHUNK), b""))
    require("zstd")
    argv = ["sh", "-c", _UNPACK, "zstd", str(archive)]
    return _commands(tools, archive).pipeline([argv, ["sha256sum"]]).stdout.split()[0]


def _commands(tools: Tools, *descriptors: int) -> Commands:
    return Commands(functools.partial(tools.run_command, pass_fds=descriptors))


def _pieces(descriptor: int) -> t.Iterator[bytes]:
    position = 0
    while True:
        piece = os.pread(descriptor, _CHUNK, position)
        if not piece:
            return
        position += len(piece)
        yield piece


def _digest(pieces: t.Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _take_after(source: os.stat_result, archive: int) -> None:
    """Give the archive the owner, mode and times of its source; only root can give a file away."""
    try:
        os.fchown(archive, source.st_uid, source.st_gid)
    except PermissionError:
        with contextlib.suppress(PermissionError):
            os.fchown(archive, -1, source.st_gid)
    os.fchmod(archive, stat.S_IMODE(source.st_mode))
    os.utime(archive, ns=(source.st_atime_ns, source.st_mtime_ns))
