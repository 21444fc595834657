# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be done with the files that a policy chose: one function each, found by its name in `ACTIONS`."""

from __future__ import annotations

import os
import stat
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._logs import writers
from ansible_collections.sre.runbooks.plugins.module_utils._logs.plan import HARD_LINK, OPEN

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._logs.plan import Folder
    from ansible_collections.sre.runbooks.plugins.module_utils._logs.policy import Policy

CHANGED = "changed since it was looked at"
MOUNTED = "on another file system"
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
WRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Left(RunbookError):
    """The file was left as it is; the message is the reason. `fault` says that somebody should see to it."""

    def __init__(self, reason: str, fault: bool = False) -> None:
        super().__init__(reason)
        self.fault = fault


# A file that is held open: inode, time of modification in ns, size in bytes, device.
Known = tuple[int, int, int, int]
# A file of the plan: name, inode, time of change in ns.
File = tuple[str, int, int]


class Sink(t.Protocol):
    """Takes what came of each file."""

    def acted(self, size: int, freed: int) -> None:
        """A file of `size` bytes is done with."""

    def refused(self, name: str, error: OSError | RunbookError) -> None:
        """A file stays."""


class Tools(t.NamedTuple):
    """What actions need besides the files.

    `exact` says that the kernel is to be asked about writers for each file, `meant` whether the policy still means a file of
    this status.
    """

    run_command: t.Callable[..., tuple[int, str, str]]
    policy: Policy
    folder: Folder
    device: int
    exact: bool
    meant: t.Callable[[os.stat_result], bool]


Action = t.Callable[[int, t.Iterable[File], Tools, Sink], None]


def known(status: os.stat_result) -> Known:
    """What tells a file that is held open from another one and from itself when it was written to."""
    return status.st_ino, status.st_mtime_ns, status.st_size, status.st_dev


def same(status: os.stat_result, before: Known) -> bool:
    """Whether `status` is that of the very file, unchanged, with one name and not being a link."""
    return known(status) == before and status.st_nlink == 1 and stat.S_ISREG(status.st_mode)


def open_file(folder: int, name: str, flags: int) -> int:
    """Open a file of the open folder `folder`; `Left` for a link and for a file that is mounted over the name."""
    try:
        descriptor = os.open(name, flags, dir_fd=folder)
    except OSError as error:
        if error.errno in writers.NO_FILE:
            raise Left(CHANGED) from error
        raise
    if _mount(descriptor) != _mount(folder):
        os.close(descriptor)
        raise Left(MOUNTED)
    return descriptor


def open_source(folder: int, file: File, tools: Tools) -> tuple[int, Known]:
    """Open the file of the plan to read it; `Left` when it is not what was looked at, or when somebody writes to it."""
    name, inode, ctime_ns = file
    descriptor = open_file(folder, name, READ)
    try:
        status = os.fstat(descriptor)
        _check(status, inode, ctime_ns, tools.device)
        if not (writers.claim(descriptor) and writers.release(descriptor)):
            raise Left(OPEN)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, known(status)


def each(files: t.Iterable[File], one: t.Callable[[File], tuple[int, int]], sink: Sink) -> None:
    """Do `one`, which returns the file's size and the bytes freed, with each file."""
    for file in files:
        try:
            sink.acted(*one(file))
        except (OSError, RunbookError) as error:
            sink.refused(file[0], error)


def delete(folder: int, files: t.Iterable[File], tools: Tools, sink: Sink) -> None:
    """Remove files that still are what was looked at."""
    device = tools.device

    def one(file: File) -> tuple[int, int]:
        name, inode, ctime_ns = file
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        _check(status, inode, ctime_ns, device)
        os.unlink(name, dir_fd=folder)
        return status.st_size, status.st_size

    def exact(file: File) -> tuple[int, int]:
        name, inode, ctime_ns = file
        try:
            descriptor = open_file(folder, name, READ)
        except PermissionError:
            return one(file)
        try:
            status = os.fstat(descriptor)
            _check(status, inode, ctime_ns, device)
            if writers.lease(descriptor) is False:
                raise Left(OPEN)
            os.unlink(name, dir_fd=folder)
        finally:
            os.close(descriptor)  # the lease ends with it
        return status.st_size, status.st_size

    each(files, exact if tools.exact else one, sink)


def truncate(folder: int, files: t.Iterable[File], tools: Tools, sink: Sink) -> None:
    """Empty files, which may be open for writing: the same file as was looked at that the policy still means."""

    def one(file: File) -> tuple[int, int]:
        name, inode, ctime_ns = file
        descriptor = open_file(folder, name, WRITE)
        try:
            status = os.fstat(descriptor)
            grown = status.st_ctime_ns != ctime_ns and tools.meant(status)
            _check(status, inode, status.st_ctime_ns if grown else ctime_ns, tools.device)
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)
        return status.st_size, min(status.st_size, status.st_blocks * 512)

    each(files, one, sink)


def compress(folder: int, files: t.Iterable[File], tools: Tools, sink: Sink) -> None:
    """Replace files by their compressed copies."""
    from ansible_collections.sre.runbooks.plugins.module_utils._logs.compress import compress as act

    act(folder, files, tools, sink)


def archive(folder: int, files: t.Iterable[File], tools: Tools, sink: Sink) -> None:
    """Move files to the policy's `archive_dir`."""
    from ansible_collections.sre.runbooks.plugins.module_utils._logs.archive import archive as act

    act(folder, files, tools, sink)


def _check(status: os.stat_result, inode: int, ctime_ns: int, device: int) -> None:
    if (
        status.st_ino != inode
        or status.st_ctime_ns != ctime_ns
        or status.st_dev != device
        or not stat.S_ISREG(status.st_mode)
    ):
        raise Left(CHANGED)
    if status.st_nlink != 1:
        raise Left(HARD_LINK)


def _mount(descriptor: int) -> bytes:
    """The mount that an open file or folder is on: one file system can be mounted twice, and a file over a file."""
    with open(f"/proc/self/fdinfo/{descriptor}", "rb") as stream:
        return next((line for line in stream if line.startswith(b"mnt_id:")), b"")


ACTIONS: dict[str, Action] = {"delete": delete, "compress": compress, "archive": archive, "truncate": truncate}
