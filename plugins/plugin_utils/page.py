# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report as HTML pages that need nothing else: no script, no request, everything from hosts escaped.

The technical view tells an engineer what to do on which host; the executive view tells how the systems do.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import jinja2
import markupsafe

from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import STATUSES
from ansible_collections.sre.runbooks.plugins.plugin_utils import page_charts
from ansible_collections.sre.runbooks.plugins.plugin_utils.model import Document, hosts_of
from ansible_collections.sre.runbooks.plugins.plugin_utils.page_figures import (
    duration,
    figure,
    moment,
    money,
    show,
    target,
    target_value,
    time_of,
)
from ansible_collections.sre.runbooks.plugins.plugin_utils.table import age

VIEWS = ("technical", "executive")
Link = tuple[str, str]
"""A text and the file that it leads to; no file for the page itself."""

CHARTS = 12
"""Charts of a section: the first ones, which are the worst; each takes some milliseconds to draw."""

TOP = 10
"""Rows that the executive view shows of what the technical view shows all of."""

RUNS_IN_STRIP = 30
SPARK_WIDTH, SPARK_HEIGHT = 120, 28
_BAR_HEIGHTS = {"ok": 7, "skipped": 7, "unknown": 13, "warning": 18, "critical": 24}
"""The strip's bars: height says what the colour says, for who cannot tell the colours apart."""

_EMPTY: Document = {
    "period": None,
    "costs": None,
    "issue_counts": {},
    **dict.fromkeys(
        (
            "summary",
            "kpis",
            "trends",
            "issues",
            "capacity",
            "incidents",
            "actions",
            "recommendations",
            "achievements",
            "plan",
        ),
        (),
    ),
}
"""What the document of a run without a period lacks."""

_SECTIONS = (
    ("summary", "Summary"),
    ("attention", "What needs attention"),
    ("actions", "Action items"),
    ("issues", "Issues"),
    ("kpis", "KPIs"),
    ("trends", "Trends"),
    ("capacity", "Capacity"),
    ("incidents", "Incidents"),
    ("notifications", "Notifications"),
    ("resolved", "No longer bad"),
    ("roll-call", "Roll-call"),
)
_ALWAYS = ("attention", "roll-call")


def render_page(document: Document, view: str = "technical", links: Sequence[Link] = ()) -> Iterator[str]:
    """Yield the page of `view` in parts, so that the whole of it never stands in memory."""
    document = {**_EMPTY, **document}
    run = document["run"]
    anchors = {host["name"]: f"host-{number}" for number, (_system, host) in enumerate(hosts_of(document), 1)}
    stream = (
        environment()
        .get_template(f"page_{view}.html.j2")
        .stream(
            title=f"{document['status'].upper()}: {run['playbook']}, {moment(run['started'])} UTC, {view} view",
            version=run["collection_version"],
            links=links,
            document=document,
            attention=attention(document),
            contents=_contents(document),
            sentences=document["summary"] or sentences(document),
            recovery=_recovery(document),
            anchor=lambda host: anchors.get(host, "roll-call"),
            age=lambda since: age(since, run["started"]),
        )
    )
    stream.enable_buffering(200)
    yield from stream


@functools.cache
def environment() -> jinja2.Environment:
    """Return the templates of the pages and what they call."""
    result = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    result.globals.update(
        statuses=list(reversed(STATUSES)),
        bar_heights=_BAR_HEIGHTS,
        charts=CHARTS,
        charts_made=page_charts.PYGAL_MISSING is None,
        top=TOP,
        spark=spark,
        shower=lambda metric: functools.partial(figure, metric),
        show=show,
        target=target,
        moment=moment,
        duration=duration,
        money=money,
        urgency=_urgency,
        kpis_by_system=_kpis_by_system,
        kpi_chart=_kpi_chart,
        trend_chart=_trend_chart,
        capacity_chart=_capacity_chart,
        runs_chart=_runs_chart,
    )
    return result


def attention(document: Document) -> list[Document]:
    """Every bad outcome of the run with its system and host, the worst first, the new before the old."""
    rows = [
        {**each, "system": system["name"], "host": host["name"]}
        for system, host in hosts_of(document)
        for each in host["outcomes"]
        if each["status"] not in ("ok", "skipped")
    ]
    return sorted(rows, key=lambda row: (-STATUSES.index(row["status"]), not row["new"]))


def _contents(document: Document) -> list[Link]:
    """Return anchor and title of the sections that the technical view has."""
    sections = [pair for pair in _SECTIONS if pair[0] in _ALWAYS or document[pair[0]]]
    return sections + [(f"system-{number}", system["name"]) for number, system in enumerate(document["systems"], 1)]


def sentences(document: Document) -> list[str]:
    """Return what an executive reads of a run that has no summary of a period."""
    calls, counts = document["roll_call"], document["counts"]
    found = [f"{counts[name]} {name}" for name in ("critical", "warning", "unknown") if counts[name]]
    return [
        f"{calls['answered']} of {calls['expected']} hosts answered.",
        f"Findings: {', '.join(found)}." if found else "No finding: every check that was made is well.",
    ]


def _recovery(document: Document) -> list[Document]:
    """Every system's rows about recovery, the worst first."""
    rows = [row for system in document["systems"] for row in system["recovery"]]
    return sorted(rows, key=lambda row: -STATUSES.index(row["status"]))


def _kpis_by_system(document: Document) -> list[tuple[str, list[Document]]]:
    """Return the KPIs of each system, the systems in the order of the report."""
    known = [system["name"] for system in document["systems"]]
    names = list(dict.fromkeys(each["system"] for each in document["kpis"]))
    names.sort(key=lambda name: known.index(name) if name in known else len(known))
    return [(name, [each for each in document["kpis"] if each["system"] == name]) for name in names]


def _urgency(entry: Document) -> str:
    days = entry["days_left"]
    return "skipped" if days is None else "critical" if days <= 30 else "warning" if days <= 90 else "skipped"


def _kpi_chart(kpi: Document) -> markupsafe.Markup:
    value = functools.partial(show, unit=kpi["unit"])
    wanted = f", target {target(kpi['target'], kpi['unit'])}" if kpi["target"] else ""
    label = f"{kpi['title']} of {kpi['system']} over {len(kpi['points'])} runs, now {value(kpi['value'])}{wanted}"
    return page_charts.line(_points(kpi["points"]), value, label, target_value(kpi["target"]))


def _trend_chart(trend: Document) -> markupsafe.Markup:
    value = functools.partial(show, unit=trend["unit"])
    label = f"{trend['title']} of {trend['system']} over {len(trend['points'])} runs, now {value(trend['value'])}"
    return page_charts.line(_points(trend["points"]), value, label)


def _capacity_chart(entry: Document) -> markupsafe.Markup:
    """Return the chart of a capacity: what was measured, and how it goes on until it runs out, or for as long again."""
    value = functools.partial(show, unit=entry["unit"])
    points = _points(entry["points"])
    ends = f", runs out {entry['runs_out']}" if entry["runs_out"] else ""
    label = f"{entry['subject']} {entry['metric']} of {entry['host']}: {value(entry['value'])}{ends}"
    return page_charts.line(points, value, label, entry["limit"] if entry["runs_out"] else None, _ahead(entry, points))


def _ahead(entry: Document, points: page_charts.Points) -> page_charts.Points:
    """Return where the line goes: to its limit, as far as that is in sight (a year)."""
    end = time_of(entry["runs_out"])
    if not points or not end or entry["limit"] is None or end <= points[-1][0]:
        return ()
    last, value = points[-1]
    far = last + datetime.timedelta(days=365)
    if end <= far:
        return [(end, entry["limit"])]
    share = (far - last) / (end - last)
    return [(far, value + (entry["limit"] - value) * share)]


def _runs_chart(history: Sequence[Document]) -> markupsafe.Markup:
    kinds = ("critical", "warning", "unknown")
    return page_charts.columns(history, kinds, f"Findings of the last {len(history)} runs by their status")


def _points(points: Sequence[Document]) -> page_charts.Points:
    found = [(time_of(point["started"]), point["value"]) for point in points]
    return [(moment, float(value)) for moment, value in found if moment is not None and value is not None]


def spark(points: Sequence[Document]) -> Document:
    """Return the line of a metric's history in a box of SPARK_WIDTH by SPARK_HEIGHT: its points, its last point, its range."""
    values = [float(point["value"]) for point in points]
    low, high = min(values), max(values)
    spread = (high - low) or 1.0
    step = (SPARK_WIDTH - 6) / max(1, len(values) - 1)
    middle = high == low
    places = [
        (3 + number * step, SPARK_HEIGHT / 2 if middle else 3 + (high - value) / spread * (SPARK_HEIGHT - 6))
        for number, value in enumerate(values)
    ]
    return {
        "width": SPARK_WIDTH,
        "height": SPARK_HEIGHT,
        "line": " ".join(f"{x:.1f},{y:.1f}" for x, y in places),
        "x": f"{places[-1][0]:.1f}",
        "y": f"{places[-1][1]:.1f}",
        "low": low,
        "high": high,
        "last": values[-1],
    }
