# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the engine postgresql of tables asks of a server."""

from __future__ import annotations

# The same value must look alike in every session. Between two statements of a slow reader a session is idle, and meant to be.
SETTINGS = """SET client_min_messages = error;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';
SET bytea_output = 'hex';
SET extra_float_digits = 3;
SET standard_conforming_strings = on;
SET idle_in_transaction_session_timeout = 0;
SET lock_timeout = {lock};
SET statement_timeout = {statement};
SET default_transaction_read_only = {read_only};
"""

ACTIONS = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}

# ISO 8601 in UTC, or without a zone.
ISO = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+00(:?00)?)?)?$"

_NAMES = (
    "(SELECT json_agg(a.attname ORDER BY p.place) FROM unnest({numbers}) WITH ORDINALITY AS p(number, place) "
    "JOIN pg_attribute a ON a.attrelid = {table} AND a.attnum = p.number)"
)

# One document: columns; unique indexes that cover all rows, the primary key first; foreign keys of other tables. `attgenerated` is
# not there before PostgreSQL 12, so it is taken from the row's JSON.
TABLE = (
    "SELECT json_build_object('schema', n.nspname, 'name', c.relname, "
    "'columns', (SELECT json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), "
    "'category', t.typcategory, 'base', coalesce(b.typname, t.typname), "
    "'generated', coalesce(to_jsonb(a) ->> 'attgenerated', '') <> '', 'identity', a.attidentity) ORDER BY a.attnum) "
    "FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype AND t.typbasetype <> 0 "
    "WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), "
    "'keys', coalesce((SELECT json_agg(json_build_object('primary', i.indisprimary, 'columns', "
    + _NAMES.format(numbers="(i.indkey::int2[])[0:i.indnkeyatts - 1]", table="c.oid")
    + ", 'strict', NOT EXISTS (SELECT FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) AS k(number) JOIN pg_attribute a "
    "ON a.attrelid = c.oid AND a.attnum = k.number WHERE NOT a.attnotnull)) ORDER BY i.indisprimary DESC, i.indexrelid) "
    "FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL "
    "AND i.indexprs IS NULL AND i.indimmediate), '[]'), "
    "'references', coalesce((SELECT json_agg(json_build_object('schema', rn.nspname, 'table', r.relname, 'action', k.confdeltype, "
    "'columns', "
    + _NAMES.format(numbers="k.conkey", table="k.conrelid")
    + ", 'targets', "
    + _NAMES.format(numbers="k.confkey", table="k.confrelid")
    + ")) FROM pg_constraint k JOIN pg_class r ON r.oid = k.conrelid JOIN pg_namespace rn ON rn.oid = r.relnamespace "
    "WHERE k.confrelid = c.oid AND k.contype = 'f' AND k.conparentid = 0), '[]')) "
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass({name}) AND c.relkind IN ('r', 'p')"
)
