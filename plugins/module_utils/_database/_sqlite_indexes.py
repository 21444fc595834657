# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SQLite's indexes: those that must be there, and foreign keys without one. It keeps no record of slow statements."""

from __future__ import annotations

import sqlite3
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import sqlite
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._database import _sqlite
from ansible_collections.sre.runbooks.plugins.module_utils._database._engine import (
    Finding,
    Index,
    Limits,
    Source,
    State,
    Survey,
    Work,
)


def survey(source: Source, wanted: t.Sequence[Index], limits: Limits, work: Work) -> Survey:
    """Compare with the schema. Tables of any size count: SQLite tells no table's size."""
    with _sqlite.opened(source["path"], work) as database:
        there = _indexes(database)
        states = [_state(database, each, there) for each in wanted]
        findings = [*_foreign_keys(database, there), *_duplicates(there)]
    return Survey(states, findings, None, metrics={"indexes": len(there)})


class Known(t.NamedTuple):
    """An index as SQLite describes it; a column is None where it is an expression."""

    name: str
    table: str
    columns: tuple[str | None, ...]
    unique: bool
    partial: bool
    implied: bool


def _indexes(database: sqlite3.Connection) -> list[Known]:
    found = []
    tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    for table in tables:
        if table.startswith("sqlite_") or not _sqlite.usable(table):
            continue
        for _number, name, unique, origin, partial in sorted(_pragma(database, "index_list", table), key=_by_name):
            if not _sqlite.usable(name):
                continue
            columns = tuple(row[2] for row in _pragma(database, "index_info", name))
            found.append(Known(name, table, columns, bool(unique), bool(partial), origin != "c"))
    return found


def _by_name(row: tuple[t.Any, ...]) -> str:
    return str(row[1])


def _pragma(database: sqlite3.Connection, name: str, argument: str) -> list[tuple[t.Any, ...]]:
    return list(database.execute(f"PRAGMA {name}({_sqlite.literal(argument)})"))


def _state(database: sqlite3.Connection, wanted: Index, there: t.Sequence[Known]) -> State:
    for known in there:
        if known.name.lower() != wanted.name.lower():
            continue
        if known.table.lower() != wanted.table.lower() or not _alike(known, wanted):
            return State("different", f"on {known.table} ({', '.join(map(str, known.columns))})")
        return State("present")
    for known in there:
        if known.table.lower() == wanted.table.lower() and _alike(known, wanted) and wanted.where is None:
            return State("present", f"as {known.name}")
    row = database.execute(
        "SELECT type FROM sqlite_master WHERE lower(name) = lower(?) AND type = 'table'", (wanted.table,)
    ).fetchone()
    if row is None:
        return State("impossible", f"there is no table {wanted.table!r}. Correct the index's table.")
    return State("missing")


def _alike(known: Known, wanted: Index) -> bool:
    columns = tuple(str(column).lower() for column in known.columns)
    same = columns == tuple(column.lower() for column in wanted.columns)
    return same and known.unique == wanted.unique and known.partial == (wanted.where is not None)


def _foreign_keys(database: sqlite3.Connection, there: t.Sequence[Known]) -> list[Finding]:
    """Each child row is looked for when its parent is deleted: https://www.sqlite.org/foreignkeys.html, section 3."""
    found = []
    for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall():
        if not _sqlite.usable(table):
            continue
        keys: dict[int, list[str]] = {}
        for row in _pragma(database, "foreign_key_list", table):
            keys.setdefault(row[0], []).append(str(row[3]).lower())
        primary = [str(row[1]).lower() for row in _pragma(database, "table_info", table) if row[5] == 1]
        for columns in keys.values():
            served = [[str(column).lower() for column in known.columns] for known in there if known.table == table]
            if columns == primary or any(set(index[: len(columns)]) == set(columns) for index in served):
                continue
            advice = f"CREATE INDEX ON {sqlite.quoted(table)} ({', '.join(map(sqlite.quoted, columns))})"
            found.append(Finding("foreign_key_without_index", f"{table} ({', '.join(columns)})", advice))
    return found


def _duplicates(there: t.Sequence[Known]) -> list[Finding]:
    found = []
    for position, known in enumerate(there):
        if known.implied or known.partial or None in known.columns:
            continue
        for other in [*there[:position], *[each for each in there[position + 1 :] if each.implied]]:
            if (other.table, other.columns, other.partial) == (known.table, known.columns, False):
                if known.unique and not other.unique:
                    continue
                advice = f"DROP INDEX {sqlite.quoted(known.name)}"
                found.append(Finding("duplicate_index", f"{known.name} is {other.name} once more", advice))
                break
    return found


def create(source: Source, index: Index, state: State, work: Work) -> str:
    """One transaction: readers in WAL mode go on, writers wait as long as it takes."""
    columns = ", ".join(map(sqlite.quoted, index.columns))
    unique = "UNIQUE " if index.unique else ""
    where = f" WHERE {index.where}" if index.where else ""
    table = sqlite.quoted(index.table)
    with _sqlite.opened(source["path"], work) as database:
        try:
            name = sqlite.quoted(index.name)
            _sqlite.patiently(
                database, f"CREATE {unique}INDEX IF NOT EXISTS {name} ON {table} ({columns}){where}", work
            )
        except sqlite3.IntegrityError as error:
            raise RunbookError(f"{index.name}: {error}. Make the rows unique first.") from error
    return "created"
