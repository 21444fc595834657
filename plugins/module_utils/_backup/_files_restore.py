# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives of the engine `files`, read back: entry by entry, and unpacked where that is asked for."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Mismatch, Work
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed

_PIECE = 1 << 20


class Summary:
    """Numbers and one digest over all entries of an archive, in their order."""

    def __init__(self) -> None:
        self.files = self.folders = self.links = self.size_bytes = 0
        self._hash = hashlib.sha256()

    def add(self, info: tarfile.TarInfo, content: str) -> None:
        """Count one entry; `content` is the SHA-256 of a regular file in hexadecimal, empty for anything else."""
        self.files += info.isfile()
        self.folders += info.isdir()
        self.links += info.issym() or info.islnk()
        self.size_bytes += info.size
        record = (os.fsencode(info.name), info.type, info.size, info.mode & 0o7777, os.fsencode(info.linkname), content)
        self._hash.update(repr(record).encode())

    def shown(self) -> dict[str, t.Any]:
        """What a person reads."""
        return {"files": self.files, "folders": self.folders, "links": self.links, "size_bytes": self.size_bytes}

    def figures(self) -> dict[str, t.Any]:
        """What two archives of the same tree have in common."""
        return {**self.shown(), "sha256": self._hash.hexdigest()}


def scan(path: str, scratch: str | None, work: Work) -> Summary:
    """Read the archive `path` to its end; with `scratch` unpack it into that folder, which is removed again."""
    summary = Summary()

    def talk(_input: t.IO[bytes], archive: t.IO[bytes]) -> None:
        try:
            with tarfile.open(fileobj=archive, mode="r|", bufsize=_PIECE, errors="surrogateescape") as tar:
                for info in tar:
                    work.seconds()
                    # The stream drops the slash at a folder's end and restores nothing else; the names are those of the dump.
                    summary.add(info, _content(tar, info, scratch))
                    tar.members = []  # type: ignore[attr-defined]
        except (tarfile.TarError, EOFError) as error:
            raise Mismatch(f"{path}: is no whole archive: {error}") from error

    if scratch is not None:
        os.mkdir(scratch, 0o700)
    try:
        work.commands.converse(work.unpack(path), talk, timeout=work.seconds())
    except CommandFailed as error:
        raise Mismatch(f"{path}: cannot be unpacked: {error}") from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch)
    return summary


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo, scratch: str | None) -> str:
    """The SHA-256 of a regular file: of the unpacked file as read back, where there is a scratch folder.

    Links are compared by what the archive says of them and never made: nothing can be written through one.
    """
    if scratch is not None and (info.isfile() or info.isdir()):
        destination = _inside(scratch, info.name)
        if info.isdir():
            os.makedirs(destination, mode=0o700, exist_ok=True)
            return ""
        os.makedirs(os.path.dirname(destination), mode=0o700, exist_ok=True)
        with _stream(tar, info) as source:
            descriptor = os.open(destination, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w+b") as target:
                shutil.copyfileobj(source, target, _PIECE)
                target.seek(0)
                return digest(target)
    if not info.isfile():
        return ""
    with _stream(tar, info) as source:
        return digest(source)


def _inside(scratch: str, name: str) -> str:
    """Where the entry `name` is unpacked; a name that leads out of `scratch` is refused."""
    parts = name.split("/")
    if os.path.isabs(name) or ".." in parts:
        raise Mismatch(
            f"the archive holds the name {os.fsencode(name)!r}, which leads out of the folder it is unpacked into"
        )
    return os.path.join(scratch, *parts)


def _stream(tar: tarfile.TarFile, info: tarfile.TarInfo) -> t.IO[bytes]:
    stream = tar.extractfile(info)
    if stream is None:
        raise Mismatch(f"the archive holds no content of {os.fsencode(info.name)!r}")
    return stream


def digest(stream: t.IO[bytes]) -> str:
    """The SHA-256 of what is left of a stream, in hexadecimal."""
    found = hashlib.sha256()
    for piece in iter(lambda: stream.read(_PIECE), b""):
        found.update(piece)
    return found.hexdigest()
