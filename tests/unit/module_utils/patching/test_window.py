# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Maintenance windows at given moments: zones, midnight, clocks that change (K8)."""

from __future__ import annotations

import datetime
import zoneinfo

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._patching import _window

HOUR = 3600.0
MADRID = "Europe/Madrid"


def at(text, zone=MADRID):
    return datetime.datetime.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo(zone)).timestamp()


def weekly(**more):
    return {"days": ["sun"], "start": "02:00", "end": "04:00", "zone": MADRID, **more}


@pytest.mark.parametrize(
    ("moment", "is_open", "until", "begins"),
    [
        # 22 November 2026 is a Sunday.
        ("2026-11-22T01:59:59", False, None, "2026-11-22T02:00:00"),
        ("2026-11-22T02:00:00", True, "2026-11-22T04:00:00", "2026-11-29T02:00:00"),
        ("2026-11-22T03:59:59", True, "2026-11-22T04:00:00", "2026-11-29T02:00:00"),
        ("2026-11-22T04:00:00", False, None, "2026-11-29T02:00:00"),
        ("2026-11-25T02:30:00", False, None, "2026-11-29T02:00:00"),
    ],
)
def test_a_weekly_window(moment, is_open, until, begins):
    state = _window.state(_window.read([weekly()], "windows"), at(moment))
    assert state.open is is_open
    assert state.until == (at(until) if until else None)
    assert state.next == at(begins)


def test_over_midnight_and_every_day():
    windows = _window.read([{"start": "23:00", "end": "01:00", "zone": "UTC"}], "windows")
    assert _window.state(windows, at("2026-11-22T00:30:00", "UTC")).until == at("2026-11-22T01:00:00", "UTC")
    assert _window.state(windows, at("2026-11-22T23:30:00", "UTC")).until == at("2026-11-23T01:00:00", "UTC")
    assert not _window.state(windows, at("2026-11-22T01:00:00", "UTC")).open
    # A night that began on Saturday is Saturday's.
    windows = _window.read([weekly(days=["sat"], start="23:00", end="02:00")], "windows")
    assert _window.state(windows, at("2026-11-22T01:30:00")).open
    assert not _window.state(windows, at("2026-11-23T01:30:00")).open


def test_the_zone_counts_and_not_that_of_the_host():
    windows = _window.read([weekly(zone="Asia/Tokyo")], "windows")
    assert _window.state(windows, at("2026-11-22T03:00:00", "Asia/Tokyo")).open
    assert not _window.state(windows, at("2026-11-22T03:00:00")).open


def test_clocks_that_change():
    """On 25 October 2026 the hour from 2 to 3 comes twice in Madrid, on 29 March it does not come."""
    windows = _window.read([weekly()], "windows")
    begin, end = at("2026-10-25T02:00:00"), at("2026-10-25T04:00:00")
    assert end - begin == 3 * HOUR
    assert all(_window.state(windows, begin + hours * HOUR).open for hours in (0, 1, 2))
    assert not _window.state(windows, end).open
    inside = _window.read([weekly(start="02:15", end="02:45")], "windows")
    state = _window.state(inside, at("2026-03-29T00:30:00"))
    assert state.next is not None
    assert state.next > at("2026-03-29T00:30:00")


def test_once_and_several():
    windows = _window.read(
        [
            {"begin": "2026-12-01T02:00:00+01:00", "end": "2026-12-01T04:00:00+01:00"},
            {"begin": "2026-12-01T02:30:00Z", "end": "2026-12-01T05:00:00Z"},
        ],
        "windows",
    )
    state = _window.state(windows, at("2026-12-01T02:45:00", "UTC"))
    assert (state.open, state.until) == (True, at("2026-12-01T05:00:00", "UTC")), "the one that ends last"
    assert _window.state(windows, at("2026-11-30T00:00:00", "UTC")).next == at("2026-12-01T01:00:00", "UTC")
    assert _window.state(windows, at("2027-01-01T00:00:00", "UTC")) == (False, None, None)


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([], "names no window"),
        (["sunday"], "windows[0]: 'sunday' is no window"),
        ([weekly(zone=None)], "windows[0].zone: None is no time zone"),
        ([weekly(zone="../etc/passwd")], "is no time zone that this host knows"),
        ([weekly(start=120)], "windows[0].start: 120 is no time of day"),
        ([weekly(days=[])], "windows[0].days: [] names no day"),
        ([{"start": "01:00", "zone": "UTC"}], "is no window"),
        ([{"begin": "2026-12-01T02:00:00Z", "end": "2026-12-01T02:00:00Z"}], "is not after begin"),
    ],
)
def test_what_is_no_window_is_refused(entries, told):
    with pytest.raises(InputError) as caught:
        _window.read(entries, "windows")
    assert told in str(caught.value)
