# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a report says of its period, read from the history in one transaction; the keys are in docs/report.md."""

from __future__ import annotations

import dataclasses
import datetime
import json
import typing as t
from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.sre.runbooks.plugins.plugin_utils import (
    capacity,
    capacity_history,
    issues,
    kpi_measure,
    kpi_rows,
    plan,
)
from ansible_collections.sre.runbooks.plugins.plugin_utils._schema import SQLALCHEMY_MISSING, schema
from ansible_collections.sre.runbooks.plugins.plugin_utils.costs import SIZE, Prices, Quantities, costs
from ansible_collections.sre.runbooks.plugins.plugin_utils.figures import Moment, moments, of_runs
from ansible_collections.sre.runbooks.plugins.plugin_utils.history import History, StoredRun
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_spool import incident_of
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_state import Incident, timings
from ansible_collections.sre.runbooks.plugins.plugin_utils.kpis import Kpi, Source, merged
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_matter import NO_SYSTEM
from ansible_collections.sre.runbooks.plugins.plugin_utils.period import Period, ending, parse, show
from ansible_collections.sre.runbooks.plugins.plugin_utils.trends import Trends

if SQLALCHEMY_MISSING is None:
    import sqlalchemy as sa
if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.plugin_utils.schedule import Schedule

INCIDENTS_READ = 1000
Document = dict[str, t.Any]

EMPTY: Document = {
    "period": None, "summary": [], "kpis": [], "trends": [], "issues": [], "issue_counts": dict.fromkeys(issues.STATES, 0), "capacity": [],
    "incidents": [], "actions": [], "recommendations": [], "achievements": [], "plan": [], "costs": None,
}  # fmt: skip
"""The keys of a document that is about one run alone."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the inventory says: the period's name (empty: none), KPIs for all and by system, limits, prices, schedules."""

    period: str = ""
    kpis: Sequence[Kpi] = ()
    kpis_of: Mapping[str, Sequence[Kpi]] = dataclasses.field(default_factory=dict)
    limits: Sequence[capacity.Limit] = ()
    limits_of: Mapping[str, Sequence[capacity.Limit]] = dataclasses.field(default_factory=dict)
    costs: Prices | None = None
    schedules: Sequence[Schedule] = ()


def empty() -> Document:
    """Return the keys of a document that is about one run alone."""
    return {key: value.copy() if isinstance(value, (list, dict)) else value for key, value in EMPTY.items()}


def add(document: Document, history: History, stored: StoredRun, settings: Settings) -> None:
    """Set the keys of the period in the report of the run `stored`, about the systems that are in it."""
    document.update(empty())
    if not settings.period:
        return
    period = ending(settings.period, parse(stored.columns["started"]))
    systems = {"" if each["name"] == NO_SYSTEM else each["name"]: each["name"] for each in document["systems"]}
    with history.reading() as connection:
        reader = _Reader(connection, period, stored.number, systems, settings)
        document.update(reader.document())
    document["actions"] = plan.actions(document)
    document["recommendations"] = plan.recommendations(document["issues"])
    document["achievements"] = plan.achievements(document)
    document["plan"] = plan.plan(document, settings.schedules, period)
    document["summary"] = plan.summary(document)


class _Reader:
    """Reads what a report of a period needs."""

    def __init__(
        self, connection: sa.Connection, period: Period, last: int, systems: Mapping[str, str], settings: Settings
    ) -> None:
        self._connection = connection
        self._period = period
        self._systems = systems
        self._settings = settings
        self._now = moments(connection, period, last)
        self._before = moments(connection, period.before, last)
        self._last = last
        self._kpis = {system: self._kpis_of(system, shown) for system, shown in systems.items()}
        numbers = {run.number: run for run in self._now}
        self._collector = kpi_measure.Collector(self._kpis)
        self._trends = Trends(numbers)
        self._quantities = Quantities(numbers)

    def _kpis_of(self, system: str, shown: str) -> list[Kpi]:
        own = [*self._settings.kpis, *self._settings.kpis_of.get(system, ())]
        return [kpi for kpi in merged(own) if kpi.holds_for(shown)]

    def document(self) -> Document:
        numbers = [run.number for run in (*self._before, *self._now)]
        for each in of_runs(self._connection, numbers, {*self._collector.metrics, SIZE}):
            if each.system in self._systems:
                for taker in (self._collector, self._trends, self._quantities):
                    taker.add(each)
        systems = list(self._systems)
        found, counts = issues.find(self._connection, self._now, self._before, systems)
        year = self._incidents(self._period.before.since, self._period.until)
        period = self._period
        return {
            "period": {
                "name": period.name,
                "from": show(period.since),
                "to": show(period.until),
                "days": round(period.seconds / 86400, 2),
                "runs": len(self._now),
                "before": {"from": show(period.before.since), "to": show(period.since), "runs": len(self._before)},
            },
            "kpis": self._measured(year),
            "trends": self._named(self._trends.rows()),
            "issues": self._named(found),
            "issue_counts": counts,
            "capacity": self._named(capacity_history.find(self._connection, self._runs_of_growth(), self._limits())),
            "incidents": [each for each in year if each["state"] != "closed" or self._is_of(each, period)],
            "costs": self._costs(),
        }

    def _named(self, rows: list[Document]) -> list[Document]:
        for each in rows:
            each["system"] = self._systems[each["system"]]
        return rows

    def _limits(self) -> dict[str, list[capacity.Limit]]:
        """Return the limits by system, a system's own before those of all."""
        return {each: [*self._settings.limits_of.get(each, ()), *self._settings.limits] for each in self._systems}

    def _runs_of_growth(self) -> list[Moment]:
        since = self._period.until - datetime.timedelta(days=capacity.LOOK_BACK_DAYS)
        return moments(self._connection, Period(self._period.name, since, self._period.until), self._last)

    def _incidents(self, since: datetime.datetime, until: datetime.datetime) -> list[Document]:
        """Return the incidents of `systems` that were detected since then, or are not closed; the newest first."""
        if not sa.inspect(self._connection).has_table("incidents"):
            return []
        table = schema().incidents
        query = (
            sa.select(table.c.document)
            .where(
                sa.or_(table.c.detected > show(since), table.c.state != "closed"),
                table.c.detected <= show(until),
                table.c.system.in_({*self._systems, *self._systems.values()}),
            )
            .order_by(table.c.number.desc())
            .limit(INCIDENTS_READ)
        )
        return [_incident(incident_of(json.loads(each))) for each in self._connection.execute(query).scalars()]

    def _is_of(self, incident: Mapping[str, t.Any], period: Period) -> bool:
        return show(period.since) < str(incident["detected"]) <= show(period.until)

    def _measured(self, incidents: Sequence[Document]) -> list[Document]:
        return [
            self._row(kpi, system, [each for each in incidents if each["system"] in (system, shown)])
            for system, shown in sorted(self._systems.items(), key=lambda pair: pair[1])
            for kpi in self._kpis[system]
        ]

    def _row(self, kpi: Kpi, system: str, incidents: Sequence[Document]) -> Document:
        """Return a KPI's row: by its first source that has something to say of this period, which then says what was before."""
        for source in kpi.sources:
            now, before = self._of_source(source, system, incidents)
            if now is not None:
                return kpi_rows.row(kpi, self._systems[system], now, before)
        return kpi_rows.row(kpi, self._systems[system], None, None)

    def _of_source(
        self, source: Source, system: str, incidents: Sequence[Document]
    ) -> tuple[kpi_measure.Measured | None, kpi_measure.Measured | None]:
        period = self._period
        if source.incidents:
            both = [[each for each in incidents if self._is_of(each, one)] for one in (period, period.before)]
            return kpi_measure.of_incidents(source, both[0]), kpi_measure.of_incidents(source, both[1])
        now = self._collector.cells(system, source, self._now)
        before = self._collector.cells(system, source, self._before)
        earlier, baseline = before[-1] if before else (None, None)
        return (
            kpi_measure.measure(source, now, earlier, baseline, period),
            kpi_measure.measure(source, before, None, None, period.before),
        )

    def _costs(self) -> Document | None:
        if self._settings.costs is None:
            return None
        for runs, now in ((self._now, True), (self._before, False)):
            for system, count in _hosts(self._connection, [run.number for run in runs]):
                if system in self._systems:
                    self._quantities.hosts[system, now] = max(count, self._quantities.hosts.get((system, now), 0))
        return costs(self._settings.costs, self._quantities, self._systems, self._period)


def _hosts(connection: sa.Connection, numbers: Sequence[int]) -> Iterable[tuple[str, int]]:
    """Yield how many hosts of each system each run named."""
    table = schema().host_runs
    for start in range(0, len(numbers), 500):
        query = sa.select(table.c.system, sa.func.count()).where(table.c.run.in_(numbers[start : start + 500]))
        for row in connection.execute(query.group_by(table.c.run, table.c.system)):
            yield row[0], row[1]


def _incident(incident: Incident) -> Document:
    found = timings(incident)
    names = (
        "id",
        "type",
        "title",
        "system",
        "severity",
        "state",
        "started",
        "detected",
        "acknowledged",
        "stable",
        "closed",
    )
    return {
        **{name: getattr(incident, name) for name in names},
        "hosts": list(incident.hosts),
        "detect_seconds": found["detect_seconds"],
        "resolve_seconds": found["resolve_seconds"],
    }
