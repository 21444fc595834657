# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host remembers of its keys, and the audit: ids, fingerprints and times, never a value.

The provider's host keeps `keys.json`, for each key:
  current   the key in use: {id, label, fingerprint, created, expires, at}
  pending   one that is being brought to its consumers, noted before it is made: {label, run, id, fingerprint, created, expires,
            at, abandoned, reason}. An abandoned one is never promoted; it is revoked when every consumer has been seen without it.
  previous  those that were current: like current, with revoke_at
  revoked   the last ones revoked: {id, fingerprint, at}
A consumer's host keeps `keys_held.json`, see _consume.
"""

from __future__ import annotations

import json
import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import files, state
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._keys import _times

AUDIT = "keys_audit.jsonl"
REVOKED_KEPT = 20


class Journal:
    """One document of the state folder, saved after each step. With `dry` nothing is ever written."""

    def __init__(self, state_dir: str, name: str, run: str, actor: str, dry: bool) -> None:
        self._state_dir = state_dir
        self._name = name
        self._run = run
        self._actor = actor
        self._dry = dry
        self.document = state.load(state_dir, name)
        entries = self.document.setdefault("keys", {})
        if not isinstance(entries, dict):
            raise state.unreadable(state_dir, name, "its keys are no dictionary")
        # A clock that was set back must not make a key younger, nor its overlap longer.
        self.now = max(time.time(), float(self.document.get("last") or 0))

    def entry(self, name: str) -> dict[str, t.Any]:
        """What is known of one key; it may be changed, then saved."""
        entry: dict[str, t.Any] = self.document["keys"].setdefault(name, {})
        return entry

    def save(self) -> None:
        """Make what was changed last."""
        if self._dry:
            return
        self.now = self.document["last"] = max(time.time(), self.now)
        state.save(self._state_dir, self._name, self.document)

    def audit(self, key: str, event: str, **told: t.Any) -> None:
        """Add a line to the audit, durably: who did what to which key, when."""
        if self._dry:
            return
        line = {"time": _times.show(self.now), "key": key, "event": event, "who": self._actor, "run": self._run, **told}
        path = os.path.join(self._state_dir, AUDIT)
        data = (json.dumps({name: value for name, value in line.items() if value not in (None, "")}) + "\n").encode()
        try:
            files.make_directory(self._state_dir)
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise RunbookError(
                f"{path}: cannot write the audit: {error.strerror}. Make room or give access."
            ) from error


def shown(entry: t.Mapping[str, t.Any] | None) -> dict[str, t.Any] | None:
    """A key of the journal for results: times as people read them."""
    if not entry:
        return None
    return {
        name: _times.show(value) if name in ("created", "expires", "at", "revoke_at") else value
        for name, value in entry.items()
        if value is not None
    }
