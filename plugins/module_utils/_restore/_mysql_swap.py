# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How two databases of MariaDB or MySQL change places, for which the server has no statement.

Tables move by one RENAME TABLE of all of them, which is atomic. Triggers would keep it from that, and views, routines and
events do not move at all: they are taken away before, and made again after from what the dump program wrote of them
before. That they are missing for this moment is the price; what the journal holds lets the next run end it or take it back.
Events are disabled in databases that are built or kept, where they would go on changing rows.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _mysql_fill, _mysql_survey, _packing
from ansible_collections.sre.runbooks.plugins.module_utils._backup._mysql_script import Script, quoted
from ansible_collections.sre.runbooks.plugins.module_utils._core import mysql
from ansible_collections.sre.runbooks.plugins.module_utils._restore._engine import Job

# A session that holds a table keeps the swap waiting for so long at most.
LOCK_SECONDS = 30
_OBJECTS = """
SELECT table_type AS kind, table_name AS name FROM information_schema.tables WHERE table_schema = database()
UNION ALL SELECT routine_type, routine_name FROM information_schema.routines WHERE routine_schema = database()
UNION ALL SELECT 'TRIGGER', trigger_name FROM information_schema.triggers WHERE trigger_schema = database()
UNION ALL SELECT 'EVENT', event_name FROM information_schema.events WHERE event_schema = database();
"""
# In this order nothing is dropped that something else brings along: a package its body, a table its triggers.
_CODE = ("TRIGGER", "EVENT", "VIEW", "PROCEDURE", "FUNCTION", "PACKAGE BODY", "PACKAGE")


class Objects(t.NamedTuple):
    """What a database holds: names of tables (sequences among them), and (kind, name) of all else."""

    tables: list[str]
    code: list[tuple[str, str]]


def objects(job: Job, database: str) -> Objects:
    """Look at a database; one that does not exist holds nothing."""
    if not exists(job, database):
        return Objects([], [])
    rows = _mysql_survey.ask(job.source, _OBJECTS, job.work, database=database)
    found = [(row["kind"], row["name"]) for row in rows]
    code = [each for each in found if each[0] in _CODE]
    return Objects(
        sorted(name for kind, name in found if kind not in _CODE), sorted(code, key=lambda each: _CODE.index(each[0]))
    )


def exists(job: Job, database: str) -> bool:
    """Whether there is such a database."""
    sql = f"SELECT schema_name AS name FROM information_schema.schemata WHERE schema_name = {literal(database)};"  # noqa: S608 - quoted
    return bool(_mysql_survey.ask(job.source, sql, job.work, database=None))


def save_code(job: Job, database: str, found: Objects, path: str) -> None:
    """Write everything of `database` but its tables as a script to the file `path`.

    Routines first, for views may call them; then views; triggers and events last.
    """
    common = [
        *mysql.client("mariadb-dump", job.source), *mysql.arguments(job.source), "--default-character-set=utf8mb4", "--skip-opt",
        "--single-transaction", "--skip-lock-tables", "--quote-names", "--add-drop-table", "--no-data", "--no-tablespaces",
        "--loose-column-statistics=0", "--loose-set-gtid-purged=OFF",
    ]  # fmt: skip
    views = [name for kind, name in found.code if kind == "VIEW"]
    parts = []
    if any(kind not in ("VIEW", "TRIGGER", "EVENT") for kind, _name in found.code):
        parts.append([*common, "--no-create-info", "--routines", "--skip-triggers", "--skip-events", "--", database])
    if views:
        parts.append([*common, "--skip-triggers", "--skip-events", "--", database, *views])
    if any(kind in ("TRIGGER", "EVENT") for kind, _name in found.code):
        parts.append([*common, "--no-create-info", "--triggers", "--add-drop-trigger", "--events", "--", database])
    with open(path, "wb") as stream:
        os.fchmod(stream.fileno(), 0o600)
    for argv in parts:
        part = path + ".part"
        with open(part, "wb"):
            pass
        _packing.store(job.work.commands, [argv], part, **_mysql_fill.place(job.source), timeout=job.work.seconds())
        with open(part, "rb") as source, open(path, "ab") as sink:
            sink.write(source.read())
            sink.flush()
            os.fsync(sink.fileno())
        os.unlink(part)


def load_code(job: Job, database: str, path: str) -> None:
    """Make what `save_code` wrote in `database`; again is no harm, for each statement drops what it makes.

    A trigger that was typed in with the name of its database gets there without it.
    """
    if os.path.getsize(path) == 0:
        return
    script = Script(database, keep=True)

    def talk(requests: t.IO[bytes], _answers: t.IO[bytes]) -> None:
        with open(path, "rb") as stream:
            for piece in iter(lambda: stream.read(_mysql_fill.PIECE), b""):
                requests.write(script.feed(piece))
        script.finish()

    argv = [*_mysql_fill.mariadb(job.source, database), "--max-allowed-packet=1G"]
    job.work.commands.converse([argv], talk, **_mysql_fill.place(job.source), timeout=job.work.seconds())


def drop_code(job: Job, database: str, found: Objects, kinds: t.Container[str]) -> None:
    """Take away what keeps tables from moving, or would stay behind."""
    statements = [f"DROP {kind} IF EXISTS {quoted(name)};" for kind, name in found.code if kind in kinds]
    execute(job, database, statements)


def enabled_events(job: Job, database: str) -> list[list[str]]:
    """Name and definer of the events that fire."""
    sql = (
        "SELECT event_name AS name, definer AS definer FROM information_schema.events "  # noqa: S608 - quoted
        f"WHERE event_schema = {literal(database)} AND status = 'ENABLED';"
    )
    return [[row["name"], row["definer"]] for row in _mysql_survey.ask(job.source, sql, job.work, database=None)]


def switch_events(job: Job, database: str, events: t.Sequence[t.Sequence[str]], state: str) -> None:
    """Enable or disable events. Without a definer in the statement it would become the user of this session."""
    statements = []
    for name, definer in events:
        user, _at, host = definer.rpartition("@")
        statements.append(f"ALTER DEFINER = {quoted(user)}@{quoted(host)} EVENT {quoted(name)} {state};")
    execute(job, database, statements)


def rename(job: Job, moves: t.Sequence[tuple[str, str, t.Sequence[str]]]) -> None:
    """Move the tables of each (from, to, tables) in one statement."""
    pairs = [
        f"{quoted(here)}.{quoted(name)} TO {quoted(there)}.{quoted(name)}"
        for here, there, names in moves
        for name in names
    ]
    if pairs:
        execute(job, None, [f"SET SESSION lock_wait_timeout={LOCK_SECONDS};", f"RENAME TABLE {', '.join(pairs)};"])


def execute(job: Job, database: str | None, statements: t.Sequence[str]) -> None:
    """Run statements that give no rows. They go by the input, for a list of tables may be long."""
    if not statements:
        return
    argv = _mysql_fill.mariadb(job.source, database or "information_schema")
    job.work.commands.run(
        argv, data="\n".join(statements) + "\n", timeout=job.work.seconds(), **_mysql_fill.place(job.source)
    )


def literal(text: str) -> str:
    """`text` as a value."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


CODE = _CODE
