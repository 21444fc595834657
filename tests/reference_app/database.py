# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables and queries, in SQLite or PostgreSQL. Times are naive UTC, so that both databases keep them alike."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row, make_url

METADATA = sa.MetaData()


def _table(name: str, *columns: sa.Column[Any]) -> sa.Table:
    return sa.Table(name, METADATA, sa.Column("id", sa.Integer, primary_key=True), *columns)


PROJECTS = _table(
    "projects",
    sa.Column("code", sa.String(16), unique=True),
    sa.Column("name", sa.String(80)),
    sa.Column("created_at", sa.DateTime),
)
WORKERS = _table(
    "workers", sa.Column("name", sa.String(80)), sa.Column("skill", sa.String(40)), sa.Column("weekly_hours", sa.Float)
)
TASKS = _table(
    "tasks",
    sa.Column("project_id", sa.ForeignKey("projects.id"), nullable=False),
    sa.Column("title", sa.String(120)),
    sa.Column("status", sa.String(12)),
    sa.Column("estimated_hours", sa.Float),
    sa.Column("delay_risk", sa.Float),
    sa.Column("created_at", sa.DateTime),
)
ALLOCATIONS = _table(
    "allocations",
    sa.Column("task_id", sa.ForeignKey("tasks.id"), nullable=False),
    sa.Column("worker_id", sa.ForeignKey("workers.id"), nullable=False),
    sa.Column("start_date", sa.DateTime),
    sa.Column("hours", sa.Float),
    sa.Column("created_date", sa.DateTime),
)
EVALUATIONS = _table(
    "evaluations",
    sa.Column("model", sa.String(40)),
    sa.Column("status", sa.String(12)),
    sa.Column("correct", sa.Boolean),
    sa.Column("duration_seconds", sa.Float),
    sa.Column("created_at", sa.DateTime),
)
USERS = _table(
    "users",
    sa.Column("username", sa.String(40), unique=True),
    sa.Column("email", sa.String(120)),
    sa.Column("role", sa.String(16)),
    sa.Column("disabled", sa.Boolean, default=False),
    sa.Column("created_at", sa.DateTime),
)
API_KEYS = _table(
    "api_keys",
    sa.Column("name", sa.String(80)),
    sa.Column("owner", sa.String(40)),
    sa.Column("role", sa.String(16)),
    sa.Column("key_hash", sa.String(64), unique=True),
    sa.Column("created_at", sa.DateTime),
    sa.Column("expires_at", sa.DateTime),
    sa.Column("revoked_at", sa.DateTime),
    sa.Column("last_used_at", sa.DateTime),
)
AUDIT_LOGS = _table(
    "audit_logs",
    sa.Column("created_at", sa.DateTime),
    sa.Column("actor", sa.String(80)),
    sa.Column("action", sa.String(40)),
    sa.Column("subject", sa.String(120)),
)
SYNC_RUNS = _table(
    "sync_runs",
    sa.Column("finished_at", sa.DateTime),
    sa.Column("succeeded", sa.Boolean),
    sa.Column("items", sa.Integer),
)


class DatabaseDownError(sa.exc.SQLAlchemyError):
    """The database was taken away on purpose."""


class Database:
    """The engine and the queries that more than one end point needs; every method raises SQLAlchemyError."""

    def __init__(self, url: str) -> None:
        self.is_down: Callable[[], bool] = lambda: False
        parsed = _with_driver(url)
        options: dict[str, Any] = {"future": True}
        if parsed.get_backend_name() == "sqlite":
            if parsed.database:
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            options["connect_args"] = {"timeout": 15}
        else:
            options["pool_pre_ping"] = True
        self.engine = sa.create_engine(parsed, **options)
        if parsed.get_backend_name() == "sqlite":
            sa.event.listen(self.engine, "connect", _set_pragmas)
        METADATA.create_all(self.engine)

    def begin(self) -> Any:
        """Return a context manager that yields a connection in a transaction."""
        if self.is_down():
            raise DatabaseDownError("the database does not answer")
        return self.engine.begin()

    def ping(self) -> None:
        with self.begin() as connection:
            connection.execute(sa.select(sa.literal(1))).scalar_one()

    def rows(self, query: Any) -> list[Row[Any]]:
        with self.begin() as connection:
            return list(connection.execute(query).all())

    def insert(self, table: sa.Table, **values: Any) -> int:
        """Insert one row and return its id."""
        with self.begin() as connection:
            return int(connection.execute(table.insert().values(**values)).inserted_primary_key[0])

    def update(self, table: sa.Table, row_id: int, **values: Any) -> bool:
        """Change one row; false when there is none of that id."""
        with self.begin() as connection:
            return bool(connection.execute(table.update().where(table.c.id == row_id).values(**values)).rowcount)

    def last_sync(self) -> datetime | None:
        with self.begin() as connection:
            newest = sa.select(sa.func.max(SYNC_RUNS.c.finished_at)).where(SYNC_RUNS.c.succeeded.is_(True))
            found: datetime | None = connection.execute(newest).scalar()
            return found

    def planning_metrics(self) -> dict[str, float]:
        """The figures of H8 that follow from the plan: ratios 0 to 1, percent where the name says so.

        The week looked at is the last one planned, so that data seeded long ago still has a plan.
        """
        with self.begin() as connection:
            last = connection.execute(sa.select(sa.func.max(ALLOCATIONS.c.start_date))).scalar() or now()
            week = ALLOCATIONS.c.start_date > last - timedelta(days=7)
            capacity = _scalar(connection, sa.select(sa.func.sum(WORKERS.c.weekly_hours)))
            planned = _scalar(connection, sa.select(sa.func.sum(ALLOCATIONS.c.hours)).where(week))
            is_open = TASKS.c.status != "done"
            wanted = _scalar(connection, sa.select(sa.func.sum(TASKS.c.estimated_hours)).where(is_open))
            free = TASKS.c.id.not_in(sa.select(ALLOCATIONS.c.task_id))
            unallocated = _scalar(connection, sa.select(sa.func.sum(TASKS.c.estimated_hours)).where(is_open, free))
            overbooked = (
                sa.select(ALLOCATIONS.c.worker_id)
                .where(week)
                .group_by(ALLOCATIONS.c.worker_id, ALLOCATIONS.c.start_date)
                .having(sa.func.sum(ALLOCATIONS.c.hours) > 10)
            )
            return {
                "utilization": planned / capacity if capacity else 0.0,
                "unallocated_hours_percent": 100 * unallocated / wanted if wanted else 0.0,
                "conflicts": _scalar(connection, sa.select(sa.func.count()).select_from(overbooked.subquery())),
                "delay_risk": _scalar(connection, sa.select(sa.func.avg(TASKS.c.delay_risk)).where(is_open)),
            }

    def model_metrics(self) -> dict[str, float]:
        """The figures of H8 about models, over the last thousand evaluations."""
        newest = sa.select(EVALUATIONS).order_by(EVALUATIONS.c.id.desc()).limit(1000)
        rows = self.rows(newest)
        done = [row for row in rows if row.status == "succeeded"]
        return {
            "success_rate_percent": 100 * len(done) / len(rows) if rows else 100.0,
            "prediction_accuracy_percent": 100 * sum(row.correct for row in done) / len(done) if done else 100.0,
            "model_latency_seconds": sum(row.duration_seconds for row in done) / len(done) if done else 0.0,
        }

    def close(self) -> None:
        self.engine.dispose()


def now() -> datetime:
    """Return the time as it is stored: UTC without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def iso(moment: datetime | None) -> str | None:
    """Return a stored time as text with its zone."""
    return None if moment is None else moment.isoformat(timespec="seconds") + "Z"


def _with_driver(url: str) -> sa.engine.URL:
    """Name the PostgreSQL driver that is there: psycopg with SQLAlchemy 2, psycopg2 on Debian 12."""
    parsed = make_url(url)
    if parsed.drivername != "postgresql":
        return parsed
    newer = not sa.__version__.startswith("1.") and importlib.util.find_spec("psycopg") is not None
    return parsed.set(drivername="postgresql+psycopg" if newer else "postgresql+psycopg2")


def _scalar(connection: Connection, query: Any) -> float:
    return float(connection.execute(query).scalar() or 0)


def _set_pragmas(connection: Any, record: Any) -> None:
    # Readers, and an online backup among them, go on while the service writes.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA foreign_keys=ON")
