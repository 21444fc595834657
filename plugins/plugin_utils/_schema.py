# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables of the history store, and the numbered steps that bring an older store up to date."""

from __future__ import annotations

import functools
import typing as t

from ansible_collections.sre.runbooks.plugins.plugin_utils import _figure_schema as _figures
from ansible_collections.sre.runbooks.plugins.plugin_utils import _incident_schema as _incidents

try:
    import sqlalchemy as sa
except ImportError as error:
    SQLALCHEMY_MISSING: ImportError | None = error
else:
    SQLALCHEMY_MISSING = None

COUNTS = _figures.COUNTS
"""Columns that count outcomes by status."""


class NewerSchema(Exception):
    """The store was made by a later release; the argument is its version."""


class Schema:
    """The tables of the latest version. Built on first use, because ansible-core reads plugins without SQLAlchemy too.

    `number` is the order in which runs were recorded and the key of everything else: eight bytes, where the readable
    `id` would be repeated in millions of rows. `current` holds the last known status of each subject, whichever run
    saw it, so that C(--limit) and C(--tags) do not make a status look new.
    """

    def __init__(self) -> None:
        self.metadata = sa.MetaData()
        self.version = sa.Table("schema_version", self.metadata, sa.Column("version", sa.Integer, nullable=False))
        self.runs = sa.Table(
            "runs",
            self.metadata,
            sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
            sa.Column("id", sa.Text, nullable=False, unique=True),
            sa.Column("playbook", sa.Text, nullable=False),
            sa.Column("started", sa.Text, nullable=False),
            sa.Column("finished", sa.Text, nullable=False),
            sa.Column("check_mode", sa.Boolean, nullable=False),
            sa.Column("status", sa.Text, nullable=False),
            sa.Column("version", sa.Text, nullable=False),
            sa.Column("stages", sa.Text, nullable=False),
            sa.Column("hosts", sa.Integer, nullable=False),
            sa.Column("answered", sa.Integer, nullable=False),
            *(sa.Column(name, sa.Integer, nullable=False) for name in COUNTS),
            sa.Index("runs_playbook_number", "playbook", "number"),
            sqlite_autoincrement=True,
        )
        self.host_runs = sa.Table(
            "host_runs",
            self.metadata,
            sa.Column("run", sa.Integer, sa.ForeignKey("runs.number"), primary_key=True),
            sa.Column("host", sa.Text, primary_key=True),
            sa.Column("system", sa.Text, nullable=False),
            sa.Column("status", sa.Text, nullable=False),
            sa.Column("answered", sa.Boolean, nullable=False),
            *(sa.Column(name, sa.Integer, nullable=False) for name in COUNTS),
            sqlite_with_rowid=False,
        )
        self.outcomes = sa.Table(
            "outcomes",
            self.metadata,
            sa.Column("run", sa.Integer, sa.ForeignKey("runs.number"), primary_key=True),
            *_subject_columns(),
            sa.Column("system", sa.Text, nullable=False),
            sa.Column("status", sa.Text, nullable=False),
            sa.Column("summary", sa.Text, nullable=False),
            sa.Column("since", sa.Text, nullable=False),
            sa.Column("pending", sa.Boolean, nullable=False),
            sa.Column("metrics", sa.Text, nullable=False),
            sa.Column("details", sa.Text, nullable=False),
            sqlite_with_rowid=False,
        )
        self.current = sa.Table(
            "current_status",
            self.metadata,
            *_subject_columns(),
            sa.Column("run", sa.Integer, sa.ForeignKey("runs.number"), nullable=False),
            sa.Column("status", sa.Text, nullable=False),
            sa.Column("since", sa.Text, nullable=False),
            sqlite_with_rowid=False,
        )
        self.notifications = sa.Table("notifications", self.metadata, *_notification_columns(), sqlite_with_rowid=False)
        self.notification_events = sa.Table("notification_events", self.metadata, *_notification_event_columns())
        self.incidents, self.incident_events = _incidents.tables(self.metadata)
        self.figures, self.statuses = _figures.tables(self.metadata)


def _notification_columns() -> list[sa.Column[t.Any]]:
    """What a target of a contact was told of a problem, and what it still is to be told (`pending`, JSON; empty: nothing)."""
    texts = ("opened", "resolved", "sent", "status", "told", "pending", "pending_since", "claimed")
    return [
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("key", "contact", "target")),
        sa.Column("kind", sa.Text, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
        sa.Column("attempts", sa.Integer, nullable=False),
    ]


def _notification_event_columns() -> list[sa.Column[t.Any]]:
    """One line for every message that was sent or given up for this time; append-only."""
    texts = ("run", "time", "key", "contact", "target", "event", "status", "summary")
    return [
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        *(sa.Column(name, sa.Text, nullable=False, index=name == "run") for name in texts),
    ]


def _subject_columns() -> list[sa.Column[t.Any]]:
    # `ordinal` tells outcomes apart that a module returned under one subject.
    return [
        sa.Column("host", sa.Text, primary_key=True),
        sa.Column("stage", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
    ]


@functools.cache
def schema() -> Schema:
    """Return the tables; needs SQLAlchemy."""
    return Schema()


def _create(connection: sa.Connection) -> None:
    tables = schema()
    tables.metadata.create_all(connection, tables=[tables.runs, tables.host_runs, tables.outcomes, tables.current])


def _notifications(connection: sa.Connection) -> None:
    tables = schema()
    tables.metadata.create_all(connection, tables=[tables.notifications, tables.notification_events])


def _add_incidents(connection: sa.Connection) -> None:
    tables = schema()
    _incidents.create(connection, tables.incidents, tables.incident_events)


def _add_figures(connection: sa.Connection) -> None:
    tables = schema()
    _figures.create(connection, tables.figures, tables.statuses)


MIGRATIONS: tuple[t.Callable[[t.Any], None], ...] = (_create, _notifications, _add_incidents, _add_figures)
"""Step n brings a store from version n to n + 1. A released step is never edited: later changes are further steps."""


def migrate(connection: sa.Connection) -> None:
    """Bring the store behind `connection` up to date, in the caller's transaction, which holds the writers' lock."""
    table = schema().version
    table.create(connection, checkfirst=True)
    present = connection.execute(sa.select(table.c.version)).scalar()
    if present is not None and present > len(MIGRATIONS):
        raise NewerSchema(present)
    for step in MIGRATIONS[present or 0 :]:
        step(connection)
    if present is None:
        connection.execute(table.insert().values(version=len(MIGRATIONS)))
    elif present < len(MIGRATIONS):
        connection.execute(table.update().values(version=len(MIGRATIONS)))
