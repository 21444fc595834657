# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The key pair of an SSH user on the controller, from its making to the end of the one before.

The private key stands at its place P. `P.pending` is the next one, until every host that can be reached has been opened with it; then it
takes P's place by one renaming, and what was there stays as `P.previous-<mark>` until no host needs it. The journal `ssh_pairs.json` has,
for P:
  current   {fingerprint, public, at}
  pending   the same, with the run that last claimed it, the run that ordered it to the hosts, and the overlap (seconds) of what it
            replaces; it is in no host's file before it is in the journal
  previous  those that were current: also private (its file) and revoke_at
  given_up  those that a host refused: {fingerprint, public}; their private keys are gone
  hosts     {host: {opens: the fingerprint last proven there, holds: fingerprints that its file has, or may have}}
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import typing as t
from collections.abc import Mapping, Sequence

from ansible_collections.sre.runbooks.plugins.module_utils._core import files, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._keys._journal import Journal
from ansible_collections.sre.runbooks.plugins.plugin_utils import ssh_private
from ansible_collections.sre.runbooks.plugins.plugin_utils.ssh_heard import Heard


class Asked(t.NamedTuple):
    """What one run wants of the pair at `path`; times in seconds."""

    path: str
    name: str
    run: str
    force: bool
    compromised: bool
    max_age: float
    overlap: float
    inventory: tuple[str, ...]
    expected: tuple[str, ...]
    limited: bool


class Told(t.NamedTuple):
    """The outcome of a stage, and whether something changed."""

    status: str
    summary: str
    changed: bool = False


class Pair:
    """One key pair and its journal. Whoever makes one holds the lock of the state folder."""

    def __init__(self, asked: Asked, journal: Journal, dry: bool) -> None:
        self.asked, self.journal, self._dry = asked, journal, dry
        self.entry = journal.entry(asked.path)
        self._settle()

    # --- What is there ---

    def _settle(self) -> None:
        """Make the journal say what is there, also after a run that was killed half way."""
        self._sweep()
        entry, path = self.entry, self.asked.path
        public = ssh_private.public(path)
        mark = ssh_private.fingerprint(public)
        for name, empty in (("previous", []), ("given_up", []), ("hosts", {})):
            entry.setdefault(name, empty)
        pending = entry.get("pending")
        if pending and pending["fingerprint"] == mark:
            self._promoted()
        elif not entry.get("current"):
            entry["current"] = {"fingerprint": mark, "public": public, "at": os.stat(path).st_mtime}
        elif entry["current"]["fingerprint"] != mark:
            # Somebody has put another key there. What hosts hold of the one before is theirs to say.
            entry["current"] = {"fingerprint": mark, "public": public, "at": os.stat(path).st_mtime}
            self.journal.audit(self.asked.name, "exchanged_by_hand", fingerprint=mark)
        pending = entry.get("pending")
        if pending and not ssh_private.has(self._pending, pending["fingerprint"]):
            self._give_up("its private key is gone")
        if self.asked.inventory:
            for host in set(entry["hosts"]) - set(self.asked.inventory):
                del entry["hosts"][host]

    def _sweep(self) -> None:
        """Remove the half-written files of a killed run, which may hold a private key."""
        if self._dry:
            return
        folder, name = os.path.split(self.asked.path)
        left = re.compile(rf"\.{re.escape(name)}[a-z0-9.-]*\.\d+\{files.PARTIAL}")
        with contextlib.suppress(FileNotFoundError):
            for each in os.listdir(folder):
                if left.fullmatch(each):
                    os.unlink(os.path.join(folder, each))

    @property
    def _pending(self) -> str:
        return f"{self.asked.path}.pending"

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

    def age(self) -> float:
        """Seconds since the current key was made."""
        return max(0.0, self.journal.now - float(self.entry["current"]["at"]))

    def lagging(self) -> dict[str, str]:
        """Hosts that only an earlier key has opened, and that key's private file."""
        kept = {each["fingerprint"]: each["private"] for each in self.entry["previous"]}
        return {
            host: kept[known["opens"]]
            for host, known in self.entry["hosts"].items()
            if known.get("opens") in kept and os.path.isfile(kept[known["opens"]])
        }

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

    def _ordered(self) -> dict[str, t.Any] | None:
        """The pending key, when this run brings it to the hosts."""
        pending: dict[str, t.Any] | None = self.entry.get("pending")
        return pending if pending and pending.get("ordered") == pending.get("run") == self.asked.run else None

    def _over(self, previous: Mapping[str, t.Any]) -> bool:
        return self.asked.compromised or self.journal.now >= float(previous["revoke_at"])

    # --- Stages ---

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

    # --- Steps ---

    def _make(self) -> None:
        public = ssh_private.make(self._pending, self.asked.name)
        mark = ssh_private.fingerprint(public)
        self.entry["pending"] = {
            "fingerprint": mark, "public": public, "at": self.journal.now, "run": self.asked.run,
        }  # fmt: skip
        self.journal.audit(self.asked.name, "created", fingerprint=mark)
        self.journal.save()

    def _old(self) -> str:
        mark = self.entry["current"]["fingerprint"]
        return f"{self.asked.path}.previous-{hashlib.sha256(mark.encode()).hexdigest()[:12]}"

    def _keep_old(self) -> None:
        with open(self.asked.path, "rb") as stream:
            files.write(self._old(), stream.read())

    def _promoted(self) -> None:
        """Once the new key is at its place."""
        entry = self.entry
        pending, current = entry["pending"], entry["current"]
        if not any(each["fingerprint"] == current["fingerprint"] for each in entry["previous"]):
            until = self.journal.now + float(pending.get("overlap", self.asked.overlap))
            entry["previous"].append({**current, "private": self._old(), "revoke_at": until})
        entry["current"] = {name: pending[name] for name in ("fingerprint", "public", "at")}
        entry["pending"] = None
        if not self._dry:
            files.write(f"{self.asked.path}.pub", f"{pending['public']} {self.asked.name}\n".encode(), 0o644)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self._pending}.pub")
        self.journal.audit(self.asked.name, "promoted", fingerprint=pending["fingerprint"])
        self.journal.save()

    def _give_up(self, reason: str) -> None:
        pending = self.entry["pending"]
        self.entry["given_up"].append({name: pending[name] for name in ("fingerprint", "public")})
        self.entry["pending"] = None
        self.journal.audit(self.asked.name, "given_up", fingerprint=pending["fingerprint"], reason=reason[:200])
        self.journal.save()
        if not self._dry:
            ssh_private.remove(self._pending)

    def _see(self, heard: Heard) -> None:
        """Note what each file holds by its last word, and what has opened it."""
        current = self.entry["current"]["fingerprint"]
        ours = {
            each["fingerprint"]
            for each in [
                self.entry["current"], self.entry.get("pending"), *self.entry["previous"], *self.entry["given_up"]
            ]
            if each
        }  # fmt: skip
        for host in self.asked.expected:
            told = heard.latest.get(host)
            if told is None or told.get("problem") or "held" not in told:
                continue
            known = self.entry["hosts"].setdefault(host, {})
            # What a lost host was about to be given, it may hold.
            maybe = known.get("holds") or [] if host in heard.lost else []
            known["holds"] = sorted(ours & {*told["held"], *maybe})
            if not known.get("opens") and current in told["held"]:
                known["opens"] = current
            if heard.prove.get(host, {}).get("proven") == current:
                known["opens"] = current

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
