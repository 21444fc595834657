# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the running service knows: its sickness, synchronisation, cache, queue, maintenance mode and figures."""

from __future__ import annotations

import mmap
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from .database import SYNC_RUNS, TASKS, Database, iso, now
from .logs import ERROR_CODES, Logs
from .settings import Settings

# A fixture has no users, so the figures that need traffic start from a steady load of this many calls a minute,
# which feels the sickness as real users would.
BASE_CALLS = 1200
BASE_ERROR_RATE = 0.001
WINDOW_SECONDS = 300
CACHE_SIZE = 100


@dataclass
class Sickness:
    """What is wrong on purpose. `metrics` replaces business metrics by name, `stale_sync_seconds` adds to the age."""

    latency_seconds: float = 0.0
    error_rate: float = 0.0
    memory_mib: int = 0
    hung_workers: int = 0
    stale_sync_seconds: int = 0
    database_down: bool = False
    queue_depth: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    ballast: mmap.mmap | None = field(default=None, repr=False)
    released: threading.Event = field(default_factory=threading.Event, repr=False)
    _debt: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def fails_now(self) -> bool:
        """Say whether this request is to fail: exactly the share `error_rate` of them, evenly spread."""
        with self._lock:
            self._debt += self.error_rate
            if self._debt >= 1:
                self._debt -= 1
                return True
            return False

    def hold_memory(self, mebibytes: int) -> None:
        """Hold so much memory: mapped, so that all of it goes back; written to, or the kernel would not count it."""
        if self.ballast is not None:
            self.ballast.close()
            self.ballast = None
        self.memory_mib = mebibytes
        if mebibytes:
            self.ballast = mmap.mmap(-1, mebibytes * 2**20)
            for _each in range(mebibytes):
                self.ballast.write(b"\x01" * 2**20)

    def hang(self, seconds: float) -> None:
        """Occupy the calling worker until recovery, `seconds` at most."""
        self.released.wait(seconds)

    def recover(self) -> None:
        self.released.set()
        self.released = threading.Event()
        self.latency_seconds = self.error_rate = self._debt = 0.0
        self.stale_sync_seconds = self.queue_depth = self.hung_workers = 0
        self.database_down = False
        self.metrics = {}
        self.hold_memory(0)

    def report(self) -> dict[str, Any]:
        names = (
            "latency_seconds",
            "error_rate",
            "memory_mib",
            "hung_workers",
            "stale_sync_seconds",
            "database_down",
            "queue_depth",
            "metrics",
        )
        return {name: getattr(self, name) for name in names}


class Cache:
    """A small cache of answers that counts hits and misses; it starts with counts of a warm one."""

    def __init__(self) -> None:
        self.entries: dict[str, Any] = {}
        self.hits, self.misses = 920, 80

    def get(self, key: str) -> Any | None:
        found = self.entries.get(key)
        if found is None:
            self.misses += 1
        else:
            self.hits += 1
        return found

    def put(self, key: str, value: Any) -> None:
        while len(self.entries) >= CACHE_SIZE:
            self.entries.pop(next(iter(self.entries)), None)
        self.entries[key] = value

    def stats(self) -> dict[str, float]:
        return {
            "hits": self.hits,
            "misses": self.misses,
            "entries": len(self.entries),
            "hit_rate": self.hits / (self.hits + self.misses),
        }

    def flush(self) -> int:
        """Empty the cache, begin counting anew, and return how many entries went."""
        gone = len(self.entries)
        self.entries.clear()
        self.hits, self.misses = 1, 0
        return gone


class State:
    """The service's memory, and the thread that synchronises."""

    def __init__(self, settings: Settings, database: Database, logs: Logs) -> None:
        self.settings, self.database, self.logs = settings, database, logs
        self.port = settings.port
        self.started = time.monotonic()
        self.sickness = Sickness()
        database.is_down = lambda: self.sickness.database_down
        self.cache = Cache()
        self.queue: deque[dict[str, Any]] = deque()
        self.maintenance = False
        self._calls: deque[tuple[float, bool]] = deque()
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def count(self, failed: bool) -> None:
        """Count one call of the last five minutes."""
        moment = time.monotonic()
        with self._lock:
            self._calls.append((moment, failed))
            while self._calls[0][0] < moment - WINDOW_SECONDS:
                self._calls.popleft()

    def queue_depth(self) -> int:
        return len(self.queue) + self.sickness.queue_depth

    def business_metrics(self) -> dict[str, float]:
        """The metrics of row H8 by name; ratios 0 to 1, percent and base units where the name says so."""
        sickness, minutes = self.sickness, WINDOW_SECONDS / 60
        with self._lock:
            calls = list(self._calls)
        failed = sum(one_failed for _moment, one_failed in calls)
        base = BASE_CALLS / (1 + 10 * sickness.latency_seconds)
        base_failed = base * minutes * min(1.0, BASE_ERROR_RATE + sickness.error_rate)
        models = self.database.model_metrics()
        models["model_latency_seconds"] += sickness.latency_seconds
        models["success_rate_percent"] *= 1 - sickness.error_rate
        return {
            **self.database.planning_metrics(),
            **models,
            "cache_hit_rate": self.cache.stats()["hit_rate"],
            "error_rate": (base_failed + failed) / (base * minutes + len(calls)),
            "throughput_per_minute": base + len(calls) / minutes,
            "queue_depth": self.queue_depth(),
            **sickness.metrics,
        }

    def sync_report(self) -> dict[str, Any]:
        """When the last synchronisation succeeded and how long ago, in seconds; age null when there was none."""
        last = self.database.last_sync()
        age = None if last is None else max(0.0, (now() - last).total_seconds())
        if age is not None and self.sickness.stale_sync_seconds:
            age += self.sickness.stale_sync_seconds
        return {
            "last_success": iso(last),
            "age_seconds": age,
            "status": "stale" if age is None or age > 1800 else "fresh",
        }

    def synchronise(self) -> bool:
        """Do what stands for a synchronisation with Monday.com, and say how it went."""
        started = time.monotonic()
        well = not self.sickness.stale_sync_seconds
        with self.database.begin() as connection:
            tasks = connection.execute(sa.select(sa.func.count()).select_from(TASKS)).scalar_one()
            connection.execute(SYNC_RUNS.insert().values(finished_at=now(), succeeded=well, items=tasks))
        if well:
            self.logs.performance.info(
                "Monday.com sync completed in %.3fs (%d items)", time.monotonic() - started, tasks
            )
        else:
            self.logs.main.warning("TIMEOUT Monday.com sync failed: no answer")
        return well

    def write_error_lines(self, lines: int) -> None:
        codes = list(ERROR_CODES)
        for number in range(lines):
            self.logs.failure(codes[number % len(codes)], f"written on purpose, line {number + 1} of {lines}")

    def hang_workers(self, workers: int, seconds: float, token: str) -> None:
        """Occupy so many of the server's workers; with all of them nothing answers before a restart or `seconds`."""
        self.sickness.hung_workers = workers
        request = urllib.request.Request(
            f"http://{self.settings.host}:{self.port}/admin/hang?seconds={seconds}",
            headers={"Authorization": f"Bearer {token}"},
        )

        def call() -> None:
            try:
                urllib.request.urlopen(request, timeout=seconds + 5).close()
            except (urllib.error.URLError, OSError) as error:
                self.logs.main.warning("TIMEOUT a hung worker ended: %s", error)

        for _each in range(workers):
            threading.Thread(target=call, daemon=True).start()

    def start_synchronisation(self) -> None:
        threading.Thread(target=self._synchronise_always, daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()

    def _synchronise_always(self) -> None:
        while True:
            try:
                self.synchronise()
            except sa.exc.SQLAlchemyError as error:
                self.logs.failure("DB_001", f"synchronisation: {type(error).__name__}")
            if self._stopping.wait(self.settings.sync_seconds):
                return
