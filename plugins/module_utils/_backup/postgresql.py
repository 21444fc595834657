# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL: pg_dump in custom format, restored into a scratch database of the same server for the proof.

One psql session exports a snapshot; pg_dump uses it, and the rows are counted in it, so that the figures are those of
the dump however busy the writers are.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import re
import secrets
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _packing, _postgresql_sql
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import (
    Dump,
    Mismatch,
    Preflight,
    Source,
    Work,
)
from ansible_collections.sre.runbooks.plugins.module_utils._core import postgresql
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, InputError, RunbookError

OPTIONS: dict[str, t.Any] = {
    **postgresql.CONNECTION,
    "database": {"type": "str"},
    "exclude": {"type": "list", "elements": "str", "default": []},
}
EXTENSION = ".dump"
QUERY_SECONDS = 60.0
# A lock that a migration holds ends the dump with a message instead of keeping it waiting for ever.
LOCK_SECONDS = 60
SCRATCH_PREFIX = "sre_runbooks_verify_"
_END = b"-- end of answer"


def check(source: dict[str, t.Any], where: str) -> None:
    """The database is called as the source, unless told. libpq takes a name with `=` or `://` for a connection string."""
    database = source["database"] = source["name"] if source["database"] is None else source["database"]
    if not database or "=" in database or "://" in database:
        raise InputError(
            f"{where}.database",
            database,
            "is no name of a database",
            "Give the name alone; host, port and user are options.",
        )


def preflight(source: Source, work: Work) -> Preflight:
    """The server answers, the database exists, and pg_dump is not older than the server."""
    try:
        server = json.loads(_query(source, _postgresql_sql.SERVER, work))
    except CommandFailed as error:
        raise RunbookError(
            f"database {source['database']}: {error}. See that the server runs, and check database, host, port, user, "
            "password and run_as of this source."
        ) from error
    client = _client_version(source, work)
    if int(client.split(".")[0]) < server["number"] // 10000:
        raise RunbookError(
            f"pg_dump {client} cannot dump a server of version {server['version']}. "
            f"Install the package postgresql-client-{server['number'] // 10000}."
        )
    return Preflight(server["size"], 0, {"server": server["version"], "client": client})


def sweep(source: Source, work: Work) -> list[str]:
    """Drop the scratch databases of killed runs. The token in their names is this folder's, whose lock is ours."""
    text = _query(
        source, _postgresql_sql.SCRATCH.format(prefix=f"{SCRATCH_PREFIX}{work.token}_".replace("_", r"\_")), work
    )
    names = text.splitlines()
    for name in names:
        _drop(source, name, work)
    return [f"database {name}" for name in names]


def dump(source: Source, partial: str, work: Work) -> Dump:
    """Dump in the snapshot of a session that meanwhile counts rows, when the copy is to be compared with them."""
    results: dict[str, t.Any] = {}
    excluded = _excluded(source, work)

    def talk(requests: t.IO[bytes], answers: t.IO[bytes]) -> None:
        _ask(requests, _postgresql_sql.SNAPSHOT)
        answer = _answer(answers)
        if answer is None:
            return
        if work.level == "restored":
            _ask(requests, _postgresql_sql.FIGURES)
        argv = [
            postgresql.client("pg_dump", source), "--format=custom", "--compress=0", f"--snapshot={answer[-1]}",
            f"--lock-wait-timeout={LOCK_SECONDS}s", *[f"--exclude-table={_pattern(*table)}" for table in excluded],
            *postgresql.arguments(source), f"--dbname={source['database']}",
        ]  # fmt: skip
        stages = [argv, *work.packing.pack()]
        results["sha256"] = _packing.store(work.commands, stages, partial, **_place(source), timeout=work.seconds())
        results["answer"] = _answer(answers) if work.level == "restored" else []

    argv = [postgresql.client("psql", source), *_PSQL, *postgresql.arguments(source), f"--dbname={source['database']}"]
    work.commands.converse([argv], talk, **_place(source), timeout=work.seconds())
    if results.get("answer") is None:
        raise RunbookError("the session that holds the snapshot ended early. See the server's log.")
    return Dump(results["sha256"], _figures(results["answer"], source["exclude"]))


def read(source: Source, path: str, work: Work) -> dict[str, t.Any]:
    """Turn the whole archive into a script that nobody runs: every block of it is read."""
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
    scratch = f"{SCRATCH_PREFIX}{work.token}_{secrets.token_hex(4)}"
    argv = [
        postgresql.client("pg_restore", source), "--exit-on-error", "--no-owner", "--no-privileges", "--no-comments",
        "--no-tablespaces", "--no-security-labels", "--no-publications", "--no-subscriptions",
        *postgresql.arguments(source), f"--dbname={scratch}",
    ]  # fmt: skip
    place = _place(source)
    place["environment"]["PGOPTIONS"] = "-c synchronous_commit=off"
    template = json.loads(_query(source, _postgresql_sql.LOCALE, work))
    started = time.monotonic()
    try:
        _query(source, _postgresql_sql.create(scratch, template), work)
        try:
            work.commands.pipeline([*work.unpack(path), argv], **place, timeout=work.seconds(), at=-1)
        except CommandFailed as error:
            raise _verdict(path, error) from error
        seconds = time.monotonic() - started
        lines = _query(source, _postgresql_sql.FIGURES, work, database=scratch, limit=None)
    except BaseException:
        # What went wrong first is what counts; a database that stays is swept by the next run.
        with contextlib.suppress(RunbookError):
            _drop(source, scratch, work)
        raise
    _drop(source, scratch, work)
    found = _figures(lines.splitlines(), source["exclude"])
    if figures.get("tables"):
        _compare(path, found, figures)
    return {**found["objects"], "rows": sum(found["tables"].values()), "restore_seconds": round(seconds, 3)}


def _verdict(path: str, error: CommandFailed) -> RunbookError:
    """A restore that ran out of time or room says nothing about the copy."""
    text = str(error)
    if error.rc in (124, 137) or any(
        sign in text for sign in ("No space left", "could not connect", "connection to server")
    ):
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
    tables = [json.loads(line) for line in _query(source, _postgresql_sql.TABLES, work).splitlines()]
    return [(schema, name) for schema, name in tables if _matches(schema, name, source["exclude"])]


def _matches(schema: str, name: str, patterns: t.Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(f"{schema}.{name}" if "." in pattern else name, pattern) for pattern in patterns)


def _pattern(schema: str, name: str) -> str:
    """A pattern of pg_dump that matches one table: in double quotes nothing has a special meaning."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in (schema, name))


_PSQL = ["--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--set=ON_ERROR_STOP=1"]


def _place(source: Source) -> dict[str, t.Any]:
    return {
        "target": postgresql.target(source),
        "environment": postgresql.environment(),
        "secrets": postgresql.secrets(source),
    }


def _query(
    source: Source, sql: str, work: Work, database: str | None = None, limit: float | None = QUERY_SECONDS
) -> str:
    """Run statements within `limit` seconds and the source's deadline; rows come back as lines."""
    limit = min((each for each in (limit, work.seconds()) if each is not None), default=None)
    argv = [
        postgresql.client("psql", source),
        *_PSQL,
        *postgresql.arguments(source),
        f"--dbname={database or source['database']}",
    ]
    return work.commands.run(argv, data=sql, timeout=limit, **_place(source)).stdout.rstrip("\n")


def _drop(source: Source, name: str, work: Work) -> None:
    """Drop a scratch database, even past the deadline."""
    work = work._replace(deadline=time.monotonic() + QUERY_SECONDS)
    _query(source, _postgresql_sql.DROP.format(name=name), work, database=None)


def _ask(requests: t.IO[bytes], sql: str) -> None:
    requests.write(sql.encode() + b"\n\\echo " + _END + b"\n")
    requests.flush()


def _answer(answers: t.IO[bytes]) -> list[str] | None:
    """The lines up to the end mark; None when the session ended before."""
    lines: list[str] = []
    for line in iter(answers.readline, b""):
        if line.rstrip(b"\n") == _END:
            return lines
        lines.append(line.rstrip(b"\n").decode())
    return None


def _client_version(source: Source, work: Work) -> str:
    done = work.commands.run(
        [postgresql.client("pg_dump", source), "--version"], target=postgresql.target(source), timeout=QUERY_SECONDS
    )
    match = re.search(r"(\d+(?:\.\d+)*)", done.stdout)
    if match is None:
        raise RunbookError(
            f"pg_dump --version says {done.stdout.strip()!r}, which names no version. Install postgresql-client."
        )
    return match[1]
