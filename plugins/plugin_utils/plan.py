# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to be done, what went well, what comes next, and all of it in a few sentences (R1, R2, R3). Pure functions."""

from __future__ import annotations

import datetime
import typing as t
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ansible_collections.sre.runbooks.plugins.plugin_utils.page_figures import show, target
from ansible_collections.sre.runbooks.plugins.plugin_utils.period import Period, parse
from ansible_collections.sre.runbooks.plugins.plugin_utils.period import show as show_moment
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import ROLL_CALL

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.plugin_utils.schedule import Schedule

ACTIONS = 30
RECOMMENDATIONS = 10
ACHIEVEMENTS = 20
PLANNED = 20
URGENT_DAYS, SOON_DAYS, LATER_DAYS = 7, 30, 90
"""Within so many days of running out a thing has the priority 1, 2, 3."""

LONG_DAYS = 7
"""A warning that has lasted so long is more than one."""

Document = dict[str, t.Any]


def actions(document: Mapping[str, t.Any]) -> list[Document]:
    """Return what somebody has to do: by priority, then by how long it has been waiting."""
    found = [
        *_of_incidents(document["incidents"]),
        *_of_issues(document["issues"], parse(document["period"]["to"])),
        *_of_recovery(document["systems"]),
        *_of_capacity(document["capacity"]),
        *_of_kpis(document["kpis"]),
    ]
    found.sort(key=lambda each: (each["priority"], each["due"] or "9", each["since"] or "9", each["what"]))
    return found[:ACTIONS]


def _action(priority: int, what: str, why: str, since: str | None, due: str | None, **where: str) -> Document:
    places = dict.fromkeys(("system", "host", "stage", "subject"))
    return {"priority": priority, "what": what, "why": why, "where": {**places, **where}, "since": since, "due": due}


def _of_incidents(incidents: Iterable[Document]) -> Iterator[Document]:
    for each in incidents:
        about = f"{each['severity']} {each['title'] or each['type']}"
        if each["state"] == "open":
            priority = 1 if each["severity"] in ("P1", "P2") else 2
            yield _action(
                priority, f"Resolve the incident {each['id']}", about, each["detected"], None, system=each["system"]
            )
        elif each["state"] == "stable":
            yield _action(
                3,
                f"Close the incident {each['id']}, with its post-mortem",
                about,
                each["stable"],
                None,
                system=each["system"],
            )


def _of_issues(issues: Iterable[Document], now: datetime.datetime) -> Iterator[Document]:
    for each in issues:
        if each["state"] == "resolved":
            continue
        days = int((now - parse(each["since"])).total_seconds() // 86400)
        worse = each["state"] == "returned" or days >= LONG_DAYS
        priority = 1 if each["status"] == "critical" else 2 if each["status"] == "warning" and worse else 3
        where = {name: each[name] for name in ("system", "host", "stage", "subject")}
        if each["stage"] == ROLL_CALL:
            what = (
                f"Bring {each['host']} back, or take it out of the inventory"
                if each["subject"] == "host"
                else f"See why {each['subject']} did not run on {each['host']}"
            )
        else:
            what = each["remedy"] or f"See to {each['subject']} on {each['host']} ({each['stage']})"
        again = ", it came back" if each["state"] == "returned" else f", for {days} days" if days > 1 else ""
        yield _action(priority, what, f"{each['status']}{again}: {each['summary']}", each["since"], None, **where)


def _of_recovery(systems: Iterable[Document]) -> Iterator[Document]:
    for system in systems:
        for each in system["recovery"]:
            if each["status"] == "ok":
                continue
            lost = each["point_seconds"] is None
            what = f"{'Make a backup' if lost else 'Shorten the recovery'} of {each['subject']} on {each['host']}"
            why = (
                "there is no good copy"
                if lost
                else "a copy or a restore is past what was promised, or was never measured"
            )
            yield _action(
                1 if lost else 2,
                what,
                why,
                None,
                None,
                system=system["name"],
                host=each["host"],
                subject=each["subject"],
            )


def _of_capacity(capacity: Iterable[Document]) -> Iterator[Document]:
    for each in capacity:
        left = each["days_left"]
        if left is None or left > LATER_DAYS:
            continue
        priority = 1 if left <= URGENT_DAYS else 2 if left <= SOON_DAYS else 3
        why = f"{each['metric']} is {show(each['value'], each['unit'])} and reaches {show(each['limit'], each['unit'])} on {each['runs_out']}, {_in_days(left)}"
        where = {name: each[name] for name in ("system", "host", "stage", "subject")}
        yield _action(
            priority, f"Make room for {each['subject']} on {each['host']}", why, None, each["runs_out"], **where
        )


def _in_days(left: int) -> str:
    return "now" if left <= 0 else f"in {left} day{'' if left == 1 else 's'}"


def _of_kpis(kpis: Iterable[Document]) -> Iterator[Document]:
    for each in kpis:
        if each["met"] is not False:
            continue
        why = f"{show(each['value'], each['unit'])}, target {target(each['target'], each['unit'])}"
        spent = each["budget"] is not None and each["budget"]["left_percent"] < 0
        what = (
            f"Put stability before changes: the error budget of {each['title']} is spent"
            if spent
            else f"Bring {each['title']} back to its target"
        )
        yield _action(
            2 if spent or each["direction"] == "worse" else 3,
            f"{what} ({each['system']})",
            why,
            None,
            None,
            system=each["system"],
        )


def recommendations(issues: Iterable[Document]) -> list[Document]:
    """Return the remedies that the checks themselves name for what is bad, with how many issues they would mend."""
    found: dict[tuple[str, str], list[Document]] = {}
    for each in issues:
        if each["remedy"] and each["state"] != "resolved":
            found.setdefault((each["system"], each["remedy"]), []).append(each)
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        {
            "what": remedy,
            "why": f"{_number(len(mended), 'issue')}: {_some(sorted({each['subject'] for each in mended}))}",
            "where": system,
        }
        for (system, remedy), mended in ordered[:RECOMMENDATIONS]
    ]


def achievements(document: Mapping[str, t.Any]) -> list[Document]:
    """Return what got better: KPIs that did or that meet their target again, issues that were resolved."""
    found = []
    for each in document["kpis"]:
        if each["direction"] == "better" and each["met"] is not False:
            text = f"{show(each['before'], each['unit'])} → {show(each['value'], each['unit'])}"
            aim = f" (target {target(each['target'], each['unit'])})" if each["target"] else ""
            found.append({"what": f"{each['title']}: {text}{aim}", "where": each["system"]})
    resolved = [each for each in document["issues"] if each["state"] == "resolved"]
    count = document["issue_counts"]["resolved"]
    if resolved:
        some = _some(sorted({f"{each['subject']} ({each['host']})" for each in resolved}), count=count)
        systems = sorted({each["system"] for each in resolved})
        found.append({"what": f"{_number(count, 'issue')} resolved: {some}", "where": ", ".join(systems)})
    return found[:ACHIEVEMENTS]


def plan(document: Mapping[str, t.Any], schedules: Sequence[Schedule], period: Period) -> list[Document]:
    """Return what comes in the next period: runs that are scheduled, what runs out, and the most pressing actions."""
    end = period.until + (period.until - period.since)
    found: list[Document] = []
    for each in schedules:
        if each.enabled:
            for at in each.upcoming(period.until.timestamp(), PLANNED):
                if at <= end.timestamp():
                    when = show_moment(datetime.datetime.fromtimestamp(at, datetime.UTC))
                    found.append({"when": when, "kind": "schedule", "what": each.playbook, "where": each.hosts})
    last = max(end, period.until + datetime.timedelta(days=LATER_DAYS))
    for row in document["capacity"]:
        if row["runs_out"] and row["runs_out"] <= f"{last:%Y-%m-%d}":
            when = f"{row['runs_out']}T00:00:00Z"
            found.append(
                {
                    "when": when,
                    "kind": "capacity",
                    "what": f"{row['subject']} runs out ({row['metric']})",
                    "where": row["host"],
                }
            )
    found.sort(key=lambda each: (each["when"], each["what"]))
    pressing = [each for each in document["actions"] if each["priority"] == 1]
    for each in pressing[: PLANNED // 2]:
        found.append(
            {
                "when": None,
                "kind": "action",
                "what": each["what"],
                "where": each["where"]["host"] or each["where"]["system"],
            }
        )
    return found


def summary(document: Mapping[str, t.Any]) -> list[str]:
    """Return what a manager wants to hear: who was looked at, targets, issues, incidents, what runs out first."""
    calls, counts = document["roll_call"], document["issue_counts"]
    silent = calls["expected"] - calls["answered"]
    heard = "all of them answered" if not silent else f"{silent} did not answer"
    looked_at = f"{_number(calls['expected'], 'host')} of {_number(len(document['systems']), 'system')}"
    lines = [f"{looked_at}, {_number(document['period']['runs'], 'run')}; in the last one {heard}."]
    judged = [each for each in document["kpis"] if each["met"] is not None]
    missed = [f"{each['title']} ({each['system']})" for each in judged if not each["met"]]
    if judged:
        rest = f"; not met: {_some(missed)}" if missed else ""
        lines.append(f"{len(judged) - len(missed)} of {_number(len(judged), 'measured KPI')} met{rest}.")
    else:
        lines.append("No KPI could be measured: nothing that they are made from was observed.")
    bad = counts["new"] + counts["open"] + counts["returned"]
    parts = [
        f"{counts[name]} {text}"
        for name, text in (("new", "new"), ("open", "from before"), ("returned", "came back"))
        if counts[name]
    ]
    lines.append(
        f"{_number(bad, 'issue')} open{f' ({_listed(parts)})' if parts else ''}, {counts['resolved']} resolved."
    )
    incidents = document["incidents"]
    if incidents:
        states = [
            f"{sum(each['state'] == state for each in incidents)} {state}" for state in ("open", "stable", "closed")
        ]
        lines.append(f"{_number(len(incidents), 'incident')}: {', '.join(states)}.")
    first = next((each for each in document["capacity"] if each["days_left"] is not None), None)
    if first:
        lines.append(
            f"First to run out: {first['subject']} on {first['host']} on {first['runs_out']}, {_in_days(first['days_left'])}."
        )
    return lines


def _listed(parts: Sequence[str]) -> str:
    return ", ".join(parts)


def _some(names: Sequence[str], most: int = 5, count: int = 0) -> str:
    """Return the first of `names`, and how many more there are of `count` (0: of as many as there are names)."""
    rest = max(count, len(names)) - min(most, len(names))
    return f"{', '.join(names[:most])}{f' and {rest} more' if rest else ''}"


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
