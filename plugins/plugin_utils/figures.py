# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures of runs by system: gathered from hosts when a run is recorded, read back for a period."""

from __future__ import annotations

import collections
import dataclasses
import json
import typing as t
from collections.abc import Collection, Iterable, Iterator, Sequence

from ansible_collections.sre.runbooks.plugins.plugin_utils._figure_schema import COUNTS
from ansible_collections.sre.runbooks.plugins.plugin_utils._schema import SQLALCHEMY_MISSING, schema
from ansible_collections.sre.runbooks.plugins.plugin_utils._spread import Spread, finite, read
from ansible_collections.sre.runbooks.plugins.plugin_utils.period import Period, parse, show

if SQLALCHEMY_MISSING is None:
    import sqlalchemy as sa

SUBJECTS_LIMIT = 500
"""So many subjects of a system have figures of their own in a run; of more, those of one host alone are put together."""

BATCH = 500
Said = tuple[str, str, str, str, dict[str, t.Any]]
"""System, stage, subject, status and metrics of an outcome."""


@dataclasses.dataclass(frozen=True)
class Moment:
    """A run of a period: its number, when it began (text and seconds since the epoch)."""

    number: int
    started: str
    seconds: float
    playbook: str


@dataclasses.dataclass(frozen=True)
class Figure:
    """What one metric of a subject was on the hosts of a system in a run."""

    run: int
    system: str
    stage: str
    subject: str
    metric: str
    main: bool
    count: int
    total: float
    text: str

    @property
    def spread(self) -> Spread:
        """The values, which are read only when they are asked for."""
        return read(self.text)


@dataclasses.dataclass(frozen=True)
class Statuses:
    """How many outcomes of a subject had which status on the hosts of a system in a run."""

    run: int
    system: str
    stage: str
    subject: str
    counts: dict[str, int]


class Gathered:
    """Figures of one run while they are gathered."""

    def __init__(self) -> None:
        self._statuses: dict[tuple[str, str, str], dict[str, int]] = {}
        self._figures: dict[tuple[str, str, str], dict[str, Spread]] = {}

    def add(self, said: Said) -> None:
        system, stage, subject, status, metrics = said
        key = (system, stage, subject)
        counts = self._statuses.setdefault(key, dict.fromkeys(COUNTS, 0))
        counts[status] += 1
        for name, value in finite(metrics):
            self._figures.setdefault(key, {}).setdefault(name, Spread()).add(value)

    def of_run(self, run: int) -> Iterator[Figure | Statuses]:
        """Yield what was gathered as that of the run with this number."""
        self._fold()
        for (system, stage, subject), counts in self._statuses.items():
            yield Statuses(run, system, stage, subject, counts)
        for (system, stage, subject), found in self._figures.items():
            for number, (metric, spread) in enumerate(found.items()):
                yield Figure(
                    run, system, stage, subject, metric, number == 0, spread.count, spread.total, spread.text()
                )

    def _fold(self) -> None:
        """Where each host has subjects of its own, put those of one kind together: `http:a17` counts as `http:*`."""
        subjects = collections.Counter(system for system, _stage, _subject in self._statuses)
        for key in [key for key in self._statuses if subjects[key[0]] > SUBJECTS_LIMIT]:
            system, stage, subject = key
            if sum(self._statuses[key].values()) > 1:
                continue
            whole = (system, stage, f"{subject.partition(':')[0]}:*")
            counts = self._statuses.setdefault(whole, dict.fromkeys(COUNTS, 0))
            for name, number in self._statuses.pop(key).items():
                counts[name] += number
            for name, spread in self._figures.pop(key, {}).items():
                self._figures.setdefault(whole, {}).setdefault(name, Spread()).merge(spread)


def write(connection: sa.Connection, run: int, gathered: Gathered) -> None:
    """Write the figures of a run, in the caller's transaction."""
    tables = schema()
    statuses, figures = [], []
    for each in gathered.of_run(run):
        if isinstance(each, Statuses):
            statuses.append({**_keys(each), **each.counts})
        else:
            figures.append(
                {
                    **_keys(each),
                    "metric": each.metric,
                    "main": each.main,
                    "observations": each.count,
                    "total": each.total,
                    "spread": each.text,
                }
            )
    for table, rows in ((tables.statuses, statuses), (tables.figures, figures)):
        for start in range(0, len(rows), BATCH):
            connection.execute(table.insert(), rows[start : start + BATCH])


def _keys(each: Figure | Statuses) -> dict[str, t.Any]:
    return {"run": each.run, "system": each.system, "stage": each.stage, "subject": each.subject}


def moments(connection: sa.Connection, period: Period, last: int) -> list[Moment]:
    """Return the runs of every playbook that began in `period` and were recorded up to the number `last`, in their order."""
    runs = schema().runs
    query = (
        sa.select(runs.c.number, runs.c.started, runs.c.playbook)
        .where(runs.c.started > show(period.since), runs.c.started <= show(period.until), runs.c.number <= last)
        .order_by(runs.c.started, runs.c.number)
    )
    return [
        Moment(row.number, row.started, parse(row.started).timestamp(), row.playbook)
        for row in connection.execute(query)
    ]


def of_runs(
    connection: sa.Connection, numbers: Sequence[int], metrics: Collection[str] = ()
) -> Iterator[Figure | Statuses]:
    """Yield the statuses and the figures of runs: of main metrics and of `metrics`.

    Those of a run that an older release recorded come out of its outcomes.
    """
    wanted = frozenset(metrics)
    tables = schema()
    # A store that no run of this release has brought up to date yet has no such tables.
    present = sa.inspect(connection).has_table(tables.statuses.name)
    for start in range(0, len(numbers), BATCH):
        batch = numbers[start : start + BATCH]
        known = set()
        for run, system, stage, subject, *numbers_of in _rows(connection, tables.statuses, batch if present else ()):
            known.add(run)
            yield Statuses(run, system, stage, subject, dict(zip(COUNTS, numbers_of, strict=True)))
        asked_for = sa.or_(tables.figures.c.main, tables.figures.c.metric.in_(wanted))
        for row in _rows(connection, tables.figures, batch if present else (), asked_for):
            yield Figure(*row)
        for number in sorted(set(batch) - known):
            gathered = Gathered()
            for said in _outcomes(connection, number):
                gathered.add(said)
            yield from gathered.of_run(number)


def _rows(connection: sa.Connection, table: sa.Table, numbers: Sequence[int], *where: t.Any) -> Iterable[t.Any]:
    if not numbers:
        return ()
    query = sa.select(table).where(table.c.run.in_(numbers), *where).order_by(table.c.run)
    return connection.execution_options(yield_per=BATCH).execute(query)


def _outcomes(connection: sa.Connection, number: int) -> Iterator[Said]:
    table = schema().outcomes
    query = sa.select(table.c.system, table.c.stage, table.c.subject, table.c.status, table.c.metrics)
    for row in connection.execution_options(yield_per=BATCH).execute(query.where(table.c.run == number)):
        yield row.system, row.stage, row.subject, row.status, json.loads(row.metrics)
