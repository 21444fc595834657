# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables of MariaDB and MySQL, through their client.

The client's output cannot tell NULL from the text `NULL`, nor binary content from text; so all but numbers comes and goes as
hexadecimal digits, in which there is no `U` or `L` and nothing to escape.
"""

from __future__ import annotations

import re
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import mysql
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._tables import _client
from ansible_collections.sre.runbooks.plugins.module_utils._tables._engine import (
    NUMBER,
    Column,
    Pieces,
    Reference,
    Rejected,
    Row,
    Session,
    Source,
    Table,
    Work,
)

OPTIONS: dict[str, t.Any] = {**mysql.CONNECTION, "database": {"type": "str"}}
Result = t.TypeVar("Result")
_NUMBERS = frozenset(["tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "year", "bit"])
_BINARY = re.compile(
    r"(?:tiny|medium|long)?blob|(?:var)?binary|geometry|point|linestring|polygon|multi\w+|geomcollection|geometrycollection"
)
_DUPLICATES = ("1062", "1586")
# Deadlock, lock wait timeout, lock table full.
_UNDOING = ("1213", "1205", "1206")
_ERROR = re.compile(rb"ERROR (\d+) \(\w+\)(?: at line \d+)?: (.*)")
# Errors of the client: the server has gone away, was lost, ….
_LOST = re.compile(rb"ERROR 2\d\d\d ", re.MULTILINE)
_HEX = re.compile(r"\\x(?:[0-9a-f]{2})*")
# Every value must fit; what does not is an error and no warning. Text in double quotes is text, whatever the server's own mode.
SETTINGS = """SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_VALUE_ON_ZERO';
SET SESSION time_zone = '+00:00';
SET SESSION innodb_lock_wait_timeout = {lock};
SET SESSION lock_wait_timeout = {lock};
SET SESSION net_read_timeout = 3600, net_write_timeout = 3600;
"""
_FIELD = re.compile(
    r"^Field +\d+: +`(.*?)`\nOrg_field: .*?\nType: +(\w+).*?\nCollation: +(\S+).*?\nFlags: +(.*?)$",
    re.MULTILINE | re.DOTALL,
)
_TEXT_TYPES = ("DATE", "TIME", "DATETIME", "TIMESTAMP", "NEWDATE", "TIMESTAMP2", "DATETIME2", "TIME2", "NULL")


def check(source: dict[str, t.Any], where: str) -> None:
    """The database is called as the entry, unless told."""
    database = source["database"] = source["name"] if source["database"] is None else source["database"]
    if not database:
        raise InputError(f"{where}.database", database, "is no name of a database", "Give one.")


def connect(
    source: Source, work: Work, body: t.Callable[[Session], Result], *, read_only: bool = False, keep_on: bool = False
) -> Result:
    """Call `body` with a session of the client. With `keep_on` a statement that fails does not end it."""
    argv = [
        *(_client.TOGETHER if keep_on else _client.WORDY), *mysql.client("mariadb", source), *mysql.arguments(source),
        f"--database={source['database']}", "--batch", "--skip-column-names", "--unbuffered", "--quick", "--skip-reconnect",
        "--default-character-set=utf8mb4", f"--connect-timeout={mysql.CONNECT_SECONDS}",
        *(["--force"] if keep_on else []),
    ]  # fmt: skip
    place = {"target": mysql.target(source), "secrets": mysql.secrets(source)}
    settings = SETTINGS.format(lock=max(1, round(work.lock_seconds)))
    left = work.seconds()
    if left is not None:
        settings += mysql.limited("", left).strip() + "\n"
    if read_only:
        settings += "SET SESSION TRANSACTION READ ONLY;\n"

    def talk(pipe: _client.Pipe) -> Result:
        pipe.fatal = _LOST if keep_on else None
        pipe.send(settings)
        return body(MysqlSession(pipe, source, work))

    return _client.converse(argv, work, place, talk, _client.hint(source))


class MysqlSession(_client.ClientSession):
    """A session of the client."""

    def __init__(self, pipe: _client.Pipe, source: Source, work: Work) -> None:
        self.pipe = pipe
        self._mark = pipe.mark.decode()
        self._source = source
        self._work = work

    def quote(self, name: str) -> str:
        return "`" + name.replace("`", "``") + "`"

    def literal(self, value: t.Any, kind: str) -> str:
        if value is None:
            return "NULL"
        if kind == "binary" and isinstance(value, str) and _HEX.fullmatch(value):
            return f"x'{value[2:]}'"
        if isinstance(value, bytes):
            return f"x'{value.hex()}'"
        if isinstance(value, bool):
            return str(int(value))
        text = value if isinstance(value, str) else repr(value)
        if kind == "number" and NUMBER.fullmatch(text):
            return text
        return f"_utf8mb4 x'{text.encode('utf-8', 'surrogatepass').hex()}'"

    def expression(self, column: Column) -> str:
        name = self.quote(column.name)
        if column.kind == "number":
            # A FLOAT is shown with six digits; as a DOUBLE with all it has. A BIT is shown as the byte it is.
            return (
                f"{name} + 0e0"
                if column.declared.startswith(("float", "FLOAT"))
                else f"{name} + 0"
                if column.declared.lower().startswith("bit")
                else name
            )
        return f"HEX({name})" if column.kind == "binary" else f"HEX(CONVERT({name} USING utf8mb4))"

    def run(self, sql: str) -> int:
        answer = self._ask(f"{sql}\n;\nSELECT ROW_COUNT();\n")
        for line in answer:
            if _ERROR.match(line):
                raise RunbookError(line.decode(errors="replace"))
        return int(answer[-1])

    def _ask(self, text: str) -> list[bytes]:
        """Send statements; the lines that they give."""
        self.pipe.send(f"{text}SELECT '{self._mark}';\n")
        return self.pipe.answer()[:-1]

    def rows(self, sql: str, columns: t.Sequence[Column]) -> t.Iterator[list[Row]]:
        self.pipe.send(f"{sql}\n;\nSELECT '{self._mark}';\n")
        decoders = [_DECODERS[column.kind] for column in columns]
        pieces = Pieces()
        for lines in self.pipe.lines():
            for line in lines:
                if line.startswith(self.pipe.mark):
                    break
                if _ERROR.match(line):
                    raise RunbookError(line.decode(errors="replace"))
                row = [None if cell == b"NULL" else decode(cell) for cell, decode in zip(line.split(b"\t"), decoders)]
                if pieces.full(row, len(line)):
                    yield pieces.take()
        if pieces.rows:
            yield pieces.take()

    def begin(self, purpose: str) -> None:
        self.run("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY" if purpose == "read" else "START TRANSACTION")

    def _texts(self, sql: str, number: int) -> list[list[str]]:
        """The rows of a query whose columns are all HEX(…) of text."""
        return [list(row) for batch in self.rows(sql, [Column("", "text")] * number) for row in batch]

    def describe(self, name: str, schema: str | None) -> Table:
        here = f"table_schema = DATABASE() AND table_name = {self.literal(name, 'text')}"
        hexed = "HEX(CONVERT({0} USING utf8mb4))".format
        engine = self._texts(
            f"SELECT {hexed('table_name')}, {hexed('coalesce(engine, table_type)')} FROM information_schema.tables WHERE {here}",
            2,
        )
        if not engine:
            raise RunbookError(f"table: there is no table {name!r} in {self._source['database']}. Name one of it.")
        if engine[0][1].lower() not in ("innodb", "rocksdb", "tokudb"):
            raise RunbookError(
                f"table: {name!r} is of {engine[0][1]}, which knows no transactions. Name a table of InnoDB."
            )
        own = engine[0][0]
        found = self._texts(
            f"SELECT {hexed('column_name')}, {hexed('data_type')}, {hexed('column_type')}, {hexed('extra')}"
            f" FROM information_schema.columns WHERE {here} ORDER BY ordinal_position", 4
        )  # fmt: skip
        columns = [Column(each[0], _kind(each[1]), each[2], "GENERATED" in each[3].upper()) for each in found]
        uniques: dict[str, list[tuple[str, bool]]] = {}
        for index, column, nullable in self._texts(
            f"SELECT {hexed('index_name')}, {hexed('column_name')}, HEX(nullable) FROM information_schema.statistics"
            f" WHERE {here} AND non_unique = 0 AND sub_part IS NULL ORDER BY index_name <> 'PRIMARY', index_name, seq_in_index", 3
        ):  # fmt: skip
            uniques.setdefault(index, []).append((column, nullable == "YES"))
        keys = [tuple(c for c, _n in parts) for parts in uniques.values() if not any(null for _c, null in parts)]
        return Table(
            own, self.quote(own), tuple(columns), keys[0] if keys else (), tuple(self._references(own)),
            tuple(tuple(c for c, _n in parts) for parts in uniques.values()),
        )  # fmt: skip

    def _references(self, table: str) -> list[Reference]:
        hexed = "HEX(CONVERT({0} USING utf8mb4))".format
        groups: dict[tuple[str, ...], list[list[str]]] = {}
        for each in self._texts(
            f"SELECT {hexed('k.table_schema')}, {hexed('k.table_name')}, {hexed('k.constraint_name')}, {hexed('r.delete_rule')},"
            f" {hexed('k.column_name')}, {hexed('k.referenced_column_name')}"
            " FROM information_schema.key_column_usage k JOIN information_schema.referential_constraints r"
            " ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name AND r.table_name = k.table_name"
            f" WHERE k.referenced_table_schema = DATABASE() AND k.referenced_table_name = {self.literal(table, 'text')}"
            " ORDER BY 1, 2, 3, k.ordinal_position", 6
        ):  # fmt: skip
            groups.setdefault(tuple(each[:4]), []).append(each[4:])
        return [
            Reference(
                f"{self.quote(schema)}.{self.quote(other)}",
                tuple(each[0] for each in pairs),
                tuple(each[1] for each in pairs),
                action,
            )
            for (schema, other, _name, action), pairs in groups.items()
        ]

    def query(self, text: str) -> tuple[str, tuple[Column, ...]]:
        # Without a limit the order of a derived table is not kept; one that has a limit of its own takes no second one.
        tried = [f"(\n{text}\nLIMIT 18446744073709551615) AS q", f"(\n{text}\n) AS q"]
        for number, source in enumerate(tried):
            try:
                return source, self._types(source)
            except RunbookError as error:
                if "1064" not in str(error) or number:
                    raise
        raise AssertionError

    def _types(self, source: str) -> tuple[Column, ...]:
        """Only when it draws tables the client tells types, so that this needs a client of its own."""
        argv = [
            *mysql.client("mariadb", self._source), *mysql.arguments(self._source), f"--database={self._source['database']}",
            "--table", "--column-type-info", "--default-character-set=utf8mb4", f"--connect-timeout={mysql.CONNECT_SECONDS}",
        ]  # fmt: skip
        done = self._work.commands.run(
            argv, data=f"SET SESSION TRANSACTION READ ONLY; SELECT * FROM {source} LIMIT 0;\n", target=mysql.target(self._source),
            secrets=mysql.secrets(self._source), timeout=self._work.seconds(),
        )  # fmt: skip
        columns = []
        for name, kind, collation, flags in _FIELD.findall(done.stdout):
            if "NUM" in flags.split() or kind == "BIT":
                columns.append(Column(name, "number", kind))
            else:
                binary = collation == "binary" and kind not in _TEXT_TYPES
                columns.append(Column(name, "binary" if binary else "text", kind))
        return tuple(columns)

    def older(self, table: Table, column: Column, how: str, cutoff: float) -> str:
        name = self.quote(column.name)
        base = column.declared.partition("(")[0].lower()
        if how == "auto" and column.kind == "number":
            sample = [
                row
                for b in self.rows(f"SELECT {name} FROM {table.quoted} WHERE {name} IS NOT NULL LIMIT 1", [column])
                for row in b
            ]
            how = "epoch_ms" if sample and abs(float(sample[0][0])) > 1e11 else "epoch"
        if how in ("epoch", "epoch_ms"):
            return f"({name} < {cutoff * (1000 if how == 'epoch_ms' else 1):.6f})"
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(cutoff))
        if base in ("datetime", "timestamp") and how in ("auto", "timestamp"):
            return f"({name} < '{moment}')"
        if base == "date" and how in ("auto", "date"):
            return f"({name} < '{moment[:10]}')"
        if how in ("auto", "text") and column.kind == "text" and base not in ("datetime", "timestamp", "date", "time"):
            iso = r"^\\d{4}-\\d\\d-\\d\\d([T ]\\d\\d:\\d\\d(:\\d\\d(\\.\\d+)?)?(Z|\\+00(:?00)?)?)?$"
            return f"({name} REGEXP '{iso}' AND REPLACE(LEFT({name}, 19), 'T', ' ') < '{moment}')"
        raise RunbookError(
            f"column_type: {column.name} is of type {column.declared}, which holds no {how} time. Name another column."
        )

    def size(self, table: Table) -> str:
        return " + ".join(f"coalesce(length({self.quote(each.name)}), 0)" for each in table.columns)

    def attempt(self, sql: str) -> tuple[int, _client.Refused | None]:
        """InnoDB undoes a statement that fails, and nothing else of the transaction."""
        answer = self._ask(f"{sql}\n;\nSELECT ROW_COUNT();\n")
        problem = next((match for match in map(_ERROR.match, answer) if match), None)
        if problem is None:
            return int(answer[-1]), None
        code, text = problem[1].decode(), problem[2].decode(errors="replace")
        if code in _UNDOING:
            raise RunbookError(f"{text} (error {code}): nothing was kept. Run again when others have ended.")
        return 0, _client.Refused(text, code in _DUPLICATES)

    def insert(
        self, table: Table, columns: t.Sequence[Column], rows: t.Sequence[Row], on_duplicate: str, key: t.Sequence[str]
    ) -> tuple[int, list[Rejected]]:
        """The server counts a row that it changes twice: what was there before and after tells how many were inserted."""
        if on_duplicate != "update":
            return super().insert(table, columns, rows, on_duplicate, key)
        at = [[column.name for column in columns].index(name) for name in key]
        keyed = table._replace(key=tuple(key))
        texts = [[_bare(row[index]) for index in at] for row in rows if all(row[index] is not None for index in at)]
        count = f"SELECT count(*) FROM {table.quoted} WHERE {self.within(keyed, texts) if texts else 'false'}"
        before = int(self.value(count))
        number, rejected = super().insert(table, columns, rows, on_duplicate, key)
        inserted = int(self.value(count)) - before
        return inserted + (number - inserted) // 2, rejected

    def insertion(
        self, table: Table, columns: t.Sequence[Column], rows: t.Sequence[Row], on_duplicate: str, key: t.Sequence[str]
    ) -> str:
        names = [self.quote(each.name) for each in columns]
        sql = f"INSERT INTO {table.quoted} ({', '.join(names)}) VALUES {self.values(columns, rows)}"
        rest = [self.quote(each.name) for each in columns if each.name not in key]
        if on_duplicate == "update" and rest:
            return f"{sql} ON DUPLICATE KEY UPDATE {', '.join(f'{name} = VALUES({name})' for name in rest)}"
        if on_duplicate in ("skip", "update"):
            return f"{sql} ON DUPLICATE KEY UPDATE {names[0]} = {table.quoted}.{names[0]}"
        return sql


def _text(cell: bytes) -> str:
    return bytes.fromhex(cell.decode("ascii")).decode("utf-8", "surrogateescape")


def _bare(value: t.Any) -> str:
    return "\\x" + value.hex() if isinstance(value, bytes) else str(int(value) if isinstance(value, bool) else value)


def _number(cell: bytes) -> str:
    return cell.decode("ascii")


def _binary(cell: bytes) -> bytes:
    return bytes.fromhex(cell.decode("ascii"))


_DECODERS: dict[str, t.Callable[[bytes], t.Any]] = {"text": _text, "number": _number, "binary": _binary}


def _kind(data_type: str) -> str:
    if data_type in _NUMBERS:
        return "number"
    return "binary" if _BINARY.fullmatch(data_type) else "text"
