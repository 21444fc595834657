# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report as tables for a spreadsheet: one CSV file for each section, a head line and rows of the same columns.

As spreadsheets read it: UTF-8 with a mark at its beginning, commas, CR LF, every text in quotes, numbers bare. What a host
says is text and never a formula.
"""

from __future__ import annotations

import csv
import io
import re
import typing as t
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ansible_collections.sre.runbooks.plugins.plugin_utils.model import Document, hosts_of

BYTE_ORDER_MARK = "\ufeff"
CELL_LIMIT = 32_000
"""Characters of a cell; spreadsheets cut at 32,767."""

_FORMULA = re.compile(r"(^|;)([\s\"']*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")
"""Where a cell would be read as a formula: where it begins, and after a semicolon, which ends cells elsewhere. The last four are wide forms."""

_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
Row = Mapping[str, t.Any]
_COSTS = ("system", "what", "quantity", "unit", "price", "amount", "before", "currency")

_SECTIONS: dict[str, tuple[str, ...]] = {
    "kpis": ("system", "title", "value", "unit", "target", "met", "before", "direction", "budget_left_percent", "why"),
    "trends": ("system", "stage", "subject", "metric", "value", "unit", "before", "change_percent", "direction"),
    "issues": ("system", "host", "stage", "subject", "status", "state", "since", "until", "runs", "summary", "remedy"),
    "capacity": (
        "system", "host", "stage", "subject", "metric", "value", "unit", "limit", "per_day", "runs_out", "days_left",
    ),
    "incidents": (
        "id", "severity", "system", "type", "title", "state", "started", "detected", "stable", "closed",
        "detect_seconds", "resolve_seconds",
    ),
    "actions": ("priority", "what", "why", "system", "host", "stage", "subject", "since", "due"),
}  # fmt: skip
_OUTCOMES = ("run", "started", "system", "host", "stage", "subject", "status", "since", "summary", "metric", "value")
_RECOVERY = (
    "system", "host", "subject", "status", "point_seconds", "target_point_seconds", "created", "level", "proven",
    "time_seconds", "target_time_seconds", "measured",
)  # fmt: skip


def tables(document: Document) -> Iterator[tuple[str, Iterator[str]]]:
    """Yield the name of each section and the lines of its table.

    The report of a period has all of them, be they empty, so that what reads them finds the same files each time.
    """
    recovery = [{**row, "system": system["name"]} for system in document["systems"] for row in system["recovery"]]
    yield "outcomes", _lines(_OUTCOMES, _outcomes(document))
    yield "recovery", _lines(_RECOVERY, recovery)
    if not document.get("period"):
        return
    for name, columns in _SECTIONS.items():
        yield name, _lines(columns, map(_flat, document.get(name) or ()))
    costs = document.get("costs") or {"rows": []}
    yield "costs", _lines(_COSTS, ({**row, "currency": costs["currency"]} for row in costs["rows"]))


def _outcomes(document: Document) -> Iterator[Row]:
    """Yield an outcome as many times as it has metrics, at least once: a table to sort, to filter and to pivot."""
    run = {"run": document["run"]["id"], "started": document["run"]["started"]}
    for system, host in hosts_of(document):
        for each in host["outcomes"]:
            row = {**each, **run, "system": system["name"], "host": host["name"]}
            for metric, value in list(each["metrics"].items()) or [("", None)]:
                yield {**row, "metric": metric, "value": value}


def _flat(row: Row) -> Row:
    """Return a row of the document with what is nested in it beside the rest."""
    where = row.get("where")
    budget = row.get("budget") or {}
    return {
        **row,
        **(where if isinstance(where, dict) else {}),
        "budget_left_percent": budget.get("left_percent"),
    }


def _lines(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
    yield BYTE_ORDER_MARK
    for values in ([list(columns)], ([_cell(row.get(name)) for name in columns] for row in rows)):
        for line in values:
            writer.writerow(line)
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()


def _cell(value: t.Any) -> str | float:
    """Return a number as it is, and anything else as text that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return value
    text = _NO_TEXT.sub(" ", str(value))[:CELL_LIMIT]
    return _FORMULA.sub(r"\1'\2", text)
