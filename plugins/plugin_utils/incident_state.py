# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An incident and its time line as plain data: an incident is what its events make of it, one after the other.

Pure functions. States are open -> stable -> closed; a stable one, or one closed a short while ago, is reopened by a new alarm.
Times are texts, UTC, C(2026-11-21T09:00:00Z); an empty one has not come yet.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t
from collections.abc import Mapping

SEVERITIES = ("P1", "P2", "P3", "P4")
STATES = ("open", "stable", "closed")
UNASSESSED = "not assessed yet"
DETECT_SECONDS = 300.0
RESOLVE_SECONDS = 900.0
"""The targets of row I8."""


@dataclasses.dataclass(frozen=True)
class Event:
    """One entry of a time line. `number` is given by the store; `token` is the same for the same event told twice.

    `kind` is one of opened, alert, reopened, stage, outcome, evidence, severity, note, acknowledged, escalated, told,
    stable, closed, postmortem, merged.
    """

    at: str
    kind: str
    summary: str
    token: str
    actor: str = ""
    host: str = ""
    stage: str = ""
    subject: str = ""
    status: str = ""
    details: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    run: str = ""
    number: int = 0


@dataclasses.dataclass(frozen=True)
class Incident:
    """An incident as its events have made it.

    `started` is when the first evidence of it began, `detected` when a run opened it, `opened` when it was opened the last
    time. `progress` says by host and stage how far each host came since then: {status, at, run, outcomes}. `levels` says by
    level when it was reached, `told` what became of each contact: {contact, level, at, status, severity, attempts}.
    `verified` means that the state stable was shown by checks. `events` is the number of its last event.
    """

    id: str
    type: str
    system: str
    title: str = ""
    link: str = ""
    source: str = ""
    hosts: tuple[str, ...] = ()
    severity: str = "P4"
    why: str = UNASSESSED
    state: str = "open"
    started: str = ""
    detected: str = ""
    opened: str = ""
    acknowledged: str = ""
    acknowledged_by: str = ""
    stable: str = ""
    verified: bool = False
    closed: str = ""
    reopened: int = 0
    alerts: int = 1
    levels: dict[str, str] = dataclasses.field(default_factory=dict)
    told: tuple[dict[str, t.Any], ...] = ()
    progress: dict[str, dict[str, dict[str, t.Any]]] = dataclasses.field(default_factory=dict)
    drafts: dict[str, str] = dataclasses.field(default_factory=dict)
    events: int = 0

    @property
    def key(self) -> str:
        """What two alarms of one cause have in common."""
        return key(self.type, self.system)

    @property
    def assessed(self) -> bool:
        return self.why != UNASSESSED


def key(type_: str, system: str) -> str:
    """Return the key under which at most one incident is not closed."""
    return f"{type_}:{system}"


def seconds(earlier: str, later: str) -> float | None:
    """Return the seconds between two times, at least 0; None where one of them is missing or is no time."""
    try:
        return max(0.0, (moment(later) - moment(earlier)).total_seconds())
    except ValueError:
        return None


def moment(text: str) -> datetime.datetime:
    """Return the time that `text` (ISO 8601) stands for, UTC where it says no zone; raises ValueError."""
    found = datetime.datetime.fromisoformat(str(text).strip().replace("Z", "+00:00"))
    return (found if found.tzinfo else found.replace(tzinfo=datetime.UTC)).astimezone(datetime.UTC)


def timings(incident: Incident, detect: float = DETECT_SECONDS, resolve: float = RESOLVE_SECONDS) -> dict[str, t.Any]:
    """Return the times of an incident, and how they stand to the targets (I8).

    To detect: from the first evidence to detection. To resolve: from detection to the last time it became stable. Null is
    what is not known, or not yet.
    """
    detected, resolved = seconds(incident.started, incident.detected), seconds(incident.detected, incident.stable)
    answered = seconds(incident.detected, incident.acknowledged)
    return {
        **{name: getattr(incident, name) for name in ("started", "detected", "acknowledged", "stable", "closed")},
        "detect_seconds": detected,
        "acknowledge_seconds": answered,
        "resolve_seconds": resolved,
        "detect_target_seconds": detect,
        "resolve_target_seconds": resolve,
        "detect_within": None if detected is None else detected < detect,
        "resolve_within": None if resolved is None else resolved < resolve,
    }


def worse(one: str, other: str) -> bool:
    """Whether the severity `one` is worse than `other`."""
    return SEVERITIES.index(one) < SEVERITIES.index(other)


def fold(incident: Incident | None, event: Event, id_: str = "") -> Incident:
    """Return what `event` makes of `incident`; without one, of the incident `id_` of which nothing else is known."""
    if incident is None:
        incident = Incident(
            id=id_, type=str(event.details.get("type", "")), system=str(event.details.get("system", ""))
        )
    changes = _CHANGES.get(event.kind, _nothing)(incident, event)
    return dataclasses.replace(incident, **changes, events=max(event.number, incident.events + 1))


def _nothing(_incident: Incident, _event: Event) -> dict[str, t.Any]:
    return {}


def _opened(incident: Incident, event: Event) -> dict[str, t.Any]:
    about = event.details
    texts = {name: str(about[name]) for name in ("title", "link", "source", "started") if about.get(name)}
    assessed = (
        {"severity": about["severity"], "why": str(about.get("why", ""))} if about.get("severity") in SEVERITIES else {}
    )
    detected = str(about.get("detected") or event.at)
    return {**texts, **assessed, **_hosts(incident, about), "state": "open", "detected": detected, "opened": event.at}


def _alert(incident: Incident, event: Event) -> dict[str, t.Any]:
    return {**_hosts(incident, event.details), "alerts": incident.alerts + 1}


def _hosts(incident: Incident, about: Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {"hosts": tuple(sorted({*incident.hosts, *map(str, about.get("hosts") or ())}))}


def _reopened(incident: Incident, event: Event) -> dict[str, t.Any]:
    """Begin anew: who was told and how far the hosts came belongs to the time before; the times of detection stay."""
    return {
        **_hosts(incident, event.details),
        "state": "open", "opened": event.at, "stable": "", "verified": False, "closed": "", "acknowledged": "",
        "acknowledged_by": "", "reopened": incident.reopened + 1, "levels": {}, "told": (), "progress": {},
    }  # fmt: skip


def _stage(incident: Incident, event: Event) -> dict[str, t.Any]:
    said = {"status": event.status, "at": event.at, "run": event.run, **event.details}
    before = incident.progress.get(event.host, {})
    started = event.details.get("since")
    earlier = isinstance(started, str) and started and (not incident.started or started < incident.started)
    found: dict[str, t.Any] = {"progress": {**incident.progress, event.host: {**before, event.stage: said}}}
    return {**found, "started": started} if earlier else found


def _severity(incident: Incident, event: Event) -> dict[str, t.Any]:
    if event.subject not in SEVERITIES:
        return {}
    changes: dict[str, t.Any] = {"severity": event.subject, "why": event.summary}
    # Who answered for a small matter has not answered for a great one.
    if incident.assessed and worse(event.subject, incident.severity):
        changes.update(acknowledged="", acknowledged_by="")
    return changes


def _acknowledged(incident: Incident, event: Event) -> dict[str, t.Any]:
    return {} if incident.acknowledged else {"acknowledged": event.at, "acknowledged_by": event.actor}


def _escalated(incident: Incident, event: Event) -> dict[str, t.Any]:
    # Whoever answers for it asked for more, or somebody did over their head: it is open again to be answered for.
    asked = {"acknowledged": "", "acknowledged_by": ""} if event.details.get("asked") is True else {}
    return {"levels": {event.subject: event.at, **incident.levels}, **asked}


def _told(incident: Incident, event: Event) -> dict[str, t.Any]:
    before = next((each for each in incident.told if each["contact"] == event.subject), {})
    said = {
        "contact": event.subject, "level": str(event.details.get("level", "")), "at": event.at, "status": event.status,
        "severity": str(event.details.get("severity") or incident.severity), "attempts": int(before.get("attempts", 0)) + 1,
    }  # fmt: skip
    return {"told": (*(each for each in incident.told if each["contact"] != event.subject), said)}


def _stable(incident: Incident, event: Event) -> dict[str, t.Any]:
    if incident.state != "open":
        return {}
    return {"state": "stable", "stable": event.at, "verified": event.details.get("verified") is True}


def _closed(incident: Incident, event: Event) -> dict[str, t.Any]:
    return {} if incident.state == "closed" else {"state": "closed", "closed": event.at}


def _postmortem(incident: Incident, event: Event) -> dict[str, t.Any]:
    return {"drafts": {**incident.drafts, event.subject: str(event.details.get("sha256", ""))}}


_CHANGES: dict[str, t.Callable[[Incident, Event], dict[str, t.Any]]] = {
    "opened": _opened,
    "alert": _alert,
    "reopened": _reopened,
    "stage": _stage,
    "severity": _severity,
    "acknowledged": _acknowledged,
    "escalated": _escalated,
    "told": _told,
    "stable": _stable,
    "closed": _closed,
    "postmortem": _postmortem,
}
