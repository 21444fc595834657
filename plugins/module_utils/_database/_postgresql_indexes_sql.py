# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What PostgreSQL is asked about its indexes and statements. Each row is one line of JSON; sizes are those last counted, without a lock."""

from __future__ import annotations

SERVER = """
SELECT json_build_object('number', current_setting('server_version_num')::int, 'standby', pg_is_in_recovery(),
  'statements', (SELECT nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'pg_stat_statements'),
  'kept_seconds', (SELECT extract(epoch FROM clock_timestamp() - coalesce(stats_reset, pg_postmaster_start_time()))
    FROM pg_stat_database WHERE datname = current_database()));
"""
_USER = r"n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"

TABLES = f"""
SELECT json_build_array(n.nspname, c.relname, c.relkind) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'p') AND {_USER};
"""  # noqa: S608 - joined from the constants above

# `same` is alike for indexes that do the same work.
INDEXES = f"""
SELECT json_build_object('schema', n.nspname, 'table', c.relname, 'name', x.relname, 'method', a.amname, 'unique', i.indisunique,
  'valid', i.indisvalid AND i.indisready, 'partial', i.indpred IS NOT NULL, 'expressions', i.indexprs IS NOT NULL,
  'partitioned', x.relkind = 'I', 'replica', i.indisreplident,
  'columns', (SELECT json_agg(t.attname ORDER BY k.place) FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(number, place)
    LEFT JOIN pg_attribute t ON t.attrelid = i.indrelid AND t.attnum = k.number WHERE k.place <= i.indnkeyatts),
  'same', md5(concat_ws('/', i.indrelid, i.indkey::text, i.indclass::text, i.indcollation::text, i.indoption::text, i.indnkeyatts,
    pg_get_expr(i.indexprs, i.indrelid), '#', pg_get_expr(i.indpred, i.indrelid), a.amname)),
  'constraint', EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x', 'f')),
  'bytes', x.relpages::bigint * current_setting('block_size')::int, 'scans', s.idx_scan,
  'building', EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid AND p.datname = current_database()))
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class c ON c.oid = i.indrelid JOIN pg_am a ON a.oid = x.relam
  JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_stat_all_indexes s ON s.indexrelid = i.indexrelid
WHERE {_USER} AND c.relpersistence <> 't' ORDER BY n.nspname, c.relname, x.relname;
"""  # noqa: S608 - joined from the constants above

# A foreign key is served when its columns, in any order, are the first of a whole index.
FOREIGN_KEYS = f"""
SELECT json_build_object('schema', n.nspname, 'table', c.relname,
  'columns', (SELECT json_agg(t.attname ORDER BY f.place) FROM unnest(k.conkey) WITH ORDINALITY f(number, place)
    JOIN pg_attribute t ON t.attrelid = k.conrelid AND t.attnum = f.number))
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 AND {_USER}
  AND greatest(c.relpages, 0)::bigint * current_setting('block_size')::int >= {{bytes}}
  AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indisvalid AND i.indpred IS NULL
    AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)
ORDER BY n.nspname, c.relname, k.conname;
"""  # noqa: S608 - joined from the constants above

SCANS = f"""
SELECT json_build_object('schema', n.nspname, 'table', c.relname, 'scans', s.seq_scan, 'rows', s.seq_tup_read / s.seq_scan)
FROM pg_stat_all_tables s JOIN pg_class c ON c.oid = s.relid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE {_USER} AND s.seq_scan >= {{scans}} AND s.seq_scan > coalesce(s.idx_scan, 0) AND s.seq_tup_read / s.seq_scan >= {{rows}}
  AND greatest(c.relpages, 0)::bigint * current_setting('block_size')::int >= {{bytes}}
ORDER BY s.seq_tup_read DESC;
"""  # noqa: S608 - joined from the constants above

# The columns have other names before PostgreSQL 13. Times are in milliseconds.
STATEMENTS = """
SELECT json_build_object('query', left(q.row->>'query', 4000), 'calls', (q.row->>'calls')::bigint, 'mean', q.mean, 'total',
  coalesce(q.row->>'total_exec_time', q.row->>'total_time')::float)
FROM (SELECT to_jsonb(s) AS row, coalesce(to_jsonb(s)->>'mean_exec_time', to_jsonb(s)->>'mean_time')::float AS mean
  FROM {schema}.pg_stat_statements s WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND s.calls >= {calls}) q
ORDER BY q.mean DESC LIMIT {queries};
"""
