# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths by shell patterns, in memory that does not grow with the folders (B9)."""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import os
import typing as t


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
