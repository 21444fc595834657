# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file: a tar, packed by zstd or by Python, whole or not there, on a disk that keeps its reserve."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shutil
import stat
import tarfile
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _packing
from ansible_collections.sre.runbooks.plugins.module_utils._core import files
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError

PREFIX = "diagnostics_"
_BUNDLE = re.compile(rf"{PREFIX}(?:.+_)?\d{{8}}T\d{{6}}Z(?:-\d+)?\.tar\.(?:zst|gz)")
_LEFT = re.compile(rf"\.(?:{PREFIX}.+|spool|sos)\.\d+{re.escape(files.PARTIAL)}")
# So many at most go in one run.
MOST_DELETED = 100
_LOOK_EVERY = 1 << 20


class NoRoom(RunbookError):
    """The disk has no room for this, and gets none from us."""


class File(t.NamedTuple):
    """A file of the bundle: its name in it, its size in bytes, and its content in pieces of exactly so many bytes."""

    name: str
    size: int
    content: t.Callable[[], t.Iterator[bytes]]


def usable(directory: str, dry: bool) -> None:
    """Make the folder, or see that it is ours alone."""
    if not os.path.lexists(directory):
        if not dry:
            files.make_directory(directory, 0o700)
        return
    found = os.lstat(directory)
    remedy = "Choose a folder of its own, of this user, in which nobody else may write."
    if not stat.S_ISDIR(found.st_mode):
        raise InputError("directory", directory, "is no folder", remedy)
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise InputError("directory", directory, "may be written to by others", remedy)


def room(directory: str, reserve: int) -> int:
    """Bytes that this disk can give; negative when its reserve is touched already."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize - reserve


def sweep(directory: str) -> None:
    """Remove what killed runs left. The lock is held: none of it belongs to a run that goes on."""
    with os.scandir(directory) as entries:
        left = [entry for entry in entries if _LEFT.fullmatch(entry.name)]
    for entry in left:
        with contextlib.suppress(FileNotFoundError):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)


def spool_file(directory: str) -> int:
    """A file for reading and writing without a name: it ends with this process."""
    path = os.path.join(directory, f".spool.{os.getpid()}{files.PARTIAL}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    return descriptor


def name(incident: str, now: float, directory: str, packing: str) -> str:
    """The name of a new bundle, without its ending."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    first = "".join([PREFIX, f"{incident}_" if incident else "", stamp])
    number, chosen = 1, first
    while os.path.lexists(os.path.join(directory, f"{chosen}.tar.{packing}")):
        number += 1
        chosen = f"{first}-{number}"
    return chosen


def old(directory: str, keep: int) -> list[str]:
    """Bundles that are more than the newest `keep`, the oldest first."""
    found = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if _BUNDLE.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                found.append((entry.stat(follow_symlinks=False).st_mtime, entry.path))
    return [path for _when, path in sorted(found)[:-keep]][:MOST_DELETED]


class _Guarded:
    """Counts what is written, and stops when the disk has no more to give."""

    def __init__(self, write: t.Callable[[bytes], t.Any], left: t.Callable[[], int]) -> None:
        self._write = write
        self._left = left
        self._since = _LOOK_EVERY

    def write(self, data: bytes) -> int:
        """As a file's."""
        self._since += len(data)
        if self._since >= _LOOK_EVERY:
            self._since = 0
            if self._left() < len(data):
                raise NoRoom("the disk came to its reserve while the bundle was written")
        self._write(data)
        return len(data)


def write(
    path: str, top: str, parts: t.Iterable[File], now: float, commands: Commands, left: t.Callable[[], int]
) -> str:
    """Write the bundle and give it its name; return its SHA-256. Files of it lie in the folder `top`."""
    partial = files.partial_name(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(partial)
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    try:
        if path.endswith(".zst"):

            def feed(stream: t.IO[bytes]) -> None:
                _tar(_Guarded(stream.write, left), top, parts, now)

            digest = _packing.store(commands, [["zstd", "-3", "-q", "-c"]], partial, feed)
        else:
            digest = _by_python(partial, top, parts, now, left)
        files.publish(partial, path)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
        if isinstance(error, OSError):
            raise NoRoom(f"{path}: cannot be written: {error.strerror}") from error
        raise
    return digest


def _by_python(partial: str, top: str, parts: t.Iterable[File], now: float, left: t.Callable[[], int]) -> str:
    import gzip

    digest = hashlib.sha256()
    with open(partial, "wb") as target:

        def put(data: bytes) -> None:
            digest.update(data)
            target.write(data)

        guarded = _Guarded(put, left)
        with gzip.GzipFile("", "wb", 6, t.cast("t.Any", _Whole(guarded)), now) as packed:
            _tar(packed, top, parts, now)
    return digest.hexdigest()


class _Whole(io.RawIOBase):
    """What GzipFile takes for a file."""

    def __init__(self, guarded: _Guarded) -> None:
        super().__init__()
        self._guarded = guarded

    def write(self, data: t.Any) -> int:
        return self._guarded.write(bytes(data))


def _tar(target: t.Any, top: str, parts: t.Iterable[File], now: float) -> None:
    """Each header, then the content: TarFile.addfile would want a file object of each."""
    archive = tarfile.open(fileobj=target, mode="w|", bufsize=_LOOK_EVERY >> 2, format=tarfile.PAX_FORMAT)  # noqa: SIM115
    for part in parts:
        info = tarfile.TarInfo(f"{top}/{part.name}")
        info.size, info.mtime, info.mode = part.size, int(now), 0o600
        archive.addfile(info, _Reader(part.content()))
    archive.close()


class _Reader:
    """Pieces as a file that is read to its end."""

    def __init__(self, pieces: t.Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int = -1, /) -> bytes:
        """Exactly `size` bytes, fewer at the end."""
        taken = [self._rest]
        length = len(self._rest)
        while length < size:
            piece = next(self._pieces, b"")
            if not piece:
                break
            taken.append(piece)
            length += len(piece)
        data = b"".join(taken)
        self._rest = data[size:]
        return data[:size]
