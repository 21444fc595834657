# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL: restored into a new database of the same server, compared, and renamed together with the old one.

ALTER DATABASE RENAME may stand in a transaction, so that both names change at one moment; the old database stays beside
the new one, whole and with all its settings.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import (
    _postgresql_needs,
    _postgresql_session,
)
from ansible_collections.sre.runbooks.plugins.module_utils._backup import _postgresql_sql as backup_sql
from ansible_collections.sre.runbooks.plugins.module_utils._backup import postgresql as backup
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Mismatch
from ansible_collections.sre.runbooks.plugins.module_utils._core import postgresql
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._restore import _postgresql_globals
from ansible_collections.sre.runbooks.plugins.module_utils._restore import _postgresql_sql as sql
from ansible_collections.sre.runbooks.plugins.module_utils._restore._engine import Job, Look

SCRATCH_PREFIX = "sre_runbooks_restore_"
KEPT = "_before_restore_"
# NAMEDATALEN - 1: the server would cut a longer name, and two could become one.
NAME_BYTES = 63
ATTEMPTS = 3
END_SECONDS = 10.0
_LOCAL = (None, "", "localhost", "127.0.0.1", "::1")
_ROLE = re.compile(r'role "(?P<role>[^"]+)" does not exist')
_CREATE = re.compile(r'CREATE DATABASE (?:"(?:[^"]|"")+"|\S+) (?P<options>WITH .*);')
_OWNER = re.compile(r'ALTER DATABASE (?:"(?:[^"]|"")+"|\S+) OWNER TO (?P<owner>.*);')
_IN_USE = "is being accessed by other users"


def aim(source: dict[str, t.Any], to: str | None) -> dict[str, t.Any]:
    """Restore into the database `to`."""
    if source["globals"]:
        return _postgresql_globals.aim(source, to)
    aimed = {**source, "database": source["database"] if to is None else to}
    backup.check(aimed, "to")
    if len(os.fsencode(aimed["database"])) > NAME_BYTES:
        raise InputError("to", aimed["database"], f"is longer than {NAME_BYTES} bytes", "Choose a shorter name.")
    return aimed


def target(source: t.Mapping[str, t.Any]) -> str:
    """Server and database."""
    place = source["container"] or ":".join(str(each) for each in (source["host"], source["port"]) if each)
    name = "the cluster's globals" if source["globals"] else source["database"]
    return f"{name} on {place}" if place else str(name)


def look(job: Job) -> Look:
    """The server answers and may be given a database with the extensions and roles of the dump; who uses the old one."""
    if job.source["globals"]:
        return _postgresql_globals.look(job)
    server = _server(job)
    figures = job.manifest["figures"]
    if not server["createdb"]:
        raise RunbookError(
            f"the user {server['user']} may not create databases. Let one restore who may (user or run_as in connection)."
        )
    if server["exists"] and not (server["superuser"] or server["owned"]):
        raise RunbookError(
            f"the user {server['user']} may not rename the database {job.source['database']}. Let its owner restore it."
        )
    _postgresql_needs.extensions(figures.get("extensions") or {}, server["offered"], server)
    known = {*server["roles"], *_postgresql_globals.promised(job)}
    missing = sorted(set(figures.get("roles") or []) - known) if job.owners else []
    if missing:
        raise _roles_missing(missing)
    room: tuple[tuple[str, int, int], ...] = ()
    host = job.source["host"]
    local = not job.source["container"] and (host in _LOCAL or str(host).startswith("/"))
    if local and server["folder"] and os.path.isdir(server["folder"]):
        info = os.statvfs(server["folder"])
        needed = int(figures.get("database_bytes") or job.manifest.get("source_bytes") or 0)
        room = ((server["folder"], info.f_bavail * info.f_frsize, needed),)
    shape = {"size_bytes": server["size"], "server": server["version"]} if server["exists"] else {}
    warnings = (
        () if server["exists"] or not job.owners else ("settings and grants of the database itself are not in a dump",)
    )
    return Look(server["exists"], server["size"] or 0, tuple(_users(job)), room, warnings, shape)


def recover(job: Job) -> list[str]:
    """Drop what killed runs of this host have built for this target; the swap itself is one transaction."""
    if job.source["globals"]:
        return []
    prefix = f"{SCRATCH_PREFIX}{job.token}_"
    # The clients of a killed run go on: what they create or rename would come after the sweep.
    busy = sql.fill(sql.END_CLIENTS, pattern=sql.like(f"%{prefix}", 1))
    deadline = time.monotonic() + END_SECONDS
    while _ask(job, busy) != "0" and time.monotonic() < deadline:
        time.sleep(0.05)
    names = _ask(job, sql.fill(sql.BEGINNING, pattern=sql.like(prefix))).splitlines()
    for name in names:
        _drop(job, name)
    job.journal.clear()
    return [f"dropped the database {name}" for name in names]


def taken(job: Job) -> bool:
    """Whether an old one is kept under this job's stamp already."""
    return not job.source["globals"] and _kept_name(job) in _server(job)["kept"]


def build(job: Job) -> dict[str, t.Any]:
    """Restore into a new database with everything that belongs to the old one; compare objects and rows."""
    if job.source["globals"]:
        return _postgresql_globals.build(job)
    new = f"{SCRATCH_PREFIX}{job.token}_{secrets.token_hex(4)}"
    job.journal.write({"new": new})
    started = time.monotonic()
    server = _server(job)
    create, owner = _creation(job, new, server)
    _ask(job, create)
    argv = [
        postgresql.client("pg_restore", job.source), "--exit-on-error",
        *([] if job.owners else ["--no-owner", "--no-privileges"]),
        *postgresql.arguments(job.source), f"--dbname={new}",
    ]  # fmt: skip
    place = _postgresql_session.place(job.source, "-c synchronous_commit=off")
    try:
        job.work.commands.pipeline([*job.work.unpack(job.path), argv], **place, timeout=job.work.seconds(), at=-1)
    except CommandFailed as error:
        raise _explained(job, error) from error
    if job.owners:
        names = {"new": sql.literal(new), "old": sql.literal(job.source["database"])}
        if server["exists"]:
            _ask(job, sql.fill(sql.PROPERTIES, **names))
        elif owner:
            _ask(job, f"ALTER DATABASE {sql.identifier(new)} OWNER TO {owner};")
    # A database without statistics answers its first questions slowly.
    _postgresql_session.query(job.source, "ANALYZE;", job.work, new, None)
    seconds = time.monotonic() - started
    exclude = job.manifest["source"].get("exclude") or []
    found = backup._figures(_postgresql_session.rows(job.source, backup_sql.FIGURES, job.work, new), exclude)
    problem = None
    if "tables" in job.manifest["figures"]:
        try:
            backup._compare(job.path, found, job.manifest["figures"])
        except Mismatch as error:
            if not job.force:
                raise
            problem = str(error)
    rows = sum(found["tables"].values())
    done = {**found["objects"], "rows": rows, "restore_seconds": round(seconds, 3)}
    return {**done, **({"problem": problem} if problem else {})}


def swap(job: Job) -> list[str]:
    """Rename both in one transaction; sessions are ended only where that was asked for."""
    if job.source["globals"]:
        return _postgresql_globals.swap(job)
    new = job.journal.read()["new"]
    name = job.source["database"]
    kept = _kept_name(job) if _server(job)["exists"] else None
    statements = sql.swap(name, new, kept)
    if job.disconnect:
        statements = sql.fill(sql.DISCONNECT, name=sql.literal(name)) + statements
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _ask(job, statements)
            break
        except CommandFailed as error:
            if _IN_USE not in str(error):
                raise
            if not job.disconnect or attempt == ATTEMPTS:
                users = ", ".join(_users(job)) or "sessions that have just ended"
                raise RunbookError(
                    f"the database {name} is in use by {users}. Stop them, or set disconnect to end their sessions."
                ) from error
    return [kept] if kept else []


def discard(job: Job) -> None:
    """Drop what was being built, past the deadline too."""
    recover(job._replace(work=job.work._replace(deadline=None)))


def prune(job: Job, keep: int) -> list[str]:
    """Drop all but the newest `keep` old ones."""
    if job.source["globals"]:
        return []
    gone = _server(job)["kept"][keep:]
    for name in gone:
        _drop(job, name)
    return list(gone)


def _server(job: Job) -> dict[str, t.Any]:
    name = job.source["database"]
    text = sql.fill(sql.LOOK, name=sql.literal(name), prefix=sql.like(_kept_prefix(name)))
    maintenance = {**job.source, "database": _maintenance(job)}
    server: dict[str, t.Any] = {}
    for line in _postgresql_session.first_query(maintenance, text, job.work).splitlines():
        server.update(json.loads(line))
    kept = re.compile(re.escape(_kept_prefix(name)) + r"\d{8}T\d{6}Z")
    server["kept"] = [each for each in server["kept"] if kept.fullmatch(each)]
    return server


def _users(job: Job) -> list[str]:
    lines = _ask(job, sql.fill(sql.USERS, name=sql.literal(job.source["database"]))).splitlines()
    return ["{} (user {}, from {}, process {})".format(*json.loads(line)) for line in lines]


def _maintenance(job: Job) -> str:
    """A database to be connected with while the target is renamed."""
    return "template1" if job.source["database"] == "postgres" else "postgres"


def _ask(job: Job, text: str) -> str:
    return _postgresql_session.query(job.source, text, job.work, _maintenance(job))


def _drop(job: Job, name: str) -> None:
    with contextlib.suppress(CommandFailed):
        _ask(job, sql.fill(sql.DISCONNECT, name=sql.literal(name)))
    if name.startswith(SCRATCH_PREFIX):
        # DROP DATABASE begins with a checkpoint, for which a disk that this database has filled has no room.
        with contextlib.suppress(CommandFailed):
            _postgresql_session.query(job.source, sql.EMPTY, job.work, name)
    _ask(job, f"DROP DATABASE IF EXISTS {sql.identifier(name)};")


def _creation(job: Job, new: str, server: t.Mapping[str, t.Any]) -> tuple[str, str | None]:
    """The statement that creates the new database as the old one is, else as the dump says; then also its owner, quoted."""
    if server["exists"]:
        create = backup_sql.create(new, server["row"]).rstrip(";")
        return f"{create} TABLESPACE {sql.identifier(server['tablespace'])};", None
    found: dict[str, str] = {}

    def talk(_input: t.IO[bytes], script: t.IO[bytes]) -> None:
        for line in script:
            for key, pattern in (("options", _CREATE), ("owner", _OWNER)):
                match = pattern.fullmatch(line.decode("utf-8", "surrogateescape").rstrip("\n"))
                if match:
                    found.setdefault(key, match[key])
            if line.startswith(b"\\connect") or len(found) == 2:
                break

    argv = [postgresql.client("pg_restore", job.source), "--create", "--schema-only", "--file=-"]
    place = _postgresql_session.place(job.source)
    try:
        job.work.commands.converse([*job.work.unpack(job.path), argv], talk, **place, timeout=job.work.seconds(), at=-1)
    except CommandFailed as error:
        # Who reads no more than the beginning ends those who write (SIGPIPE, 128 + 13).
        if error.rc != 141 or "options" not in found:
            raise _explained(job, error) from error
    options = found.get("options", "WITH TEMPLATE = template0")
    # Tablespaces belong to a server, not to a database.
    options = re.sub(r" TABLESPACE = \S+", "", options)
    return f"CREATE DATABASE {sql.identifier(new)} {options};", found.get("owner")


def _kept_prefix(name: str) -> str:
    """The beginning of the names of old ones: cut between characters so that the stamp's 16 bytes fit."""
    room = NAME_BYTES - len(KEPT) - 16
    return name.encode()[:room].decode(errors="ignore") + KEPT


def _kept_name(job: Job) -> str:
    return _kept_prefix(job.source["database"]) + job.stamp


def _roles_missing(names: t.Sequence[str]) -> RunbookError:
    return RunbookError(
        f"the server lacks roles that own something in the dump: {', '.join(names)}. Restore the cluster's globals first (the "
        "copy of a source with globals: true), create the roles, or set privileges to false."
    )


def _explained(job: Job, error: CommandFailed) -> RunbookError:
    match = _ROLE.search(error.stderr)
    if match and job.owners:
        return _roles_missing([match["role"]])
    return backup._verdict(job.path, error)
