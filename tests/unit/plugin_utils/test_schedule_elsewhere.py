# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedules in the words of systemd and of AWX (C8): the real systemd-analyze tells when timers would elapse."""

from __future__ import annotations

import datetime
import re
import subprocess
import zoneinfo

import dateutil.rrule
import dateutil.tz
import pytest
from ansible.errors import AnsibleTemplatePluginError

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.plugin_utils import _schedule_filters, schedule

NOW = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC).timestamp()
YEAR = NOW + 365 * 86400
MADRID, NEW_YORK, LORD_HOWE = "Europe/Madrid", "America/New_York", "Australia/Lord_Howe"


def read(**entry: object) -> schedule.Schedule:
    (found,) = schedule.read_schedules([{"name": "x", **entry}], "s")
    return found


def elapses(texts: list[str], count: int) -> list[float]:
    """When systemd says that a timer with these OnCalendar elapses."""
    argv = ["systemd-analyze", "calendar", f"--iterations={count}", f"--base-time=@{NOW:.0f}", *texts]
    environment = {"TZ": "UTC", "LC_ALL": "C", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, f"{texts}: {done.stderr}"
    found = re.findall(r"(?:Next elapse|Iter\. #\d+|\(in UTC\)): \w{3} (\S+ \S+) UTC", done.stdout)
    return sorted({datetime.datetime.fromisoformat(f"{each}+00:00").timestamp() for each in found})


@pytest.mark.parametrize(
    ("entry", "first"),
    [
        ({"at": "first Friday 15:00", "zone": MADRID}, "Fri *-*-01..07 15:00:00 Europe/Madrid"),
        ({"at": "last Friday 15:00", "zone": MADRID}, "Fri *-*~01..07 15:00:00 Europe/Madrid"),
        ({"at": "last day of the month 23:30", "zone": NEW_YORK}, "*-*~01 23:30:00 America/New_York"),
        ({"at": "Friday 15:00", "zone": MADRID}, "Fri *-*-* 15:00:00 Europe/Madrid"),
        ({"at": "every quarter on the first Monday 10:00", "zone": MADRID}, "Mon *-01,04,07,10-01..07 10:00:00 Europe/Madrid"),
        ({"at": "last Friday of the quarter 10:00", "zone": "UTC"}, "Fri *-03,06,09,12~01..07 10:00:00 UTC"),
        ({"at": "first weekday of the month 08:00", "zone": MADRID}, "Mon *-*-01..03 08:00:00 Europe/Madrid"),
        ({"at": "last weekday of the month 08:00", "zone": MADRID}, "Mon *-*~01..01 08:00:00 Europe/Madrid"),
        ({"at": "first and third Tuesday 02:00 and 14:00", "zone": LORD_HOWE}, "Tue *-*-01..07 02,14:00:00 Australia/Lord_Howe"),
        # Across the changes of the clocks: one elapse for each of the days, no more and no less.
        ({"at": "daily 02:30", "zone": MADRID}, "*-*-* 02:30:00 Europe/Madrid"),
        ({"at": "daily 01:30", "zone": NEW_YORK}, "*-*-* 01:30:00 America/New_York"),
        ({"at": "daily 02:30", "zone": NEW_YORK}, "*-*-* 02:30:00 America/New_York"),
        ({"at": "weekends 02:15", "zone": LORD_HOWE}, "Sat,Sun *-*-* 02:15:00 Australia/Lord_Howe"),
        ({"at": "daily 09:00", "zone": "UTC"}, "*-*-* 09:00:00 UTC"),
        ({"rule": "FREQ=MONTHLY;INTERVAL=3;BYMONTHDAY=1,-1", "start": "04:00", "zone": MADRID, "from": "2026-02-01"},
         "*-02,05,08,11-01 04:00:00 Europe/Madrid"),
        ({"rule": "FREQ=YEARLY;BYMONTH=2;BYDAY=-1SU", "start": "04:00", "zone": MADRID}, "Sun *-02~01..07 04:00:00 Europe/Madrid"),
        ({"rule": "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "start": "04:00", "zone": MADRID}, "Fri *-*-13 04:00:00 Europe/Madrid"),
    ],
)  # fmt: skip
def test_c8_systemd_elapses_when_the_rule_occurs_over_a_year(entry: dict[str, object], first: str) -> None:
    made = read(**entry)
    texts = made.on_calendar(NOW)
    assert texts[0] == first
    mine = [each for each in made.upcoming(NOW, 800) if each < YEAR]
    assert mine == [each for each in elapses(texts, len(mine) + 10) if each < YEAR]
    assert len(mine) >= (1 if "YEARLY" in str(entry) else 3)


@pytest.mark.parametrize("said", ["every 15 minutes", "every 6 hours", "hourly"])
def test_c8_what_repeats_within_the_day(said: str) -> None:
    made = read(at=said, zone="UTC")
    assert elapses(made.on_calendar(NOW), 200)[:200] == made.upcoming(NOW, 200)


@pytest.mark.parametrize(
    ("entry", "remedy"),
    [
        ({"at": "every other Friday 15:00", "from": "2026-01-02"}, "It counts no days, weeks or years: let it run each time"),
        ({"rule": "FREQ=DAILY;COUNT=3", "start": "02:00", "from": "2026-01-02"}, "Leave COUNT out, and remove the schedule"),
        ({"rule": "FREQ=DAILY;UNTIL=20301231", "start": "02:00"}, "Leave UNTIL out, and remove the schedule"),
        ({"rule": "FREQ=YEARLY;BYWEEKNO=3;BYDAY=MO", "start": "02:00"}, "Use BYMONTH and BYDAY in place of BYWEEKNO."),
        ({"rule": "FREQ=YEARLY;BYYEARDAY=100", "start": "02:00"}, "Use BYMONTH and BYMONTHDAY in place of BYYEARDAY."),
        ({"rule": "FREQ=MONTHLY;BYDAY=-5FR", "start": "02:00"}, "Use 1 to 5, or -1 to -4"),
        ({"rule": "FREQ=MONTHLY;BYDAY=MO,TU;BYSETPOS=2", "start": "02:00"}, "Of several weekdays only the first or last can be said."),
        ({"at": "first weekday of the month 08:00 and 17:00"}, "Use BYSETPOS with FREQ=MONTHLY, BYDAY and one time of day alone."),
    ],
)  # fmt: skip
def test_c8_what_systemd_cannot_say_is_refused_with_what_to_do(entry: dict[str, object], remedy: str) -> None:
    with pytest.raises(InputError) as caught:
        read(**{"zone": MADRID, **entry}).on_calendar(NOW)
    assert f"has no OnCalendar. A systemd timer cannot say this. {remedy}" in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"at": "first Friday 15:00"}, "DTSTART;TZID=Europe/Madrid:20260102T150000 RRULE:FREQ=MONTHLY;INTERVAL=1;BYDAY=FR;BYSETPOS=1"),
        ({"at": "last Sunday 02:00"}, "DTSTART;TZID=Europe/Madrid:20260125T020000 RRULE:FREQ=MONTHLY;INTERVAL=1;BYDAY=SU;BYSETPOS=-1"),
        ({"at": "daily 09:00"}, "DTSTART;TZID=Europe/Madrid:20260102T090000 RRULE:FREQ=DAILY;INTERVAL=1"),
        ({"at": "Friday 15:00"}, "DTSTART;TZID=Europe/Madrid:20260102T150000 RRULE:FREQ=WEEKLY;INTERVAL=1;BYDAY=FR"),
        ({"at": "first Monday of the quarter 10:00"}, "DTSTART;TZID=Europe/Madrid:20260105T100000 RRULE:FREQ=MONTHLY;INTERVAL=3;BYDAY=MO;BYSETPOS=1"),
        ({"at": "last day of the quarter 22:00"}, "DTSTART;TZID=Europe/Madrid:20260331T220000 RRULE:FREQ=MONTHLY;INTERVAL=3;BYMONTHDAY=-1"),
        ({"at": "first Sunday of July 02:00"}, "DTSTART;TZID=Europe/Madrid:20260705T020000 RRULE:FREQ=MONTHLY;INTERVAL=1;BYMONTH=7;BYDAY=SU;BYSETPOS=1"),
        ({"at": "every other Friday 15:00", "from": "2025-12-26"}, "DTSTART;TZID=Europe/Madrid:20260109T150000 RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=FR"),
        ({"at": "Mon and Thu 08:00 and 17:00"}, "DTSTART;TZID=Europe/Madrid:20260101T170000 RRULE:FREQ=WEEKLY;INTERVAL=1;BYDAY=MO,TH;BYHOUR=8,17"),
    ],
)  # fmt: skip
def test_c8_awx_is_given_a_rule_that_it_accepts_and_that_means_the_same(
    entry: dict[str, object], expected: str
) -> None:
    made = read(zone=MADRID, **entry)
    text = made.rrule(NOW)
    assert text == expected
    # As AWX reads it, which leaves out what the clocks go forward over.
    rule = dateutil.rrule.rrulestr(text, forceset=True)
    after = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    theirs = [each.timestamp() for each in rule.xafter(after, count=60) if dateutil.tz.datetime_exists(each)]
    theirs = [each for each in theirs if each < 2 * YEAR - NOW]
    mine = [each for each in made.upcoming(NOW, 60) if each <= max(theirs)]
    assert len(mine) > 1
    assert set(mine) - set(made.skipped(NOW)) == set(theirs)


def test_c8_what_awx_leaves_out_is_told() -> None:
    made = read(at="Sunday 02:00", zone=MADRID)
    times = [datetime.datetime.fromtimestamp(each, zoneinfo.ZoneInfo(MADRID)).isoformat() for each in made.skipped(NOW)]
    assert times[0] == "2026-03-29T03:00:00+02:00"
    assert len(times) == 5
    assert set(made.skipped(NOW)) <= set(made.upcoming(NOW, 300))


@pytest.mark.parametrize(
    ("entry", "remedy"),
    [
        ({"at": "first Monday and Friday 10:00"}, "Make a schedule for each weekday and time of day."),
        ({"at": "first Friday 10:00 and 17:00"}, "Make a schedule for each weekday and time of day."),
        ({"rule": "FREQ=YEARLY;BYWEEKNO=3;BYDAY=MO", "start": "02:00"}, "Use BYMONTH with BYMONTHDAY or BYDAY."),
        ({"rule": "FREQ=YEARLY;BYYEARDAY=3", "start": "02:00"}, "Use BYMONTH with BYMONTHDAY or BYDAY."),
        ({"rule": "FREQ=DAILY;COUNT=2000", "start": "02:00", "from": "2026-01-01"}, "Use UNTIL."),
        ({"rule": "FREQ=DAILY;UNTIL=20301231", "start": "02:00"}, "Write it as UNTIL=20261231T225959Z."),
    ],
)  # fmt: skip
def test_c8_what_awx_refuses_is_refused_with_what_to_do(entry: dict[str, object], remedy: str) -> None:
    with pytest.raises(InputError) as caught:
        read(zone=MADRID, **entry).rrule(NOW)
    assert f"AWX does not accept this. {remedy}" in str(caught.value)


# --- Filters -----------------------------------------------------------------------------------------------------------


def test_c5_hosts_are_given_stretches_of_time() -> None:
    windows = [
        {"at": "first Sunday 02:00-06:00", "zone": MADRID, "for": "monthly"},
        {"at": "Sunday 02:00-04:00", "zone": MADRID},
        {"begin": "2025-01-01T00:00:00Z", "end": "2025-01-02T00:00:00Z"},
    ]
    now = "2026-03-28T12:00:00Z"
    assert _schedule_filters.window_stretches(windows, "patching", now) == [
        {"begin": "2026-03-29T01:00:00Z", "end": "2026-03-29T02:00:00Z"}
    ]
    # None this week: the next one whenever it is.
    assert _schedule_filters.window_stretches(windows[:1], "monthly", "2026-03-08T12:00:00Z") == [
        {"begin": "2026-04-05T00:00:00Z", "end": "2026-04-05T04:00:00Z"}
    ]
    # All are over, which is not the same as none.
    assert _schedule_filters.window_stretches(windows[2:], "", now) == [
        {"begin": "2025-01-01T00:00:00Z", "end": "2025-01-02T00:00:00Z"}
    ]
    assert _schedule_filters.window_stretches([], "patching", now) == []
    with pytest.raises(AnsibleTemplatePluginError, match=r"runbooks_windows\[0\].at: 'soon' is not understood"):
        _schedule_filters.window_stretches([{"at": "soon", "zone": "UTC"}])


HOSTILE = 'shop & web\'1 "x" %h $HOME ${PATH} \\n back'


def test_c8_the_command_is_words_and_never_a_shell_string() -> None:
    entry = {
        "name": "weekly",
        "at": "Friday 15:00",
        "zone": MADRID,
        "hosts": HOSTILE,
        "tags": ["health", "backup"],
        "extra_vars": {"a": "hidden"},
    }
    (unit,) = _schedule_filters.schedule_timers([entry], "/opt/ansible/bin/ansible-playbook", ["--inventory=my hosts"])
    assert unit["argv"] == [
        "/opt/ansible/bin/ansible-playbook", "--inventory=my hosts", f"--limit={HOSTILE}", "--tags=health,backup",
        "--extra-vars=@/etc/sre-runbooks/schedules/weekly.json", "sre.runbooks.weekly",
    ]  # fmt: skip
    assert unit["variables"] == ["a"]
    assert "hidden" not in str(unit)
    assert '"--limit=shop & web\'1 \\"x\\" %%h $$HOME $${PATH} \\\\n back"' in unit["exec_start"]


def test_c8_timers_are_compared_with_their_schedules() -> None:
    entries = [
        {"name": "a", "playbook": "daily", "at": "daily 09:00", "zone": "UTC"},
        {"name": "b", "playbook": "daily", "at": "daily 10:00", "zone": "UTC", "enabled": False},
        {"name": "c", "playbook": "daily", "at": "daily 11:00", "zone": "UTC"},
    ]
    shown = "Id=sre-runbooks-{}.timer\nActiveState={}\nSubState={}\nNextElapseUSecRealtime={}"
    tomorrow = "Fri 2026-01-02 09:00:00 UTC"
    units = [("a", "active", "waiting", tomorrow), ("b", "inactive", "dead", ""), ("c", "active", "running", "")]
    told = "\n\n".join(shown.format(*unit) for unit in units)
    found = _schedule_filters.schedule_elapses(told, entries, now=NOW)
    assert [each["status"] for each in found] == ["ok", "ok", "ok"]
    assert found[0]["summary"] == "runs daily next at 2026-01-02T09:00:00Z"
    wrong = told.replace("09:00:00", "09:00:07").replace("inactive", "active")
    found = _schedule_filters.schedule_elapses(wrong, entries, now=NOW)
    assert [each["status"] for each in found] == ["critical", "critical", "ok"]
    assert found[0]["summary"] == "should run next at 2026-01-02T09:00:00Z, and its timer will at 2026-01-02T09:00:07Z"
    found = _schedule_filters.schedule_elapses(wrong, entries, delay="10s", now=NOW)
    assert [each["status"] for each in found][:1] == ["ok"]


def test_c8_what_comes_next_by_the_clocks_of_the_zone() -> None:
    entries = [
        {"name": "weekly", "at": "Friday 15:00", "zone": MADRID},
        {"name": "off", "at": "daily 09:00", "zone": "UTC", "enabled": False},
    ]
    (found,) = _schedule_filters.schedule_upcoming(entries, 2, "2026-03-26T00:00:00Z")
    assert (found["name"], found["at"]) == ("weekly", ["2026-03-27T15:00:00+01:00", "2026-04-03T15:00:00+02:00"])


def test_c8_a_rule_for_awx_is_the_same_whenever_it_is_asked_for() -> None:
    entry = {"name": "weekly", "at": "Friday 15:00", "zone": MADRID}
    assert _schedule_filters.schedule_rrule(entry).startswith("DTSTART;TZID=Europe/Madrid:20260102T150000 ")
    assert _schedule_filters.schedule_rrule({**entry, "from": "2026-06-01"}).startswith(
        "DTSTART;TZID=Europe/Madrid:20260605T150000 "
    )
