# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the figures of docs/performance.md that need a fleet; print a line of JSON for each."""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Callable
from typing import NamedTuple

import backup
import lab
import log_cleanup
import log_scan
import longterm
import memory

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))


class Ratio(NamedTuple):
    """A figure: the time of one thing divided by the time of another; `at_least` says which side of the bound is good."""

    id: str
    what: str
    dividend: str
    divisor: str
    bound: float
    at_least: bool = False


RATIOS = [
    Ratio("B1", "15 health checks of 40 hosts / one ping", "health", "ping", 1.5),
    Ratio("B2", "15 tasks of stock modules / our one task, 40 hosts", "stock", "health", 12, at_least=True),
    Ratio("B3", "daily run of 40 hosts / one ping", "daily", "ping", 8),
    Ratio("B11", "15 health checks under Mitogen / pyinfra with 15 commands, 40 hosts", "mitogen", "pyinfra", 0.9),
]

# What is timed. A backup is due in every daily run, so that each does the whole work.
WORK: dict[str, Callable[[], float]] = {
    "ping": lambda: lab.playbook("tests/benchmarks/ping.yml"),
    "health": lambda: lab.playbook("tests/benchmarks/health.yml"),
    "stock": lambda: lab.playbook("tests/benchmarks/stock.yml"),
    "daily": lambda: lab.playbook("sre.runbooks.daily", "--extra-vars=backup_interval=0s"),
    "mitogen": lambda: lab.mitogen("tests/benchmarks/health.yml"),
    "pyinfra": lambda: lab.timed(
        [
            "pyinfra",
            "-y",
            "--parallel",
            lab.FORKS,
            "tests/benchmarks/pyinfra_inventory.py",
            "tests/benchmarks/pyinfra_deploy.py",
        ]
    ),
}


def main(wanted: list[str]) -> int:
    known = {ratio.id for ratio in RATIOS} | {"B6", "B9", *backup.BOUNDS, *log_scan.BOUNDS, *longterm.BOUNDS}
    if unknown := set(wanted) - known:
        sys.exit(f"no figure {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")
    ratios = [ratio for ratio in RATIOS if not wanted or ratio.id in wanted]
    good = True
    if not wanted or set(wanted) & set(log_scan.BOUNDS):
        good &= log_scan.show(wanted)
    if not wanted or "B6" in wanted:
        good &= log_cleanup.show()
    if not wanted or set(wanted) & set(backup.BOUNDS):
        good &= backup.show(wanted)
    if not wanted or set(wanted) & set(longterm.BOUNDS):
        good &= longterm.show(wanted)
    if wanted and set(wanted) <= {"B6", *backup.BOUNDS, *log_scan.BOUNDS, *longterm.BOUNDS}:
        return 0 if good else 1
    with lab.lab(keep=os.environ.get("BENCH_KEEP") == "1"):
        times = measure({name for ratio in ratios for name in (ratio.dividend, ratio.divisor)})
        for ratio in ratios:
            good &= show(ratio, times)
        if not wanted or "B9" in wanted:
            good &= memory.show()
    return 0 if good else 1


def measure(names: set[str]) -> dict[str, list[float]]:
    """Time each thing once a round, in turn, so that a busy moment of the machine hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in WORK if name in names}
    for number in range(ROUNDS + 1):
        for name, figures in times.items():
            # The first round fills caches and is not counted; the stock tasks take minutes, in which a cache is nothing.
            if number == 0 and name == "stock":
                continue
            seconds = WORK[name]()
            print(f"round {number} {name}: {seconds:.2f} s", file=sys.stderr, flush=True)
            if number:
                figures.append(seconds)
    return times


def show(ratio: Ratio, times: dict[str, list[float]]) -> bool:
    medians = {name: statistics.median(times[name]) for name in (ratio.dividend, ratio.divisor)}
    figure = medians[ratio.dividend] / medians[ratio.divisor]
    good = figure >= ratio.bound if ratio.at_least else figure <= ratio.bound
    line = {
        "id": ratio.id,
        "figure": round(figure, 3),
        "bound": f"{'>=' if ratio.at_least else '<='} {ratio.bound:g}",
        "ok": good,
        "unit": "ratio",
        "what": ratio.what,
        "medians_seconds": {name: round(value, 2) for name, value in medians.items()},
        "runs_seconds": {name: [round(value, 2) for value in times[name]] for name in medians},
    }
    print(json.dumps(line), flush=True)
    return good


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
