# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables of SQLite databases, through Python's own sqlite3."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
import typing as t
import urllib.parse

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._tables._engine import (
    BYTES,
    NUMBER,
    ROWS,
    Column,
    Reference,
    Rejected,
    Row,
    Session,
    Source,
    Table,
    Work,
)

OPTIONS: dict[str, t.Any] = {"path": {"type": "path", "required": True}}
Result = t.TypeVar("Result")
ROWIDS = ("rowid", "_rowid_", "oid")
_NUMERIC = re.compile(r"INT|REAL|FLOA|DOUB|DEC|NUM", re.IGNORECASE)
_HEX = re.compile(r"\\x(?:[0-9a-f]{2})*")
_LENGTH = re.compile(r"(?:CHAR|TEXT|CLOB)[A-Z ]*\(\s*(\d+)", re.IGNORECASE)


def check(source: dict[str, t.Any], where: str) -> None:
    """Relative paths would depend on the folder that Ansible happens to start in."""
    if not os.path.isabs(source["path"]):
        raise InputError(f"{where}.path", source["path"], "is no absolute path", "Write it from the root on.")


def connect(
    source: Source, work: Work, body: t.Callable[[Session], Result], *, read_only: bool = False, keep_on: bool = False
) -> Result:
    """Call `body` with a session of the database, which must be there."""
    path = source["path"]
    if not os.path.isfile(path):
        raise RunbookError(f"path: {path} is no file. Name the database file.")
    try:
        with contextlib.closing(
            sqlite3.connect(
                f"file:{urllib.parse.quote(path)}?mode=rw",
                uri=True,
                timeout=work.lock_seconds,
                isolation_level=None,
                # Statements name hundreds of keys; none comes twice.
                cached_statements=2,
            )
        ) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA query_only = {'ON' if read_only else 'OFF'}")
            if work.deadline is not None:
                deadline = work.deadline
                connection.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
            return body(SqliteSession(connection))
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise RunbookError(_explained(path, error)) from error


def _explained(path: str, error: Exception) -> str:
    text = str(error)
    if text == "interrupted":
        return f"{path}: the time limit has passed. Raise it, or give the work less to do."
    if "locked" in text:
        return f"{path}: {text}: another program holds its lock. Try again, or raise lock_timeout."
    if "readonly" in text:
        return f"{path}: {text}: a query may only read. Write a SELECT."
    if "decode to UTF-8" in text:
        return f"{path}: {text[:200]}. Text that is no UTF-8 cannot be exported: leave it out by where, or repair it."
    return f"{path}: {text}"


class SqliteSession(Session):
    """A connection that begins its transactions itself."""

    # BEGIN IMMEDIATE has locked the database.
    LOCK = ""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def literal(self, value: t.Any, kind: str) -> str:
        if value is None:
            return "NULL"
        if isinstance(value, bytes):
            return f"x'{value.hex()}'"
        if isinstance(value, (int, float)):
            return repr(value)
        if kind == "number" and NUMBER.fullmatch(str(value)):
            return str(value)
        if kind == "any" and _HEX.fullmatch(value):
            return f"x'{value[2:]}'"
        if "\0" in value:
            return f"CAST(x'{value.encode().hex()}' AS TEXT)"
        return "'" + str(value).replace("'", "''") + "'"

    def run(self, sql: str) -> int:
        return int(self.connection.execute(sql).rowcount)

    def rows(self, sql: str, columns: t.Sequence[Column]) -> t.Iterator[list[Row]]:
        cursor = self.connection.execute(sql)
        number = 64
        while True:
            batch = cursor.fetchmany(number)
            if not batch:
                return
            # The longest of a few rows tells how many to take next time.
            longest = max(sum(map(_length, row)) for row in batch[:: max(1, len(batch) // 32)]) + 16
            number = max(1, min(ROWS, BYTES // longest, 4 * number))
            yield batch

    def begin(self, purpose: str) -> None:
        self.run("BEGIN" if purpose == "read" else "BEGIN IMMEDIATE")

    def tuples(self, tuples: t.Sequence[str]) -> str:
        return f"VALUES {','.join(tuples)}"

    def describe(self, name: str, schema: str | None) -> Table:
        found = self.connection.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE lower(name) = lower(?)", (name,)
        )
        kinds = [(kind, own, sql) for kind, own, sql in found if kind in ("table", "view")]
        if not kinds or kinds[0][0] != "table" or name.lower().startswith("sqlite_"):
            raise RunbookError(f"table: there is no table {name!r} in this database. Name one of it.")
        own, sql = kinds[0][1], str(kinds[0][2])
        if re.match(r"\s*CREATE\s+VIRTUAL", sql, re.IGNORECASE):
            raise RunbookError(f"table: {name!r} is a virtual table. Name an ordinary one.")
        quoted = self.quote(own)
        info = list(self.connection.execute(f"PRAGMA table_xinfo({quoted})"))
        columns = [
            Column(each[1], _kind(each[2]), each[2], each[6] in (2, 3), _limit(each[2]))
            for each in info
            if each[6] != 1
        ]
        primary = [each[1] for each in sorted(info, key=_rank) if each[5]]
        key = primary
        if not self._without_rowid(quoted):
            alias = [each for each in info if each[5] and str(each[2]).upper() == "INTEGER"]
            if len(primary) != 1 or not alias:
                names = {column.name.lower() for column in columns}
                free = [word for word in ROWIDS if word not in names]
                if not free:
                    raise RunbookError(f"table: the columns of {name!r} hide its rowid. Rename one of them.")
                key = free[:1]
                columns.insert(0, Column(key[0], "number", "INTEGER", True))
        uniques = self._uniques(quoted)
        return Table(
            own, quoted, tuple(columns), tuple(key), tuple(self._references(own, primary)),
            (*([tuple(primary)] if primary else []), *uniques),
        )  # fmt: skip

    def _without_rowid(self, quoted: str) -> bool:
        """Its primary key's index is then the table itself, so that asking for the rowid fails."""
        try:
            self.connection.execute(f"SELECT {quoted}.rowid FROM {quoted} LIMIT 0")
        except sqlite3.OperationalError:
            return True
        return False

    def _uniques(self, quoted: str) -> list[tuple[str, ...]]:
        found = []
        for _number, index, unique, _origin, partial in self.connection.execute(
            f"PRAGMA index_list({quoted})"
        ).fetchall():
            columns = self.connection.execute(f"PRAGMA index_info({self.quote(index)})").fetchall()
            names = tuple(each[2] for each in columns)
            if unique and not partial and None not in names:
                found.append(names)
        return found

    def _references(self, table: str, primary: list[str]) -> list[Reference]:
        found = []
        for (other,) in self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            groups: dict[int, list[t.Any]] = {}
            for each in self.connection.execute(f"PRAGMA foreign_key_list({self.quote(other)})").fetchall():
                if str(each[2]).lower() == table.lower():
                    groups.setdefault(each[0], []).append(each)
            for parts in groups.values():
                targets = tuple(each[4] or name for each, name in zip(parts, primary + [""] * len(parts)))
                found.append(Reference(self.quote(other), tuple(each[3] for each in parts), targets, parts[0][6]))
        return found

    def query(self, text: str) -> tuple[str, tuple[Column, ...]]:
        cursor = self.connection.execute(f"SELECT * FROM (\n{text}\n) AS q LIMIT 0")
        names = [each[0] for each in cursor.description]
        return f"(\n{text}\n) AS q", tuple(Column(name, "native") for name in names)

    def older(self, table: Table, column: Column, how: str, cutoff: float) -> str:
        name = f"{table.quoted}.{self.quote(column.name)}"
        if how == "auto":
            sample = self.connection.execute(
                f"SELECT typeof({name}), {name} FROM {table.quoted} WHERE {name} IS NOT NULL LIMIT 1"
            ).fetchone()
            how = "text" if sample is None or sample[0] == "text" else _epoch(sample[1])
        if how in ("epoch", "epoch_ms"):
            bound = cutoff * (1000 if how == "epoch_ms" else 1)
            return f"(typeof({name}) IN ('integer', 'real') AND {name} < {bound:.6f})"
        # SQLite's julianday reads every form of ISO 8601 that SQLite writes, with zone; anything else is NULL, which is not older.
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(cutoff))
        return f"(typeof({name}) = 'text' AND length({name}) >= 10 AND julianday({name}) < julianday('{moment}'))"

    def size(self, table: Table) -> str:
        return " + ".join(f"coalesce(length(CAST({self.quote(each.name)} AS BLOB)), 0)" for each in table.columns)

    def insert(
        self, table: Table, columns: t.Sequence[Column], rows: t.Sequence[Row], on_duplicate: str, key: t.Sequence[str]
    ) -> tuple[int, list[Rejected]]:
        """One row after the other: a statement that fails leaves nothing behind, and the transaction stays."""
        statement = self._insertion(table, columns, on_duplicate, key)
        execute = self.connection.execute
        written = 0
        rejected = []
        for index, row in enumerate(rows):
            problem = _unfit(columns, row)
            if problem is None:
                try:
                    written += execute(statement, row).rowcount
                    continue
                except (sqlite3.IntegrityError, sqlite3.DataError, OverflowError, UnicodeEncodeError) as error:
                    problem = str(error)
            rejected.append(Rejected(index, problem, "UNIQUE constraint" in problem))
        return written, rejected

    def _insertion(self, table: Table, columns: t.Sequence[Column], on_duplicate: str, key: t.Sequence[str]) -> str:
        names = [self.quote(each.name) for each in columns]
        sql = f"INSERT INTO {table.quoted} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
        if on_duplicate == "skip":
            return f"{sql} ON CONFLICT DO NOTHING"
        rest = [self.quote(each.name) for each in columns if each.name not in key]
        if on_duplicate == "update" and rest:
            target = ", ".join(map(self.quote, key))
            changes = ", ".join(f"{name} = excluded.{name}" for name in rest)
            differs = " OR ".join(f"{table.quoted}.{name} IS NOT excluded.{name}" for name in rest)
            return f"{sql} ON CONFLICT ({target}) DO UPDATE SET {changes} WHERE {differs}"
        if on_duplicate == "update":
            return f"{sql} ON CONFLICT ({', '.join(map(self.quote, key))}) DO NOTHING"
        return sql


def _unfit(columns: t.Sequence[Column], row: Row) -> str | None:
    """SQLite stores anything anywhere; what a column says about itself is held against the values here."""
    for column, value in zip(columns, row):
        if isinstance(value, str):
            if column.kind == "number" and not NUMBER.fullmatch(value):
                return f"column {column.name}: {value[:40]!r} is no number ({column.declared})"
            if column.length is not None and len(value) > column.length:
                return f"column {column.name}: {len(value)} characters are more than {column.declared} takes"
        elif isinstance(value, bytes) and column.kind == "number":
            return f"column {column.name}: binary content is no number ({column.declared})"
    return None


def _rank(info: t.Sequence[t.Any]) -> int:
    return int(info[5])


def _length(value: t.Any) -> int:
    return len(value) if isinstance(value, (str, bytes)) else 8


def _epoch(value: float) -> str:
    """Seconds since 1970 have ten digits until the year 2286, milliseconds have thirteen."""
    return "epoch_ms" if abs(value) > 1e11 else "epoch"


def _kind(declared: str) -> str:
    """What a column of this declared type turns text into (SQLite documentation, "Datatypes In SQLite", 3.1)."""
    if _NUMERIC.search(declared):
        return "number"
    if not declared or "BLOB" in declared.upper():
        return "any"
    return "native"


def _limit(declared: str) -> int | None:
    match = _LENGTH.search(declared)
    return int(match[1]) if match else None
