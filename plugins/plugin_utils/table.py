# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report in a terminal: what is bad first, for somebody who was just woken up."""

from __future__ import annotations

import collections
import datetime
import textwrap
import typing as t
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import STATUSES
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration
from ansible_collections.sre.runbooks.plugins.plugin_utils.model import Document

DEFAULT_WIDTH = 100
MINIMUM_WIDTH = 60
GOOD_HOSTS_LISTED = 20
"""More hosts without a finding than this in a system are one line."""

RECOVERIES_LISTED = 20
"""Of more databases than this in a system only those past a target, or without a good copy, are listed."""

Line = tuple[str, str]
"""A line and the status that colours it (empty: none)."""

_COLUMNS = ("status", "host", "stage", "subject", "summary", "since")
_SHARES = {"host": 0.16, "stage": 0.12, "subject": 0.22}
"""The most of the width that a column takes; the summary has the rest."""


def render(document: Document, width: int = DEFAULT_WIDTH) -> list[Line]:
    """Return the lines of the table, none longer than `width` columns."""
    width = max(width, MINIMUM_WIDTH)
    lines = [(part, document["status"]) for part in _wrap(headline(document), width)]
    for system in document["systems"]:
        counts = _counts(system["counts"])
        lines += [("", ""), (_cut(f"{system['name']}: {system['status'].upper()} ({counts})", width), system["status"])]
        lines += _bad_rows(system, document["run"]["started"], width)
        lines += _good_rows(system, width)
        lines += _recovery_rows(system, width)
    if document["resolved"]:
        lines += [("", ""), ("No longer bad since the run before:", "ok")]
        for each in document["resolved"]:
            lines.append(
                (
                    _cut(
                        _clean(
                            f"  {each['host']} {each['stage']} {each['subject']} (was {each['status']}: {each['summary']})"
                        ),
                        width,
                    ),
                    "ok",
                )
            )
    if document["notifications"]:
        lines += [("", ""), ("Notifications", "")]
        for each in document["notifications"]:
            text = _wrap(_clean(f"{each['contact']}: {each['summary']}"), width - 10)
            lines += [(f"{each['status'] if first else '':<9} {part}", each["status"]) for first, part in _first(text)]
    lines.append(("", ""))
    roll_call = document["roll_call"]
    silent = "ok" if roll_call["answered"] == roll_call["expected"] else "critical"
    lines.append((f"Roll-call: {roll_call['answered']} of {roll_call['expected']} hosts answered", silent))
    return lines


def _first(parts: Sequence[str]) -> Iterator[tuple[bool, str]]:
    return ((number == 0, part) for number, part in enumerate(parts))


def headline(document: Document) -> str:
    """Return what a subject line or a chat message needs: playbook, status, counts, time."""
    run = document["run"]
    mode = " (check mode, nothing recorded)" if run["check_mode"] else ""
    started = f"{run['started'][:10]} {run['started'][11:16]} UTC"
    return _clean(
        f"{run['playbook']}: {document['status'].upper()}{mode} · {_counts(document['counts'])} · {started} · {run['id']}"
    )


def age(since: str, at: str) -> str:
    """Return how long before `at` the status began: `new`, or minutes, hours or days."""
    try:
        seconds = (_time(at) - _time(since)).total_seconds()
    except ValueError:
        return ""
    if seconds < 60:
        return "new"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "new"


def _bad_rows(system: Document, started: str, width: int) -> Iterator[Line]:
    rows = [
        {
            "status": each["status"],
            "host": host["name"],
            "stage": each["stage"],
            "subject": each["subject"],
            "summary": each["summary"],
            "since": age(each["since"], started),
        }
        for host in system["hosts"]
        for each in host["outcomes"]
        if each["status"] != "ok"
    ]
    if not rows:
        return
    # Across the hosts of a system the worst stands first; a stable sort keeps a host's rows together within a status.
    rows.sort(key=lambda row: -STATUSES.index(row["status"]))
    widths = _widths(rows, width)
    yield _row({name: name.upper() for name in _COLUMNS}, widths)[0], ""
    for row in rows:
        for line in _row(row, widths):
            yield line, row["status"]


def _good_rows(system: Document, width: int) -> Iterator[Line]:
    good = []
    for host in system["hosts"]:
        stages = collections.Counter(each["stage"] for each in host["outcomes"] if each["status"] == "ok")
        if stages:
            good.append((host, ", ".join(f"{stage} {number}" for stage, number in sorted(stages.items()))))
    clean = [pair for pair in good if pair[0]["status"] == "ok"]
    if len(clean) > GOOD_HOSTS_LISTED:
        good = [pair for pair in good if pair[0]["status"] != "ok"]
        yield (
            f"{'ok':<9} {len(clean)} hosts without a finding ({sum(host['counts']['ok'] for host, _text in clean)} outcomes)",
            "ok",
        )
    longest = max((_width(_clean(host["name"])) for host, _text in good), default=0)
    for host, text in good:
        yield _cut(f"{'ok':<9} {_pad(_clean(host['name']), min(longest, width // 3))}  {_clean(text)}", width), "ok"


def _recovery_rows(system: Document, width: int) -> Iterator[Line]:
    """One line for each database; of many only those that are not as they should be."""
    rows = system["recovery"]
    shown = rows if len(rows) <= RECOVERIES_LISTED else [row for row in rows if row["status"] != "ok"]
    if rows:
        yield "Recovery", ""
    if len(shown) < len(rows):
        yield f"{'ok':<9} {len(rows) - len(shown)} databases can be recovered within their targets", "ok"
    for row in shown:
        point = _measured(row["point_seconds"], row["target_point_seconds"], "no good copy", "newest good copy {} old")
        restore = _measured(
            row["time_seconds"], row["target_time_seconds"], "no restore was measured", "a restore takes {}"
        )
        proven = f", proven as {row['level']}" if row["level"] else ""
        text = f"{row['subject']} ({row['host']}): {point}{proven}; {restore}"
        first, *rest = _wrap(_clean(text), width - 10)
        yield f"{row['status']:<9} {first}", row["status"]
        for line in rest:
            yield f"{'':<9} {line}", row["status"]


def _measured(seconds: float | None, target: float | None, nothing: str, form: str) -> str:
    text = nothing if seconds is None else form.format(show_duration(seconds))
    return text if target is None else f"{text} (target {show_duration(target)})"


def _widths(rows: Sequence[Mapping[str, str]], width: int) -> dict[str, int]:
    """Share `width` among the columns: as wide as their longest value, within their share; the summary gets the rest."""
    widths = {name: max(len(name), *(_width(_clean(row[name])) for row in rows)) for name in _COLUMNS}
    for name, share in _SHARES.items():
        widths[name] = min(widths[name], max(len(name), int(width * share)))
    used = sum(widths[name] for name in _COLUMNS if name != "summary") + len(_COLUMNS) - 1
    widths["summary"] = max(10, width - used)
    return widths


def _row(row: Mapping[str, str], widths: Mapping[str, int]) -> list[str]:
    """Lay out one row; what is too long goes on below, because a cut-off message is the one that was needed."""
    cells = {name: _wrap(_clean(row[name]), widths[name]) or [""] for name in _COLUMNS}
    height = max(len(cell) for cell in cells.values())
    return [
        " ".join(
            _pad(cells[name][number] if number < len(cells[name]) else "", widths[name]) for name in _COLUMNS
        ).rstrip()
        for number in range(height)
    ]


def _counts(counts: Mapping[str, int]) -> str:
    found = [f"{counts[name]} {name}" for name in reversed(STATUSES) if counts[name]]
    return ", ".join(found) or "nothing looked at"


def _clean(text: str) -> str:
    """Return `text` without control and direction characters: what a host says must not steer the terminal."""
    return "".join(each if each == " " or unicodedata.category(each)[0] not in "CZ" else " " for each in text)


def _wrap(text: str, width: int) -> list[str]:
    if _width(text) == len(text):
        return textwrap.wrap(text, width, break_on_hyphens=False)
    # Wide characters take two columns: wrapped to half the width they always fit.
    return textwrap.wrap(text, max(1, width // 2), break_on_hyphens=False)


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text
    )


def _pad(text: str, width: int) -> str:
    return text + " " * max(0, width - _width(text))


def _cut(text: str, width: int) -> str:
    while _width(text) > width:
        text = f"{text[:-2]}…"
    return text


def _time(text: str) -> datetime.datetime:
    moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


__all__: t.Final = ["DEFAULT_WIDTH", "age", "headline", "render"]
