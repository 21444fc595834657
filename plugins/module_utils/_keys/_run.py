# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One stage for all keys of a host: one after the other, so that none keeps another from its turn."""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import files, lock, outcome, state, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._keys import _journal
from ansible_collections.sre.runbooks.plugins.module_utils._keys._consume import FOLDER, Consume, Said
from ansible_collections.sre.runbooks.plugins.module_utils._keys._provide import Provide
from ansible_collections.sre.runbooks.plugins.module_utils._keys._told import STAGE, Asked, Told, outcome_of

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
    from ansible_collections.sre.runbooks.plugins.module_utils._keys._settings import Key

PROVIDING = ("status", "create", "promote", "revoke")
CONSUMING = ("status", "distribute", "prove", "rollback", "prove_dead")
LOCK_SECONDS = 30.0
LOCK = "keys"


class Result:
    """What all keys of the host came to."""

    def __init__(self) -> None:
        self.outcomes: list[dict[str, t.Any]] = []
        self.facts: dict[str, dict[str, t.Any]] = {}
        self.reports: dict[str, dict[str, t.Any]] = {}
        self.made: dict[str, str] = {}
        self.changed = False

    def envelope(self) -> dict[str, t.Any]:
        """The module's result."""
        more = {"made": self.made} if self.made else {}
        return outcome.envelope(self.outcomes, self.changed, facts=self.facts, reports=self.reports, **more)


def run(params: t.Mapping[str, t.Any], keys: t.Sequence[Key], commands: Commands, check: bool) -> dict[str, t.Any]:
    """Do the stage for all keys of this host; the values made by `create` are in the result, which must not be shown."""
    _refuse(params, keys)
    state_dir = state.directory(params["state_dir"])
    if check:
        return _all(params, keys, commands, state_dir, True).envelope()
    with lock.hold(state_dir, LOCK, LOCK_SECONDS):
        # A part of a kept key that a killed run was writing is a secret that nobody else would ever remove.
        files.sweep(os.path.join(state_dir, FOLDER))
        files.sweep(state_dir, "keys")
        return _all(params, keys, commands, state_dir, False).envelope()


def _refuse(params: t.Mapping[str, t.Any], keys: t.Sequence[Key]) -> None:
    if params["limit"] < 1:
        raise InputError("limit", params["limit"], "lets no key be rotated", "Give 1 or more.")
    if params["stage"] in ("create", "promote") and not params["run"]:
        raise InputError("run", params["run"], "is missing", "Name the rotation: its stages must have the same name.")
    units.duration(params["timeout"], "timeout")


def _all(
    params: t.Mapping[str, t.Any], keys: t.Sequence[Key], commands: Commands, state_dir: str, check: bool
) -> Result:
    stage, result = params["stage"], Result()
    if stage in PROVIDING:
        mine = [key for key in keys if key.provider is not None]
        if mine:
            journal = _journal.Journal(state_dir, "keys", params["run"], params["actor"], check)
            _provide(params, mine, journal, commands, check, result)
    if stage in CONSUMING:
        mine = [key for key in keys if key.consumers]
        if mine:
            journal = _journal.Journal(state_dir, "keys_held", params["run"], params["actor"], check)
            _consume(params, mine, journal, commands, state_dir, check, result)
    return result


def _provide(
    params: t.Mapping[str, t.Any],
    keys: t.Sequence[Key],
    journal: _journal.Journal,
    commands: Commands,
    check: bool,
    result: Result,
) -> None:
    stage, made = params["stage"], 0
    for key in keys:
        asked = Asked(
            params["run"], frozenset(params["force"]), frozenset(params["compromised"]), params["limit"], check,
            params["reports"], time.monotonic() + units.duration(params["timeout"], "timeout"),
        )  # fmt: skip
        one = Provide(key, journal, asked, commands)
        try:
            if stage == "create":
                told = one.create(made < params["limit"])
                made += told.value is not None or (check and told.changed)
            else:
                told = {"status": one.status, "promote": one.promote, "revoke": one.revoke}[stage]()
        except RunbookError as error:
            told = Told("critical", f"{stage}: {error}", one.facts(waits=str(error)))
        result.outcomes.append(outcome_of(key, told))
        result.facts[key.name] = told.facts
        result.changed = result.changed or told.changed
        if told.value is not None:
            result.made[key.name] = told.value


def _consume(
    params: t.Mapping[str, t.Any],
    keys: t.Sequence[Key],
    journal: _journal.Journal,
    commands: Commands,
    state_dir: str,
    check: bool,
    result: Result,
) -> None:
    stage = params["stage"]
    for key in keys:
        order, reports = params["orders"].get(key.name) or {}, []
        for consumer in key.consumers:
            one = Consume(key, consumer, journal, state_dir, commands, check)
            try:
                said = _stage(one, stage, order, params["values"].get(key.name), check)
            except RunbookError as error:
                status = "unknown" if stage == "status" else "critical"
                said = Said(status, f"{stage}: {error}", {"seen": False, "proven": False, "problem": str(error)})
            reports.append(said.report)
            result.outcomes.append(outcome.outcome(one.subject, STAGE, said.status, said.summary))
            result.changed = result.changed or said.changed
        result.reports[key.name] = joined(reports)


def _stage(one: Consume, stage: str, order: t.Mapping[str, t.Any], value: str | None, check: bool) -> Said:
    if stage == "status":
        return one.status()
    if stage == "prove":
        return one.prove(order)
    if stage == "prove_dead":
        return one.prove_dead(order)
    if check:
        return Said("ok", f"{stage}: nothing is changed in check mode", one.report())
    if stage == "rollback":
        return one.rollback(order)
    if value is None:
        return Said("ok", "no new key", one.report())
    return one.distribute(order, value)


def joined(reports: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """One report of all variables of a host that hold the key: good only where all of them are."""
    told: dict[str, t.Any] = {"seen": all(each.get("seen") for each in reports)}
    told["problem"] = "; ".join(each["problem"] for each in reports if each.get("problem"))
    if all("held" in each for each in reports):
        told["held"] = sorted({mark for each in reports for mark in each["held"]})
        told["users"] = sorted({user for each in reports for user in each["users"]})
        told["names"] = all(each["names"] for each in reports)
        lists = [each["released"] for each in reports]
        told["released"] = [label for label in lists[0] if all(label in other for other in lists)]
    if any("proven" in each for each in reports):
        told["proven"] = all(each.get("proven") for each in reports)
    return told
