# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time stamps: formats found by themselves, zones, years, what is none (L1, L4)."""

from __future__ import annotations

import datetime
import time

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._logs._timestamps import Reader

NOW = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.UTC).timestamp()
NINE = datetime.datetime(2026, 11, 20, 9, tzinfo=datetime.UTC).timestamp()


@pytest.fixture(params=["UTC", "America/New_York"])
def local(request, monkeypatch):
    """The host's zone, and the offset of its local time from UTC in November."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield {"UTC": 0, "America/New_York": -5 * 3600}[request.param]
    monkeypatch.undo()
    time.tzset()


ZONED = {
    "2026-11-20T09:00:00Z INFO x": ("iso8601", 0),
    "2026-11-20T09:00:00.250+00:00 INFO x": ("iso8601", 0.25),
    "2026-11-20T11:00:00+02:00 x": ("iso8601", 0),
    "2026-11-20T04:00:00-0500 x": ("iso8601", 0),
    "2026-11-20 09:00:00.123 UTC [17] FATAL:  password authentication failed": ("iso8601", 0.123),
    '{"level": "ERROR", "timestamp": "2026-11-20T09:00:00.5Z"}': ("iso8601", 0.5),
    '10.0.0.1 - - [20/Nov/2026:09:00:00 +0000] "GET / HTTP/1.1" 200 5': ("apache", 0),
    '10.0.0.1 - bob [20/Nov/2026:10:00:00 +0100] "GET / HTTP/1.1" 200 5': ("apache", 0),
    "1795165200 started": ("epoch", 0),
    "[1795165200.5] started": ("epoch", 0.5),
    "1795165200123 started": ("epoch_ms", 0.123),
    "1795165200123456 started": ("epoch_ms", 0.123456),
}
LOCAL = {
    "2026-11-20 09:00:00,123 ERROR x": ("iso8601", 0.123),
    "2026/11/20 09:00:00 [error] 7#7: *1 open() failed": ("iso8601", 0),
    "Nov 20 09:00:00 host sshd[7]: Failed password": ("syslog", 0),
    "<34>Nov 20 09:00:00 host su: failed": ("syslog", 0),
    "[Fri Nov 20 09:00:00.500000 2026] [core:error] x": ("asctime", 0.5),
    "17:M 20 Nov 2026 09:00:00.250 * Ready": ("redis", 0.25),
}


@pytest.mark.parametrize("line", ZONED)
def test_stamps_with_a_zone(line, local):
    reader = Reader(NOW)
    assert reader.read(line) == pytest.approx(NINE + ZONED[line][1])
    assert reader.format == ZONED[line][0]
    assert reader.read(line.encode()) == reader.read(line)


@pytest.mark.parametrize("line", LOCAL)
def test_stamps_without_a_zone_are_local_time_or_in_the_zone_given(line, local):
    reader = Reader(NOW)
    assert reader.read(line) == pytest.approx(NINE - local + LOCAL[line][1])
    assert reader.format == LOCAL[line][0]
    assert Reader(NOW, zone="+02:00").read(line) == pytest.approx(NINE - 7200 + LOCAL[line][1])


@pytest.mark.parametrize(
    "line",
    ["", "Traceback (most recent call last):", '  File "x.py", line 1', "2026-13-40 09:00:00 x", "12026-11-20 09:00:00",
     "2026-11-20 29:00:00", "Foo 20 09:00:00 x", "9123456789012345 x", "took 1795165200 ms", "\x00\x00\x00", "x" * 300 + "2026-11-20 09:00:00"],
)  # fmt: skip
def test_what_is_no_stamp(line):
    assert Reader(NOW).read(line) is None


def test_formats_and_zones_may_be_mixed():
    lines = [line for line in ZONED if not line.startswith("[")] * 2
    reader = Reader(NOW)
    assert {round(reader.read(line)) for line in lines} == {round(NINE)}


def test_a_stamp_without_a_year_lies_in_the_past():
    reader = Reader(NOW, zone="UTC")
    assert reader.read("Nov 20 09:00:00 x") == NINE
    assert time.gmtime(reader.read("Dec 31 23:59:59 x")).tm_year == 2025
    # A clock a little ahead is this year's; the first of January is told from the old year's.
    assert time.gmtime(reader.read("Nov 22 09:00:00 x")).tm_year == 2026
    new_year = datetime.datetime(2026, 12, 31, 23, 59, tzinfo=datetime.UTC).timestamp()
    assert time.gmtime(Reader(new_year, zone="UTC").read("Jan  1 00:00:01 x")).tm_year == 2027
    assert time.gmtime(Reader(new_year + 3600, zone="UTC").read("Dec 31 23:00:00 x")).tm_year == 2026


def test_every_day_of_some_years_agrees_with_datetime():
    day = datetime.datetime(1999, 1, 1, 3, 4, 5, tzinfo=datetime.UTC)
    reader = Reader(NOW)
    while day.year < 2029:
        assert reader.read(day.isoformat()) == day.timestamp()
        day += datetime.timedelta(days=1)


@pytest.mark.parametrize(
    ("explicit", "line", "seconds"),
    [
        ("%d.%m.%Y %H:%M:%S", "worker 7 at 20.11.2026 09:00:00: done", 0),
        ("%y%m%d %H%M%S", "", None),
        ("[%b %d %H:%M:%S.%f %Y]", "x [Nov 20 09:00:00.25 2026] y", 0.25),
        ("t=%s", "2026-01-01 00:00:00 t=1795165200", 0),
        ("syslog", "Nov 20 09:00:00 2026-01-01T00:00:00Z", 0),
    ],
)
def test_a_format_given_is_the_only_one(explicit, line, seconds):
    found = Reader(NOW, explicit, zone="UTC").read(line)
    assert found == (None if seconds is None else pytest.approx(NINE + seconds))
    assert Reader(NOW, explicit).read("2026-11-20 09:00:00") is None


@pytest.mark.parametrize("explicit", ["%Q", "%Y %Y", "%H:%M", "%", ""])
def test_a_format_that_gives_no_time_is_refused(explicit):
    with pytest.raises(InputError, match=r"sources\[x\]\.timestamp"):
        Reader(NOW, explicit, option="sources[x].timestamp")


def test_a_zone_that_is_none_is_refused():
    with pytest.raises(InputError, match="Europe/Berlin"):
        Reader(NOW, zone="Europe/Berlin")


@pytest.mark.parametrize("value", [1795165200, 1795165200.0, 1795165200000, "1795165200000000", "2026-11-20T09:00:00Z"])
def test_values_of_json_fields(value):
    assert Reader(NOW).value(value) == pytest.approx(NINE)


@pytest.mark.parametrize("value", [None, True, [], {}, 17, "soon", float("nan")])
def test_values_that_are_no_time(value):
    assert Reader(NOW).value(value) is None
