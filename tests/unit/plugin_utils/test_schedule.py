# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows and schedules: phrases, rules, zones and their changes of clocks (C5, C8)."""

from __future__ import annotations

import datetime
import time

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.plugin_utils import schedule

MADRID, NEW_YORK, LORD_HOWE = "Europe/Madrid", "America/New_York", "Australia/Lord_Howe"


def at(text: str) -> float:
    """A time as 2026-03-29T01:00Z."""
    return datetime.datetime.fromisoformat(text).timestamp()


def utc(moment: float | None) -> str | None:
    return None if moment is None else f"{datetime.datetime.fromtimestamp(moment, datetime.UTC):%Y-%m-%dT%H:%MZ}"


def one(said: str, zone: str = "UTC", **more: object) -> schedule.Schedule:
    (read,) = schedule.read_schedules([{"name": "daily", "at": said, "zone": zone, **more}], "runbooks_schedules")
    return read


def windows(*said: str, zone: str = MADRID) -> list[schedule.Window]:
    return schedule.read_windows([{"at": each, "zone": zone} for each in said], "runbooks_windows")


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ("daily 09:00", "FREQ=DAILY;INTERVAL=1;BYHOUR=9;BYMINUTE=0"),
        ("every day at 9:00", "FREQ=DAILY;INTERVAL=1;BYHOUR=9;BYMINUTE=0"),
        ("Friday 15:00", "FREQ=WEEKLY;INTERVAL=1;BYDAY=FR;BYHOUR=15;BYMINUTE=0"),
        ("on Fridays at 15:00", "FREQ=WEEKLY;INTERVAL=1;BYDAY=FR;BYHOUR=15;BYMINUTE=0"),
        ("weekdays 09:00", "FREQ=WEEKLY;INTERVAL=1;BYDAY=MO,TU,WE,TH,FR;BYHOUR=9;BYMINUTE=0"),
        ("Monday to Friday 09:00", "FREQ=WEEKLY;INTERVAL=1;BYDAY=MO,TU,WE,TH,FR;BYHOUR=9;BYMINUTE=0"),
        ("weekends 09:30", "FREQ=WEEKLY;INTERVAL=1;BYDAY=SA,SU;BYHOUR=9;BYMINUTE=30"),
        ("Mon, Wed and Fri 08:00 and 17:00", "FREQ=WEEKLY;INTERVAL=1;BYDAY=MO,WE,FR;BYHOUR=8,17;BYMINUTE=0"),
        ("first Friday 15:00", "FREQ=MONTHLY;INTERVAL=1;BYDAY=1FR;BYHOUR=15;BYMINUTE=0"),
        ("the first Friday of the month at 15:00", "FREQ=MONTHLY;INTERVAL=1;BYDAY=1FR;BYHOUR=15;BYMINUTE=0"),
        ("every month on the 2nd Tuesday 03:00", "FREQ=MONTHLY;INTERVAL=1;BYDAY=2TU;BYHOUR=3;BYMINUTE=0"),
        ("last Friday 15:00", "FREQ=MONTHLY;INTERVAL=1;BYDAY=-1FR;BYHOUR=15;BYMINUTE=0"),
        ("first weekday of the month 08:00", "FREQ=MONTHLY;INTERVAL=1;BYDAY=MO,TU,WE,TH,FR;BYHOUR=8;BYMINUTE=0;BYSETPOS=1"),
        ("first and third Tuesday 02:00", "FREQ=MONTHLY;INTERVAL=1;BYDAY=1TU,3TU;BYHOUR=2;BYMINUTE=0"),
        ("1st of the month 02:00", "FREQ=MONTHLY;INTERVAL=1;BYMONTHDAY=1;BYHOUR=2;BYMINUTE=0"),
        ("first day of every month 02:00", "FREQ=MONTHLY;INTERVAL=1;BYMONTHDAY=1;BYHOUR=2;BYMINUTE=0"),
        ("last day of the month 23:30", "FREQ=MONTHLY;INTERVAL=1;BYMONTHDAY=-1;BYHOUR=23;BYMINUTE=30"),
        ("every quarter on the first Monday 10:00", "FREQ=MONTHLY;INTERVAL=1;BYMONTH=1,4,7,10;BYDAY=1MO;BYHOUR=10;BYMINUTE=0"),
        ("last day of the quarter 22:00", "FREQ=MONTHLY;INTERVAL=1;BYMONTH=3,6,9,12;BYMONTHDAY=-1;BYHOUR=22;BYMINUTE=0"),
        ("first Sunday of January and July 02:00", "FREQ=MONTHLY;INTERVAL=1;BYMONTH=1,7;BYDAY=1SU;BYHOUR=2;BYMINUTE=0"),
        ("every 15 minutes", "FREQ=MINUTELY;INTERVAL=15"),
        ("hourly", "FREQ=HOURLY;INTERVAL=1;BYMINUTE=0"),
    ],
)  # fmt: skip
def test_c8_phrases_as_people_say_them(said: str, rule: str) -> None:
    head, _comma, tail = one(said).rule.text().partition(";BYSECOND=0")
    assert head + tail == rule


def test_c8_every_other_week_counts_from_a_day() -> None:
    read = one("every other Friday 15:00", MADRID, **{"from": "2026-01-02"})
    assert [utc(each) for each in read.upcoming(at("2026-01-02T14:00Z"), 2)] == [
        "2026-01-16T14:00Z",
        "2026-01-30T14:00Z",
    ]
    assert [utc(each) for each in read.upcoming(at("2025-01-01T00:00Z"), 1)] == ["2026-01-02T14:00Z"]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"at": "someday"}, "s[0].at: 'someday' is not understood. Write it as \"daily 09:00\""),
        ({"at": "every second Friday 10:00"}, 'could be meant in two ways. Say "every other Friday", or'),
        ({"at": "first Friday"}, "says no time of day, or two. Give `start: \"02:00\"`"),
        ({"at": "first weekend 10:00"}, "is not understood"),
        ({"at": "daily first Friday 10:00"}, "is not understood"),
        ({"at": "Friday the 13th 10:00"}, "is not understood"),
        ({"at": "Friday 25:00"}, "is not understood"),
        ({"at": "Friday 24:00"}, "begins at 24:00. Say 00:00 of the next day."),
        ({"at": "Friday 10:00-12:00"}, "has an end, and is no window"),
        ({"at": "every other Friday 10:00"}, "does not say from when it counts. Add `from: 2026-01-02` beside it."),
        ({"at": "every 15 minutes", "zone": MADRID}, "Give zone: UTC."),
        ({"at": "daily 09:00", "zone": None}, "s[0].zone: None is no time zone. Name one, such as UTC"),
        ({"at": "daily 09:00", "zone": "Europe/Nowhere"}, "s[0].zone: 'Europe/Nowhere' is no time zone"),
        ({"at": "daily 09:00", "name": "a/b"}, "s[0].name: 'a/b' is no name. Use letters, digits, - and _."),
        ({"at": "daily 09:00", "playbook": "--version"}, "s[0].playbook: '--version' is no playbook"),
        ({"at": "daily 09:00", "hosts": "--ask-pass"}, "s[0].hosts: '--ask-pass' is no pattern of hosts"),
        ({"at": "daily 09:00", "tags": ["-x"]}, "s[0].tags: ['-x'] is no list of names"),
        ({"at": "daily 09:00", "enabled": "perhaps"}, "s[0].enabled: 'perhaps' is neither true nor false"),
        ({"at": "daily 09:00", "colour": "red"}, "s[0].colour: 'red' is no option of a schedule. Use at, "),
        ({"at": "daily 09:00", "rule": "FREQ=DAILY"}, "does not say when, or in two ways. Give `at`, or `rule`."),
        ({"at": "daily 09:00", "start": "10:00"}, "says two times of day"),
        ({"rule": "FREQ=SECONDLY"}, "has no FREQ that can be used. Use FREQ=YEARLY, "),
        ({"rule": "FREQ=MONTHLY;BYDAY=1FR"}, "says no time of day, or two"),
        ({"rule": "FREQ=MONTHLY", "start": "10:00"}, "names no day. Add BYDAY, or BYMONTHDAY."),
        ({"rule": "FREQ=WEEKLY;BYDAY=1FR", "start": "10:00"}, "counts weekdays without a month"),
        ({"rule": "FREQ=MONTHLY;BYDAY=XX", "start": "10:00"}, "names no weekday. Use MO, TU"),
        ({"rule": "FREQ=MONTHLY;BYMONTHDAY=32", "start": "10:00"}, "is out of bounds. Use numbers from 1 to 31"),
        ({"rule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "start": "10:00"}, "never comes. Name a day that there is."),
        ({"rule": "FREQ=DAILY;FREQ=DAILY", "start": "10:00"}, "says a part twice"),
        ({"rule": "FREQ=DAILY;BYEASTER=1", "start": "10:00"}, "has BYEASTER, which is not supported"),
        ({"rule": "DTSTART:20260101T000000Z RRULE:FREQ=DAILY", "start": "10:00"}, "is no rule. Write one line"),
        ({"rule": "FREQ=DAILY;COUNT=3;UNTIL=20260101", "start": "10:00"}, "has an UNTIL that cannot be used"),
        ({"rule": "FREQ=DAILY;COUNT=3", "start": "10:00"}, "does not say from when it counts"),
    ],
)  # fmt: skip
def test_c8_bad_input_names_option_value_and_remedy(entry: dict[str, object], told: str) -> None:
    with pytest.raises(InputError) as caught:
        schedule.read_schedules([{"name": "daily", "zone": "UTC", **entry}], "s")
    assert told in str(caught.value)
    assert str(caught.value).startswith("s[0]")


def test_c8_names_are_there_once() -> None:
    entry = {"name": "daily", "at": "daily 09:00", "zone": "UTC"}
    with pytest.raises(InputError, match=r"s\[1\].name: 'daily' is there more than once"):
        schedule.read_schedules([entry, entry], "s")


@pytest.mark.parametrize(
    ("said", "zone", "after", "expected"),
    [
        # Forward at 02:00 (01:00Z): 02:30 is 03:30, once.
        ("daily 02:30", MADRID, "2026-03-28T12:00Z", ["2026-03-29T01:30Z", "2026-03-30T00:30Z"]),
        ("Sunday 02:00", MADRID, "2026-03-28T12:00Z", ["2026-03-29T01:00Z", "2026-04-05T00:00Z"]),
        # 02:30 and 03:30 meet there.
        ("daily 02:30 and 03:30", MADRID, "2026-03-28T12:00Z", ["2026-03-29T01:30Z", "2026-03-30T00:30Z", "2026-03-30T01:30Z"]),
        # Later by the clock, and sooner: 02:30 is 03:30, and 03:00 comes before it.
        ("daily 02:30 and 02:45", MADRID, "2026-03-28T12:00Z", ["2026-03-29T01:30Z", "2026-03-29T01:45Z", "2026-03-30T00:30Z"]),
        # Back at 03:00 (01:00Z): the first 02:30, and once.
        ("daily 02:30", MADRID, "2026-10-24T12:00Z", ["2026-10-25T00:30Z", "2026-10-26T01:30Z"]),
        ("daily 02:30", NEW_YORK, "2026-03-07T12:00Z", ["2026-03-08T07:30Z", "2026-03-09T06:30Z"]),
        ("daily 01:30", NEW_YORK, "2026-10-31T12:00Z", ["2026-11-01T05:30Z", "2026-11-02T06:30Z"]),
        # Half an hour, in the southern hemisphere.
        ("daily 02:15", LORD_HOWE, "2026-10-03T12:00Z", ["2026-10-03T15:45Z", "2026-10-04T15:15Z"]),
        ("daily 01:45", LORD_HOWE, "2026-04-04T12:00Z", ["2026-04-04T14:45Z", "2026-04-05T15:15Z"]),
        ("daily 02:30", "UTC", "2026-03-28T12:00Z", ["2026-03-29T02:30Z", "2026-03-30T02:30Z"]),
        ("daily 09:00", MADRID, "2026-03-28T07:59Z", ["2026-03-28T08:00Z", "2026-03-29T07:00Z", "2026-03-30T07:00Z"]),
    ],
)  # fmt: skip
def test_c8_a_time_that_is_not_there_or_twice_comes_once(said: str, zone: str, after: str, expected: list[str]) -> None:
    assert [utc(each) for each in one(said, zone).upcoming(at(after), len(expected))] == expected


def test_c8_the_next_time_is_after_the_moment_that_is_asked_for() -> None:
    read = one("daily 09:00")
    assert utc(read.upcoming(at("2026-01-01T09:00Z"), 1)[0]) == "2026-01-02T09:00Z"
    assert utc(read.upcoming(at("2026-01-01T09:00Z") - 1, 1)[0]) == "2026-01-01T09:00Z"
    (ended,) = schedule.read_schedules(
        [{"name": "x", "rule": "FREQ=DAILY;COUNT=2", "start": "09:00", "zone": "UTC", "from": "2026-01-01"}], "s"
    )
    assert [utc(each) for each in ended.upcoming(at("2026-01-01T12:00Z"), 5)] == ["2026-01-02T09:00Z"]
    (until,) = schedule.read_schedules(
        [{"name": "x", "rule": "FREQ=DAILY;UNTIL=20260102T080000Z", "start": "09:00", "zone": MADRID}], "s"
    )
    assert [utc(each) for each in until.upcoming(at("2026-01-01T00:00Z"), 5)] == [
        "2026-01-01T08:00Z",
        "2026-01-02T08:00Z",
    ]


@pytest.mark.parametrize(
    ("said", "since", "expected"),
    [
        ("Sunday 02:00-04:00", "2026-03-29T00:00Z", ("2026-03-29T01:00Z", "2026-03-29T02:00Z")),
        ("Sunday 02:00-04:00", "2026-10-25T00:00Z", ("2026-10-25T00:00Z", "2026-10-25T03:00Z")),
        # What the clocks never show is in no window: it begins and ends where they go forward.
        ("Sunday 02:30-04:00", "2026-03-29T00:00Z", ("2026-03-29T01:00Z", "2026-03-29T02:00Z")),
        ("Sunday 00:00-02:30", "2026-03-29T00:00Z", ("2026-03-28T23:00Z", "2026-03-29T01:00Z")),
        ("Sunday 02:00-02:45", "2026-03-29T00:00Z", ("2026-04-05T00:00Z", "2026-04-05T00:45Z")),
        # Of two that the clocks show, it ends at the first.
        ("Sunday 01:00-02:30", "2026-10-24T20:00Z", ("2026-10-24T23:00Z", "2026-10-25T00:30Z")),
        # Across midnight, and across the change.
        ("Saturday 23:00-04:00", "2026-03-28T23:30Z", ("2026-03-28T22:00Z", "2026-03-29T02:00Z")),
        ("Saturday 22:00-24:00", "2026-03-28T20:00Z", ("2026-03-28T21:00Z", "2026-03-28T23:00Z")),
        ("first Sunday 02:00-06:00", "2026-03-29T00:00Z", ("2026-04-05T00:00Z", "2026-04-05T04:00Z")),
        ("last Friday", "2026-03-26T00:00Z", ("2026-03-26T23:00Z", "2026-03-27T23:00Z")),
    ],
)  # fmt: skip
def test_c5_windows_are_open_while_the_clocks_show_a_time_in_them(
    said: str, since: str, expected: tuple[str, str]
) -> None:
    found = schedule.stretches(windows(said), at(since), at(since) + 10 * 86400)
    assert (utc(found[0][0]), utc(found[0][1])) == expected


def test_c5_windows_that_meet_are_one() -> None:
    read = windows("Saturday 22:00-24:00", "Sunday 00:00-02:00", "Sunday 01:00-04:00")
    state = schedule.state(read, at("2026-05-02T21:00Z"))
    assert (state.open, utc(state.until), utc(state.next)) == (True, "2026-05-03T02:00Z", "2026-05-09T20:00Z")
    always = windows("daily")
    assert schedule.state(always, at("2026-05-02T21:00Z")).next is None
    assert schedule.state(always, at("2026-05-02T21:00Z")).open


def test_c5_edges_belong_to_the_window_at_its_beginning_alone() -> None:
    read = windows("Sunday 02:00-04:00", zone="UTC")
    opens, ends = at("2026-05-03T02:00Z"), at("2026-05-03T04:00Z")
    assert schedule.state(read, opens) == (True, ends, opens + 7 * 86400)
    assert schedule.state(read, opens - 1) == (False, None, opens)
    assert schedule.state(read, ends) == (False, None, opens + 7 * 86400)


def test_c5_the_old_forms_a_rule_and_those_that_come_once() -> None:
    read = schedule.read_windows(
        [
            {"days": ["sun"], "start": "02:00", "end": "04:00", "zone": MADRID},
            {"start": "22:00", "end": "23:00", "zone": "UTC", "for": "patching"},
            {"rule": "FREQ=MONTHLY;BYDAY=1SU", "start": "02:00", "end": "06:00", "zone": MADRID, "name": "monthly"},
            {"begin": "2026-05-01T02:00:00+02:00", "end": "2026-05-01T04:00:00Z"},
        ],
        "w",
    )
    found = schedule.stretches(read, at("2026-05-01T00:00Z"), at("2026-05-03T12:00Z"))
    assert [(utc(begin), utc(end)) for begin, end in found] == [
        ("2026-05-01T00:00Z", "2026-05-01T04:00Z"),
        ("2026-05-01T22:00Z", "2026-05-01T23:00Z"),
        ("2026-05-02T22:00Z", "2026-05-02T23:00Z"),
        ("2026-05-03T00:00Z", "2026-05-03T04:00Z"),
    ]
    assert utc(schedule.state(read, at("2026-05-03T00:30Z")).until) == "2026-05-03T04:00Z"


def test_c5_windows_for_a_playbook() -> None:
    entries = [
        {"at": "Sunday 02:00-04:00", "zone": MADRID, "for": ["weekly", "patching"]},
        {"at": "first Sunday 02:00-06:00", "zone": MADRID, "for": "monthly"},
        {"at": "daily 01:00-01:30", "zone": MADRID},
    ]
    assert len(schedule.read_windows(entries, "w")) == 3
    assert len(schedule.read_windows(entries, "w", "weekly")) == 2
    assert len(schedule.read_windows(entries, "w", "quarterly")) == 1
    assert schedule.read_windows([], "w") == []


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"at": "Sunday 02:00", "zone": "UTC"}, 'has no end. Say from when to when, as in "Sunday 02:00-04:00".'),
        ({"at": "Sunday 02:00-04:00"}, "w[0].zone: None is no time zone"),
        ({"at": "every 15 minutes", "zone": "UTC"}, "comes again within a day"),
        ({"days": ["someday"], "start": "02:00", "end": "04:00", "zone": "UTC"}, "w[0].days: 'someday' is no day. Use some of mon"),
        ({"days": ["sun"], "start": "25:00", "end": "04:00", "zone": "UTC"}, "w[0].start: '25:00' is no time of day"),
        ({"begin": "2026-01-01", "end": "2026-01-02"}, "w[0].begin: '2026-01-01' is no time with a zone"),
        ({"begin": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"}, "w[0].end: '2026-01-01T00:00:00Z' is not after begin"),
        ({"at": "Sunday 02:00-04:00", "zone": "UTC", "weeks": 2}, "w[0].weeks: 2 is no option of a window. Use at, begin"),
        ("Sunday", "is no dictionary that describes a window"),
        ({"zone": "UTC"}, "does not say when, or in two ways"),
    ],
)  # fmt: skip
def test_c5_bad_windows_name_option_value_and_remedy(entry: object, told: str) -> None:
    with pytest.raises(InputError) as caught:
        schedule.read_windows([entry], "w")
    assert told in str(caught.value)


def test_a_year_of_windows_is_read_quickly() -> None:
    started = time.monotonic()
    schedule.stretches(
        windows("daily 02:00-04:00", "first Sunday 02:00-06:00"), at("2026-01-01T00:00Z"), at("2027-01-01T00:00Z")
    )
    for _each in range(20):
        schedule.state(windows("first Sunday 02:00-06:00"), at("2026-01-05T00:00Z"))
    assert time.monotonic() - started < 2
