# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a dump needs of the server that it is restored on: extensions, roles, room. Looked at before anything is restored."""

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _postgresql_session
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Source, Work
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_size

_USER_SCHEMA = r"n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"

# One line of JSON. Dependencies on the cluster's first role are on no record (it cannot be dropped), so owners are asked for
# besides.
NEEDS = rf"""
SELECT json_build_object(
  'database_bytes', pg_database_size(current_database()),
  'extensions', (SELECT coalesce(json_object_agg(extname, extversion ORDER BY extname), '{{}}') FROM pg_extension),
  'roles', (SELECT coalesce(json_agg(rolname ORDER BY rolname), '[]') FROM pg_roles r WHERE rolname !~ '^pg_' AND r.oid IN (
    SELECT refobjid FROM pg_shdepend s JOIN pg_database b ON b.datname = current_database()
      WHERE s.refclassid = 'pg_authid'::regclass
        AND (s.dbid = b.oid OR (s.classid = 'pg_database'::regclass AND s.objid = b.oid))
    UNION SELECT datdba FROM pg_database WHERE datname = current_database()
    UNION SELECT nspowner FROM pg_namespace n WHERE {_USER_SCHEMA}
    UNION SELECT relowner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_USER_SCHEMA}
    UNION SELECT proowner FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {_USER_SCHEMA})));
"""  # noqa: S608 - joined from the constant above

# What a server has: `trusted` came with PostgreSQL 13, so it is asked for by the name of a column that may not be there.
_OFFERED = """
SELECT json_build_array(v.name, bool_or(v.superuser AND NOT coalesce((to_jsonb(v) ->> 'trusted')::boolean, false)))
  FROM pg_available_extension_versions v GROUP BY v.name;
"""
# `database` is the row of pg_database whose encoding and locale a scratch database has.
_SERVER = """
SELECT json_build_object('superuser', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
  'user', current_user, 'major', current_setting('server_version_num')::int / 10000,
  'folder', (SELECT setting FROM pg_settings WHERE name = 'data_directory'),
  'database', (SELECT to_jsonb(d) FROM pg_database d WHERE datname = current_database()));
"""
# Every server has it, and every database.
_ALWAYS = "plpgsql"
# Where the package is not called as the extension is; those in `_CONTRIB` come with the server's own.
_PACKAGES = {"vector": "pgvector", "postgis": "postgis-3", "hll": "hll", "timescaledb": "timescaledb"}
_CONTRIB = (
    "adminpack amcheck autoinc bloom btree_gin btree_gist citext cube dblink dict_int earthdistance file_fdw fuzzystrmatch "
    "hstore insert_username intarray isn lo ltree moddatetime pageinspect pg_buffercache pg_freespacemap pg_prewarm "
    "pg_stat_statements pg_surgery pg_trgm pg_visibility pg_walinspect pgcrypto pgrowlocks pgstattuple postgres_fdw refint "
    "seg sslinfo tablefunc tcn tsm_system_rows tsm_system_time unaccent uuid-ossp xml2"
)
# A restored database is about as large as the one it was dumped from, whose files may hold free space.
_ROOM = 1.1
_LOCAL = (None, "", "localhost", "127.0.0.1", "::1")


def check(source: Source, figures: t.Mapping[str, t.Any], work: Work) -> dict[str, t.Any]:
    """The row of the source's database in pg_database; copies of old may not tell what they need in their `figures`.

    RunbookError when the source's server lacks what the dump needs. The server reads a file for each extension that it
    offers, so it is asked for them only where the dump has some.
    """
    needed = {name: version for name, version in (figures.get("extensions") or {}).items() if name != _ALWAYS}
    sql = (_OFFERED if needed else "") + _SERVER
    *offered, server = [json.loads(line) for line in _postgresql_session.query(source, sql, work).splitlines()]
    extensions(needed, dict(offered), server)
    _room(source, figures.get("database_bytes") or 0, server["folder"])
    database: dict[str, t.Any] = server["database"]
    return database


def extensions(needed: t.Mapping[str, str], offered: t.Mapping[str, bool], server: t.Mapping[str, t.Any]) -> None:
    """RunbookError when an extension is not on the server, or its user may not create it.

    `offered` tells of each name whether only a superuser may create it; `server` has `user`, `superuser` and `major`.
    """
    missing = sorted(name for name in needed if name not in offered)
    if missing:
        packages = ", ".join(sorted({_package(name, server["major"]) for name in missing}))
        raise RunbookError(
            f"the dump needs extensions that the server does not have: {', '.join(missing)}. Install {packages} on the "
            "server (Debian's and Ubuntu's name of the package)."
        )
    forbidden = sorted(name for name in needed if offered[name] and name != _ALWAYS)
    if forbidden and not server["superuser"]:
        raise RunbookError(
            f"the user {server['user']} may not CREATE EXTENSION {', '.join(forbidden)}, which the dump needs. Let a "
            "superuser make the proof (user or run_as of this source), or set verify to archive."
        )


def _package(extension: str, major: int) -> str:
    if extension in _CONTRIB.split():
        return "postgresql-contrib"
    name = _PACKAGES.get(extension) or extension.removeprefix("pg_")
    return f"postgresql-{major}-{name.replace('_', '-')}"


def _room(source: Source, size: int, folder: str | None) -> None:
    """RunbookError when the server's disk is this host's and a second database would fill it: the first would stop too."""
    host = source.get("host")
    local = host in _LOCAL or str(host).startswith("/")
    if source.get("container") or not local or not folder or not os.path.isdir(folder):
        return
    info = os.statvfs(folder)
    free = info.f_bavail * info.f_frsize
    if size * _ROOM > free:
        raise RunbookError(
            f"{folder}: a scratch database of {show_size(size)} does not fit into the {show_size(free)} that are free "
            "there. Make room, or set verify to archive."
        )
