# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Put a file or a folder in the place of another in one step, and keep the other.

The two exchange their names (renameat2(2), RENAME_EXCHANGE), so that there is no moment without either. Where the
file system cannot do that, two renames do, and the journal tells the next run to make the second one.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import glob
import os
import shutil
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import files

KEPT = ".before-restore-"
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_UNKNOWN = (errno.ENOSYS, errno.EINVAL, errno.EPERM)


def kept_name(target: str, stamp: str) -> str:
    """What the old `target` is called once something else is in its place."""
    return f"{target}{KEPT}{stamp}"


def entry(new: str, target: str, kept: str) -> dict[str, t.Any]:
    """What a journal must know before `new` is put in the place of `target`."""
    info = os.lstat(new)
    return {"new": new, "target": target, "kept": kept, "device": info.st_dev, "inode": info.st_ino}


def replace(swap: t.Mapping[str, t.Any]) -> bool:
    """Make the swap that stands in the journal; again after a kill at any moment. Returns whether an old one was kept."""
    new, target, kept = swap["new"], swap["target"], swap["kept"]
    if os.path.lexists(new) and not _is_new(target, swap):
        if not os.path.lexists(target):
            os.rename(new, target)
        elif not _exchange(new, target):
            # The one gap that the journal has to cover: nothing is called `target` between these two.
            os.rename(target, kept)
            os.rename(new, target)
    if os.path.lexists(new):
        os.rename(new, kept)
    files.fsync_directory(os.path.dirname(target))
    return os.path.lexists(kept)


def undo(swap: t.Mapping[str, t.Any]) -> None:
    """Put the old one back, and the new one where it was built."""
    new, target, kept = swap["new"], swap["target"], swap["kept"]
    if _is_new(target, swap):
        os.rename(target, new)
    if os.path.lexists(kept) and not os.path.lexists(target):
        os.rename(kept, target)


def begun(swap: t.Mapping[str, t.Any]) -> bool:
    """Whether a swap of the journal has gone so far that it must be ended: the new one is no longer where it was built."""
    return _is_new(swap["target"], swap) or not os.path.lexists(swap["target"])


def remove(path: str) -> bool:
    """Remove a file or a folder; return whether there was one."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
        return True
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
        return True
    return False


def kept_ones(target: str) -> list[str]:
    """The old ones that restores have kept of `target`, newest first."""
    found = glob.glob(glob.escape(target) + KEPT + "[0-9]*Z")
    return sorted(found, reverse=True)


def _is_new(path: str, swap: t.Mapping[str, t.Any]) -> bool:
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return False
    return (info.st_dev, info.st_ino) == (swap["device"], swap["inode"])


def _exchange(first: str, second: str) -> bool:
    """Exchange two names; False where kernel, library or file system cannot."""
    library = ctypes.CDLL(None, use_errno=True)
    call = getattr(library, "renameat2", None)
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), ctypes.c_uint(_RENAME_EXCHANGE)) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNKNOWN:
        return False
    raise OSError(number, os.strerror(number), second)
