# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""B4 and B5: log_scan of a gigabyte beside one grep (and ripgrep, where it is) over it, and of its last day.

B4 is the module's whole process against grep's. B5 compares two scans of ours, so what both spend on starting Python and Ansible
(a scan of an empty log) is taken off; the line says what it is with it.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
CHECKOUT = Path(__file__).resolve().parents[2]
SIZE = 10**9
DAYS = 30
BOUNDS = {"B4": 1.5, "B5": 0.1}
RULES = [
    {"name": "errors", "pattern": r"\b(ERROR|CRITICAL|FATAL)\b", "per": "ratio", "warning": "> 1"},
    {"name": "performance", "pattern": "SLOW|TIMEOUT|MEMORY"},
    {"name": "access", "pattern": "AUTH|UNAUTHORIZED|FORBIDDEN"},
    {"name": "failed authentication", "pattern": r"authentication failed for user (?P<user>\w+)", "by": "user"},
    {"name": "rate limit", "pattern": "rate limit exceeded"},
    {"name": "refused", "pattern": '" (401|403|429) '},
    {"name": "AUTH_001", "pattern": r"\bAUTH_001\b"},
    {"name": "VAL_001", "pattern": r"\bVAL_001\b"},
    {"name": "DB_001", "pattern": r"\bDB_001\b", "within": "1m"},
    {"name": "API_001", "pattern": r"\bAPI_001\b"},
]
# The same lines in the words of grep and ripgrep.
PEER = "|".join(
    [
        r"\b(ERROR|CRITICAL|FATAL)\b|SLOW|TIMEOUT|MEMORY|AUTH|UNAUTHORIZED|FORBIDDEN|authentication failed for user \w+",
        r'rate limit exceeded|" (401|403|429) |\b(AUTH_001|VAL_001|DB_001|API_001)\b',
    ]
)
USUAL = [
    "Optimization completed in %.3fs", "GET /api/v1/projects/%d answered 200", "synchronised board %d", "cache hit for key %d",
    "allocated worker %d to its task",
]  # fmt: skip
BAD = [
    "[DB_001] database connection failed, attempt %d", "authentication failed for user u%d", "TIMEOUT after 30 s, request %d",
    "rate limit exceeded for client %d", "[AUTH_001] invalid credentials, session %d",
]  # fmt: skip


def make(path: Path) -> None:
    """Write a log of `DAYS` days up to now, one line of a hundred an error. Its text repeats, its stamps do not."""
    chance = random.Random(7)
    endings = []
    for number in range(100_000):
        bad = chance.random() < 0.01
        text = chance.choice(BAD if bad else USUAL) % (chance.random() * 1000)
        endings.append(
            f",{number % 1000:03} {'ERROR' if bad else 'INFO'} app.worker.pool request={number * 2654435761 % 2**32:08x} {text}\n"
        )
    average = sum(map(len, endings)) / len(endings) + 19
    lines = int(SIZE / average)
    begin, step = time.time() - DAYS * 86400, DAYS * 86400 / lines
    with path.open("w", encoding="ascii") as stream:
        for second, group in itertools.groupby(range(lines), key=lambda number: int(begin + number * step)):
            stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
            stream.write("".join(stamp + endings[number % len(endings)] for number in group))


def scan(path: Path, state: Path, window: str) -> dict[str, int]:
    """Run the module as Ansible runs it on a host: a process of its own, with its arguments; return the rules' counts."""
    arguments = {
        "ANSIBLE_MODULE_ARGS": {
            "state_dir": str(state), "window": window, "sources": [{"name": "log", "path": str(path)}], "rules": RULES,
        }
    }  # fmt: skip
    program = CHECKOUT / "plugins/modules/log_scan.py"
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / ".work/collections")}
    done = subprocess.run(
        [sys.executable, str(program)],
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    found = json.loads(done.stdout)["outcomes"]
    return {
        each["details"]["rule"]: each["metrics"]["matches"] for each in found if each["subject"].startswith("rule:")
    }


def timed(work: object, *arguments: object) -> tuple[float, object]:
    began = time.monotonic()
    result = work(*arguments)  # type: ignore[operator]
    return time.monotonic() - began, result


def peer(argv: list[str]) -> int:
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    return int(done.stdout)


def show(wanted: list[str] | None = None) -> bool:
    """Measure in turn, so that a busy moment of the machine hits all alike; print a line for each figure."""
    with tempfile.TemporaryDirectory(prefix="bench-log-scan-") as made:
        folder = Path(made)
        path = folder / "app.log"
        make(path)
        times = measure(path, folder / "state")
    medians = {name: statistics.median(figures) for name, figures in times.items()}
    start, everything, window = medians["start"], medians["scan"], medians["window"]
    figures = {
        "B4": ("log_scan with 10 rules on 1 GB / one grep -cE", everything / medians["grep"]),
        "B5": (
            f"log_scan of the last 24 h of a 1 GB file of 30 days / scanning it all, without the start; with it {window / everything:.3f}",
            (window - start) / (everything - start),
        ),
    }
    good = True
    for name, (what, ratio) in figures.items():
        if wanted and name not in wanted:
            continue
        good &= ratio <= BOUNDS[name]
        line = {
            "id": name,
            "figure": round(ratio, 3),
            "bound": f"<= {BOUNDS[name]:g}",
            "ok": ratio <= BOUNDS[name],
            "unit": "ratio",
            "what": what,
            "medians_seconds": {each: round(value, 3) for each, value in medians.items()},
            "runs_seconds": {each: [round(value, 3) for value in runs] for each, runs in times.items()},
        }
        print(json.dumps(line), flush=True)
    return good


def measure(path: Path, state: Path) -> dict[str, list[float]]:
    programs = {"grep": ["grep", "-cE", PEER, str(path)], "grep of 3": ["grep", "-cE", "ERROR|TIMEOUT|AUTH", str(path)]}
    if shutil.which("rg"):
        programs["rg"] = ["rg", "-c", PEER, str(path)]
    else:
        print("B4: ripgrep is not installed; install the package ripgrep to measure it too", file=sys.stderr)
    times: dict[str, list[float]] = {name: [] for name in (*programs, "start", "scan", "window")}
    empty = path.with_name("empty.log")
    empty.touch()
    for number in range(ROUNDS + 1):
        counts = {}
        for name, argv in programs.items():
            seconds, counts[name] = timed(peer, argv)
            times[name].append(seconds)
        times["start"].append(timed(scan, empty, state, "24h")[0])
        seconds, found = timed(scan, path, state, f"{2 * DAYS}d")
        times["scan"].append(seconds)
        if found["errors"] != counts["grep"]:  # type: ignore[index]
            sys.exit(f"B4: log_scan counted {found}, grep {counts['grep']}")
        seconds, found = timed(scan, path, state, "24h")
        times["window"].append(seconds)
        expected = counts["grep"] / DAYS  # type: ignore[operator]
        if not 0.5 < found["errors"] / expected < 1.5:  # type: ignore[index]
            sys.exit(f"B5: log_scan counted {found}, about {expected:.0f} were expected")
        if number == 0:  # it fills caches
            for figures in times.values():
                figures.clear()
    return times


if __name__ == "__main__":
    sys.exit(0 if show(sys.argv[1:]) else 1)
