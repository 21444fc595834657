# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the engine postgresql asks of a server. Each row is one line of JSON, unless said otherwise."""

from __future__ import annotations

import typing as t

SERVER = """
SELECT json_build_object('number', current_setting('server_version_num')::int, 'version', current_setting('server_version'),
  'size', pg_database_size(current_database()));
"""

# The last line is the snapshot's name. An idle session is what this one is meant to be, so no time-out applies to it.
SNAPSHOT = r"""
SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET row_security = off;
BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;
SELECT pg_export_snapshot();
"""

# What an extension brings is made by CREATE EXTENSION at the restore, not by the dump. `{oid}` and `{catalog}` name an object.
_OWN = """NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = '{catalog}'::regclass AND d.objid = {oid} AND d.deptype = 'e')"""
_USER_SCHEMA = r"n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
_RELATIONS = (
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    f"WHERE {_USER_SCHEMA} AND c.relpersistence <> 't' AND {_OWN.format(catalog='pg_class', oid='c.oid')}"
)

TABLES = f"SELECT json_build_array(n.nspname, c.relname) {_RELATIONS} AND c.relkind IN ('r', 'p');"

# Kind, schema, name, number: the rows of every table, then how many objects of each kind there are.
FIGURES = rf"""
SET row_security = off;
SELECT format('SELECT json_build_array(''rows'', %L::text, %L::text, count(*)) FROM ONLY %I.%I;',
  n.nspname, c.relname, n.nspname, c.relname) {_RELATIONS} AND c.relkind = 'r' ORDER BY 1 \gexec
SELECT json_build_array('objects', '', CASE c.relkind WHEN 'p' THEN 'partitioned_tables' WHEN 'v' THEN 'views'
  WHEN 'm' THEN 'materialized_views' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'foreign_tables' WHEN 'c' THEN 'types'
  ELSE 'indexes' END, count(*)) {_RELATIONS} AND c.relkind IN ('p', 'v', 'm', 'S', 'f', 'i', 'I', 'c') GROUP BY c.relkind;
SELECT json_build_array('objects', '', 'functions', count(*)) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  WHERE {_USER_SCHEMA} AND {_OWN.format(catalog="pg_proc", oid="p.oid")};
SELECT json_build_array('objects', '', 'triggers', count(*)) FROM pg_trigger WHERE NOT tgisinternal;
SELECT json_build_array('objects', '', 'constraints', count(*)) FROM pg_constraint k
  JOIN pg_namespace n ON n.oid = k.connamespace WHERE {_USER_SCHEMA} AND {_OWN.format(catalog="pg_constraint", oid="k.oid")};
SELECT json_build_array('objects', '', 'large_objects', count(*)) FROM pg_largeobject_metadata;
"""  # noqa: S608 - joined from the constants above

LOCALE = "SELECT to_jsonb(d) FROM pg_database d WHERE datname = current_database();"

# How many sessions of killed runs are just creating a scratch database, which are told to end; then one name a line. A
# pattern of LIKE, with its underscores escaped.
SCRATCH = r"""
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
  WHERE query LIKE 'CREATE DATABASE "{prefix}%' AND state = 'active' AND usename = current_user;
SELECT datname FROM pg_database WHERE datname LIKE '{prefix}%';
"""

# In this form it works before PostgreSQL 13 too, where DROP DATABASE knows no FORCE.
DROP = """
SELECT count(pg_terminate_backend(pid)) < 0 FROM pg_stat_activity
  WHERE datname = '{name}' AND usename = current_user \\g /dev/null
DROP DATABASE IF EXISTS "{name}";
"""


def create(name: str, template: t.Mapping[str, t.Any]) -> str:
    """The statement that creates the database `name` with encoding and locale of the row `template` of pg_database."""
    words = [
        f'CREATE DATABASE "{name}" TEMPLATE template0',
        f"ENCODING {int(template['encoding'])}",
        f"LC_COLLATE {_literal(template['datcollate'])} LC_CTYPE {_literal(template['datctype'])}",
    ]
    # `daticulocale` is called `datlocale` from PostgreSQL 17 on.
    locale = template.get("datlocale") or template.get("daticulocale")
    if template.get("datlocprovider") == "i":
        words.append(f"LOCALE_PROVIDER icu ICU_LOCALE {_literal(locale)}")
    elif template.get("datlocprovider") == "b":
        words.append(f"LOCALE_PROVIDER builtin BUILTIN_LOCALE {_literal(locale)}")
    return " ".join(words) + ";"


def _literal(text: object) -> str:
    return "'" + str(text).replace("'", "''") + "'"
