# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Incidents in a terminal: those that are open first, the worst of them first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_state import (
    DETECT_SECONDS,
    RESOLVE_SECONDS,
    SEVERITIES,
    STATES,
    Incident,
    seconds,
    timings,
)
from ansible_collections.sre.runbooks.plugins.plugin_utils.table import (
    DEFAULT_WIDTH,
    MINIMUM_WIDTH,
    Line,
    _clean,
    _cut,
    _pad,
    _wrap,
)

CLOSED_LISTED = 10
_WIDTHS = {"severity": 3, "state": 12, "age": 9}


def in_order(incidents: Iterable[Incident]) -> list[Incident]:
    """Return `incidents` as people want them: not closed first, the worst first, of those the oldest first."""
    incidents = list(incidents)
    closed = sorted((each for each in incidents if each.state == "closed"), key=lambda each: each.closed, reverse=True)
    live = [each for each in incidents if each.state != "closed"]
    live.sort(key=lambda each: (STATES.index(each.state), SEVERITIES.index(each.severity), each.detected))
    return [*live, *closed]


def colour_of(incident: Incident) -> str:
    """Return the status that stands for how an incident is now."""
    if incident.state != "open":
        return "ok"
    return "critical" if incident.severity in ("P1", "P2") or not incident.assessed else "warning"


def render(incidents: Sequence[Incident], now: str, width: int = DEFAULT_WIDTH,
           detect: float = DETECT_SECONDS, resolve: float = RESOLVE_SECONDS) -> list[Line]:  # fmt: skip
    """Return the lines of the table, none longer than `width` columns."""
    width = max(width, MINIMUM_WIDTH)
    ordered = in_order(incidents)
    counts = [f"{sum(each.state == state for each in ordered)} {state}" for state in STATES]
    worst = "critical" if any(each.state == "open" for each in ordered) else "ok"
    lines: list[Line] = [(f"Incidents: {', '.join(counts)}", worst)]
    closed = 0
    for each in ordered:
        closed += each.state == "closed"
        if closed > CLOSED_LISTED:
            continue
        lines += _rows(each, now, width, detect, resolve)
    if closed > CLOSED_LISTED:
        lines.append((f"and {closed - CLOSED_LISTED} more that are closed", ""))
    return lines


def _rows(incident: Incident, now: str, width: int, detect: float, resolve: float) -> list[Line]:
    state = "acknowledged" if incident.state == "open" and incident.acknowledged else incident.state
    since = {"open": incident.opened, "stable": incident.stable, "closed": incident.closed}[incident.state]
    ago = seconds(since, now)
    severity = incident.severity if incident.assessed else "?"
    cells = ((severity, "severity"), (state, "state"), ("" if ago is None else show_duration(ago), "age"))
    head = " ".join(_pad(text, _WIDTHS[name]) for text, name in cells)
    title = _clean(
        f"{incident.id}  {incident.type} on {incident.system}" + (f": {incident.title}" if incident.title else "")
    )
    colour = colour_of(incident)
    lines: list[Line] = [("", ""), (_cut(f"{head} {title}", width), colour)]
    for text in filter(None, (incident.why, _hosts(incident), _answer(incident), _times(incident, detect, resolve))):
        for number, part in enumerate(_wrap(_clean(text), width - 6)):
            lines.append((f"{'    ' if number == 0 else '      '}{part}", ""))
    return lines


def _hosts(incident: Incident) -> str:
    names = incident.hosts
    more = f", and {len(names) - 8} more" if len(names) > 8 else ""
    return f"hosts: {', '.join(names[:8])}{more}" if names else ""


def _answer(incident: Incident) -> str:
    told = [f"{each['contact']} ({each['level']})" for each in incident.told if each["status"] == "ok"]
    failed = [each["contact"] for each in incident.told if each["status"] != "ok"]
    parts = [f"acknowledged by {incident.acknowledged_by}"] if incident.acknowledged else []
    parts += [f"told: {', '.join(told)}"] if told else []
    parts += [f"could not be told: {', '.join(failed)}"] if failed else []
    parts += [] if parts or incident.state != "open" else ["nobody was told"]
    return "; ".join(parts)


def _times(incident: Incident, detect: float, resolve: float) -> str:
    found = timings(incident, detect, resolve)
    parts = []
    for name, text in (("detect", "detected after"), ("resolve", "resolved after")):
        value = found[f"{name}_seconds"]
        if value is not None:
            late = "" if found[f"{name}_within"] else ", late"
            parts.append(
                f"{text} {show_duration(value)} (target {show_duration(found[f'{name}_target_seconds'])}{late})"
            )
    return "; ".join(parts)
