# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restore of PostgreSQL asks of a server, from a database that is neither the old nor the new one."""

from __future__ import annotations

import typing as t

# One line of JSON. `{name}` and `{prefix}` are literals, the latter a pattern of LIKE.
LOOK = r"""
SET standard_conforming_strings = on;
SELECT json_build_object(
  'number', current_setting('server_version_num')::int, 'version', current_setting('server_version'), 'user', current_user,
  'major', current_setting('server_version_num')::int / 10000,
  'superuser', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
  'createdb', (SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user),
  'exists', EXISTS (SELECT FROM pg_database WHERE datname = {name}),
  'size', (SELECT pg_database_size(oid) FROM pg_database WHERE datname = {name}
    AND (has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE'))),
  'row', (SELECT to_jsonb(d) FROM pg_database d WHERE datname = {name}),
  'tablespace', (SELECT spcname FROM pg_database d JOIN pg_tablespace s ON s.oid = d.dattablespace WHERE datname = {name}),
  'owned', (SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = {name}),
  'roles', (SELECT json_agg(rolname) FROM pg_roles),
  'kept', (SELECT coalesce(json_agg(datname ORDER BY datname DESC), '[]') FROM pg_database WHERE datname LIKE {prefix}),
  'folder', (SELECT setting FROM pg_settings WHERE name = 'data_directory'));
SELECT json_build_object('offered', (SELECT json_object_agg(name, restricted) FROM (
  SELECT v.name, bool_or(v.superuser AND NOT coalesce((to_jsonb(v) ->> 'trusted')::boolean, false)) AS restricted
    FROM pg_available_extension_versions v GROUP BY v.name) o));
"""

# One line of JSON for each client.
USERS = """
SET standard_conforming_strings = on;
SELECT json_build_array(coalesce(nullif(application_name, ''), 'a client'), usename, coalesce(host(client_addr), 'the socket'), pid)
  FROM pg_stat_activity WHERE datname = {name} AND pid <> pg_backend_pid()
  AND coalesce(to_jsonb(pg_stat_activity) ->> 'backend_type', 'client backend') = 'client backend' ORDER BY pid;
"""

DISCONNECT = """
SELECT count(pg_terminate_backend(pid)) < 0 FROM pg_stat_activity WHERE datname = {name} AND pid <> pg_backend_pid() \\g /dev/null
"""

# How many sessions of this user are at a statement that holds the pattern; they are told to end.
END_CLIENTS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
  WHERE query LIKE {pattern} AND state = 'active' AND usename = current_user AND pid <> pg_backend_pid();
"""

BEGINNING = "SELECT datname FROM pg_database WHERE datname LIKE {pattern};"

EMPTY = r"""
SELECT format('DROP SCHEMA %I CASCADE', nspname) FROM pg_namespace
  WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' \gexec
"""

# What pg_dump leaves to pg_dumpall, from the old database to the new one: each line of it is a statement.
# A list among the settings is kept as it was written; anything else is one value.
PROPERTIES = r"""
SET standard_conforming_strings = on;
SELECT format('ALTER DATABASE %I OWNER TO %I', {new}, pg_get_userbyid(datdba)) FROM pg_database
  WHERE datname = {old} AND datdba <> (SELECT oid FROM pg_roles WHERE rolname = current_user) \gexec
SELECT format('ALTER DATABASE %I CONNECTION LIMIT %s', {new}, datconnlimit) FROM pg_database
  WHERE datname = {old} AND datconnlimit <> -1 \gexec
SELECT format('COMMENT ON DATABASE %I IS %L', {new}, shobj_description(oid, 'pg_database')) FROM pg_database
  WHERE datname = {old} AND shobj_description(oid, 'pg_database') IS NOT NULL \gexec
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', {new}) FROM pg_database WHERE datname = {old} AND datacl IS NOT NULL \gexec
SELECT format('GRANT %s ON DATABASE %I TO %s%s', a.privilege_type, {new},
    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
    CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
  FROM pg_database d, aclexplode(d.datacl) a WHERE d.datname = {old} AND a.grantee <> d.datdba \gexec
SELECT format('%s SET %I TO %s',
    CASE s.setrole WHEN 0 THEN format('ALTER DATABASE %I', {new})
      ELSE format('ALTER ROLE %I IN DATABASE %I', pg_get_userbyid(s.setrole), {new}) END,
    split_part(c, '=', 1),
    CASE WHEN substr(c, strpos(c, '=') + 1) = '' THEN $$''$$
      WHEN split_part(c, '=', 1) IN ('local_preload_libraries', 'search_path', 'session_preload_libraries',
        'shared_preload_libraries', 'temp_tablespaces', 'unix_socket_directories') THEN substr(c, strpos(c, '=') + 1)
      ELSE quote_literal(substr(c, strpos(c, '=') + 1)) END)
  FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c WHERE d.datname = {old} \gexec
"""

# Both names change in one transaction. The first waits up to 5 s for sessions that are just ending (PostgreSQL source, procarray.c).
SWAP = """
SET lock_timeout = '20s';
BEGIN;
{renames}
COMMIT;
"""


def literal(text: str) -> str:
    """`text` as a value."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """`name` as a name."""
    return '"' + name.replace('"', '""') + '"'


def rename(old: str, new: str) -> str:
    """The statement that gives the database `old` the name `new`."""
    return f"ALTER DATABASE {identifier(old)} RENAME TO {identifier(new)};"


def swap(target: str, new: str, kept: str | None) -> str:
    """The statements that put `new` in the place of `target`, which is called `kept` from then on, where there is one."""
    renames = [*([rename(target, kept)] if kept else []), rename(new, target)]
    return SWAP.format(renames="\n".join(renames))


def like(prefix: str, wild: int = 0) -> str:
    """A pattern of LIKE for what begins with `prefix`, of which the first `wild` characters are part of the pattern."""
    escaped = "".join("\\" + each if each in "\\_%" else each for each in prefix[wild:])
    return literal(prefix[:wild] + escaped + "%")


def fill(sql: str, **values: t.Any) -> str:
    """`sql` with each `{name}` replaced; braces of JSON or psql in it are left alone."""
    for name, value in values.items():
        sql = sql.replace("{" + name + "}", value)
    return sql
