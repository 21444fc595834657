# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What maintenance asks of PostgreSQL about its tables. Each row is one line of JSON."""

from __future__ import annotations

SERVER = """
SELECT json_build_object('number', current_setting('server_version_num')::int, 'size', pg_database_size(current_database()),
  'standby', pg_is_in_recovery(), 'block', current_setting('block_size')::int, 'directory', current_setting('data_directory', true),
  'freeze', current_setting('autovacuum_freeze_max_age')::int,
  'checksum_failures', (SELECT (to_jsonb(d)->>'checksum_failures')::bigint FROM pg_stat_database d WHERE datname = current_database()),
  'amcheck', (SELECT nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'amcheck'),
  'oldest', (SELECT max(extract(epoch FROM clock_timestamp() - xact_start)) FROM pg_stat_activity
    WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid() AND backend_type = 'client backend'));
"""
# Only a superuser, or who was given it, may read where the data lie: such a setting makes the whole query fail.
PLAIN_SERVER = SERVER.replace("current_setting('data_directory', true)", "NULL")

# The size of a table that somebody has locked altogether cannot be asked for without waiting: there the last known counts.
# `width` is what a row should take: its columns' mean width, 24 bytes of head and 4 of pointer (PostgreSQL documentation, 73.6).
TABLES = r"""
WITH locked AS (SELECT coalesce(i.indrelid, l.relation) AS oid FROM pg_locks l LEFT JOIN pg_index i ON i.indexrelid = l.relation
  WHERE l.mode = 'AccessExclusiveLock' AND l.granted AND l.relation IS NOT NULL AND l.pid <> pg_backend_pid()
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
SELECT json_build_object('schema', n.nspname, 'name', c.relname, 'kind', c.relkind, 'oid', c.oid::bigint,
  'size', CASE WHEN c.oid IN (SELECT oid FROM locked) THEN greatest(c.relpages, 0)::bigint * current_setting('block_size')::int
    ELSE pg_total_relation_size(c.oid) END,
  'pages', c.relpages, 'rows', c.reltuples, 'live', s.n_live_tup, 'dead', s.n_dead_tup, 'changed', s.n_mod_since_analyze,
  'vacuumed', extract(epoch FROM greatest(s.last_vacuum, s.last_autovacuum)),
  'analyzed', extract(epoch FROM greatest(s.last_analyze, s.last_autoanalyze)),
  'age', CASE WHEN c.relfrozenxid <> '0'::xid THEN age(c.relfrozenxid) ELSE 0 END,
  'allowed', pg_has_role(c.relowner, 'USAGE') OR pg_has_role((SELECT datdba FROM pg_database WHERE datname = current_database()), 'USAGE')
    OR CASE WHEN current_setting('server_version_num')::int >= 170000 THEN has_table_privilege(c.oid, 'MAINTAIN') ELSE false END,
  'width', {width})
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
WHERE c.relkind IN ({kinds}) AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, c.relname;
"""
WIDTH = """(SELECT 28 + sum((1 - p.null_frac) * p.avg_width) FROM pg_stats p
    WHERE p.schemaname = n.nspname AND p.tablename = c.relname AND NOT p.inherited)"""

# Each statement is a transaction of its own, so that no lock outlives it. `{relation}` is an oid, which no name can be mistaken for.
HEAP = "SELECT json_build_object('relation', {name}, 'block', blkno, 'offset', offnum, 'problem', msg) FROM {schema}.verify_heapam({relation}) LIMIT 3;"
BTREE = "SELECT FROM {schema}.bt_index_check({relation}, {every_row});"
BTREES = """
SELECT json_build_array(i.indexrelid::bigint) FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am a ON a.oid = x.relam
  JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE a.amname = 'btree' AND x.relkind = 'i' AND i.indisvalid AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
  AND n.nspname <> 'information_schema';
"""
