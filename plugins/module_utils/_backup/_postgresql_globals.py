# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What belongs to a whole PostgreSQL cluster: roles, memberships, tablespaces, settings of roles, by pg_dumpall.

The copy is a script with the hashes of passwords in it, so nothing of its text goes into results, manifests or errors.
"""

from __future__ import annotations

import json
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _packing, _postgresql_scratch
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import (
    Dump,
    Mismatch,
    Preflight,
    Source,
    Work,
)
from ansible_collections.sre.runbooks.plugins.module_utils._backup._postgresql_session import (
    client_version,
    first_query,
    place,
    rows,
)
from ansible_collections.sre.runbooks.plugins.module_utils._core import postgresql
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, InputError, RunbookError

EXTENSION = ".globals.sql"
# pg_dumpall takes no snapshot: the figures before and after it must be the same, else it is done anew.
ATTEMPTS = 3
_MARK = "-- PostgreSQL database cluster dump complete"
_TAIL_BYTES = 4096

_SERVER = """
SELECT json_build_object('number', current_setting('server_version_num')::int, 'version', current_setting('server_version'),
  'passwords', has_table_privilege('pg_catalog.pg_authid', 'SELECT'), 'user', current_user,
  'size', 65536 + 2048 * ((SELECT count(*) FROM pg_roles) + (SELECT count(*) FROM pg_auth_members)
    + (SELECT count(*) FROM pg_db_role_setting) + (SELECT count(*) FROM pg_tablespace)));
"""

# Kind, name, facts. Of passwords it is told of what kind they are, of settings their names: a value may be a secret.
# What stands between predefined roles (pg_…) is the server's own.
_FIGURES = r"""
SET TimeZone = 'UTC';
SELECT json_build_array('bootstrap', rolname, null) FROM pg_roles WHERE oid = 10;
SELECT json_build_array('role', rolname, json_build_object('superuser', rolsuper, 'inherit', rolinherit, 'createrole', rolcreaterole,
  'createdb', rolcreatedb, 'login', rolcanlogin, 'replication', rolreplication, 'bypassrls', rolbypassrls,
  'connection_limit', rolconnlimit, 'valid_until', rolvaliduntil::text, 'password', {password}))
  FROM {roles} WHERE rolname !~ '^pg_' ORDER BY rolname;
SELECT json_build_array('membership', role.rolname, json_build_array(member.rolname, bool_or(m.admin_option)))
  FROM pg_auth_members m JOIN pg_roles role ON role.oid = m.roleid JOIN pg_roles member ON member.oid = m.member
  WHERE member.rolname !~ '^pg_' GROUP BY role.rolname, member.rolname ORDER BY role.rolname, member.rolname;
SELECT json_build_array('setting', rolname, split_part(setting, '=', 1))
  FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole, unnest(setconfig) setting WHERE setdatabase = 0 ORDER BY rolname, setting;
SELECT json_build_array('tablespace', spcname, rolname) FROM pg_tablespace s JOIN pg_roles r ON r.oid = s.spcowner
  WHERE spcname !~ '^pg_' ORDER BY spcname;
"""
_KIND_OF_HASH = "CASE WHEN rolpassword IS NULL THEN 'none' WHEN rolpassword LIKE 'SCRAM-SHA-256$%' THEN 'scram-sha-256' ELSE 'md5' END"


def check(source: dict[str, t.Any], where: str) -> None:
    """Any database lets globals be read; tables cannot be left out of what holds none."""
    if source["exclude"]:
        raise InputError(
            f"{where}.exclude",
            source["exclude"],
            "leaves out tables, and globals hold none",
            "Take it out, or give the database a source of its own.",
        )
    source["database"] = source["database"] or "postgres"


def preflight(source: Source, work: Work) -> Preflight:
    """The server answers, and pg_dumpall is not older than it."""
    server = _server(source, work)
    client = client_version(source, "pg_dumpall", server, work)
    return Preflight(server["size"], 0, {"server": server["version"], "client": client})


def sweep(work: Work) -> list[str]:
    """Remove the scratch clusters of killed runs."""
    return _postgresql_scratch.sweep(work)


def dump(source: Source, partial: str, work: Work) -> Dump:
    """Dump between two equal views of the roles; without the right to read passwords the copy is one without them."""
    server = _server(source, work)
    argv = [
        postgresql.client("pg_dumpall", source), "--globals-only",
        *([] if server["passwords"] else ["--no-role-passwords"]),
        *postgresql.arguments(source), f"--database={source['database']}",
    ]  # fmt: skip
    before = _figures(_ask(source, server["passwords"], work))
    for _attempt in range(ATTEMPTS):
        sha256 = _packing.store(
            work.commands, [argv, *work.packing.pack()], partial, **place(source), timeout=work.seconds()
        )
        after = _figures(_ask(source, server["passwords"], work))
        if before == after:
            break
        before = after
        with open(partial, "r+b") as stream:
            stream.truncate()
    else:
        raise RunbookError(f"roles were changed during each of {ATTEMPTS} dumps. Run again when nobody changes them.")
    warning = (
        f"without the passwords of roles, which the user {server['user']} may not read. Back up as a superuser, "
        "or GRANT SELECT ON pg_authid to this user"
    )
    return Dump(sha256, {**after, "passwords": server["passwords"]}, () if server["passwords"] else (warning,))


def read(path: str, work: Work) -> dict[str, t.Any]:
    """Read the script to its end, where pg_dumpall puts its closing mark."""
    try:
        end = work.commands.pipeline(
            [*work.unpack(path), ["tail", f"--bytes={_TAIL_BYTES}"]], timeout=work.seconds()
        ).stdout
    except CommandFailed as error:
        raise Mismatch(f"{path}: cannot be read: {error}") from error
    if _MARK not in end.splitlines():
        raise Mismatch(f"{path}: lacks the closing mark of pg_dumpall: it is not whole")
    return {}


def restore(source: Source, path: str, figures: t.Mapping[str, t.Any], work: Work) -> dict[str, t.Any]:
    """Run the script on a scratch cluster, compare roles, memberships, tablespaces and settings."""
    read(path, work)
    started = time.monotonic()
    try:
        lines = _postgresql_scratch.run(
            source, figures["bootstrap"], work.unpack(path), _sql(figures["passwords"]), work
        )
    except Mismatch as error:
        raise Mismatch(f"{path}: {error}") from None
    seconds = time.monotonic() - started
    found = _figures(lines)
    for kind in ("roles", "memberships", "tablespaces", "settings"):
        different = _different(figures[kind], found[kind])
        if different:
            raise Mismatch(
                f"{path}: {len(different)} {kind} of the restored copy differ from the source's in the dump: "
                f"{', '.join(different[:3])}"
            )
    counts = {kind: len(found[kind]) for kind in ("roles", "memberships", "tablespaces", "settings")}
    return {**counts, "restore_seconds": round(seconds, 3)}


def _server(source: Source, work: Work) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", json.loads(first_query(source, _SERVER, work)))


def _ask(source: Source, passwords: bool, work: Work) -> list[str]:
    return rows(source, _sql(passwords), work)


def _sql(passwords: bool) -> str:
    """The query for the figures; without `passwords` one that needs no rights."""
    return _FIGURES.format(
        password=_KIND_OF_HASH if passwords else "null", roles="pg_authid" if passwords else "pg_roles"
    )


def _figures(lines: t.Sequence[str]) -> dict[str, t.Any]:
    """What the lines of `_FIGURES` say: roles with attributes, (role, member, may pass it on), tablespaces with owners, settings."""
    found: dict[str, t.Any] = {"bootstrap": "", "roles": {}, "memberships": [], "tablespaces": {}, "settings": []}
    for line in lines:
        kind, name, facts = json.loads(line)
        if kind == "bootstrap":
            found["bootstrap"] = name
        elif kind == "role":
            found["roles"][name] = facts
        elif kind == "tablespace":
            found["tablespaces"][name] = facts
        elif kind == "membership":
            found["memberships"].append([name, *facts])
        else:
            found["settings"].append([name, facts])
    return found


def _different(expected: t.Any, found: t.Any) -> list[str]:
    """Names of what is in one only, or not the same in both."""
    if isinstance(expected, dict):
        return sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    pairs = ({json.dumps(each) for each in expected}, {json.dumps(each) for each in found})
    return sorted(pairs[0] ^ pairs[1])
