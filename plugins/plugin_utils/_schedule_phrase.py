# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When something is, as people say it: "first Friday 15:00", "Sunday 02:00-04:00", "weekdays 09:00", "last day of the month 23:30"."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.plugin_utils._schedule_rule import DAYS

EXAMPLES = 'Write it as "daily 09:00", "weekdays 09:00", "Sunday 02:00-04:00", "first Friday 15:00" or "last day of the month 23:30".'
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december",
)  # fmt: skip
ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "last": -1}
# Words that say nothing by themselves.
_FILLERS = {"on", "at", "the", "of", "in", "a", "each", "and", "from"}
_CLOCK = r"(?:[01]?\d|2[0-4]):[0-5]\d"
_RANGE = re.compile(rf"({_CLOCK})\s*(?:-|\u2013|to|until)\s*({_CLOCK})$")
_TIMES = re.compile(rf"({_CLOCK})((?:\s*(?:,|and)\s*{_CLOCK})*)$")
_DAY = re.compile(r"(\d{1,2})(?:st|nd|rd|th)")

Clock = tuple[int, int]


class Phrase(t.NamedTuple):
    """What was said: a rule without its times, and the times; `end` where it was from one to another."""

    rule: str
    times: tuple[Clock, ...]
    end: Clock | None


def clock(text: t.Any, where: str) -> Clock:
    """Read a time of day; 24:00 is the end of the day."""
    match = re.fullmatch(r"(\d{1,2}):(\d{2})", str(text).strip())
    if match is None or int(match[2]) > 59 or int(match[1]) > 24 or (int(match[1]) == 24 and int(match[2])):
        raise InputError(where, text, "is no time of day", 'Write it as "02:00", in quotes.')
    return int(match[1]), int(match[2])


def read(text: t.Any, where: str) -> Phrase:
    """Read a phrase; raises InputError for one that is not understood whole, or could be meant in two ways."""
    if not isinstance(text, str) or not text.strip():
        raise InputError(where, text, "says no time", EXAMPLES)
    said = " ".join(text.lower().split())
    times: tuple[Clock, ...] = ()
    end = None
    if match := _RANGE.search(said):
        times, end = (clock(match[1], where),), clock(match[2], where)
    elif match := _TIMES.search(said):
        times = tuple(clock(each, where) for each in re.findall(_CLOCK, match[0]))
    if match:
        said = said[: match.start()]
    if any(hour == 24 for hour, _minute in times):
        raise InputError(where, text, "begins at 24:00", "Say 00:00 of the next day.")
    return Phrase(_Words(said, text, where).rule(), times, end)


class _Words:
    """The words of a phrase without its times, taken one kind after the other; what is left over was not understood."""

    def __init__(self, said: str, text: str, where: str) -> None:
        self.text, self.where = text, where
        said = re.sub(r"\bmonday\s*(?:to|-|\u2013)\s*friday\b|\bmon\s*(?:to|-|\u2013)\s*fri\b", "weekdays", said)
        # "first weekday": the first of a group of days, in contrast to the first Monday.
        self.grouped = False
        self.words = [word for word in re.split(r"[\s,]+", said) if word and word not in _FILLERS]

    def rule(self) -> str:
        """The rule without times."""
        if found := self._within_the_day():
            return found
        interval, unit = self._interval()
        self.words = [word for word in self.words if word != "every"]
        months = self._take(MONTHS)
        ordinals, days = self._ordinals(), self._weekdays()
        if ordinals and self.grouped and days != list(range(5)):
            raise self._unclear()
        of_month, dates = self._take_word("month") or self._take_word("monthly"), []
        for word in list(self.words):
            if match := _DAY.fullmatch(word):
                dates.append(int(match[1]))
                self.words.remove(word)
        if self._take_word("day") or self._take_word("days"):
            if not ordinals:
                raise self._unclear()
            dates, ordinals = [*dates, *ordinals], []
        quarter = unit == "quarter" or self._take_word("quarter")
        if (
            self.words
            or (dates and (days or ordinals))
            or (ordinals and not days)
            or not all(0 < abs(each) < 32 for each in dates)
        ):
            raise self._unclear()
        monthly = bool(of_month or dates or ordinals or quarter or unit == "month")
        if unit in ("day", "week") and (monthly or months):
            raise self._unclear()
        return self._written(
            interval, monthly, dates, ordinals, days, self._months(months, bool(quarter), dates, ordinals)
        )

    def _written(
        self, interval: int, monthly: bool, dates: list[int], ordinals: list[int], days: list[int], months: list[int]
    ) -> str:
        parts = [f"INTERVAL={interval}"] if interval > 1 else []
        parts += ["BYMONTH=" + ",".join(str(month) for month in months)] if months else []
        if dates:
            return ";".join(["FREQ=MONTHLY", *parts, "BYMONTHDAY=" + ",".join(str(each) for each in dates)])
        names = ",".join(DAYS[day] for day in days)
        if ordinals and self.grouped:
            return ";".join(
                ["FREQ=MONTHLY", *parts, f"BYDAY={names}", "BYSETPOS=" + ",".join(str(each) for each in ordinals)]
            )
        if ordinals:
            return ";".join(
                ["FREQ=MONTHLY", *parts, "BYDAY=" + ",".join(f"{each}{DAYS[day]}" for each in ordinals for day in days)]
            )
        if monthly:
            raise self._unclear()
        if len(days) == len(DAYS):
            return ";".join(["FREQ=DAILY", *parts])
        return ";".join(["FREQ=WEEKLY", *parts, f"BYDAY={names}"])

    def _within_the_day(self) -> str:
        match = re.fullmatch(
            r"(?:every )?(?:(\d{1,2}) )?(hour|minute)s?", " ".join(self.words).replace("hourly", "hour")
        )
        if match is None:
            return ""
        return f"FREQ={'HOURLY' if match[2] == 'hour' else 'MINUTELY'};INTERVAL={match[1] or 1}"

    def _interval(self) -> tuple[int, str]:
        """How many weeks or months lie between, and of which the phrase speaks."""
        said = " ".join(self.words)
        if re.match(r"every (?:second|third|fourth|fifth|2nd|3rd|4th|5th) ", said):
            raise InputError(
                self.where, self.text, "could be meant in two ways",
                'Say "every other Friday", or "second Friday of the month".',
            )  # fmt: skip
        adverbs = {"quarterly": "quarter", "weekly": "week", "daily": "day", "everyday": "day"}
        if self.words and self.words[0] in adverbs:
            unit = adverbs[self.words.pop(0)]
            return self._unit(1, unit)
        match = re.match(r"every (other |\d{1,2} )?(day|week|month|quarter)s?\b", said)
        if match:
            del self.words[: len(match[0].split())]
            return self._unit(self._number(match[1]), match[2])
        match = re.match(r"every (other )?", said)
        if match:
            del self.words[: len(match[0].split())]
            return self._number(match[1]), "week" if match[1] else ""
        return 1, ""

    def _unit(self, interval: int, unit: str) -> tuple[int, str]:
        if unit == "day":
            self.words += WEEKDAYS
        if unit == "quarter" and interval > 1:
            raise self._unclear()
        return interval, unit

    def _number(self, word: str | None) -> int:
        number = 2 if word and word.strip() == "other" else int(word or 1)
        if number < 1:
            raise self._unclear()
        return number

    def _ordinals(self) -> list[int]:
        """Which of the month. "1st" is one where a weekday follows; by itself it is a day of the month."""
        found = []
        named = any(self._day(word) is not None or word in ("weekday", "weekdays") for word in self.words)
        for word in list(self.words):
            match = _DAY.fullmatch(word)
            number = ORDINALS.get(word) or (int(match[1]) if match and named else None)
            if number is not None:
                found.append(number)
                self.words.remove(word)
        if any(abs(number) > 5 for number in found):
            raise self._unclear()
        return found

    def _weekdays(self) -> list[int]:
        found: set[int] = set()
        for word in list(self.words):
            group = {"weekdays": range(5), "weekday": range(5), "weekends": (5, 6), "weekend": (5, 6)}.get(word)
            day = self._day(word)
            self.grouped = self.grouped or group is not None
            if group is not None or day is not None:
                found |= set(group or ()) | ({day} if day is not None else set())
                self.words.remove(word)
        return sorted(found)

    @staticmethod
    def _day(word: str) -> int | None:
        word = word.removesuffix("s")
        for number, name in enumerate(WEEKDAYS):
            if word in (name, name[:3], name[:4], f"{name[:3]}s", f"{name[:4]}s"):
                return number
        return None

    def _months(self, months: list[int], quarter: bool, dates: list[int], ordinals: list[int]) -> list[int]:
        """Those that were named; a quarter's is its first, and its last for what is counted from the end."""
        if not quarter:
            return months
        counted = {each > 0 for each in [*dates, *ordinals]}
        if months or len(counted) != 1:
            raise self._unclear()
        return [1, 4, 7, 10] if counted == {True} else [3, 6, 9, 12]

    def _take(self, names: t.Sequence[str]) -> list[int]:
        found = []
        for word in list(self.words):
            for number, name in enumerate(names, 1):
                if word in (name, name[:3]):
                    found.append(number)
                    self.words.remove(word)
        return sorted(set(found))

    def _take_word(self, word: str) -> bool:
        if word in self.words:
            self.words.remove(word)
            return True
        return False

    def _unclear(self) -> InputError:
        return InputError(self.where, self.text, "is not understood", EXAMPLES)
