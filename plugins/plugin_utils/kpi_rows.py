# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""KPIs as rows of the report: beside the target and the period before, with what is left of the budget (R4). Pure functions."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence

from ansible_collections.sre.runbooks.plugins.plugin_utils.kpi_measure import Measured
from ansible_collections.sre.runbooks.plugins.plugin_utils.kpis import Kpi

POINTS = 120
STABLE_SHARE = 0.05
"""A change by less than this share of what was before is none."""

Document = dict[str, t.Any]


def row(kpi: Kpi, system: str, now: Measured | None, before: Measured | None) -> Document:
    """Return the KPI as the report has it."""
    value = None if now is None else now.value
    return {
        "name": kpi.name,
        "title": kpi.title,
        "system": system,
        "unit": kpi.unit,
        "target": kpi.target_text,
        "value": value,
        "before": None if before is None else before.value,
        "direction": direction(
            value, None if before is None else before.value, kpi.target.comparison if kpi.target else "", kpi.unit
        ),
        "met": None if value is None or kpi.target is None else kpi.target.passed(value),
        "observations": now.count if now else 0,
        "budget": _budget(kpi, now),
        "points": thinned([{"started": at, "value": figure} for at, figure in now.points]) if now else [],
        "why": now.how if now else f"no data: nothing in {'; '.join(source.shown for source in kpi.sources)}",
    }


def direction(value: float | None, before: float | None, comparison: str, unit: str = "") -> str:
    """Return better, worse, stable, new without a value before, changed where nobody said which way is better."""
    if value is None or before is None:
        return "new"
    here, there = value, before
    if unit == "percent" and comparison.startswith(">") and min(value, before) > 50:
        # From 99.9 to 99.8 the failures have doubled.
        here, there, comparison = 100 - value, 100 - before, "<"
    if abs(here - there) <= STABLE_SHARE * max(abs(here), abs(there), 1e-9):
        return "stable"
    if not comparison:
        return "changed"
    return "better" if (here > there) == comparison.startswith(">") else "worse"


def _budget(kpi: Kpi, now: Measured | None) -> Document | None:
    """Return how much of what may fail has failed: of the time where the share is one of time."""
    if not kpi.budget or now is None or kpi.target is None or kpi.unit != "percent":
        return None
    of_time = kpi.target.comparison.startswith(">")
    allowed = 100 - kpi.target.limit if of_time else kpi.target.limit
    spent = 100 - now.value if of_time else now.value
    if allowed <= 0:
        return None
    seconds = of_time and now.covered
    return {
        "allowed_seconds": round(allowed / 100 * now.covered, 1) if seconds else None,
        "spent_seconds": round(spent / 100 * now.covered, 1) if seconds else None,
        "left_percent": round(100 * (allowed - spent) / allowed, 1),
    }


def thinned(points: Sequence[Document], limit: int = POINTS) -> list[Document]:
    """Return at most `limit` of `points`, evenly taken, the last among them."""
    if len(points) <= limit:
        return list(points)
    step = (len(points) - 1) / (limit - 1)
    return [points[round(number * step)] for number in range(limit)]
