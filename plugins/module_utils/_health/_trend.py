# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When something that grows is full, from one observation a day: the lowest.

The day's lowest is blind to nightly bursts and to logs that are rotated daily. The pace is the median of the slopes
between all pairs of recent days (Theil and Sen), so that a few odd days do not move it. One large step up or down, such
as a copied disk image or a clean-up, is an event and no pace; steps down that recur are teeth of a saw, whose feet tell
whether it climbs. Everything here is pure.
"""

from __future__ import annotations

import typing as t

DAY = 86400.0
# Two monthly clean-ups must be seen to be known as recurring.
KEPT_DAYS = 62
ENOUGH_DAYS = 4
RECENT_DAYS = 7
# Said when it is not full within a year: a bound such as `< 7d` needs a number.
NEVER_SECONDS = 365 * DAY
# A step is so many times the usual change from day to day, and at least this share of the whole.
STEP_FACTOR = 5
STEP_SHARE = 0.002
# A tooth that is so much higher than all before it is no tooth.
TOOTH_FACTOR = 1.25

Points = list[list[float]]


def record(points: t.Sequence[t.Sequence[float]], now: float, value: float) -> Points:
    """Add an observation: `[seconds since the epoch, value]`, one a day (UTC), at most `KEPT_DAYS` of them.

    What comes from the future (the clock was set back) is forgotten.
    """
    kept = [list(point) for point in points if now - KEPT_DAYS * DAY < point[0] <= now]
    if not kept or kept[-1][0] // DAY != now // DAY:
        return [*kept, [round(now), value]]
    if value < kept[-1][1]:
        kept[-1] = [round(now), value]
    return kept


def full_in_seconds(points: t.Sequence[t.Sequence[float]], free: float, total: float) -> float | None:
    """Seconds until `free` is used up at the pace of `points`; `NEVER_SECONDS` for a year and more.

    None before there are `ENOUGH_DAYS`. `free` and `total` are in the unit of the points.
    """
    if len(points) < ENOUGH_DAYS:
        return None
    speed = pace(points, total)
    if speed <= 0:
        return NEVER_SECONDS
    return min(NEVER_SECONDS, round(max(0.0, free) / speed))


def pace(points: t.Sequence[t.Sequence[float]], total: float) -> float:
    """Growth per second."""
    changes = [later[1] - earlier[1] for earlier, later in zip(points, points[1:])]
    step = max(STEP_FACTOR * median([abs(change) for change in changes]), STEP_SHARE * total)
    # The place of a step is that of the point after it.
    downs = [place for place, change in enumerate(changes, 1) if change < -step]
    ups = [place for place, change in enumerate(changes, 1) if change > step]
    if len(downs) > 1:
        return _climb(points, downs)
    events = downs + (ups if len(ups) == 1 else [])
    return slope(points, events, len(points) - RECENT_DAYS)


def _climb(points: t.Sequence[t.Sequence[float]], feet: t.Sequence[int]) -> float:
    """Growth per second of a saw whose teeth begin at the places `feet`."""
    last = points[feet[-1] :]
    highest = max(points[after - 1][1] - points[foot][1] for foot, after in zip((0, *feet), feet))
    if len(last) >= ENOUGH_DAYS and last[-1][1] - last[0][1] > TOOTH_FACTOR * highest:
        return slope(last)
    return slope([points[foot] for foot in feet])


def slope(points: t.Sequence[t.Sequence[float]], events: t.Collection[int] = (), first: int = 0) -> float:
    """Median slope between pairs of points from the place `first` on that have none of `events` between them."""
    slopes = [
        (points[right][1] - points[left][1]) / (points[right][0] - points[left][0])
        for left in range(max(0, first), len(points))
        for right in range(left + 1, len(points))
        if not any(left < place <= right for place in events)
    ]
    return median(slopes) if slopes else 0.0


def median(numbers: t.Sequence[float]) -> float:
    """The middle one; the lower of two."""
    return sorted(numbers)[(len(numbers) - 1) // 2]
