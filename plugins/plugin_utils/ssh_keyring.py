# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keys of an SSH user on the controller: their files, and the journal that says what became of each.

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
from collections.abc import Mapping

from ansible_collections.sre.runbooks.plugins.module_utils._core import files
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


class Keyring:
    """The keys at one path and their journal. Whoever makes one holds the lock of the state folder."""

    def __init__(self, asked: Asked, journal: Journal, dry: bool) -> None:
        self.asked, self.journal, self._dry = asked, journal, dry
        self.entry = journal.entry(asked.path)
        self._settle()

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

    def _ordered(self) -> dict[str, t.Any] | None:
        """The pending key, when this run brings it to the hosts."""
        pending: dict[str, t.Any] | None = self.entry.get("pending")
        return pending if pending and pending.get("ordered") == pending.get("run") == self.asked.run else None

    def _over(self, previous: Mapping[str, t.Any]) -> bool:
        return self.asked.compromised or self.journal.now >= float(previous["revoke_at"])

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
