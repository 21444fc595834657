# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a long history costs, by the playbooks and actions that users call.

B10: the report over a thousand hosts and a year of daily runs, for each period. B12: recording a run of a thousand hosts.
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
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome
from ansible_collections.sre.runbooks.plugins.plugin_utils.history import History
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import HostAnswer, Run

HOSTS = 1000
DAYS = 365
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SECONDS, MEBIBYTES = 10, 500
BOUNDS = ("B10", "B12")
PERIODS = ("none", "daily", "monthly", "quarterly")
OUTCOMES = 20
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


class Took(NamedTuple):
    """Seconds that a run took, the peak of any of its processes in MiB, and the CPU time of all of them."""

    seconds: float
    peak: float
    cpu: float


def run(name: str, argv: list[str]) -> Took:
    """Run ansible-playbook."""
    started = time.monotonic()
    child = subprocess.Popen(
        [str(Path(sys.executable).with_name("ansible-playbook")), *argv], cwd=CHECKOUT, stdout=subprocess.DEVNULL
    )
    _pid, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{name}: ansible-playbook {' '.join(argv)} ended with {child.returncode}")
    return Took(time.monotonic() - started, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime)


def report(path: Path, period: str) -> Took:
    """Make all default forms of the latest run's report about `period`."""
    options = {
        "report_history_url": f"sqlite:///{path}",
        "report_directory": str(FOLDER / "reports"),
        "report_period": period,
    }
    return run("B10", ["-i", "localhost,", "sre.runbooks.report", "-e", json.dumps(options)])


RECORD = """
- name: Record a run
  hosts: all
  gather_facts: false
  tasks:
    - name: Record
      sre.runbooks.record:
        playbook: daily
        stages: [health, log_cleanup, backup]
        history_url: "{{ url }}"
      run_once: true
"""


def record(folder: Path) -> Took:
    """Record what a thousand hosts have registered: results as modules return them, in the inventory's variables."""
    results: dict[str, dict[str, Any]] = {}
    for each in next(_hosts(0)).outcomes:
        results.setdefault(f"{each['stage']}_result", {"outcomes": []})["outcomes"].append(each)
    hosts: dict[str, dict[str, str]] = {f"host{number:04d}.example.com": {} for number in range(HOSTS)}
    inventory = {"all": {"vars": {"runbooks_system": "F11", **results}, "hosts": hosts}}
    (folder / "hosts.json").write_text(json.dumps(inventory), encoding="utf-8")
    (folder / "record.yml").write_text(RECORD, encoding="utf-8")
    url = f"url=sqlite:///{folder}/history.db"
    return run("B12", ["-i", str(folder / "hosts.json"), str(folder / "record.yml"), "-e", url])


def show(wanted: Collection[str] = ()) -> bool:
    """Print the wanted figures, or all, as lines of JSON; say whether they are within their bounds."""
    good = True
    if not wanted or "B10" in wanted:
        good &= show_report()
    if not wanted or "B12" in wanted:
        good &= show_record()
    return good


def show_report() -> bool:
    """B10: the slowest of the periods counts."""
    path = FOLDER / f"history-{HOSTS}x{DAYS}-2.db"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        generate(path)
    runs = {period: [report(path, period) for _round in range(ROUNDS)] for period in PERIODS}
    medians = {period: statistics.median(each.seconds for each in found) for period, found in runs.items()}
    peak = max(each.peak for found in runs.values() for each in found)
    what = f"report over {HOSTS} hosts and {DAYS} daily runs: table, pages, JSON and Markdown, with ansible-playbook's own start; the slowest period"
    more = {
        "medians_seconds": {period: round(seconds, 2) for period, seconds in medians.items()},
        # On a machine that is busy with other things, what this alone has cost.
        "cpu_seconds": {period: round(min(each.cpu for each in found), 2) for period, found in runs.items()},
    }
    return _show("B10", max(medians.values()), peak, what, more)


def show_record() -> bool:
    """B12: a run of a thousand hosts into a history that knows them already."""
    with tempfile.TemporaryDirectory(prefix="sre-runbooks-bench-") as name:
        record(Path(name))
        runs = [record(Path(name)) for _round in range(ROUNDS)]
    what = f"record of a run of {HOSTS} hosts with {OUTCOMES} outcomes each, with ansible-playbook's own start"
    more = {
        "runs_seconds": [round(each.seconds, 2) for each in runs],
        "cpu_seconds": round(min(each.cpu for each in runs), 2),
    }
    seconds, peak = statistics.median(each.seconds for each in runs), max(each.peak for each in runs)
    return _show("B12", seconds, peak, what, more)


def _show(name: str, seconds: float, peak: float, what: str, more: Mapping[str, Any]) -> bool:
    good = seconds <= SECONDS and peak <= MEBIBYTES
    line = {
        "id": name,
        "figure": round(seconds, 2),
        "bound": f"<= {SECONDS} s, <= {MEBIBYTES} MiB",
        "ok": good,
        "unit": "seconds",
        "what": what,
        "peak_mebibytes": round(peak, 1),
        **more,
    }
    print(json.dumps(line), flush=True)
    return good


if __name__ == "__main__":
    sys.exit(0 if show(sys.argv[1:]) else 1)
