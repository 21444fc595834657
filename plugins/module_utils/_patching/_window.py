# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Maintenance windows: whether one is open at a moment, and when the next begins. Pure: the moment is given.

A window is either weekly, `{days: [sun], start: "02:00", end: "04:00", zone: Europe/Madrid}` (without days: every day; an end that is not
after the start is on the next day), or once, `{begin: 2026-12-01T02:00:00+01:00, end: 2026-12-01T04:00:00+01:00}`.
"""

from __future__ import annotations

import datetime
import re
import typing as t
import zoneinfo

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WEEKLY = {"days", "start", "end", "zone"}
ONCE = {"begin", "end"}
# A weekly window begins at least once in so many days.
_AHEAD = 8
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


class Once(t.NamedTuple):
    """One stretch of time, in seconds since the epoch."""

    begin: float
    end: float

    def stretches(self, _moment: float) -> list[tuple[float, float]]:
        """Itself."""
        return [(self.begin, self.end)]


class Weekly(t.NamedTuple):
    """Every week on `days` (0 is Monday), from and to so many minutes after midnight by the clocks of `zone`."""

    days: tuple[int, ...]
    start: int
    end: int
    zone: zoneinfo.ZoneInfo

    def stretches(self, moment: float) -> list[tuple[float, float]]:
        """Those from yesterday on, in order; by the clock, so that one in which clocks change is an hour shorter or longer."""
        today = datetime.datetime.fromtimestamp(moment, self.zone).date()
        found = []
        for ahead in range(-1, _AHEAD):
            day = today + datetime.timedelta(days=ahead)
            if day.weekday() in self.days:
                last = day if self.end > self.start else day + datetime.timedelta(days=1)
                found.append((self._at(day, self.start), self._at(last, self.end)))
        # Where clocks go forward, a window inside the hour that is left out has no time at all.
        return [(begin, end) for begin, end in found if end > begin]

    def _at(self, day: datetime.date, minutes: int) -> float:
        clock = datetime.time(minutes // 60, minutes % 60)
        return datetime.datetime.combine(day, clock, self.zone).timestamp()


class State(t.NamedTuple):
    """Whether it is open, until when, and when the next begins; in seconds since the epoch, None where there is none."""

    open: bool
    until: float | None
    next: float | None


Window = t.Union[Once, Weekly]


def state(windows: t.Sequence[Window], moment: float) -> State:
    """Look at all windows at `moment`; of several that are open the one that ends last counts."""
    stretches = sorted(each for window in windows for each in window.stretches(moment))
    ends = [end for begin, end in stretches if begin <= moment < end]
    later = [begin for begin, _end in stretches if begin > moment]
    return State(bool(ends), max(ends) if ends else None, min(later) if later else None)


def read(entries: t.Sequence[t.Any], option: str) -> list[Window]:
    """Read a list of windows."""
    if not entries:
        raise InputError(
            option, entries, "names no window", "Give {days: [sun], start: '02:00', end: '04:00', zone: Europe/Madrid}."
        )
    return [_read(entry, f"{option}[{index}]") for index, entry in enumerate(entries)]


def _read(entry: t.Any, where: str) -> Window:
    known = ONCE if isinstance(entry, dict) and "begin" in entry else WEEKLY
    if not isinstance(entry, dict) or set(entry) - known or not {"end"} <= set(entry):
        raise InputError(where, entry, "is no window", "Give days, start, end and zone, or begin and end.")
    if known is ONCE:
        begin, end = (_moment(entry[name], f"{where}.{name}") for name in ("begin", "end"))
        if end <= begin:
            raise InputError(f"{where}.end", entry["end"], "is not after begin", "Let it end later.")
        return Once(begin, end)
    start, end = (_minutes(entry.get(name), f"{where}.{name}") for name in ("start", "end"))
    return Weekly(_days(entry.get("days"), f"{where}.days"), start, end, _zone(entry.get("zone"), f"{where}.zone"))


def _moment(text: t.Any, where: str) -> float:
    try:
        found = datetime.datetime.fromisoformat(re.sub(r"Z$", "+00:00", str(text)))
        if found.tzinfo is None:
            raise ValueError("it has no zone")
    except ValueError:
        raise InputError(where, str(text), "is no time with a zone", "Write it as 2026-12-01T02:00:00+01:00.") from None
    return found.timestamp()


def _minutes(text: t.Any, where: str) -> int:
    match = _CLOCK.fullmatch(str(text))
    if match is None:
        raise InputError(where, text, "is no time of day", 'Write it as "02:00", in quotes.')
    return int(match[1]) * 60 + int(match[2])


def _days(given: t.Any, where: str) -> tuple[int, ...]:
    if given is None:
        return tuple(range(len(DAYS)))
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not names:
        raise InputError(where, given, "names no day", f"Use some of {', '.join(DAYS)}.")
    for name in names:
        if str(name).lower()[:3] not in DAYS:
            raise InputError(where, name, "is no day", f"Use some of {', '.join(DAYS)}.")
    return tuple(DAYS.index(str(name).lower()[:3]) for name in names)


def _zone(name: t.Any, where: str) -> zoneinfo.ZoneInfo:
    try:
        if not isinstance(name, str) or not name:
            raise ValueError
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(
            where,
            name,
            "is no time zone that this host knows",
            "Name one, such as UTC or Europe/Madrid (package tzdata).",
        ) from None
