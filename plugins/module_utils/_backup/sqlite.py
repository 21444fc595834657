# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SQLite: the online backup API while writers are busy.

In WAL mode the copy is made in one read transaction, which keeps no writer from its work. With a rollback journal it is
made in steps with no lock between them; each write by another process makes SQLite start again, so after a few
restarts the copy is made in one read transaction there too, and writers wait as long as it takes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import sqlite3
import stat
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _packing
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import (
    Dump,
    Mismatch,
    Preflight,
    Source,
    Work,
)
from ansible_collections.sre.runbooks.plugins.module_utils._core import sqlite
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError

OPTIONS: dict[str, t.Any] = {"path": {"type": "path", "required": True}}
EXTENSION = ".sqlite"
# 64 MiB of the usual pages: writers wait for a step no longer than they do for one of their own.
PAGES = 16384
RESTARTS = 2
# A writer without a pause leaves gaps of a few milliseconds, which SQLite's own waiting (100 ms) misses for minutes.
WAIT_SECONDS = 0.002
# integrity_check looks every row up in every index: with SQLite's own 2 MiB each look-up is a read.
CACHE_KIB = 24576
# A source that lets no reader in for so long is not merely busy.
LOCKED_SECONDS = 60.0
_MAGIC = b"SQLite format 3\0"


class _Restless(Exception):
    """Writers made the copy start again too often."""


def check(source: dict[str, t.Any], where: str) -> None:
    """Relative paths would depend on the folder that Ansible happens to start in."""
    if not os.path.isabs(source["path"]):
        raise InputError(f"{where}.path", source["path"], "is no absolute path", "Write it from the root on.")


def preflight(source: Source, work: Work) -> Preflight:
    """The source is a SQLite database that can be read."""
    path = source["path"]
    with _explained(path):
        info = os.stat(path)
        if not stat.S_ISREG(info.st_mode):
            raise RunbookError(f"path: {path} is no regular file. Name the database file.")
        with open(path, "rb") as stream:
            header = stream.read(len(_MAGIC))
    if header != _MAGIC:
        raise RunbookError(f"path: {path} holds no SQLite database. Name the database file.")
    total = info.st_size + sqlite.size(sqlite.wal(path))
    return Preflight(total, total, {"sqlite": sqlite3.sqlite_version})


def sweep(source: Source, work: Work) -> list[str]:
    """Everything that a killed run leaves lies in the backup folder."""
    return []


def dump(source: Source, partial: str, work: Work) -> Dump:
    """Copy into a scratch file, check that, pack it."""
    copy = work.scratch("snapshot")
    with _scratch_file(copy), _explained(source["path"]):
        _snapshot(source["path"], copy, work)
        figures = _figures(copy, _pragma(work.level))
        sha256 = _packing.store(work.commands, work.packing.pack(copy), partial, timeout=work.seconds())
    return Dump(sha256, figures)


def read(source: Source, path: str, work: Work) -> dict[str, t.Any]:
    """Unpack the copy and look at every page for damage."""
    with _restored(path, work) as (copy, _seconds):
        return {"size_bytes": sqlite.size(copy), "check": _integrity(copy, "quick_check")}


def restore(source: Source, path: str, figures: t.Mapping[str, t.Any], work: Work) -> dict[str, t.Any]:
    """Unpack the copy, check its integrity, compare schema and rows with those of the dump."""
    with _restored(path, work) as (copy, seconds):
        return {**compare(copy, path, figures), "restore_seconds": round(seconds, 3)}


def compare(database: str, path: str, figures: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Hold the unpacked `database` of the copy `path` against the `figures` of its dump; Mismatch when it differs."""
    with _explained(path):
        found = _figures(database, "integrity_check")
    for key in ("schema_sha256", "tables"):
        if found[key] != figures.get(key):
            raise Mismatch(f"{path}: {key} of the restored copy differs from the source's at the time of the dump.")
    return {
        "tables": len(found["tables"]),
        "rows": sum(found["tables"].values()),
        "check": found["check"],
    }


def _pragma(level: str) -> str | None:
    """How thoroughly the scratch copy is checked before it is packed."""
    return None if level == "checksum" else "quick_check"


def _snapshot(path: str, copy: str, work: Work) -> None:
    before = _fingerprint(path)
    if before is not None:
        # A database in WAL mode that nobody has open: a reader would leave -wal and -shm files beside it, unless
        # it takes the file for unchangeable, which it is if it looks the same afterwards.
        _copy(path, copy, "mode=ro&immutable=1", False, work)
        if _fingerprint(path) == before:
            return
        os.truncate(copy, 0)
    _copy(path, copy, "mode=ro", sqlite.in_wal_mode(path), work)


def _copy(path: str, copy: str, parameters: str, one_transaction: bool, work: Work) -> None:
    source = sqlite3.connect(_uri(path, parameters), uri=True, isolation_level=None, timeout=0)
    with contextlib.closing(source), contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as target:
        # The copy is worth nothing before it is complete, so neither journal nor fsync is needed.
        target.execute("PRAGMA journal_mode=OFF")
        target.execute("PRAGMA synchronous=OFF")
        if not one_transaction:
            with contextlib.suppress(_Restless):
                source.backup(target, pages=PAGES, progress=_watch(work, RESTARTS), sleep=WAIT_SECONDS)
                return
        source.execute("BEGIN")
        _start_reading(source, work)
        source.backup(target, pages=PAGES, progress=_watch(work, None), sleep=WAIT_SECONDS)
        source.execute("COMMIT")


def _start_reading(source: sqlite3.Connection, work: Work) -> None:
    """Take the read lock that the transaction keeps to its end."""
    watch = _watch(work, None)
    while True:
        try:
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
        watch(0, 0, 0)
        time.sleep(WAIT_SECONDS)


def _watch(work: Work, restarts: int | None) -> t.Callable[[int, int, int], None]:
    """A progress callback that ends what would never end: `restarts` beginnings anew, a lock held for ever, the deadline."""
    last, begun, moved = -1, 0, time.monotonic()

    def progress(_status: int, remaining: int, total: int) -> None:
        nonlocal last, begun, moved
        work.seconds()
        done = total - remaining
        if done != last:
            moved = time.monotonic()
        elif time.monotonic() - moved > LOCKED_SECONDS:
            raise RunbookError(
                f"the database was locked for {LOCKED_SECONDS:g} s. Find the program that holds the lock."
            )
        if done < last:
            begun += 1
            if restarts is not None and begun > restarts:
                raise _Restless
        last = done

    return progress


def _figures(path: str, pragma: str | None) -> dict[str, t.Any]:
    """Rows of each table, a checksum of the schema, and the result of `pragma`; of a file that nobody writes to."""
    found: dict[str, t.Any] = {} if pragma is None else {"check": _integrity(path, pragma)}
    with _reading(path) as database:
        schema = database.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name").fetchall()
        found["schema_sha256"] = hashlib.sha256(repr(schema).encode("utf-8", "surrogatepass")).hexdigest()
        found["objects"] = len(schema)
        # Virtual tables may need an extension that only the application loads; their shadow tables are counted.
        names = [row[1] for row in schema if row[0] == "table" and not str(row[3]).upper().startswith("CREATE VIRTUAL")]
        found["tables"] = {
            name: database.execute(f"SELECT count(*) FROM {sqlite.quoted(name)}").fetchone()[0]  # noqa: S608 - quoted
            for name in names
        }
    return found


def _integrity(path: str, pragma: str) -> str:
    with _reading(path) as database:
        try:
            lines = [row[0] for row in database.execute(f"PRAGMA {pragma}(3)")]
        except sqlite3.DatabaseError as error:
            raise Mismatch(
                f"{pragma} cannot read the copy: {error}. The database itself is damaged, repair it first."
            ) from error
    if lines != ["ok"]:
        raise Mismatch(f"{pragma} finds damage: {'; '.join(lines)}. Repair the database, then run again.")
    return f"{pragma} ok"


@contextlib.contextmanager
def _reading(path: str) -> t.Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(_uri(path, "mode=ro&immutable=1"), uri=True)) as database:
        database.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        database.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        yield database


@contextlib.contextmanager
def _restored(path: str, work: Work) -> t.Iterator[tuple[str, float]]:
    """The unpacked copy and the seconds that it took."""
    copy = work.scratch("restore")
    started = time.monotonic()
    with _scratch_file(copy):
        _packing.unpack_to(work.commands, work.unpack(path), copy, work.seconds())
        with _explained(path):
            yield copy, time.monotonic() - started


@contextlib.contextmanager
def _scratch_file(path: str) -> t.Iterator[None]:
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


@contextlib.contextmanager
def _explained(path: str) -> t.Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise RunbookError(
            f"path: {error.filename or path} does not exist. Correct the path, or take the source out."
        ) from error
    except OSError as error:
        raise RunbookError(f"path: {error.filename or path}: {error.strerror}. Give access, or make room.") from error
    except sqlite3.Error as error:
        # An OperationalError speaks of the circumstances, a plain DatabaseError of the file's content.
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            raise Mismatch(f"{path}: {error}. The database is damaged.") from error
        raise RunbookError(f"{path}: {error}. See that the database opens with the sqlite3 program.") from error


def _fingerprint(path: str) -> tuple[int, ...] | None:
    """What changes when a database in WAL mode that nobody has open is written to; None when somebody has it open."""
    info = os.stat(path)
    if not sqlite.in_wal_mode(path) or os.path.exists(sqlite.wal(path)):
        return None
    return (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)


def _uri(path: str, parameters: str) -> str:
    return f"{pathlib.Path(path).as_uri()}?{parameters}"
