# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The upgrade and its way back on a copy of the database, restored from the backup that would be the last way back (D11)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import pwd
import secrets
import shutil
import stat
import time
import typing as t
from urllib.parse import quote, urlsplit

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _catalog, _packing, _postgresql_sql
from ansible_collections.sre.runbooks.plugins.module_utils._core import alembic, postgresql
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_size
from ansible_collections.sre.runbooks.plugins.module_utils._database import _engine, _psql
from ansible_collections.sre.runbooks.plugins.module_utils._migration import _schema, _settings

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
    from ansible_collections.sre.runbooks.plugins.module_utils._core.entries import Item

PREFIX = "sre_runbooks_rehearsal_"
SUPERUSER = "SELECT to_json(rolsuper) FROM pg_roles WHERE rolname = current_user;"
OWNER = "SELECT to_json(pg_get_userbyid(datdba)) FROM pg_database WHERE datname = current_database();"


class Rehearsed(t.NamedTuple):
    """How long the upgrade took, and whether the downgrade led back to what was there before; `problem` tells why not."""

    seconds: float
    back: bool
    problem: str = ""


class Scratch(t.NamedTuple):
    """The copy: its address for the application, and its name for `_schema.read`."""

    url: str
    database: str


def rehearse(
    plan: _settings.Plan,
    settings: _settings.Settings,
    project: alembic.Project,
    copy: _catalog.Copy,
    commands: Commands,
    words: tuple[str, list[str]],
) -> Rehearsed:
    """Upgrade to the first of `words` and downgrade to the second on a scratch copy; RunbookError when the upgrade fails."""
    item = plan.item
    if item is None:
        raise ValueError("a project without a database cannot be rehearsed")
    target, back = words
    _heeded(plan, project, commands)
    with _scratch(plan, settings, item, project, copy, commands) as scratch:
        there = _at(plan, project, scratch.url)
        before = _schema.read(commands, item, scratch.database)
        started = time.monotonic()
        alembic.call(commands, there, ["upgrade", target], plan.seconds)
        seconds = time.monotonic() - started
        if not plan.options["downgrade"]:
            return Rehearsed(seconds, False, "downgrades are not wanted")
        if len(back) > 1:
            return Rehearsed(seconds, False, "the database is at several revisions")
        try:
            alembic.call(commands, there, ["downgrade", back[0] if back else "base"], plan.seconds)
        except alembic.Unsuccessful as error:
            return Rehearsed(seconds, False, str(error))
        found = alembic.current(alembic.observe(commands, there, plan.seconds))
        if found != back:
            return Rehearsed(seconds, False, f"the downgrade leads to {', '.join(found) or 'no revision'}")
        changed = _schema.differences(before, _schema.read(commands, item, scratch.database))
        if changed:
            return Rehearsed(seconds, False, f"the downgrade leaves other than it found: {', '.join(changed[:3])}")
        return Rehearsed(seconds, True)


def _at(plan: _settings.Plan, project: alembic.Project, url: str) -> alembic.Project:
    return project._replace(environment={**project.environment, plan.options["url_variable"]: url})


def _heeded(plan: _settings.Plan, project: alembic.Project, commands: Commands) -> None:
    """An application that takes its database from elsewhere would have the rehearsal on the real one.

    So its variable first names a database that is not there: only then Alembic fails.
    """
    nowhere = replaced(_url(plan, project), f"/nonexistent-{secrets.token_hex(8)}/x", plan.item)
    try:
        alembic.call(commands, _at(plan, project, nowhere), ["current"], plan.seconds)
    except alembic.Unsuccessful:
        return
    raise RunbookError(
        f"url_variable: the application does not take its database from {plan.options['url_variable']}, so that a rehearsal "
        "would change the real one. Name the variable that its env.py reads, or set rehearse to false."
    )


def _url(plan: _settings.Plan, project: alembic.Project) -> str:
    url = _settings.url(plan, project.environment)
    if not url:
        raise RunbookError(
            f"url_variable: {plan.options['url_variable']} stands neither in environment nor in environment_file. "
            "Give the variable that holds the database's address, or set rehearse to false."
        )
    return url


def replaced(url: str, database: str, item: Item | None) -> str:
    """`url` with another database; all else, such as driver, user and parameters, stays."""
    scheme, place, _path, query, _fragment = urlsplit(url)
    # urlunsplit would leave out the slashes before an empty place.
    path = (
        f"/{quote(database)}" if item is not None and item.engine_name == "sqlite" else f"/{quote(database, safe='')}"
    )
    return f"{scheme}://{place}{path}" + (f"?{query}" if query else "")


@contextlib.contextmanager
def _scratch(
    plan: _settings.Plan,
    settings: _settings.Settings,
    item: Item,
    project: alembic.Project,
    copy: _catalog.Copy,
    commands: Commands,
) -> t.Iterator[Scratch]:
    make = _sqlite if item.engine_name == "sqlite" else _postgresql
    url = _url(plan, project)
    with make(plan, settings, item, copy, commands) as database:
        yield Scratch(replaced(url, database, item), database)


def _token(plan: _settings.Plan, settings: _settings.Settings) -> str:
    """Tells this host's rehearsals of this project from all others."""
    text = f"{platform.node()}:{os.path.realpath(settings.directory)}:{plan.name}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@contextlib.contextmanager
def _sqlite(
    plan: _settings.Plan, settings: _settings.Settings, item: Item, copy: _catalog.Copy, commands: Commands
) -> t.Iterator[str]:
    """A file in a folder of its own, which the application's user may use and nobody else."""
    folder = os.path.join(settings.scratch, f"{PREFIX}{_token(plan, settings)}")
    user = plan.options["run_as"]
    try:
        account = pwd.getpwnam(user) if user else None
    except KeyError as error:
        raise RunbookError(f"run_as: no user {user!r} on this host. Create it, or name another.") from error
    owners = {os.geteuid(), *([account.pw_uid] if account else [])}
    try:
        _swept(folder, owners)
        needed = int(_catalog.manifest(copy).get("source_bytes") or copy.size_bytes)
        place = os.statvfs(settings.scratch)
        if place.f_bavail * place.f_frsize < needed:
            raise RunbookError(
                f"scratch_directory: {settings.scratch} has {show_size(place.f_bavail * place.f_frsize)} free, and the copy "
                f"takes {show_size(needed)}. Make room, or name another folder."
            )
        os.mkdir(folder, 0o700)
        path = os.path.join(folder, "copy.db")
        _packing.unpack_to(commands, _packing.unpack(copy.path, settings.identity), path, plan.seconds)
        if account is not None and os.geteuid() == 0:
            for each in (path, folder):
                os.chown(each, account.pw_uid, account.pw_gid)
        yield path
    except OSError as error:
        raise RunbookError(
            f"scratch_directory: {error.filename or folder}: {error.strerror}. Give access, or name another folder."
        ) from error
    finally:
        with contextlib.suppress(RunbookError):
            _swept(folder, owners)


def _swept(folder: str, owners: set[int]) -> None:
    """Remove what a killed run left. The folder above may be everybody's, so something of another user's is refused."""
    try:
        info = os.lstat(folder)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(info.st_mode) or info.st_uid not in owners:
        raise RunbookError(f"{folder}: is in the way and belongs to somebody else. Remove it.")
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _postgresql(
    plan: _settings.Plan, settings: _settings.Settings, item: Item, copy: _catalog.Copy, commands: Commands
) -> t.Iterator[str]:
    """A database of the same server. A superuser gives all in it to whom it belongs in the real one."""
    source, work = item.source, _engine.Work(commands, plan.lock_seconds, time.monotonic() + plan.seconds)
    prefix = f"{PREFIX}{_token(plan, settings)}_"
    listed = "SELECT to_json(datname) FROM pg_database WHERE starts_with(datname::text, {});"
    for left in _psql.rows(source, listed.format(_psql.literal(prefix)), work):
        _drop(item, left, work)
    name = prefix + secrets.token_hex(4)
    superuser = _psql.rows(source, SUPERUSER, work)[0]
    template = _psql.rows(source, _postgresql_sql.LOCALE, work)[0]
    _psql.statement(source, _postgresql_sql.create(name, template), work)
    try:
        if superuser:
            owner = _psql.quoted(_psql.rows(source, OWNER, work)[0])
            _psql.statement(source, f"ALTER DATABASE {_psql.quoted(name)} OWNER TO {owner};", work)
        argv = [
            postgresql.client("pg_restore", source), "--exit-on-error", "--no-publications", "--no-subscriptions",
            "--no-tablespaces", *([] if superuser else ["--no-owner", "--no-privileges"]),
            *postgresql.arguments(source), f"--dbname={name}",
        ]  # fmt: skip
        try:
            commands.pipeline(
                [*_packing.unpack(copy.path, settings.identity), argv], target=postgresql.target(source),
                environment=postgresql.environment(), secrets=postgresql.secrets(source), timeout=work.seconds(), at=-1,
            )  # fmt: skip
        except CommandFailed as error:
            raise RunbookError(f"{copy.path}: cannot be restored for the rehearsal: {error}") from error
        yield name
    finally:
        with contextlib.suppress(RunbookError):
            _drop(item, name, work._replace(deadline=None))


def _drop(item: Item, name: str, work: _engine.Work) -> None:
    """Sessions of a migration that was killed may still be there."""
    end = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = {} AND pid <> pg_backend_pid();"
    )
    sql = f"{end.format(_psql.literal(name))}\nDROP DATABASE IF EXISTS {_psql.quoted(name)};"
    _psql.statement(item.source, sql, work)
