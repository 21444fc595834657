# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Take one action after the other, each when its guard allows it, until the host is well; never one of them twice.

Check mode says which would be taken. A host that is still sick when all are used up is `critical`: somebody has to be told.
"""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import lock
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import envelope, outcome
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration
from ansible_collections.sre.runbooks.plugins.module_utils._health import _check, _once
from ansible_collections.sre.runbooks.plugins.module_utils._health import _run as _health
from ansible_collections.sre.runbooks.plugins.module_utils._stabilise._action import Look, Work
from ansible_collections.sre.runbooks.plugins.module_utils._stabilise._journal import Journal

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._stabilise._settings import Action, Settings

STAGE = "stabilise"
VERIFY = "verify"
SICK = ("critical", "unknown")
PAUSE_SECONDS = 1.0
CHECK_LIMITS = _health.Limits(workers=8, timeout=30.0)


class Took(t.NamedTuple):
    """What became of one action: its outcome, and whether something was changed."""

    outcome: dict[str, t.Any]
    changed: bool = False


class Stabilise:
    """One call on one host."""

    def __init__(
        self, settings: Settings, commands: Commands, state_dir: str, dry: bool, hide: t.Callable[[set[str]], None]
    ) -> None:
        self._settings = settings
        self._dry = dry
        self._host = _check.Host(commands, time.time())
        self._work = Work(commands, state_dir, time.monotonic() + settings.timeout, hide)
        self._journal = Journal(state_dir, settings.incident)
        self._plan: list[str] = []

    def run(self) -> dict[str, t.Any]:
        """Return the envelope, with `healthy`, and `helped`, the name of the action after which the host was well."""
        began = time.monotonic()
        bad, due = self._bad(self._settings.verify), self._bad(self._settings.due)
        took: list[Took] = []
        helped = ""
        if not bad and not due:
            # A run whose controller was killed has gone on to its end: nobody else knows what it did.
            took = [self._again(action, entry) for action, entry in self._ended()]
        else:
            for action in self._settings.actions:
                took.append(self._one(action))
                if self._dry or not took[-1].changed:
                    continue
                bad = self._waited(action)
                # What was due is done; how long it has been since is not looked at again.
                due = due if took[-1].outcome["status"] != "ok" else []
                if not bad and not due:
                    helped = action.name
                    break
                took[-1] = self._not_helped(action, took[-1], bad or due)
        changed = any(each.changed for each in took)
        outcomes = [each.outcome for each in took]
        outcomes.append(self._verdict(bad, due, helped, changed, time.monotonic() - began))
        after = "".join(f"{line}\n" for line in self._plan)
        return envelope(outcomes, changed, healthy=not bad, helped=helped, diff={"before": "", "after": after})

    # --- Looking ---

    def _bad(self, checks: t.Sequence[_check.Check]) -> list[str]:
        """What is bad about `checks`, one line each; empty when all is well."""
        outcomes = _once.look(checks, self._host, CHECK_LIMITS)
        return [f"{each['subject']}: {each['summary']}" for each in outcomes if each["status"] in SICK]

    def _waited(self, action: Action) -> list[str]:
        """Look until the host is well or the action's time to help is over; return what is bad then."""
        until = min(time.monotonic() + action.wait, self._work.deadline)
        while True:
            bad = self._bad(self._settings.verify)
            if not bad or time.monotonic() >= until:
                return bad
            time.sleep(PAUSE_SECONDS)

    # --- One action ---

    def _one(self, action: Action) -> Took:
        entry = self._journal.entry(action.name)
        if entry and entry["state"] != "begun":
            return self._again(action, entry)
        # What a killed run has begun passed its guard and counts already; what it left half done may be what the guard refuses now.
        begun = entry or self._journal.unfinished(action.counted)
        refused = "" if begun else self._guarded(action)
        if refused:
            return self._told(action, "skipped", f"not taken: {refused}")
        if not begun and self._journal.count(action.counted, action.limit.seconds) >= action.limit.times:
            text = f"not taken: the limit of {action.limit.text} on this host is used up"
            return self._told(action, "warning", text)
        try:
            self._work.seconds(1)
            look = action.family.look(action.options, self._work)
        except RunbookError as error:
            return self._told(action, "critical", f"cannot be taken: {error}")
        self._plan.append(f"{action.name}: {look.would}")
        if self._dry:
            return self._told(action, "ok", f"would {look.would}", True)
        # A run that was killed has kept what was there before it.
        return self._apply(action, Look(begun["before"], look.would) if begun else look)

    def _ended(self) -> list[tuple[Action, dict[str, t.Any]]]:
        """The actions that were taken for this incident, with what the journal has of them."""
        known = [(action, self._journal.entry(action.name)) for action in self._settings.actions]
        return [(action, entry) for action, entry in known if entry and entry["state"] != "begun"]

    def _again(self, action: Action, entry: t.Mapping[str, t.Any]) -> Took:
        return self._told(action, "skipped", f"was taken for this incident already: {entry.get('told', '')}")

    def _guarded(self, action: Action) -> str:
        """Why the guard refuses; empty when it does not."""
        bad = self._bad(action.guard.healthy)
        if bad:
            return f"its guard wants this to be well: {'; '.join(bad)}"
        if action.guard.sick and not self._bad(action.guard.sick):
            return (
                f"its guard sees nothing that it would help: {', '.join(each.subject() for each in action.guard.sick)}"
            )
        return ""

    def _apply(self, action: Action, look: Look) -> Took:
        began = time.time()
        self._journal.begin(action.name, action.counted, look.before)
        try:
            text = action.family.apply(action.options, look.before, self._work)
        except RunbookError as error:
            self._journal.end(action.name, "failed", str(error))
            return self._told(action, "critical", f"failed: {error}", True, began)
        self._journal.end(action.name, "done", text)
        return self._told(action, "ok", text, True, began)

    def _not_helped(self, action: Action, took: Took, bad: t.Sequence[str]) -> Took:
        """The host is still sick: say so, and take the action back where that is wanted."""
        told = dict(took.outcome)
        if told["status"] == "ok":
            told.update(status="warning", summary=f"{told['summary']}; it did not help: {'; '.join(bad)}")
            if action.undo:
                told["summary"] += f". {self._undone(action)}"
        return took._replace(outcome=told)

    def _undone(self, action: Action) -> str:
        entry = self._journal.entry(action.name) or {}
        try:
            text = str(action.family.undo(action.options, entry.get("before", {}), self._work))
        except RunbookError as error:
            return f"It could not be taken back: {error}"
        self._journal.end(action.name, "undone", f"{entry.get('told', '')}; {text}")
        return f"Taken back: {text}"

    def _told(self, action: Action, status: str, text: str, changed: bool = False, began: float = 0.0) -> Took:
        metrics = {"duration_seconds": round(time.time() - began, 3)} if began else {}
        details: dict[str, t.Any] = {"action": action.kind}
        if began:
            details["at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began))
        return Took(outcome(action.subject, STAGE, status, text, metrics=metrics, details=details), changed)

    def _verdict(
        self, bad: t.Sequence[str], due: t.Sequence[str], helped: str, changed: bool, seconds: float
    ) -> dict[str, t.Any]:
        metrics = {"duration_seconds": round(seconds, 3)}
        if due and not bad:
            return outcome(
                "host", VERIFY, "ok" if self._dry else "warning", f"well; due: {'; '.join(due)}", metrics=metrics
            )
        if not bad:
            text = f"well after {helped}, {show_duration(seconds)}" if helped else "well; nothing to do"
            return outcome("host", VERIFY, "ok", text, metrics=metrics)
        what = "still sick" if changed and not self._dry else "sick"
        return outcome("host", VERIFY, "critical", f"{what}: {'; '.join(bad)}", metrics=metrics)


def run(
    settings: Settings, commands: Commands, state_dir: str, dry: bool, hide: t.Callable[[set[str]], None]
) -> dict[str, t.Any]:
    """Stabilise this host; two runs at a time would undo each other's work, so that one waits for the other."""
    if dry:
        return Stabilise(settings, commands, state_dir, dry, hide).run()
    # One whose controller was killed goes on: what it does need not be done by the next.
    with lock.hold(os.path.join(state_dir, "locks"), STAGE, settings.timeout):
        return Stabilise(settings, commands, state_dir, dry, hide).run()
