# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files: there, fresh, of the right size."""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import os
import typing as t
from stat import S_ISDIR

from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation

METRICS = ("age_seconds", "size_bytes", "files")
OPTIONS: dict[str, t.Any] = {"path": {"type": "path", "required": True}}
DEFAULT_BOUNDS: dict[str, t.Any] = {"files": {"critical": "< 1"}}
INHERENT = True


def observe(options: t.Mapping[str, t.Any], host: Host) -> list[Observation]:
    """Look at what the glob `path` matches: age of the newest, size of all."""
    newest, size, files = None, 0, 0
    for path in matching(options["path"]):
        try:
            stat = os.stat(path)
        except FileNotFoundError:
            continue
        if S_ISDIR(stat.st_mode):
            continue
        files += 1
        size += stat.st_size
        newest = stat.st_mtime if newest is None else max(newest, stat.st_mtime)
    if newest is None:
        return [Observation({"files": 0}, f"{options['path']} matches no file", "ok")]
    metrics = {"age_seconds": max(0.0, round(host.now - newest, 3)), "size_bytes": size, "files": files}
    age = show_duration(metrics["age_seconds"])
    return [Observation(metrics, f"{files} files, {show_size(size)}, the newest is {age} old")]


def matching(pattern: str) -> t.Iterator[str]:
    """Paths that match a glob, one by one: glob.iglob makes a list of each folder, which may hold a million names.

    As there, `*` matches no hidden name unless it begins with a dot, and `**` is any number of folders; symbolic links
    to folders are not followed by `**`.
    """
    root, parts = ("/", pattern.lstrip("/")) if pattern.startswith("/") else ("", pattern)
    return _expand(root, [part for part in parts.split("/") if part])


def _expand(folder: str, parts: t.Sequence[str]) -> t.Iterator[str]:
    if not parts:
        yield folder
        return
    head, rest = parts[0], parts[1:]
    if not glob.has_magic(head):
        path = os.path.join(folder, head)
        if os.path.lexists(path):
            yield from _expand(path, rest)
        return
    if head == "**":
        yield from _anywhere(folder, parts)
        return
    for entry in _entries(folder):
        if fnmatch.fnmatchcase(entry.name, head) and (head.startswith(".") or not entry.name.startswith(".")):
            yield from _expand(os.path.join(folder, entry.name), rest)


def _anywhere(folder: str, parts: t.Sequence[str]) -> t.Iterator[str]:
    """What the parts after `**` match in `folder` and below it."""
    if parts[1:]:
        yield from _expand(folder, parts[1:])
    for entry in _entries(folder):
        if entry.name.startswith("."):
            continue
        path = os.path.join(folder, entry.name)
        if not parts[1:]:
            yield path
        if entry.is_dir(follow_symlinks=False):
            yield from _anywhere(path, parts)


def _entries(folder: str) -> t.Iterator[os.DirEntry[str]]:
    """What is in a folder; nothing where it is none, is gone, or may not be read."""
    with contextlib.suppress(OSError), os.scandir(folder or ".") as entries:
        yield from entries
