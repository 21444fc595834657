# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Capacity projections (R7): a line is foretold, noise is not, and nothing without enough days."""

from __future__ import annotations

import random

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.plugin_utils import capacity
from ansible_collections.sre.runbooks.plugins.plugin_utils.capacity import DAY, Limit, Series, daily, growth, row, worth

START = 1_780_000_000.0 // DAY * DAY
DISK = Series("F11", "a.example.org", "health", "disk:disk:/", 0, "used_percent")
BASE = Series("F11", "a.example.org", "health", "postgresql:database", 0, "size_bytes")


def days(values):
    return [(START + DAY * day + 3600, float(value)) for day, value in enumerate(values)]


def test_a_line_is_told_to_the_day():
    found = row(DISK, days([70 + 0.5 * day for day in range(41)]), 100.0)
    assert (found["value"], found["per_day"], found["days_left"], found["fit"]) == (90.0, 0.5, 20, 1.0)
    assert found["runs_out"] == "2026-07-27"
    assert found["why"] == "0.5 % a day over 41 days, fit 1.00"


def test_odd_days_and_noise_do_not_move_it():
    dice = random.Random(3)
    values = [50 + 0.4 * day + dice.gauss(0, 0.5) for day in range(60)]
    values[20], values[40] = 95.0, 5.0
    found = growth(days(values))
    assert found.per_day == pytest.approx(0.4, abs=0.02)


def test_a_day_counts_once_with_its_median():
    points = [(START + hour * 3600, value) for hour, value in ((1, 10.0), (2, 90.0), (3, 11.0), (30, 12.0))]
    assert daily(points) == [(START + 2 * 3600, 11.0), (START + 30 * 3600, 12.0)]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([60, 61, 62, 63, 64, 65], "no trend: 6 of at least 7 days with observations"),
        ([60], "no trend: 1 of at least 7 days"),
        ([60] * 20, "no trend: 20 days do not follow a line that grows (fit 0.00)"),
        ([60, 90] * 15, "no trend: 30 days do not follow a line"),
        (list(range(90, 60, -1)), "no trend: 30 days do not follow a line that grows (fit 1.00)"),
    ],
)
def test_without_a_trend_nothing_is_foretold(values, why):
    found = row(DISK, days(values), 100.0)
    assert (found["runs_out"], found["days_left"], found["per_day"]) == (None, None, None)
    assert found["why"].startswith(why)


def test_random_walks_of_memory_are_seldom_foretold():
    """Of 300 hosts whose memory goes up and down without growing, next to none gets a date."""
    dice = random.Random(5)
    told = 0
    for _host in range(300):
        told += row(DISK, days([60 + dice.gauss(0, 3) for _day in range(30)]), 100.0)["days_left"] is not None
    assert told == 0


def test_what_is_past_its_limit_has_run_out_whatever_its_trend():
    found = row(DISK, days([100.0] * 3), 100.0)
    assert (found["days_left"], found["per_day"]) == (0, None)


def test_sizes_need_a_limit_that_somebody_names():
    points = days([1e9 + 1e8 * day for day in range(21)])
    found = row(BASE, points, None)
    assert (found["unit"], found["limit"], found["runs_out"]) == ("bytes", None, None)
    assert found["per_day"] == pytest.approx(1e8)
    assert found["why"].endswith("nobody has said where its limit is")
    (limit,) = capacity.read_limits([{"subject": "postgresql:*", "limit": "4 GB"}])
    assert capacity.limit_of(BASE, [limit]) == 4e9
    assert capacity.limit_of(DISK, [limit]) == 100.0
    assert row(BASE, points, 4e9)["days_left"] == 10


def test_later_than_three_years_is_never():
    found = row(DISK, days([10 + 0.01 * day for day in range(60)]), 100.0)
    assert (found["days_left"], found["why"].endswith("not full within three years")) == (None, True)


def test_a_few_days_tell_what_is_worth_a_closer_look():
    assert worth(days([70, 75, 80]), 100.0) < worth(days([70, 71, 72]), 100.0)
    assert worth(days([70, 69, 68]), 100.0) is None
    assert worth(days([91, 91, 91]), 100.0) == 0.0
    assert worth(days([70, 60, 75, 62]), 100.0) is None
    assert worth(days([70]), 100.0) is None
    assert worth(days([1e9, 2e9, 3e9]), None) is not None


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({}, r"limits: \{\} is no list"),
        ([{}], r"limits\[0\]: \{\} has no limit\. Write it as"),
        ([{"limit": "1 GiB", "subjekt": "x"}], r"limits\[0\]: 'subjekt' is no option of a limit"),
        ([{"limit": "much"}], r"limits\[0\]\.limit: 'much' is no quantity"),
        ([{"limit": 0}], r"limits\[0\]\.limit: 0 is not above 0"),
    ],
)
def test_a_wrong_limit_names_option_value_and_remedy(raw, message):
    with pytest.raises(InputError, match=message):
        capacity.read_limits(raw)


def test_a_limit_may_be_that_of_one_host():
    assert Limit(1.0, host="b.*").takes(BASE) is False
    assert Limit(1.0, host="a.*").takes(BASE) is True
