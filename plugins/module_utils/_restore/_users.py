# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which processes have files open: by device and inode, so that no name can hide one."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import _psutil


class Users(t.NamedTuple):
    """`names` such as `python3 (process 4711, user feature11)`; `hidden` processes may not be looked at by this user."""

    names: tuple[str, ...]
    hidden: int


def of(paths: t.Iterable[str]) -> Users:
    """The processes other than this one that have any of `paths` open or mapped (proc(5): fd)."""
    wanted = set()
    for path in paths:
        with contextlib.suppress(OSError):
            info = os.stat(path)
            wanted.add((info.st_dev, info.st_ino))
    if not wanted:
        return Users((), 0)
    names, hidden = [], 0
    for process in _psutil.get().pids():
        if process == os.getpid():
            continue
        try:
            if _has(process, wanted):
                names.append(_name(process))
        except PermissionError:
            hidden += 1
        except OSError:
            continue
    return Users(tuple(names), hidden)


def _has(process: int, wanted: set[tuple[int, int]]) -> bool:
    folder = f"/proc/{process}/fd"
    for descriptor in os.listdir(folder):
        # Descriptors come and go while this reads them.
        with contextlib.suppress(FileNotFoundError):
            info = os.stat(f"{folder}/{descriptor}")
            if (info.st_dev, info.st_ino) in wanted:
                return True
    return False


def _name(process: int) -> str:
    psutil = _psutil.get()
    name = user = "unknown"
    with contextlib.suppress(psutil.Error):
        found = psutil.Process(process)
        name = found.name()
        user = found.username()
    return f"{name} (process {process}, user {user})"
