# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""B10: the report over a thousand hosts and a year of daily runs, made by the playbook that users call.

The history is generated once, which takes some minutes, and kept in `.work/bench/`.
"""

from __future__ import annotations

import datetime
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome
from ansible_collections.sre.runbooks.plugins.plugin_utils.history import History
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import HostAnswer, Run

HOSTS = 1000
DAYS = 365
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SECONDS, MEBIBYTES = 10, 500
CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = CHECKOUT / ".work" / "bench"


def generate(path: Path) -> None:
    """Write a year of runs in which one host in twenty has a warning; beside the name first, so that a half is never used."""
    half = path.with_suffix(".half")
    for each in path.parent.glob(f"{half.name}*"):
        each.unlink()
    history = History(f"sqlite:///{half}")
    start = datetime.datetime(2025, 11, 21, 9, tzinfo=datetime.UTC)
    for day in range(DAYS):
        at = start + datetime.timedelta(days=day)
        text = f"{at:%Y-%m-%dT%H:%M:%SZ}"
        stages = ["health", "log_cleanup", "backup"]
        history.record(
            Run(f"{at:%Y%m%dT%H%M%SZ}-{day:06x}", "daily", text, text, False, "0.1.0", stages, list(_hosts(day)))
        )
        print(f"B10: day {day + 1} of {DAYS}", end="\r", file=sys.stderr, flush=True)
    half.rename(path)


def _hosts(day: int) -> Iterator[HostAnswer]:
    """The hosts of a day: most of them steady, one disk in ten slowly filling up."""
    dice = random.Random(day)
    for number in range(HOSTS):
        sick = dice.random() < 0.05
        used = 20 + number % 50 + (0.05 * day if number % 10 == 0 else 0) + dice.random()
        outcomes = [
            outcome(
                f"disk:disk:{path}",
                "health",
                "warning" if sick and path == "/" else "ok",
                f"{path} {used:.1f} % used (warning: > 85, critical: > 95)",
                metrics={"used_percent": round(used, 1), "free_bytes": 1e9, "inodes_percent": 12.5},
                details={"check": "disk", "type": "disk", "used_bytes": int(used * 1e8)},
            )
            for path in ("/", "/var", "/srv", "/home")
        ]
        outcomes += [_check(subject, metrics, dice) for subject, metrics in CHECKS.items()]
        outcomes += [
            outcome(
                f"postgresql:db{copy}",
                "backup",
                "ok",
                "141.2 MB in 5.4 s, restored and compared: 61 tables, 6 000 000 rows",
                metrics={"duration_seconds": 5.4 + dice.random(), "size_bytes": 148060123 + day * 100_000},
                details={"path": "/var/backups/sre-runbooks/db/db_20261120T090000Z.dump.zst", "level": "restored"},
            )
            for copy in range(2)
        ]
        outcomes.append(
            outcome("app logs", "log_cleanup", "ok", "12 files deleted", metrics={"deleted_bytes": 11_000_000})
        )
        yield HostAnswer(f"host{number:04d}.example.com", ("F11", "MCP", "ABS", "GHO")[number % 4], True, outcomes)


CHECKS: dict[str, dict[str, float]] = {
    "cpu:cpu": {"cpu_percent": 20, "iowait_percent": 1, "load1_per_cpu": 0.3},
    "memory:memory": {"memory_percent": 60, "available_bytes": 4e9, "swap_percent": 0, "oom_kills": 0},
    "http:api": {"response_seconds": 0.12, "status_code": 200},
    "http:business": {"response_seconds": 0.1, "status_code": 200, "error_rate": 0.0005, "throughput_per_minute": 1200},
    "http:sync": {"response_seconds": 0.1, "status_code": 200, "sync_age_seconds": 600},
    "service:api:api.service": {"active": 1, "restarts": 0, "uptime_seconds": 864000},
    "process:api": {"processes": 4, "memory_percent": 11, "cpu_percent": 8, "open_files": 80, "age_seconds": 864000},
    "port:api": {"connect_seconds": 0.001},
    "tls:api": {"days_remaining": 60},
    "postgresql:database": {
        "response_seconds": 0.02,
        "connections_percent": 30,
        "xid_age_percent": 3,
        "size_bytes": 9e9,
    },
    "redis:cache": {"response_seconds": 0.002, "memory_percent": 40, "hit_percent": 92},
    "directory:logs": {"size_bytes": 4e8, "files": 20, "newest_age_seconds": 4},
    "backup:backup:db0": {"age_seconds": 40000, "size_bytes": 148060123},
}


def _check(subject: str, metrics: Mapping[str, float], dice: random.Random) -> dict[str, Any]:
    found = {name: value * (0.9 + 0.2 * dice.random()) for name, value in metrics.items()}
    return outcome(subject, "health", "ok", "as it should be (warning: > 85, critical: > 95)", metrics=found)


def report(path: Path) -> tuple[float, float]:
    """Make all three forms of the latest run's report; return seconds and the peak of any process in MiB."""
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "sre.runbooks.report"]
    argv += ["-e", json.dumps({"report_history_url": f"sqlite:///{path}", "report_directory": str(FOLDER / "reports")})]
    started = time.monotonic()
    child = subprocess.Popen(argv, cwd=CHECKOUT, stdout=subprocess.DEVNULL)
    _pid, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"B10: ansible-playbook sre.runbooks.report ended with {child.returncode}")
    return time.monotonic() - started, usage.ru_maxrss / 1024


def show() -> bool:
    """Print the figure as a line of JSON; say whether it is within its bounds."""
    path = FOLDER / f"history-{HOSTS}x{DAYS}-2.db"
    if not path.exists():
        generate(path)
    runs = [report(path) for _round in range(ROUNDS)]
    seconds, peak = statistics.median(run[0] for run in runs), max(run[1] for run in runs)
    good = seconds <= SECONDS and peak <= MEBIBYTES
    line = {
        "id": "B10",
        "figure": round(seconds, 2),
        "bound": f"<= {SECONDS} s, <= {MEBIBYTES} MiB",
        "ok": good,
        "unit": "seconds",
        "what": f"report over {HOSTS} hosts and {DAYS} daily runs: table, JSON and HTML, with ansible-playbook's own start",
        "peak_mebibytes": round(peak, 1),
        "runs_seconds": [round(run[0], 2) for run in runs],
    }
    print(json.dumps(line), flush=True)
    return good


if __name__ == "__main__":
    sys.exit(0 if show() else 1)
