# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host remembers of its incidents: `stabilise.json` in the state folder.

  incidents  by id: {at, actions: by name: {state, at, what, ended, before, told}}; the states are begun, done, failed, undone
  taken      by what is limited: the times it was done, seconds since 1970
Each step is saved before it is taken, so that a run that is killed is known to the next.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import state

NAME = "stabilise"
REMEMBERED_SECONDS = 90 * 86400.0
# What a run began and did not end is taken up by a run of another incident within so long; later, people have seen to it.
UNFINISHED_SECONDS = 86400.0


class Journal:
    """The document, and the entry of one incident in it."""

    def __init__(self, state_dir: str, incident: str) -> None:
        self._state_dir = state_dir
        self._document = state.load(state_dir, NAME)
        for part in ("incidents", "taken"):
            if not isinstance(self._document.setdefault(part, {}), dict):
                raise state.unreadable(state_dir, NAME, f"{part} is no dictionary")
        self._incident = incident

    def entry(self, name: str) -> dict[str, t.Any] | None:
        """What is known of the action `name` in this incident."""
        known: dict[str, t.Any] = self._document["incidents"].get(self._incident, {})
        found: dict[str, t.Any] | None = known.get("actions", {}).get(name)
        return found

    def unfinished(self, what: str) -> dict[str, t.Any] | None:
        """The newest of what runs of other incidents have begun to do to `what` and not ended."""
        found = sorted(self._unfinished(what), key=lambda entry: float(entry["at"]))
        return found[-1] if found else None

    def _unfinished(self, what: str) -> list[dict[str, t.Any]]:
        since = time.time() - UNFINISHED_SECONDS
        return [
            entry
            for name, known in self._document["incidents"].items()
            if name != self._incident
            for entry in known.get("actions", {}).values()
            if entry.get("state") == "begun" and entry.get("what") == what and entry["at"] > since
        ]

    def count(self, what: str, seconds: float) -> int:
        """How often `what` was done in the last `seconds`. Times in the future count: the clock was set back."""
        since = time.time() - seconds
        return sum(1 for at in self._document["taken"].get(what, []) if at > since)

    def begin(self, name: str, what: str, before: t.Mapping[str, t.Any]) -> None:
        """Keep that the action is about to be taken."""
        now = time.time()
        self._forget(now)
        for entry in self._unfinished(what):
            entry.update(state="failed", ended=now, told=f"cut short, and taken up for {self._incident}")
        self._document["taken"].setdefault(what, []).append(now)
        known = self._document["incidents"].setdefault(self._incident, {"actions": {}})
        known["at"] = now
        known["actions"][name] = {"state": "begun", "at": now, "what": what, "before": dict(before)}
        self._save()

    def end(self, name: str, how: str, told: str) -> None:
        """Keep how it went: done, failed, undone."""
        entry = self.entry(name) or {}
        entry.update(state=how, ended=time.time(), told=told)
        self._save()

    def _forget(self, now: float) -> None:
        long_ago = now - REMEMBERED_SECONDS
        self._document["incidents"] = {
            name: known for name, known in self._document["incidents"].items() if known.get("at", now) > long_ago
        }
        kept = {what: [at for at in times if at > long_ago] for what, times in self._document["taken"].items()}
        self._document["taken"] = {what: times for what, times in kept.items() if times}

    def _save(self) -> None:
        state.save(self._state_dir, NAME, self._document)
