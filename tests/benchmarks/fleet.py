# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a fleet that pulls asks of its PostgreSQL history: hosts that record at once, and their runs joined. For docs/scale.md.

    python tests/benchmarks/fleet.py postgresql://user@host/empty_database [hosts] [writers]

Prints a line of JSON: runs recorded a second by so many writers at once, and time and peak memory of joining all of them.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import sys
import time

from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome
from ansible_collections.sre.runbooks.plugins.plugin_utils.history import History
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import HostAnswer, Run

OUTCOMES = 20


def run_of(number: int) -> Run:
    """What one host records of a daily run: checks, log rules, clean-up, backups."""
    outcomes = [
        outcome(f"http:check {each}", "health", "ok", "GET answered 200 in 12 ms", metrics={"response_seconds": 0.012, "status_code": 200})
        for each in range(OUTCOMES)
    ]  # fmt: skip
    host = HostAnswer(f"host-{number:05}.example.org", f"S{number % 20}", True, outcomes)
    start = "2026-11-21T09:00:00Z"
    return Run(f"20261121T090000Z-{number:06x}", "daily", start, start, False, "0.1.0", ["health"], [host])


def record(url: str, first: int, hosts: int, step: int) -> None:
    """Record the runs of every `step`th host, each in a connection of its own as a pulling host does."""
    for number in range(first, hosts, step):
        History(url).record(run_of(number))


def main() -> None:
    """Measure, and print it."""
    url, hosts, writers = sys.argv[1], *(int(each) for each in [*sys.argv[2:], "1000", "8"][:2])
    record(url, 0, 1, 1)
    began = time.monotonic()
    started = [multiprocessing.Process(target=record, args=(url, 1 + each, hosts, writers)) for each in range(writers)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    recorded = time.monotonic() - began
    began = time.monotonic()
    found, _stages = History(url).newest_answers("daily", "2026-11-21T00:00:00Z")
    joined = time.monotonic() - began
    assert len(found) == hosts
    figures = {
        "hosts": hosts, "writers": writers, "runs_per_second": round((hosts - 1) / recorded, 1), "join_seconds": round(joined, 2),
        "join_peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }  # fmt: skip
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
