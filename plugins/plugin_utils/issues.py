# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Issues (R2): what was bad in a period, over all its runs, and what has become of it."""

from __future__ import annotations

import dataclasses
import json
import typing as t
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import STATUSES
from ansible_collections.sre.runbooks.plugins.plugin_utils._figure_schema import IS_BAD
from ansible_collections.sre.runbooks.plugins.plugin_utils._schema import SQLALCHEMY_MISSING, schema
from ansible_collections.sre.runbooks.plugins.plugin_utils.figures import Moment
from ansible_collections.sre.runbooks.plugins.plugin_utils.history_rows import BAD, SubjectKey
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import ROLL_CALL, one_line

if SQLALCHEMY_MISSING is None:
    import sqlalchemy as sa

SHOWN = 200
FOLLOWED = 1000
"""Of so many issues, the longest bad, it is asked whether they were well in between."""

BATCH = 500
STATES = ("returned", "new", "open", "resolved")
Document = dict[str, t.Any]


@dataclasses.dataclass
class Issue:
    """A subject that was bad: the first run, of both periods, and the last; in how many of both, and of this one."""

    key: SubjectKey
    first: int
    last: int
    runs_of_both: int
    runs: int
    state: str = ""
    until: str | None = None


def find(
    connection: sa.Connection, now: Sequence[Moment], before: Sequence[Moment], systems: Sequence[str]
) -> tuple[list[Document], dict[str, int]]:
    """Return the issues of `systems` in the runs `now`, what is bad now first, and how many there are of each state."""
    by_number = {run.number: run for run in (*before, *now)}
    found = _bad(connection, [run.number for run in now], [run.number for run in before], systems)
    _settle(connection, found, now)
    earlier = {run.number for run in before}
    open_ones = sorted((each for each in found if not each.state), key=lambda each: -each.runs_of_both)
    for number, each in enumerate(open_ones):
        looks = _looks(connection, each, by_number) if number < FOLLOWED else each.runs_of_both
        each.state = "returned" if looks > each.runs_of_both else "open" if each.first in earlier else "new"
    counts = {state: sum(each.state == state for each in found) for state in STATES}
    shown = _first_ones(connection, found)
    for each in shown:
        if each.state == "resolved":
            each.until = _found_well(connection, each, by_number)
    rows = list(_rows(connection, shown))
    rows.sort(key=_rank)
    return rows[:SHOWN], counts


def _first_ones(connection: sa.Connection, found: Sequence[Issue]) -> list[Issue]:
    """Return the issues whose outcomes are read: what is bad now, the worst first, then what was resolved."""
    if len(found) <= SHOWN:
        return list(found)
    table = schema().current
    ranks: dict[SubjectKey, int] = {}
    query = sa.select(table.c.host, table.c.stage, table.c.subject, table.c.ordinal, table.c.status)
    for row in connection.execute(query.where(table.c.status.in_(BAD))):
        ranks[tuple(row[:4])] = STATUSES.index(row.status)
    order = sorted(found, key=lambda each: (each.state == "resolved", -ranks.get(each.key, 0), -each.runs))
    return order[:SHOWN]


def _bad(connection: sa.Connection, now: Sequence[int], before: Sequence[int], systems: Sequence[str]) -> list[Issue]:
    """Return what was bad in one of the runs `now`, from the index of what is bad."""
    columns: list[sa.ColumnClause[t.Any]] = [sa.column(name) for name in ("host", "stage", "subject", "ordinal")]
    run: sa.ColumnClause[int] = sa.column("run")
    system: sa.ColumnClause[str] = sa.column("system")
    found: dict[SubjectKey, Issue] = {}
    for numbers, of_now in ((before, False), (now, True)):
        for batch in _batches(numbers):
            query = (
                sa.select(*[*columns, sa.func.min(run), sa.func.max(run), sa.func.count()])
                .select_from(sa.text(_table_of_bad(connection)))
                .where(run.in_(batch), system.in_(systems), sa.text(IS_BAD))
                .group_by(*columns)
            )
            for host, stage, subject, ordinal, first, last, count in connection.execute(query):
                key = (host, stage, subject, ordinal)
                each = found.setdefault(key, Issue(key, first, last, 0, 0))
                each.first, each.last = min(each.first, first), max(each.last, last)
                each.runs_of_both += count
                each.runs += count if of_now else 0
    return [each for each in found.values() if each.runs]


def _table_of_bad(connection: sa.Connection) -> str:
    """Return what stands after FROM. Left to itself, SQLite takes the primary key and reads all that is well too.

    A store that no run of this release has brought up to date yet has no such index.
    """
    present = sa.inspect(connection).has_table(schema().statuses.name)
    return "outcomes INDEXED BY outcomes_bad" if present and connection.dialect.name == "sqlite" else "outcomes"


def _settle(connection: sa.Connection, found: Iterable[Issue], now: Sequence[Moment]) -> None:
    """Find for each issue the last run that looked at it; where that found it well, or no more there, it is resolved."""
    table = schema().outcomes
    query = sa.select(table.c.host, table.c.stage, table.c.subject, table.c.ordinal, table.c.status)
    pending = {each.key: each for each in found}
    for run in sorted(now, key=lambda each: -each.number):
        if not pending:
            return
        bad, looked_at, hosts = set(), set(), set()
        for names in _batches(sorted({key[0] for key in pending})):
            for row in connection.execute(query.where(table.c.run == run.number, table.c.host.in_(names))):
                looked_at.add((row.host, row.stage))
                hosts.add(row.host)
                if row.status in BAD:
                    bad.add(tuple(row[:4]))
        for key in list(pending):
            if key in bad:
                del pending[key]
            elif key[:2] in looked_at or (key[1] == ROLL_CALL and key[0] in hosts):
                pending.pop(key).state = "resolved"


def _looks(connection: sa.Connection, each: Issue, runs: Mapping[int, Moment]) -> int:
    """Return in how many runs, from the first to the last that found it bad, somebody looked."""
    numbers = [number for number in runs if each.first <= number <= each.last]
    if len(numbers) == each.runs_of_both:
        return each.runs_of_both
    run, where = _looked_at(each)
    query = sa.select(sa.func.count(run.distinct())).where(*where)
    return sum(connection.execute(query.where(run.in_(batch))).scalar() or 0 for batch in _batches(numbers))


def _found_well(connection: sa.Connection, each: Issue, runs: Mapping[int, Moment]) -> str | None:
    """Return when the first run after the last bad one that looked at it began."""
    run, where = _looked_at(each)
    for batch in _batches(sorted(number for number in runs if number > each.last)):
        number = connection.execute(sa.select(sa.func.min(run)).where(*where, run.in_(batch))).scalar()
        if number is not None:
            return runs[number].started
    return None


def _looked_at(each: Issue) -> tuple[t.Any, list[t.Any]]:
    """Return the column of runs and the conditions that find those which looked at an issue: at its host in its stage."""
    host, stage = each.key[:2]
    if stage == ROLL_CALL:
        table = schema().host_runs
        return table.c.run, [table.c.host == host]
    table = schema().outcomes
    return table.c.run, [table.c.host == host, table.c.stage == stage]


def _rows(connection: sa.Connection, found: Sequence[Issue]) -> Iterator[Document]:
    table = schema().outcomes
    names = ("host", "stage", "subject", "ordinal")
    query = sa.select(table.c.system, table.c.status, table.c.summary, table.c.since, table.c.details).where(
        table.c.run == sa.bindparam("wanted_run"), *(table.c[name] == sa.bindparam(f"wanted_{name}") for name in names)
    )
    for each in found:
        wanted = {f"wanted_{name}": value for name, value in zip(names, each.key, strict=True)}
        row = connection.execute(query, {**wanted, "wanted_run": each.last}).one()
        host, stage, subject, _ordinal = each.key
        yield {
            "system": row.system,
            "host": host,
            "stage": stage,
            "subject": subject,
            "status": row.status,
            "summary": row.summary,
            "since": row.since,
            "until": each.until,
            "runs": each.runs,
            "state": each.state,
            "remedy": remedy(json.loads(row.details)),
        }


def remedy(details: t.Any) -> str:
    """Return what the outcome itself says is to be done, in one line; empty where it says nothing."""
    found = details.get("remedy") if isinstance(details, Mapping) else None
    return one_line(found) if isinstance(found, str) else ""


def _rank(row: Document) -> tuple[t.Any, ...]:
    return (
        row["state"] == "resolved", -STATUSES.index(row["status"]), STATES.index(row["state"]), row["since"], row["host"], row["subject"],
    )  # fmt: skip


def _batches(values: Sequence[t.Any] | Collection[t.Any]) -> Iterator[list[t.Any]]:
    listed = list(values)
    for start in range(0, len(listed), BATCH):
        yield listed[start : start + BATCH]
