# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each alert fires at and what not, as the rows of the four systems say it; times in minutes."""

from __future__ import annotations

from typing import Any, NamedTuple

GROUPS = {"F11": "feature11", "MCP": "mcp", "ABS": "abs", "GHO": "ghosteam"}
H26, H50, DAY = 93600, 180000, 86400


class Case(NamedTuple):
    """The world `past` fires `alert` after `wait` and not a minute earlier; none of the worlds `within` ever does."""

    file: str
    system: str
    alert: str
    severity: str
    past: dict[str, Any]
    within: tuple[dict[str, Any], ...]
    wait: int
    incident: str = ""
    cadence: str = ""


def one(
    file: str, system: str, alert: str, severity: str, series: str, past: Any, within: Any, wait: int, *more: str
) -> Case:
    """A case of one series, whose values are constant."""
    return Case(file, system, alert, severity, {series: past}, ({series: within},), wait, *more)


def health(metric: str, subject: str) -> str:
    return f'sre_runbooks_{metric}{{stage="health",subject="{subject}"}}'


def pair(system, alert, series, bounds, wait, incident="", wait_critical=None, warned="") -> list[Case]:
    """Warning and critical: `bounds` are (past, within) of each, None where there is none."""
    file = GROUPS[system]
    found = []
    for severity, values in zip(("warning", "critical"), bounds, strict=True):
        if values:
            kind = incident if severity == "critical" else warned
            minutes = wait if severity == "warning" or wait_critical is None else wait_critical
            found.append(one(file, system, alert, severity, series, *values, minutes, kind))
    return found


def above(warning, critical) -> tuple[Any, ...]:
    """A hair above and below each bound."""
    return tuple(None if each is None else (each * 1.01, each * 0.99) for each in (warning, critical))


def below(warning, critical) -> tuple[Any, ...]:
    return tuple(None if each is None else (each * 0.99, each * 1.01) for each in (warning, critical))


def host(system: str, cpu, memory, disk) -> list[Case]:
    mount = '{mountpoint="/"}'
    return [
        *pair(system, "HostCpuHigh", "sre_runbooks:host_cpu_percent", above(*cpu), 5),
        *pair(system, "HostMemoryHigh", "sre_runbooks:host_memory_percent", above(*memory), 5, "memory"),
        *pair(system, "HostDiskFull", f"sre_runbooks:host_disk_percent{mount}", above(*disk), 1),
        *pair(system, "HostInodesFull", f"sre_runbooks:host_inodes_percent{mount}", above(*disk), 1),
    ]


def service(system: str) -> list[Case]:
    """Down is what does not answer; an API that answers 200 and is late or sick has alerts of its own."""
    file = GROUPS[system]
    down = {health("status", "http:api"): 4, health("status_code", "http:api"): 503}
    late = {health("status", "http:api"): 4, health("status_code", "http:api"): 200}
    other = {health("status", "disk:/"): 4}
    warns = {health("status", "http:api"): 3, health("status_code", "http:api"): 503}
    return [
        Case(file, system, "ServiceDown", "critical", down, (late, other, warns), 1, "unresponsive"),
        *(
            Case(file, system, "ServiceDown", "critical", {health("status", subject): 4}, ({health("status", subject): 3},), 1, "unresponsive")
            for subject in ("port:api", "service:api.service", "process", "containers:api")
        ),
    ]  # fmt: skip


def database(system: str, subject: str, connections: bool = True) -> list[Case]:
    file = GROUPS[system]
    away, slow = {health("status", subject): 4}, {health("status", subject): 4, health("response_seconds", subject): 6}
    warns = {health("status", subject): 3}
    found = [
        *pair(system, "DatabaseSlow", health("response_seconds", subject), above(1, 5), 1, "database_connection"),
        Case(file, system, "DatabaseDown", "critical", away, (slow, warns), 1, "database_connection"),
    ]
    if connections:
        found += pair(system, "DatabaseConnections", health("connections_percent", subject), above(80, 95), 1, "database_connection")  # fmt: skip
    return found


def redis(system: str) -> list[Case]:
    return [
        *pair(system, "RedisSlow", health("response_seconds", "redis"), above(0.1, 1), 1, "cache"),
        *pair(system, "RedisMemoryHigh", health("memory_percent", "redis"), above(80, 95), 1),
    ]


def api(system: str, warning: float, critical: float, wait: int = 1) -> list[Case]:
    series = health("response_seconds", "http:api")
    return pair(system, "ApiSlow", series, above(warning, critical), 1, "api_timeouts", wait)


def business(metric: str) -> str:
    return health(metric, "http:business")


def logs(system: str) -> list[Case]:
    return pair(system, "LogFolderLarge", health("size_bytes", "directory:logs"), above(2**30, None), 1)


def process(system: str) -> list[Case]:
    return pair(system, "ProcessMemoryHigh", health("memory_percent", "process"), above(20, None), 5)


F11 = [
    *host("F11", (80, 95), (80, 95), (85, 90)), *service("F11"), *api("F11", 0.2, 2), *database("F11", "sqlite:database", False),
    *process("F11"), *logs("F11"),
    *pair("F11", "DatabaseLarge", health("size_bytes", "sqlite:database"), above(2 * 2**30, None), 1),
    *pair("F11", "UtilizationLow", business("utilization"), below(0.5, None), 1),
    *pair("F11", "UtilizationHigh", business("utilization"), above(0.95, None), 1),
    *pair("F11", "UnallocatedHoursHigh", business("unallocated_hours_percent"), above(30, None), 1),
    *pair("F11", "ConflictsHigh", business("conflicts"), ((11, 10), None), 1),
    *pair("F11", "DelayRiskHigh", business("delay_risk"), above(None, 0.4), 1),
    *pair("F11", "CacheHitLow", business("cache_hit_rate"), below(0.8, None), 1, warned="cache"),
    *pair("F11", "ErrorRateHigh", business("error_rate"), above(0.02, 0.05), 1, "error_rate"),
    *pair("F11", "SyncStale", health("sync_age_seconds", "http:sync"), above(None, 30 * 60), 1, "sync_failing"),
]  # fmt: skip

MCP = [
    *host("MCP", (80, 95), (80, 95), (80, 95)), *service("MCP"), *api("MCP", 0.2, 2), *database("MCP", "postgresql:database"),
    *database("MCP", "sqlite:database", False), *logs("MCP"),
    *pair("MCP", "IdleInTransaction", health("idle_in_transaction_seconds", "postgresql:database"), above(300, None), 1),
    *pair("MCP", "MigrationsPending", health("pending", "migrations"), (None, (1, 0)), 15),
    *pair("MCP", "SecurityUpdates", health("security_updates", "packages:updates"), ((1, 0), None), 60),
]  # fmt: skip

ABS = [
    *host("ABS", (85, 95), (90, 95), (85, 90)), *service("ABS"), *api("ABS", 2, 5, 5), *database("ABS", "postgresql:database"), *redis("ABS"),
    *process("ABS"), *logs("ABS"),
    *pair("ABS", "RedisHitLow", health("hit_percent", "redis"), below(30, None), 10, warned="cache"),
    *pair("ABS", "CacheHitLow", business("cache_hit_rate"), below(0.7, 0.3), 1, "cache", 10),
    *pair("ABS", "SuccessRateLow", business("success_rate_percent"), below(95, 80), 1, "error_rate", 5),
    *pair("ABS", "QueueDeep", business("queue_depth"), ((11, 10), (21, 20)), 1, "api_timeouts", 10),
    *pair("ABS", "NetworkSlow", health("connect_seconds", "port:api port"), above(None, 1), 2),
    *pair("ABS", "ScrapeDown", "up", (None, (0, 1)), 2),
]  # fmt: skip

GHO = [
    *host("GHO", (80, 95), (80, 95), (80, 95)), *service("GHO"), *api("GHO", 0.2, 2), *database("GHO", "postgresql:database"), *redis("GHO"),
    *pair("GHO", "DatabaseCacheHitLow", health("cache_hit_percent", "postgresql:database"), below(90, None), 10),
    *pair("GHO", "PredictionAccuracyLow", business("prediction_accuracy_percent"), below(90, None), 1, warned="prediction_errors"),
    *pair("GHO", "ModelLatencyHigh", business("model_latency_seconds"), above(0.1, None), 1, warned="prediction_errors"),
    *pair("GHO", "ThroughputLow", business("throughput_per_minute"), below(1000, None), 5),
    *pair("GHO", "ErrorRateHigh", business("error_rate"), above(0.01, 0.05), 1, "error_rate"),
]  # fmt: skip


def ours(alert, severity, series, past, within, wait, incident="", cadence="") -> Case:
    return one("collection", "F11", alert, severity, series, past, within, wait, incident, cadence)


def burns(alert: str, severity: str, long: str, short: str, bound: float, wait: int, incident: str = "") -> Case:
    """Both windows have to be past the bound."""
    much, little = bound * 1.01, bound * 0.99
    past = {f"sre_runbooks:{long}": much, f"sre_runbooks:{short}": much}
    within = ({**past, f"sre_runbooks:{long}": little}, {**past, f"sre_runbooks:{short}": little})
    return Case("collection", "F11", alert, severity, past, within, wait, incident)


def ago(series: str, bound: int, alert: str, severity: str, wait: int, cadence: str = "") -> Case:
    """A time that always lies a second more or less than `bound` back; promtool's clock begins at 0."""
    return ours(alert, severity, series, (-bound - 1, 60), (-bound + 1, 60), wait, cadence=cadence)


def ran(playbook: str) -> str:
    return f'sre_runbooks_run_timestamp_seconds{{playbook="{playbook}"}}'


def found(stage: str, metric: str, subject: str) -> str:
    return f'sre_runbooks_{metric}{{stage="{stage}",subject="{subject}"}}'


COLLECTION = [
    burns("ErrorBudgetBurnsFast", "critical", "api_error_ratio:rate1h", "api_error_ratio:rate5m", 0.0144, 2, "error_rate"),
    burns("ErrorBudgetBurnsSlowly", "warning", "api_error_ratio:rate6h", "api_error_ratio:rate30m", 0.006, 15),
    burns("UptimeBudgetBurnsFast", "critical", "api_down_ratio:avg1h", "api_down_ratio:avg5m", 0.0144, 0, "unresponsive"),
    ours("UptimeObjectiveMissed", "warning", "sre_runbooks:api_down_ratio:avg30d", 0.00101, 0.00099, 60),
    ours("LatencyObjectiveMissed", "warning", "sre_runbooks:api_latency_seconds:p95_rate5m", 0.202, 0.198, 10),
    ours("BackupOld", "warning", health("age_seconds", "backup:app"), H26 + 60, H26 - 60, 5),
    ours("BackupOld", "critical", health("age_seconds", "backup:app"), H50 + 60, H50 - 60, 5),
    ours("BackupCopiesBad", "critical", found("verify", "failed_copies", "sqlite:app"), 1, 0, 1),
    ours("RecoveryPointOld", "warning", found("verify", "recovery_point_seconds", "sqlite:app"), H26 + 60, H26 - 60, 5),
    ours("CertificateExpires", "warning", health("days_remaining", "tls:front end"), 29.7, 30.3, 60),
    ours("CertificateExpires", "critical", health("days_remaining", "tls:front end"), 6.9, 7.1, 60),
    ours("KeyOld", "warning", found("keys", "age_seconds", "key:admin"), 90 * DAY * 1.01, 90 * DAY * 0.99, 60),
    ours("KeyOld", "critical", found("security_audit", "oldest_age_seconds", "keys"), 180 * DAY * 1.01, 180 * DAY * 0.99, 60),
    ours("DiskFullSoon", "warning", health("full_in_seconds", "disk:/"), 14 * DAY * 0.99, 14 * DAY * 1.01, 15),
    ours("DiskFullSoon", "critical", health("full_in_seconds", "disk:/"), 2 * DAY * 0.99, 2 * DAY * 1.01, 15),
    ours("OutcomeCritical", "critical", found("backup", "status", "sqlite:app"), 4, 3, 15),
    ours("OutcomeWarning", "warning", found("backup", "status", "sqlite:app"), 3, 4, 60),
    ours("OutcomeWarning", "warning", found("backup", "status", "sqlite:app"), 2, 1, 60),
    ago(ran("daily"), H26, "RunOverdue", "critical", 5, "daily"),
    ago(ran("fleet_daily"), H26, "RunOverdue", "critical", 5, "daily"),
    ago(ran("weekly"), 8 * DAY, "RunOverdue", "warning", 5, "weekly"),
    ago(ran("monthly"), 36 * DAY, "RunOverdue", "warning", 5, "monthly"),
    ago(ran("quarterly"), 100 * DAY, "RunOverdue", "warning", 5, "quarterly"),
    Case("collection", "", "RunNeverSeen", "critical", {"up": 1}, ({ran("daily"): 0}, {ran("fleet_daily"): 0}), 60),
    ours("RollCallMissing", "critical", 'sre_runbooks_run_missing{playbook="weekly"}', 1, 0, 1),
    *(ago(f'sre_runbooks_last_run_timestamp_seconds{{stage="{stage}"}}', H26, "StageSilent", "critical", 5)
      for stage in ("health", "log_scan", "log_cleanup", "backup")),
    ours("TextfileBroken", "critical", "node_textfile_scrape_error", 1, 0, 5),
    ago('sre_runbooks_incident_oldest_timestamp_seconds{severity="P1",state="open",type="cache"}', 900, "IncidentUnresolved", "critical", 1),
    ago("sre_runbooks_incident_checked_timestamp_seconds", 1800, "IncidentWatchSilent", "warning", 5),
]  # fmt: skip

CASES = [*F11, *MCP, *ABS, *GHO, *COLLECTION]
