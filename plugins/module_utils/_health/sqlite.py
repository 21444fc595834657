# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SQLite databases."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import typing as t
import urllib.parse

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError, TargetDown
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation

METRICS = ("response_seconds", "size_bytes", "free_percent", "wal_bytes")
OPTIONS: dict[str, t.Any] = {
    "path": {"type": "path", "required": True},
    "integrity": {"type": "str", "choices": ["none", "quick", "full"], "default": "none"},
}
DEFAULT_BOUNDS: dict[str, t.Any] = {}
INHERENT = True
PRAGMAS = {"quick": "PRAGMA quick_check(5)", "full": "PRAGMA integrity_check(5)"}


def observe(options: t.Mapping[str, t.Any], _host: Host) -> list[Observation]:
    """Read the schema, which needs the file, its rights and a free lock; with `integrity` check the pages as well."""
    path = options["path"]
    if not os.path.isfile(path):
        raise TargetDown(f"{path}: there is no such file")
    started = time.monotonic()
    try:
        with contextlib.closing(connect(path, options["timeout"])) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            elapsed = time.monotonic() - started
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            free = connection.execute("PRAGMA freelist_count").fetchone()[0]
            problems = _integrity(connection, options["integrity"], started + options["timeout"])
    except sqlite3.Error as error:
        if str(error) == "interrupted":
            raise RunbookError(
                f"{path}: the {options['integrity']} check did not end within {options['timeout']:g} s. Raise timeout."
            ) from error
        raise TargetDown(f"{path}: {error}") from error
    metrics: dict[str, float] = {
        "response_seconds": round(elapsed, 6),
        "size_bytes": os.path.getsize(path),
        "free_percent": round(100 * free / pages, 1) if pages else 0.0,
        "wal_bytes": os.path.getsize(f"{path}-wal") if os.path.exists(f"{path}-wal") else 0,
    }
    if problems:
        return [Observation(metrics, f"{path}: {options['integrity']} check found: {'; '.join(problems)}", "critical")]
    checked = "" if options["integrity"] == "none" else f", {options['integrity']} check passed"
    summary = f"answered in {show_duration(elapsed)}, {show_size(metrics['size_bytes'])}{checked}"
    return [Observation(metrics, summary)]


def connect(path: str, timeout: float) -> sqlite3.Connection:
    """Open read-only, and where no write-ahead log is in use so that no `-wal` and `-shm` appear beside the file."""
    immutable = "" if os.path.exists(f"{path}-wal") or _journal_is_rollback(path) else "&immutable=1"
    uri = f"file:{urllib.parse.quote(path)}?mode=ro{immutable}"
    return sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)


def _journal_is_rollback(path: str) -> bool:
    """Bytes 18 and 19 of the header: 1 is a rollback journal, 2 a write-ahead log (SQLite file format, 1.3.2)."""
    with open(path, "rb") as stream:
        return stream.read(20)[18:20] != b"\2\2"


def _integrity(connection: sqlite3.Connection, level: str, deadline: float) -> list[str]:
    """Problems that SQLite finds; interrupted at `deadline`, which raises `sqlite3.OperationalError`."""
    if level == "none":
        return []
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
    rows = [str(row[0]) for row in connection.execute(PRAGMAS[level])]
    return [] if rows == ["ok"] else rows
