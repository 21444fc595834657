# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""MariaDB and MySQL: mariadb-dump or mysqldump in one transaction, restored into a scratch database of the same server.

The dump asks for no lock and no right over the whole server. Rows and objects are counted in it while it is written
(`_mysql_script`), so that the figures are those of the dump however busy the writers are. Tables of engines without
transactions (MyISAM, Aria, MEMORY) are in no snapshot: the backup warns of them, or locks them with `lock_tables`.
Users and grants (`globals`) have a file of their own.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import (
    _mysql_fill,
    _mysql_globals,
    _mysql_survey,
    _packing,
)
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import (
    Dump,
    Preflight,
    Source,
    Work,
)
from ansible_collections.sre.runbooks.plugins.module_utils._backup._mysql_script import Script, quoted
from ansible_collections.sre.runbooks.plugins.module_utils._core import mysql
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, InputError, RunbookError

OPTIONS: dict[str, t.Any] = {
    **mysql.CONNECTION,
    "exclude": {"type": "list", "elements": "str", "default": []},
    "globals": {"type": "bool", "default": False},
    "lock_tables": {"type": "bool", "default": False},
}
EXTENSION = ".sql"
# A lock that another session holds ends the wait with a message.
LOCK_SECONDS = 60
# A table that is dropped or altered before the dump comes to it ends the dump: then begin anew.
ATTEMPTS = 3
HISTORY_SINCE = (10, 11)
_SYSTEM = ("information_schema", "mysql", "performance_schema", "sys")
_CHANGED = re.compile(r"\bError 1412\b|\(1146\)|\b1146\b: ")


def extension(source: Source) -> str:
    """Of a database's copies, or of those of a server's users and grants."""
    return _mysql_globals.EXTENSION if source["globals"] else EXTENSION


def check(source: dict[str, t.Any], where: str) -> None:
    """The database is called as the source, unless told. The server's own are no databases of an application."""
    if source["globals"]:
        _mysql_globals.check(source, where)
        return
    database = source["database"] = source["name"] if source["database"] is None else source["database"]
    if not database or database.lower() in _SYSTEM:
        raise InputError(
            f"{where}.database",
            database,
            "is no database of an application",
            "Name one; users and grants are backed up with globals: true.",
        )


def programs(source: Source, level: str) -> list[str]:
    """The client programs by the names that they have here, where the server is not in a container."""
    if source["container"]:
        return []
    return [mysql.client(name, source)[0] for name in ("mariadb", "mariadb-dump")]


def preflight(source: Source, work: Work) -> Preflight:
    """The server answers, the database exists, and the dump program knows all that the server has."""
    if source["globals"]:
        return _mysql_globals.preflight(source, work)
    server = _server(source, work)
    client, _remark = _client(source, server, work)
    return Preflight(int(float(server["size_bytes"])), 0, {"server": server["version"], "client": client.text})


def sweep(source: Source, work: Work) -> list[str]:
    """Drop the scratch databases of killed runs. The token in their names is this folder's, whose lock is ours."""
    if source["globals"]:
        return _mysql_globals.sweep(work)
    prefix = f"{_mysql_fill.SCRATCH_PREFIX}{work.token}_".replace("_", r"\_")
    rows = _mysql_survey.ask(source, f"SHOW DATABASES LIKE '{prefix}%';", work, database=None)
    names = [next(iter(row.values())) for row in rows]
    for name in names:
        _mysql_fill.drop(source, name, work, _mysql_fill.quiet(source, work))
    return [f"database {name}" for name in names]


def dump(source: Source, partial: str, work: Work) -> Dump:
    """Dump; once more when a table was changed before the dump came to it."""
    if source["globals"]:
        return _mysql_globals.dump(source, partial, work)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _dump(source, partial, work)
        except CommandFailed as error:
            if attempt == ATTEMPTS or not _CHANGED.search(str(error)):
                raise
        os.truncate(partial, 0)
    raise ValueError("the last attempt returns or raises")


def _dump(source: Source, partial: str, work: Work) -> Dump:
    server = _server(source, work)
    client, remark = _client(source, server, work)
    found = _mysql_survey.survey(source, server, work)
    script = Script()
    results: dict[str, str] = {}

    def talk(_requests: t.IO[bytes], answers: t.IO[bytes]) -> None:
        def pour(sink: t.IO[bytes]) -> None:
            for piece in iter(lambda: answers.read(_mysql_fill.PIECE), b""):
                script.feed(piece)
                sink.write(piece)

        stages = work.packing.pack()
        results["sha256"] = _packing.store(work.commands, stages, partial, pour, timeout=work.seconds())

    def execute() -> None:
        work.commands.converse([_argv(source, found)], talk, **_mysql_fill.place(source), timeout=work.seconds())

    if source["lock_tables"] and found.unprotected:
        _under_locks(source, found.unprotected, execute, work)
    else:
        execute()
    script.finish()
    figures = {**script.figures, "charset": server["charset"], "collation": server["collation_name"]}
    warnings = _warnings(source, found, client, None if work.level == "restored" else remark)
    return Dump(results["sha256"], figures, tuple(warnings))


def read(source: Source, path: str, work: Work) -> dict[str, t.Any]:
    """Read the whole script, to the line that the dump program writes when it is done."""
    if source["globals"]:
        return _mysql_globals.read(path, work)
    script = Script()
    _mysql_fill.through(path, script, lambda _piece: None, work)
    return {"tables": len(script.figures["tables"]), "rows": sum(script.figures["tables"].values())}


def restore(source: Source, path: str, figures: t.Mapping[str, t.Any], work: Work) -> dict[str, t.Any]:
    """Restore into a scratch database, compare objects and rows, drop the database whatever happens."""
    if source["globals"]:
        return _mysql_globals.restore(source, path, figures, work)
    scratch = f"{_mysql_fill.SCRATCH_PREFIX}{work.token}_{secrets.token_hex(4)}"
    started = time.monotonic()
    prefix = _mysql_fill.quiet(source, work)
    try:
        _mysql_fill.create(source, scratch, figures, work, prefix)
        _mysql_fill.fill(source, scratch, path, work, prefix)
        seconds = time.monotonic() - started
        found = _mysql_fill.count(source, scratch, figures, work)
    except BaseException:
        # What went wrong first is what counts; a database that stays is swept by the next run.
        with contextlib.suppress(RunbookError):
            _mysql_fill.drop(source, scratch, work, prefix)
        raise
    _mysql_fill.drop(source, scratch, work, prefix)
    _mysql_fill.compare(path, found, figures)
    return {**found["objects"], "rows": sum(found["tables"].values()), "restore_seconds": round(seconds, 3)}


def _server(source: Source, work: Work) -> dict[str, str]:
    try:
        return _mysql_survey.ask(source, _mysql_survey.SERVER, work)[0]
    except CommandFailed as error:
        raise RunbookError(
            f"database {source['database']}: {error}. See that the server runs, and check database, host, port, socket, "
            "user, password and run_as of this source."
        ) from error


def _client(source: Source, server: t.Mapping[str, str], work: Work) -> tuple[_mysql_survey.Version, str | None]:
    """The version of the dump program, and what there is to say about the two together."""
    argv = [*mysql.client("mariadb-dump", source), "--version"]
    done = work.commands.run(argv, target=mysql.target(source), timeout=_mysql_survey.QUERY_SECONDS)
    client = _mysql_survey.version(done.stdout)
    return client, _mysql_survey.suitable(client, _mysql_survey.version(server["version"]))


def _argv(source: Source, found: _mysql_survey.Survey) -> list[str]:
    """The dump program. What an option file could spoil is said again; `loose` options are passed over by programs without them."""
    return [
        *mysql.client("mariadb-dump", source), *mysql.arguments(source), "--default-character-set=utf8mb4",
        "--opt", "--single-transaction", "--skip-lock-tables", "--quick", "--hex-blob", "--no-tablespaces", "--quote-names", "--comments",
        "--routines", "--triggers", "--events" if found.events else "--skip-events", "--skip-force", "--skip-no-data",
        "--skip-no-create-info", "--skip-insert-ignore", "--max-allowed-packet=1G", "--loose-column-statistics=0",
        "--loose-set-gtid-purged=OFF", *(["--loose-dump-history"] if found.history else []),
        *[f"--ignore-table={source['database']}.{name}" for name in found.excluded], "--", source["database"],
    ]  # fmt: skip


def _warnings(
    source: Source, found: _mysql_survey.Survey, client: _mysql_survey.Version, remark: str | None
) -> list[str]:
    warnings = [remark] if remark else []
    if found.unprotected and not source["lock_tables"]:
        names = ", ".join(sorted(found.unprotected)[:3]) + (", …" if len(found.unprotected) > 3 else "")
        warnings.append(
            f"{len(found.unprotected)} tables without transactions ({names}) are each of another moment. "
            "Make them InnoDB, or set lock_tables"
        )
    if found.hidden:
        warnings.append(
            f"the user may not see all {' and '.join(found.hidden)} of the database, which then are not in the copy. "
            "Grant SELECT, SHOW VIEW, TRIGGER and EVENT on it, for routines SELECT on mysql.proc (MySQL: SHOW_ROUTINE)"
        )
    if found.history and client.series < HISTORY_SINCE:
        warnings.append(f"mariadb-dump {client.text} leaves out the history of system-versioned tables")
    return warnings


def _under_locks(source: Source, tables: t.Sequence[str], action: t.Callable[[], None], work: Work) -> None:
    """Call `action` while these tables are locked against writers, by a session that ends with this process."""
    done: list[bool] = []

    def talk(requests: t.IO[bytes], answers: t.IO[bytes]) -> None:
        names = ", ".join(f"{quoted(name)} READ" for name in tables)
        requests.write(
            f"SET SESSION lock_wait_timeout={LOCK_SECONDS}; LOCK TABLES {names}; SELECT 'locked';\n".encode()
        )
        requests.flush()
        if answers.readline().strip() == b"locked":
            done.append(True)
            action()

    argv = [*_mysql_fill.mariadb(source, source["database"]), "--skip-column-names", "--unbuffered"]
    work.commands.converse([argv], talk, **_mysql_fill.place(source), timeout=work.seconds())
    if not done:
        raise RunbookError("the session that was to lock tables ended early. See the server's log.")
