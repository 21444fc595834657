# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stages on the host that makes keys: look, create, promote, revoke."""

from __future__ import annotations

import os
import time

from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._keys import _alternate
from ansible_collections.sre.runbooks.plugins.module_utils._keys._provider import fingerprint
from ansible_collections.sre.runbooks.plugins.module_utils._keys._steps import Steps
from ansible_collections.sre.runbooks.plugins.module_utils._keys._told import Told


class Provide(Steps):
    """The stages of one key; what one says is a `Told`."""

    def status(self) -> Told:
        """Tell age and state. A run that may rotate claims what another left pending: that is not promoted any more."""
        self.observe()
        pending = self.entry.get("pending")
        if pending and self.asked.run and pending.get("run") != self.asked.run and not pending.get("abandoned"):
            self.abandon(pending, "another run took over")
        self.journal.save()
        due, age = self.due(), self.age()
        told = []
        if pending:
            told.append(f"a new key {pending.get('fingerprint') or ''} of an earlier run is pending")
        if self.entry.get("previous"):
            told.append(f"{len(self.entry['previous'])} earlier one(s) not yet revoked")
        text = f"{units.show_duration(age)} old" if age is not None else "age unknown"
        summary = ", ".join([text, *([f"due: {due}"] if due else []), *told])
        metrics = {} if age is None else {"age_seconds": round(age, 1)}
        late = age is not None and age >= self.key.max_age
        status = "warning" if not self.asked.run and (late or pending) else "ok"
        return Told(status, summary, self.facts(), False, None, metrics)

    def create(self, allowed: bool) -> Told:
        """Revoke what an earlier run left, then make one new key, when every consumer can be reached."""
        self.observe()
        due = self.due()
        pending = self.entry.get("pending")
        if not due and not pending:
            return Told("ok", "nothing to rotate", self.facts())
        waits = self.heard.unreported() or ("" if pending or not due else self._other())
        if waits:
            return self._waiting(waits)
        if pending and pending.get("run") == self.asked.run and not pending.get("abandoned"):
            return Told("warning", "this run has made a key already", self.facts(waits="made already"))
        if self.asked.check:
            text = f"would be rotated: {due}" if due else "what an earlier run left would be revoked"
            return Told("ok", text, self.facts(), True)
        if pending:
            left = self.heard.unreleased(pending)
            if left:
                return self._waiting(left)
            self.revoke_pending(pending)
        changed = bool(pending)
        if not due:
            return Told("ok", "what an earlier run left is revoked", self.facts(), changed)
        if not allowed:
            text = f"due: {due}; put off, for {self.asked.limit} keys are rotated in this run (key_rotation_limit)"
            return Told("warning", text, self.facts(waits="limit"), changed)
        return self._begin(due, changed)

    def _waiting(self, why: str, changed: bool = False) -> Told:
        return Told("warning", f"rotation waits: {why}. The key in use stays.", self.facts(waits=why), changed)

    def _other(self) -> str:
        """Why the other one of two users is not free, where the provider has two."""
        return _alternate.waits(self) if _alternate.does(self.provider) else ""

    def _begin(self, due: str, changed: bool) -> Told:
        waits = self._other()
        if waits:
            return self._waiting(waits, changed)
        if _alternate.does(self.provider):
            _alternate.settle(self)
        return self._make(due)

    def _make(self, due: str) -> Told:
        # A provider that keeps a hash does not tell the fingerprint of the first key: it is that which all consumers hold.
        current, held = self.entry.get("current"), self.heard.held()
        if current and not current.get("fingerprint") and len(held) == 1:
            current["fingerprint"] = held.pop()
        label = (
            f"{self.key.name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(self.journal.now))}-{os.urandom(4).hex()}"
        )
        self.entry["pending"] = {"label": label, "run": self.asked.run, "at": self.journal.now}
        self.journal.save()
        try:
            new = self.provider.create(self.key.options, self.work(label))
        except RunbookError as error:
            self.abandon(self.entry["pending"], str(error))
            raise
        mark = fingerprint(self.key.name, new.value)
        self.entry["pending"].update(id=new.id, fingerprint=mark, expires=new.expires, created=self.journal.now)
        self.journal.save()
        self.journal.audit(self.key.name, "created", id=new.id, fingerprint=mark, label=label, reason=due)
        return Told("ok", f"new key {mark} created ({due})", self.facts(), True, new.value)

    def promote(self) -> Told:
        """Make the new key the current one when every consumer of every host has proven it; else give it up."""
        pending = self.entry.get("pending")
        if not pending or self.asked.check:
            return Told("ok", "nothing to promote", self.facts())
        if pending.get("run") != self.asked.run or pending.get("abandoned"):
            reason = pending.get("reason") or "another run is at it"
            return Told("warning", f"not promoted: {reason}. The key in use stays.", self.facts(promoted=False))
        unproven = self.heard.unproven(pending["fingerprint"])
        if unproven:
            self.abandon(pending, unproven)
            return Told("critical", f"rotation failed and is rolled back: {unproven}", self.facts(promoted=False), True)
        overlap = 0.0 if self.key.name in self.asked.compromised else self.key.overlap
        old = self.entry.get("current")
        if old:
            self.entry.setdefault("previous", []).append({**old, "revoke_at": self.journal.now + overlap})
        if self.key.name in self.asked.compromised:
            for each in self.entry.get("previous") or []:
                each["revoke_at"] = min(each["revoke_at"], self.journal.now)
        self.entry["current"] = {
            **{name: pending.get(name) for name in ("id", "label", "fingerprint", "created", "expires")},
            "at": self.journal.now,
        }
        self.entry["pending"] = None
        self.journal.save()
        self.journal.audit(self.key.name, "promoted", id=pending["id"], fingerprint=pending["fingerprint"])
        summary = f"rotated: {pending['fingerprint']} is current, proven by {len(self.key.expected)} host(s)"
        if not old:
            summary += "; the key used before is not known here (provider.adopt): revoke it by hand"
            return Told("warning", summary, self.facts(promoted=True), True)
        return Told(
            "ok", f"{summary}; the old one ends in {units.show_duration(overlap)}", self.facts(promoted=True), True
        )

    def revoke(self) -> Told:
        """Revoke what was given up and no consumer holds, and what was current before and whose overlap has passed."""
        pending, changed, held = self.entry.get("pending"), False, []
        if self.asked.check:
            ending = [each for each in self.entry.get("previous") or [] if each["revoke_at"] <= self.journal.now]
            return Told("ok", f"{len(ending)} key(s) would be revoked", self.facts(), bool(ending))
        if pending and pending.get("abandoned"):
            left = self.heard.unreleased(pending) or self.heard.unreported()
            if left:
                held.append(f"the new key is revoked when no consumer can hold it any more: {left}")
            else:
                self.revoke_pending(pending)
                changed = True
        ending = [each for each in self.entry.get("previous") or [] if each["revoke_at"] <= self.journal.now]
        current = (self.entry.get("current") or {}).get("fingerprint")
        unproven = self.heard.unproven(current) if ending and current else ""
        if unproven:
            held.append(f"the old key is not revoked: {unproven}")
        else:
            for each in ending:
                self.revoke_previous(each)
                changed = True
        if held:
            return Told("warning", "; ".join(held), self.facts(), changed)
        return Told("ok", self.summary(), self.facts(), changed)
