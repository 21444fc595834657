# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A recurrence rule of RFC 5545 with its zone, read with care, and the moments at which it occurs.

Occurrences are found by the clock (python-dateutil, without a zone) and then looked up in the zone: a time that does not exist, because the
clocks go forward over it, occurs once, later by what they skip (02:30 is 03:30); one that exists twice occurs the first time alone.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
import typing as t
import zoneinfo

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError

try:
    from dateutil import rrule
except ImportError:
    rrule = None  # type: ignore[assignment]

DATEUTIL_MISSING = (
    "The library python-dateutil is missing on the controller. Install what requirements.txt of sre.runbooks names."
)
DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY")
# The lists of numbers that a rule may have, with their bounds; those that may be negative count from the end.
NUMBERS = {
    "BYMONTH": (1, 12, False), "BYMONTHDAY": (1, 31, True), "BYSETPOS": (1, 366, True), "BYHOUR": (0, 23, False), "BYMINUTE": (0, 59, False),
    "BYSECOND": (0, 59, False), "BYYEARDAY": (1, 366, True), "BYWEEKNO": (1, 53, True),
}  # fmt: skip
# How far is looked for the next time. Everything that comes at all comes within: 29 February, eight years around 2100.
AHEAD = datetime.timedelta(days=9 * 366)
# What is later by the clock may be sooner in the zone, or at the same moment: by what the clocks skip at most.
SLACK = datetime.timedelta(hours=3)
MIDNIGHT = datetime.time()
_BYDAY = re.compile(r"([+-]?[1-9]\d?)?(MO|TU|WE|TH|FR|SA|SU)")
_UNTIL = re.compile(r"\d{8}(T\d{6}Z?)?")

Ordinal = tuple[int, int]
"""(which, weekday): which of the month or year, 0 for every one; weekday 0 is Monday."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """One RRULE; `start` is the wall clock from which INTERVAL and COUNT count, where they need one."""

    where: str
    freq: str
    zone: zoneinfo.ZoneInfo
    interval: int = 1
    byday: tuple[Ordinal, ...] = ()
    numbers: tuple[tuple[str, tuple[int, ...]], ...] = ()
    count: int | None = None
    until: str | None = None
    start: datetime.datetime | None = None

    def by(self, name: str) -> tuple[int, ...]:
        """The numbers of BYMONTH and so on; empty where the rule has none."""
        return dict(self.numbers).get(name, ())

    def text(self, **changed: t.Any) -> str:
        """The rule as RFC 5545 writes it, in one order of its parts whatever the user's."""
        rule = dataclasses.replace(self, **changed)
        parts = [f"FREQ={rule.freq}", f"INTERVAL={rule.interval}"]
        numbers = dict(rule.numbers)
        for name in ("BYMONTH", "BYWEEKNO", "BYYEARDAY", "BYMONTHDAY"):
            parts += [f"{name}={_joined(numbers[name])}"] if name in numbers else []
        if rule.byday:
            parts.append("BYDAY=" + ",".join(f"{which or ''}{DAYS[day]}" for which, day in rule.byday))
        for name in ("BYHOUR", "BYMINUTE", "BYSECOND", "BYSETPOS"):
            parts += [f"{name}={_joined(numbers[name])}"] if name in numbers else []
        parts += [f"COUNT={rule.count}"] if rule.count is not None else []
        parts += [f"UNTIL={rule.until}"] if rule.until is not None else []
        return ";".join(parts)

    def clocks(self, after: datetime.datetime) -> t.Iterator[datetime.datetime]:
        """The times by the clock at which it occurs, in order, from `after` (a clock too) on, for as long as AHEAD."""
        if rrule is None:
            raise RunbookError(DATEUTIL_MISSING)
        begin = after.replace(hour=0, minute=0, second=0, microsecond=0)
        if self.start is not None:
            begin = self.start if self._counts() else max(begin, self.start)
        until = self.until
        if until and until.endswith("Z"):
            moment = datetime.datetime.strptime(until, "%Y%m%dT%H%M%S%z").astimezone(self.zone)
            until = moment.strftime("%Y%m%dT%H%M%S")
        elif until and "T" not in until:
            until += "T235959"
        last = max(after, begin) + AHEAD
        for each in rrule.rrulestr(self.text(until=until), dtstart=begin):
            if each > last:
                return
            if each >= after:
                yield each

    def moments(self, after: float) -> t.Iterator[float]:
        """When it occurs after this moment, in order and each once, in seconds since the epoch."""
        clock = datetime.datetime.fromtimestamp(after, self.zone).replace(tzinfo=None)
        pending: set[float] = set()
        for each in self.clocks(clock - SLACK):
            now = moment(each, self.zone)
            ready = {one for one in pending if one <= now - SLACK.total_seconds()}
            yield from sorted(ready)
            pending -= ready
            if now > after:
                pending.add(now)
        yield from sorted(pending)

    def _counts(self) -> bool:
        return self.interval > 1 or self.count is not None


def moment(clock: datetime.datetime, zone: zoneinfo.ZoneInfo) -> float:
    """The moment at which the clocks of `zone` show this: of two the first, and of none what they would show without the change."""
    return clock.replace(tzinfo=zone, fold=0).timestamp()


def exists(clock: datetime.datetime, zone: zoneinfo.ZoneInfo) -> bool:
    """Whether the clocks of `zone` ever show this."""
    return datetime.datetime.fromtimestamp(moment(clock, zone), zone).replace(tzinfo=None) == clock


def change(clock: datetime.datetime, zone: zoneinfo.ZoneInfo) -> float:
    """The moment at which the clocks of `zone` go forward over a time that they never show."""
    low, high = moment(clock, zone) - 86400, moment(clock, zone)
    before = datetime.datetime.fromtimestamp(low, zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.datetime.fromtimestamp(middle, zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


def zone_of(name: t.Any, where: str) -> zoneinfo.ZoneInfo:
    """Read a zone; none is an error, for the zone of the machine that happens to read it is nobody's."""
    try:
        if not isinstance(name, str) or not name:
            raise ValueError
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(
            where, name, "is no time zone", "Name one, such as UTC or Europe/Madrid (package tzdata)."
        ) from None


def parse(
    text: t.Any, where: str, zone: zoneinfo.ZoneInfo, start: datetime.date | None, times: t.Sequence[Ordinal]
) -> Rule:
    """Read a rule; `times` are the hours and minutes at which it occurs, where it does not give them itself."""
    parts = _parts(text, where)
    freq = parts.pop("FREQ", "")
    if freq == "SECONDLY" or freq not in FREQUENCIES:
        raise InputError(where, text, "has no FREQ that can be used", f"Use FREQ={', '.join(FREQUENCIES)}.")
    numbers = {name: _numbers(parts.pop(name), name, where) for name in NUMBERS if name in parts}
    interval = _count(parts.pop("INTERVAL", "1"), "INTERVAL", where)
    count = _count(parts.pop("COUNT"), "COUNT", where) if "COUNT" in parts else None
    until, byday = parts.pop("UNTIL", None), _weekdays(parts.pop("BYDAY", ""), where)
    if parts.pop("WKST", "MO") != "MO" or parts:
        raise InputError(
            where,
            text,
            f"has {', '.join(parts) or 'WKST'}, which is not supported",
            "Leave it out; weeks begin on Monday.",
        )
    if until is not None and (not _UNTIL.fullmatch(until) or count is not None):
        raise InputError(
            where, text, "has an UNTIL that cannot be used", "Write UNTIL=20261231T225959Z, and no COUNT beside it."
        )
    _times(numbers, times, text, where, freq)
    begin = None if start is None else datetime.datetime.combine(start, MIDNIGHT)
    rule = Rule(where, freq, zone, interval, byday, tuple(sorted(numbers.items())), count, until, begin)
    _complete(rule, text)
    return rule


def _parts(text: t.Any, where: str) -> dict[str, str]:
    written = str(text).strip().upper().removeprefix("RRULE:")
    pairs = [part.partition("=")[::2] for part in written.split(";") if part]
    if (
        not isinstance(text, str)
        or "DTSTART" in written
        or not pairs
        or any(not name or not value for name, value in pairs)
    ):
        raise InputError(
            where,
            text,
            "is no rule",
            "Write one line, such as FREQ=MONTHLY;BYDAY=1FR, with `start` and `zone` beside it.",
        )
    if len({name for name, _value in pairs}) < len(pairs):
        raise InputError(where, text, "says a part twice", "Say each once.")
    return dict(pairs)


def _numbers(text: str, name: str, where: str) -> tuple[int, ...]:
    low, high, negative = NUMBERS[name]
    found = []
    for word in text.split(","):
        if not re.fullmatch(r"[+-]?\d{1,3}", word):
            raise InputError(where, f"{name}={text}", "is no list of numbers", f"Use numbers from {low} to {high}.")
        number = int(word)
        if not low <= (abs(number) if negative else number) <= high:
            signs = ", or negative ones that count from the end" if negative else ""
            raise InputError(where, f"{name}={text}", "is out of bounds", f"Use numbers from {low} to {high}{signs}.")
        found.append(number)
    return tuple(sorted(set(found)))


def _count(text: str, name: str, where: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,3}", text):
        raise InputError(where, f"{name}={text}", "is no count", "Use a number from 1 to 9999.")
    return int(text)


def _weekdays(text: str, where: str) -> tuple[Ordinal, ...]:
    found = []
    for word in text.split(",") if text else []:
        match = _BYDAY.fullmatch(word)
        if match is None:
            raise InputError(
                where, f"BYDAY={text}", "names no weekday", "Use MO, TU, WE, TH, FR, SA and SU, as in 1FR or -1SU."
            )
        found.append((int(match[1] or 0), DAYS.index(match[2])))
    return tuple(sorted(set(found)))


def _times(numbers: dict[str, tuple[int, ...]], times: t.Sequence[Ordinal], text: t.Any, where: str, freq: str) -> None:
    """Give the rule its times of day; each part that it leaves out would be that of some moment at which it began."""
    if freq in ("HOURLY", "MINUTELY"):
        numbers.setdefault("BYSECOND", (0,))
        if freq == "HOURLY":
            numbers.setdefault("BYMINUTE", (0,))
        return
    given = {"BYHOUR", "BYMINUTE"} & numbers.keys()
    if bool(given) == bool(times):
        raise InputError(
            where, text, "says no time of day, or two", 'Give `start: "02:00"`, or BYHOUR and BYMINUTE in the rule.'
        )
    if times:
        hours, minutes = (
            tuple(sorted({hour for hour, _minute in times})),
            tuple(sorted({minute for _hour, minute in times})),
        )
        if len(hours) * len(minutes) != len(set(times)):
            raise InputError(
                where, text, "has times that are no rule together", "Give times with the same minutes, or two entries."
            )
        numbers["BYHOUR"], numbers["BYMINUTE"] = hours, minutes
    numbers.setdefault("BYHOUR", (0,))
    numbers.setdefault("BYMINUTE", (0,))
    numbers.setdefault("BYSECOND", (0,))


def _complete(rule: Rule, text: t.Any) -> None:
    """Refuse what would be taken from the moment at which the rule began, and what never comes."""
    days = rule.byday or any(rule.by(name) for name in ("BYMONTHDAY", "BYYEARDAY"))
    if rule.freq in ("WEEKLY", "MONTHLY", "YEARLY") and not days:
        raise InputError(rule.where, text, "names no day", "Add BYDAY, or BYMONTHDAY.")
    if rule.freq == "YEARLY" and rule.by("BYMONTHDAY") and not rule.by("BYMONTH"):
        raise InputError(rule.where, text, "names no month", "Add BYMONTH.")
    if rule.freq not in ("MONTHLY", "YEARLY") and any(which for which, _day in rule.byday):
        raise InputError(
            rule.where, text, "counts weekdays without a month", "Use FREQ=MONTHLY, or BYDAY without a number."
        )
    if rule.freq in ("HOURLY", "MINUTELY") and (
        days or rule.by("BYMONTH") or rule.by("BYSETPOS") or rule.by("BYWEEKNO")
    ):
        raise InputError(
            rule.where, text, "names days and repeats within them", "Use FREQ=DAILY with BYHOUR and BYMINUTE."
        )
    if rule.freq in ("HOURLY", "MINUTELY") and rule.zone.key != "UTC":
        raise InputError(
            rule.where,
            text,
            f"repeats within the day, which the clocks of {rule.zone.key} do not keep when they change",
            "Give zone: UTC.",
        )
    if (rule.interval > 1 or rule.count) and rule.start is None and not _divides(rule):
        raise InputError(rule.where, text, "does not say from when it counts", "Add `from: 2026-01-02` beside it.")
    # From a fixed day, so that what is refused does not depend on when it is read.
    first = rule.start or datetime.datetime.combine(datetime.date(2024, 1, 1), MIDNIGHT)
    if rule.until is None and next(rule.clocks(first), None) is None:
        raise InputError(rule.where, text, "never comes", "Name a day that there is.")


def _divides(rule: Rule) -> bool:
    """Whether an interval falls on the same hours or minutes of each day, so that it needs no beginning."""
    return rule.count is None and {"HOURLY": 24, "MINUTELY": 60}.get(rule.freq, 1) % rule.interval == 0


def _joined(numbers: t.Iterable[int]) -> str:
    return ",".join(str(number) for number in numbers)
