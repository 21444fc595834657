# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to be done to a sick host, read and checked before anything is looked at."""

from __future__ import annotations

import re
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._health import _check
from ansible_collections.sre.runbooks.plugins.module_utils._stabilise import _registry

if t.TYPE_CHECKING:
    from types import ModuleType

SPEC: dict[str, t.Any] = {
    "incident": {"type": "str", "required": True},
    "actions": {"type": "list", "elements": "dict", "required": True},
    "verify": {"type": "list", "elements": "dict", "required": True},
    "due": {"type": "list", "elements": "dict", "default": []},
    "services": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "str", "default": "10m"},
}
EACH: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "action": {"type": "str", "required": True},
    "guard": {
        "type": "dict",
        "options": {
            "healthy": {"type": "list", "elements": "dict", "default": []},
            "sick": {"type": "list", "elements": "dict", "default": []},
            "always": {"type": "str"},
        },
    },
    "limit": {"type": "str"},
    "wait": {"type": "str", "default": "30s"},
    "undo": {"type": "bool", "default": False},
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]*")
_INCIDENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LIMIT = re.compile(r"(\d+)/(.+)")


class Guard(t.NamedTuple):
    """When an action may be taken: none of `healthy` is bad, and, if any are given, one of `sick` is; `always` says why none is needed."""

    healthy: list[_check.Check]
    sick: list[_check.Check]
    always: str


class Limit(t.NamedTuple):
    """At most so many `times` in `seconds`."""

    times: int
    seconds: float
    text: str


class Action(t.NamedTuple):
    """One action; `wait` is how many seconds the host may take to become healthy after it."""

    name: str
    kind: str
    family: ModuleType
    options: dict[str, t.Any]
    guard: Guard
    limit: Limit
    wait: float
    undo: bool

    @property
    def subject(self) -> str:
        """What its outcome is about."""
        return f"{self.kind}:{self.name}"

    @property
    def counted(self) -> str:
        """What its limit counts."""
        return f"{self.kind}:{self.family.target(self.options)}"


class Settings(t.NamedTuple):
    """The incident, the actions in their order, the checks that say whether the host is well, seconds for all of it.

    `due` are checks of which a bad one is a reason to act on a host that is well.
    """

    incident: str
    actions: list[Action]
    verify: list[_check.Check]
    timeout: float
    due: list[_check.Check]


def read(options: t.Mapping[str, t.Any]) -> tuple[Settings, set[str]]:
    """Read all options; return them and the secrets that stand in them."""
    if not _INCIDENT.fullmatch(options["incident"]):
        raise InputError("incident", options["incident"], "is no name of an incident", "Give its id.")
    if not options["verify"]:
        raise InputError(
            "verify", [], "names no check, so that nobody would see whether an action helped", "Give at least one."
        )
    secrets: set[str] = set()
    verify = _checks(options["verify"], "verify", secrets)
    due = _checks(options["due"], "due", secrets)
    actions: list[Action] = []
    for index, entry in enumerate(options["actions"]):
        action = _action(entry, f"actions[{index}]", options["services"], secrets)
        if any(action.name == other.name for other in actions):
            raise InputError(
                f"actions[{index}].name", action.name, "is used twice", "Give each action a name of its own."
            )
        actions.append(action)
    return Settings(options["incident"], actions, verify, _time(options["timeout"], "timeout"), due), secrets


def _action(entry: t.Mapping[str, t.Any], where: str, services: t.Sequence[str], secrets: set[str]) -> Action:
    where = f"{where} ({entry.get('name', 'no name')})"
    kind = entry.get("action")
    if kind not in _registry.NAMES:
        raise InputError(f"{where}.action", kind, "is no action", f"Use one of {', '.join(_registry.NAMES)}.")
    family = _registry.load(kind)
    given = dict(entry)
    if "units" in family.OPTIONS and given.get("units") is None and services:
        given["units"] = list(services)
    result = ArgumentSpecValidator({**EACH, **family.OPTIONS}).validate(given)
    if result.error_messages:
        raise RunbookError(f"{where}: {'; '.join(result.error_messages)}")
    secrets |= set(result._no_log_values)
    read = result.validated_parameters
    if not _NAME.fullmatch(read["name"]):
        raise InputError(f"{where}.name", read["name"], "is no name", "Use letters, digits, spaces, dots, dashes.")
    family.check(read, where)
    undo = read["undo"]
    if undo and not hasattr(family, "undo"):
        raise InputError(f"{where}.undo", undo, f"is not possible: {kind} cannot be taken back", "Leave it out.")
    limit = _limit(read["limit"] or family.LIMIT, f"{where}.limit")
    wait = units.duration(read["wait"], f"{where}.wait")
    return Action(read["name"], kind, family, read, _guard(read["guard"], where, secrets), limit, wait, undo)


def _guard(given: t.Mapping[str, t.Any] | None, where: str, secrets: set[str]) -> Guard:
    """No action without a guard: what helps a sick host may harm one that is not."""
    if not given or not (given["healthy"] or given["sick"] or (given["always"] or "").strip()):
        raise InputError(
            f"{where}.guard", given, "guards nothing",
            "Give checks under healthy or sick, or say under always why the action can do no harm.",
        )  # fmt: skip
    return Guard(
        _checks(given["healthy"], f"{where}.guard.healthy", secrets),
        _checks(given["sick"], f"{where}.guard.sick", secrets),
        given["always"] or "",
    )


def _checks(entries: t.Sequence[t.Mapping[str, t.Any]], where: str, secrets: set[str]) -> list[_check.Check]:
    """Checks whose bounds hold at once: `for 5m` says when to raise an alarm, not when a host is well again."""
    try:
        checks, hidden = _check.read(entries)
    except RunbookError as error:
        raise RunbookError(f"{where}: {error}") from error
    secrets |= hidden
    return [check._replace(bounds=_at_once(check.bounds)) for check in checks]


def _at_once(bounds: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, dict[str, t.Any]]:
    return {
        metric: {level: [bound._replace(seconds=0.0) for bound in each] for level, each in levels.items()}
        for metric, levels in bounds.items()
    }


def _limit(text: str, option: str) -> Limit:
    match = _LIMIT.fullmatch(text)
    remedy = "Write a number and a time, such as 3/h or 1/30m."
    if match is None:
        raise InputError(option, text, "is no limit", remedy)
    per = match[2] if match[2][0].isdecimal() else f"1{match[2]}"
    try:
        seconds = units.duration(per, option)
    except InputError as error:
        raise InputError(option, text, "is no limit", remedy) from error
    if seconds <= 0:
        raise InputError(option, text, "is no limit", remedy)
    return Limit(int(match[1]), seconds, text)


def _time(text: str, option: str) -> float:
    seconds = units.duration(text, option)
    if seconds <= 0:
        raise InputError(option, text, "is no time", "Give more than 0 seconds.")
    return seconds
