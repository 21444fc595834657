# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One key on the host that makes it: what there is, and the steps that the stages of `_provide` are made of."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._keys import _alternate, _journal
from ansible_collections.sre.runbooks.plugins.module_utils._keys._evidence import Evidence
from ansible_collections.sre.runbooks.plugins.module_utils._keys._provider import Known, Work

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
    from ansible_collections.sre.runbooks.plugins.module_utils._keys._settings import Key
    from ansible_collections.sre.runbooks.plugins.module_utils._keys._told import Asked


class Steps:
    """What is known of one key, and what may be done to it; each step is in the journal when it has returned."""

    def __init__(self, key: Key, journal: _journal.Journal, asked: Asked, commands: Commands) -> None:
        self.key, self.journal, self.asked = key, journal, asked
        self.entry = journal.entry(key.name)
        self._commands = commands
        self.provider: t.Any = key.provider
        self.heard = Evidence(key.name, key.expected, asked.reports)

    # --- What is there ---

    def work(self, label: str = "") -> Work:
        current = (self.entry.get("current") or {}).get("id")
        return Work(self._commands, self.key.name, label, current, self.asked.deadline)

    def observe(self) -> list[Known]:
        """The keys that there are; one that was there before the journal is taken for the current one."""
        known: list[Known] = self.provider.observe(self.key.options, self.work())
        current = self.entry.get("current")
        # What was taken for the one in use may be corrected until this collection has made one itself.
        if not current or (current.get("adopted") and self.key.adopt not in (None, current["id"])):
            found = self._adopted(known)
            if found is not None:
                self.entry["current"] = {
                    "id": found.id, "label": found.label, "fingerprint": found.fingerprint, "created": found.created,
                    "expires": found.expires, "at": self.journal.now, "adopted": True,
                }  # fmt: skip
        return known

    def _adopted(self, known: t.Sequence[Known]) -> Known | None:
        """The key that consumers had before the first rotation: the one named by `adopt`, else the newest of its name."""
        alive = [each for each in known if not each.revoked]
        if self.key.adopt is not None:
            named = [each for each in alive if each.id == str(self.key.adopt)]
            if not named and known:
                raise RunbookError(
                    f"keys.{self.key.name}.provider.adopt: no active key has the id {self.key.adopt!r}. Correct it."
                )
            return named[0] if named else None
        mine = [each for each in alive if each.label == self.key.name]
        if not mine and _alternate.does(self.provider):
            # Of two users the one is in use that all programs have in their files.
            users = self.heard.users()
            mine = [each for each in alive if users == {each.id}]
        return max(mine, key=lambda each: each.created or 0) if mine else None

    def age(self) -> float | None:
        created = (self.entry.get("current") or {}).get("created")
        return None if created is None else max(0.0, self.journal.now - created)

    def due(self) -> str:
        """Why the key is to be rotated now; empty when it is not."""
        if self.key.name in self.asked.compromised:
            return "compromised"
        if self.key.name in self.asked.force:
            return "forced"
        current = self.entry.get("current")
        if not current:
            return "not known to the journal"
        age = self.age()
        if age is None:
            return "of unknown age"
        if age >= self.key.max_age:
            return f"{units.show_duration(age)} old, allowed are {units.show_duration(self.key.max_age)}"
        expires = current.get("expires")
        # The provider's clock decides, not one that once ran ahead here.
        if expires is not None and expires - time.time() <= self.key.overlap:
            return "about to expire"
        return ""

    def facts(self, **more: t.Any) -> dict[str, t.Any]:
        """What other hosts and later stages go by; no secret."""
        pending = self.entry.get("pending")
        return {
            "current": _journal.shown(self.entry.get("current")),
            "pending": _journal.shown(pending),
            "previous": [_journal.shown(each) for each in self.entry.get("previous") or []],
            "revoked": [each["fingerprint"] for each in self.entry.get("revoked") or [] if each.get("fingerprint")],
            "due": self.due(),
            "waits": "",
            **more,
        }

    # --- Steps ---

    def abandon(self, pending: dict[str, t.Any], reason: str) -> None:
        pending.update(abandoned=True, reason=reason)
        self.journal.save()
        self.journal.audit(
            self.key.name, "abandoned", id=pending.get("id"), fingerprint=pending.get("fingerprint"), reason=reason
        )

    def revoke_pending(self, pending: dict[str, t.Any]) -> None:
        """The id may never have come back: then the key is found by the label it was made with."""
        found = [each.id for each in self.observe() if each.label == pending["label"] and not each.revoked]
        current = (self.entry.get("current") or {}).get("id")
        for key in dict.fromkeys([*([pending["id"]] if pending.get("id") else []), *found]):
            if key != current:
                self.provider.revoke(self.key.options, key, self.work(pending["label"]))
                self.journal.audit(
                    self.key.name, "revoked", id=key, fingerprint=pending.get("fingerprint"), label=pending["label"]
                )
        self._note_revoked(pending)
        self.entry["pending"] = None
        self.journal.save()

    def revoke_previous(self, old: dict[str, t.Any]) -> None:
        self.provider.revoke(self.key.options, old["id"], self.work())
        self.journal.audit(self.key.name, "revoked", id=old["id"], fingerprint=old.get("fingerprint"))
        self._note_revoked(old)
        self.entry["previous"] = [each for each in self.entry["previous"] if each is not old]
        self.journal.save()

    def _note_revoked(self, entry: t.Mapping[str, t.Any]) -> None:
        gone = {"id": entry.get("id"), "fingerprint": entry.get("fingerprint"), "at": self.journal.now}
        self.entry["revoked"] = [*(self.entry.get("revoked") or []), gone][-_journal.REVOKED_KEPT :]

    def summary(self) -> str:
        """What the report tells when nothing is wrong."""
        now, age, waiting = self.entry.get("current") or {}, self.age(), self.entry.get("previous") or []
        told = [f"{now.get('fingerprint') or now.get('id') or 'no key'} is current"]
        told += [] if age is None else [f"{units.show_duration(age)} old"]
        if waiting:
            left = max(0.0, waiting[-1]["revoke_at"] - self.journal.now)
            told.append(f"{len(waiting)} earlier one(s) end in {units.show_duration(left)}")
        elif self.entry.get("revoked"):
            told.append("all earlier ones revoked")
        return ", ".join(told)
