# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""MariaDB and MySQL servers, through the client mariadb or mysql."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import mysql
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, TargetDown
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation

METRICS = ("response_seconds", "connections_percent", "replication_lag_seconds", "size_bytes")
OPTIONS: dict[str, t.Any] = {
    "connection": {"type": "dict", "default": {}, "apply_defaults": True, "options": mysql.CONNECTION},
}
DEFAULT_BOUNDS: dict[str, t.Any] = {}
INHERENT = True
# Each of the two statements answers with one row. MySQL 8.0.22 and MariaDB have different words for the same rows.
FIGURES = """
SELECT @@version AS version, @@max_connections AS max_connections, (SELECT coalesce(sum(data_length + index_length), 0)
  FROM information_schema.tables WHERE table_schema = coalesce(database(), table_schema)) AS size_bytes;
SHOW GLOBAL STATUS LIKE 'Threads_connected';
"""
REPLICATION = "/*M!100000 SHOW ALL SLAVES STATUS *//*!80022 SHOW REPLICA STATUS */;"
FIGURES_LINES = 4


def programs(options: t.Mapping[str, t.Any]) -> list[str]:
    """What it runs on the host: the client by the name that it has there."""
    connection = options["connection"]
    return [] if connection["container"] else mysql.client("mariadb", connection)


def observe(options: t.Mapping[str, t.Any], host: Host) -> list[Observation]:
    """Connect and ask once. `response_seconds` is the whole of it: start of the client, connection, queries."""
    connection, timeout = options["connection"], options["timeout"]
    started = time.monotonic()
    done = mysql.query(host.commands, connection, FIGURES + REPLICATION, timeout, check=False)
    elapsed = time.monotonic() - started
    lines = done.stdout.rstrip("\n").split("\n")
    # The last statement needs a privilege that the others do not: without it replication is not known, all else is.
    if len(lines) < FIGURES_LINES or (done.rc and "ERROR 1227" not in done.stderr):
        raise TargetDown(f"{place(connection)}: {CommandFailed('mariadb', done.rc, done.stderr, timeout)}")
    (figures,), (status,) = mysql.rows("\n".join(lines[:2])), mysql.rows("\n".join(lines[2:FIGURES_LINES]))
    metrics = {
        "response_seconds": round(elapsed, 6),
        "connections_percent": round(100 * float(status["Value"]) / float(figures["max_connections"]), 1),
        "size_bytes": float(figures["size_bytes"]),
    }
    lag, problems = replication(mysql.rows("\n".join(lines[FIGURES_LINES:])) if not done.rc else [])
    if lag is not None:
        metrics["replication_lag_seconds"] = lag
    summary = (
        f"{figures['version']} answered in {show_duration(elapsed)}, "
        f"{metrics['connections_percent']:.0f} % of connections used, {show_size(metrics['size_bytes'])}"
    )
    details = {"version": figures["version"]}
    if problems:
        return [Observation(metrics, f"{'; '.join(problems)}; {summary}", "critical", details=details)]
    return [Observation(metrics, summary, details=details)]


def place(connection: t.Mapping[str, t.Any]) -> str:
    """What is connected to, for a person."""
    if connection["socket"] or not (connection["host"] or connection["port"]):
        where = connection["socket"] or "its socket"
    else:
        where = f"{connection['host'] or '127.0.0.1'}:{connection['port'] or 3306}"
    inside = f" in {connection['container']}" if connection["container"] else ""
    return f"MariaDB at {where}{inside}"


def replication(channels: t.Sequence[t.Mapping[str, str]]) -> tuple[float | None, list[str]]:
    """The greatest lag in seconds of all channels of a replica, and what is wrong with those that stand still.

    A channel without a lag (NULL) has a thread that does not run or no connection to its primary.
    """
    lags, problems = [], []
    for channel in channels:
        lag = channel.get("Seconds_Behind_Master", channel.get("Seconds_Behind_Source", "NULL"))
        if lag != "NULL":
            lags.append(float(lag))
            continue
        reasons = [channel.get(name) for name in ("Last_IO_Error", "Last_SQL_Error", "Last_Error")]
        name = channel.get("Connection_name") or channel.get("Channel_Name")
        why = " / ".join(dict.fromkeys(reason for reason in reasons if reason)) or "its threads do not run"
        problems.append(f"replication{f' {name}' if name else ''} stands still: {why}")
    return (None if problems else max(lags, default=None)), problems
