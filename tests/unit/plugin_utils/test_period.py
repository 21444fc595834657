# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Periods of reports, and values kept as a spread: the arithmetic below KPIs and trends (R2, R3, R4)."""

from __future__ import annotations

import datetime
import random

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.plugin_utils import _spread
from ansible_collections.sre.runbooks.plugins.plugin_utils.period import ending, parse, show


@pytest.mark.parametrize(
    ("name", "until", "since", "before"),
    [
        ("daily", "2026-03-01T09:00:00Z", "2026-02-28T09:00:00Z", "2026-02-27T09:00:00Z"),
        # The clocks of Europe go forward on that day; UTC has no such thing.
        ("daily", "2026-03-29T09:00:00Z", "2026-03-28T09:00:00Z", "2026-03-27T09:00:00Z"),
        ("weekly", "2027-01-01T15:00:00Z", "2026-12-25T15:00:00Z", "2026-12-18T15:00:00Z"),
        ("monthly", "2026-01-02T02:00:00Z", "2025-12-02T02:00:00Z", "2025-11-02T02:00:00Z"),
        ("monthly", "2028-03-31T00:00:00Z", "2028-02-29T00:00:00Z", "2028-01-29T00:00:00Z"),
        ("quarterly", "2026-05-31T12:00:01Z", "2026-02-28T12:00:01Z", "2025-11-28T12:00:01Z"),
    ],
)
def test_a_period_ends_with_its_run_and_the_one_before_meets_it(name, until, since, before):
    period = ending(name, parse(until))
    assert (show(period.since), show(period.before.since), period.before.until) == (since, before, period.since)


def test_times_of_other_zones_and_without_one_are_utc():
    assert show(parse("2026-11-20T10:30:00+01:30")) == "2026-11-20T09:00:00Z"
    assert parse("2026-11-20T09:00:00") == datetime.datetime(2026, 11, 20, 9, tzinfo=datetime.UTC)


def test_a_period_that_is_none_is_refused():
    with pytest.raises(
        InputError, match=r"period: 'yearly' is no period\. Use one of daily, weekly, monthly, quarterly"
    ):
        ending("yearly", parse("2026-11-20T09:00:00Z"))


def spread(values):
    found = _spread.Spread()
    for value in values:
        found.add(value)
    return found


def test_few_values_are_kept_as_they_are():
    found = _spread.read(spread([3.0, -1.0, 0.0, 2.5]).text())
    assert (found.count, found.total, found.low, found.high, found.positive) == (4, 4.5, -1.0, 3.0, 2)
    assert [found.quantile(share) for share in (0, 0.25, 0.5, 0.51, 0.95, 1)] == [-1.0, -1.0, 0.0, 2.5, 3.0, 3.0]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9, -1.0])
def test_of_many_values_a_percentile_is_at_most_one_percent_off(scale):
    dice = random.Random(1)
    values = [scale * dice.lognormvariate(0, 2) for _each in range(5000)]
    found = _spread.Spread()
    for start in range(0, 5000, 100):
        found.merge(_spread.read(spread(values[start : start + 100]).text()))
    assert len(found.text()) < 16_000
    assert (found.count, found.low, found.high) == (5000, min(values), max(values))
    assert found.total == pytest.approx(sum(values))
    assert found.positive == sum(value > 0 for value in values)
    for share in (0.01, 0.5, 0.95, 0.99):
        assert found.quantile(share) == pytest.approx(sorted(values)[round(share * 5000) - 1], rel=0.0101)


def test_exact_and_coarse_ones_are_added_in_either_order():
    many, few = [float(value) for value in range(1, 200)], [0.0, 500.0, -3.0]
    for first, second in ((many, few), (few, many)):
        found = spread(first)
        found.merge(spread(second))
        assert (found.count, found.quantile(0), found.quantile(1)) == (202, -3.0, 500.0)


def test_what_is_no_number_is_left_out():
    metrics = {"a": 1, "b": True, "c": None, "d": "7", "e": float("nan"), "f": float("inf"), "g": 2.5}
    assert list(_spread.finite(metrics)) == [("a", 1.0), ("g", 2.5)]
    assert list(_spread.finite("no metrics")) == []
