# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trends (R2): the main metric of each subject of a system, in this period and the one before it."""

from __future__ import annotations

import fnmatch
import typing as t
from collections.abc import Mapping

from ansible_collections.sre.runbooks.plugins.plugin_utils.figures import Figure, Moment, Statuses
from ansible_collections.sre.runbooks.plugins.plugin_utils.kpi_rows import direction, thinned
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import ROLL_CALL

SHOWN = 12
"""Trends of a system in a report: those that changed most, what got worse before the rest."""

FOLLOWED = 5000
"""Of so many subjects the values of each run are kept; of more only those of the two periods."""

HIGHER = (
    "*available*", "free_bytes", "hit_percent", "*_hit_*", "*hit_rate*", "*success*", "*accuracy*", "days_remaining", "active", "running",
    "throughput*", "requests*", "uptime*", "full_in_seconds",
)  # fmt: skip
"""Metrics of which more is better."""

LOWER = (
    "*_percent",
    "*_seconds",
    "*_bytes",
    "*error*",
    "*fail*",
    "count",
    "restarts",
    "pending",
    "unhealthy",
    "conflicts",
    "*depth*",
    "*updates",
)
"""Metrics of which less is better; of other metrics nobody has said it."""

NO_FIGURES = ("status_code",)
_ORDER = {"worse": 0, "changed": 1, "better": 2, "new": 3, "stable": 4}
Document = dict[str, t.Any]
Key = tuple[str, str, str, str]
"""System, stage, subject, metric; for the share of bad outcomes of a system all but the first are empty."""


def comparison(metric: str) -> str:
    """Return `>` where more of `metric` is better, `<` where less is, empty where that is not known."""
    if any(fnmatch.fnmatchcase(metric, glob) for glob in HIGHER):
        return ">"
    return "<" if any(fnmatch.fnmatchcase(metric, glob) for glob in LOWER) else ""


def unit_of(metric: str) -> str:
    """Return the unit that the suffix of `metric` stands for."""
    suffixes = ("percent", "seconds", "bytes", "per_minute", "per_day")
    return next((unit for unit in suffixes if metric.endswith(f"_{unit}")), "")


class Trends:
    """Takes the figures of both periods' runs, in one pass, and adds them up."""

    def __init__(self, now: Mapping[int, Moment]) -> None:
        """Take the runs of this period by number; all others are of the one before."""
        self._now = now
        self._sums: dict[Key, list[float]] = {}
        self._points: dict[Key, dict[int, list[float]]] = {}

    def add(self, each: Figure | Statuses) -> None:
        """Take one figure."""
        if isinstance(each, Statuses):
            looked_at = sum(each.counts.values()) - each.counts["skipped"]
            bad = looked_at - each.counts["ok"]
            self._add((each.system, "", "", ""), each.run, 100.0 * bad, looked_at)
        elif each.main and each.stage != ROLL_CALL and each.metric not in NO_FIGURES:
            key = (each.system, each.stage, each.subject, each.metric)
            self._add(key, each.run, each.total, each.count)

    def _add(self, key: Key, run: int, total: float, count: int) -> None:
        sums = self._sums.setdefault(key, [0.0, 0, 0.0, 0])
        place = 0 if run in self._now else 2
        sums[place] += total
        sums[place + 1] += count
        if place == 0 and (key in self._points or len(self._points) < FOLLOWED):
            point = self._points.setdefault(key, {}).setdefault(run, [0.0, 0])
            point[0] += total
            point[1] += count

    def rows(self) -> list[Document]:
        """Return the trends of each system, what got worse first."""
        by_system: dict[str, list[Document]] = {}
        for key, (total, count, total_before, count_before) in self._sums.items():
            if count:
                before = total_before / count_before if count_before else None
                by_system.setdefault(key[0], []).append(self._row(key, total / count, before, int(count)))
        return [each for _system, found in sorted(by_system.items()) for each in sorted(found, key=_rank)[:SHOWN]]

    def _row(self, key: Key, value: float, before: float | None, count: int) -> Document:
        system, stage, subject, metric = key
        unit = unit_of(metric) if metric else "percent"
        points = [
            {"started": self._now[run].started, "value": total / number}
            for run, (total, number) in self._points.get(key, {}).items()
            if number
        ]
        points.sort(key=lambda point: str(point["started"]))
        return {
            "title": f"{subject} {metric}" if metric else "Outcomes that are not ok",
            "system": system,
            "stage": stage,
            "subject": subject,
            "metric": metric,
            "unit": unit,
            "value": value,
            "before": before,
            "change_percent": round(100 * (value - before) / abs(before), 1) if before else None,
            "direction": direction(value, before, comparison(metric) if metric else "<"),
            "observations": count,
            "points": thinned(points),
        }


def _rank(row: Document) -> tuple[t.Any, ...]:
    # The whole comes first, then by how much a thing changed.
    return row["metric"] != "", _ORDER[row["direction"]], -abs(row["change_percent"] or 0), row["title"]
