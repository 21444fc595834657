# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Redis servers, through redis-cli."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import redis
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, TargetDown
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation

METRICS = ("response_seconds", "memory_percent", "hit_percent", "clients_percent", "last_save_age_seconds")
OPTIONS: dict[str, t.Any] = {
    "connection": {"type": "dict", "default": {}, "apply_defaults": True, "options": redis.CONNECTION},
}
DEFAULT_BOUNDS: dict[str, t.Any] = {}
INHERENT = True


def programs(options: t.Mapping[str, t.Any]) -> list[str]:
    """What it runs on the host."""
    return [] if options["connection"]["container"] else ["redis-cli"]


def observe(options: t.Mapping[str, t.Any], host: Host) -> list[Observation]:
    """PING and INFO in one call. `response_seconds` is the whole of it: start of redis-cli and both answers."""
    connection = options["connection"]
    where = redis.place(connection)
    started = time.monotonic()
    try:
        result = redis.query(host.commands, connection, "PING\nINFO\n", options["timeout"])
    except CommandFailed as error:
        raise TargetDown(f"Redis at {where}: {error}") from error
    elapsed = time.monotonic() - started
    answer, _newline, text = result.stdout.partition("\n")
    if answer.strip() != "PONG":
        raise TargetDown(f"Redis at {where}: {redis.problem(result)}")
    info = redis.info(text)
    metrics = {"response_seconds": round(elapsed, 6), **figures(info, host.now)}
    used = show_size(float(info.get("used_memory", 0)))
    summary = f"Redis {info.get('redis_version')} answered in {show_duration(elapsed)}, {used} used"
    return [Observation(metrics, summary, details={"version": info.get("redis_version"), "role": info.get("role")})]


def figures(info: t.Mapping[str, str], now: float) -> dict[str, float]:
    """The metrics in INFO. Memory is held against `maxmemory`, or the host's memory where no maximum is set."""
    metrics = {}
    limit = float(info.get("maxmemory") or 0) or float(info.get("total_system_memory") or 0)
    if limit:
        metrics["memory_percent"] = round(100 * float(info["used_memory"]) / limit, 2)
    hits, misses = float(info.get("keyspace_hits") or 0), float(info.get("keyspace_misses") or 0)
    if hits + misses:
        metrics["hit_percent"] = round(100 * hits / (hits + misses), 2)
    if float(info.get("maxclients") or 0):
        metrics["clients_percent"] = round(100 * float(info["connected_clients"]) / float(info["maxclients"]), 2)
    if info.get("rdb_last_save_time"):
        metrics["last_save_age_seconds"] = max(0.0, round(now - float(info["rdb_last_save_time"]), 3))
    return metrics
