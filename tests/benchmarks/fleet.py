# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a fleet that pulls asks of its PostgreSQL history: hosts that record at once, and their runs joined. For docs/scale.md.

    python tests/benchmarks/fleet.py postgresql://user@host/empty_database [hosts] [recorded] [writers]

Prints a line of JSON: how long one record takes alone, how many a second so many writers record at once, and time and peak memory of
joining the runs of `hosts` hosts.
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


# One run of all hosts is made a run of each; faster than recording ten thousand one by one.
SPREAD = """
CREATE TEMPORARY TABLE spread AS
    SELECT host, run AS whole, run + row_number() OVER (ORDER BY host) AS number FROM host_runs WHERE run = (SELECT max(number) FROM runs);
INSERT INTO runs (number, id, playbook, started, finished, check_mode, status, version, stages, hosts, answered, ok, skipped, unknown, warning, critical)
    SELECT spread.number, id || '-' || host, playbook, started, finished, check_mode, status, version, stages, 1, 1, ok, skipped, unknown, warning, critical
    FROM spread JOIN runs ON runs.number = whole;
UPDATE host_runs SET run = spread.number FROM spread WHERE host_runs.run = whole AND host_runs.host = spread.host;
UPDATE outcomes SET run = spread.number FROM spread WHERE outcomes.run = whole AND outcomes.host = spread.host;
ANALYZE;
"""


def answer(number: int) -> HostAnswer:
    """What one host says in a daily run: checks, log rules, clean-up, backups."""
    outcomes = [
        outcome(f"http:check {each}", "health", "ok", "GET answered 200 in 12 ms", metrics={"response_seconds": 0.012, "status_code": 200})
        for each in range(OUTCOMES)
    ]  # fmt: skip
    return HostAnswer(f"host-{number:05}.example.org", f"S{number % 20}", True, outcomes)


def run_of(name: str, hosts: list[HostAnswer]) -> Run:
    """Return a run of those hosts."""
    start = "2026-11-21T09:00:00Z"
    return Run(f"20261121T090000Z-{name}", "daily", start, start, False, "0.1.0", ["health"], hosts)


def record(url: str, first: int, end: int, step: int) -> None:
    """Record the runs of every `step`th host, each in a connection of its own as a pulling host does."""
    for number in range(first, end, step):
        History(url).record(run_of(f"{number:06x}", [answer(number)]))


def at_once(url: str, recorded: int, writers: int) -> float:
    """Return how many runs a second `writers` record."""
    began = time.monotonic()
    started = [multiprocessing.Process(target=record, args=(url, each, recorded, writers)) for each in range(writers)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    return recorded / (time.monotonic() - began)


def main() -> None:
    """Measure, and print it."""
    url, hosts, recorded, writers = sys.argv[1], *(int(each) for each in [*sys.argv[2:], "10000", "100", "8"][:3])
    record(url, hosts, hosts + 1, 1)
    began = time.monotonic()
    record(url, hosts + 1, hosts + 6, 1)
    alone = (time.monotonic() - began) / 5
    figures = {
        "hosts": hosts,
        "writers": writers,
        "record_seconds": round(alone, 3),
        "records_per_second": round(at_once(url, recorded, writers), 1),
    }
    began = time.monotonic()
    History(url).record(run_of("whole", [answer(number) for number in range(hosts)]))
    figures["record_whole_seconds"] = round(time.monotonic() - began, 1)
    with History(url)._store.writing() as connection:
        connection.exec_driver_sql(SPREAD)
    began = time.monotonic()
    found, _stages = History(url).newest_answers("daily", "2026-11-21T00:00:00Z")
    figures["join_seconds"] = round(time.monotonic() - began, 2)
    assert len(found) >= hosts
    figures["peak_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
