# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL: sessions, locks, who blocks whom, settings that are no defaults, sizes, slow statements. No value of a statement is kept."""

from __future__ import annotations

import functools
import json
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import postgresql
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._database._normalise import normalised
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics import _databases

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.entries import Item
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._settings import Settings
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._work import Work

COLLECTS = "sessions, locks, blocking chains, settings, sizes, slow statements"
OPTIONS: dict[str, t.Any] = {**postgresql.CONNECTION, "database": {"type": "str"}}
# pg_blocking_pids stops the lock manager for a moment: it is asked for those alone that wait. Sizes are those of the last
# VACUUM, for asking the real one waits for whoever has locked the table.
QUERIES = {
    "server": """SELECT version(), pg_postmaster_start_time() AS started, pg_is_in_recovery() AS standby, pg_conf_load_time() AS configured,
  current_setting('max_connections')::int AS max_connections, (SELECT count(*) FROM pg_stat_activity) AS connections""",
    "sessions": """SELECT pid, datname, usename, application_name, client_addr, backend_type, state, wait_event_type, wait_event,
  backend_start, xact_start, query_start, state_change,
  extract(epoch FROM clock_timestamp() - xact_start)::numeric(20,1) AS transaction_seconds,
  extract(epoch FROM clock_timestamp() - state_change)::numeric(20,1) AS state_seconds, age(backend_xmin) AS xmin_age,
  CASE WHEN wait_event_type = 'Lock' THEN pg_blocking_pids(pid) END AS blocked_by, query
  FROM pg_stat_activity WHERE pid <> pg_backend_pid() ORDER BY xact_start NULLS LAST""",
    "locks": """SELECT pid, locktype, mode, granted, database::bigint, relation::bigint, coalesce(c.relname, '') AS name, transactionid::text, waitstart
  FROM pg_locks l LEFT JOIN pg_class c ON c.oid = l.relation AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  WHERE pid <> pg_backend_pid() ORDER BY granted, pid""",
    "settings": """SELECT name, setting, unit, source, sourcefile, boot_val, pending_restart FROM pg_settings
  WHERE source NOT IN ('default', 'client', 'session', 'environment variable') OR setting IS DISTINCT FROM boot_val ORDER BY name""",
    "databases": """SELECT datname, numbackends, xact_commit, xact_rollback, blks_read, blks_hit, conflicts, temp_files, temp_bytes, deadlocks,
  age(d.datfrozenxid) AS xid_age, CASE WHEN has_database_privilege(d.oid, 'CONNECT') THEN pg_database_size(d.oid) END AS size_bytes
  FROM pg_stat_database s JOIN pg_database d ON d.oid = s.datid""",
    "tables": """SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind, c.relpages::bigint * current_setting('block_size')::int AS size_bytes,
  c.reltuples::bigint AS rows, s.n_live_tup, s.n_dead_tup, s.seq_scan, s.idx_scan, s.last_vacuum, s.last_autovacuum, s.last_autoanalyze
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
  WHERE c.relkind IN ('r', 'm', 'i', 't') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  ORDER BY c.relpages DESC""",
    "replication": """SELECT pid, application_name, client_addr, state, sync_state, sent_lsn, replay_lsn, write_lag, flush_lag, replay_lag
  FROM pg_stat_replication""",
}
# Its columns have other names before version 13.
STATEMENTS = """SELECT calls, round(coalesce((to_jsonb(s)->>'total_exec_time')::numeric, (to_jsonb(s)->>'total_time')::numeric), 1) AS total_ms,
  round(coalesce((to_jsonb(s)->>'mean_exec_time')::numeric, (to_jsonb(s)->>'mean_time')::numeric), 2) AS mean_ms, rows,
  shared_blks_read, temp_blks_written, query
  FROM pg_stat_statements s WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 2 DESC NULLS LAST"""
HAS_STATEMENTS = "SELECT extversion FROM pg_extension WHERE extname = 'pg_stat_statements'"


def check(source: dict[str, t.Any], where: str) -> None:
    """The database is called as the entry, unless told. libpq takes a name with `=` or `://` for a connection string."""
    database = source["database"] = source["name"] if source["database"] is None else source["database"]
    if not database or "=" in database or "://" in database:
        raise InputError(
            f"{where}.database", database, "is no name of a database",
            "Give the name alone; host, port and user are options.",
        )  # fmt: skip


def would(settings: Settings) -> list[str]:
    """The databases."""
    return _databases.names("postgresql", settings)


def collect(work: Work) -> None:
    """Every database by itself."""
    _databases.each(work, _one)


def _one(work: Work, item: Item) -> None:
    asked = {name: functools.partial(_rows, work, item, sql) for name, sql in QUERIES.items()}
    answers = _databases.sections(work, item, asked)
    sessions = {row["pid"]: row for row in answers.get("sessions", ())}
    waits = {
        pid: [blocker for blocker in row["blocked_by"] or () if blocker]
        for pid, row in sessions.items()
        if row["blocked_by"]
    }
    with work.part(f"postgresql/{item.name}/blocking.txt") as part:
        part.text("\n".join(_databases.chains(waits, functools.partial(_told, sessions))) or "nobody waits for a lock")
    if _rows(work, item, HAS_STATEMENTS):
        with work.part(f"postgresql/{item.name}/statements.jsonl") as part:
            part.rows(_rows(work, item, STATEMENTS, 50))


def _rows(work: Work, item: Item, sql: str, most: int = _databases.ROWS) -> list[dict[str, t.Any]]:
    text = f"SELECT row_to_json(x) FROM ({sql} LIMIT {most}) x"  # noqa: S608  both are of this file
    answer = postgresql.query(work.commands, item.source, text, min(_databases.SECONDS, work.left()))
    rows = [json.loads(line) for line in answer.split("\n") if line]
    for row in rows:
        if row.get("query"):
            row["query"] = normalised(row["query"])
    return rows


def _told(sessions: t.Mapping[int, t.Mapping[str, t.Any]], pid: int) -> str:
    row = sessions.get(pid)
    if row is None:
        return f"pid {pid}"
    return (
        f"pid {pid} {row['usename']}@{row['datname']} {row['application_name']} ({row['state']}, {row['state_seconds']} s, transaction of "
        f"{row['transaction_seconds']} s): {row['query']}"
    )
