# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that were looked at and held nothing: the next run passes over them while they are as they were (K4)."""

from __future__ import annotations

import hashlib
import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import state

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._secrets._walk import File

# Each takes about 100 bytes of memory; of more files the rest is looked at again.
_MOST = 150_000


class Seen:
    """Marks of clean files. A mark is a digest of path, size, times and inode: it says nothing to who reads it."""

    def __init__(self, state_dir: str, name: str, settings: str, empty: bool = False) -> None:
        self._state_dir = state_dir
        self._name = f"secret_scan.{name}"
        self._settings = settings
        document = {} if empty else state.load(state_dir, self._name)
        marks = document.get("clean") if document.get("settings") == settings else None
        self._before = frozenset(str(mark) for mark in marks) if isinstance(marks, list) else frozenset()
        self._now: set[str] = set()

    def clean(self, file: File) -> bool:
        """Whether `file` is as it was when it held nothing; it is remembered further."""
        mark = _mark(file)
        if mark not in self._before:
            return False
        self._remember(mark)
        return True

    def add(self, file: File) -> None:
        """`file` was looked at as a whole and holds nothing."""
        self._remember(_mark(file))

    def _remember(self, mark: str) -> None:
        if len(self._now) < _MOST:
            self._now.add(mark)

    def save(self, whole: bool) -> None:
        """Keep the marks; without `whole` those of files that were not reached stay."""
        marks = self._now if whole else self._now | self._before
        if marks != self._before:
            state.save(self._state_dir, self._name, {"settings": self._settings, "clean": sorted(marks)})


def _mark(file: File) -> str:
    status = file.status
    parts = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    text = os.fsencode(file.path) + b"\0" + repr(parts).encode()
    return hashlib.blake2b(text, digest_size=10).hexdigest()
