# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connections of the history store: the URL a user wrote, a SQLAlchemy engine, one exception for all that can fail."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sqlite3
import time
import typing as t
from pathlib import Path

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.plugin_utils._schema import MIGRATIONS, SQLALCHEMY_MISSING, NewerSchema

if SQLALCHEMY_MISSING is None:
    import sqlalchemy as sa

BUSY_SECONDS = 60
"""How long a writer waits for another one: recording a thousand hosts takes a second or two."""

CONNECT_SECONDS = 10

LOCK_KEY = 7_311_042_906_118
"""Key of the PostgreSQL advisory lock that recorders of one database share; an arbitrary constant."""

EXAMPLES = "sqlite:///~/.local/state/sre-runbooks/history.db or postgresql://user@host/database"


class HistoryError(RunbookError):
    """The history store cannot be used; names the option, its value without secrets, and the remedy."""

    def __init__(self, option: str, value: str, problem: str, remedy: str) -> None:
        super().__init__(f"{option}: {value} {problem}. {remedy}")


class Store:
    """An engine, the URL as it may be shown, and the way to lock out other writers."""

    def __init__(self, url: str, option: str = "history_url", wait: float = BUSY_SECONDS) -> None:
        """Take the URL apart; `wait` is how many seconds a statement waits for what another one holds."""
        self.option = option
        self.shown = shown(url)
        self._wait = wait
        if SQLALCHEMY_MISSING is not None:
            raise HistoryError(
                option,
                self.shown,
                "needs the Python package SQLAlchemy, which is not installed",
                "Install the collection's requirements.txt for the Python that runs ansible-playbook",
            )
        self._parsed = self._parse(url)
        self.sqlite = self._parsed.get_backend_name() == "sqlite"
        self.path = Path(os.path.abspath(os.path.expanduser(self._parsed.database or ""))) if self.sqlite else None

    def _parse(self, url: str) -> sa.URL:
        try:
            parsed = sa.make_url(url)
        except (sa.exc.ArgumentError, ValueError) as error:
            raise self._refused("is not a database URL") from error
        if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
            return parsed.set(drivername="postgresql+psycopg")
        if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
            if parsed.database in (None, "", ":memory:") or parsed.host:
                raise self._refused("names no file")
            return parsed
        raise self._refused(f"is of the kind {parsed.drivername!r}, not sqlite or postgresql")

    def _refused(self, problem: str) -> HistoryError:
        return HistoryError(self.option, self.shown, problem, f"Write it as {EXAMPLES}")

    @contextlib.contextmanager
    def reading(self) -> t.Iterator[sa.Connection]:
        """Give a connection in a transaction that only reads; a store that does not exist yet is an error."""
        if self.path is not None and not self.path.is_file():
            raise HistoryError(
                self.option,
                self.shown,
                "holds no history yet",
                "Run a playbook that records one first, such as sre.runbooks.daily",
            )
        with self._translated(), self._engine().connect() as connection, connection.begin():
            self._check_version(connection)
            yield connection

    @contextlib.contextmanager
    def writing(self) -> t.Iterator[sa.Connection]:
        """Give a connection in one transaction that no other writer shares; committed at the end or not at all."""
        with self._translated():
            if self.path is not None:
                _prepare_file(self.path)
            with self._engine().connect() as connection:
                connection = connection.execution_options(sre_runbooks_begin="BEGIN IMMEDIATE")
                with connection.begin():
                    if not self.sqlite:
                        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(self._wait * 1000)}")
                        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK_KEY)))
                    yield connection

    def _check_version(self, connection: sa.Connection) -> None:
        if not sa.inspect(connection).has_table("schema_version"):
            raise HistoryError(
                self.option,
                self.shown,
                "holds no history yet",
                "Run a playbook that records one first, such as sre.runbooks.daily",
            )
        version = connection.execute(sa.text("SELECT version FROM schema_version")).scalar() or 0
        if version > len(MIGRATIONS):
            raise NewerSchema(version)

    def _engine(self) -> sa.Engine:
        if self.path is None:
            return sa.create_engine(
                self._parsed, poolclass=sa.pool.NullPool, connect_args=_postgresql_arguments(self._parsed, self._wait)
            )
        url = sa.URL.create("sqlite", database=str(self.path))
        engine = sa.create_engine(url, poolclass=sa.pool.NullPool, connect_args={"timeout": self._wait})
        sa.event.listen(engine, "connect", functools.partial(_set_up_sqlite, wait=self._wait))
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine

    @contextlib.contextmanager
    def _translated(self) -> t.Iterator[None]:
        """Turn what the database and the file system raise into one exception, without secrets."""
        try:
            yield
        except NewerSchema as error:
            raise HistoryError(
                self.option,
                self.shown,
                f"was written by a later release (schema version {error}, this release knows {len(MIGRATIONS)})",
                "Update the collection sre.runbooks on this controller",
            ) from None
        except OSError as error:
            raise HistoryError(
                self.option, self.shown, f"cannot be used: {error.strerror}: {error.filename}", self._remedy()
            ) from None
        except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
            # The cause is cut off on purpose: a traceback would show the statement's parameters and the address.
            raise HistoryError(
                self.option, self.shown, f"cannot be used: {self._reason(error)}", self._remedy()
            ) from None

    def _reason(self, error: Exception) -> str:
        text = " ".join(str(getattr(error, "orig", None) or error).split()).rstrip(".")
        password = self._parsed.password
        return text.replace(str(password), "***") if password else text

    def _remedy(self) -> str:
        if self.path is not None:
            return f"{self.path.parent} must be a folder that this user can write to, with free space"
        return "Check address, database, user and password (the password may also stand in PGPASSWORD or ~/.pgpass), and that the user may create tables"


def shown(url: str) -> str:
    """Return `url` as it may be printed: without password, and without the query, which may hold one."""
    address = re.sub(r"\?.*", "", str(url), flags=re.DOTALL)
    return re.sub(r"(://[^/@:]*):.*@", r"\1:***@", address, flags=re.DOTALL)


def make_private_folder(path: Path) -> None:
    """Create `path` and what is missing above it, each open to its owner alone; what exists is left as it is."""
    for folder in reversed([path, *path.parents]):
        if not folder.exists():
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)


def _prepare_file(path: Path) -> None:
    make_private_folder(path.parent)
    # SQLite gives its own mode to a new file, and the mode of the file to the journals beside it.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _postgresql_arguments(url: sa.URL, wait: float) -> dict[str, t.Any]:
    defaults = {"connect_timeout": max(2, int(min(CONNECT_SECONDS, wait))), "application_name": "sre.runbooks"}
    return {name: value for name, value in defaults.items() if name not in url.query}


def _set_up_sqlite(connection: t.Any, _record: t.Any, wait: float = BUSY_SECONDS) -> None:
    # The driver would begin transactions by itself, too late and without the writers' lock.
    connection.isolation_level = None
    deadline = time.monotonic() + wait
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if (
                error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
                or time.monotonic() > deadline
            ):
                raise
            # Changing the mode needs the file for itself and does not wait for it as statements do.
            time.sleep(0.05)
    connection.execute("PRAGMA synchronous = FULL")


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sre_runbooks_begin", "BEGIN"))
