# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files below folders: no symbolic link is followed, no other file system entered."""

from __future__ import annotations

import os
import stat
import typing as t

# Folders deeper than this are a loop that somebody mounted.
DEEPEST = 64


def files(path: str) -> t.Iterator[tuple[str, os.stat_result]]:
    """Each regular file at or below `path` with its status; what cannot be looked at is passed over."""
    try:
        info = os.lstat(path)
    except OSError:
        return
    if stat.S_ISREG(info.st_mode):
        yield path, info
    elif stat.S_ISDIR(info.st_mode):
        yield from _below(path, info.st_dev)


def _below(top: str, device: int) -> t.Iterator[tuple[str, os.stat_result]]:
    waiting = [(top, 0)]
    while waiting:
        folder, depth = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    try:
                        info = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue
                    if stat.S_ISREG(info.st_mode):
                        yield entry.path, info
                    elif stat.S_ISDIR(info.st_mode) and info.st_dev == device and depth < DEEPEST:
                        waiting.append((entry.path, depth + 1))
        except OSError:
            continue
