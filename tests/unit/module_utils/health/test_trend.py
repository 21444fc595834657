# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a disk is full, foretold from histories of every shape (H2, R7): each a use in GB by hour, on a disk of 100 GB."""

from __future__ import annotations

import random

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._health import _trend

HOUR, DAY, TOTAL = 3600.0, 86400.0, 100.0
START = 1_763_683_200.0  # midnight UTC
NEVER = _trend.NEVER_SECONDS / DAY


def observed(use, days, every=HOUR, start=START):
    """The points kept after `days` of observations of `use(day)`."""
    points = []
    for number in range(int(days * DAY / every)):
        points = _trend.record(points, start + number * every, use(number * every / DAY))
    return points


def days_left(use, days, **how):
    points = observed(use, days, **how)
    free = TOTAL - use(days)
    seconds = _trend.full_in_seconds(points, free, TOTAL)
    return None if seconds is None else seconds / DAY


def noise(day):
    return random.Random(round(day * 24)).uniform(-0.5, 0.5)


def nightly(day):
    """A dump of 25 GB that lies there from 2 to 5 o'clock."""
    return 25 if 2 / 24 <= day % 1 < 5 / 24 else 0


def around_midnight(day):
    return 25 if day % 1 >= 23 / 24 or day % 1 < 1 / 24 else 0


@pytest.mark.parametrize(
    ("name", "use", "days", "least", "most"),
    [
        ("nothing happens", lambda d: 50, 10, NEVER, NEVER),
        ("steady growth", lambda d: 50 + d, 10, 39, 41),
        ("steady growth after the least history", lambda d: 50 + d, 3.5, 45, 48),
        ("steady growth for two months", lambda d: 20 + d, 70, 9, 11),
        ("shrinks", lambda d: 50 - d, 10, NEVER, NEVER),
        ("grows too slowly to matter", lambda d: 50 + d * 0.01, 30, NEVER, NEVER),
        ("noise alone", lambda d: 50 + noise(d), 30, 200, NEVER),
        ("growth under noise", lambda d: 50 + d + noise(d), 20, 25, 36),
        ("full", lambda d: min(100, 90 + d), 12, 0, 0),
        ("a burst each night, nothing else", lambda d: 50 + nightly(d), 10, NEVER, NEVER),
        ("a burst each night, looked at in the middle of it", lambda d: 50 + nightly(d), 10 + 3 / 24, NEVER, NEVER),
        ("a burst around midnight, looked at in the middle of it", lambda d: 50 + around_midnight(d), 10.02, NEVER, NEVER),
        ("a burst each night over steady growth", lambda d: 50 + d + nightly(d), 10, 39, 41),
        ("logs rotated daily", lambda d: 50 + 30 * (d % 1), 10.9, NEVER, NEVER),
        ("logs rotated daily, growing", lambda d: 50 + 10 * (d % 1) + d, 10, 35, 41),
        ("logs rotated weekly, near the end of the week", lambda d: 50 + 4 * (d % 7), 27.5, NEVER, NEVER),
        ("logs rotated weekly, growing by 2 a week", lambda d: 30 + 4 * (d % 7) + 2 * (d // 7), 28, 200, 250),
        ("logs rotated weekly for the first time yesterday", lambda d: 50 + 3 * (d % 7), 8.5, 10, 20),
        ("rotated weekly, and then for a fortnight not", lambda d: 20 + 3 * (d % 7) if d < 21 else 20 + 3 * (d - 21), 35.5, 11, 14),
        ("cleaned up once, growth goes on", lambda d: 50 + 2 * d - (30 if d > 5 else 0), 10, 25, 32),
        ("cleaned up yesterday, growth goes on", lambda d: 50 + 2 * d - (30 if d > 9 else 0), 10.5, 25, 32),
        ("something large was copied once", lambda d: 40 + (30 if d > 8 else 0), 10.5, NEVER, NEVER),
        ("something large was copied once, some days ago", lambda d: 40 + (30 if d > 6.9 else 0), 10.5, NEVER, NEVER),
        ("a leak that began three days ago", lambda d: 40 + max(0, d - 17) * 8, 20.5, 3, 12),
        ("one odd day", lambda d: 50 + (30 if 6 <= d < 7 else 0), 8.5, NEVER, NEVER),
    ],
)  # fmt: skip
def test_foretold(name, use, days, least, most):
    assert least <= days_left(use, days) <= most


@pytest.mark.parametrize("every", [300.0, HOUR, 6 * HOUR, DAY])
def test_how_often_it_is_looked_at_does_not_matter(every):
    assert 38 <= days_left(lambda d: 50 + d, 10, every=every, start=START + 9 * HOUR) <= 42


@pytest.mark.parametrize("days", [0.1, 1, 2.9])
def test_nothing_is_foretold_before_there_is_history(days):
    assert days_left(lambda d: 50 + d, days) is None


def test_what_is_kept_has_a_bound():
    points = observed(lambda d: d % 40, 400, every=6 * HOUR)
    assert len(points) == _trend.KEPT_DAYS
    assert points[0][0] > START + (400 - _trend.KEPT_DAYS - 1) * DAY


def test_the_day_s_lowest_is_kept():
    points = []
    for at, value in [(9, 50), (10, 40), (11, 60), (23.9, 45), (24, 55)]:
        points = _trend.record(points, START + at * HOUR, value)
    assert points == [[START + 10 * HOUR, 40], [START + 24 * HOUR, 55]]


def test_a_clock_set_back_forgets_what_came_after():
    points = observed(lambda d: 50 + d, 10)
    back = _trend.record(points, START + 5 * DAY + HOUR, 55)
    assert [point[0] for point in back] == [START + day * DAY for day in range(6)]
    assert 40 <= _trend.full_in_seconds(back, 45, TOTAL) / DAY <= 46


def test_a_clock_that_was_years_ahead_for_a_day_leaves_nothing_wrong():
    points = _trend.record(observed(lambda d: 50 + d, 10), START + 5000 * DAY, 60)
    assert points == [[START + 5000 * DAY, 60]]
    assert _trend.record(points, START + 10 * DAY, 60) == [[START + 10 * DAY, 60]]


def test_a_history_with_days_missing():
    points = [[START + day * DAY, 50.0 + day] for day in (0, 1, 9, 10, 30)]
    assert 18 <= _trend.full_in_seconds(points, 20, TOTAL) / DAY <= 22
