# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which rows of a table are old, and whether so many may go."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_size
from ansible_collections.sre.runbooks.plugins.module_utils._tables._archive_settings import Task
from ansible_collections.sre.runbooks.plugins.module_utils._tables._engine import Column, Session, Table, Work

TIME = "%Y-%m-%dT%H:%M:%SZ"


class Plan(t.NamedTuple):
    """What a look at the table found: `rows` of `total` are before the cutoff and hold `bytes`."""

    table: Table
    condition: str
    cutoff: float
    total: int
    rows: int
    bytes: int

    @property
    def cutoff_text(self) -> str:
        """The cutoff for people."""
        return time.strftime(TIME, time.gmtime(self.cutoff))

    def text(self) -> str:
        """What would go."""
        share = 100 * self.rows / self.total if self.total else 0.0
        return (
            f"{self.rows} of {self.total} rows ({share:.1f} %, {show_size(self.bytes)}) older than {self.cutoff_text}"
        )

    def details(self) -> dict[str, t.Any]:
        """The plan for the outcome."""
        return {"cutoff": self.cutoff_text, "rows": self.rows, "total": self.total, "bytes": self.bytes}

    def metrics(self) -> dict[str, float]:
        """The plan's figures."""
        return {"rows": self.rows, "total_rows": self.total, "content_bytes": self.bytes}

    def refusal(self, task: Task) -> str | None:
        """Why this is not done; None when it may be."""
        limits = task.limits
        passed = []
        if limits.rows is not None and self.rows > limits.rows:
            passed.append(f"limits.rows is {limits.rows}")
        if limits.bytes is not None and self.bytes > limits.bytes:
            passed.append(f"limits.bytes is {show_size(limits.bytes)}")
        if self.total and 100 * self.rows / self.total > limits.percent:
            passed.append(f"limits.percent is {limits.percent:g}")
        if passed:
            return f"{self.text()} would go, but {' and '.join(passed)}"
        return None


def prepare(task: Task, session: Session, cutoff: float) -> Plan:
    """Look at the table inside of the open transaction."""
    table = session.describe(task.table, task.schema)
    column = table.column(task.column)
    if column is None:
        names = ", ".join(each.name for each in table.columns)
        raise RunbookError(f"column: {task.column!r} is no column of {task.table}. It has {names}.")
    if not table.key:
        raise RunbookError(
            f"table: {task.table} has neither a primary key nor a unique one without NULL, so that no row can be told from another. "
            "Add one."
        )
    parts = [session.older(table, column, task.column_type, cutoff)]
    if table.references and task.foreign_keys == "refuse":
        which = "; ".join(
            f"{each.table}({', '.join(each.columns)}) ON DELETE {each.action}" for each in table.references
        )
        raise RunbookError(
            f"foreign_keys: rows of other tables point to {task.table}: {which}. Archive those first and set "
            "foreign_keys to unreferenced, or to cascade when what they hold may go without an export."
        )
    if task.foreign_keys == "unreferenced":
        parts.append(f"({session.unreferenced(table)})")
    if task.where:
        parts.append(f"(\n{task.where}\n)")
    condition = " AND ".join(parts)
    total = int(session.value(f"SELECT count(*) FROM {table.quoted}"))
    number = Column("", "number")
    counted = session.rows(
        f"SELECT count(*), coalesce(sum({session.size(table)}), 0) FROM {table.quoted} WHERE {condition}",
        [number, number],
    )
    ((rows, size),) = [row for batch in counted for row in batch]
    return Plan(table, condition, cutoff, total, int(rows), int(size))


def look(task: Task, work: Work) -> Plan:
    """Look at the table without changing anything."""
    cutoff = time.time() - task.age

    def body(session: Session) -> Plan:
        session.begin("read")
        return prepare(task, session, cutoff)

    return t.cast("Plan", task.item.engine.connect(task.item.source, work, body, read_only=True))
