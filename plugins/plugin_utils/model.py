# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report as one document: what a table, a page and a program are made from. Its schema is in docs/report.md."""

from __future__ import annotations

import collections
import datetime
import typing as t
from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import STATUSES, worst
from ansible_collections.sre.runbooks.plugins.plugin_utils import model_period, recovery
from ansible_collections.sre.runbooks.plugins.plugin_utils.history import (
    BAD,
    History,
    StoredRun,
    SubjectKey,
    count,
    keys,
)
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import ROLL_CALL, HostAnswer, Outcome, Run

SCHEMA = "sre.runbooks.report/1"
RUNS_SHOWN = 30
CHARTS_LIMIT = 1000
"""Bad outcomes whose metric's history is read: when more is bad than that, nobody looks at charts."""

NO_SYSTEM = "no system"
Document = dict[str, t.Any]


def from_history(history: History, stored: StoredRun, settings: model_period.Settings | None = None) -> Document:
    """Return the report of a recorded run, with what came before it, and what `settings` want to know of its period."""
    run = history.load(stored)
    recent = history.recent(stored, RUNS_SHOWN)
    document = from_run(run)
    by_host = history.host_history(recent)
    for _system, host in hosts_of(document):
        host["history"] = by_host.get(host["name"], [])
    document["history"] = [_run_point(each) for each in recent]
    wanted = [(key, each) for key, each in _bad_ones(run) if each["metrics"]][:CHARTS_LIMIT]
    index = {
        (host["name"], each["stage"], each["subject"], each["ordinal"]): each
        for _system, host in hosts_of(document)
        for each in host["outcomes"]
    }
    for key, points in history.metric_history(recent, [key for key, each in wanted]).items():
        index[key]["history"] = _chart(points)
    if len(recent) > 1:
        document["resolved"] = _resolved(run, history.bad(recent[-2]))
    document["notifications"] = history.notifications(stored)
    bad = [each["status"] for each in document["notifications"] if each["status"] != "ok"]
    # A contact that nobody could reach is a finding of the run as any other.
    document["status"] = worst([document["status"], *bad])
    for status in bad:
        document["counts"][status] += 1
    model_period.add(document, history, stored, settings or model_period.Settings())
    return document


def from_run(run: Run) -> Document:
    """Return the report of a run that has not been recorded (check mode): without history."""
    for host in run.hosts:
        for each in host.outcomes:
            each.setdefault("since", run.started)
    systems: dict[str, list[HostAnswer]] = collections.defaultdict(list)
    for host in run.hosts:
        systems[host.system or NO_SYSTEM].append(host)
    outcomes = [each for host in run.hosts for each in host.outcomes]
    return {
        "schema": SCHEMA,
        "run": {
            "id": run.id,
            "playbook": run.playbook,
            "started": run.started,
            "finished": run.finished,
            "duration_seconds": max(0, int((_time(run.finished) - _time(run.started)).total_seconds())),
            "check_mode": run.check_mode,
            "collection_version": run.version,
            "stages": run.stages,
        },
        "status": run.status,
        "counts": count(outcomes),
        "roll_call": {
            "expected": len(run.hosts),
            "answered": sum(host.answered for host in run.hosts),
            "missing": [
                {
                    "host": host.name,
                    "system": host.system or NO_SYSTEM,
                    "subject": each["subject"],
                    "summary": each["summary"],
                    "since": each["since"],
                }
                for host in sorted(run.hosts, key=lambda host: host.name)
                for each in host.outcomes
                if each["stage"] == ROLL_CALL
            ],
        },
        "systems": sorted((_system(name, hosts, run) for name, hosts in systems.items()), key=worst_first),
        "resolved": [],
        "notifications": [],
        "history": [],
        **model_period.empty(),
    }


def worst_first(thing: Mapping[str, t.Any]) -> tuple[t.Any, ...]:
    """Sort key of systems and hosts: the worst status, then the most of it, then the name."""
    counts = thing["counts"]
    return (
        -STATUSES.index(thing["status"]),
        -counts["critical"],
        -counts["warning"],
        -counts["unknown"],
        thing["name"],
    )


def hosts_of(document: Document) -> Iterable[tuple[Document, Document]]:
    """Yield (system, host) in the order of the report."""
    for system in document["systems"]:
        for host in system["hosts"]:
            yield system, host


def _system(name: str, hosts: Sequence[HostAnswer], run: Run) -> Document:
    return {
        "name": name,
        "status": worst(host.status for host in hosts),
        "counts": count(each for host in hosts for each in host.outcomes),
        "hosts": sorted((_host(host, run) for host in hosts), key=worst_first),
        "recovery": recovery.rows(hosts),
    }


def _host(host: HostAnswer, run: Run) -> Document:
    rows = [(each, ordinal) for (_host_name, _stage, _subject, ordinal), each in keys(host)]
    rows.sort(
        key=lambda row: (
            -STATUSES.index(row[0]["status"]),
            row[0]["stage"] != ROLL_CALL,
            row[0]["stage"],
            row[0]["subject"],
            row[1],
        )
    )
    return {
        "name": host.name,
        "status": host.status,
        "answered": host.answered,
        "counts": count(host.outcomes),
        # `new`: this status was first seen in this run.
        "outcomes": [{**each, "ordinal": ordinal, "new": each["since"] >= run.started} for each, ordinal in rows],
        "history": [],
    }


def _bad_ones(run: Run) -> list[tuple[SubjectKey, Outcome]]:
    """The bad outcomes of a run, the worst first."""
    found = [(key, each) for host in run.hosts for key, each in keys(host) if each["status"] in BAD]
    return sorted(found, key=lambda pair: -STATUSES.index(pair[1]["status"]))


def _chart(points: Sequence[tuple[str, str, float]]) -> Document:
    """Return the history of the metric that is the main one now; a check whose metrics were changed starts anew."""
    metric = points[-1][0] if points else ""
    return {
        "metric": metric,
        "points": [{"started": started, "value": value} for name, started, value in points if name == metric],
    }


def _resolved(run: Run, before: Mapping[SubjectKey, Mapping[str, t.Any]]) -> list[Document]:
    """Return what was bad in the run before and is not any more, as far as this run looked at it."""
    now = {key: each for host in run.hosts for key, each in keys(host)}
    looked_at = {key[:2] for key in now} | {(host.name, ROLL_CALL) for host in run.hosts}
    gone = [key for key in before if key[:2] in looked_at and (key not in now or now[key]["status"] not in BAD)]
    return [{"host": key[0], "stage": key[1], "subject": key[2], **before[key]} for key in sorted(gone)]


def _run_point(stored: StoredRun) -> Document:
    columns = stored.columns
    return {
        "run": stored.id,
        "started": columns["started"],
        "status": columns["status"],
        **{name: columns[name] for name in STATUSES},
    }


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
