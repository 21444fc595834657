# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SQLite's maintenance: integrity check, VACUUM when enough of the file is free, ANALYZE where statistics are missing or old.

VACUUM is the engine's plain one although it writes the file anew (https://www.sqlite.org/lang_vacuum.html): into a
temporary file, then back in one transaction, so that a reader or a crash sees the old content or the new.
"""

from __future__ import annotations

import os
import sqlite3
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import sqlite
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_size
from ansible_collections.sre.runbooks.plugins.module_utils._database import _sqlite
from ansible_collections.sre.runbooks.plugins.module_utils._database._engine import (
    Damaged,
    Done,
    Examined,
    Source,
    Step,
    View,
    Work,
)

FILE = "the file"
LOG = "the write-ahead log"
# SQLite itself brings the log into the file when it has 1000 pages, about 4 MiB.
WAL_BYTES = 4 << 20
# Pages that one transaction of an incremental VACUUM gives back: writers wait a few milliseconds for it.
STEP_PAGES = 256
# Statistics serve until the database has half as much again, or half of it is gone.
GROWTH = 0.5
_INCREMENTAL = 2


def look(source: Source, work: Work) -> View:
    """Free pages, the size of the log, and which tables have no statistics."""
    path = source["path"]
    with _sqlite.opened(path, work) as database:
        pages, free, page_size = (_number(database, name) for name in ("page_count", "freelist_count", "page_size"))
        mode = _number(database, "auto_vacuum")
        steps = _vacuum_step(source, pages, free, page_size, mode)
        if source["analyze"]:
            steps += _analyze_steps(database, work.memory, pages - free)
    log, total = sqlite.size(sqlite.wal(path)), sqlite.size(path)
    if log > max(WAL_BYTES, total * source["minimum_free_percent"] / 100):
        steps.append(Step(LOG, "checkpoint", f"it has {show_size(log)}", log))
    metrics = {"free_percent": round(100 * free / pages, 3) if pages else 0.0, "wal_bytes": float(log)}
    return View(total, metrics, steps, [], {"free_bytes": free * page_size})


def _vacuum_step(source: Source, pages: int, free: int, page_size: int, mode: int) -> list[Step]:
    least = 0 if source["full"] else source["minimum_free_percent"]
    percent = 100 * free / pages if pages else 0
    if not free or percent < least:
        return []
    incremental = mode == _INCREMENTAL and not source["full"]
    reason = f"{percent:.0f} % of it is free"
    if incremental:
        return [Step(FILE, "incremental VACUUM", reason, free * page_size)]
    return [Step(FILE, "VACUUM", reason, pages * page_size, details={"used": (pages - free) * page_size})]


def _analyze_steps(database: sqlite3.Connection, memory: t.Mapping[str, t.Any], used: int) -> list[Step]:
    """Tables with rows that the planner knows nothing of, or that were looked at when the database was half as big."""
    schema = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    known: set[str] = set()
    if any(name == "sqlite_stat1" for name, _sql in schema):
        known = {row[0] for row in database.execute("SELECT DISTINCT tbl FROM sqlite_stat1")}
    steps = []
    for name, sql in schema:
        virtual = str(sql).upper().startswith("CREATE VIRTUAL")
        if name.startswith("sqlite_") or virtual or not _sqlite.usable(name):
            continue
        then = (memory.get(name) or {}).get("pages")
        old = then is not None and abs(used - then) > GROWTH * max(then, 1)
        if (name not in known and _any_row(database, name)) or (old and name in known):
            reason = "its statistics are old" if name in known else "never analysed"
            steps.append(Step(name, "ANALYZE", reason, 0))
    return steps


def _any_row(database: sqlite3.Connection, name: str) -> bool:
    sql = f"SELECT 1 FROM {sqlite.quoted(name)} LIMIT 1"  # noqa: S608 - quoted
    return database.execute(sql).fetchone() is not None


def examine(source: Source, view: View, work: Work) -> Examined:
    """Look at every page, and with `full` at every index's every entry. The file is one: it is done to its end, or not at all."""
    pragma = "integrity_check" if source["integrity"] == "full" else "quick_check"
    with _sqlite.opened(source["path"], work) as database:
        lines = [str(row[0]) for row in database.execute(f"PRAGMA {pragma}(3)")]
    if lines != ["ok"]:
        raise Damaged(f"{pragma} finds: {'; '.join(lines)}.")
    return Examined(f"{pragma} ok")


def apply(source: Source, step: Step, work: Work) -> Done:
    """One step; each ends with the log brought into the file, else nothing of it would be seen on the disk."""
    path = source["path"]
    memory = None
    with _sqlite.opened(path, work) as database:
        if step.action == "VACUUM":
            _vacuum(database, path, step, work)
        elif step.action == "incremental VACUUM":
            _incremental(database, work)
        elif step.action == "ANALYZE":
            _sqlite.patiently(database, f"ANALYZE {sqlite.quoted(step.target)}", work)
            memory = {"pages": _number(database, "page_count") - _number(database, "freelist_count")}
        return Done(True, _checkpoint(database, path, work) if step.action != "ANALYZE" else "", memory)


def _vacuum(database: sqlite3.Connection, path: str, step: Step, work: Work) -> None:
    folder = os.path.dirname(os.path.realpath(path))
    needed = step.bytes + step.details["used"]
    place = os.statvfs(folder)
    if place.f_bavail * place.f_frsize < needed:
        raise RunbookError(
            f"VACUUM needs up to {show_size(needed)} in {folder}, where {show_size(place.f_bavail * place.f_frsize)} "
            "are free. Make room, then run again; the database is as it was."
        )
    # The new content first goes into a temporary file, which has no name: there is room here, /tmp may be small.
    database.execute(f"PRAGMA temp_store_directory={_sqlite.literal(folder)}")
    try:
        _sqlite.patiently(database, "VACUUM", work)
    finally:
        database.execute("PRAGMA temp_store_directory=''")


def _incremental(database: sqlite3.Connection, work: Work) -> None:
    before = _number(database, "freelist_count")
    while before:
        work.seconds()
        _sqlite.patiently(database, f"PRAGMA incremental_vacuum({STEP_PAGES})", work)
        left = _number(database, "freelist_count")
        if left >= before:
            return
        before = left


def _checkpoint(database: sqlite3.Connection, path: str, work: Work) -> str:
    """Bring the log into the file and cut both to size; somebody who keeps it from that for long is told."""
    if not sqlite.in_wal_mode(path):
        return ""
    rows = _sqlite.patiently(database, "PRAGMA wal_checkpoint(TRUNCATE)", work, lambda rows: bool(rows[0][0]))
    return "somebody who reads keeps the file from shrinking; it will with a later checkpoint" if rows[0][0] else ""


def _number(database: sqlite3.Connection, pragma: str) -> int:
    return int(database.execute(f"PRAGMA {pragma}").fetchone()[0])
