# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trees of files that others change while they are read. Names may hold any bytes (surrogateescape)."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError


class Entry(t.NamedTuple):
    """A path with what lstat says of it."""

    path: str
    info: os.stat_result


class Notes:
    """What a person should know about a tree that was read while others used it."""

    def __init__(self) -> None:
        self.vanished: list[str] = []
        self.changed: list[str] = []
        self.special: list[str] = []

    def warnings(self, shown: int) -> tuple[str, ...]:
        """One line for each kind, with the first `shown` names. Sockets and the like are no reason to warn."""
        lines = []
        for names, text in (
            (self.vanished, "vanished while they were read"),
            (self.changed, "changed while they were read"),
        ):
            if names:
                more = "" if len(names) <= shown else ", …"
                lines.append(f"{len(names)} files {text}: {', '.join(printable(name) for name in names[:shown])}{more}")
        return tuple(lines)


class Exactly:
    """Reads exactly `size` bytes of a file and takes their SHA-256.

    The archive's header already promises that size: a file that shrank is filled up with zeros, as GNU tar does.
    """

    def __init__(self, stream: t.IO[bytes], size: int) -> None:
        self._stream = stream
        self._left = size
        self._short = False
        self._before = os.fstat(stream.fileno())
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """The next bytes, as tarfile asks for them."""
        size = self._left if size < 0 else min(size, self._left)
        data = self._stream.read(size) if not self._short else b""
        while len(data) < size and not self._short:
            more = self._stream.read(size - len(data))
            data += more
            self._short = not more
        data += bytes(size - len(data))
        self._left -= size
        self._hash.update(data)
        return data

    def digest(self) -> str:
        """The SHA-256 of what was read, in hexadecimal."""
        return self._hash.hexdigest()

    def changed(self) -> bool:
        """Whether somebody wrote to the file while it was read."""
        after = os.fstat(self._stream.fileno())
        return self._short or (after.st_size, after.st_mtime_ns) != (self._before.st_size, self._before.st_mtime_ns)


def walk(roots: t.Sequence[str], excluded: t.Callable[[str], bool], notes: Notes | None = None) -> t.Iterator[Entry]:
    """Every entry below `roots`, themselves included, folders before what is in them; never through a symbolic link."""
    notes = notes or Notes()
    for root in roots:
        if excluded(root):
            continue
        try:
            entry = Entry(root, os.lstat(root))
        except FileNotFoundError:
            notes.vanished.append(root)
            continue
        yield entry
        if stat.S_ISDIR(entry.info.st_mode):
            yield from _below(root, excluded, notes)


def _below(root: str, excluded: t.Callable[[str], bool], notes: Notes) -> t.Iterator[Entry]:
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            for name, info in _listed(folder, notes):
                path = os.path.join(folder, name)
                if excluded(path):
                    continue
                yield Entry(path, info)
                if stat.S_ISDIR(info.st_mode):
                    folders.append(path)
        except (FileNotFoundError, NotADirectoryError):
            notes.vanished.append(folder)
        except PermissionError as error:
            raise unreadable(folder, error) from error


def _listed(folder: str, notes: Notes) -> t.Iterator[tuple[str, os.stat_result]]:
    """Names and lstat of what is in `folder`, one by one: a folder may hold a million files."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with os.scandir(descriptor) as entries:
            for each in entries:
                try:
                    yield each.name, each.stat(follow_symlinks=False)
                except FileNotFoundError:
                    notes.vanished.append(os.path.join(folder, each.name))
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def opened(entry: Entry) -> t.Iterator[t.IO[bytes] | None]:
    """The open file, None for anything but a regular file; FileNotFoundError when another thing took its place."""
    if not stat.S_ISREG(entry.info.st_mode):
        yield None
        return
    try:
        # Without O_NONBLOCK a named pipe that took the file's place would keep us waiting for a writer.
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENOTDIR):
            raise FileNotFoundError(entry.path) from error
        raise
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileNotFoundError(entry.path)
        yield stream


def unreadable(path: str, error: OSError) -> RunbookError:
    """The message for a path that the module's user may not read."""
    return RunbookError(
        f"{printable(path)}: cannot be read: {error.strerror}. Run as a user who may, or add it to exclude."
    )


def printable(path: str) -> str:
    """`path` for a message: bytes that are no UTF-8 are written as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
