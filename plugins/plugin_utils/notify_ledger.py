# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every target was told, and what it still is to be told: rows of the history store, without any URL (I6)."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import worst
from ansible_collections.sre.runbooks.plugins.plugin_utils._engine import Store
from ansible_collections.sre.runbooks.plugins.plugin_utils._schema import SQLALCHEMY_MISSING, migrate, schema

if SQLALCHEMY_MISSING is None:
    import sqlalchemy as sa

Key = tuple[str, str, str]
"""Key of a matter, contact, target."""

Row = dict[str, t.Any]
"""A row of `notifications`; `told` and `pending` are mappings."""

BUSY_SECONDS = 15.0
"""How long another writer is waited for: to be told late is worse than to be told twice."""

_TEXTS = ("kind", "opened", "resolved", "sent", "status", "pending_since", "claimed")
_JSON = ("told", "pending")
_KEY = ("key", "contact", "target")


def new_row(kind: str) -> Row:
    """Return the row of a target that was told nothing yet."""
    return {**dict.fromkeys(_TEXTS, ""), "kind": kind, "told": {}, "pending": {}, "attempts": 0}


class Ledger:
    """Reads and writes the rows; each method is one transaction. Raises HistoryError."""

    def __init__(self, url: str, wait: float = BUSY_SECONDS) -> None:
        self._store = Store(url, wait=wait)

    def change(self, decide: t.Callable[[dict[Key, Row]], Mapping[Key, Row]]) -> None:
        """Give all rows to `decide` and write what it returns, with no other writer in between."""
        with self._store.writing() as connection:
            migrate(connection)
            _write(connection, decide(_read(connection)))

    def rows(self) -> dict[Key, Row]:
        """Return all rows without writing anything; none where there is no store yet."""
        if self._store.path is not None and not self._store.path.is_file():
            return {}
        with self._store.reading() as connection:
            return _read(connection) if sa.inspect(connection).has_table("notifications") else {}

    def finish(self, rows: Mapping[Key, Row], events: Sequence[Mapping[str, str]], run: str) -> None:
        """Write what became of the messages. What failed counts among the outcomes of `run`, if that is a recorded run."""
        tables = schema()
        with self._store.writing() as connection:
            migrate(connection)
            _write(connection, rows)
            if events:
                connection.execute(tables.notification_events.insert(), [dict(each) for each in events])
            bad = [each["status"] for each in events if each["event"] == OUTCOME and each["status"] != "ok"]
            found = connection.execute(sa.select(tables.runs).where(tables.runs.c.id == run)).mappings().first()
            if found is not None and bad:
                values = {status: found[status] + bad.count(status) for status in set(bad)}
                connection.execute(
                    tables.runs.update()
                    .where(tables.runs.c.id == run)
                    .values(status=worst([found["status"], *bad]), **values)
                )


OUTCOME = "outcome"
"""The event that is no message but what the run says of a contact."""


def read_outcomes(connection: sa.Connection, run: str) -> list[dict[str, str]]:
    """Return what became of the messages of a recorded run: contact, status and summary; an older store has none."""
    if not sa.inspect(connection).has_table("notification_events"):
        return []
    table = schema().notification_events
    query = sa.select(table).where(table.c.run == run, table.c.event == OUTCOME).order_by(table.c.number)
    rows = connection.execute(query).mappings()
    return [{"contact": row["contact"], "status": row["status"], "summary": row["summary"]} for row in rows]


def _read(connection: sa.Connection) -> dict[Key, Row]:
    table = schema().notifications
    # What is over and told is of no interest any more.
    query = sa.select(table).where(sa.or_(table.c.resolved == "", table.c.pending != ""))
    found = {}
    for row in connection.execute(query).mappings():
        values = {name: row[name] for name in (*_TEXTS, "attempts")}
        values.update((name, json.loads(row[name] or "{}")) for name in _JSON)
        found[t.cast("Key", tuple(row[name] for name in _KEY))] = values
    return found


def _write(connection: sa.Connection, rows: Mapping[Key, Row]) -> None:
    table = schema().notifications
    for key, row in rows.items():
        where = [table.c[name] == value for name, value in zip(_KEY, key, strict=True)]
        connection.execute(table.delete().where(*where))
        if row["opened"] or row["pending"]:
            connection.execute(table.insert().values(dict(zip(_KEY, key, strict=True)) | _stored(row)))


def _stored(row: Row) -> Row:
    texts: Iterable[tuple[str, str]] = ((name, json.dumps(row[name]) if row[name] else "") for name in _JSON)
    return {**row, **dict(texts)}
