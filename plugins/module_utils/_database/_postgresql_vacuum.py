# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL's maintenance: the tables that need it, least recently done first, each by a statement of its own."""

from __future__ import annotations

import os
import random
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size
from ansible_collections.sre.runbooks.plugins.module_utils._database import _postgresql_sql, _psql
from ansible_collections.sre.runbooks.plugins.module_utils._database._engine import (
    Absent,
    Damaged,
    Done,
    Examined,
    Over,
    Source,
    Step,
    View,
    Work,
)

# autovacuum_vacuum_threshold and autovacuum_analyze_threshold of PostgreSQL: below so many rows nothing is worth it.
ROWS = 50
# autovacuum_analyze_scale_factor: statistics are old when so much of the table has changed.
CHANGED = 0.1
# A VACUUM against the wrap-around that autovacuum would begin at any moment comes in the maintenance's time instead.
FREEZE_SHARE = 0.75
# Smaller tables are not worth a rewrite (pages of a table whose free space is an estimate).
REWRITE_PAGES = 128
# The first version that keeps statistics of partitioned tables themselves.
PARTITIONED = 140000
# Statements that psql gets at once: they and what it says of them fit into the pipes.
BATCH = 100
INSUFFICIENT_PRIVILEGE = "42501"
# Tables of another access method, which amcheck does not know.
NOT_HEAP = "0A000"
UNDEFINED = ("42P01", "3F000")


def look(source: Source, work: Work) -> View:
    """Figures of the server and of each table."""
    server = _server(source, work)
    if server["standby"]:
        raise Absent("a standby: it is maintained with its primary")
    kinds = "'r', 'm', 'p'" if server["number"] >= PARTITIONED else "'r', 'm'"
    width = _postgresql_sql.WIDTH if source["full"] else "NULL"
    tables = _psql.rows(source, _postgresql_sql.TABLES.format(width=width, kinds=kinds), work)
    steps = [step for each in tables if each["allowed"] for step in due(each, source, server, work.memory)]
    steps.sort(key=lambda step: (not step.details["urgent"], step.since))
    notes = []
    foreign = [each for each in tables if not each["allowed"]]
    if foreign:
        notes.append(f"{len(foreign)} tables of other owners, which this user may not maintain")
    live = sum(each["live"] or 0 for each in tables)
    dead = sum(each["dead"] or 0 for each in tables)
    metrics = {"tables": float(len(tables)), "dead_percent": round(100 * dead / (live + dead), 3) if dead else 0.0}
    hold = ""
    if server["oldest"] is not None:
        hold = f"a transaction that is open since {show_duration(server['oldest'])} keeps their dead rows"
    details = {"server": {key: server[key] for key in ("number", "amcheck", "checksum_failures")}}
    return View(server["size"], metrics, steps, notes, details, hold)


def _server(source: Source, work: Work) -> dict[str, t.Any]:
    try:
        return dict(_psql.rows(source, _postgresql_sql.SERVER, work)[0])
    except _psql.Failed as error:
        if error.code != INSUFFICIENT_PRIVILEGE:
            raise
    return dict(_psql.rows(source, _postgresql_sql.PLAIN_SERVER, work)[0])


def due(
    table: t.Mapping[str, t.Any], source: Source, server: t.Mapping[str, t.Any], memory: t.Mapping[str, t.Any]
) -> list[Step]:
    """The step that `table` needs, if any: pure, so that the rules can be read and tested."""
    name = f"{table['schema']}.{table['name']}"
    live, dead, changed = (table[key] or 0 for key in ("live", "dead", "changed"))
    reasons = []
    urgent = table["age"] >= FREEZE_SHARE * server["freeze"]
    if urgent:
        reasons.append("old transaction ids")
    percent = 100 * dead / (live + dead) if dead else 0.0
    if dead >= ROWS and percent >= source["minimum_dead_percent"]:
        reasons.append(f"{percent:.0f} % dead rows")
    stale = None
    if source["analyze"] and table["analyzed"] is None:
        stale = "never analysed"
    elif source["analyze"] and table["kind"] != "p" and changed >= ROWS + CHANGED * live:
        stale = "its statistics are old"
    reasons += [stale] if stale else []
    free = _free_percent(table, server["block"]) if source["full"] else None
    details = {"schema": table["schema"], "name": table["name"], "urgent": urgent, "number": server["number"]}
    if free is not None and free >= source["minimum_free_percent"] and _grown(table, memory.get(name), source):
        details["directory"] = server["directory"]
        reasons.insert(0, f"about {free:.0f} % of it is free")
        return [Step(name, "VACUUM FULL", ", ".join(reasons), table["size"], table["vacuumed"] or 0.0, details)]
    if not reasons:
        return []
    action = "ANALYZE" if table["kind"] == "p" else "VACUUM (ANALYZE)" if source["analyze"] else "VACUUM"
    since = min(table["vacuumed"] or 0.0, table["analyzed"] or 0.0) if stale else table["vacuumed"] or 0.0
    return [Step(name, action, ", ".join(reasons), table["size"], since, details)]


def _free_percent(table: t.Mapping[str, t.Any], block: int) -> float | None:
    """How much of the table's pages its rows do not need, by what they are wide; None where nothing is known of them."""
    if table["kind"] not in ("r", "m") or not table["width"] or table["pages"] < REWRITE_PAGES or table["rows"] < 0:
        return None
    needed = table["rows"] * float(table["width"]) / (block - 24)
    return float(max(0.0, 100 * (1 - needed / table["pages"])))


def _grown(table: t.Mapping[str, t.Any], then: t.Mapping[str, t.Any] | None, source: Source) -> bool:
    """The free space is an estimate: a table is not written anew again before it has grown past what that left."""
    return then is None or table["size"] >= then["bytes"] * (1 + max(source["minimum_free_percent"], 1) / 100)


def examine(source: Source, view: View, work: Work) -> Examined:
    """Failed checksums, and where the extension amcheck is there each table and each B-tree."""
    server = view.details["server"]
    if server["checksum_failures"]:
        raise Damaged(f"{server['checksum_failures']} pages have failed their checksum (pg_stat_database).")
    if not server["amcheck"]:
        return Examined("integrity not checked: the extension amcheck is not in this database")
    schema, full = _psql.quoted(server["amcheck"]), source["integrity"] == "full"
    listed = _postgresql_sql.TABLES.format(width="NULL", kinds="'r', 'm'")
    heaps = [
        _postgresql_sql.HEAP.format(
            schema=schema, relation=each["oid"], name=_psql.literal(f"{each['schema']}.{each['name']}")
        )
        for each in _psql.rows(source, listed, work)
        if server["number"] >= PARTITIONED
    ]
    trees = [
        _postgresql_sql.BTREE.format(schema=schema, relation=oid, every_row=str(full).lower())
        for (oid,) in _psql.rows(source, _postgresql_sql.BTREES, work)
    ]
    script = [*(heaps if full else ()), *trees]
    # Where the time is too short for all, other runs see other relations.
    random.shuffle(script)
    seen, locked = 0, 0
    try:
        for start in range(0, len(script), BATCH):
            part = script[start : start + BATCH]
            done = _psql.statement(source, "\n".join(part), work, seconds=None, check=False, server=server["number"])
            locked += _verdict(done.stdout, done.stderr)
            seen += len(part)
    except _Forbidden:
        return Examined("integrity not checked: this user may not use amcheck")
    except Over:
        return Examined(f"amcheck ok: {seen} of {len(script)} tables and indexes", False)
    text = f"amcheck ok: {len(heaps) if full else 0} tables, {len(trees)} indexes"
    return Examined(text + (f", {locked} of them locked and not checked" if locked else ""))


class _Forbidden(RunbookError):
    """This user may not use amcheck."""


def _verdict(rows: str, problems: str) -> int:
    """How many were locked; damage first, for it counts whatever else went wrong."""
    found = _psql.errors(problems)
    damage = [text for code, text in found if code in _psql.DAMAGE]
    damage += [line for line in rows.splitlines() if line.startswith("{")]
    if damage:
        raise Damaged(f"amcheck finds: {'; '.join(damage[:3])}.")
    codes = [code for code, _text in found]
    if _psql.CANCELED in codes:
        raise Over("the time limit has passed")
    if INSUFFICIENT_PRIVILEGE in codes:
        raise _Forbidden("amcheck")
    others = [each for each in found if each[0] not in (_psql.LOCK, "XX000", NOT_HEAP, *UNDEFINED)]
    if others:
        raise RunbookError(f"amcheck could not be used: {others[0][1]} (SQLSTATE {others[0][0]})")
    return codes.count(_psql.LOCK)


def apply(source: Source, step: Step, work: Work) -> Done:
    """One statement. A plain VACUUM keeps nobody from reading or writing; VACUUM FULL everybody."""
    full = step.action == "VACUUM FULL"
    if full:
        _room(step)
    name = _psql.quoted(step.details["schema"], step.details["name"])
    plain = "VACUUM (ANALYZE)" if source["analyze"] else "VACUUM"
    # What has been written anew is not yet marked as visible to all, and the server's counts are those from before.
    sql = f"VACUUM (FULL) {name}; {plain} {name};" if full else f"{step.action} {name};"
    try:
        _psql.statement(source, sql, work, seconds=None, server=step.details["number"])
    except _psql.Failed as error:
        if error.code in UNDEFINED:
            return Done(False)
        raise
    return Done(True, memory={"bytes": _size(source, step, work)} if full else None)


def _room(step: Step) -> None:
    """VACUUM FULL writes the table anew beside the old one. Of a server elsewhere nobody can tell how much is free."""
    directory = step.details.get("directory")
    if not directory:
        return
    try:
        place = os.statvfs(directory)
    except OSError:
        return
    if place.f_bavail * place.f_frsize < step.bytes:
        raise RunbookError(
            f"VACUUM FULL needs up to {show_size(step.bytes)} in {directory}, where "
            f"{show_size(place.f_bavail * place.f_frsize)} are free. Make room, then run again."
        )


def _size(source: Source, step: Step, work: Work) -> int:
    name = _psql.literal(_psql.quoted(step.details["schema"], step.details["name"]))
    found = _psql.rows(source, f"SELECT pg_total_relation_size({name}::regclass);", work._replace(deadline=None))
    return int(found[0])
