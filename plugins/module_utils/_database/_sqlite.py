# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How maintenance opens a SQLite database, and what SQLite's errors mean to it."""

from __future__ import annotations

import contextlib
import os
import pathlib
import sqlite3
import stat
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import sqlite
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration
from ansible_collections.sre.runbooks.plugins.module_utils._database._engine import Damaged, Locked, Over, Work

CACHE_KIB = 16384
# Instructions of SQLite's machine between two looks at the clock: a fraction of a millisecond.
INSTRUCTIONS = 100000
TRY_MILLISECONDS = 40
PAUSE_SECONDS = 0.001
_MAGIC = b"SQLite format 3\0"


@contextlib.contextmanager
def opened(path: str, work: Work) -> t.Iterator[sqlite3.Connection]:
    """The database for reading and writing, or when the run is dry for reading without leaving a file beside it."""
    with explained(path, work):
        _regular(path)
        with contextlib.closing(_connect(path, work)) as database:
            database.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
            # A big sort or a VACUUM belongs on the disk whatever SQLite was built for.
            database.execute("PRAGMA temp_store=FILE")
            database.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
            if work.deadline is not None:
                deadline = work.deadline
                database.set_progress_handler(lambda: int(time.monotonic() > deadline), INSTRUCTIONS)
            yield database


def _connect(path: str, work: Work) -> sqlite3.Connection:
    parameters = "mode=rw"
    if work.dry:
        # A reader would make -wal and -shm files beside a database in WAL mode that nobody has open.
        parameters = (
            "mode=ro&immutable=1" if sqlite.in_wal_mode(path) and not os.path.exists(sqlite.wal(path)) else "mode=ro"
        )
    uri = f"{pathlib.Path(path).as_uri()}?{parameters}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=work.lock_seconds)


def _regular(path: str) -> None:
    info = os.stat(path)
    if not stat.S_ISREG(info.st_mode):
        raise RunbookError(f"path: {path} is no regular file. Name the database file.")
    with open(path, "rb") as stream:
        header = stream.read(len(_MAGIC))
    if header != _MAGIC:
        raise RunbookError(f"path: {path} holds no SQLite database. Name the database file.")


@contextlib.contextmanager
def explained(path: str, work: Work) -> t.Iterator[None]:
    """Turn errors of the system and of SQLite into those that the caller tells apart."""
    try:
        yield
    except FileNotFoundError as error:
        raise RunbookError(
            f"path: {error.filename or path} does not exist. Correct the path, or take the database out."
        ) from error
    except OSError as error:
        raise RunbookError(f"path: {error.filename or path}: {error.strerror}. Give access, or make room.") from error
    except sqlite3.OperationalError as error:
        raise _circumstance(path, str(error), work) from error
    except sqlite3.DatabaseError as error:
        # An OperationalError speaks of the circumstances, a plain DatabaseError of the file's content.
        raise Damaged(f"{path}: {error}.") from error


def _circumstance(path: str, text: str, work: Work) -> RunbookError:
    if "locked" in text:
        return Locked(f"locked by another program for {show_duration(work.lock_seconds)} (lock_timeout)")
    if "interrupted" in text:
        return Over("the time limit has passed")
    if "disk is full" in text or "disk I/O error" in text:
        return RunbookError(f"{path}: {text}. Make room in {os.path.dirname(path)}; the database is as it was.")
    if "readonly" in text and work.dry:
        return RunbookError(
            f"{path}: a program that was killed has left changes half done, which only a run without check mode takes back."
        )
    return RunbookError(f"{path}: {text}. See that the database opens with the sqlite3 program.")


def patiently(
    database: sqlite3.Connection, sql: str, work: Work, busy: t.Callable[[list[t.Any]], bool] | None = None
) -> list[t.Any]:
    """Run what needs a lock, and try again for as long as `lock_seconds` where somebody else has it or the rows are `busy`.

    A writer without a pause leaves gaps of a millisecond, which SQLite's own waiting, ten looks a second, misses for long. Each
    try waits a little all the same: meanwhile no new reader gets in (with a rollback journal).
    """
    until = time.monotonic() + work.lock_seconds
    database.execute(f"PRAGMA busy_timeout={TRY_MILLISECONDS}")
    try:
        while True:
            try:
                rows = database.execute(sql).fetchall()
                if busy is None or not busy(rows) or time.monotonic() >= until:
                    return rows
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() >= until:
                    raise
            work.seconds()
            time.sleep(PAUSE_SECONDS)
    finally:
        database.execute(f"PRAGMA busy_timeout={int(work.lock_seconds * 1000)}")


def literal(text: str) -> str:
    """A string, whatever is in it."""
    return "'" + text.replace("'", "''") + "'"


def usable(name: str) -> bool:
    """Whether SQL text can hold the name: bytes that are no UTF-8 cannot be written down."""
    return not any("\ud800" <= character <= "\udfff" for character in name)
