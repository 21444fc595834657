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
from collections.abc import Callable, Iterable, Iterator, Sequence

from ansible_collections.sre.runbooks.plugins.plugin_utils.model import Document
from ansible_collections.sre.runbooks.plugins.plugin_utils.page import attention, sentences
from ansible_collections.sre.runbooks.plugins.plugin_utils.page_figures import duration, moment, show, target

ROWS = 20
"""Rows of a table; tickets hold some 32,000 characters."""

CELL_LIMIT = 200
WORD_JOINER = "\u2060"
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+")
_MARKS = re.compile(r"([\\`*\[\]|~]|(?<!\w)_|_(?!\w)|^[#+>=-]|(?<=^\d)[.)])")
_NAMES = re.compile(r"@(?=\w)|(?<=\w)://|(?<=www)\.|(?<=#)(?=\d)")
_SIGNS = {"ok": "🟢", "skipped": "⚪", "unknown": "🟣", "warning": "🟠", "critical": "🔴"}
Columns = Sequence[tuple[str, Callable[[Document], str]]]


def render_markdown(document: Document) -> Iterator[str]:
    """Yield the report in parts."""
    run, calls = document["run"], document["roll_call"]
    yield f"# {_sign(document['status'])} {text(run['playbook'])}: {document['status']}\n\n"
    period = document.get("period")
    if period:
        yield f"{moment(period['from'])} to {moment(period['to'])} UTC, {period['runs']} runs · "
    yield f"run `{run['id']}`, {moment(run['started'])} UTC, {duration(run['duration_seconds'])} · "
    yield f"{calls['answered']} of {calls['expected']} hosts answered\n"
    yield from _list("", document.get("summary") or sentences(document))
    yield from _table("KPIs", document.get("kpis"), _KPIS)
    issues = [each for each in document.get("issues") or () if each["state"] != "resolved"]
    yield from _table("Issues", issues, _ISSUES) if period else _table("Findings", attention(document), _FINDINGS)
    yield from _table("No longer bad", document["resolved"], _RESOLVED)
    yield from _table("Trends", document.get("trends"), _TRENDS)
    yield from _table(
        "Capacity", [each for each in document.get("capacity") or () if each["days_left"] is not None], _CAPACITY
    )
    yield from _table("Incidents", document.get("incidents"), _INCIDENTS)
    yield from _list("Achievements", [each["what"] for each in document.get("achievements") or ()])
    yield from _table("Action items", document.get("actions"), _ACTIONS)
    yield from _table("What comes next", document.get("plan"), _PLAN)


def text(value: t.Any) -> str:
    """Return `value` as text of one line that Markdown takes for nothing else."""
    plain = " ".join(_NO_TEXT.sub(" ", str(value)).split())
    if len(plain) > CELL_LIMIT:
        plain = plain[: CELL_LIMIT - 1] + "…"
    # A joiner of no width after what would make a mention, an address or the number of a ticket.
    plain = _NAMES.sub(lambda found: found[0] + WORD_JOINER, plain)
    return _MARKS.sub(r"\\\1", plain.replace("&", "&amp;").replace("<", "&lt;"))


def _sign(status: str) -> str:
    return _SIGNS.get(status, "⚪")


def _list(title: str, lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield f"\n## {title}\n\n" if title else "\n"
        yield from (f"- {text(each)}\n" for each in found[:ROWS])


def _table(title: str, rows: Sequence[Document] | None, columns: Columns) -> Iterator[str]:
    if not rows:
        return
    yield f"\n## {title}\n\n"
    yield "| " + " | ".join(name for name, _of in columns) + " |\n"
    yield "|" + " --- |" * len(columns) + "\n"
    for row in rows[:ROWS]:
        yield "| " + " | ".join(of(row) for _name, of in columns) + " |\n"
    if len(rows) > ROWS:
        yield f"\nAnd {len(rows) - ROWS} more.\n"


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
    return f"{show(kpi['budget']['left_percent'], 'percent')} left" if kpi["budget"] else ""


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
    ("State", lambda row: text(f"{'came back' if row['state'] == 'returned' else row['state']}, {row['runs']} runs")),
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
