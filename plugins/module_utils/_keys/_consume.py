# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stages on a host whose programs use a key: look, distribute, prove, roll back, prove dead.

`keys_held.json` keeps for each variable: {label, fingerprint, previous (a fingerprint), restart, changed, boot, refused (labels)}.
`restart` is noted before the file changes and taken off after its program has read it again, so that a killed run is made up for.
A label among `refused` was given up: whoever still brings it, from a run that does not know yet, is sent away.
The values that a variable had before lie in `keys/<fingerprint>`, mode 0600, until they are proven dead.
`orders` are what the provider's host said last of each key: {key: {current, pending, revoked, …}}.
"""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import files, outcome
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._keys import _journal, _variable, _verify
from ansible_collections.sre.runbooks.plugins.module_utils._keys._provider import fingerprint

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
    from ansible_collections.sre.runbooks.plugins.module_utils._keys._settings import Consumer, Key

STAGE = "keys"
FOLDER = "keys"
REFUSED_KEPT = 20


class Said(t.NamedTuple):
    """What a stage says of one variable: its outcome, what it reports, whether something changed."""

    status: str
    summary: str
    report: dict[str, t.Any]
    changed: bool = False


class Consume:
    """One key in one variable of this host."""

    def __init__(
        self, key: Key, consumer: Consumer, journal: _journal.Journal, state_dir: str, commands: Commands, dry: bool
    ) -> None:
        self.key, self.consumer, self.journal = key, consumer, journal
        self.entry = journal.entry(consumer.place(key.name))
        self._state_dir = state_dir
        self._folder = os.path.join(state_dir, FOLDER)
        self._commands = commands
        self._verify: t.Any = key.verify
        self._dry = dry

    @property
    def subject(self) -> str:
        """What its outcome is about."""
        return f"{self.key.subject}:{self.consumer.variable}@{self.consumer.path}"

    # --- What is there ---

    def content(self) -> _variable.Content | None:
        """What the file holds now."""
        return _variable.read(self.consumer)

    def mark(self, content: _variable.Content | None) -> str | None:
        """The fingerprint of the key that stands there."""
        return fingerprint(self.key.name, content.value) if content else None

    def report(self, **more: t.Any) -> dict[str, t.Any]:
        """What the provider's host is told."""
        content = self.content()
        held, user = self.mark(content), content.user if content else None
        return {
            "seen": True, "held": [held] if held else [], "users": [user] if user else [],
            "names": _variable.names_user(self.consumer), "released": self.entry.get("refused") or [], **more,
        }  # fmt: skip

    # --- Stages ---

    def status(self) -> Said:
        """Which key the variable holds, and whether it can be changed."""
        _variable.writable(self.consumer)
        report = self.report()
        held = report["held"][0] if report["held"] else None
        return Said("ok", f"holds {held}" if held else "holds no key yet", report)

    def distribute(self, order: t.Mapping[str, t.Any], value: str) -> Said:
        """Put the new key in the old one's place, which is kept, and have the program read it."""
        pending = order.get("pending") or {}
        label, mark = pending.get("label"), fingerprint(self.key.name, value)
        wanted = _variable.filled(self.consumer, value, str(pending.get("id") or ""))
        if not label or pending.get("fingerprint") != mark:
            raise RunbookError("the key that came is not the one that the provider's host told of. Run again.")
        if label in (self.entry.get("refused") or []):
            raise RunbookError("this key was given up by another run, and is not taken any more. Run again.")
        before = self.content()
        if self.mark(before) == mark and not self.entry.get("restart"):
            return Said("ok", f"holds {mark}", self.report())
        if self.mark(before) != mark:
            self._keep(before)
            self.entry.update(label=label, fingerprint=mark, previous=self.mark(before))
            self._note_restart()
            self.journal.audit(self.key.name, "distributed", fingerprint=mark, label=label, path=self.consumer.path)
            _variable.write(self.consumer, wanted.text, self._state_dir)
        self._restart()
        return Said("ok", f"{mark} put in place", self.report(), True)

    def prove(self, order: t.Mapping[str, t.Any]) -> Said:
        """Make a real call with the key in the file, which must be the one that is meant to be there, and see it in use."""
        content = self.content()
        if content is None:
            raise RunbookError(
                f"{self.consumer.path} holds no {self.consumer.variable}. Rotate the key (key_rotation_force)."
            )
        pending = order.get("pending") or {}
        wanted = (order.get("current") or {}).get("fingerprint")
        if pending.get("fingerprint") and not pending.get("abandoned"):
            wanted = pending["fingerprint"]
        held = self.mark(content)
        if wanted and held != wanted:
            raise RunbookError(
                f"{self.consumer.path} holds {held} and not {wanted}. Rotate the key (key_rotation_force)."
            )
        _verify.prove(self._verify, content.value, self._commands, content.user, content.url)
        self._in_use()
        return Said("ok", f"{held} proven", self.report(proven=True))

    def rollback(self, order: t.Mapping[str, t.Any]) -> Said:
        """Put the kept key back where the given-up one is, and never take that one again."""
        pending = order.get("pending") or {}
        label = pending.get("label")
        if not label or not pending.get("abandoned"):
            return Said("ok", "nothing to roll back", self.report())
        refused = self.entry.setdefault("refused", [])
        held = self.mark(self.content())
        bad = pending.get("fingerprint") or (
            self.entry.get("fingerprint") if self.entry.get("label") == label else None
        )
        changed = False
        if bad and held == bad:
            self.entry["restart"] = True
            old = self._kept(self.entry.get("previous")) if self.entry.get("label") == label else None
            if self.entry.get("label") != label or (old is None and self.entry.get("previous")):
                raise RunbookError(
                    f"{self.consumer.path} holds {bad}, which was given up, and the key before it is not kept here. It goes on working: "
                    "put another key there by hand."
                )
            self._note_restart()
            self.journal.audit(self.key.name, "rolled_back", fingerprint=bad, label=label, path=self.consumer.path)
            _variable.write(self.consumer, old.text if old else "", self._state_dir)
            changed = True
        # Also after a run that was killed between the file and the program.
        changed = self._restart() or changed
        self.entry["refused"] = [*[each for each in refused if each != label], label][-REFUSED_KEPT:]
        if self.entry.get("label") == label:
            self.entry.update(label=None, fingerprint=self.entry.get("previous"))
        self.journal.save()
        return Said(
            "warning" if changed else "ok",
            "the old key is back" if changed else "holds the old key",
            self.report(),
            changed,
        )

    def prove_dead(self, order: t.Mapping[str, t.Any]) -> Said:
        """Make a real call with each revoked key that is kept here; only a refusal proves it dead, and removes it."""
        dead, problems = [], []
        for mark in order.get("revoked") or []:
            content = self._kept(mark)
            if content is None:
                continue
            try:
                _verify.call(self._verify, content.value, self._commands, content.user, content.url)
            except _verify.Refused:
                if not self._dry:
                    os.unlink(self._path(mark))
                    self.journal.audit(self.key.name, "proven_dead", fingerprint=mark)
                dead.append(mark)
            except RunbookError as error:
                problems.append(("unknown", f"{mark} cannot be proven dead: {error}"))
            else:
                problems.append(("critical", f"the revoked key {mark} still works. Revoke it by hand at its provider."))
        if problems:
            return Said(
                outcome.worst(status for status, _text in problems),
                "; ".join(text for _s, text in problems),
                self.report(),
            )
        return Said(
            "ok", f"{', '.join(dead)} proven dead" if dead else "holds no revoked key", self.report(), bool(dead)
        )

    # --- Steps ---

    def _path(self, mark: str) -> str:
        """Where a key is kept. Each variable that holds more than the key has a file of its own."""
        consumer = self.consumer
        if consumer.template or consumer.user_variable:
            place = f"{consumer.place(self.key.name)} {consumer.template} {consumer.user_variable}"
            mark = f"{mark}-{fingerprint('', place)}"
        return os.path.join(self._folder, mark)

    def _keep(self, content: _variable.Content | None) -> None:
        if content:
            files.make_directory(self._folder)
            files.write(self._path(str(self.mark(content))), content.text.encode())

    def _kept(self, mark: str | None) -> _variable.Content | None:
        """What was kept with this fingerprint; what does not have it is not used."""
        if not mark or not mark.isalnum():
            return None
        with contextlib.suppress(FileNotFoundError), open(self._path(mark), encoding="utf-8") as stream:
            content = _variable.parsed(self.consumer, stream.read())
            return content if self.mark(content) == mark else None
        return None

    def _note_restart(self) -> None:
        """Before the file changes: its program has to read it again. Monotonic time does not mind a clock that is set."""
        self.entry.update(restart=True, changed=time.monotonic(), boot=_boot())
        self.journal.save()

    def _restart(self) -> bool:
        """Have the program read the file again where that is still to be done."""
        if not self.entry.get("restart"):
            return False
        consumer = self.consumer
        if consumer.action:
            argv = (
                consumer.what if consumer.action == "command" else ["systemctl", consumer.action, "--", consumer.what]
            )
            self.entry["changed"], self.entry["boot"] = time.monotonic(), _boot()
            self._commands.run(argv, timeout=consumer.seconds)
            self.journal.audit(
                self.key.name, "restarted", what=" ".join(argv[:1]) if consumer.action == "command" else consumer.what
            )
        self.entry["restart"] = False
        self.journal.save()
        return True

    def _in_use(self) -> None:
        """A unit is seen using the key when it was started after the file had changed; else a restart is still owed."""
        if self.entry.get("restart"):
            raise RunbookError(f"the program that reads {self.consumer.path} was not restarted. Run again.")
        if self.consumer.action not in ("restart", "reload"):
            return
        unit = self.consumer.what
        argv = ["systemctl", "show", "--property=ActiveState,ExecMainStartTimestampMonotonic", "--", unit]
        told = dict(
            line.split("=", 1)
            for line in self._commands.run(argv, timeout=self.consumer.seconds).stdout.splitlines()
            if "=" in line
        )
        if told.get("ActiveState") not in ("active", "reloading"):
            raise RunbookError(
                f"{unit} is {told.get('ActiveState')} and does not use its key. See its log (journalctl -u)."
            )
        started, changed = told.get("ExecMainStartTimestampMonotonic", ""), self.entry.get("changed")
        if self.consumer.action == "reload" or changed is None or self.entry.get("boot") != _boot():
            return
        if not started.isdecimal() or int(started) / 1e6 < changed:
            raise RunbookError(f"{unit} was not started after its key had changed. See its log (journalctl -u).")


def _boot() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
        return stream.read().strip()
