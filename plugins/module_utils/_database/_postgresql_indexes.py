# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL's indexes: made and dropped CONCURRENTLY; what the statistics say of missing, unused and doubled ones."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._database import _normalise, _psql
from ansible_collections.sre.runbooks.plugins.module_utils._database import _postgresql_indexes_sql as _sql
from ansible_collections.sre.runbooks.plugins.module_utils._database._engine import (
    Absent,
    Finding,
    Index,
    Limits,
    Over,
    Query,
    Source,
    State,
    Survey,
    Work,
)

SCHEMA = "public"
METHOD = "btree"
# A session whose client was killed notices within half a second, or, before PostgreSQL 14, when its index is made.
BUILDING_SECONDS = 60.0
# Sequential scans of fewer rows on average are what the planner does well.
SCANNED_ROWS = 10000
SCANS = 10
NOT_LOADED = "55000"


def survey(source: Source, wanted: t.Sequence[Index], limits: Limits, work: Work) -> Survey:
    """Indexes, their use, foreign keys, scans and statements, in a few queries."""
    server = _psql.rows(source, _sql.SERVER, work)[0]
    if server["standby"]:
        raise Absent("a standby: its indexes are those of its primary")
    there = _psql.rows(source, _sql.INDEXES, work)
    tables = {(each[0], each[1]): each[2] for each in _psql.rows(source, _sql.TABLES, work)}
    states = [_state(each, there, tables) for each in wanted]
    findings = [*_broken(there, wanted), *_duplicates(there), *_missing(source, limits, work)]
    if server["kept_seconds"] >= limits.age_seconds:
        findings += _unused(there, limits)
    queries, told = _queries(source, server, limits, work)
    metrics = {"indexes": len(there), "indexes_bytes": sum(each["bytes"] for each in there)}
    return Survey(states, findings, queries, told, metrics)


def _state(wanted: Index, there: t.Sequence[dict[str, t.Any]], tables: t.Mapping[tuple[str, str], str]) -> State:
    schema = wanted.schema or SCHEMA
    table = (schema, wanted.table)
    for index in there:
        if (index["schema"], index["name"]) != (schema, wanted.name):
            continue
        if (index["schema"], index["table"]) != table or not _alike(index, wanted):
            return State("different", f"on {index['table']} ({', '.join(map(str, index['columns']))})")
        if index["valid"]:
            return State("present")
        return State("building" if index["building"] else "broken", "left by a run that did not end")
    twins = [each for each in there if (each["schema"], each["table"]) == table and each["valid"]]
    for index in twins if wanted.where is None else ():
        if _alike(index, wanted):
            return State("present", f"as {index['name']}")
    if table not in tables:
        return State("impossible", f"there is no table {'.'.join(table)}. Correct the index's table or schema.")
    if tables[table] == "p":
        return State(
            "impossible",
            f"{'.'.join(table)} is partitioned, where PostgreSQL makes no index CONCURRENTLY. "
            "Name its partitions instead, then attach their indexes to one of the table itself.",
        )
    return State("missing")


def _alike(index: t.Mapping[str, t.Any], wanted: Index) -> bool:
    """The same columns in the same order; the text of a predicate is the server's own, so only that there is one."""
    same = tuple(index["columns"]) == wanted.columns and not index["expressions"]
    kind = (index["method"], index["unique"], index["partial"])
    return same and kind == ((wanted.method or METHOD).lower(), wanted.unique, wanted.where is not None)


def _broken(there: t.Sequence[dict[str, t.Any]], wanted: t.Sequence[Index]) -> list[Finding]:
    ours = {(each.schema or SCHEMA, each.name) for each in wanted}
    return [
        Finding("broken_index", _name(each), f"DROP INDEX CONCURRENTLY {_psql.quoted(each['schema'], each['name'])}")
        for each in there
        if not (each["valid"] or each["building"] or each["partitioned"] or (each["schema"], each["name"]) in ours)
    ]


def _duplicates(there: t.Sequence[dict[str, t.Any]]) -> list[Finding]:
    """An index that another does the work of; of two, the one that a constraint needs stays, else the first by name."""
    groups: dict[str, list[dict[str, t.Any]]] = {}
    for each in there:
        if each["valid"]:
            groups.setdefault(each["same"], []).append(each)
    found = []
    for group in groups.values():
        group.sort(key=lambda each: (not each["constraint"], not each["unique"], each["name"]))
        for each in group[1:]:
            if not each["constraint"] and (group[0]["unique"] or not each["unique"]):
                advice = f"DROP INDEX CONCURRENTLY {_psql.quoted(each['schema'], each['name'])}"
                found.append(Finding("duplicate_index", f"{_name(each)} is {group[0]['name']} once more", advice))
    return found


def _unused(there: t.Sequence[dict[str, t.Any]], limits: Limits) -> list[Finding]:
    return [
        Finding(
            "unused_index",
            _name(each),
            f"see that no standby uses it, then DROP INDEX CONCURRENTLY {_psql.quoted(each['schema'], each['name'])}",
        )
        for each in there
        if each["valid"] and each["scans"] == 0 and each["bytes"] >= limits.table_bytes
        and not (each["unique"] or each["constraint"] or each["replica"])
    ]  # fmt: skip


def _missing(source: Source, limits: Limits, work: Work) -> list[Finding]:
    found = []
    for each in _psql.rows(source, _sql.FOREIGN_KEYS.format(bytes=limits.table_bytes), work):
        columns = ", ".join(_psql.quoted(column) for column in each["columns"])
        advice = f"CREATE INDEX CONCURRENTLY ON {_psql.quoted(each['schema'], each['table'])} ({columns})"
        target = f"{each['schema']}.{each['table']} ({', '.join(each['columns'])})"
        found.append(Finding("foreign_key_without_index", target, advice))
    sql = _sql.SCANS.format(bytes=limits.table_bytes, rows=SCANNED_ROWS, scans=SCANS)
    for each in _psql.rows(source, sql, work):
        advice = f"{each['scans']} scans of {each['rows']} rows each: look at its slow statements"
        found.append(Finding("sequential_scans", f"{each['schema']}.{each['table']}", advice))
    return found


def _queries(
    source: Source, server: t.Mapping[str, t.Any], limits: Limits, work: Work
) -> tuple[list[Query] | None, str]:
    if not server["statements"]:
        return None, "the extension pg_stat_statements is not in this database"
    sql = _sql.STATEMENTS.format(schema=_psql.quoted(server["statements"]), calls=limits.calls, queries=limits.queries)
    try:
        rows = _psql.rows(source, sql, work)
    except _psql.Failed as error:
        if error.code != NOT_LOADED:
            raise
        return None, "pg_stat_statements is not among the server's shared_preload_libraries"
    shown = [each for each in rows if each["query"] != "<insufficient privilege>"]
    if rows and not shown:
        return None, "this user may not read other users' statements; grant it pg_read_all_stats"
    return [
        Query(_normalise.normalised(each["query"]), each["calls"], each["mean"] / 1000, each["total"] / 1000)
        for each in shown
    ], ""


def create(source: Source, index: Index, state: State, work: Work) -> str:
    """CREATE INDEX CONCURRENTLY; an invalid one, which a killed run leaves, goes first, and so does what a failure leaves."""
    server = _psql.rows(source, _sql.SERVER, work)[0]["number"]
    did = "created"
    if state.kind == "building":
        state = _awaited(source, index, work)
        if state.kind == "present":
            return "made by another session"
    if state.kind == "broken":
        _drop(source, index, work, server)
        did = "created anew, for an earlier run had left it unfinished"
    schema = _psql.quoted(index.schema or SCHEMA)
    columns = ", ".join(_psql.quoted(column) for column in index.columns)
    where = f" WHERE {index.where}" if index.where else ""
    sql = (
        f"SET search_path = pg_catalog, {schema};\nCREATE {'UNIQUE ' if index.unique else ''}INDEX CONCURRENTLY "
        f"{_psql.quoted(index.name)} ON {schema}.{_psql.quoted(index.table)} "
        f"USING {_psql.quoted((index.method or METHOD).lower())} ({columns}){where};"
    )
    try:
        _psql.statement(source, sql, work, seconds=None, server=server, lock=False)
    except (_psql.Failed, Over) as error:
        _drop(source, index, work._replace(deadline=None), server)
        if isinstance(error, Over):
            raise Over(f"{index.name}: not made within the time limit") from error
        raise RunbookError(f"{index.name}: {error}. Correct the index or the rows.") from error
    return did


def _awaited(source: Source, index: Index, work: Work) -> State:
    until = time.monotonic() + BUILDING_SECONDS
    while time.monotonic() < until:
        there = _psql.rows(source, _sql.INDEXES, work)
        state = _state(index, there, {(index.schema or SCHEMA, index.table): "r"})
        if state.kind != "building":
            return state
        time.sleep(0.2)
    raise Over(f"{index.name}: another session is still making it")


def _drop(source: Source, index: Index, work: Work, server: int) -> None:
    """Only an invalid index is ever dropped: one that somebody has finished meanwhile stays."""
    schema = index.schema or SCHEMA
    for each in _psql.rows(source, _sql.INDEXES, work):
        if (each["schema"], each["name"]) == (schema, index.name) and not (each["valid"] or each["building"]):
            sql = f"DROP INDEX CONCURRENTLY IF EXISTS {_psql.quoted(schema, index.name)};"
            _psql.statement(source, sql, work, seconds=None, server=server, lock=False)


def _name(index: t.Mapping[str, t.Any]) -> str:
    return f"{index['schema']}.{index['name']}"
