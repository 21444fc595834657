# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The history store: what every run found, in SQLite or PostgreSQL.

A run is written in one transaction: a recorder that is killed leaves the whole run or nothing of it.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import json
import typing as t
from collections.abc import Iterable, Iterator, Sequence

from ansible_collections.sre.runbooks.plugins.plugin_utils._engine import HistoryError, Store
from ansible_collections.sre.runbooks.plugins.plugin_utils._schema import COUNTS, SQLALCHEMY_MISSING, migrate, schema
from ansible_collections.sre.runbooks.plugins.plugin_utils.figures import Gathered, write
from ansible_collections.sre.runbooks.plugins.plugin_utils.history_rows import (
    BAD,
    BATCH,
    SubjectKey,
    batches,
    count,
    host_row,
    keys,
    outcome_rows,
    read_outcome,
    run_row,
    set_since,
)
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_ledger import read_outcomes
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import HostAnswer, Outcome, Run

if SQLALCHEMY_MISSING is None:
    import sqlalchemy as sa


@dataclasses.dataclass(frozen=True)
class StoredRun:
    """A row of `runs`: its number, and its columns by name."""

    number: int
    columns: dict[str, t.Any]

    @property
    def id(self) -> str:
        return str(self.columns["id"])


class History:
    """Reads and writes runs; each method is one transaction. Raises HistoryError."""

    def __init__(self, url: str, option: str = "history_url") -> None:
        self._store = Store(url, option)

    def record(self, run: Run) -> None:
        """Write `run`, and set `since` in its outcomes: the module's own, or when this status was first seen."""
        tables = schema()
        with self._store.writing() as connection:
            migrate(connection)
            inserted = connection.execute(tables.runs.insert().values(run_row(run))).inserted_primary_key
            number = t.cast("tuple[int]", inserted)[0]
            gathered = Gathered()
            for hosts in batches(run.hosts):
                set_since(connection, run, number, hosts)
                connection.execute(tables.host_runs.insert(), [host_row(number, host) for host in hosts])
                for rows in batches(outcome_rows(number, hosts)):
                    connection.execute(tables.outcomes.insert(), rows)
                for host in hosts:
                    for each in host.outcomes:
                        gathered.add((host.system, each["stage"], each["subject"], each["status"], each["metrics"]))
            write(connection, number, gathered)

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Give a connection in a transaction that only reads, for what asks much of one moment."""
        with self._store.reading() as connection:
            yield connection

    def find(self, run_id: str = "", playbook: str = "") -> StoredRun:
        """Return the run `run_id`, or the one recorded last (of `playbook`, if given)."""
        runs = schema().runs
        query = sa.select(runs).order_by(runs.c.number.desc()).limit(1)
        if run_id:
            query = query.where(runs.c.id == run_id)
        if playbook:
            query = query.where(runs.c.playbook == playbook)
        with self._store.reading() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            wanted = " ".join(
                filter(
                    None, [f"run {run_id!r}" if run_id else "run", f"of the playbook {playbook!r}" if playbook else ""]
                )
            )
            raise HistoryError(
                self._store.option,
                self._store.shown,
                f"holds no {wanted}",
                "Give the id of a recorded run, or none for the latest",
            )
        return StoredRun(row["number"], {name: value for name, value in row.items() if name != "number"})

    def newest(self, limit: int) -> tuple[list[dict[str, t.Any]], int]:
        """Return the columns of the newest `limit` runs of any playbook, the newest first, and how many there are of all."""
        runs = schema().runs
        with self._store.reading() as connection:
            rows = connection.execute(sa.select(runs).order_by(runs.c.number.desc()).limit(limit)).mappings().all()
            total = connection.execute(sa.select(sa.func.count()).select_from(runs)).scalar_one()
        return [dict(row) for row in rows], total

    def systems(self, stored: StoredRun) -> dict[str, list[str]]:
        """Return the names of the hosts of a run by system."""
        table = schema().host_runs
        result: dict[str, list[str]] = collections.defaultdict(list)
        with self._store.reading() as connection:
            for row in connection.execute(sa.select(table.c.system, table.c.host).where(table.c.run == stored.number)):
                result[row.system].append(row.host)
        return result

    def load(self, stored: StoredRun) -> Run:
        """Read a whole run back."""
        columns = stored.columns
        return Run(
            columns["id"],
            columns["playbook"],
            columns["started"],
            columns["finished"],
            columns["check_mode"],
            columns["version"],
            json.loads(columns["stages"]),
            list(self._answers(stored)),
        )

    def _answers(self, stored: StoredRun) -> Iterator[HostAnswer]:
        tables = schema()
        found: dict[str, list[Outcome]] = collections.defaultdict(list)
        with self._store.reading() as connection:
            for row in connection.execution_options(yield_per=BATCH).execute(
                sa.select(tables.outcomes).where(tables.outcomes.c.run == stored.number)
            ):
                found[row.host].append(read_outcome(row))
            query = (
                sa.select(tables.host_runs)
                .where(tables.host_runs.c.run == stored.number)
                .order_by(tables.host_runs.c.host)
            )
            for row in connection.execute(query):
                yield HostAnswer(row.host, row.system, row.answered, found.pop(row.host, []))

    def newest_answers(self, playbook: str, since: str) -> tuple[dict[str, HostAnswer], list[str]]:
        """Return by host what it said in its newest run of `playbook` that ended at `since` or later, and those runs' stages."""
        tables = schema()
        runs, host_runs, outcomes = tables.runs, tables.host_runs, tables.outcomes
        newest = (
            sa.select(host_runs.c.host, sa.func.max(host_runs.c.run).label("run"))
            .join(runs, runs.c.number == host_runs.c.run)
            .where(runs.c.playbook == playbook, runs.c.finished >= since)
            .group_by(host_runs.c.host)
            .subquery()
        )

        def theirs(table: t.Any) -> t.Any:
            same = sa.and_(table.c.run == newest.c.run, table.c.host == newest.c.host)
            return sa.select(table).join(newest, same).execution_options(yield_per=BATCH)

        found: dict[str, list[Outcome]] = collections.defaultdict(list)
        named = sa.select(runs.c.stages).where(runs.c.number.in_(sa.select(newest.c.run))).distinct()
        with self._store.reading() as connection:
            for row in connection.execute(theirs(outcomes)):
                found[row.host].append(read_outcome(row))
            answers = {
                row.host: HostAnswer(row.host, row.system, row.answered, found.pop(row.host, []))
                for row in connection.execute(theirs(host_runs))
            }
            stages = [stage for row in connection.execute(named) for stage in json.loads(row.stages)]
        return answers, list(dict.fromkeys(stages))

    def recent(self, stored: StoredRun, count: int = 30) -> list[StoredRun]:
        """Return up to `count` runs of the same playbook that end with `stored`, the oldest first."""
        runs = schema().runs
        query = (
            sa.select(runs)
            .where(runs.c.playbook == stored.columns["playbook"], runs.c.number <= stored.number)
            .order_by(runs.c.number.desc())
        )
        with self._store.reading() as connection:
            rows = connection.execute(query.limit(count)).mappings().all()
        return [
            StoredRun(row["number"], {name: value for name, value in row.items() if name != "number"})
            for row in reversed(rows)
        ]

    def host_history(self, runs: Sequence[StoredRun]) -> dict[str, list[dict[str, t.Any]]]:
        """Return by host what became of it in each of `runs`, in their order; a run without the host is left out."""
        table = schema().host_runs
        by_number = {run.number: run for run in runs}
        result: dict[str, list[dict[str, t.Any]]] = collections.defaultdict(list)
        query = (
            sa.select(table.c.run, table.c.host, table.c.status, *(table.c[name] for name in COUNTS))
            .where(table.c.run.in_(by_number))
            .order_by(table.c.run)
        )
        with self._store.reading() as connection:
            for row in connection.execution_options(yield_per=BATCH).execute(query).mappings():
                run = by_number[row["run"]]
                result[row["host"]].append(
                    {
                        "run": run.id,
                        "started": run.columns["started"],
                        "status": row["status"],
                        **{name: row[name] for name in COUNTS},
                    }
                )
        return result

    def metric_history(
        self, runs: Sequence[StoredRun], subjects: Iterable[SubjectKey]
    ) -> dict[SubjectKey, list[tuple[str, str, float]]]:
        """Return (metric, start of the run, value) of the main metric of each of `subjects` over `runs`, in their order."""
        table = schema().outcomes
        starts = {run.number: run.columns["started"] for run in runs}
        query = (
            sa.select(table.c.run, table.c.metrics)
            .where(table.c.run.in_(starts))
            .where(
                *(table.c[name] == sa.bindparam(f"wanted_{name}") for name in ("host", "stage", "subject", "ordinal"))
            )
            .order_by(table.c.run)
        )
        result = {}
        with self._store.reading() as connection:
            for key in subjects:
                wanted = dict(
                    zip(("wanted_host", "wanted_stage", "wanted_subject", "wanted_ordinal"), key, strict=True)
                )
                points = []
                for row in connection.execute(query, wanted):
                    points += [
                        (name, starts[row.run], value)
                        for name, value in itertools.islice(json.loads(row.metrics).items(), 1)
                    ]
                result[key] = points
        return result

    def bad(self, stored: StoredRun) -> dict[SubjectKey, dict[str, t.Any]]:
        """Return what was unknown, warning or critical in a run: system, status, summary and since by subject."""
        table = schema().outcomes
        names = ("system", "status", "summary", "since")
        query = sa.select(
            table.c.host, table.c.stage, table.c.subject, table.c.ordinal, *(table.c[name] for name in names)
        )
        with self._store.reading() as connection:
            rows = connection.execute(query.where(table.c.run == stored.number, table.c.status.in_(BAD))).all()
        return {tuple(row[:4]): dict(zip(names, row[4:], strict=True)) for row in rows}

    def notifications(self, stored: StoredRun) -> list[dict[str, str]]:
        """Return what became of the messages of a run: contact, status and summary."""
        with self._store.reading() as connection:
            return read_outcomes(connection, stored.id)


__all__: t.Final = ["BAD", "History", "StoredRun", "SubjectKey", "count", "keys"]
