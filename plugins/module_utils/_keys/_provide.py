# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stages on the host that makes keys: look, create, promote, revoke."""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import outcome, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._keys import _journal
from ansible_collections.sre.runbooks.plugins.module_utils._keys._evidence import Evidence, Reports
from ansible_collections.sre.runbooks.plugins.module_utils._keys._provider import Known, Work, fingerprint

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
    from ansible_collections.sre.runbooks.plugins.module_utils._keys._settings import Key

STAGE = "keys"


class Told(t.NamedTuple):
    """What a stage says of one key: its outcome, the facts that other hosts go by, whether something changed, a new value."""

    status: str
    summary: str
    facts: dict[str, t.Any]
    changed: bool = False
    value: str | None = None
    metrics: dict[str, float] | None = None


class Asked(t.NamedTuple):
    """What the run asks for."""

    run: str
    force: frozenset[str]
    compromised: frozenset[str]
    limit: int
    check: bool
    reports: Reports
    deadline: float


class Provide:
    """One key on the host that makes it."""

    def __init__(self, key: Key, journal: _journal.Journal, asked: Asked, commands: Commands) -> None:
        self.key, self.journal, self.asked = key, journal, asked
        self.entry = journal.entry(key.name)
        self._commands = commands
        self._provider: t.Any = key.provider
        self._heard = Evidence(key.name, key.expected, asked.reports)

    # --- What is there ---

    def _work(self, label: str = "") -> Work:
        current = (self.entry.get("current") or {}).get("id")
        return Work(self._commands, self.key.name, label, current, self.asked.deadline)

    def observe(self) -> list[Known]:
        """The keys that there are; one that was there before the journal is taken for the current one."""
        known: list[Known] = self._provider.observe(self.key.options, self._work())
        if not self.entry.get("current"):
            found = self._adopted(known)
            if found is not None:
                self.entry["current"] = {
                    "id": found.id, "label": found.label, "fingerprint": found.fingerprint, "created": found.created,
                    "expires": found.expires, "at": self.journal.now,
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
        return max(mine, key=lambda each: each.created or 0) if mine else None

    def _age(self) -> float | None:
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
        age = self._age()
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

    # --- Stages ---

    def status(self) -> Told:
        """Tell age and state. A run that may rotate claims what another left pending: that is not promoted any more."""
        self.observe()
        pending = self.entry.get("pending")
        if pending and self.asked.run and pending.get("run") != self.asked.run and not pending.get("abandoned"):
            self._abandon(pending, "another run took over")
        self.journal.save()
        due, age = self.due(), self._age()
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
        missing = self._heard.unreported()
        if missing:
            return Told("warning", f"rotation waits: {missing}. The key in use stays.", self.facts(waits=missing))
        if pending and pending.get("run") == self.asked.run and not pending.get("abandoned"):
            return Told("warning", "this run has made a key already", self.facts(waits="made already"))
        if self.asked.check:
            return Told(
                "ok",
                f"would be rotated: {due}" if due else "what an earlier run left would be revoked",
                self.facts(),
                True,
            )
        changed = False
        if pending:
            left = self._heard.unreleased(pending)
            if left:
                return Told("warning", f"rotation waits: {left}. The key in use stays.", self.facts(waits=left))
            self._revoke_pending(pending)
            changed = True
        if not due:
            return Told("ok", "what an earlier run left is revoked", self.facts(), changed)
        if not allowed:
            text = f"due: {due}; put off, for {self.asked.limit} keys are rotated in this run (key_rotation_limit)"
            return Told("warning", text, self.facts(waits="limit"), changed)
        return self._make(due)

    def _make(self, due: str) -> Told:
        # A provider that keeps a hash does not tell the fingerprint of the first key: it is that which all consumers hold.
        current, held = self.entry.get("current"), self._heard.held()
        if current and not current.get("fingerprint") and len(held) == 1:
            current["fingerprint"] = held.pop()
        label = (
            f"{self.key.name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(self.journal.now))}-{os.urandom(4).hex()}"
        )
        self.entry["pending"] = {"label": label, "run": self.asked.run, "at": self.journal.now}
        self.journal.save()
        try:
            new = self._provider.create(self.key.options, self._work(label))
        except RunbookError as error:
            self._abandon(self.entry["pending"], str(error))
            raise
        mark = fingerprint(self.key.name, new.value)
        # With alternating users the key is one that was current before: from now on it is the new one alone.
        self.entry["previous"] = [each for each in self.entry.get("previous") or [] if each.get("id") != new.id]
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
        unproven = self._heard.unproven(pending["fingerprint"])
        if unproven:
            self._abandon(pending, unproven)
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
            left = self._heard.unreleased(pending) or self._heard.unreported()
            if left:
                held.append(f"the new key is revoked when no consumer can hold it any more: {left}")
            else:
                self._revoke_pending(pending)
                changed = True
        ending = [each for each in self.entry.get("previous") or [] if each["revoke_at"] <= self.journal.now]
        current = (self.entry.get("current") or {}).get("fingerprint")
        unproven = self._heard.unproven(current) if ending and current else ""
        if unproven:
            held.append(f"the old key is not revoked: {unproven}")
        else:
            for each in ending:
                self._revoke_previous(each)
                changed = True
        if held:
            return Told("warning", "; ".join(held), self.facts(), changed)
        return Told("ok", self._rest(), self.facts(), changed)

    def _rest(self) -> str:
        """What the report tells when nothing is wrong."""
        now, age, waiting = self.entry.get("current") or {}, self._age(), self.entry.get("previous") or []
        told = [f"{now.get('fingerprint') or now.get('id') or 'no key'} is current"]
        told += [] if age is None else [f"{units.show_duration(age)} old"]
        if waiting:
            left = max(0.0, waiting[-1]["revoke_at"] - self.journal.now)
            told.append(f"{len(waiting)} earlier one(s) end in {units.show_duration(left)}")
        elif self.entry.get("revoked"):
            told.append("all earlier ones revoked")
        return ", ".join(told)

    # --- Steps ---

    def _abandon(self, pending: dict[str, t.Any], reason: str) -> None:
        pending.update(abandoned=True, reason=reason)
        self.journal.save()
        self.journal.audit(
            self.key.name, "abandoned", id=pending.get("id"), fingerprint=pending.get("fingerprint"), reason=reason
        )

    def _revoke_pending(self, pending: dict[str, t.Any]) -> None:
        """The id may never have come back: then the key is found by the label it was made with."""
        found = [each.id for each in self.observe() if each.label == pending["label"] and not each.revoked]
        current = (self.entry.get("current") or {}).get("id")
        for key in dict.fromkeys([*([pending["id"]] if pending.get("id") else []), *found]):
            if key != current:
                self._provider.revoke(self.key.options, key, self._work(pending["label"]))
                self.journal.audit(
                    self.key.name, "revoked", id=key, fingerprint=pending.get("fingerprint"), label=pending["label"]
                )
        self._note_revoked(pending)
        self.entry["pending"] = None
        self.journal.save()

    def _revoke_previous(self, old: dict[str, t.Any]) -> None:
        self._provider.revoke(self.key.options, old["id"], self._work())
        self.journal.audit(self.key.name, "revoked", id=old["id"], fingerprint=old.get("fingerprint"))
        self._note_revoked(old)
        self.entry["previous"] = [each for each in self.entry["previous"] if each is not old]
        self.journal.save()

    def _note_revoked(self, entry: t.Mapping[str, t.Any]) -> None:
        gone = {"id": entry.get("id"), "fingerprint": entry.get("fingerprint"), "at": self.journal.now}
        self.entry["revoked"] = [*(self.entry.get("revoked") or []), gone][-_journal.REVOKED_KEPT :]


def outcome_of(key: Key, told: Told) -> dict[str, t.Any]:
    """The outcome of one key."""
    details = (
        {"current": told.facts["current"]["fingerprint"]}
        if (told.facts.get("current") or {}).get("fingerprint")
        else {}
    )
    return outcome.outcome(key.subject, STAGE, told.status, told.summary, metrics=told.metrics, details=details)
