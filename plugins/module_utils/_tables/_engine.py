# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an engine of tables is.

An engine is a module beside this one with
  OPTIONS                 argument spec of how it is reached; secrets are `no_log`
  check(source, where)    raises InputError for options that cannot be used; reads nothing of the host
  connect(source, work, body, **how)
                          calls `body(session)` while connected; returns what it returned. What `body` leaves uncommitted
                          is rolled back, whatever ends it.
A session has the methods of `Session`; those that raise NotImplementedError are the engine's. Times are UTC in every session.
"""

from __future__ import annotations

import re
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

Source = t.Mapping[str, t.Any]
Row = t.Sequence[t.Any]
ROWS = 1000  # rows handed on together, at most
BYTES = 1 << 20  # and about so many bytes
NUMBER = re.compile(r"-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?")
_WHOLE = re.compile(r"(?:tiny|small|medium|big)?int(?:eger)?\b", re.IGNORECASE)
_INTEGERS = re.compile(r"-?\d+(?:,-?\d+)*")


class Column(t.NamedTuple):
    """A column of a table or query.

    `kind` is number, text, boolean, binary, json, or any (SQLite's columns without a type, which keep what they are given).
    `declared` is the type as the server names it; `length` the most characters it takes, where that is limited;
    `generated` columns cannot be written to.
    """

    name: str
    kind: str
    declared: str = ""
    generated: bool = False
    length: int | None = None


class Reference(t.NamedTuple):
    """A foreign key of another table that points at this one. `table` is quoted; `action` is what a deletion does there."""

    table: str
    columns: tuple[str, ...]
    targets: tuple[str, ...]
    action: str


class Table(t.NamedTuple):
    """A table as the server knows it. `quoted` is its name in SQL; `key` tells each of its rows from all others."""

    name: str
    quoted: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    references: tuple[Reference, ...] = ()
    uniques: tuple[tuple[str, ...], ...] = ()
    overriding: bool = False

    def column(self, name: str) -> Column | None:
        """The column called `name`."""
        return next((each for each in self.columns if each.name == name), None)


class Work(t.NamedTuple):
    """What an engine may use; `deadline` is a time of the monotonic clock or None, `lock_seconds` how long to wait for a lock."""

    commands: Commands
    deadline: float | None = None
    lock_seconds: float = 10.0

    def seconds(self) -> float | None:
        """The time that is left; RunbookError when there is none."""
        if self.deadline is None:
            return None
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise RunbookError("the time limit (limits.seconds) has passed. Raise it, or give the work less to do.")
        return left


class Rejected(t.NamedTuple):
    """Why the server refused a row, by its place in the batch, and whether it is a duplicate."""

    place: int
    reason: str
    duplicate: bool


class Session:
    """A connection; the statements that all engines share, made of what differs between them."""

    # What locks the rows that a SELECT finds.
    LOCK = " FOR UPDATE"

    def quote(self, name: str) -> str:
        """`name` as an identifier, whatever characters it has."""
        return '"' + name.replace('"', '""') + '"'

    def literal(self, value: t.Any, kind: str) -> str:
        """`value` as SQL for a column of this kind."""
        raise NotImplementedError

    def expression(self, column: Column) -> str:
        """What to select so that no part of a column's value is lost on its way."""
        return self.quote(column.name)

    def run(self, sql: str) -> int:
        """Run one statement that gives no rows; return how many rows it changed, where it changes rows."""
        raise NotImplementedError

    def rows(self, sql: str, columns: t.Sequence[Column]) -> t.Iterator[list[Row]]:
        """The rows of one SELECT, some at a time, of which all must be taken. Values are None, str, bytes, int or float."""
        raise NotImplementedError

    def describe(self, name: str, schema: str | None) -> Table:
        """Look the table up; RunbookError when there is none, or it is no table whose rows can be told apart."""
        raise NotImplementedError

    def query(self, text: str) -> tuple[str, tuple[Column, ...]]:
        """What stands for the user's `text` after FROM, and its columns."""
        raise NotImplementedError

    def begin(self, purpose: str) -> None:
        """Begin a transaction: `read` is one consistent, read-only view; `write` may change rows."""
        raise NotImplementedError

    def commit(self) -> None:
        """Make the transaction's changes last."""
        self.run("COMMIT")

    def rollback(self) -> None:
        """Undo the transaction's changes."""
        self.run("ROLLBACK")

    def older(self, table: Table, column: Column, how: str, cutoff: float) -> str:
        """The condition that `column`, which holds times as `how` says, is before `cutoff` (seconds since 1970)."""
        raise NotImplementedError

    def size(self, table: Table) -> str:
        """An expression for the bytes of a row's content."""
        raise NotImplementedError

    def insert(
        self, table: Table, columns: t.Sequence[Column], rows: t.Sequence[Row], on_duplicate: str, key: t.Sequence[str]
    ) -> tuple[int, list[Rejected]]:
        """Insert rows into the open transaction; return how many were written, and those that cannot be.

        `on_duplicate` is error, skip or update; a row that is there already with the same values is not written.
        """
        raise NotImplementedError

    # What follows is the same for all.

    def value(self, sql: str) -> t.Any:
        """The only value of a query."""
        found = [row for batch in self.rows(sql, [Column("", "number")]) for row in batch]
        return found[0][0]

    def stream(self, table: Table, condition: str) -> t.Iterator[list[Row]]:
        """The table's rows that meet the condition, in the order of their keys."""
        return self.rows(f"{self._select(table)} WHERE {condition} ORDER BY {self._names(table.key)}", table.columns)

    def current(self, table: Table, keys: t.Sequence[t.Sequence[str]]) -> list[Row]:
        """The rows with these keys as they are now, locked until the transaction ends, in the order of their keys."""
        sql = f"{self._select(table)} WHERE {self.within(table, keys)} ORDER BY {self._names(table.key)}{self.LOCK}"
        return [row for batch in self.rows(sql, table.columns) for row in batch]

    def delete(self, table: Table, keys: t.Sequence[t.Sequence[str]]) -> int:
        """Delete the rows with these keys; return how many there were."""
        return self.run(f"DELETE FROM {table.quoted} WHERE {self.within(table, keys)}")

    def within(self, table: Table, keys: t.Sequence[t.Sequence[str]]) -> str:
        """The condition that a row's key is among `keys`."""
        kinds = [column.kind for column in map(table.column, table.key) if column is not None]
        if len(kinds) == 1:
            words = ",".join([key[0] for key in keys])
            name = self.quote(table.key[0])
            if kinds[0] != "number" or not _INTEGERS.fullmatch(words):
                words = ",".join([self.literal(key[0], kinds[0]) for key in keys])
            elif _WHOLE.match(t.cast("Column", table.column(table.key[0])).declared):
                low, high = int(keys[0][0]), int(keys[-1][0])
                # Whole numbers without a gap: the same keys in two words, which the server looks up several times as fast.
                if high - low + 1 == len(keys) and words == ",".join(map(str, range(low, high + 1))):
                    return f"{name} BETWEEN {low} AND {high}"
            return f"{name} IN ({words})"
        tuples = [f"({','.join([self.literal(v, k) for v, k in zip(key, kinds)])})" for key in keys]
        return f"({self._names(table.key)}) IN ({self.tuples(tuples)})"

    def tuples(self, tuples: t.Sequence[str]) -> str:
        """A list of row values after IN."""
        return ",".join(tuples)

    def unreferenced(self, table: Table) -> str:
        """The condition that no row of another table points at a row."""
        parts = ["1=1"]
        for each in table.references:
            pairs = [
                f"r.{self.quote(column)} = {table.quoted}.{self.quote(target)}"
                for column, target in zip(each.columns, each.targets)
            ]
            parts.append(f"NOT EXISTS (SELECT 1 FROM {each.table} AS r WHERE {' AND '.join(pairs)})")
        return " AND ".join(parts)

    def _select(self, table: Table) -> str:
        return f"SELECT {', '.join(self.expression(column) for column in table.columns)} FROM {table.quoted}"

    def _names(self, names: t.Iterable[str]) -> str:
        return ", ".join(self.quote(name) for name in names)


class Pieces:
    """Cuts what a server sends into batches of a bounded size: rows are handed on when enough bytes have come."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.bytes = 0

    def full(self, row: Row, size: int) -> bool:
        """Add a row; true when the batch is to be handed on."""
        self.rows.append(row)
        self.bytes += size
        return self.bytes >= BYTES or len(self.rows) >= ROWS

    def take(self) -> list[Row]:
        """The batch, which is empty from now on."""
        rows, self.rows, self.bytes = self.rows, [], 0
        return rows
