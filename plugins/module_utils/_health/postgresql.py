# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL servers, through psql."""

from __future__ import annotations

import contextlib
import json
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import postgresql
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, TargetDown
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation

METRICS = (
    "response_seconds", "connections_percent", "xid_age_percent", "longest_transaction_seconds",
    "idle_in_transaction_seconds", "replication_lag_seconds", "cache_hit_percent", "dead_tuples_percent", "size_bytes",
)  # fmt: skip
OPTIONS: dict[str, t.Any] = {
    "connection": {"type": "dict", "default": {}, "apply_defaults": True, "options": postgresql.CONNECTION},
}
DEFAULT_BOUNDS: dict[str, t.Any] = {}
INHERENT = True
# Of other users' sessions a role without pg_read_all_stats sees the database alone: what cannot be seen is null, not 0.
# A standby has caught up when all that it received is replayed and it still receives: cut off from its primary, it only
# looks so. A primary has no lag on record (null) of a standby that has long caught up.
# What is on its way at this very moment would count for as long as nothing was written before, or as a lag that is not known:
# whether it has arrived is asked once more.
# The functions behind the views pg_stat_activity and pg_stat_user_tables: the views join names that nobody asked for, which
# is a third of the server's work.
# Transaction ids are 31 bits wide (PostgreSQL documentation, "Preventing Transaction ID Wraparound Failures").
QUERY = """
SELECT json_build_object(
  'connections_percent', connections_percent,
  'xid_age_percent', (SELECT round(100.0 * max(age(datfrozenxid)) / 2147483648.0, 2) FROM pg_database),
  'longest_transaction_seconds', CASE WHEN sees_all THEN longest END,
  'idle_in_transaction_seconds', CASE WHEN sees_all THEN idle END,
  'replication_lag_seconds', CASE WHEN pg_is_in_recovery()
    THEN CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() AND EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 0
      ELSE extract(epoch FROM clock_timestamp() - coalesce(pg_last_xact_replay_timestamp(), pg_postmaster_start_time())) END
    ELSE (SELECT max(coalesce(extract(epoch FROM replay_lag), CASE WHEN replay_lsn >= pg_current_wal_lsn() THEN 0 END))
      FROM pg_stat_replication) END,
  'on_its_way', CASE WHEN pg_is_in_recovery()
    THEN (SELECT pg_last_wal_receive_lsn() FROM pg_stat_wal_receiver)
    ELSE (SELECT max(pg_current_wal_lsn()) FROM pg_stat_replication WHERE replay_lsn IS NOT NULL) END,
  'cache_hit_percent', (SELECT round(100.0 * blks_hit / nullif(blks_hit + blks_read, 0), 2)
    FROM pg_stat_database WHERE datname = current_database()),
  'dead_tuples_percent', (SELECT round(100.0 * sum(dead) / nullif(sum(live + dead), 0), 2)
    FROM (SELECT pg_stat_get_dead_tuples(oid) AS dead, pg_stat_get_live_tuples(oid) AS live FROM pg_class
      WHERE relkind IN ('r', 'm', 'p') AND oid >= 16384) AS tables),
  'size_bytes', pg_database_size(current_database()),
  'role', CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END,
  'version', current_setting('server_version'))
FROM (SELECT pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all,
  round(100.0 * count(*) FILTER (WHERE coalesce(backend_type, 'client backend') = 'client backend' AND datid IS NOT NULL)
    / current_setting('max_connections')::int, 1) AS connections_percent,
  coalesce(extract(epoch FROM max(now() - xact_start)
    FILTER (WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())), 0) AS longest,
  coalesce(extract(epoch FROM max(now() - state_change) FILTER (WHERE state LIKE 'idle in transaction%')), 0) AS idle
  FROM pg_stat_get_activity(NULL)) AS sessions
"""
AGAIN_SECONDS = 0.2
AGAIN = """
SELECT CASE WHEN pg_is_in_recovery() THEN CASE WHEN pg_last_wal_replay_lsn() >= '{lsn}' THEN 0 END
  ELSE (SELECT max(coalesce(extract(epoch FROM replay_lag), CASE WHEN replay_lsn >= '{lsn}' THEN 0 END))
    FROM pg_stat_replication) END
"""


def programs(options: t.Mapping[str, t.Any]) -> list[str]:
    """What it runs on the host."""
    return [] if options["connection"]["container"] else ["psql"]


def observe(options: t.Mapping[str, t.Any], host: Host) -> list[Observation]:
    """Connect and ask; of a lag in doubt, ask again. `response_seconds` is the whole of it: start of psql, connection, query."""
    connection = options["connection"]
    started = time.monotonic()
    try:
        text = postgresql.query(host.commands, connection, QUERY, timeout=options["timeout"])
    except CommandFailed as error:
        raise TargetDown(f"database {connection['database']}: {error}") from error
    elapsed = time.monotonic() - started
    answer = json.loads(text)
    version, role, lsn = answer.pop("version"), answer.pop("role"), answer.pop("on_its_way")
    lag = answer["replication_lag_seconds"]
    if lsn is not None and (lag is None or (role == "standby" and lag > AGAIN_SECONDS)):
        time.sleep(AGAIN_SECONDS)
        # Without an answer to this the first stands.
        with contextlib.suppress(CommandFailed):
            left = max(AGAIN_SECONDS, started + options["timeout"] - time.monotonic())
            again = postgresql.query(host.commands, connection, AGAIN.format(lsn=lsn), timeout=left)
            answer["replication_lag_seconds"] = float(again) if again else lag
    metrics = {"response_seconds": round(elapsed, 6)}
    metrics.update({name: float(value) for name, value in answer.items() if value is not None})
    summary = (
        f"PostgreSQL {version} answered in {show_duration(elapsed)}, "
        f"{metrics['connections_percent']:.0f} % of connections used, {show_size(metrics['size_bytes'])}"
    )
    return [Observation(metrics, summary, details={"version": version, "role": role})]
