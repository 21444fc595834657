# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report as Markdown, short enough for a chat or a ticket: how it went, the KPIs, what is bad, what to do.

GitHub's dialect, which tickets and most chats understand. What a host says is text: it makes no link, names nobody, and
opens no tag.
"""

from __future__ import annotations

import re
import typing as t
from collections.abc import Callable, Iterator, Sequence

from ansible_collections.sre.runbooks.plugins.plugin_utils.model import Document
from ansible_collections.sre.runbooks.plugins.plugin_utils.page import attention, sentences
from ansible_collections.sre.runbooks.plugins.plugin_utils.page_figures import duration, moment, show, target

ROWS = 20
CELL_LIMIT = 200
LIMIT = 30_000
"""Rows of a table, characters of a cell, characters of all; tickets hold some 32,000."""

WORD_JOINER = "\u2060"
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+")
_MARKS = re.compile(r"([\\`*\[\]|~]|(?<!\w)_|_(?!\w))")
_TAGS = re.compile(r"<(?=[A-Za-z/!?])|&(?=#?\w+;)")
_NAMES = re.compile(r"@(?=\w)|(?<=\w):(?=//)|(?<=www)\.|#(?=\d)", re.IGNORECASE)
"""Where somebody is mentioned, an address begins, or a ticket is numbered."""

_BEGINNINGS = re.compile(r"^(?=[#+>=-])|(?<=^\d)(?=[.)]\s)|(?<=^\d\d)(?=[.)]\s)")
"""Where a line would be a heading, a list or a quotation."""

_SIGNS = {"ok": "🟢", "skipped": "⚪", "unknown": "🟣", "warning": "🟠", "critical": "🔴"}
Columns = Sequence[tuple[str, Callable[[Document], str]]]


def render_markdown(document: Document) -> Iterator[str]:
    """Yield the report in parts, as many as there is room for; what matters most comes first."""
    room = LIMIT
    for part in _parts(document):
        room -= len(part)
        if room < 0:
            yield "\nThe rest is too long for here; the report's page has it.\n"
            return
        yield part


def _parts(document: Document) -> Iterator[str]:
    run, calls, period = document["run"], document["roll_call"], document.get("period")
    yield f"# {_sign(document['status'])} {text(run['playbook'])}: {document['status']}\n\n"
    if period:
        yield f"{moment(period['from'])} to {moment(period['to'])} UTC, {period['runs']} runs · "
    yield f"run `{run['id']}`, {moment(run['started'])} UTC, {duration(run['duration_seconds'])} · "
    yield f"{calls['answered']} of {calls['expected']} hosts answered\n"
    yield _list("", document.get("summary") or sentences(document))
    yield _table("KPIs", document.get("kpis"), _KPIS)
    issues = [each for each in document.get("issues") or () if each["state"] != "resolved"]
    yield _table("Issues", issues, _ISSUES) if period else _table("Findings", attention(document), _FINDINGS)
    yield _table("Action items", document.get("actions"), _ACTIONS)
    ending = [each for each in document.get("capacity") or () if each["days_left"] is not None]
    yield _table("Capacity", ending, _CAPACITY)
    yield _table("Incidents", document.get("incidents"), _INCIDENTS)
    yield _table("Trends", document.get("trends"), _TRENDS)
    yield _table("No longer bad", document["resolved"], _RESOLVED)
    yield _list("Achievements", [each["what"] for each in document.get("achievements") or ()])
    yield _table("What comes next", document.get("plan"), _PLAN)


def text(value: t.Any) -> str:
    """Return `value` as text of one line that Markdown takes for nothing else."""
    plain = " ".join(_NO_TEXT.sub(" ", str(value)).split())
    if len(plain) > CELL_LIMIT:
        plain = plain[: CELL_LIMIT - 1] + "…"
    plain = _NAMES.sub(lambda found: found[0] + WORD_JOINER, plain)
    return _TAGS.sub(lambda found: {"<": "&lt;", "&": "&amp;"}[found[0]], _MARKS.sub(r"\\\1", plain))


def _sign(status: str) -> str:
    return _SIGNS.get(status, "⚪")


def _list(title: str, lines: Sequence[t.Any]) -> str:
    if not lines:
        return ""
    head = f"\n## {title}\n\n" if title else "\n"
    return head + "".join("- " + _BEGINNINGS.sub(r"\\", text(each)) + "\n" for each in lines[:ROWS])


def _table(title: str, rows: Sequence[Document] | None, columns: Columns) -> str:
    if not rows:
        return ""
    lines = [f"\n## {title}\n", "| " + " | ".join(name for name, _of in columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(of(row) for _name, of in columns) + " |" for row in rows[:ROWS]]
    if len(rows) > ROWS:
        lines.append(f"\nAnd {len(rows) - ROWS} more.")
    return "\n".join(lines) + "\n"


def _where(row: Document) -> str:
    where = row["where"]
    parts = (where.get(name) for name in ("system", "host", "subject")) if isinstance(where, dict) else (where,)
    return text(" ".join(str(part) for part in parts if part))


def _status(row: Document) -> str:
    return f"{_sign(row['status'])} {row['status']}"


def _place(row: Document) -> str:
    return text(f"{row['system'] or ''} {row['host']}")


def _verdict(kpi: Document) -> str:
    return {True: "🟢 met", False: "🔴 missed", None: "⚪ no data"}[kpi["met"]]


def _budget(kpi: Document) -> str:
    left = kpi["budget"]["left_percent"] if kpi["budget"] else None
    return "" if left is None else "overspent" if left < 0 else f"{show(left, 'percent')} left"


def _state(issue: Document) -> str:
    state = "came back" if issue["state"] == "returned" else issue["state"]
    return text(f"{state}, {issue['runs']} run{'' if issue['runs'] == 1 else 's'}")


_KPIS: Columns = (
    ("Target", _verdict),
    ("KPI", lambda row: text(f"{row['title']} ({row['system']})")),
    ("Value", lambda row: text(f"{show(row['value'], row['unit'])} (target {target(row['target'], row['unit'])})")),
    ("Before", lambda row: text(f"{show(row['before'], row['unit'])} {row['direction'] or ''}")),
    ("Error budget", _budget),
)
_ISSUES: Columns = (
    ("Status", _status),
    ("Where", _place),
    ("Issue", lambda row: text(f"{row['subject']}: {row['summary']}")),
    ("State", _state),
    ("Since", lambda row: moment(row["since"])),
)
_FINDINGS: Columns = (
    ("Status", _status),
    ("Where", _place),
    ("Finding", lambda row: text(f"{row['subject']}: {row['summary']}")),
    ("Since", lambda row: "new" if row["new"] else moment(row["since"])),
)
_RESOLVED: Columns = (
    ("Where", _place),
    ("Was", lambda row: text(f"{row['subject']}: {row['status']}, {row['summary']}")),
)
_TRENDS: Columns = (
    ("Trend", lambda row: text(row["direction"])),
    ("What", lambda row: text(f"{row['title']} ({row['system']})")),
    ("Value", lambda row: text(show(row["value"], row["unit"]))),
    ("Before", lambda row: text(show(row["before"], row["unit"]))),
)
_CAPACITY: Columns = (
    ("Runs out", lambda row: text(f"{row['runs_out'] or 'now'}, in {row['days_left']} days")),
    ("What", lambda row: text(f"{row['subject']} ({row['system']} {row['host']})")),
    ("Now", lambda row: text(f"{show(row['value'], row['unit'])} of {show(row['limit'], row['unit'])}")),
    ("A day", lambda row: text(show(row["per_day"], row["unit"]))),
)
_INCIDENTS: Columns = (
    ("Severity", lambda row: text(row["severity"])),
    ("Incident", lambda row: text(f"{row['title']} ({row['system']}, {row['id']})")),
    ("State", lambda row: text(row["state"])),
    ("Detected after", lambda row: text(show(row["detect_seconds"], "seconds"))),
    ("Resolved after", lambda row: text(show(row["resolve_seconds"], "seconds"))),
)
_ACTIONS: Columns = (
    ("Priority", lambda row: text(row["priority"])),
    ("What to do", lambda row: text(row["what"])),
    ("Why", lambda row: text(row["why"])),
    ("Where", _where),
    ("Due", lambda row: text(row["due"] or "")),
)
_PLAN: Columns = (
    ("When", lambda row: moment(row["when"]) if row["when"] else "as soon as possible"),
    ("What", lambda row: text(row["what"])),
    ("Where", _where),
)
