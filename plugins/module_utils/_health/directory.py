# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Folders: how much is in them, how many files, how old the newest is."""

from __future__ import annotations

import fnmatch
import os
import re
import time
import typing as t
from stat import S_ISDIR, S_ISREG

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError, TargetDown
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation

METRICS = ("size_bytes", "files", "newest_age_seconds")
OPTIONS: dict[str, t.Any] = {
    "path": {"type": "path", "required": True},
    "patterns": {"type": "list", "elements": "str", "default": ["*"]},
}
DEFAULT_BOUNDS: dict[str, t.Any] = {}
INHERENT = False
# Folders that are read while those in them are: each holds a descriptor, of which a process may have 1024.
OPEN_LEVELS = 64
# Asking the clock costs a tenth of what a file does.
CLOCK_EVERY = 256


class _Sum:
    """What was found so far; memory does not grow with it."""

    def __init__(self) -> None:
        self.size, self.files, self.newest = 0, 0, 0.0
        self.unread, self.first_unread = 0, ""

    def missed(self, path: str, error: OSError) -> None:
        self.unread += 1
        self.first_unread = self.first_unread or f"{path}: {error.strerror}"


def refuse(options: t.Mapping[str, t.Any]) -> None:
    """Patterns are held against names, not paths."""
    if not options["patterns"]:
        raise InputError("patterns", options["patterns"], "matches no file", 'Give at least one, such as "*.log".')
    for pattern in options["patterns"]:
        if not pattern or "/" in pattern:
            raise InputError(
                "patterns", pattern, "is no pattern of a file's name", 'Write it without folders: "*.log".'
            )


def observe(options: t.Mapping[str, t.Any], host: Host) -> list[Observation]:
    """Walk the folder once. What cannot be read makes the check unknown, unless what was seen is already too much."""
    path = options["path"]
    found = _walk(path, options["patterns"], time.monotonic() + options["timeout"], options["timeout"])
    metrics: dict[str, float] = {"size_bytes": found.size, "files": found.files}
    summary = f"{path}: {found.files} files, {show_size(found.size)}"
    if found.files:
        metrics["newest_age_seconds"] = max(0.0, round(host.now - found.newest, 3))
        summary += f", the newest is {show_duration(metrics['newest_age_seconds'])} old"
    if found.unread:
        text = f"{found.unread} folders or files in it cannot be read, the first is {found.first_unread}"
        return [Observation(metrics, f"{text}; {summary}", "unknown")]
    return [Observation(metrics, summary)]


def _walk(root: str, patterns: t.Sequence[str], deadline: float, timeout: float) -> _Sum:
    """Sum up the regular files below `root`, on its file system, without following links in it (`root` may be one)."""
    # An expression of a hundred names is still one search; the default needs none.
    matches = None if "*" in patterns else re.compile("|".join(fnmatch.translate(each) for each in patterns)).match
    device = _device(root)
    found = _Sum()
    levels = [_entries(root, found)]
    count = 0
    while levels:
        entry = next(levels[-1], None)
        if entry is None:
            levels.pop()
            continue
        count += 1
        if count % CLOCK_EVERY == 0 and time.monotonic() > deadline:
            raise RunbookError(
                f"{root}: not walked to its end within {timeout:g} s, {count} entries seen (option timeout)"
            )
        try:
            stat = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        except OSError as error:
            found.missed(entry.path, error)
            continue
        if S_ISREG(stat.st_mode):
            if matches is None or matches(entry.name):
                found.files += 1
                found.size += stat.st_size
                found.newest = max(found.newest, stat.st_mtime)
        elif S_ISDIR(stat.st_mode) and stat.st_dev == device:
            inner = _entries(entry.path, found)
            levels.append(inner if len(levels) < OPEN_LEVELS else iter(list(inner)))
    return found


def _device(root: str) -> int:
    try:
        stat = os.stat(root)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TargetDown(f"{root}: {error.strerror}") from error
    if not S_ISDIR(stat.st_mode):
        raise TargetDown(f"{root} is no folder")
    return stat.st_dev


def _entries(path: str, found: _Sum) -> t.Iterator[os.DirEntry[str]]:
    """What is in a folder, one by one; one that is gone meanwhile holds nothing."""
    try:
        with os.scandir(path) as entries:
            yield from entries
    except FileNotFoundError:
        return
    except OSError as error:
        found.missed(path, error)
