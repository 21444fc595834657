# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stages of rotating the key pair of an SSH user, from its making to the end of the one before.

What is there, and the single steps, are in `ssh_keyring`.
"""

from __future__ import annotations

import contextlib
import os
import typing as t
from collections.abc import Sequence

from ansible_collections.sre.runbooks.plugins.module_utils._core import files, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.plugin_utils.ssh_heard import Heard
from ansible_collections.sre.runbooks.plugins.plugin_utils.ssh_keyring import Keyring


class Told(t.NamedTuple):
    """The outcome of a stage, and whether something changed."""

    status: str
    summary: str
    changed: bool = False


class Pair(Keyring):
    """One key pair and the stages of its rotation."""

    def due(self) -> str:
        """Why the key is to be rotated; empty when it is not."""
        if self.entry.get("pending"):
            return "a rotation was under way"
        if self.asked.compromised:
            return "compromised"
        if self.asked.force:
            return "forced"
        age = self.age()
        if age > self.asked.max_age:
            return f"{units.show_duration(age)} old, more than {units.show_duration(self.asked.max_age)}"
        return ""

    def facts(self) -> dict[str, t.Any]:
        """What stages on hosts go by; public keys and paths."""
        entry = self.entry
        pending = self._ordered()
        wanted = pending or entry["current"]
        over = [each for each in entry["previous"] if self._over(each)]
        return {
            "fingerprint": wanted["fingerprint"],
            "key": f"{wanted['public']} {self.asked.name}",
            "private_key": self._pending if pending else self.asked.path,
            "pending": bool(pending),
            "beside": [entry["current"]["public"], *[each["public"] for each in reversed(entry["previous"])]],
            "with": self.lagging(),
            "over": [each["public"] for each in over],
            "over_fingerprints": [each["fingerprint"] for each in over],
            "dead": [each["private"] for each in over if os.path.isfile(each["private"])],
            "given_up": [each["public"] for each in entry["given_up"]],
        }

    def status(self) -> Told:
        """Claim what a run left pending, so that that one decides nothing any more."""
        if self.entry.get("pending") and not self._dry:
            self.entry["pending"]["run"] = self.asked.run
        for each in self.entry["previous"] if self.asked.compromised else ():
            # Also for the runs that come after this one.
            each["revoke_at"] = min(each["revoke_at"], self.journal.now)
        self.journal.save()
        return Told("ok", f"{self.entry['current']['fingerprint']} is {units.show_duration(self.age())} old")

    def create(self, heard: Heard) -> Told:
        """Make the next pair when the key is due and every host has answered or is known to be away."""
        due = self.due()
        self._see(heard)
        if not due:
            self.journal.save()
            return self.said()
        waits = self._waits(heard)
        if waits:
            self.journal.save()
            return Told("warning", f"{due}; the rotation waits, the key in use stays: {waits}")
        if self._dry:
            return Told("ok", f"would be rotated: {due}", True)
        if not self.entry.get("pending"):
            self._make()
        mark = self.entry["pending"]["fingerprint"]
        for host in self.asked.expected:
            holds = self.entry["hosts"].setdefault(host, {}).setdefault("holds", [])
            if mark not in holds:
                holds.append(mark)
        wait = 0.0 if self.asked.compromised else self.asked.overlap
        pending = self.entry["pending"]
        pending.update(run=self.asked.run, ordered=self.asked.run, overlap=min(wait, pending.get("overlap", wait)))
        self.journal.save()
        return Told("ok", f"{mark} made: {due}", True)

    def _waits(self, heard: Heard) -> str:
        if self.asked.limited and not self.entry.get("pending"):
            return "--limit leaves hosts out. Run without it"
        outside = sorted(set(self.entry["hosts"]) - set(self.asked.expected))
        if outside:
            return f"{_some(outside)} not in this play. Run with all hosts"
        silent = [host for host in self.asked.expected if host not in heard.status and host not in heard.lost]
        if silent:
            return f"no answer of {_some(silent)}"
        broken = [
            f"{host}: {heard.status[host]['problem']}"
            for host in self.asked.expected
            if host in heard.status and host not in heard.lost and heard.status[host].get("problem")
        ]
        if broken:
            return _some(broken)
        return "" if set(heard.status) - heard.lost else "no host can be reached"

    def decide(self, heard: Heard) -> Told:
        """Promote the pending key when every host that can be reached was opened with it, else give it up."""
        entry, pending = self.entry, self.entry.get("pending")
        self._see(heard)
        if not pending or (pending["run"] == self.asked.run and not self._ordered()):
            self.journal.save()
            return self.said()
        if pending["run"] != self.asked.run:
            return Told("warning", "another rotation has taken over; nothing is decided here")
        mark, old = pending["fingerprint"], entry["current"]["fingerprint"]
        failed = self._failed(heard, mark)
        proven = [
            host
            for host, told in heard.prove.items()
            if told.get("proven") == mark and host in self.asked.expected and host not in heard.lost
        ]
        if failed:
            self._give_up(failed)
            return Told("critical", f"rolled back, the key in use stays: {failed}", True)
        if not proven:
            self.journal.save()
            return Told("warning", "no host can be reached any more; the next run goes on")
        for host in set(self.asked.expected) - set(proven):
            # Nothing else is known to open it.
            entry["hosts"].setdefault(host, {}).setdefault("opens", old)
        self._keep_old()
        os.replace(self._pending, self.asked.path)
        files.fsync_directory(os.path.dirname(self.asked.path))
        self._promoted()
        for host in proven:
            entry["hosts"].setdefault(host, {})["opens"] = mark
        self.journal.save()
        return self.said("rotated: ", True)

    def _failed(self, heard: Heard, mark: str) -> str:
        problems = []
        for host in self.asked.expected:
            if host in heard.lost or host not in heard.status:
                continue
            problem = heard.add.get(host, {}).get("problem")
            told = heard.prove.get(host, {})
            if not problem and told.get("proven") != mark:
                problem = told.get("problem") or "no proof"
            if problem:
                problems.append(f"{host}: {problem}")
        return _some(problems)

    def finish(self, heard: Heard) -> Told:
        """Forget the keys that no host holds any more, and remove their private parts."""
        self._see(heard)
        held = {mark for known in self.entry["hosts"].values() for mark in known.get("holds") or []}
        opens = {known.get("opens") for known in self.entry["hosts"].values()}
        self.entry["given_up"] = [each for each in self.entry["given_up"] if each["fingerprint"] in held]
        gone = [
            each
            for each in self.entry["previous"]
            if self._over(each) and each["fingerprint"] not in held and each["fingerprint"] not in opens
        ]
        for each in gone:
            if not self._dry:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(each["private"])
                self.journal.audit(self.asked.name, "ended", fingerprint=each["fingerprint"])
            self.entry["previous"].remove(each)
            self.journal.save()
        self.journal.save()
        return self.judged(bool(gone))

    def said(self, before: str = "", changed: bool = False) -> Told:
        """How old the key is."""
        return Told(
            "ok", f"{before}{self.entry['current']['fingerprint']} is {units.show_duration(self.age())} old", changed
        )

    def judged(self, changed: bool) -> Told:
        """How the key stands when all stages are over: what is over and still in force somewhere, who waits for it."""
        entry = self.entry
        behind = sorted(self.lagging())
        text = self.said().summary
        left = [
            host
            for host, known in sorted(entry["hosts"].items())
            for each in entry["previous"]
            if self._over(each) and each["fingerprint"] in (known.get("holds") or [])
        ]
        status = "ok"
        if behind:
            status = "critical" if self.asked.compromised else "warning"
            text += (
                f"; {_some(behind)} could not be reached: the old key goes on to open it and is kept on the controller. Run again when "
                "it is back"
            )
        elif left:
            status = "critical" if self.asked.compromised else "warning"
            text += f"; a key that is over still opens {_some(list(dict.fromkeys(left)))}. Run again"
        if entry.get("pending"):
            status = "critical" if status == "critical" else "warning"
            text += "; a rotation is under way. Run again"
        if entry["given_up"]:
            status = "critical" if status == "critical" else "warning"
            text += "; a key that was given up is to be taken back from hosts. Run again"
        waiting = [float(each["revoke_at"]) - self.journal.now for each in entry["previous"] if not self._over(each)]
        if waiting and not behind:
            text += f"; the old one ends in {units.show_duration(max(waiting))}"
        return Told(status, text, changed)


def _some(names: Sequence[str]) -> str:
    more = f" (and {len(names) - 3} more)" if len(names) > 3 else ""
    return "; ".join(names[:3]) + more


def checked(path: str, max_age: str, overlap: str) -> tuple[str, float, float]:
    """The options that can be wrong; times in seconds."""
    full = os.path.expanduser(path)
    if not os.path.isabs(full) or any(letter in full for letter in '"%\n\\'):
        raise InputError(
            "private_key", path, "is no plain absolute path", "Name the private key without quotes and percent signs."
        )
    age = units.duration(max_age, "max_age")
    if age <= 0:
        raise InputError("max_age", max_age, "would rotate the key in every run", "Give a duration, as in 180d.")
    return os.path.realpath(full), age, units.duration(overlap, "overlap")
