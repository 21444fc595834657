# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A rule in the words of others: systemd's OnCalendar (systemd.time(7)), and the rules that AWX accepts.

Both leave out a time over which the clocks go forward. For systemd such days are added as dates of their own, for some years ahead.
"""

from __future__ import annotations

import datetime
import itertools
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.plugin_utils._schedule_rule import MIDNIGHT, Rule, exists, moment

NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
# For how many years, the present one among them, days are added on which the clocks go forward over a time.
YEARS = 5
SYSTEMD = "A systemd timer cannot say this. "
AWX = "AWX does not accept this. "


def on_calendar(rule: Rule, now: float) -> list[str]:
    """The OnCalendar texts that together occur as the rule does; raises InputError where there are none."""
    for part, remedy in (
        (rule.count is not None, "Leave COUNT out, and remove the schedule when it is over."),
        (rule.until is not None, "Leave UNTIL out, and remove the schedule when it is over."),
        (rule.by("BYWEEKNO"), "Use BYMONTH and BYDAY in place of BYWEEKNO."),
        (rule.by("BYYEARDAY"), "Use BYMONTH and BYMONTHDAY in place of BYYEARDAY."),
    ):
        if part:
            raise InputError(rule.where, rule.text(), "has no OnCalendar", SYSTEMD + remedy)
    clock = f"{_clock(rule)} {rule.zone.key}"
    texts = [f"{day}{_dates(rule)}-{numbers} {clock}" for day, numbers in _days(rule)]
    added = [datetime.datetime.fromtimestamp(each, rule.zone) for each in skipped(rule, now)]
    return [text.replace("-~", "~") for text in texts] + [f"{each:%Y-%m-%d %H:%M:%S} {rule.zone.key}" for each in added]


def skipped(rule: Rule, now: float) -> list[float]:
    """When it occurs in place of times that the clocks go forward over, from the present year on."""
    year = datetime.datetime.fromtimestamp(now, rule.zone).year
    if rule.freq in ("HOURLY", "MINUTELY"):
        return []
    first, last = (datetime.datetime.combine(datetime.date(each, 1, 1), MIDNIGHT) for each in (year, year + YEARS))
    clocks = itertools.takewhile(last.__gt__, rule.clocks(first))
    return [moment(clock, rule.zone) for clock in clocks if not exists(clock, rule.zone)]


def _clock(rule: Rule) -> str:
    if rule.freq == "HOURLY":
        hours = _list(rule.by("BYHOUR")) or (f"00/{rule.interval}" if rule.interval > 1 else "*")
        return f"{hours}:{_list(rule.by('BYMINUTE'))}:{_list(rule.by('BYSECOND'))}"
    if rule.freq == "MINUTELY":
        minutes = _list(rule.by("BYMINUTE")) or (f"00/{rule.interval}" if rule.interval > 1 else "*")
        return f"{_list(rule.by('BYHOUR')) or '*'}:{minutes}:{_list(rule.by('BYSECOND'))}"
    return ":".join(_list(rule.by(name)) for name in ("BYHOUR", "BYMINUTE", "BYSECOND"))


def _dates(rule: Rule) -> str:
    """Year and month."""
    months = rule.by("BYMONTH")
    if rule.interval > 1 and rule.freq not in ("HOURLY", "MINUTELY"):
        if rule.freq != "MONTHLY" or 12 % rule.interval or rule.start is None or months:
            raise InputError(
                rule.where, rule.text(), "has no OnCalendar",
                f"{SYSTEMD}It counts no days, weeks or years: let it run each time, or give months, as in \"first Friday of january, july\".",
            )  # fmt: skip
        first = rule.start.month
        months = tuple(sorted((first + ahead - 1) % 12 + 1 for ahead in range(0, 12, rule.interval)))
    return f"*-{_list(months) or '*'}"


def _days(rule: Rule) -> list[tuple[str, str]]:
    """The parts before and after year and month: weekdays, and days of the month (with ~ from its end)."""
    positions, dates = rule.by("BYSETPOS"), rule.by("BYMONTHDAY")
    weekdays = "".join(f"{','.join(NAMES[day] for _which, day in rule.byday)} " if rule.byday else "")
    counted = [each for each in rule.byday if each[0]]
    if positions:
        return _positions(rule, positions)
    if counted:
        if dates or len(counted) < len(rule.byday) or (rule.freq == "YEARLY" and not rule.by("BYMONTH")):
            raise InputError(rule.where, rule.text(), "has no OnCalendar", SYSTEMD + "Make two schedules of it.")
        return [(f"{NAMES[day]} ", _weeks(rule, which)) for which, day in counted]
    if not dates:
        return [(weekdays, "*")]
    found = [(weekdays, _list(tuple(date for date in dates if date > 0)))] if any(date > 0 for date in dates) else []
    return found + [(weekdays, f"~{-date:02}") for date in sorted(dates, reverse=True) if date < 0]


def _weeks(rule: Rule, which: int) -> str:
    """The days of a month among which a weekday is the first, second …: the first Friday is one of the days 1 to 7."""
    first, last = (abs(which) - 1) * 7 + 1, min(abs(which) * 7, 31)
    if abs(which) > 5 or which == -5:
        raise InputError(
            rule.where,
            rule.text(),
            "has no OnCalendar",
            SYSTEMD + "Use 1 to 5, or -1 to -4, for the weekdays of a month.",
        )
    return f"{'~' if which < 0 else ''}{first:02}..{last:02}"


def _positions(rule: Rule, positions: tuple[int, ...]) -> list[tuple[str, str]]:
    """BYSETPOS: a day is the first of its set in the month when the one before it in the set lies in the month before."""
    monthly = rule.freq == "MONTHLY" or (rule.freq == "YEARLY" and len(rule.by("BYMONTH")) == 1)
    once = len(rule.by("BYHOUR")) == len(rule.by("BYMINUTE")) == len(rule.by("BYSECOND")) == 1
    days = sorted(day for which, day in rule.byday if not which)
    if not monthly or not once or not days or len(days) < len(rule.byday) or rule.by("BYMONTHDAY"):
        raise InputError(
            rule.where,
            rule.text(),
            "has no OnCalendar",
            SYSTEMD + "Use BYSETPOS with FREQ=MONTHLY, BYDAY and one time of day alone.",
        )
    if len(days) == 1:
        return [(f"{NAMES[days[0]]} ", _weeks(rule, which)) for which in positions]
    if not set(positions) <= {1, -1}:
        raise InputError(
            rule.where,
            rule.text(),
            "has no OnCalendar",
            SYSTEMD + "Of several weekdays only the first or last can be said.",
        )
    found = []
    for which in positions:
        for number, day in enumerate(days):
            other = days[(number - which) % len(days)]
            found.append((f"{NAMES[day]} ", f"{'~' if which < 0 else ''}01..{((day - other) * which) % 7:02}"))
    return found


def _list(numbers: tuple[int, ...]) -> str:
    return ",".join(f"{number:02}" for number in numbers)


def awx_rule(rule: Rule) -> str:
    """The RRULE as AWX accepts it; raises InputError where it accepts none that means the same."""
    _refuse_awx(rule)
    changed: dict[str, t.Any] = {}
    numbers = dict(rule.numbers)
    if any(which for which, _day in rule.byday):
        days, positions = {day for _which, day in rule.byday}, {which for which, _day in rule.byday}
        whole = {(which, day) for which in positions for day in days} == set(rule.byday) and 0 not in positions
        in_month = rule.freq == "MONTHLY" or (rule.freq == "YEARLY" and len(rule.by("BYMONTH")) == 1)
        if (
            len(days) > 1
            or not whole
            or "BYSETPOS" in numbers
            or "BYMONTHDAY" in numbers
            or not in_month
            or _times(rule) > 1
        ):
            raise InputError(
                rule.where, rule.text(), "counts weekdays in a way that has no BYSETPOS",
                AWX + "Make a schedule for each weekday and time of day.",
            )  # fmt: skip
        numbers["BYSETPOS"] = tuple(sorted(positions))
        changed["byday"] = tuple((0, day) for day in days)
    months = numbers.get("BYMONTH", ())
    # January, April … is every third month, counted from the first occurrence.
    for interval in (2, 3, 4, 6):
        if rule.freq != "MONTHLY" or rule.interval > 1 or not months or months[0] > interval:
            continue
        if months == tuple(range(months[0], 13, interval)):
            del numbers["BYMONTH"]
            changed["interval"] = interval
            break
    # These are taken from DTSTART.
    for name in ("BYHOUR", "BYMINUTE", "BYSECOND"):
        if rule.freq not in ("HOURLY", "MINUTELY") and len(numbers.get(name, ())) == 1:
            del numbers[name]
    return rule.text(numbers=tuple(sorted(numbers.items())), **changed)


def _refuse_awx(rule: Rule) -> None:
    if rule.count is not None and rule.count > 999:
        raise InputError(rule.where, rule.text(), "has a COUNT of more than 999", AWX + "Use UNTIL.")
    if rule.until is not None and not rule.until.endswith("Z"):
        raise InputError(
            rule.where, rule.text(), "has an UNTIL that is not in UTC", AWX + "Write it as UNTIL=20261231T225959Z."
        )
    for name in ("BYYEARDAY", "BYWEEKNO"):
        if rule.by(name):
            raise InputError(rule.where, rule.text(), f"has {name}", AWX + "Use BYMONTH with BYMONTHDAY or BYDAY.")


def _times(rule: Rule) -> int:
    return len(rule.by("BYHOUR")) * len(rule.by("BYMINUTE")) * len(rule.by("BYSECOND"))
