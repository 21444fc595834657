# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What belongs to a whole MariaDB or MySQL server: users, roles and grants, as the server itself puts them into SQL.

The copy is a script with the hashes of passwords in it, so nothing of its text goes into results, manifests or errors.
Accounts that are there when it is run get the passwords and the grants of the copy, and keep what grants they had.
"""

from __future__ import annotations

import re
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _mysql_scratch, _mysql_survey, _packing
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import (
    Dump,
    Mismatch,
    Preflight,
    Source,
    Work,
)
from ansible_collections.sre.runbooks.plugins.module_utils._core import mysql
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, InputError, RunbookError

EXTENSION = ".globals.sql"
# There is no snapshot of grants: the accounts before and after must be the same, else they are read anew.
ATTEMPTS = 3
# Far more than any server's accounts.
LONGEST = 16 << 20
_COMPLETED = "-- Dump completed"
_STATEMENTS = ("CREATE USER IF NOT EXISTS ", "CREATE ROLE IF NOT EXISTS ", "GRANT ", "SET DEFAULT ROLE ")
# The server makes these itself. PUBLIC is every account, and always there.
_OWN = (_mysql_scratch.ADMIN, "mariadb.sys", "mysql.sys", "mysql.session", "mysql.infoschema")
_NAME = r"`(?:[^`]|``)*`"
_OBJECT = re.compile(
    rf"GRANT (?P<what>(?:{_NAME}|[^`])*?) ON (?:(?P<kind>PROCEDURE|FUNCTION|PACKAGE BODY|PACKAGE) )?"
    rf"(?P<object>(?P<schema>{_NAME})\.{_NAME}) TO "
)
_COLUMNS = re.compile(rf"\(((?:{_NAME}|[^`)])*)\)")
_ACCOUNTS = {
    True: "SELECT user AS name, host AS host, is_role AS role FROM mysql.user ORDER BY 1, 2;",
    False: "SELECT user AS name, host AS host, 'N' AS role FROM mysql.user ORDER BY 1, 2;",
}


def check(source: dict[str, t.Any], where: str) -> None:
    """Neither database nor tables have anything to do with accounts."""
    for option in ("database", "exclude"):
        if source[option]:
            raise InputError(
                f"{where}.{option}",
                source[option],
                "belongs to the backup of a database, and globals are a server's",
                "Take it out, or give the database a source of its own.",
            )


def preflight(source: Source, work: Work) -> Preflight:
    """The server answers, and the user may read accounts."""
    server = _version(source, work)
    accounts = _accounts(source, server, work)
    return Preflight(65536 + 4096 * len(accounts), 0, {"server": server.text})


def sweep(work: Work) -> list[str]:
    """A scratch server ends with the run that started it, and its files lie in the backup folder."""
    return []


def dump(source: Source, partial: str, work: Work) -> Dump:
    """Write what the server says of each account."""
    server = _version(source, work)
    lines, hidden = _lines(source, server, work)
    for _attempt in range(ATTEMPTS):
        again, hidden = _lines(source, server, work)
        if lines == again:
            break
        lines = again
    else:
        raise RunbookError(
            f"accounts were changed while they were read, {ATTEMPTS} times. Run again when nobody changes them."
        )
    text = "".join(f"{line};\n" for line in lines) + f"{_COMPLETED}\n"
    sha256 = _packing.store(
        work.commands, work.packing.pack(), partial, lambda sink: _write(sink, text), timeout=work.seconds()
    )
    warning = (
        f"without {hidden} accounts, which the server does not use and does not show: their hosts are names, and "
        "skip_name_resolve is on. Drop them"
    )
    return Dump(sha256, _figures(lines), (warning,) if hidden else ())


def read(path: str, work: Work) -> dict[str, t.Any]:
    """Read the script to its end; figures."""
    return _figures(_content(path, work))


def restore(source: Source, path: str, figures: t.Mapping[str, t.Any], work: Work) -> dict[str, t.Any]:
    """Run the script on an empty scratch server, which must then say of its accounts what the copy says."""
    lines = _content(path, work)
    if _figures(lines) != {name: figures.get(name) for name in ("users", "roles", "grants")}:
        raise Mismatch(f"{path}: holds other numbers of accounts or grants than the dump")
    server = _version(source, work)
    if not server.mariadb:
        raise RunbookError("accounts of MySQL cannot be restored into a scratch server. Set verify: archive.")
    started = time.monotonic()

    def proof(scratch: Source) -> list[str]:
        found = _version(scratch, work)
        if found.series != server.series:
            raise RunbookError(
                f"mariadbd of this host is {found.text}, the server {server.text}: they write accounts in different words. "
                "Install the same release, or set verify: archive."
            )
        _execute(scratch, "".join(f"{line};\n" for line in [*_stand_ins(lines), *lines]), path, work)
        return _lines(scratch, found, work)[0]

    missing = {_ordered(line) for line in lines} - {_ordered(line) for line in _mysql_scratch.run(proof, work)}
    if missing:
        raise Mismatch(
            f"{path}: {len(missing)} statements of the copy are not what a server says that has executed them"
        )
    return {**_figures(lines), "restore_seconds": round(time.monotonic() - started, 3)}


def _execute(scratch: Source, sql: str, path: str, work: Work) -> None:
    try:
        _mysql_survey.answer(scratch, sql, work, work.seconds())
    except CommandFailed as error:
        # The message may quote a statement, with the hash of a password.
        numbers = ", ".join(_mysql_survey.ERROR.findall(error.stderr)) or "none"
        raise Mismatch(f"{path}: a statement of the copy cannot be executed: number of the error {numbers}") from None


def _stand_ins(lines: t.Sequence[str]) -> list[str]:
    """Statements that make what rights are granted on: of tables, columns and routines the server wants to see them."""
    columns: dict[str, dict[str, None]] = {}
    others: dict[str, None] = {}
    for line in lines:
        found = _OBJECT.match(line)
        if found is None:
            continue
        others[f"CREATE DATABASE IF NOT EXISTS {found['schema']}"] = None
        if found["kind"] == "PROCEDURE":
            others[f"CREATE PROCEDURE IF NOT EXISTS {found['object']}() SELECT 1"] = None
        elif found["kind"] == "FUNCTION":
            others[f"CREATE FUNCTION IF NOT EXISTS {found['object']}() RETURNS int DETERMINISTIC RETURN 1"] = None
        elif found["kind"] is None:
            named = [name for part in _COLUMNS.findall(found["what"]) for name in re.findall(_NAME, part)]
            columns.setdefault(found["object"], {}).update(dict.fromkeys(named))
    tables = [
        f"CREATE TABLE IF NOT EXISTS {name} ({', '.join(f'{column} int' for column in (list(named) or ['a']))})"
        for name, named in columns.items()
    ]
    return [*others, *tables]


def _version(source: Source, work: Work) -> _mysql_survey.Version:
    try:
        row = _mysql_survey.ask(source, "SELECT @@version AS version;", work)[0]
    except CommandFailed as error:
        raise RunbookError(
            f"{error}. See that the server runs, and check host, port, socket, user, password and run_as of this source."
        ) from error
    return _mysql_survey.version(row["version"])


def _accounts(source: Source, server: _mysql_survey.Version, work: Work) -> list[dict[str, str]]:
    try:
        rows = _mysql_survey.ask(source, _ACCOUNTS[server.mariadb], work)
    except CommandFailed as error:
        raise RunbookError(
            f"accounts cannot be read: {error}. Grant SELECT on mysql.* to the user of this source."
        ) from error
    return [row for row in rows if row["name"] not in _OWN]


def _lines(source: Source, server: _mysql_survey.Version, work: Work) -> tuple[list[str], int]:
    """The statements that make the accounts: roles, users, what they are granted. Also how many accounts are not shown."""
    accounts = _accounts(source, server, work)
    roles = [row["name"] for row in accounts if row["role"] == "Y"]
    users = [f"{_literal(row['name'])}@{_literal(row['host'])}" for row in accounts if row["role"] != "Y"]
    lines = [f"CREATE ROLE IF NOT EXISTS {_literal(name)}" for name in roles if name != "PUBLIC"]
    created = _show(source, [f"SHOW CREATE USER {each}" for each in users], work)
    lines += [line.replace("CREATE USER ", "CREATE USER IF NOT EXISTS ", 1) for line in created]
    names = ["PUBLIC" if name == "PUBLIC" else _literal(name) for name in roles]
    granted = _show(source, [f"SHOW GRANTS FOR {each}" for each in [*names, *users]], work)
    # One that is a member of roles is shown with their grants too.
    return [*lines, *dict.fromkeys(granted)], len(users) - len(created)


def _show(source: Source, statements: t.Sequence[str], work: Work) -> list[str]:
    """The lines that the server answers; the name of the only column is not among them."""
    if not statements:
        return []
    sql = "".join(f"{each};\n" for each in statements)
    text = _mysql_survey.answer(source, sql, work, work.seconds(), "--force", "--skip-column-names")
    return [mysql.unescaped(line) for line in text.split("\n") if line]


def _content(path: str, work: Work) -> list[str]:
    """The statements of the copy. Mismatch when it is not whole."""
    pieces: list[bytes] = []

    def talk(_requests: t.IO[bytes], content: t.IO[bytes]) -> None:
        pieces.append(content.read(LONGEST))

    try:
        work.commands.converse(work.unpack(path), talk, timeout=work.seconds())
    except CommandFailed as error:
        raise Mismatch(f"{path}: cannot be read: {error}") from error
    text = pieces[0].decode(errors="replace")
    if not text.endswith(f"{_COMPLETED}\n"):
        raise Mismatch(f"{path}: ends before its end: the line {_COMPLETED} is missing")
    lines = text[: -len(_COMPLETED) - 1].split(";\n")[:-1]
    if not all(line.startswith(_STATEMENTS) for line in lines):
        raise Mismatch(f"{path}: holds statements that make no accounts")
    return lines


def _figures(lines: t.Sequence[str]) -> dict[str, t.Any]:
    kinds = {"users": "CREATE USER ", "roles": "CREATE ROLE ", "grants": "GRANT "}
    return {kind: sum(line.startswith(start) for line in lines) for kind, start in kinds.items()}


def _ordered(line: str) -> str:
    """`line` with the columns in brackets in order: the server names them in any."""
    return _COLUMNS.sub(lambda found: ", ".join(sorted(re.findall(_NAME, found[1]))) or found[0], line)


def _literal(text: str) -> str:
    """A string; in no mode of the server is a doubled quotation mark the end. Names with a backslash depend on the mode."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _write(sink: t.IO[bytes], text: str) -> None:
    sink.write(text.encode())
