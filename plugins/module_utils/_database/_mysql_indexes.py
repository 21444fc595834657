# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""MariaDB's indexes: added in place while others write; doubled ones, tables without a primary key, slow statements."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._database import _mysql, _normalise
from ansible_collections.sre.runbooks.plugins.module_utils._database._engine import (
    Finding,
    Index,
    Limits,
    Query,
    Source,
    State,
    Survey,
    Work,
)

# Of a log in a table the newest so many statements are looked at.
LOGGED = 5000
INDEXES = """
SELECT HEX(TABLE_NAME) AS name, HEX(INDEX_NAME) AS index_name, NON_UNIQUE AS many, HEX(COLUMN_NAME) AS column_name, INDEX_TYPE AS type
FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX
"""
TABLES = "SELECT HEX(TABLE_NAME) AS name, ENGINE AS engine FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE'"
DIGESTS = """
SELECT HEX(DIGEST_TEXT) AS query, COUNT_STAR AS calls, AVG_TIMER_WAIT / 1e12 AS mean, SUM_TIMER_WAIT / 1e12 AS total
FROM performance_schema.events_statements_summary_by_digest
WHERE SCHEMA_NAME = DATABASE() AND DIGEST_TEXT IS NOT NULL AND COUNT_STAR >= {calls} ORDER BY mean DESC LIMIT {queries}
"""
LOG = """
SELECT HEX(LEFT(sql_text, 4000)) AS query, TIME_TO_SEC(query_time) AS seconds FROM mysql.slow_log
WHERE db = DATABASE() ORDER BY start_time DESC LIMIT {rows}
"""
SETTINGS = "SELECT @@performance_schema AS digests, @@slow_query_log AS logs, @@log_output AS output"
DENIED = (1142, 1044, 1227)


class Known(t.NamedTuple):
    """An index; a column is None where it is an expression (MySQL 8)."""

    table: str
    name: str
    columns: tuple[str | None, ...]
    unique: bool
    method: str


def survey(source: Source, wanted: t.Sequence[Index], limits: Limits, work: Work) -> Survey:
    """Compare with information_schema; statements come from where the server keeps them."""
    there = _indexes(source, work)
    tables = {_text(row["name"]): row["engine"] for row in _mysql.rows(source, TABLES, work)}
    states = [_state(each, there, tables) for each in wanted]
    findings = [*_duplicates(there), *_without_key(there, tables)]
    queries, told = _queries(source, limits, work)
    return Survey(states, findings, queries, told, {"indexes": len(there)})


def _text(digits: str) -> str:
    return bytes.fromhex(digits).decode("utf-8", "replace")


def _indexes(source: Source, work: Work) -> list[Known]:
    found: dict[tuple[str, str], Known] = {}
    for row in _mysql.rows(source, INDEXES, work):
        key = (_text(row["name"]), _text(row["index_name"]))
        column = None if row["column_name"] == "NULL" else _text(row["column_name"])
        known = found.get(key) or Known(*key, (), row["many"] == "0", row["type"])
        found[key] = known._replace(columns=(*known.columns, column))
    return list(found.values())


def _state(wanted: Index, there: t.Sequence[Known], tables: t.Mapping[str, str]) -> State:
    ours = [each for each in there if each.table == wanted.table]
    for known in ours:
        if known.name.lower() == wanted.name.lower():
            if _alike(known, wanted):
                return State("present")
            return State("different", f"on {known.table} ({', '.join(map(str, known.columns))})")
    for known in ours:
        if _alike(known, wanted):
            return State("present", f"as {known.name}")
    if wanted.table not in tables:
        return State("impossible", f"there is no table {wanted.table!r}. Correct the index's table.")
    return State("missing")


def _alike(known: Known, wanted: Index) -> bool:
    same = [str(column).lower() for column in known.columns] == [column.lower() for column in wanted.columns]
    return same and known.unique == wanted.unique and known.method.lower() == (wanted.method or "btree").lower()


def _duplicates(there: t.Sequence[Known]) -> list[Finding]:
    """An index whose columns are the first of another's, and that is not unique by itself."""
    found = []
    for position, known in enumerate(there):
        if known.unique or None in known.columns or known.method != "BTREE":
            continue
        for place, other in enumerate(there):
            longer = other.columns[: len(known.columns)] == known.columns and other.method == "BTREE"
            twin = other.columns == known.columns and not other.unique and place > position
            if place != position and other.table == known.table and longer and not twin:
                advice = f"ALTER TABLE {_mysql.quoted(known.table)} DROP INDEX {_mysql.quoted(known.name)}"
                found.append(Finding("duplicate_index", f"{known.table}.{known.name} is within {other.name}", advice))
                break
    return found


def _without_key(there: t.Sequence[Known], tables: t.Mapping[str, str]) -> list[Finding]:
    keyed = {each.table for each in there if each.name == "PRIMARY"}
    return [
        Finding("table_without_primary_key", name, "give it a primary key: rows are found and replicated by it")
        for name, engine in sorted(tables.items())
        if engine == "InnoDB" and name not in keyed
    ]


def _queries(source: Source, limits: Limits, work: Work) -> tuple[list[Query] | None, str]:
    (settings,) = _mysql.rows(source, SETTINGS, work)
    try:
        if settings["digests"] == "1":
            return _digests(source, limits, work), ""
        if settings["logs"] == "1" and "TABLE" in settings["output"]:
            return _logged(source, limits, work), ""
    except _mysql.Failed as error:
        if error.code not in DENIED:
            raise
        return None, "this user may not read the server's record of statements"
    return None, "the server keeps no record: set performance_schema, or slow_query_log with log_output TABLE"


def _digests(source: Source, limits: Limits, work: Work) -> list[Query]:
    rows = _mysql.rows(source, DIGESTS.format(calls=limits.calls, queries=limits.queries), work)
    return [
        Query(_normalise.normalised(_text(row["query"])), int(row["calls"]), float(row["mean"]), float(row["total"]))
        for row in rows
    ]


def _logged(source: Source, limits: Limits, work: Work) -> list[Query]:
    seconds: dict[str, list[float]] = {}
    for row in _mysql.rows(source, LOG.format(rows=LOGGED), work):
        seconds.setdefault(_normalise.normalised(_text(row["query"]), "string"), []).append(float(row["seconds"]))
    found = [
        Query(text, len(each), sum(each) / len(each), sum(each))
        for text, each in seconds.items()
        if len(each) >= limits.calls
    ]
    return sorted(found, key=lambda query: -query.mean_seconds)[: limits.queries]


def create(source: Source, index: Index, state: State, work: Work) -> str:
    """In place and without a lock, or not at all: what the server can only do otherwise fails with its own words."""
    kind = "UNIQUE " if index.unique else ""
    using = f" USING {index.method.upper()}" if index.method else ""
    columns = ", ".join(_mysql.quoted(column) for column in index.columns)
    sql = (
        f"ALTER TABLE {_mysql.quoted(index.table)} ADD {kind}INDEX {_mysql.quoted(index.name)}{using} ({columns}), "
        "ALGORITHM=INPLACE, LOCK=NONE"
    )
    try:
        _mysql.rows(source, sql, work, None)
    except _mysql.Failed as error:
        raise RunbookError(f"{index.name}: {error}. Correct the index or the rows.") from error
    return "created"
