# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files are open for writing."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import stat
import threading
import time
import typing as t

# What open(2) says when a name has become a link, a folder, a socket or a device without its driver.
NO_FILE = (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV, errno.ENOTDIR)


class Writers(t.NamedTuple):
    """(device, inode) of the regular files that processes have open for writing.

    `hidden` counts the processes that this user may not look at; `unappended` are those files whose writer goes on where
    it was, whatever the size of the file: without O_APPEND.
    """

    files: frozenset[tuple[int, int]]
    hidden: int
    unappended: frozenset[tuple[int, int]] = frozenset()


def look() -> Writers:
    """Read the open files of every process of this host from /proc (proc(5): fd, fdinfo)."""
    found: set[tuple[int, int]] = set()
    unappended: set[tuple[int, int]] = set()
    hidden = 0
    for process in os.listdir("/proc"):
        if not process.isdigit():
            continue
        try:
            descriptors = os.listdir(f"/proc/{process}/fd")
        except PermissionError:
            hidden += 1
            continue
        except OSError:
            continue
        for descriptor in descriptors:
            # Descriptors and processes come and go while this reads them.
            with contextlib.suppress(OSError, ValueError):
                status = os.stat(f"/proc/{process}/fd/{descriptor}")
                if not stat.S_ISREG(status.st_mode):
                    continue
                flags = _flags(f"/proc/{process}/fdinfo/{descriptor}")
                if flags & os.O_ACCMODE in (os.O_WRONLY, os.O_RDWR):
                    found.add((status.st_dev, status.st_ino))
                    if not flags & os.O_APPEND:
                        unappended.add((status.st_dev, status.st_ino))
    return Writers(frozenset(found), hidden, frozenset(unappended))


def _flags(fdinfo: str) -> int:
    with open(fdinfo, "rb") as stream:
        return next((int(line.split()[1], 8) for line in stream if line.startswith(b"flags:")), 0)


class Watch:
    """What is open for writing, looked at anew while a long run goes on, in at most a twentieth of its time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: frozenset[tuple[int, int]] = frozenset()
        self._due = 0.0

    def files(self) -> frozenset[tuple[int, int]]:
        """(device, inode) as they were about a second ago at most."""
        with self._lock:
            began = time.monotonic()
            if began >= self._due:
                self._files = look().files
                ended = time.monotonic()
                self._due = ended + max(1.0, 20 * (ended - began))
            return self._files


@contextlib.contextmanager
def lease_breaks_ignored() -> t.Iterator[None]:
    """Keep SIGIO, by which the kernel tells of a lease that is broken, from ending this process."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGIO, before)


def claim(descriptor: int) -> bool:
    """Take a read lease on a file; False when some process has it open for writing.

    The kernel grants one only while nobody writes, whoever and in whatever container that is (fcntl(2), F_SETLEASE). It
    makes later writers wait in open(2), so hold it for moments only. Where leases are not to be had (some network file
    systems, another user's file) the open files of all processes are read instead, and nothing is held.
    """
    granted = lease(descriptor)
    if granted is None:
        status = os.fstat(descriptor)
        return (status.st_dev, status.st_ino) not in look().files
    return granted


def lease(descriptor: int) -> bool | None:
    """Take a read lease; False when somebody writes, None where leases are not to be had."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return False if error.errno == errno.EAGAIN else None
    return True


def release(descriptor: int) -> bool:
    """Give a lease back; False when a writer came while it was held."""
    try:
        undisturbed = fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == fcntl.F_RDLCK
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return True
    return undisturbed
