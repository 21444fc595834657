# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small file read and replaced by way of its folder's descriptor, so that no name leads elsewhere half way.

The new file has what the old one had: owner, mode, access lists, labels.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

LARGEST = 1 << 20  # bytes of a configuration file
_MARK = "\ufeff"
_ACL = "system.posix_acl_access"
_LABEL = "security.selinux"


class Found(t.NamedTuple):
    """A file's text without its byte order mark, whether it had one, its state and its extended attributes."""

    text: str
    marked: bool
    info: os.stat_result
    attributes: dict[str, bytes]


@contextlib.contextmanager
def opened(folder: str) -> t.Iterator[Place]:
    """The folder, open while the block runs."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Place(descriptor)
    finally:
        os.close(descriptor)


class Place:
    """A folder by its descriptor; of the paths that its methods take only the last part counts."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def load(self, path: str) -> Found | None:
        """Read the file; None when there is none, RunbookError for what is no plain file of text."""
        name = os.path.basename(path)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, dir_fd=self.descriptor)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            target = os.path.realpath(path)
            raise RunbookError(f"is a symbolic link, which is not followed. Give {target} as the path.") from error
        try:
            info = os.fstat(descriptor)
            _refuse(info)
        except BaseException:
            os.close(descriptor)
            raise
        with os.fdopen(descriptor, "rb") as stream:
            data = stream.read(LARGEST + 1)
            attributes = {name: os.getxattr(descriptor, name) for name in _attributes(descriptor)}
        if len(data) > LARGEST:
            raise RunbookError("is larger than 1 MiB. Name a configuration file.")
        if b"\0" in data:
            raise RunbookError("is no text in UTF-8 or ASCII. Convert it.")
        # Bytes that are no UTF-8, as in comments of old, go through unharmed.
        text = data.decode("utf-8", "surrogateescape")
        return Found(text.removeprefix(_MARK), text[:1] == _MARK, info, attributes)

    def save(self, path: str, text: str, like: Found | None, *, expected: Found | None, private: bool = False) -> None:
        """Replace the file by `text`, with owner, mode and attributes of `like`; `private` keeps the owner alone, with 0600.

        `expected` is what is there now; RunbookError when somebody else has changed it meanwhile.
        """
        name = os.path.basename(path)
        data = ((_MARK if like and like.marked else "") + text).encode("utf-8", "surrogateescape")
        partial = f".{name}.{os.getpid()}.partial"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(partial, flags, 0o600, dir_fd=self.descriptor)
        try:
            with os.fdopen(descriptor, "r+b") as stream:
                stream.write(data)
                stream.flush()
                if like is not None:
                    _dress(descriptor, like, private)
                os.fsync(descriptor)
                stream.seek(0)
                if stream.read() != data:
                    raise RunbookError("what was written does not come back from the disk. Look at the disk.")
            self._unchanged(name, expected)
            os.replace(partial, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial, dir_fd=self.descriptor)
            raise
        os.fsync(self.descriptor)

    def remove(self, path: str) -> None:
        """Remove the file, durably."""
        os.unlink(os.path.basename(path), dir_fd=self.descriptor)
        os.fsync(self.descriptor)

    def sweep(self, name: str) -> None:
        """Remove what a killed run left; only the owner of the file's lock may call this."""
        left = re.compile(rf"\.{re.escape(name)}(\.previous)?\.\d+\.partial")
        for each in os.listdir(self.descriptor):
            if left.fullmatch(each):
                os.unlink(each, dir_fd=self.descriptor)

    def _unchanged(self, name: str, expected: Found | None) -> None:
        try:
            now: os.stat_result | None = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            now = None
        if _identity(now) != _identity(expected.info if expected else None):
            raise RunbookError("was changed by another program meanwhile. Run again.")


def _identity(info: os.stat_result | None) -> tuple[int, ...] | None:
    return None if info is None else (info.st_ino, info.st_mtime_ns, info.st_ctime_ns, info.st_size)


def _refuse(info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise RunbookError("is no regular file. Name a file.")
    if info.st_nlink > 1:
        raise RunbookError(
            f"has {info.st_nlink} names (hard links), and the others would keep the old value. Replace them by copies or symbolic links."
        )


def _attributes(descriptor: int) -> list[str]:
    """Names of the extended attributes that go along. What belongs to the content, such as signatures, does not."""
    try:
        names = os.listxattr(descriptor)
    except OSError:
        return []
    return [name for name in names if name in (_ACL, _LABEL) or name.startswith("user.")]


def _dress(descriptor: int, like: Found, private: bool) -> None:
    """Give the new file owner, mode and attributes of `like`."""
    mine = os.fstat(descriptor)
    if (mine.st_uid, mine.st_gid) != (like.info.st_uid, like.info.st_gid):
        try:
            os.fchown(descriptor, like.info.st_uid, like.info.st_gid)
        except PermissionError as error:
            raise RunbookError(
                "belongs to somebody else, which a new file could not. Run as its owner or as root."
            ) from error
    wanted = {} if private else dict(like.attributes)
    if private and _LABEL in like.attributes:
        wanted[_LABEL] = like.attributes[_LABEL]
    for name in _attributes(descriptor):
        if name == _ACL and name not in wanted:  # inherited from the folder
            os.removexattr(descriptor, name)
    os.fchmod(descriptor, 0o600 if private else stat.S_IMODE(like.info.st_mode))
    for name, content in wanted.items():
        os.setxattr(descriptor, name, content)
