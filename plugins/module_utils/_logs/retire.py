# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Take a log away whose content is safe elsewhere, without losing a line, killed at any moment."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat

from ansible_collections.sre.runbooks.plugins.module_utils._logs import writers
from ansible_collections.sre.runbooks.plugins.module_utils._logs.actions import CHANGED, Known, Left, same
from ansible_collections.sre.runbooks.plugins.module_utils._logs.folders import LEFTOVER
from ansible_collections.sre.runbooks.plugins.module_utils._logs.plan import OPEN

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)
_OWNER = re.compile(r"\.(\d+)\.(?:source\.|copy\.)?partial$")


def retire(folder: int, name: str, source: int, before: Known) -> None:
    """Remove the file `name`, open as `source`, unless it changed or somebody has it open for writing.

    First it moves aside, so that no new writer finds it; a writer that found it before shows by breaking the lease. The
    caller makes what it did in `folder` last (fsync).
    """
    aside = f".{name}.{os.getpid()}.source.partial"
    if not writers.claim(source):
        raise Left(OPEN)
    try:
        if not same(os.stat(name, dir_fd=folder, follow_symlinks=False), before):
            raise Left(CHANGED)
        os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=folder)
        moved = os.stat(aside, dir_fd=folder, follow_symlinks=False)
    finally:
        undisturbed = writers.release(source)
    if undisturbed and same(moved, before) and same(os.fstat(source), before):
        os.unlink(aside, dir_fd=folder)
        return
    # When the name is taken anew, the next run's sweep tries again.
    with contextlib.suppress(FileExistsError):
        rename(folder, aside, folder, name)
    raise Left(CHANGED)


def sweep(folder: int, leftover: str) -> bool:
    """Clear away what a killed run left in `folder`; return whether a source went back to its name.

    What belongs to a process that is alive is left to it.
    """
    match, owner = LEFTOVER.fullmatch(leftover), _OWNER.search(leftover)
    if match is None or owner is None:
        return False
    if int(owner[1]) != os.getpid() and os.path.exists(f"/proc/{owner[1]}"):
        return False
    if not stat.S_ISREG(os.stat(leftover, dir_fd=folder, follow_symlinks=False).st_mode):
        return False
    if match["source"]:
        # A new file of that name: this one stays, for it may hold lines that the archive lacks.
        with contextlib.suppress(FileExistsError):
            rename(folder, leftover, folder, match["source"])
            return True
        return False
    os.unlink(leftover, dir_fd=folder)
    return False


def rename(old_folder: int, old: str, new_folder: int, new: str) -> None:
    """Rename within a file system, never over something; FileExistsError when `new` is there."""
    try:
        os.link(old, new, src_dir_fd=old_folder, dst_dir_fd=new_folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with contextlib.suppress(FileNotFoundError):
            os.stat(new, dir_fd=new_folder, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new) from error
        os.rename(old, new, src_dir_fd=old_folder, dst_dir_fd=new_folder)
        return
    os.unlink(old, dir_fd=old_folder)


def take_after(source: os.stat_result, copy: int) -> None:
    """Give a copy the owner, mode and times of its source; only root can give a file away."""
    try:
        os.fchown(copy, source.st_uid, source.st_gid)
    except PermissionError:
        with contextlib.suppress(PermissionError):
            os.fchown(copy, -1, source.st_gid)
    os.fchmod(copy, stat.S_IMODE(source.st_mode))
    os.utime(copy, ns=(source.st_atime_ns, source.st_mtime_ns))
