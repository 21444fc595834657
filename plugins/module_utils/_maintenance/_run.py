# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Begin, renew, end and look at a lease of maintenance mode.

The order makes every moment safe to be killed at: the lease is kept, what ends it lives, alerts are silenced, and only then the mode goes on.
"""

from __future__ import annotations

import os
import socket
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import envelope, outcome
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration
from ansible_collections.sre.runbooks.plugins.module_utils._maintenance import (
    _keeper,
    _lease,
    _registry,
    _silence,
    _start,
)
from ansible_collections.sre.runbooks.plugins.module_utils._maintenance._switch import Work

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
    from ansible_collections.sre.runbooks.plugins.module_utils._maintenance._settings import Settings, Switch

STAGE = "maintenance"
SWITCH_SECONDS = 120.0
LOCK_SECONDS = 60.0
# Renewed when less of it is left: a second call right after the first has nothing to do.
ENOUGH = 0.9


class Told(t.NamedTuple):
    """What became of the switch: status and line of its outcome, whether it is on, and until when, in which hands."""

    status: str
    text: str
    changed: bool
    on: bool | None
    lease: _lease.Lease | None


class Maintenance:
    """One call on one host."""

    def __init__(self, settings: Settings, commands: Commands, state_dir: str, dry: bool) -> None:
        self._settings = settings
        self._commands = commands
        self._state_dir = state_dir
        self._dry = dry
        self._work = Work(self._ran, time.monotonic() + SWITCH_SECONDS)
        self._silences: list[dict[str, t.Any]] = []
        self._silenced = False

    def run(self) -> dict[str, t.Any]:
        """Return the envelope, with `active`, `owner`, `until`, `left_seconds`, `ours`."""
        if self._dry or self._settings.state == "status":
            told = self._turned()
        else:
            with _lease.hold(self._state_dir, LOCK_SECONDS):
                self._revive()
                told = self._turned()
        lease = told.lease
        left = max(0.0, _lease.left(lease)) if lease else 0.0
        metrics = {"on": float(told.on)} if told.on is not None else {}
        details = {"until": _lease.until(lease), "owner": lease["owner"]} if lease else {}
        shown = outcome(
            f"maintenance:{self._settings.name}", STAGE, told.status, told.text,
            metrics={**metrics, "left_seconds": round(left, 1)}, details=details,
        )  # fmt: skip
        changed = told.changed or self._silenced
        return envelope(
            [*([shown] if told.text else []), *self._silences], changed, active=told.on, left_seconds=round(left, 1),
            owner=lease["owner"] if lease else "", until=_lease.until(lease) if lease else "",
            ours=bool(lease and lease["ours"]),
            diff={"before": "", "after": f"{told.text}\n" if told.changed else ""},
        )  # fmt: skip

    def _turned(self) -> Told:
        return {"on": self._on, "off": self._off, "status": self._status}[self._settings.state]()

    def _ran(self, argv: t.Sequence[str], seconds: float) -> tuple[int, str]:
        done = self._commands.run(argv, timeout=seconds, check=False)
        if done.rc == 124:
            raise CommandFailed(argv[0], done.rc, done.stderr, seconds)
        return done.rc, done.stdout + done.stderr

    def _revive(self) -> None:
        """Leases whose keeper was killed, or that a boot took it from, get one: it ends what is over at once."""
        for name in _lease.names(self._state_dir):
            if name != self._settings.name and not _keeper.alive(self._state_dir, name):
                _start.keep(self._state_dir, name, self._commands)

    # --- On ---

    def _on(self) -> Told:
        settings = self._settings
        lease = self._mine()
        if settings.switch is None:
            self._silence(settings.lease)
            return Told("ok", "", False, None, None)
        self._refuse_shared(settings.switch)
        family = _registry.load(settings.switch.kind)
        seen = family.look(settings.switch.options, self._work)
        fresh = lease is None or _lease.left(lease) <= 0
        ours = bool(lease["ours"]) if lease else seen is not True
        made: _lease.Lease = {
            **(lease or {}), "name": settings.name, "owner": settings.owner, "reason": settings.reason, "ours": ours,
            "kind": settings.switch.kind, "options": settings.switch.options,
        }  # fmt: skip
        made.setdefault("state", "begun")
        made.setdefault("began", time.time())
        renewed = lease is None or _lease.left(lease) < ENOUGH * settings.lease
        if renewed:
            made.pop("problem", None)
            _lease.extend(made, settings.lease)
        needed = seen is not True and (seen is False or fresh or made["state"] == "begun")
        changed = renewed or needed
        if not self._dry:
            self._begin(made, made != lease)
        self._silence(_lease.left(made))
        if not self._dry:
            self._switch(settings.switch, made, needed, "begun" if fresh else "renewed" if renewed else "")
        return Told("ok" if ours else "warning", self._told_on(made, fresh, changed), changed, True, made)

    def _begin(self, made: _lease.Lease, differs: bool) -> None:
        if differs:
            _lease.save(self._state_dir, made)
        try:
            _start.keep(self._state_dir, made["name"], self._commands)
        except RunbookError:
            if made["state"] == "begun":
                _lease.remove(self._state_dir, made["name"])
            raise

    def _switch(self, switch: Switch, made: _lease.Lease, needed: bool, event: str) -> None:
        family = _registry.load(switch.kind)
        try:
            if needed:
                family.turn(switch.options, True, self._work)
                if family.look(switch.options, self._work) is False:
                    raise RunbookError(f"{switch.target} is not in maintenance after it was switched on")
        except RunbookError as error:
            raise RunbookError(f"{error}. {self._took_back(made)}") from error
        if made["state"] != "on":
            made["state"] = "on"
            _lease.save(self._state_dir, made)
        if event:
            _lease.note(self._state_dir, made, event, made["reason"])

    def _took_back(self, made: _lease.Lease) -> str:
        """Nobody knows what a request has done that failed: switch off, or let the keeper do it."""
        if made["state"] == "on":
            return f"The lease stays until {_lease.until(made)}."
        try:
            text = _lease.release(self._state_dir, made, "failed", Work(self._ran, time.monotonic() + SWITCH_SECONDS))
        except RunbookError:
            return f"It will be switched off at {_lease.until(made)}, should it be on."
        self._unsilence()
        return f"Taken back: {text}."

    def _told_on(self, made: _lease.Lease, fresh: bool, changed: bool) -> str:
        verb = "would be on" if self._dry and changed else "on" if fresh or not changed else "renewed"
        text = f"{verb} until {_lease.until(made)} ({show_duration(_lease.left(made))}) for {made['owner']}"
        return text if made["ours"] else f"{text}; it was on before, so it stays on after that"

    def _mine(self) -> _lease.Lease | None:
        """The lease of this name; RunbookError when it is in other hands."""
        lease = _lease.load(self._state_dir, self._settings.name)
        if lease and _lease.left(lease) > 0 and lease["owner"] != self._settings.owner and not self._settings.force:
            why = f" ({lease['reason']})" if lease.get("reason") else ""
            raise RunbookError(
                f"maintenance mode ({lease['name']}) is held by {lease['owner']}{why} until {_lease.until(lease)}. "
                "Wait for that, ask them, or use force."
            )
        return lease

    def _refuse_shared(self, switch: Switch) -> None:
        """One switch, one lease: the end of one would end the other."""
        for name in _lease.names(self._state_dir):
            other = _lease.load(self._state_dir, name)
            if other is None:
                continue
            target = _registry.load(other["kind"]).target(other["options"])
            if (name == self._settings.name) != (target == switch.target):
                what = (
                    f"switches {target}"
                    if name == self._settings.name
                    else f"is another one, of {other['owner']}, for {target}"
                )
                raise RunbookError(f"maintenance mode ({name}) {what} until {_lease.until(other)}. End that one first.")

    # --- Off ---

    def _off(self) -> Told:
        lease = self._mine()
        told = self._released(lease) if lease else self._unheld()
        self._unsilence()
        return told

    def _released(self, lease: _lease.Lease) -> Told:
        if self._dry:
            return Told(
                "ok", "would be switched off" if lease["ours"] else "would stay on, as it was before", True, None, None
            )
        try:
            text = _lease.release(self._state_dir, lease, "off", self._work)
        except RunbookError as error:
            raise RunbookError(f"{error}. It is tried again from {_lease.until(lease)} on, until it is off.") from error
        return Told("ok" if lease["ours"] else "warning", f"off: {text}", True, not lease["ours"], None)

    def _unheld(self) -> Told:
        """Nothing is ours; say how it is, and whether a lease came to its end before the work did."""
        switch = self._settings.switch
        seen = _registry.load(switch.kind).look(switch.options, self._work) if switch else None
        event = _lease.last(self._state_dir, self._settings.name)
        if event.get("event") == "expired" and event.get("owner") == self._settings.owner:
            if not self._dry:
                _lease.note(
                    self._state_dir, {"name": self._settings.name, "owner": self._settings.owner}, "off", "was over"
                )
            return Told("warning", f"off since {_lease.show(event['at'])}, when its lease was over", False, seen, None)
        if seen:
            return Told("warning", "on, but not by a lease of ours: it stays", False, True, None)
        return Told("ok", "off" if switch else "", False, seen, None)

    # --- Status ---

    def _status(self) -> Told:
        lease = _lease.load(self._state_dir, self._settings.name)
        if lease is None:
            switch = self._settings.switch
            seen = _registry.load(switch.kind).look(switch.options, self._work) if switch else None
            if seen:
                return Told("warning", "on, but not by a lease of ours", False, True, None)
            return Told("ok", "no lease", False, seen, None)
        try:
            seen = _registry.load(lease["kind"]).look(lease["options"], self._work)
        except RunbookError as error:
            return Told("unknown", f"until {_lease.until(lease)} for {lease['owner']}; {error}", False, None, lease)
        if _lease.left(lease) <= 0:
            why = lease.get("problem") or "what should have done it was killed"
            text = f"the lease of {lease['owner']} was over at {_lease.until(lease)}, and it is not switched off: {why}"
            return Told("critical", text, False, seen, lease)
        text = f"until {_lease.until(lease)} ({show_duration(_lease.left(lease))}) for {lease['owner']}"
        if not _keeper.alive(self._state_dir, self._settings.name):
            return Told("critical", f"{text}; nothing is there to end it: begin it again", False, seen, lease)
        if seen is False:
            return Told("warning", f"{text}, but somebody has switched it off", False, seen, lease)
        return Told("ok", f"on {text}", False, seen, lease)

    # --- Silences ---

    def _mark(self) -> str:
        return f"sre.runbooks/{socket.gethostname()}/{self._settings.name}"

    def _silence(self, seconds: float) -> None:
        reason = self._settings.reason or "maintenance"
        self._silenced_by("ensure", f"{reason} ({self._settings.owner})", seconds)

    def _unsilence(self) -> None:
        self._silenced_by("expire", "", 0)

    def _silenced_by(self, what: str, comment: str, seconds: float) -> None:
        """Alertmanager that is away is a warning: alerts that come through harm less than work that is not done."""
        options = self._settings.alertmanager
        if options is None:
            return
        try:
            if what == "ensure":
                made = _silence.ensure(options, self._mark(), seconds, comment, self._dry)
            else:
                made = _silence.expire(options, self._mark(), self._dry)
        except (RunbookError, ValueError, KeyError) as error:
            status, text = (
                "warning",
                f"alerts are not {'silenced' if what == 'ensure' else 'heard again before the silence ends'}: {error}",
            )
        else:
            status, text = "ok", made.text
            self._silenced = self._silenced or made.changed
        self._silences.append(outcome(f"silence:{self._settings.name}", STAGE, status, text))


def run(settings: Settings, commands: Commands, state_dir: str, dry: bool) -> dict[str, t.Any]:
    """Switch, or look."""
    return Maintenance(settings, commands, os.path.abspath(state_dir), dry).run()
