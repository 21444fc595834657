# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables of PostgreSQL, through psql: COPY for what comes out, INSERT for what goes in."""

from __future__ import annotations

import csv
import json
import re
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import postgresql
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._tables import _client, _postgresql_sql
from ansible_collections.sre.runbooks.plugins.module_utils._tables._engine import (
    Column,
    Pieces,
    Reference,
    Row,
    Session,
    Source,
    Table,
    Work,
)

OPTIONS: dict[str, t.Any] = {**postgresql.CONNECTION, "database": {"type": "str"}}
Result = t.TypeVar("Result")
_ESCAPED = re.compile(rb"\\([bfnrtv\\])")
_CHARACTERS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"\\": b"\\"}
_DUPLICATE = "23505"


def check(source: dict[str, t.Any], where: str) -> None:
    """The database is called as the entry, unless told. libpq takes a name with `=` or `://` for a connection string."""
    database = source["database"] = source["name"] if source["database"] is None else source["database"]
    if not database or "=" in database or "://" in database:
        raise InputError(f"{where}.database", database, "is no name of a database", "Give the name alone.")


def connect(
    source: Source, work: Work, body: t.Callable[[Session], Result], *, read_only: bool = False, keep_on: bool = False
) -> Result:
    """Call `body` with a session of psql. With `keep_on` a statement that fails does not end it."""
    argv = [
        *(_client.WORDY if keep_on else []), postgresql.client("psql", source), "--no-psqlrc", "--tuples-only", "--csv",
        "--quiet", f"--set=ON_ERROR_STOP={'off' if keep_on else 'on'}", "--set=VERBOSITY=terse",
        *postgresql.arguments(source), f"--dbname={source['database']}",
    ]  # fmt: skip
    place = {
        "target": postgresql.target(source),
        "environment": {**postgresql.environment(), "PGCLIENTENCODING": "UTF8"},
        "secrets": postgresql.secrets(source),
    }
    left = work.seconds()
    settings = _postgresql_sql.SETTINGS.format(
        lock=int(work.lock_seconds * 1000),
        statement=0 if left is None else int(left * 1000) + 1,
        read_only="on" if read_only else "off",
    )

    def talk(pipe: _client.Pipe) -> Result:
        pipe.send(settings)
        return body(PostgresqlSession(pipe))

    return _client.converse(argv, work, place, talk, _client.hint(source))


class PostgresqlSession(_client.ClientSession):
    """A session of psql."""

    def __init__(self, pipe: _client.Pipe) -> None:
        self.pipe = pipe
        self._mark = pipe.mark.decode()

    def literal(self, value: t.Any, kind: str) -> str:
        """Text in quotes, whatever it is: the server turns it into the column's type."""
        if value is None:
            return "NULL"
        if isinstance(value, bytes):
            return f"'\\x{value.hex()}'"
        text = value if isinstance(value, str) else repr(value)
        return "'" + text.replace("'", "''") + "'"

    def run(self, sql: str) -> int:
        self.pipe.send(
            f"{sql}\n;\n\\set sre_error :ERROR\n\\set sre_count :ROW_COUNT\n\\if :sre_error\n\\echo :LAST_ERROR_MESSAGE\n\\endif\n"
            f"\\echo {self._mark} :sre_error :sre_count\n"
        )
        *lines, last = self.pipe.answer()
        failed, count = last.decode().split()
        if failed == "true":
            raise RunbookError(b" ".join(lines).decode(errors="replace"))
        return int(count)

    def commit(self) -> None:
        """The commit of a transaction that failed would undo it without a word."""
        self.run("SELECT 1 WHERE false")
        self.run("COMMIT")

    def rows(self, sql: str, columns: t.Sequence[Column]) -> t.Iterator[list[Row]]:
        self.pipe.send(f"COPY ({sql}\n) TO STDOUT;\n\\echo {self._mark}\n")
        pieces = Pieces()
        for lines in self.pipe.lines():
            for line in lines:
                if line.startswith(self.pipe.mark):
                    break
                if pieces.full(_row(line), len(line)):
                    yield pieces.take()
        if pieces.rows:
            yield pieces.take()

    def begin(self, purpose: str) -> None:
        self.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if purpose == "read" else "BEGIN")
        if purpose == "write":
            self.run("SET CONSTRAINTS ALL IMMEDIATE")

    def describe(self, name: str, schema: str | None) -> Table:
        full = self.quote(name) if schema is None else f"{self.quote(schema)}.{self.quote(name)}"
        found = [
            row
            for batch in self.rows(_postgresql_sql.TABLE.format(name=self.literal(full, "text")), [])
            for row in batch
        ]
        if not found:
            raise RunbookError(f"table: there is no table {full} in this database. Name one, with its schema.")
        document = json.loads(found[0][0])
        columns = [
            Column(each["name"], _kind(each["category"], each["base"]), each["type"], each["generated"])
            for each in document["columns"]
        ]
        keys = [tuple(each["columns"]) for each in document["keys"] if each["primary"] or each["strict"]]
        return Table(
            name,
            f"{self.quote(document['schema'])}.{self.quote(document['name'])}",
            tuple(columns),
            keys[0] if keys else (),
            tuple(
                Reference(
                    f"{self.quote(each['schema'])}.{self.quote(each['table'])}",
                    tuple(each["columns"]), tuple(each["targets"]), _postgresql_sql.ACTIONS[each["action"]],
                )
                for each in document["references"]
            ),
            tuple(tuple(each["columns"]) for each in document["keys"]),
            any(each["identity"] == "a" for each in document["columns"]),
        )  # fmt: skip

    def query(self, text: str) -> tuple[str, tuple[Column, ...]]:
        self.pipe.send(f"{text}\n\\gdesc\n\\echo {self._mark}\n")
        lines = [line.decode() + "\n" for line in self.pipe.answer()[:-1]]
        columns = []
        described = list(csv.reader(lines))
        if not described or any(len(each) != 2 for each in described):
            raise RunbookError("query: this is not one SELECT. Write one that gives columns.")
        for name, declared in described:
            base = declared.partition("(")[0]
            columns.append(Column(name, _KINDS.get(base, "text"), declared))
        return f"(\n{text}\n) AS q", tuple(columns)

    def older(self, table: Table, column: Column, how: str, cutoff: float) -> str:
        name = self.quote(column.name)
        declared = column.declared
        if how == "auto" and column.kind == "number":
            sample = [
                row
                for b in self.rows(f"SELECT {name} FROM {table.quoted} WHERE {name} IS NOT NULL LIMIT 1", [])
                for row in b
            ]
            how = "epoch_ms" if sample and abs(float(sample[0][0])) > 1e11 else "epoch"
        if how in ("epoch", "epoch_ms"):
            return f"({name} < {cutoff * (1000 if how == 'epoch_ms' else 1):.6f})"
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(cutoff))
        if declared.startswith("timestamp") and how in ("auto", "timestamp"):
            return f"({name} < '{moment}')"
        if declared == "date" and how in ("auto", "date"):
            return f"({name} < '{moment[:10]}')"
        if (
            how in ("auto", "text")
            and column.kind == "text"
            and not declared.startswith(("timestamp", "date", "time", "interval"))
        ):
            return f"({name} ~ '{_postgresql_sql.ISO}' AND replace(left({name}::text, 19), 'T', ' ') COLLATE \"C\" < '{moment}')"
        raise RunbookError(
            f"column_type: {column.name} is of type {declared}, which holds no {how} time. Name another column."
        )

    def size(self, table: Table) -> str:
        return f"pg_column_size({self.quote(table.name)}.*)"

    def attempt(self, sql: str) -> tuple[int, _client.Refused | None]:
        if "\0" in sql:
            return 0, _client.Refused("holds a NUL character, which PostgreSQL's text cannot", False)
        self.pipe.send(
            f"SAVEPOINT sre_runbooks;\n{sql}\n;\n\\set sre_error :ERROR\n\\set sre_state :SQLSTATE\n\\set sre_count :ROW_COUNT\n"
            "\\if :sre_error\nROLLBACK TO sre_runbooks;\n\\echo :LAST_ERROR_MESSAGE\n\\endif\nRELEASE sre_runbooks;\n"
            f"\\echo {self._mark} :sre_error :sre_state :sre_count\n"
        )
        *lines, last = self.pipe.answer()
        failed, code, count = last.decode().split()
        if failed == "true":
            reason = b" ".join(lines).decode(errors="replace")
            return 0, _client.Refused(reason, code == _DUPLICATE)
        return int(count), None

    def insertion(
        self, table: Table, columns: t.Sequence[Column], rows: t.Sequence[Row], on_duplicate: str, key: t.Sequence[str]
    ) -> str:
        names = [self.quote(each.name) for each in columns]
        overriding = " OVERRIDING SYSTEM VALUE" if table.overriding else ""
        sql = f"INSERT INTO {table.quoted} AS old ({', '.join(names)}){overriding} VALUES {self.values(columns, rows)}"
        rest = [self.quote(each.name) for each in columns if each.name not in key]
        if on_duplicate == "skip" or (on_duplicate == "update" and not rest):
            return f"{sql} ON CONFLICT DO NOTHING"
        if on_duplicate == "update":
            changes = ", ".join(f"{name} = excluded.{name}" for name in rest)
            differs = " OR ".join(f"old.{name} IS DISTINCT FROM excluded.{name}" for name in rest)
            return f"{sql} ON CONFLICT ({', '.join(map(self.quote, key))}) DO UPDATE SET {changes} WHERE {differs}"
        return sql


def _row(line: bytes) -> list[t.Any]:
    """One line of COPY's text format."""
    if b"\\" not in line:
        return t.cast("list[t.Any]", line.decode().split("\t"))
    return [
        None if cell == b"\\N" else _ESCAPED.sub(lambda match: _CHARACTERS[match[1]], cell).decode()
        for cell in line.split(b"\t")
    ]


_KINDS = {
    "smallint": "number", "integer": "number", "bigint": "number", "numeric": "number", "real": "number",
    "double precision": "number", "oid": "number", "boolean": "boolean", "bytea": "binary", "json": "json", "jsonb": "json",
}  # fmt: skip


def _kind(category: str, base: str) -> str:
    if category == "N":
        return "text" if base == "money" else "number"
    return _KINDS.get(base, "boolean" if category == "B" else "text")
