# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be done with a file that a policy chose: one small function each, found by its name in `ACTIONS`."""

from __future__ import annotations

import os
import stat
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

CHANGED = "changed since it was looked at"


class Left(RunbookError):
    """The file was left as it is; the message is the reason. `fault` says that somebody should see to it."""

    def __init__(self, reason: str, fault: bool = False) -> None:
        super().__init__(reason)
        self.fault = fault


# A file as it was looked at: inode, time of modification in ns, size in bytes, device. A plain tuple, for there are many.
Known = tuple[int, int, int, int]


class Tools(t.NamedTuple):
    """What actions need besides the file: the module's `run_command` and the policy's compression."""

    run_command: t.Callable[..., tuple[int, str, str]]
    compression: str


Action = t.Callable[[int, str, Known, Tools], int]


def same(status: os.stat_result, known: Known) -> bool:
    """Whether `status` is that of the very file, unchanged, with one name and not being a link."""
    return (
        (status.st_ino, status.st_mtime_ns, status.st_size, status.st_dev) == known
        and status.st_nlink == 1
        and stat.S_ISREG(status.st_mode)
    )


def delete(folder: int, name: str, known: Known, _tools: Tools) -> int:
    """Remove the file `name` of the open folder `folder` if it still is what was looked at; return the bytes freed."""
    if not same(os.stat(name, dir_fd=folder, follow_symlinks=False), known):
        raise Left(CHANGED)
    os.unlink(name, dir_fd=folder)
    return known[2]


def compress(folder: int, name: str, known: Known, tools: Tools) -> int:
    """Replace the file by its compressed copy; return the bytes freed."""
    from ansible_collections.sre.runbooks.plugins.module_utils._logs import compress as implementation

    return implementation.compress(folder, name, known, tools)


ACTIONS: dict[str, Action] = {"delete": delete, "compress": compress}
