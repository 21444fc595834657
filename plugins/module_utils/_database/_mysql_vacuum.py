# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""MariaDB's maintenance: CHECK TABLE, ANALYZE TABLE where a table has changed, OPTIMIZE TABLE when asked for.

OPTIMIZE writes an InnoDB table anew, so it is done only with `full`. Nothing goes to the binary log: each server of a
replication is maintained by itself, and a replica gets no transactions of its own.
"""

from __future__ import annotations

import random
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._database import _mysql
from ansible_collections.sre.runbooks.plugins.module_utils._database._engine import (
    Damaged,
    Done,
    Examined,
    Over,
    Source,
    Step,
    View,
    Work,
)

# Statistics are old when the table's rows or bytes have changed so much; InnoDB itself counts anew from 10 % on.
CHANGED = 0.1
# InnoDB keeps free extents for itself: of a small table nothing is to be had back.
REWRITE_BYTES = 8 << 20
NO_SUCH_TABLE = 1146
TABLES = """
SELECT HEX(TABLE_NAME) AS name, ENGINE AS engine, IFNULL(TABLE_ROWS, 0) AS table_rows, IFNULL(DATA_LENGTH, 0) + IFNULL(INDEX_LENGTH, 0) AS bytes,
  IFNULL(DATA_FREE, 0) AS free FROM information_schema.TABLES
WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE' AND ENGINE IS NOT NULL ORDER BY TABLE_NAME
"""
# Engines whose tables ANALYZE and OPTIMIZE mean something to.
ENGINES = ("InnoDB", "MyISAM", "Aria")


def look(source: Source, work: Work) -> View:
    """Rows, bytes and free space of each table."""
    tables = _tables(source, work)
    steps = [step for each in tables for step in due(each, source, work.memory)]
    steps.sort(key=lambda step: step.since)
    total, free = (sum(each[key] for each in tables) for key in ("bytes", "free"))
    metrics = {
        "tables": float(len(tables)),
        "free_percent": round(100 * free / (total + free), 3) if free else 0.0,
    }
    return View(total + free, metrics, steps, [])


def _tables(source: Source, work: Work) -> list[dict[str, t.Any]]:
    return [
        {
            "name": bytes.fromhex(row["name"]).decode("utf-8", "replace"),
            "engine": row["engine"],
            "rows": _mysql.number(row, "table_rows"),
            "bytes": _mysql.number(row, "bytes"),
            "free": _mysql.number(row, "free"),
        }
        for row in _mysql.rows(source, TABLES, work)
    ]


def due(table: t.Mapping[str, t.Any], source: Source, memory: t.Mapping[str, t.Any]) -> list[Step]:
    """The step that `table` needs, if any; `memory` is what it was like when it was last done."""
    if table["engine"] not in ENGINES:
        return []
    then = memory.get(table["name"]) or {}
    total = table["bytes"] + table["free"]
    percent = 100 * table["free"] / total if total else 0.0
    if source["full"] and total >= REWRITE_BYTES and percent >= source["minimum_free_percent"]:
        left = then.get("free")
        # What an OPTIMIZE left free, the next would leave too.
        if left is None or table["free"] > left * (1 + CHANGED):
            return [Step(table["name"], "OPTIMIZE", f"{percent:.0f} % of it is free", total, then.get("time", 0.0))]
    if not source["analyze"]:
        return []
    reason = "not yet analysed" if not then else ""
    if then and any(_moved(table[key], then[key]) for key in ("rows", "bytes")):
        reason = "its statistics are old"
    return [Step(table["name"], "ANALYZE", reason, table["bytes"], then.get("time", 0.0))] if reason else []


def _moved(now: int, then: int) -> bool:
    return abs(now - then) > CHANGED * max(then, 100)


def examine(source: Source, view: View, work: Work) -> Examined:
    """CHECK TABLE of each table. Its own words for what it finds are kept."""
    mode = "" if source["integrity"] == "full" else " QUICK"
    tables = _tables(source, work)
    # Where the time is too short for all, other runs see other tables.
    random.shuffle(tables)
    for number, table in enumerate(tables):
        name = _mysql.quoted(table["name"])
        try:
            found = _mysql.rows(source, f"CHECK TABLE {name}{mode}", work, None)
        except Over:
            return Examined(f"CHECK TABLE ok: {number} of {len(tables)} tables", False)
        except _mysql.Failed as error:
            if error.code != NO_SUCH_TABLE:
                raise
            continue
        bad = [row["Msg_text"] for row in found if row["Msg_type"].lower() == "error"]
        bad += [
            row["Msg_text"] for row in found if row["Msg_type"] == "status" and "corrupt" in row["Msg_text"].lower()
        ]
        if bad and "doesn't exist" not in bad[0]:
            raise Damaged(f"CHECK TABLE of {table['name']} finds: {'; '.join(dict.fromkeys(bad))}.")
    return Examined(f"CHECK TABLE ok: {len(tables)} tables")


def apply(source: Source, step: Step, work: Work) -> Done:
    """One statement. ANALYZE keeps nobody from working; OPTIMIZE of InnoDB lets them work but at its beginning and end."""
    name = _mysql.quoted(step.target)
    found = _mysql.rows(source, f"{step.action} NO_WRITE_TO_BINLOG TABLE {name}", work, None)
    bad = [row["Msg_text"] for row in found if row["Msg_type"].lower() == "error"]
    if bad:
        if "doesn't exist" in bad[0]:
            return Done(False)
        if "Lock wait timeout" in bad[0]:
            raise _mysql.locked(work)
        raise RunbookError("; ".join(dict.fromkeys(bad)))
    return Done(True, memory=_after(source, step, work))


def _after(source: Source, step: Step, work: Work) -> dict[str, t.Any]:
    for table in _tables(source, work._replace(deadline=None)):
        if table["name"] == step.target:
            memory = {key: table[key] for key in ("rows", "bytes")}
            then = work.memory.get(step.target) or {}
            free = table["free"] if step.action == "OPTIMIZE" else then.get("free")
            return {**memory, **({} if free is None else {"free": free}), "time": time.time()}
    return {}
