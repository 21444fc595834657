# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Capacity out of the history: a look at a few days of everything, then at all days of what grows."""

from __future__ import annotations

import json
import re
import typing as t
from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.sre.runbooks.plugins.plugin_utils._schema import COUNTS, SQLALCHEMY_MISSING, schema
from ansible_collections.sre.runbooks.plugins.plugin_utils._spread import finite
from ansible_collections.sre.runbooks.plugins.plugin_utils.capacity import (
    DAY,
    LOOK_BACK_DAYS,
    METRICS,
    NEARLY,
    SHOWN,
    STAGES,
    Document,
    Limit,
    Point,
    Series,
    daily,
    first_out,
    limit_of,
    row,
    worth,
)
from ansible_collections.sre.runbooks.plugins.plugin_utils.figures import Moment

if SQLALCHEMY_MISSING is None:
    import sqlalchemy as sa

OUTCOMES_READ = 60_000
"""So many outcomes are looked at, on as many days as that makes (four at least): the memory and time of a report."""

FEWEST_DAYS = 4
BATCH = 500

# Reading all of the JSON would take most of a report's time.
_FIGURES = re.compile(rf'"({"|".join(METRICS)})": (-?[0-9][-+.0-9eE]*)')


def find(connection: sa.Connection, runs: Sequence[Moment], limits: Mapping[str, Sequence[Limit]]) -> list[Document]:
    """Return what `runs` (those of the last LOOK_BACK_DAYS days, in their order) tell of growth, what runs out first.

    `limits` are by system; other systems do not count.
    """
    chosen = _chosen(connection, runs)
    ranked = []
    for key, points in _read(connection, chosen, list(limits)).items():
        series = Series(*key)
        limit = limit_of(series, limits[series.system])
        # The slope of few points is enough to tell what is worth the whole; of most things the first and the last are.
        if points[-1][1] > points[0][1] or (limit is not None and points[-1][1] >= NEARLY * limit):
            rank = worth(daily(points), limit)
            if rank is not None:
                ranked.append((rank, series, limit, points))
    ranked.sort(key=lambda each: (each[0], str(each[1])))
    rows = []
    for _rank, series, limit, some in ranked[: 2 * SHOWN]:
        points = some if len(chosen) == len(runs) else _whole(connection, series, runs)
        if points:
            rows.append(row(series, daily(points), limit))
    return sorted(rows, key=first_out)[:SHOWN]


def _chosen(connection: sa.Connection, runs: Sequence[Moment]) -> list[Moment]:
    """Return the runs whose outcomes are all looked at: all of them, or those of some days, evenly taken."""
    table = schema().runs
    sizes: dict[int, int] = {}
    for start in range(0, len(runs), BATCH):
        numbers = [run.number for run in runs[start : start + BATCH]]
        total = sum((table.c[name] for name in COUNTS), sa.literal(0))
        query = sa.select(table.c.number, total.label("size")).where(table.c.number.in_(numbers))
        sizes.update((row_.number, row_.size) for row_ in connection.execute(query))
    whole = sum(sizes.values())
    if whole <= OUTCOMES_READ:
        return list(runs)
    days = sorted({int(run.seconds // DAY) for run in runs})
    wanted = max(FEWEST_DAYS, int(len(days) * OUTCOMES_READ / whole))
    if len(days) <= wanted:
        return list(runs)
    step = (len(days) - 1) / (wanted - 1)
    kept = {days[round(number * step)] for number in range(wanted)}
    return [run for run in runs if int(run.seconds // DAY) in kept]


def _read(
    connection: sa.Connection, runs: Iterable[Moment], systems: Sequence[str]
) -> dict[tuple[t.Any, ...], list[Point]]:
    """Return the points of every series by what identifies it."""
    table = schema().outcomes
    found: dict[tuple[t.Any, ...], list[Point]] = {}
    columns = (table.c.system, table.c.host, table.c.stage, table.c.subject, table.c.ordinal, table.c.metrics)
    for run in runs:
        query = sa.select(*columns).where(
            table.c.run == run.number, table.c.stage.in_(STAGES), table.c.system.in_(systems)
        )
        for *key, metrics in connection.execution_options(yield_per=BATCH).execute(query):
            for name, value in _FIGURES.findall(metrics):
                found.setdefault((*key, name), []).append((run.seconds, float(value)))
    return found


def _whole(connection: sa.Connection, series: Series, runs: Sequence[Moment]) -> list[Point]:
    """Return every point of `series` in `runs`: looked up by the key of the table, a run at a time."""
    table = schema().outcomes
    when = {run.number: run.seconds for run in runs}
    points: list[Point] = []
    for start in range(0, len(runs), BATCH):
        query = sa.select(table.c.run, table.c.metrics).where(
            table.c.run.in_([run.number for run in runs[start : start + BATCH]]),
            table.c.host == series.host,
            table.c.stage == series.stage,
            table.c.subject == series.subject,
            table.c.ordinal == series.ordinal,
        )
        for each in connection.execute(query):
            points += [
                (when[each.run], value) for name, value in finite(json.loads(each.metrics)) if name == series.metric
            ]
    return sorted(points)


__all__: t.Final = ["LOOK_BACK_DAYS", "find"]
