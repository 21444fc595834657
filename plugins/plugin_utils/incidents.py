# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The store of incidents, in the history store; while that cannot be used, in a spool that the next run takes in.

C(Incidents.run(work)) gives `work` a ledger: the database's in one transaction that no other writer shares, or else the
spool's. `work` may so be called twice: it takes everything that is random or depends on the clock from outside.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import typing as t
from collections.abc import Iterator, Sequence
from pathlib import Path

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import Busy, RunbookError
from ansible_collections.sre.runbooks.plugins.plugin_utils._engine import HistoryError, Store
from ansible_collections.sre.runbooks.plugins.plugin_utils._incident_schema import EVENT_TEXTS
from ansible_collections.sre.runbooks.plugins.plugin_utils._schema import SQLALCHEMY_MISSING, migrate, schema
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_spool import Entry, Spool, incident_of
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_state import Event, Incident, fold

if SQLALCHEMY_MISSING is None:
    import sqlalchemy as sa

WAIT_SECONDS = 10.0
"""How long an incident waits for a store that others hold: recording a thousand hosts takes a second or two."""

STATE_FOLDER = "~/.local/state/sre-runbooks"
BATCH = 400
RECENT = 200

T = t.TypeVar("T")


class Ledger(t.Protocol):
    """Where incidents are found and their events are added to; a `partial` one need not know every incident there is."""

    partial: bool

    def find(self, id_: str) -> Incident | None:
        """Return the incident of this id, or into which that one was merged."""

    def latest(self, key: str) -> Incident | None:
        """Return the newest incident of this key, whatever its state."""

    def unfinished(self) -> list[Incident]:
        """Return the incidents that are not closed, the oldest first."""

    def recent(self, count: int = RECENT) -> list[Incident]:
        """Return the newest incidents, the newest first."""

    def events(self, id_: str) -> list[Event]:
        """Return the time line of an incident, as far as this ledger has it."""

    def append(self, id_: str, events: Sequence[Event]) -> Incident:
        """Add `events` to the incident `id_`, which the first of them may open; one that is there already changes nothing."""


@dataclasses.dataclass(frozen=True)
class Kept(t.Generic[T]):
    """What `work` returned, and where it is kept: in the `store`, the `spool`, in check mode or without either `nowhere`."""

    value: T
    where: str
    trouble: str = ""
    taken_in: int = 0
    refused: int = 0


class Incidents:
    """The incidents of one history store. Raises HistoryError where the URL cannot be used, and for nothing else."""

    def __init__(self, url: str, spool: str = "", option: str = "history_url", wait: float = WAIT_SECONDS) -> None:
        self._store = Store(url, option, wait)
        beside = self._store.path.parent if self._store.path is not None else Path(STATE_FOLDER)
        self.spool = Spool(Path(spool or beside).expanduser().absolute(), self._store.shown)

    def run(self, work: t.Callable[[Ledger], T], dry: bool = False) -> Kept[T]:
        """Call `work` with the ledger that can be had; with `dry` nothing is written anywhere."""
        if dry:
            return Kept(work(self._as_it_is()), "nowhere")
        try:
            return self._in_store(work)
        except HistoryError as error:
            return self._in_spool(work, str(error))

    def _in_store(self, work: t.Callable[[Ledger], T]) -> Kept[T]:
        with self._spooled() as (entries, bad):
            with self._store.writing() as connection:
                migrate(connection)
                ledger = DatabaseLedger(connection)
                strange = _take_in(ledger, entries)
                value = work(ledger)
                unfinished = ledger.unfinished()
            if entries or bad:
                self.spool.clear([*bad, *strange])
        # What is remembered is for a worse day; today it is no reason to fail.
        with contextlib.suppress(OSError, RunbookError), self.spool.held():
            self.spool.remember(unfinished)
        return Kept(value, "store", "", len(entries) - len(strange), len(bad) + len(strange))

    @contextlib.contextmanager
    def _spooled(self) -> Iterator[tuple[list[Entry], list[str]]]:
        """Give what is spooled, and keep others from the spool meanwhile; nothing where it cannot be had now."""
        with contextlib.ExitStack() as stack:
            found: tuple[list[Entry], list[str]] = [], []
            if self.spool.path.exists():
                with contextlib.suppress(OSError, Busy):
                    stack.enter_context(self.spool.held())
                    found = self.spool.entries()
            yield found

    def _in_spool(self, work: t.Callable[[Ledger], T], trouble: str) -> Kept[T]:
        """Let the incident go on; where not even the spool can be written, what was done is told and kept nowhere."""
        problem = ""
        ledger = MemoryLedger({}, [])
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self.spool.held())
                ledger = MemoryLedger(self.spool.known(), self.spool.entries()[0])
            except (OSError, RunbookError) as error:
                problem = str(error)
            value = work(ledger)
            try:
                if not problem:
                    self.spool.add(ledger.added)
            except OSError as error:
                problem = f"{error.strerror}: {self.spool.path}"
        told = f"{trouble} Nor can the spool be written: {problem}" if problem else trouble
        return Kept(value, "nowhere" if problem else "spool", told)

    def _as_it_is(self) -> Ledger:
        """Return a ledger with what the store and the spool have, whose additions are kept nowhere."""
        known: dict[str, Incident] = {}
        with contextlib.suppress(OSError):
            known = self.spool.known()
        with contextlib.suppress(HistoryError), self._store.reading() as connection:
            if sa.inspect(connection).has_table("incidents"):
                ledger = DatabaseLedger(connection)
                found = {each.id: each for each in (*reversed(ledger.recent()), *ledger.unfinished())}
                spooled = self.spool.entries()[0]
                for id_, event in spooled:
                    found[id_] = fold(found.get(id_) or known.get(id_), event, id_)
                return MemoryLedger(found, spooled)
        return MemoryLedger(known, [])


def _take_in(ledger: DatabaseLedger, entries: Sequence[Entry]) -> list[str]:
    """Add what was spooled, in its order; return the lines whose incident nobody knows.

    An incident that was opened in the spool, while another controller opened one of the same key in the store, is the same.
    """
    strange = []
    for id_, event in entries:
        if ledger.find(id_) is None and event.kind == "opened":
            blank = fold(None, event, id_)
            other = ledger.latest(blank.key)
            if other is not None and other.state != "closed":
                summary = f"{id_}, opened while the history store could not be used, is this incident"
                merged = dataclasses.replace(event, kind="merged", subject=id_, summary=summary)
                ledger.append(other.id, [merged])
                continue
        elif ledger.find(id_) is None:
            strange.append(json.dumps({"incident": id_, "event": dataclasses.asdict(event)}))
            continue
        ledger.append(id_, [event])
    return strange


class DatabaseLedger:
    """The ledger in the history store, for one transaction."""

    partial = False

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._incidents, self._events = schema().incidents, schema().incident_events

    def find(self, id_: str) -> Incident | None:
        found = self._rows(self._incidents.c.id == id_, 1)
        if found:
            return found[0]
        merged = sa.select(self._events.c.incident).where(
            self._events.c.kind == "merged", self._events.c.subject == id_
        )
        found = self._rows(self._incidents.c.number.in_(merged), 1)
        return found[0] if found else None

    def latest(self, key: str) -> Incident | None:
        found = self._rows(self._incidents.c.key == key, 1)
        return found[0] if found else None

    def unfinished(self) -> list[Incident]:
        return self._rows(self._incidents.c.state != "closed")[::-1]

    def recent(self, count: int = RECENT) -> list[Incident]:
        return self._rows(sa.true(), count)

    def _rows(self, where: t.Any, count: int | None = None) -> list[Incident]:
        """Return the incidents that `where` takes, the newest first."""
        query = (
            sa.select(self._incidents.c.document).where(where).order_by(self._incidents.c.number.desc()).limit(count)
        )
        return [incident_of(json.loads(document)) for document in self._connection.execute(query).scalars()]

    def events(self, id_: str) -> list[Event]:
        incident = self.find(id_)
        number = sa.select(self._incidents.c.number).where(self._incidents.c.id == (incident.id if incident else id_))
        query = sa.select(self._events).where(self._events.c.incident == number.scalar_subquery())
        rows = self._connection.execute(query.order_by(self._events.c.number)).mappings()
        return [
            Event(
                **{
                    **{name: row[name] for name in EVENT_TEXTS},
                    "details": json.loads(row["details"]),
                    "number": row["number"],
                }
            )
            for row in rows
        ]

    def append(self, id_: str, events: Sequence[Event]) -> Incident:
        incident = self.find(id_)
        unique = {event.token: event for event in events}
        known = self._tokens(list(unique))
        new = [event for token, event in unique.items() if token not in known]
        numbered = []
        before = incident
        for event in new:
            numbered.append(dataclasses.replace(event, number=(incident.events if incident else 0) + 1))
            incident = fold(incident, numbered[-1], id_)
        if incident is None:
            raise ValueError(f"{id_} is no incident, and no event opens it")
        number = self._write(before, incident)
        rows = [
            {**{name: getattr(event, name) for name in EVENT_TEXTS}, "details": json.dumps(event.details),
             "incident": number, "number": event.number}
            for event in numbered
        ]  # fmt: skip
        for start in range(0, len(rows), BATCH):
            self._connection.execute(self._events.insert(), rows[start : start + BATCH])
        return incident

    def _tokens(self, tokens: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(tokens), BATCH):
            query = sa.select(self._events.c.token).where(self._events.c.token.in_(tokens[start : start + BATCH]))
            found |= set(self._connection.execute(query).scalars())
        return found

    def _write(self, before: Incident | None, incident: Incident) -> int:
        row = {
            "id": incident.id, "key": incident.key, "hosts": json.dumps(incident.hosts),
            "document": json.dumps(dataclasses.asdict(incident)),
            **{name: getattr(incident, name) for name in (
                "type", "system", "severity", "why", "state", "started", "detected", "acknowledged", "stable", "closed",
            )},
        }  # fmt: skip
        table = self._incidents
        if before is None:
            inserted = self._connection.execute(table.insert().values(row)).inserted_primary_key
            return int(t.cast("tuple[int]", inserted)[0])
        if before != incident:
            self._connection.execute(table.update().where(table.c.id == incident.id).values(row))
        return int(self._connection.execute(sa.select(table.c.number).where(table.c.id == incident.id)).scalar_one())


class MemoryLedger:
    """A ledger of what is known without the store; `added` are the entries that somebody may have to keep."""

    partial = True

    def __init__(self, known: dict[str, Incident], entries: Sequence[Entry]) -> None:
        self._known = dict(known)
        self._before = list(entries)
        self.added: list[Entry] = []

    def find(self, id_: str) -> Incident | None:
        return self._known.get(id_)

    def latest(self, key: str) -> Incident | None:
        return next((each for each in reversed(self._known.values()) if each.key == key), None)

    def unfinished(self) -> list[Incident]:
        return [each for each in self._known.values() if each.state != "closed"]

    def recent(self, count: int = RECENT) -> list[Incident]:
        return list(self._known.values())[: -count - 1 : -1]

    def events(self, id_: str) -> list[Event]:
        return [event for other, event in (*self._before, *self.added) if other == id_]

    def append(self, id_: str, events: Sequence[Event]) -> Incident:
        seen = {event.token for _id, event in (*self._before, *self.added)}
        for event in events:
            if event.token not in seen:
                seen.add(event.token)
                self._known[id_] = fold(self._known.get(id_), event, id_)
                self.added.append((id_, event))
        return self._known[id_]
