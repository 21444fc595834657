# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""MariaDB and MySQL: restored into a new database of the same server, compared; then tables change places in one statement.

What moves how stands in `_mysql_swap`. The old tables, views, routines, triggers and events are kept in a database of their
own; rights on the database go by its name and stay as they are.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _mysql_fill, _mysql_survey
from ansible_collections.sre.runbooks.plugins.module_utils._backup import mysql as backup
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Mismatch
from ansible_collections.sre.runbooks.plugins.module_utils._backup._mysql_script import quoted
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._restore import _mysql_swap
from ansible_collections.sre.runbooks.plugins.module_utils._restore._engine import Job, Look

SCRATCH_PREFIX = "sre_runbooks_restore_"
KEPT = "_before_restore_"
# What a name of MariaDB and MySQL may be long (documentation, "Identifier Names").
NAME_CHARACTERS = 64
_USERS = """
SELECT user AS user, coalesce(host, '') AS host, id AS id FROM information_schema.processlist WHERE db = {name} AND id <> connection_id();
"""


def aim(source: dict[str, t.Any], to: str | None) -> dict[str, t.Any]:
    """Restore into the database `to`."""
    if source["globals"]:
        raise InputError(
            "name",
            source["name"],
            "is the copy of a server's users and grants, which is applied by hand",
            "See docs/restore.md for the command.",
        )
    aimed = {**source, "database": source["database"] if to is None else to}
    backup.check(aimed, "to")
    if len(aimed["database"]) > NAME_CHARACTERS:
        raise InputError(
            "to", aimed["database"], f"is longer than {NAME_CHARACTERS} characters", "Choose a shorter name."
        )
    return aimed


def target(source: t.Mapping[str, t.Any]) -> str:
    """Server and database."""
    place = (
        source["container"]
        or source["socket"]
        or ":".join(str(each) for each in (source["host"], source["port"]) if each)
    )
    return f"{source['database']} on {place}" if place else str(source["database"])


def look(job: Job) -> Look:
    """The server answers; what is in the database, and who uses it."""
    name = job.source["database"]
    try:
        present = _mysql_swap.exists(job, name)
    except CommandFailed as error:
        raise RunbookError(
            f"database {name}: {error}. See that the server runs, and check database, host, port, socket, user, password and "
            "run_as in connection."
        ) from error
    found = _mysql_swap.objects(job, name)
    exists = bool(found.tables or found.code)
    size = 0
    if present:
        size = int(float(_mysql_survey.ask(job.source, _mysql_survey.SERVER, job.work)[0]["size_bytes"]))
    shape = {"tables": len(found.tables), "other_objects": len(found.code)} if exists else {}
    return Look(exists, size, tuple(_users(job)), shape=shape)


def recover(job: Job) -> list[str]:
    """Drop what killed runs have built; end a swap whose tables have moved, take one back whose tables have not."""
    found = job.journal.read()
    done = []
    swap = found.get("swap")
    if swap is not None:
        if _mysql_swap.objects(job, swap["new"]).tables or not _mysql_swap.objects(job, swap["target"]).tables:
            if swap["saved"]:
                _mysql_swap.load_code(job, swap["target"], swap["old_code"])
            _mysql_swap.switch_events(job, swap["target"], swap["old_events"], "ENABLE")
            if not _mysql_swap.objects(job, swap["kept"]).tables:
                _drop(job, swap["kept"])
            done.append(f"took back the swap of {swap['target']}")
        else:
            _finish(job, swap)
            done.append(f"ended the swap of {swap['target']}")
    for name in _like(job, f"{SCRATCH_PREFIX}{job.token}_"):
        _drop(job, name)
        done.append(f"dropped the database {name}")
    for path in found.get("files", []):
        for each in (path, f"{path}.part"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(each)
    job.journal.clear()
    return done


def taken(job: Job) -> bool:
    """Whether an old one is kept under this job's stamp already."""
    return _mysql_swap.exists(job, _kept_name(job))


def build(job: Job) -> dict[str, t.Any]:
    """Restore into a new database and compare objects and rows."""
    new = f"{SCRATCH_PREFIX}{job.token}_{secrets.token_hex(4)}"
    figures = job.manifest["figures"]
    job.journal.write({"new": new})
    started = time.monotonic()
    _mysql_fill.create(job.source, new, figures, job.work)
    _mysql_fill.fill(job.source, new, job.path, job.work, keep=True)
    events = _mysql_swap.enabled_events(job, new)
    job.journal.write({"new": new, "events": events})
    _mysql_swap.switch_events(job, new, events, "DISABLE")
    seconds = time.monotonic() - started
    found = _mysql_fill.count(job.source, new, figures, job.work)
    problem = None
    try:
        _mysql_fill.compare(job.path, found, figures)
    except Mismatch as error:
        if not job.force:
            raise
        problem = str(error)
    rows = sum(found["tables"].values())
    done = {**found["objects"], "rows": rows, "restore_seconds": round(seconds, 3)}
    return {**done, **({"problem": problem} if problem else {})}


def swap(job: Job) -> list[str]:
    """Note down what does not move, take it away, move all tables in one statement, make the rest again."""
    noted = job.journal.read()
    new = noted["new"]
    name = job.source["database"]
    users = _users(job)
    if users and not job.disconnect:
        raise RunbookError(f"the database {name} is in use by {', '.join(users)}. Stop them, or set disconnect.")
    if users:
        _mysql_swap.execute(job, None, [f"KILL {number};" for number in _numbers(job)])
    old, made = _mysql_swap.objects(job, name), _mysql_swap.objects(job, new)
    figures = job.manifest["figures"]
    kept = _kept_name(job) if old.tables or old.code else None
    paths = [job.journal.file(part) for part in ("old.sql", "new.sql")]
    change = {
        "new": new, "target": name, "kept": kept or _kept_name(job), "old_code": paths[0], "new_code": paths[1],
        "old_events": _mysql_swap.enabled_events(job, name), "new_events": noted["events"], "saved": False,
    }  # fmt: skip
    job.journal.write({"new": new, "files": paths, "swap": change})
    _mysql_swap.switch_events(job, name, change["old_events"], "DISABLE")
    _mysql_swap.save_code(job, name, old, paths[0])
    _mysql_swap.save_code(job, new, made, paths[1])
    if not _mysql_swap.exists(job, name):
        _mysql_fill.create(job.source, name, figures, job.work)
    if kept:
        _mysql_fill.create(job.source, kept, figures, job.work)
    change["saved"] = True
    job.journal.write({"new": new, "files": paths, "swap": change})
    _mysql_swap.drop_code(job, new, made, _mysql_swap.CODE)
    _mysql_swap.drop_code(job, name, old, _mysql_swap.CODE)
    _mysql_swap.rename(job, [(name, change["kept"], old.tables), (new, name, made.tables)])
    _finish(job, change)
    job.journal.write({"files": paths})
    for path in paths:
        os.unlink(path)
    return [kept] if kept else []


def discard(job: Job) -> None:
    """Drop what was being built, past the deadline too."""
    recover(job._replace(work=job.work._replace(deadline=None)))


def prune(job: Job, keep: int) -> list[str]:
    """Drop all but the newest `keep` old ones."""
    pattern = re.compile(re.escape(_kept_prefix(job.source["database"])) + r"\d{8}T\d{6}Z")
    names = sorted(
        (each for each in _like(job, _kept_prefix(job.source["database"])) if pattern.fullmatch(each)), reverse=True
    )
    for name in names[keep:]:
        _drop(job, name)
    return names[keep:]


def _finish(job: Job, change: t.Mapping[str, t.Any]) -> None:
    """What comes after the tables have moved; again is no harm."""
    _mysql_swap.load_code(job, change["target"], change["new_code"])
    _mysql_swap.switch_events(job, change["target"], change["new_events"], "ENABLE")
    if _mysql_swap.exists(job, change["kept"]):
        _mysql_swap.load_code(job, change["kept"], change["old_code"])
    _drop(job, change["new"])


def _users(job: Job) -> list[str]:
    sql = _USERS.replace("{name}", _mysql_swap.literal(job.source["database"]))
    rows = _mysql_survey.ask(job.source, sql, job.work, database=None)
    return [f"{row['user']} from {row['host'] or 'the socket'} (connection {row['id']})" for row in rows]


def _numbers(job: Job) -> list[int]:
    sql = _USERS.replace("{name}", _mysql_swap.literal(job.source["database"]))
    return [int(row["id"]) for row in _mysql_survey.ask(job.source, sql, job.work, database=None)]


def _like(job: Job, beginning: str) -> list[str]:
    sql = (
        "SELECT schema_name AS name FROM information_schema.schemata "  # noqa: S608 - quoted
        f"WHERE left(schema_name, {len(beginning)}) = {_mysql_swap.literal(beginning)};"
    )
    return [row["name"] for row in _mysql_survey.ask(job.source, sql, job.work, database=None)]


def _drop(job: Job, name: str) -> None:
    _mysql_swap.execute(job, None, [f"DROP DATABASE IF EXISTS {quoted(name)};"])


def _kept_prefix(name: str) -> str:
    return name[: NAME_CHARACTERS - len(KEPT) - 16] + KEPT


def _kept_name(job: Job) -> str:
    return _kept_prefix(job.source["database"]) + job.stamp
