# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Capacity (R7): the growth of disks, inodes, memory, databases, log folders and backups, to the date they run out.

Growth is the median of the slopes between all pairs of days (Theil and Sen), each day counted with the median of its
values: a few odd days do not move it. Where the days do not follow that line nothing is foretold.
"""

from __future__ import annotations

import dataclasses
import datetime
import fnmatch
import statistics
import typing as t
from collections.abc import Mapping, Sequence

from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.plugin_utils.kpi_rows import thinned
from ansible_collections.sre.runbooks.plugins.plugin_utils.page_figures import show

DAY = 86400.0
LOOK_BACK_DAYS = 90
ENOUGH_DAYS = 7
"""Fewer days of observations foretell nothing."""

GOOD_FIT = 0.5
"""The share of the days' variance that the line has to explain."""

NEARLY = 0.9
"""What has used so much of its limit is looked at, whether it grows or not."""

HORIZON_DAYS = 1095
"""Whoever would run out later than in three years does not, as far as anybody can tell."""

SHOWN = 50
SIMPLE_TRENDS = 12

PERCENT = ("used_percent", "inodes_percent", "memory_percent", "swap_percent", "connections_percent", "xid_age_percent")
BYTES = ("size_bytes",)
METRICS = (*PERCENT, *BYTES)
STAGES = ("health", "backup")

Point = tuple[float, float]
"""Seconds since the epoch, value."""

Document = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Series:
    """One metric of one subject of one host."""

    system: str
    host: str
    stage: str
    subject: str
    ordinal: int
    metric: str


@dataclasses.dataclass(frozen=True)
class Limit:
    """What the site says that a metric in bytes may grow to; globs over host, stage, subject and metric."""

    limit: float
    subject: str = "*"
    stage: str = "health"
    metric: str = "size_bytes"
    host: str = "*"

    def takes(self, series: Series) -> bool:
        """Whether it is the limit of `series`."""
        names = ("host", "stage", "subject", "metric")
        return all(fnmatch.fnmatchcase(getattr(series, name), getattr(self, name)) for name in names)


@dataclasses.dataclass(frozen=True)
class Growth:
    """A line through the days: growth a day, how much of their variance it explains, the line's value on the last day."""

    per_day: float
    fit: float
    last: float
    days: int

    @property
    def trusted(self) -> bool:
        """Whether it may foretell anything."""
        return self.days >= ENOUGH_DAYS and self.fit >= GOOD_FIT


def read_limits(raw: t.Any, option: str = "limits") -> list[Limit]:
    """Read the option `limits`; raises InputError."""
    remedy = "Write it as [{subject: 'postgresql:*', metric: size_bytes, limit: 100 GiB}]."
    if not isinstance(raw, (list, tuple)):
        raise InputError(option, raw, "is no list", remedy)
    globs = ("host", "stage", "subject", "metric")
    found = []
    for number, each in enumerate(raw):
        if not isinstance(each, Mapping) or "limit" not in each:
            raise InputError(f"{option}[{number}]", each, "has no limit", remedy)
        strange = sorted(str(key) for key in each if key not in ("limit", "subject", "metric", "host"))
        if strange:
            raise InputError(f"{option}[{number}]", strange[0], "is no option of a limit", remedy)
        limit = units.quantity(each["limit"], f"{option}[{number}].limit")
        if limit <= 0:
            raise InputError(f"{option}[{number}].limit", each["limit"], "is not above 0", remedy)
        found.append(Limit(limit, **{key: str(each[key]) for key in globs if key in each}))
    return found


def daily(points: Sequence[Point]) -> list[Point]:
    """Return the median of each day (UTC), at the middle of its observations, the oldest first."""
    days: dict[int, list[Point]] = {}
    for at, value in points:
        days.setdefault(int(at // DAY), []).append((at, value))
    return [
        (statistics.median(at for at, _value in found), statistics.median(value for _at, value in found))
        for _day, found in sorted(days.items())
    ]


def growth(points: Sequence[Point]) -> Growth | None:
    """Return the line through `points`, which are those of days; None for fewer than two."""
    if len(points) < 2:
        return None
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for place, earlier in enumerate(points)
        for later in points[place + 1 :]
        if later[0] > earlier[0]
    ]
    if not slopes:
        return None
    slope = statistics.median(slopes)
    start = statistics.median(value - slope * at for at, value in points)
    mean = statistics.fmean(value for _at, value in points)
    spread = sum((value - mean) ** 2 for _at, value in points)
    missed = sum((value - start - slope * at) ** 2 for at, value in points)
    fit = max(0.0, 1 - missed / spread) if spread > 0 else 0.0
    return Growth(slope * DAY, fit, start + slope * points[-1][0], len(points))


def limit_of(series: Series, limits: Sequence[Limit]) -> float | None:
    """Return what `series` may grow to: 100 percent, what the site says, or None."""
    own = next((each.limit for each in limits if each.takes(series)), None)
    return own if own is not None else 100.0 if series.metric.endswith("_percent") else None


def days_left(value: float, limit: float | None, per_day: float) -> float | None:
    """Return in how many days `limit` is reached; None where it is not, or not within HORIZON_DAYS."""
    if limit is None:
        return None
    if value >= limit:
        return 0.0
    found = (limit - value) / per_day if per_day > 0 else HORIZON_DAYS + 1
    return found if found <= HORIZON_DAYS else None


def worth(points: Sequence[Point], limit: float | None) -> float | None:
    """Return a rank for those series that are worth a closer look, from few of their points; None for the rest.

    A lower one is more pressing: days left where there is a limit, else how long it takes to double.
    """
    found = growth(points)
    if found is None or not points:
        return None
    value = points[-1][1]
    if limit is not None and value >= NEARLY * limit:
        return 0.0
    if found.per_day <= 0 or (found.days >= 4 and found.fit < GOOD_FIT):
        return None
    if limit is not None:
        return days_left(value, limit, found.per_day)
    doubling = max(value, 1.0) / found.per_day
    return HORIZON_DAYS + doubling if doubling <= HORIZON_DAYS else None


def row(series: Series, points: Sequence[Point], limit: float | None) -> Document:
    """Return the projection of `series` as the report has it; `points` are those of days."""
    found = growth(points)
    value = points[-1][1]
    trusted = found is not None and found.trusted and found.per_day > 0
    left = days_left(value, limit, found.per_day) if found is not None and trusted else None
    if limit is not None and value >= limit:
        left = 0.0
    runs_out = None
    if left is not None:
        at = datetime.datetime.fromtimestamp(points[-1][0] + left * DAY, datetime.UTC)
        runs_out = f"{at:%Y-%m-%d}"
    return {
        "system": series.system,
        "host": series.host,
        "stage": series.stage,
        "subject": series.subject,
        "metric": series.metric,
        "unit": _unit(series.metric),
        "value": value,
        "limit": limit,
        "per_day": found.per_day if found is not None and trusted else None,
        "runs_out": runs_out,
        "days_left": None if left is None else int(left),
        "fit": None if found is None else round(found.fit, 2),
        "observations": len(points),
        "points": thinned(
            [
                {"started": f"{datetime.datetime.fromtimestamp(at, datetime.UTC):%Y-%m-%dT%H:%M:%SZ}", "value": each}
                for at, each in points
            ]
        ),
        "why": _why(series.metric, found, trusted, left, limit),
    }


def _unit(metric: str) -> str:
    return "percent" if metric.endswith("_percent") else "bytes"


def _why(metric: str, found: Growth | None, trusted: bool, left: float | None, limit: float | None) -> str:
    if found is None or found.days < ENOUGH_DAYS:
        return f"no trend: {found.days if found else 1} of at least {ENOUGH_DAYS} days with observations"
    if not trusted:
        return f"no trend: {found.days} days do not follow a line that grows (fit {found.fit:.2f})"
    text = f"{show(found.per_day, _unit(metric))} a day over {found.days} days, fit {found.fit:.2f}"
    if limit is None:
        return f"{text}; nobody has said where its limit is"
    return text if left is not None else f"{text}; not full within three years"


def first_out(row: Document) -> tuple[t.Any, ...]:
    """Sort key of rows: what runs out first, then what grows, then the rest."""
    left = row["days_left"]
    return left is None, left or 0, row["per_day"] is None, row["system"], row["host"], row["subject"], row["metric"]
