# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a backup is due, which copies retention keeps and why, which size is odd (D2)."""

from __future__ import annotations

import calendar
import time

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _plan
from ansible_collections.sre.runbooks.plugins.module_utils._backup._catalog import Copy

NOW = calendar.timegm((2026, 11, 20, 12, 0, 0))
HOUR, DAY = 3600, 86400


def at(text):
    return calendar.timegm(time.strptime(text, "%Y-%m-%d %H:%M"))


def copy(created, level="restored", failed=False, size=1000):
    path = f"/b/x/x_{created}"
    return Copy("x", "sqlite", path, path + ".manifest.json", float(created), size, level, failed)


def kept(copies, now=NOW, level="restored", **policy):
    decisions = _plan.retention(copies, _plan.Policy(**policy), level, now)
    assert all(each.reason for each in decisions)
    return [each.copy for each in decisions if each.keep]


@pytest.mark.parametrize(
    ("ages", "interval", "due"),
    [
        ([], 20 * HOUR, True),
        ([HOUR], 20 * HOUR, False),
        ([19.9 * HOUR], 20 * HOUR, False),
        ([20 * HOUR], 20 * HOUR, True),
        ([HOUR], None, True),
        ([HOUR], 0, True),
        ([-HOUR], 20 * HOUR, True),
        ([-HOUR, 30 * HOUR], 20 * HOUR, True),
    ],
)
def test_due(ages, interval, due):
    assert _plan.due([copy(NOW - age) for age in ages], interval, "restored", NOW).due is due


@pytest.mark.parametrize(
    ("level", "failed", "due"),
    [("restored", False, False), ("archive", False, True), (None, False, True), ("restored", True, True)],
)
def test_only_a_copy_proven_at_the_level_asked_for_is_good(level, failed, due):
    assert _plan.due([copy(NOW - HOUR, level, failed)], DAY, "restored", NOW).due is due
    assert _plan.due([copy(NOW - HOUR, level, failed)], DAY, "checksum", NOW).due is (failed or level is None)


def test_daily_keeps_the_newest_of_each_day():
    copies = [copy(at(f"2026-11-{day:02} {hour:02}:00")) for day in (17, 18, 19) for hour in (1, 13)]
    assert kept(copies, keep_daily=2) == [copies[5], copies[3]]


def test_days_without_a_copy_are_not_counted():
    copies = [copy(at("2026-11-19 01:00")), copy(at("2026-10-01 01:00")), copy(at("2025-01-01 01:00"))]
    assert kept(copies, keep_daily=2) == copies[:2]


def test_weeks_are_iso_weeks_over_the_turn_of_the_year():
    copies = [
        copy(at("2027-01-04 00:00")),
        copy(at("2027-01-03 23:00")),
        copy(at("2026-12-28 00:00")),
        copy(at("2026-12-27 23:00")),
    ]
    assert kept(copies, now=at("2027-01-05 00:00"), keep_weekly=5) == [copies[0], copies[1], copies[3]]


def test_months_years_hours_and_last():
    copies = [copy(NOW - day * DAY) for day in range(800)]
    assert len(kept(copies, keep_monthly=12)) == 12
    assert len(kept(copies, keep_yearly=10)) == 3
    assert len(kept(copies, keep_hourly=24)) == 24
    assert len(kept(copies, keep_last=7)) == 7
    assert kept(copies, keep_last=3, keep_daily=3) == copies[:3]


def test_within_counts_from_the_newest_copy_not_from_now():
    copies = [copy(NOW - 100 * DAY - day * DAY) for day in range(10)]
    assert kept(copies, keep_within=3.0 * DAY) == copies[:3]


def test_the_default_policy_is_30_days():
    copies = [copy(NOW - day * DAY) for day in range(40)]
    assert kept(copies, keep_daily=30) == copies[:30]


def test_nothing_goes_that_nothing_proven_outlives():
    copies = [
        copy(NOW - HOUR, "checksum"),
        copy(NOW - DAY, None, True),
        copy(NOW - 2 * DAY),
        copy(NOW - 3 * DAY),
        copy(NOW - 4 * DAY),
    ]
    assert kept(copies, keep_last=1) == copies[:3], "the newest proven copy stays, and all that are newer"


def test_without_any_proven_copy_all_stay():
    copies = [copy(NOW - day * DAY, "checksum") for day in range(5)]
    assert kept(copies, keep_last=1) == copies


def test_the_floor_of_verified_copies():
    copies = [copy(NOW - day * DAY, "restored" if day % 2 else "checksum") for day in range(8)]
    assert kept(copies, keep_last=1, minimum_verified=2) == [copies[0], copies[1], copies[3]]


def test_failed_copies_take_no_place_and_go_when_something_proven_outlives_them():
    copies = [copy(NOW), copy(NOW - HOUR, failed=True), copy(NOW - DAY), copy(NOW - 2 * DAY, failed=True)]
    assert kept(copies, keep_daily=2) == [copies[0], copies[2]]


def test_copies_of_the_future_stay_and_take_no_place():
    copies = [copy(NOW + DAY), copy(NOW - HOUR), copy(NOW - DAY), copy(NOW - 2 * DAY)]
    decisions = _plan.retention(copies, _plan.Policy(keep_last=1), "restored", NOW)
    assert [each.keep for each in decisions] == [True, True, False, False]
    assert "future" in decisions[0].reason


def test_a_future_copy_outlives_nothing():
    copies = [copy(NOW + DAY), copy(NOW - HOUR, "checksum"), copy(NOW - DAY, "checksum")]
    assert kept(copies, keep_last=1) == copies


def test_every_copy_has_its_reasons():
    decisions = _plan.retention([copy(NOW), copy(NOW - DAY)], _plan.Policy(keep_last=1, keep_daily=1), "restored", NOW)
    assert [each.reason for each in decisions] == ["last 1 of 1, day 2026-11-20, verified 1 of 1", "no rule keeps it"]


@pytest.mark.parametrize(
    ("size", "earlier", "minimum", "limit", "odd"),
    [
        (1000, [], None, 50, False),
        (1000, [], 2000, 50, True),
        (1000, [2000, 2000, 2000], None, 50, False),
        (999, [2000, 2000, 2000], None, 50, True),
        (999, [2000, 2000, 2000], None, None, False),
        (900, [1000, 1000, 90000], None, 50, False),
        (0, [0], None, 50, False),
    ],
)
def test_odd_sizes(size, earlier, minimum, limit, odd):
    copies = [copy(NOW - number * DAY, size=each) for number, each in enumerate(earlier, start=1)]
    assert bool(_plan.odd_size(size, copies, minimum, limit, NOW)) is odd


def test_only_the_last_seven_sizes_count():
    copies = [copy(NOW - day * DAY, size=100 if day < 8 else 10**9) for day in range(1, 100)]
    assert _plan.odd_size(90, copies, None, 50, NOW) is None


@pytest.mark.parametrize(("sizes", "expected"), [([], 10_000), ([1000], 1500), ([9000], 10_000)])
def test_the_size_that_is_expected(sizes, expected):
    assert _plan.expected_size(10_000, [copy(NOW - 1, size=size) for size in sizes], NOW) == expected
