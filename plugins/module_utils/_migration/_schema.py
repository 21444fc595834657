# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a database looks like, table by table, so that a way back can be told from half a way."""

from __future__ import annotations

import contextlib
import hashlib
import json
import pathlib
import sqlite3
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import mysql, postgresql
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
    from ansible_collections.sre.runbooks.plugins.module_utils._core.entries import Item

SECONDS = 60.0
# Alembic's own table is what differs between two revisions of nothing else.
OWN = "alembic_version"
_USER = r"n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
POSTGRESQL = rf"""
SELECT json_build_array('table', n.nspname || '.' || c.relname, c.relkind, (SELECT json_agg(json_build_array(a.attname,
    format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attidentity) ORDER BY a.attname)
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND {_USER}
UNION ALL SELECT json_build_array('index', n.nspname || '.' || x.relname, pg_get_indexdef(i.indexrelid), i.indisvalid)
  FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_namespace n ON n.oid = x.relnamespace WHERE {_USER}
UNION ALL SELECT json_build_array('constraint', n.nspname || '.' || coalesce(c.relname, '') || '.' || k.conname, pg_get_constraintdef(k.oid))
  FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace LEFT JOIN pg_class c ON c.oid = k.conrelid WHERE {_USER}
UNION ALL SELECT json_build_array('function', n.nspname || '.' || p.oid::regprocedure::text, p.prosrc)
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {_USER}
UNION ALL SELECT json_build_array('trigger', t.tgrelid::regclass::text || '.' || t.tgname, pg_get_triggerdef(t.oid)) FROM pg_trigger t WHERE NOT t.tgisinternal
UNION ALL SELECT json_build_array('enum', n.nspname || '.' || y.typname,
    (SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = y.oid))
  FROM pg_type y JOIN pg_namespace n ON n.oid = y.typnamespace WHERE y.typtype = 'e' AND {_USER};
"""  # noqa: S608 - joined from the constants above
MYSQL = """
SELECT HEX(CONCAT_WS('\\0', 'table', TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, IFNULL(COLUMN_DEFAULT, '-'), EXTRA)) AS line
  FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()
UNION ALL SELECT HEX(CONCAT_WS('\\0', 'index', TABLE_NAME, INDEX_NAME, NON_UNIQUE, SEQ_IN_INDEX, IFNULL(COLUMN_NAME, '-')))
  FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE()
UNION ALL SELECT HEX(CONCAT_WS('\\0', 'constraint', TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME,
    IFNULL(REFERENCED_TABLE_NAME, '-'), IFNULL(REFERENCED_COLUMN_NAME, '-')))
  FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = DATABASE();
"""


def read(commands: Commands, item: Item, database: str | None = None) -> dict[str, str]:
    """A checksum of each table, index, constraint, view and routine, by kind and name; `database` stands for the item's own."""
    if item.engine_name == "sqlite":
        lines = _sqlite(database or item.source["path"])
    elif item.engine_name == "postgresql":
        source = item.source
        text = postgresql.query(commands, source, POSTGRESQL, SECONDS, database or source["database"])
        lines = [json.loads(line) for line in text.splitlines() if line]
    else:
        found = mysql.rows(mysql.query(commands, item.source, MYSQL, SECONDS).stdout)
        lines = [bytes.fromhex(row["line"]).decode("utf-8", "replace").split("\0") for row in found]
    sums: dict[str, list[str]] = {}
    for kind, name, *rest in lines:
        if OWN not in name:
            sums.setdefault(f"{kind} {name}", []).append(json.dumps(rest, sort_keys=True, default=str))
    return {
        key: hashlib.sha256("\n".join(sorted(each)).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        for key, each in sums.items()
    }


def differences(before: t.Mapping[str, str], after: t.Mapping[str, str]) -> list[str]:
    """What was added, is gone, or has changed."""
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def _sqlite(path: str) -> list[list[t.Any]]:
    """By columns, keys and indexes: the text of CREATE TABLE changes when a column comes and goes again."""
    uri = f"{pathlib.Path(path).as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=SECONDS)) as database:
            return [line for row in _objects(database) for line in _described(database, *row)]
    except sqlite3.Error as error:
        raise RunbookError(f"{path}: {error}. See that the database opens with the sqlite3 program.") from error


def _objects(database: sqlite3.Connection) -> list[tuple[str, str, str]]:
    sql = "SELECT type, name, coalesce(sql, '') FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
    return database.execute(sql).fetchall()


def _described(database: sqlite3.Connection, kind: str, name: str, sql: str) -> list[list[t.Any]]:
    if kind == "index":
        columns = database.execute("SELECT name, desc FROM pragma_index_xinfo(?)", (name,)).fetchall()
        return [[kind, name, columns, "WHERE" in sql.upper(), "UNIQUE" in sql.upper()]]
    if kind != "table":
        return [[kind, name, sql]]
    fields = database.execute('SELECT name, upper(type), "notnull", dflt_value, pk FROM pragma_table_xinfo(?)', (name,))
    keys = database.execute('SELECT "table", "from", "to", on_delete FROM pragma_foreign_key_list(?)', (name,))
    return [[kind, name, sorted(fields, key=str), sorted(keys, key=str)]]
