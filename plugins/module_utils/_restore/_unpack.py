# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives of the engine `files`, unpacked for good: owners, modes, times, links, extended attributes.

Every name is reached by descriptors of folders, from the one that this run has made: nothing in an archive leads out of
it, neither by its name nor through a link that an earlier entry has made.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import grp
import json
import os
import pwd
import shutil
import stat
import tarfile
import tempfile
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _files_restore, _tree
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Mismatch

_PIECE = 1 << 20
_XATTR = "SCHILY.xattr."


class Unpacking:
    """Unpacks entries as they come; `places` are the names of the outermost entries and what each is unpacked as."""

    def __init__(self, places: t.Mapping[str, str]) -> None:
        self._places = places
        self._summary = _files_restore.Summary()
        self._folders: t.IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
        self._parent: tuple[tuple[str, ...], int] | None = None
        self._owners: dict[tuple[str, str, int], int] = {}
        self._unset = 0

    def __enter__(self) -> Unpacking:
        return self

    def __exit__(self, *_ignored: object) -> None:
        self._folders.close()
        self._leave()

    def add(self, tar: tarfile.TarFile, info: tarfile.TarInfo) -> None:
        """Make one entry; Mismatch for one that no backup makes."""
        parent, name = self._locate(info.name)
        try:
            if info.isdir():
                os.mkdir(name, 0o700, dir_fd=parent)
                content = ""
                self._later(info)
            elif info.issym():
                os.symlink(info.linkname, name, dir_fd=parent)
                content = ""
                self._own(info, name, parent)
            elif info.islnk():
                self._link(info, name, parent)
                content = ""
            elif info.isfile():
                content = self._file(tar, info, name, parent)
            else:
                raise Mismatch(f"the archive holds {_shown(info.name)}, which is neither file, folder nor link")
        except (FileExistsError, IsADirectoryError) as error:
            raise Mismatch(f"the archive holds {_shown(info.name)} twice") from error
        finally:
            os.close(parent)
        self._summary.add(info, content)

    def finish(self) -> None:
        """Give the folders their owners, modes and times, the innermost first; then bring everything to the disk."""
        self._leave()
        self._folders.flush()
        for line in _reversed(self._folders):
            record = json.loads(line)
            parent, name = self._locate(record["name"])
            descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
            try:
                self._attributes(descriptor, record)
            finally:
                os.close(descriptor)
                os.close(parent)
        self._leave()
        for place in self._places.values():
            if os.path.lexists(place):
                _sync(os.path.dirname(place))

    def figures(self) -> dict[str, t.Any]:
        """What the dump's figures are compared with."""
        return self._summary.figures()

    def shown(self) -> dict[str, t.Any]:
        """Numbers for a person."""
        return self._summary.shown()

    def warnings(self) -> list[str]:
        """What could not be restored of the entries."""
        return [f"{self._unset} extended attributes could not be set"] if self._unset else []

    def _locate(self, name: str) -> tuple[int, str]:
        """A new descriptor of the folder that `name` lies in, and its name there."""
        refuse_escapes(name)
        parts = name.split("/")
        for number in range(1, len(parts) + 1):
            place = self._places.get("/".join(parts[:number]))
            if place is not None:
                break
        else:
            raise Mismatch(f"the archive holds {_shown(name)}, which none of the paths of its source covers")
        folder, base = os.path.split(place)
        if number == len(parts):
            return os.open(folder, os.O_RDONLY | os.O_DIRECTORY), base
        key = (place, *parts[number:-1])
        if self._parent is None or self._parent[0] != key:
            self._leave()
            self._parent = (key, self._open(folder, (base, *parts[number:-1]), name))
        return os.dup(self._parent[1]), parts[-1]

    def _open(self, folder: str, parts: t.Sequence[str], name: str) -> int:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        for part in parts:
            try:
                inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            except OSError as error:
                raise Mismatch(f"the archive holds {_shown(name)} without the folder that it lies in") from error
            finally:
                os.close(descriptor)
            descriptor = inner
        return descriptor

    def _leave(self) -> None:
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None

    def _file(self, tar: tarfile.TarFile, info: tarfile.TarInfo, name: str, parent: int) -> str:
        """Write a regular file and return the SHA-256 of what can be read back."""
        source = tar.extractfile(info)
        if source is None:
            raise Mismatch(f"the archive holds no content of {_shown(info.name)}")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        descriptor = os.open(name, flags, 0o600, dir_fd=parent)
        with source, os.fdopen(descriptor, "w+b") as file:
            shutil.copyfileobj(source, file, _PIECE)
            file.seek(0)
            content = _files_restore.digest(file)
            self._attributes(descriptor, _record(info))
        return content

    def _link(self, info: tarfile.TarInfo, name: str, parent: int) -> None:
        """A second name of a regular file that has been unpacked before."""
        folder, first = self._locate(info.linkname)
        try:
            descriptor = os.open(first, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            os.close(descriptor)
            if not regular:
                raise IsADirectoryError(errno.EISDIR, "no file")
            os.link(first, name, src_dir_fd=folder, dst_dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise Mismatch(
                    f"the archive links {_shown(info.name)} to {_shown(info.linkname)}, which is no file of it"
                ) from error
            self._copy(first, folder, name, parent)
        finally:
            os.close(folder)

    def _copy(self, first: str, folder: int, name: str, parent: int) -> None:
        """Two paths of one source may lie on two file systems now."""
        descriptor = os.open(first, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
        with os.fdopen(descriptor, "rb") as source:
            info = os.fstat(descriptor)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with os.fdopen(os.open(name, flags, 0o600, dir_fd=parent), "wb") as target:
                shutil.copyfileobj(source, target, _PIECE)
                target.flush()
                if os.geteuid() == 0:
                    os.fchown(target.fileno(), info.st_uid, info.st_gid)
                os.fchmod(target.fileno(), info.st_mode & 0o7777)
                os.utime(target.fileno(), ns=(info.st_atime_ns, info.st_mtime_ns))

    def _later(self, info: tarfile.TarInfo) -> None:
        """A folder gets its attributes when everything is in it: it may be closed to us, and writing changes its time."""
        self._folders.write(json.dumps(_record(info)) + "\n")

    def _own(self, info: tarfile.TarInfo, name: str, parent: int) -> None:
        """Owner and time of a symbolic link."""
        if os.geteuid() == 0:
            record = _record(info)
            os.chown(name, self._user(record), self._group(record), dir_fd=parent, follow_symlinks=False)
        os.utime(name, (info.mtime, info.mtime), dir_fd=parent, follow_symlinks=False)

    def _attributes(self, descriptor: int, record: t.Mapping[str, t.Any]) -> None:
        """Owner first, for changing it takes setuid away; the time last."""
        if os.geteuid() == 0:
            os.fchown(descriptor, self._user(record), self._group(record))
        os.fchmod(descriptor, record["mode"])
        for name, value in record["attributes"].items():
            try:
                os.setxattr(descriptor, name, value.encode("utf-8", "surrogateescape"))
            except OSError:
                self._unset += 1
        nanoseconds = round(record["mtime"] * 1_000_000_000)
        os.utime(descriptor, ns=(nanoseconds, nanoseconds))

    def _user(self, record: t.Mapping[str, t.Any]) -> int:
        key = ("user", record["uname"], record["uid"])
        if key not in self._owners:
            self._owners[key] = record["uid"]
            with contextlib.suppress(KeyError):
                self._owners[key] = pwd.getpwnam(record["uname"]).pw_uid
        return self._owners[key]

    def _group(self, record: t.Mapping[str, t.Any]) -> int:
        key = ("group", record["gname"], record["gid"])
        if key not in self._owners:
            self._owners[key] = record["gid"]
            with contextlib.suppress(KeyError):
                self._owners[key] = grp.getgrnam(record["gname"]).gr_gid
        return self._owners[key]


def refuse_escapes(name: str) -> None:
    """Mismatch for a name that leads out of the folder it is unpacked into, or that is none."""
    if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
        raise Mismatch(f"the archive holds the name {_shown(name)}, which leads out of the folder it is unpacked into")


def _record(info: tarfile.TarInfo) -> dict[str, t.Any]:
    attributes = {key[len(_XATTR) :]: value for key, value in info.pax_headers.items() if key.startswith(_XATTR)}
    return {
        "name": info.name, "mode": info.mode & 0o7777, "uid": info.uid, "gid": info.gid, "uname": info.uname,
        "gname": info.gname, "mtime": info.mtime, "attributes": attributes,
    }  # fmt: skip


def _reversed(stream: t.IO[str]) -> t.Iterator[str]:
    """The lines of a file from its end, in pieces."""
    offsets = []
    stream.seek(0)
    # A number for each folder: a million of them are 8 MB.
    position = 0
    raw = t.cast("t.IO[bytes]", stream.buffer)  # type: ignore[attr-defined]
    raw.seek(0)
    for line in raw:
        offsets.append(position)
        position += len(line)
    for offset in reversed(offsets):
        raw.seek(offset)
        yield raw.readline().decode("utf-8", "surrogateescape")


def _sync(folder: str) -> None:
    """Bring a file system to the disk: one call for any number of files."""
    call = getattr(ctypes.CDLL(None), "syncfs", None)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if call is None or call(descriptor) != 0:
            os.sync()
    finally:
        os.close(descriptor)


def _shown(name: str) -> str:
    return _tree.printable(name)
