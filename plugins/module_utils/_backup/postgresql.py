# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL: pg_dump in custom format, restored into a scratch database of the same server for the proof.

One psql session exports a snapshot; pg_dump uses it, and the rows are counted in it, so that the figures are those of
the dump however busy the writers are. What belongs to the whole cluster (`globals`) has a file of its own.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import re
import secrets
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import (
    _packing,
    _postgresql_globals,
    _postgresql_needs,
    _postgresql_sql,
)
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import (
    Dump,
    Mismatch,
    Preflight,
    Source,
    Work,
)
from ansible_collections.sre.runbooks.plugins.module_utils._backup._postgresql_session import (
    answer,
    ask,
    client_version,
    first_query,
    place,
    psql,
    query,
    query_past_deadline,
    rows,
)
from ansible_collections.sre.runbooks.plugins.module_utils._core import postgresql
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, InputError, RunbookError

OPTIONS: dict[str, t.Any] = {
    **postgresql.CONNECTION,
    "database": {"type": "str"},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "globals": {"type": "bool", "default": False},
}
EXTENSION = ".dump"
# A lock that a migration holds ends the dump with a message instead of keeping it waiting for ever.
LOCK_SECONDS = 60
# The client of a killed run goes on: what it creates would come after the sweep.
CREATE_SECONDS = 10.0
SCRATCH_PREFIX = "sre_runbooks_verify_"
# Between the moment of the snapshot and that of pg_dump's locks a table can be dropped or rewritten: then begin anew.
ATTEMPTS = 3
# Reasons of a failed restore that speak of the server, not of the copy.
_CIRCUMSTANCES = (
    "No space left", "could not connect", "connection to server", "server closed the connection", "terminating connection",
    "no connection to the server", "out of memory", "out of shared memory", "permission denied", "must be superuser",
    "must be owner",
)  # fmt: skip
_VANISHED = re.compile(r"relation .* does not exist|could not open relation|cache lookup failed|relation with OID")


def extension(source: Source) -> str:
    """Of a database's copies, or of those of a cluster's globals."""
    return _postgresql_globals.EXTENSION if source["globals"] else EXTENSION


def check(source: dict[str, t.Any], where: str) -> None:
    """The database is called as the source, unless told. libpq takes a name with `=` or `://` for a connection string."""
    if source["globals"]:
        _postgresql_globals.check(source, where)
    database = source["database"] = source["name"] if source["database"] is None else source["database"]
    if not database or "=" in database or "://" in database:
        raise InputError(
            f"{where}.database",
            database,
            "is no name of a database",
            "Give the name alone; host, port and user are options.",
        )


def programs(source: Source, level: str) -> list[str]:
    """The server's own client programs, where it is not in a container."""
    names = ["psql", "pg_dumpall"] if source["globals"] else ["psql", "pg_dump"]
    if level != "checksum" and not source["globals"]:
        names.append("pg_restore")
    return [] if source["container"] else [postgresql.client(name, source) for name in names]


def preflight(source: Source, work: Work) -> Preflight:
    """The server answers, the database exists, and pg_dump is not older than the server."""
    if source["globals"]:
        return _postgresql_globals.preflight(source, work)
    server = json.loads(first_query(source, _postgresql_sql.SERVER, work))
    client = client_version(source, "pg_dump", server, work)
    return Preflight(server["size"], 0, {"server": server["version"], "client": client})


def sweep(source: Source, work: Work) -> list[str]:
    """Drop the scratch databases of killed runs. The token in their names is this folder's, whose lock is ours."""
    if source["globals"]:
        return _postgresql_globals.sweep(work)
    sql = _postgresql_sql.SCRATCH.format(prefix=f"{SCRATCH_PREFIX}{work.token}_".replace("_", r"\_"))
    deadline = time.monotonic() + CREATE_SECONDS
    creating, *names = query(source, sql, work).splitlines()
    while creating != "0" and time.monotonic() < deadline:
        time.sleep(0.05)
        creating, *names = query(source, sql, work).splitlines()
    for name in names:
        _drop(source, name, work)
    return [f"database {name}" for name in names]


def dump(source: Source, partial: str, work: Work) -> Dump:
    """Dump; once more when a table was dropped before pg_dump could hold it."""
    if source["globals"]:
        return _postgresql_globals.dump(source, partial, work)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _dump(source, partial, work)
        except RunbookError as error:
            if attempt == ATTEMPTS or not _VANISHED.search(str(error)):
                raise
        os.truncate(partial, 0)
    raise ValueError("the last attempt returns or raises")


def _dump(source: Source, partial: str, work: Work) -> Dump:
    """Dump in the snapshot of a session that meanwhile counts rows, when the copy is to be compared with them."""
    results: dict[str, t.Any] = {}
    excluded = _excluded(source, work)

    def talk(requests: t.IO[bytes], answers: t.IO[bytes]) -> None:
        ask(requests, _postgresql_sql.SNAPSHOT)
        snapshot = answer(answers)
        if snapshot is None:
            return
        ask(requests, _postgresql_needs.NEEDS + (_postgresql_sql.FIGURES if work.level == "restored" else ""))
        argv = [
            postgresql.client("pg_dump", source), "--format=custom", "--compress=0", f"--snapshot={snapshot[-1]}",
            f"--lock-wait-timeout={LOCK_SECONDS}s", *[f"--exclude-table={_pattern(*table)}" for table in excluded],
            *postgresql.arguments(source), f"--dbname={source['database']}",
        ]  # fmt: skip
        stages = [argv, *work.packing.pack()]
        results["sha256"] = _packing.store(work.commands, stages, partial, **place(source), timeout=work.seconds())
        results["answer"] = answer(answers)

    work.commands.converse([psql(source)], talk, **place(source), timeout=work.seconds())
    if results.get("answer") is None:
        raise RunbookError("the session that holds the snapshot ended early. See the server's log.")
    needs, *lines = results["answer"]
    figures = {**_figures(lines, source["exclude"]), **json.loads(needs)} if lines else json.loads(needs)
    return Dump(results["sha256"], figures)


def read(source: Source, path: str, work: Work) -> dict[str, t.Any]:
    """Turn the whole archive into a script that nobody runs: every block of it is read."""
    if source["globals"]:
        return _postgresql_globals.read(path, work)
    argv = [postgresql.client("pg_restore", source), "--file=/dev/null"]
    try:
        work.commands.pipeline(
            [*work.unpack(path), argv], target=postgresql.target(source), timeout=work.seconds(), at=-1
        )
    except CommandFailed as error:
        raise Mismatch(f"{path}: cannot be read: {error}") from error
    return {}


def restore(source: Source, path: str, figures: t.Mapping[str, t.Any], work: Work) -> dict[str, t.Any]:
    """Restore into a scratch database, compare objects and rows, drop the database whatever happens."""
    if source["globals"]:
        return _postgresql_globals.restore(source, path, figures, work)
    template = _postgresql_needs.check(source, figures, work)
    scratch = f"{SCRATCH_PREFIX}{work.token}_{secrets.token_hex(4)}"
    argv = [
        postgresql.client("pg_restore", source), "--exit-on-error", "--no-owner", "--no-privileges", "--no-comments",
        "--no-tablespaces", "--no-security-labels", "--no-publications", "--no-subscriptions",
        *postgresql.arguments(source), f"--dbname={scratch}",
    ]  # fmt: skip
    started = time.monotonic()
    try:
        query(source, _postgresql_sql.create(scratch, template), work)
        try:
            where = place(source, "-c synchronous_commit=off")
            work.commands.pipeline([*work.unpack(path), argv], **where, timeout=work.seconds(), at=-1)
        except CommandFailed as error:
            raise _verdict(path, error) from error
        seconds = time.monotonic() - started
        lines = rows(source, _postgresql_sql.FIGURES, work, scratch)
    except BaseException:
        # What went wrong first is what counts; a database that stays is swept by the next run.
        with contextlib.suppress(RunbookError):
            _drop(source, scratch, work)
        raise
    _drop(source, scratch, work)
    found = _figures(lines, source["exclude"])
    # A dump that was to be proven as `archive` at most counted nothing.
    counted = "tables" in figures
    if counted:
        _compare(path, found, figures)
    told = {} if counted else {"compared": False}
    return {**found["objects"], **told, "rows": sum(found["tables"].values()), "restore_seconds": round(seconds, 3)}


def _verdict(path: str, error: CommandFailed) -> RunbookError:
    """A restore that ran out of time or room says nothing about the copy."""
    text = str(error)
    if error.rc in (124, 137) or any(sign in text for sign in _CIRCUMSTANCES):
        return error
    return Mismatch(f"{path}: cannot be restored: {text}")


def _compare(path: str, found: t.Mapping[str, t.Any], figures: t.Mapping[str, t.Any]) -> None:
    for key in ("objects", "tables"):
        names = sorted(name for name in {*found[key], *figures[key]} if found[key].get(name) != figures[key].get(name))
        if names:
            shown = ", ".join(
                f"{name} {figures[key].get(name, 'none')} -> {found[key].get(name, 'none')}" for name in names[:3]
            )
            raise Mismatch(
                f"{path}: {len(names)} {key} of the restored copy differ from the source's in the dump: {shown}"
            )


def _figures(lines: t.Sequence[str], exclude: t.Sequence[str]) -> dict[str, t.Any]:
    """Rows by table and numbers of objects by kind, from the lines that FIGURES gives."""
    figures: dict[str, t.Any] = {"tables": {}, "objects": {}}
    for line in lines:
        kind, schema, name, number = json.loads(line)
        if kind == "rows" and not _matches(schema, name, exclude):
            figures["tables"][f"{schema}.{name}"] = number
        elif kind == "objects" and not exclude:
            # What depends on an excluded table is not in the dump either, so that only tables can be compared.
            figures["objects"][name] = number
    figures["objects"]["tables"] = len(figures["tables"])
    return figures


def _excluded(source: Source, work: Work) -> list[tuple[str, str]]:
    if not source["exclude"]:
        return []
    tables = [json.loads(line) for line in rows(source, _postgresql_sql.TABLES, work)]
    return [(schema, name) for schema, name in tables if _matches(schema, name, source["exclude"])]


def _matches(schema: str, name: str, patterns: t.Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(f"{schema}.{name}" if "." in pattern else name, pattern) for pattern in patterns)


def _pattern(schema: str, name: str) -> str:
    """A pattern of pg_dump that matches one table: in double quotes nothing has a special meaning."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in (schema, name))


def _drop(source: Source, name: str, work: Work) -> None:
    """Drop a scratch database, even past the deadline."""
    query_past_deadline(source, _postgresql_sql.DROP.format(name=name), work)
