# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""KPIs measured: what the figures and incidents of a period and of the one before it make of the definitions (R4).

Pure functions. What has no observations has no value: nothing is made up.
"""

from __future__ import annotations

import dataclasses
import itertools
import typing as t
from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration
from ansible_collections.sre.runbooks.plugins.plugin_utils._spread import Spread
from ansible_collections.sre.runbooks.plugins.plugin_utils.figures import Figure, Moment, Statuses
from ansible_collections.sre.runbooks.plugins.plugin_utils.kpis import Kpi, Source
from ansible_collections.sre.runbooks.plugins.plugin_utils.period import Period
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import ROLL_CALL

DAY = 86400.0
_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclasses.dataclass
class Cell:
    """What one run gave to a source: values by metric, observations that are good, bad, critical."""

    spreads: dict[str, Spread] = dataclasses.field(default_factory=dict)
    good: int = 0
    bad: int = 0
    critical: int = 0


@dataclasses.dataclass(frozen=True)
class Measured:
    """A value and what it rests on: `count` observations, `covered` seconds of the period, a value for each run."""

    value: float
    count: int
    how: str
    covered: float = 0.0
    points: tuple[tuple[str, float], ...] = ()


class Collector:
    """Takes the figures of both periods' runs, in one pass, and keeps those that a KPI asks for."""

    def __init__(self, kpis: Mapping[str, Sequence[Kpi]]) -> None:
        """Take the KPIs by system."""
        self._cells: dict[tuple[str, Source], dict[int, Cell]] = {}
        self._unreachable: dict[str, set[int]] = {}
        self._sources = {
            system: {source for kpi in found for source in kpi.sources if not source.incidents}
            for system, found in kpis.items()
        }
        self._wanted: dict[tuple[str, str, str], tuple[Source, ...]] = {}

    def add(self, each: Figure | Statuses) -> None:
        """Take one figure."""
        if isinstance(each, Statuses) and (each.stage, each.subject) == (ROLL_CALL, "host"):
            self._unreachable.setdefault(each.system, set()).add(each.run)
            return
        for source in self._takers(each.system, each.stage, each.subject):
            if isinstance(each, Statuses):
                if source.good or source.statistic == "failures":
                    _count(self._cell(each, source), each.counts, source)
            elif each.metric in source.metrics or each.metric == source.over:
                self._cell(each, source).spreads.setdefault(each.metric, Spread()).merge(each.spread)

    def _takers(self, system: str, stage: str, subject: str) -> tuple[Source, ...]:
        key = (system, stage, subject)
        if key not in self._wanted:
            sources = self._sources.get(system, ())
            self._wanted[key] = tuple(each for each in sources if each.stage == stage and each.takes(subject))
        return self._wanted[key]

    def _cell(self, each: Figure | Statuses, source: Source) -> Cell:
        return self._cells.setdefault((each.system, source), {}).setdefault(each.run, Cell())

    @property
    def metrics(self) -> set[str]:
        """The metrics that are asked for."""
        sources = [source for found in self._sources.values() for source in found]
        return {name for source in sources for name in (*source.metrics, source.over) if name}

    def cells(self, system: str, source: Source, runs: Sequence[Moment]) -> list[tuple[Moment, Cell]]:
        """Return what `source` has of `system` in `runs`, in their order.

        A host that did not answer is down: what it would have said is bad, as far as it is missing.
        """
        found = self._cells.get((system, source), {})
        expected = max((cell.good + cell.bad for cell in found.values()), default=0)
        result = []
        for run in runs:
            cell = found.get(run.number)
            if source.good and run.number in self._unreachable.get(system, ()) and expected:
                cell = dataclasses.replace(cell) if cell else Cell()
                cell.bad += max(0, expected - cell.good - cell.bad)
            if cell is not None and (not source.good or cell.good + cell.bad):
                result.append((run, cell))
        return result


def _count(cell: Cell, counts: Mapping[str, int], source: Source) -> None:
    """Count what was looked at: a check that could not be made, or was left out, says nothing of what it looks at."""
    looked_at = {
        name: number for name, number in counts.items() if name not in ("unknown", "skipped") or name in source.good
    }
    good = sum(number for name, number in looked_at.items() if name in source.good)
    cell.good += good
    cell.bad += sum(looked_at.values()) - good
    cell.critical += counts["critical"]


def measure(
    source: Source, cells: Sequence[tuple[Moment, Cell]], earlier: Moment | None, baseline: Cell | None, period: Period
) -> Measured | None:
    """Return what `source` says of `period`; None without an observation.

    `earlier` is the last run with an observation before it, `baseline` what that one was.
    """
    if source.good:
        return _share(source, cells, earlier, period)
    metric = next((name for name in source.metrics if any(name in cell.spreads for _run, cell in cells)), "")
    if source.statistic == "failures":
        return _failures(source, cells, metric)
    if not metric:
        return None
    value, count = _statistic(source.statistic, metric, cells, baseline)
    if value is None:
        return None
    if source.over:
        base, _count_of_base = _statistic(source.statistic, source.over, cells, baseline)
        if not base:
            return None
        value = 100 * value / base
    if source.per:
        value /= period.seconds / source.per
    # What of a single run is the mean of it.
    kind = source.statistic if source.statistic in ("max", "min", *_SHARES) else "mean"
    points = []
    for run, cell in cells:
        if metric in cell.spreads:
            points.append((run.started, _scaled(source, _of_spread(kind, cell.spreads[metric]))))
    how = f"{source.stage} {metric}, {source.statistic} of {_number(count, 'observation')}"
    shown = () if source.over or source.per else tuple(points)
    return Measured(_scaled(source, value), count, how, period.seconds, shown)


def _scaled(source: Source, value: float) -> float:
    return value * source.scale + source.offset


def _statistic(
    name: str, metric: str, cells: Sequence[tuple[Moment, Cell]], baseline: Cell | None
) -> tuple[float | None, int]:
    found = [cell.spreads[metric] for _run, cell in cells if metric in cell.spreads]
    count = sum(spread.count for spread in found)
    if not found:
        return None, 0
    if name == "increase":
        return _increase([spread.total for spread in found], baseline, metric), count
    if name == "last":
        return found[-1].mean, found[-1].count
    whole = Spread()
    for spread in found:
        whole.merge(spread)
    return _of_spread(name, whole), count


def _of_spread(name: str, spread: Spread) -> float:
    if name in _SHARES:
        return spread.quantile(_SHARES[name])
    if name == "positive":
        return float(spread.positive)
    return {"mean": spread.mean, "min": spread.low, "max": spread.high, "sum": spread.total}[name]


def _increase(totals: Sequence[float], baseline: Cell | None, metric: str) -> float | None:
    """Return by how much a counter grew; after it fell it began anew. One observation alone tells nothing."""
    before = [baseline.spreads[metric].total] if baseline is not None and metric in baseline.spreads else []
    values = [*before, *totals]
    if len(values) < 2:
        return None
    return sum(later - earlier if later >= earlier else later for earlier, later in itertools.pairwise(values))


def _failures(source: Source, cells: Sequence[tuple[Moment, Cell]], metric: str) -> Measured | None:
    """Return the share of changes that failed: outcomes that are critical, of those and of those that changed something."""
    failed = sum(cell.critical for _run, cell in cells)
    done = sum(cell.spreads[metric].positive for _run, cell in cells if metric in cell.spreads)
    if not failed + done:
        return None
    how = f"{source.stage}, critical ones of {_number(failed + done, 'change')}"
    return Measured(100 * failed / (failed + done), failed + done, how)


def _share(
    source: Source, cells: Sequence[tuple[Moment, Cell]], earlier: Moment | None, period: Period
) -> Measured | None:
    """Return the share of good observations in percent; by time, an observation stands for the time since the one before.

    That is a day at most, the first of all reaches back to the period's beginning: nothing is known of longer gaps.
    """
    if not cells:
        return None
    count = sum(cell.good + cell.bad for _run, cell in cells)
    points = tuple((run.started, 100 * cell.good / (cell.good + cell.bad)) for run, cell in cells)
    subjects = ", ".join(source.subjects)
    if source.statistic == "share":
        value = 100 * sum(cell.good for _run, cell in cells) / count
        return Measured(
            value, count, f"{source.stage} {subjects}, share of {_number(count, 'observation')}", 0.0, points
        )
    covered, good = 0.0, 0.0
    last = max(period.since.timestamp(), earlier.seconds) if earlier else period.since.timestamp()
    for run, cell in cells:
        weight = max(0.0, min(DAY, run.seconds - last))
        covered += weight
        good += weight * cell.good / (cell.good + cell.bad)
        last = run.seconds
    if not covered:
        return None
    how = (
        f"{source.stage} {subjects}, share of the time: {_number(count, 'observation')} in {_number(len(cells), 'run')}, "
        f"each for the time since the one before, {show_duration(covered)} of {show_duration(period.seconds)} known"
    )
    return Measured(100 * good / covered, count, how, covered, points)


def of_incidents(source: Source, incidents: Iterable[Mapping[str, t.Any]]) -> Measured | None:
    """Return a statistic of the times of incidents; None when none has that time."""
    found = Spread()
    points = []
    for each in incidents:
        seconds = each[source.incidents]
        if seconds is not None:
            found.add(seconds)
            points.append((each["detected"], seconds))
    if not found.count:
        return None
    how = f"incidents, {source.statistic} of {_number(found.count, 'incident')}"
    return Measured(_of_spread(source.statistic, found), found.count, how, 0.0, tuple(points))


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
