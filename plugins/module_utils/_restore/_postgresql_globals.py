# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The globals of a PostgreSQL cluster: roles that are missing are created. Those that are there are left as they are.

A role that exists is in use by somebody: an old password or an old right would be no repair. The script that pg_dumpall writes has
one statement a line for roles (its comments and settings of other databases may have more, and are not applied).
"""

from __future__ import annotations

import json
import re
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _postgresql_session
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._restore._engine import Job, Look

_NAME = r'(?:"(?:[^"]|"")+"|[^\s";]+)'
_STATEMENTS = (
    re.compile(rf"CREATE ROLE (?P<role>{_NAME});"),
    re.compile(rf"ALTER ROLE (?P<role>{_NAME}) (?:WITH|SET) .*;"),
    re.compile(rf"GRANT {_NAME} TO (?P<role>{_NAME})(?: .*)?;"),
)
_EXISTING = """
SELECT json_build_object('roles', json_agg(rolname),
  'may', (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user)) FROM pg_roles;
"""
LIMIT = 64 << 20


def aim(source: dict[str, t.Any], to: str | None) -> dict[str, t.Any]:
    """They belong to a cluster, not to a database."""
    if to is not None:
        raise InputError("to", to, "is no place for globals", "Name another server with host and port in connection.")
    return {**source, "database": source["database"] or "postgres"}


def look(job: Job) -> Look:
    """Which roles are missing."""
    server = _server(job)
    if not server["may"]:
        raise RunbookError(
            "the user may not create roles. Let a superuser restore them (user or run_as in connection)."
        )
    _statements, missing = _missing(job)
    brings = tuple(f"{_place(job)}/{name}" for name in missing)
    return Look(False, shape={"roles": len(server["roles"])}, brings=brings)


def promised(job: Job) -> set[str]:
    """The roles that an earlier restore of the same dry run would have brought to the server of `job`."""
    beginning = f"{_place(job)}/"
    return {each[len(beginning) :] for each in job.promised if each.startswith(beginning)}


def build(job: Job) -> dict[str, t.Any]:
    """The statements that will be run, counted; nothing can be built beside."""
    statements, missing = _missing(job)
    return {"roles": len(missing), "statements": len(statements), "restore_seconds": 0.0}


def swap(job: Job) -> list[str]:
    """Create all that are missing in one transaction."""
    statements, _missing_ones = _missing(job)
    if statements:
        script = "SET log_statement = 'none'; SET log_min_error_statement = 'panic';\n" if _superuser(job) else ""
        script += "BEGIN;\n" + "\n".join(statements) + "\nCOMMIT;\n"
        try:
            _postgresql_session.query(job.source, script, job.work)
        except RunbookError as error:
            # psql repeats the line that failed, and a hash of a password may stand in it.
            text = str(error).split("LINE ", maxsplit=1)[0]
            raise RunbookError(f"the roles could not be created, none of them: {text}") from None
    return []


def _place(job: Job) -> str:
    return f"{job.source['container']}:{job.source['host']}:{job.source['port']}"


def _superuser(job: Job) -> bool:
    return _postgresql_session.query(job.source, "SHOW is_superuser;", job.work) == "on"


def _missing(job: Job) -> tuple[list[str], list[str]]:
    """The statements about roles that the server does not have, and their names."""
    existing = set(_server(job)["roles"])
    statements: list[str] = []
    missing: dict[str, None] = {}
    deadline = time.monotonic() + (job.work.seconds() or 600.0)

    def talk(_input: t.IO[bytes], script: t.IO[bytes]) -> None:
        size = 0
        for raw in script:
            size += len(raw)
            if size > LIMIT or time.monotonic() > deadline:
                raise RunbookError(f"{job.path}: is no script of globals, for it is too large.")
            line = raw.decode("utf-8", "surrogateescape").rstrip("\n")
            for pattern in _STATEMENTS:
                match = pattern.fullmatch(line)
                if match and _plain(match["role"]) not in existing:
                    statements.append(line)
                    missing[_plain(match["role"])] = None

    job.work.commands.converse(job.work.unpack(job.path), talk, timeout=job.work.seconds())
    return statements, list(missing)


def _server(job: Job) -> dict[str, t.Any]:
    return dict(json.loads(_postgresql_session.first_query(job.source, _EXISTING, job.work)))


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
