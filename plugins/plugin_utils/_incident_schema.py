# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The history store's tables of incidents: one row an incident, and its time line, to which the database only adds."""

from __future__ import annotations

import contextlib
import typing as t

# _schema.py says what is missing without it.
with contextlib.suppress(ImportError):
    import sqlalchemy as sa

EVENT_TEXTS = ("at", "actor", "host", "stage", "kind", "subject", "status", "summary", "details", "run", "token")
"""Text columns of an event, in the order of the table; `details` is JSON, `token` makes a repetition harmless."""

ROW_TEXTS = (
    "key", "type", "system", "hosts", "severity", "why", "state", "started", "detected", "acknowledged", "stable", "closed", "document",
)  # fmt: skip
"""Text columns of an incident; `hosts` is JSON, `document` is JSON of what no query asks for."""

ONLY_ADDED_TO = "incident_events is only added to"

_REFUSE = f"BEGIN SELECT RAISE(ABORT, '{ONLY_ADDED_TO}'); END"

_SQLITE = (
    f"CREATE TRIGGER incident_events_no_update BEFORE UPDATE ON incident_events {_REFUSE}",
    f"CREATE TRIGGER incident_events_no_delete BEFORE DELETE ON incident_events {_REFUSE}",
    # INSERT OR REPLACE takes rows away without asking the trigger of deletions.
    """CREATE TRIGGER incident_events_no_replace BEFORE INSERT ON incident_events
    WHEN EXISTS (SELECT 1 FROM incident_events WHERE (incident, number) = (NEW.incident, NEW.number) OR token = NEW.token)
    BEGIN SELECT RAISE(ABORT, 'incident_events is only added to'); END""",
)

_POSTGRESQL = (
    f"""CREATE FUNCTION incident_events_only_added_to() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION '{ONLY_ADDED_TO}'; END $$""",
    """CREATE TRIGGER incident_events_no_change BEFORE UPDATE OR DELETE ON incident_events
    FOR EACH ROW EXECUTE FUNCTION incident_events_only_added_to()""",
    """CREATE TRIGGER incident_events_no_truncate BEFORE TRUNCATE ON incident_events
    FOR EACH STATEMENT EXECUTE FUNCTION incident_events_only_added_to()""",
)


def tables(metadata: sa.MetaData) -> tuple[sa.Table, sa.Table]:
    """Return the tables `incidents` and `incident_events`."""
    not_closed = sa.text("state <> 'closed'")
    incidents = sa.Table(
        "incidents",
        metadata,
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ROW_TEXTS),
        # Of one type and one system at most one incident is not closed, whoever writes.
        sa.Index("incidents_one_open", "key", unique=True, sqlite_where=not_closed, postgresql_where=not_closed),
        sa.Index("incidents_key_number", "key", "number"),
        sqlite_autoincrement=True,
    )
    events = sa.Table(
        "incident_events",
        metadata,
        sa.Column("incident", sa.Integer, sa.ForeignKey("incidents.number"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in EVENT_TEXTS),
        sa.Index("incident_events_token", "token", unique=True),
        sa.Index("incident_events_kind_subject", "kind", "subject"),
    )
    return incidents, events


def create(connection: sa.Connection, incidents: sa.Table, events: sa.Table) -> None:
    """Make the tables, and the triggers that refuse to change or remove an event."""
    incidents.metadata.create_all(connection, tables=[incidents, events])
    for statement in _POSTGRESQL if connection.dialect.name == "postgresql" else _SQLITE:
        connection.exec_driver_sql(statement)


__all__: t.Final = ["EVENT_TEXTS", "ONLY_ADDED_TO", "ROW_TEXTS", "create", "tables"]
