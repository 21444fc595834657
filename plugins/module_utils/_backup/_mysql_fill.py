# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A dump of MariaDB or MySQL put into a database, which is counted and compared; for proofs and restores."""

from __future__ import annotations

import contextlib
import re
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _mysql_survey
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Mismatch, Source, Work
from ansible_collections.sre.runbooks.plugins.module_utils._backup._mysql_script import Script, quoted
from ansible_collections.sre.runbooks.plugins.module_utils._core import mysql
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, RunbookError

SCRATCH_PREFIX = "sre_runbooks_verify_"
PIECE = 1 << 18
# Errors that speak of the server, the connection or the user, not of what was to be executed.
_CIRCUMSTANCES = frozenset(
    {1021, 1037, 1040, 1041, 1044, 1045, 1053, 1114, 1115, 1142, 1143, 1193, 1203, 1205, 1206, 1227, 1273, 1286, 1290,
     1317, 1370, 1418, 1419, 1836, 1927, 1969, 2002, 2003, 2005, 2006, 2013, 2026, 3024}
)  # fmt: skip
_OBJECTS = """
SELECT table_type AS kind, table_name AS name FROM information_schema.tables WHERE table_schema = database()
UNION ALL SELECT routine_type, routine_name FROM information_schema.routines WHERE routine_schema = database()
UNION ALL SELECT 'TRIGGER', trigger_name FROM information_schema.triggers WHERE trigger_schema = database()
UNION ALL SELECT 'EVENT', event_name FROM information_schema.events WHERE event_schema = database();
"""
_HISTORY = "SYSTEM VERSIONED"
_KINDS = {"BASE TABLE": "tables", _HISTORY: "tables", "PACKAGE BODY": "package_bodies"}


class _Ended(RunbookError):
    """The client that executes the script ended; its own failure tells why."""


def create(source: Source, scratch: str, figures: t.Mapping[str, t.Any], work: Work, prefix: str = "") -> None:
    """Make a database with the default character set of the dump's."""
    charset, collation = figures.get("charset"), figures.get("collation")
    suffix = f" CHARACTER SET {quoted(charset)} COLLATE {quoted(collation)}" if charset and collation else ""
    try:
        _mysql_survey.ask(source, f"{prefix}CREATE DATABASE {quoted(scratch)}{suffix};", work, database=None)
    except CommandFailed as error:
        raise RunbookError(
            f"no scratch database could be made: {error}. Grant all on `{SCRATCH_PREFIX}%`.* to the user of this source "
            "(underscores with a backslash before each), or set verify: archive."
        ) from error


def fill(source: Source, database: str, path: str, work: Work, prefix: str = "", *, keep: bool = False) -> None:
    """Execute `prefix` and the copy `path` in `database`; with `keep` definers and events stay as they were."""
    script = Script(database, keep)

    def talk(requests: t.IO[bytes], _answers: t.IO[bytes]) -> None:
        def write(piece: bytes) -> None:
            try:
                requests.write(piece)
            except BrokenPipeError as error:
                raise _Ended from error

        with contextlib.suppress(_Ended):
            write(prefix.encode())
            through(path, script, write, work)

    argv = [*mariadb(source, database), "--max-allowed-packet=1G"]
    try:
        work.commands.converse([argv], talk, **place(source), timeout=work.seconds())
    except CommandFailed as error:
        # What the client itself refuses has no number.
        code = re.search(r"^ERROR (?:(\d+) |at line)", error.stderr, re.MULTILINE)
        if (
            error.rc in (124, 137)
            or code is None
            or int(code[1] or 0) in _CIRCUMSTANCES
            or "No space left" in error.stderr
        ):
            raise
        raise Mismatch(f"{path}: cannot be restored: {error}") from error


def through(path: str, script: Script, write: t.Callable[[bytes], object], work: Work) -> None:
    """Unpack the copy, and write what `script` makes of it. Mismatch when it is not whole."""

    def talk(_requests: t.IO[bytes], content: t.IO[bytes]) -> None:
        for piece in iter(lambda: content.read(PIECE), b""):
            write(script.feed(piece))

    try:
        work.commands.converse(work.unpack(path), talk, timeout=work.seconds())
        script.finish()
    except CommandFailed as error:
        raise Mismatch(f"{path}: cannot be read: {error}") from error
    except Mismatch as error:
        raise Mismatch(f"{path}: {error}") from error


def count(source: Source, scratch: str, figures: t.Mapping[str, t.Any], work: Work) -> dict[str, t.Any]:
    """Rows of the tables whose rows are in the dump, and numbers of objects by kind."""
    rows = _mysql_survey.ask(source, _OBJECTS, work, database=scratch)
    kinds = {row["name"]: row["kind"] for row in rows if _KINDS.get(row["kind"]) == "tables"}
    wanted = [name for name in figures.get("tables", kinds) if name in kinds]
    selects = [
        f"SELECT {number} AS table_number, count(*) AS table_rows FROM {quoted(name)}"  # noqa: S608 - quoted
        + (" FOR SYSTEM_TIME ALL" if kinds[name] == _HISTORY else "")
        for number, name in enumerate(wanted)
    ]
    sql = "".join(f"{select};\n" for select in selects)
    connection = {**source, "database": scratch}
    text = _mysql_survey.answer(connection, sql, work, work.seconds(), "--skip-column-names") if selects else ""
    counted = [line.split("\t") for line in text.splitlines()]
    objects: dict[str, int] = {}
    for row in rows:
        kind = _KINDS.get(row["kind"]) or row["kind"].lower().replace(" ", "_") + "s"
        objects[kind] = objects.get(kind, 0) + 1
    return {"tables": {wanted[int(number)]: int(each) for number, each in counted}, "objects": objects}


def compare(path: str, found: t.Mapping[str, t.Any], figures: t.Mapping[str, t.Any]) -> None:
    """Mismatch when `found`, which `count` gave, is not what `figures` of the dump say."""
    for key in ("objects", "tables"):
        expected = figures.get(key, found[key])
        names = sorted(name for name in {*found[key], *expected} if found[key].get(name) != expected.get(name))
        if names:
            shown = ", ".join(
                f"{name} {expected.get(name, 'none')} -> {found[key].get(name, 'none')}" for name in names[:3]
            )
            raise Mismatch(f"{path}: {len(names)} {key} of the restored copy differ from those of the dump: {shown}")


def drop(source: Source, name: str, work: Work, prefix: str = "") -> None:
    """Drop a scratch database, even past the deadline."""
    work = work._replace(deadline=time.monotonic() + _mysql_survey.QUERY_SECONDS)
    _mysql_survey.ask(source, f"{prefix}DROP DATABASE IF EXISTS {quoted(name)};", work, database=None)


def quiet(source: Source, work: Work) -> str:
    """A prefix for statements that keeps a scratch database out of the binary log, so off the replicas, where the user may do that."""
    sql = "SET SESSION sql_log_bin=0;"
    connection = {**source, "database": None}
    return "" if mysql.query(work.commands, connection, sql, _mysql_survey.QUERY_SECONDS, check=False).rc else sql


def mariadb(source: Source, database: str) -> list[str]:
    """The client, connected to `database`."""
    return [*_mysql_survey.client(source), f"--database={database}"]


def place(source: Source) -> dict[str, t.Any]:
    """Where, as whom and with which secrets a client runs, for the command gateway."""
    return _mysql_survey.place(source)
