# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What PostgreSQL knows of roles: their state, and all that makes what one may do differ from what another may."""

from __future__ import annotations

import json

# A session that comes after this is one of a role that may log in: that is looked at in the same statement.
ROLES = """SELECT json_build_object('version', current_setting('server_version_num')::int, 'roles', coalesce((
  SELECT json_agg(json_build_object('name', rolname, 'login', rolcanlogin, 'super', rolsuper,
    'until', CASE WHEN isfinite(rolvaliduntil) THEN extract(epoch FROM rolvaliduntil) END,
    'sessions', (SELECT count(*) FROM pg_stat_activity WHERE usesysid = r.oid AND pid <> pg_backend_pid())))
  FROM pg_roles r WHERE rolname IN ({names})), '[]'));
"""

# Attributes, memberships, settings; what in all databases depends on the role (pg_shdepend is shared); in this database each right.
RIGHTS = """WITH r AS (SELECT * FROM pg_roles WHERE rolname = {name}), acl(what, acl) AS (
  SELECT format('%s %s', CASE relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, oid::regclass), relacl FROM pg_class
  UNION ALL SELECT format('column %s.%s', attrelid::regclass, attname), attacl FROM pg_attribute
  UNION ALL SELECT format('schema %s', nspname), nspacl FROM pg_namespace
  UNION ALL SELECT format('database %s', datname), datacl FROM pg_database
  UNION ALL SELECT format('function %s', oid::regprocedure), proacl FROM pg_proc
  UNION ALL SELECT format('type %s', oid::regtype), typacl FROM pg_type
  UNION ALL SELECT format('what is made later (%s, %s, %s)', defaclrole::regrole, defaclnamespace::regnamespace, defaclobjtype), defaclacl
    FROM pg_default_acl
)
SELECT coalesce(json_agg(told), '[]') FROM (
  SELECT format('%s: %s', key, value) AS told FROM r, jsonb_each_text(to_jsonb(r)) WHERE key IN
    ('rolsuper', 'rolinherit', 'rolcreaterole', 'rolcreatedb', 'rolreplication', 'rolbypassrls', 'rolconnlimit')
  UNION SELECT format('member of %s %s', roleid::regrole, to_jsonb(m) - 'oid' - 'roleid' - 'member' - 'grantor')
    FROM pg_auth_members m, r WHERE m.member = r.oid
  UNION SELECT format('setting %s in database %s', unnest(setconfig), coalesce(datname, 'any'))
    FROM r JOIN pg_db_role_setting ON setrole = r.oid LEFT JOIN pg_database d ON d.oid = setdatabase
  UNION SELECT CASE WHEN s.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    THEN format('%s %s', CASE deptype WHEN 'o' THEN 'owns' ELSE 'something on' END, pg_describe_object(classid, objid, objsubid))
    ELSE format('%s object %s/%s of database %s', CASE deptype WHEN 'o' THEN 'owns' ELSE 'something on' END, classid, objid, datname) END
    FROM r JOIN pg_shdepend s ON refclassid = 'pg_authid'::regclass AND refobjid = r.oid
      AND classid <> 'pg_default_acl'::regclass AND classid <> 'pg_auth_members'::regclass
    LEFT JOIN pg_database d ON d.oid = s.dbid
  UNION SELECT format('%s on %s%s', privilege_type, what, CASE WHEN is_grantable THEN ' with grant option' END)
    FROM acl, r, aclexplode(acl) WHERE grantee = r.oid
) AS all_of_it;
"""


def read(answer: str, name: str) -> set[str]:
    """The rights of the role `name`, told alike for every role."""
    told = json.loads(answer.splitlines()[-1])
    for own in (name, quoted(name)):
        told = [each.replace(f"({own}, ", "(its own, ") for each in told]
    return set(told)


def quoted(name: str) -> str:
    """An identifier, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string, whatever is in it; backslashes mean nothing (standard_conforming_strings)."""
    return "'" + text.replace("'", "''") + "'"
