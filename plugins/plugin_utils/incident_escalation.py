# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is to be told of an incident, and when its next level is due (I2). Pure functions; times are given, none is read."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t
from collections.abc import Mapping, Sequence

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import duration, show_duration
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_state import SEVERITIES, Incident, moment
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_contacts import LEVELS, Contact

ATTEMPTS = 3
"""A contact that could not be told so often is given up until the incident is reopened."""

RESPONSE = {"P1": 0.0, "P2": 3600.0, "P3": 4 * 3600.0, "P4": 24 * 3600.0}
KIND = "incident"


@dataclasses.dataclass(frozen=True)
class Level:
    """A level of the escalation: seconds after the level before, and the severities that reach it."""

    name: str
    after: float
    severities: tuple[str, ...] = SEVERITIES


@dataclasses.dataclass(frozen=True)
class Policy:
    """How an incident is escalated: by severity, the seconds until somebody must have answered; the levels in order."""

    response: Mapping[str, float] = dataclasses.field(default_factory=RESPONSE.copy)
    levels: tuple[Level, ...] = (Level("support", 0), Level("engineering", 1800), Level("management", 900, ("P1",)))


@dataclasses.dataclass(frozen=True)
class Due:
    """What is due now: levels that are reached only now with why, the contacts to tell (name, level), and what comes next.

    `level` is the highest level reached; `next_at` is when `next_level` is due if nobody acknowledges, both may be empty.
    """

    level: str
    reached: tuple[tuple[str, str], ...]
    to_tell: tuple[tuple[str, str], ...]
    next_level: str = ""
    next_at: str = ""


def read_policy(raw: Mapping[str, t.Any]) -> Policy:
    """Read the option `escalation`; raises InputError."""
    for name in raw:
        if name not in ("response", "levels"):
            raise InputError("escalation", name, "is no option of it", "Use response and levels.")
    response = dict(RESPONSE)
    given = raw.get("response") or {}
    if not isinstance(given, Mapping):
        raise InputError(
            "escalation.response", given, "is no dictionary", "Write it as {P1: 0s, P2: 1h, P3: 4h, P4: 24h}."
        )
    for severity, time in given.items():
        _severity("escalation.response", severity)
        response[severity] = duration(time, f"escalation.response.{severity}")
    levels = raw.get("levels")
    if levels is None:
        return Policy(response)
    if not isinstance(levels, Sequence) or isinstance(levels, str) or not levels:
        raise InputError(
            "escalation.levels", levels, "is no list of levels", "Write it as [{level: support, after: 0s}, …]."
        )
    read = tuple(_level(f"escalation.levels[{number}]", each) for number, each in enumerate(levels))
    names = [each.name for each in read]
    for name in names:
        if names.count(name) > 1:
            raise InputError("escalation.levels", name, "is there more than once", "Give each level once.")
    return Policy(response, read)


def _level(where: str, raw: t.Any) -> Level:
    if not isinstance(raw, Mapping) or raw.get("level") not in LEVELS:
        said = raw.get("level") if isinstance(raw, Mapping) else raw
        raise InputError(f"{where}.level", said, "is no level", f"Use one of {', '.join(LEVELS)}.")
    for name in raw:
        if name not in ("level", "after", "severities"):
            raise InputError(where, name, "is no option of a level", "Use level, after and severities.")
    severities = raw.get("severities") or SEVERITIES
    severities = (severities,) if isinstance(severities, str) else tuple(severities)
    for each in severities:
        _severity(f"{where}.severities", each)
    return Level(raw["level"], duration(raw.get("after", 0), f"{where}.after"), severities)


def _severity(option: str, value: t.Any) -> None:
    if value not in SEVERITIES:
        raise InputError(option, value, "is no severity", f"Use {', '.join(SEVERITIES)}.")


def next_level(
    incident: Incident, contacts: Sequence[Contact], policy: Policy, now: datetime.datetime, forced: bool = False
) -> Due:
    """Return what is due for `incident` at `now`.

    The first level is told at once. A further one is due when its own time after the level before and the response time of
    the severity are both over and nobody has acknowledged; at once, when of the level before nobody could be told. `forced`
    goes one level further now. What is not open, or is acknowledged, or not assessed yet, is due to nobody.
    """
    levels = [level for level in policy.levels if incident.severity in level.severities]
    highest = next((level.name for level in reversed(policy.levels) if level.name in incident.levels), "")
    answered = incident.state != "open" or bool(incident.acknowledged)
    if (answered and not forced) or not (incident.assessed or forced):
        return Due(highest, (), ())
    reached: dict[str, str] = {}
    to_tell: list[tuple[str, str]] = []
    before: datetime.datetime | None = None
    upcoming, upcoming_at = "", ""
    for number, level in enumerate(levels):
        theirs = _theirs(level.name, incident, contacts)
        at = _reached(incident, level.name)
        if at is None:
            at, why = _due(incident, level, policy, before, _mute(levels[:number], incident, contacts), now)
            if at > now and not (forced and not reached):
                upcoming, upcoming_at = level.name, f"{at:%Y-%m-%dT%H:%M:%SZ}"
                break
            reached[level.name] = why if at <= now else "asked for"
            at = now
            forced = False
        to_tell += [(each.name, level.name) for each in theirs if _untold(each, incident)]
        before = at
    level_now = list(reached)[-1] if reached else highest
    return Due(level_now, tuple(reached.items()), tuple(to_tell), upcoming, upcoming_at)


def _reached(incident: Incident, level: str) -> datetime.datetime | None:
    return moment(incident.levels[level]) if level in incident.levels else None


def _due(
    incident: Incident,
    level: Level,
    policy: Policy,
    before: datetime.datetime | None,
    mute: str,
    now: datetime.datetime,
) -> tuple[datetime.datetime, str]:
    """Return when `level` is due, and why."""
    opened = moment(incident.opened or incident.detected)
    if before is None:
        return opened + datetime.timedelta(seconds=level.after), "an incident was opened"
    if mute:
        return now, f"nobody of {mute} could be told"
    response = policy.response.get(incident.severity, 0.0)
    at = max(before + datetime.timedelta(seconds=level.after), opened + datetime.timedelta(seconds=response))
    return at, f"nobody acknowledged {incident.severity} within {show_duration((at - opened).total_seconds())}"


def _theirs(level: str, incident: Incident, contacts: Sequence[Contact]) -> list[Contact]:
    tags = {incident.system, incident.type}
    return [
        each for each in contacts if each.level == level and each.hears(KIND, tags) and each.minds(incident.severity)
    ]


def _untold(contact: Contact, incident: Incident) -> bool:
    """Whether `contact` is still to be told: never tried, or failed and not given up."""
    said = next((each for each in incident.told if each["contact"] == contact.name), None)
    return said is None or (said["status"] != "ok" and int(said.get("attempts", 0)) < ATTEMPTS)


def _mute(levels: Sequence[Level], incident: Incident, contacts: Sequence[Contact]) -> str:
    """Return the level before when it has nobody for this incident, or none of whom telling succeeded; else nothing."""
    if not levels:
        return ""
    tried = {each["contact"]: each["status"] for each in incident.told}
    theirs = [each.name for each in _theirs(levels[-1].name, incident, contacts)]
    return levels[-1].name if all(tried.get(name, "ok") != "ok" for name in theirs) else ""
