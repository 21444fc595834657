# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a migration has begun, until it has come to one end or the other, and the copies that it keeps as ways back.

A copy is kept by the pin that backups heed: the next backup of the day would else take its place.
"""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _catalog, _manifest
from ansible_collections.sre.runbooks.plugins.module_utils._core import files, state


class Journal:
    """Of one project; `entry` is empty when nothing has been begun, else it has `from`, `copy`, `begun`, `schema`."""

    def __init__(self, state_dir: str, name: str) -> None:
        self._state_dir = state_dir
        self._name = name
        self._document = state.load(state_dir, name)
        self.entry: dict[str, t.Any] = self._document.get("entry") or {}

    @property
    def path(self) -> str:
        """The file that it stands in."""
        return os.path.join(self._state_dir, f"{self._name}.json")

    def begin(self, revisions: t.Sequence[str], copy: str, schema: t.Mapping[str, str]) -> None:
        """Before anything is changed: where the database was, and what leads back there."""
        begun = _manifest.timestamp(time.time())
        if not os.path.lexists(copy + _catalog.PIN):
            files.write(copy + _catalog.PIN, f"way back of the migration begun at {begun}\n".encode())
            self._document.setdefault("pins", {})[copy] = None
        self.entry = {"from": list(revisions), "copy": copy, "begun": begun, "schema": dict(schema)}
        self._save()

    def fail(self, reason: str) -> None:
        """The way back failed too: the copy stays."""
        self.entry = {**self.entry, "failed": reason}
        self._save()

    def end(self, keep_seconds: float) -> None:
        """The database is at one end or the other; its copy stays pinned for so long."""
        pins = self._document.get("pins") or {}
        if not self.entry and not pins:
            return
        now = time.time()
        for copy, until in list(pins.items()):
            if until is None:
                pins[copy] = now + keep_seconds
            if pins[copy] <= now:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(copy + _catalog.PIN)
                del pins[copy]
        self.entry = {}
        self._document["pins"] = pins
        self._save()

    def _save(self) -> None:
        self._document["entry"] = self.entry
        state.save(self._state_dir, self._name, self._document)
