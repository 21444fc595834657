# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Maintenance windows and schedules of an inventory (C5, C8): read with care, and when they are.

All moments are seconds since the epoch. Controller only; python-dateutil finds the occurrences of rules.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.plugin_utils import _schedule_calendar, _schedule_phrase
from ansible_collections.sre.runbooks.plugins.plugin_utils._schedule_rule import (
    DAYS,
    Rule,
    change,
    exists,
    moment,
    parse,
    zone_of,
)

WINDOW = {"name", "for", "zone", "at", "rule", "days", "start", "end", "from", "begin"}
SCHEDULE = {
    "name", "playbook", "at", "rule", "start", "zone", "from", "hosts", "tags", "skip_tags", "extra_vars", "enabled", "description",
}  # fmt: skip
# A name becomes part of the names of units and of files.
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,63}")
_PLAYBOOK = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+){0,2}|[A-Za-z0-9_./-]+\.ya?ml")
# How far is looked, step by step, for the next window.
_HORIZONS = tuple(days * 86400 for days in (8, 40, 400, 9 * 366))
_DAY = 86400.0


class State(t.NamedTuple):
    """Whether a window is open, until when, and when the next begins; seconds since the epoch, None where there is none."""

    open: bool
    until: float | None
    next: float | None


@dataclasses.dataclass(frozen=True)
class Window:
    """A window that comes again by a rule (`rule` and its minutes), or once (`once`)."""

    name: str
    playbooks: frozenset[str]
    rule: Rule | None = None
    minutes: int = 0
    end: tuple[int, int] = (0, 0)
    once: tuple[float, float] | None = None

    def stretches(self, since: float, until: float) -> list[tuple[float, float]]:
        """Those that are open at some moment from `since` to `until`: while the clocks show a time in the window."""
        if self.once is not None:
            return [self.once] if self.once[1] > since and self.once[0] < until else []
        found: list[tuple[float, float]] = []
        if self.rule is None:
            return found
        first = datetime.datetime.fromtimestamp(since, self.rule.zone).replace(tzinfo=None) - datetime.timedelta(days=2)
        for clock in self.rule.clocks(first):
            begin = self._edge(clock)
            if begin >= until:
                break
            day = clock.date() + datetime.timedelta(days=self.minutes // 1440)
            ends = self._edge(datetime.datetime.combine(day, datetime.time(*self.end)))
            if ends > max(begin, since):
                found.append((begin, ends))
        return found

    def _edge(self, clock: datetime.datetime) -> float:
        """The moment of a time by the clock; where the clocks go forward over it, that at which they do."""
        zone = t.cast("Rule", self.rule).zone
        return moment(clock, zone) if exists(clock, zone) else change(clock, zone)


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When a playbook is run, on which hosts, and with what."""

    name: str
    playbook: str
    rule: Rule
    hosts: str = "all"
    tags: tuple[str, ...] = ()
    skip_tags: tuple[str, ...] = ()
    extra_vars: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    enabled: bool = True
    description: str = ""

    @property
    def zone(self) -> str:
        """The name of its zone."""
        return self.rule.zone.key

    def upcoming(self, after: float, count: int = 1) -> list[float]:
        """The next `count` moments after this one; fewer where it ends."""
        return list(itertools.islice(self.rule.moments(after), count))

    def rrule(self, anchor: float) -> str:
        """The form that AWX accepts, beginning with the first occurrence after `anchor`; raises InputError where there is none."""
        text = _schedule_calendar.awx_rule(self.rule)
        clock = datetime.datetime.fromtimestamp(anchor, self.rule.zone).replace(tzinfo=None)
        for first in self.rule.clocks(clock):
            if exists(first, self.rule.zone):
                return f"DTSTART;TZID={self.zone}:{first:%Y%m%dT%H%M%S} RRULE:{text}"
        raise InputError(self.rule.where, self.rule.text(), "does not come any more", "Remove it, or let it end later.")

    def on_calendar(self, now: float) -> list[str]:
        """What a systemd timer has as OnCalendar; raises InputError where it cannot say it."""
        return _schedule_calendar.on_calendar(self.rule, now)

    def skipped(self, now: float) -> list[float]:
        """When it runs in place of times that the clocks go forward over, in this year and some more: AWX leaves those out."""
        return _schedule_calendar.skipped(self.rule, now)


def read_windows(entries: t.Any, option: str, playbook: str = "") -> list[Window]:
    """Read a list of windows; with `playbook` those alone that hold for it. Raises InputError."""
    found = [_window(entry, f"{option}[{index}]") for index, entry in enumerate(_list(entries, option))]
    return [each for each in found if not playbook or not each.playbooks or playbook in each.playbooks]


def read_schedules(entries: t.Any, option: str) -> list[Schedule]:
    """Read a list of schedules, each with a name of its own. Raises InputError."""
    found: list[Schedule] = []
    for index, entry in enumerate(_list(entries, option)):
        found.append(_schedule(entry, f"{option}[{index}]"))
        if found[-1].name in {each.name for each in found[:-1]}:
            raise InputError(
                f"{option}[{index}].name",
                found[-1].name,
                "is there more than once",
                "Give each schedule a name of its own.",
            )
    return found


def stretches(windows: t.Iterable[Window], since: float, until: float) -> list[tuple[float, float]]:
    """When one of the windows is open, from `since` to `until`; those that meet are one."""
    joined: list[tuple[float, float]] = []
    for begin, end in sorted(each for window in windows for each in window.stretches(since, until)):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


def state(windows: t.Sequence[Window], now: float) -> State:
    """Whether a window is open at this moment."""
    until, later = None, None
    for horizon in _HORIZONS:
        found = stretches(windows, now, now + horizon)
        ends = [end for begin, end in found if begin <= now < end]
        until = ends[0] if ends else None
        later = next((begin for begin, _end in found if begin > now), None)
        # What is open at the edge of what was looked at may go on beyond it.
        if later is not None and (until is None or until < now + horizon - _DAY):
            break
    return State(until is not None, until, later)


def _list(entries: t.Any, option: str) -> list[t.Any]:
    if entries is None:
        return []
    if not isinstance(entries, (list, tuple)):
        raise InputError(option, entries, "is no list", "Give a list of dictionaries.")
    return list(entries)


def _window(entry: t.Any, where: str) -> Window:
    entry = _dict(entry, where, WINDOW, "a window")
    name, playbooks = str(entry.get("name", "")), frozenset(_words(entry.get("for"), f"{where}.for"))
    if "begin" in entry:
        if not {"begin", "end"} <= set(entry) <= {"begin", "end", "name", "for", "zone"}:
            raise InputError(where, entry, "is no window", "Give begin and end, or at and zone.")
        begin, end = (read_moment(entry[each], f"{where}.{each}") for each in ("begin", "end"))
        if end <= begin:
            raise InputError(f"{where}.end", entry["end"], "is not after begin", "Let it end later.")
        return Window(name, playbooks, once=(begin, end))
    said, times, last = _said(entry, where)
    if len(times) > 1:
        raise InputError(
            where, entry, "has several times and no end", 'Say from when to when, as in "Sunday 02:00-04:00".'
        )
    if times and last is None:
        raise InputError(where, entry, "has no end", 'Say from when to when, as in "Sunday 02:00-04:00".')
    first = times[0] if times else (0, 0)
    ends = last or (24, 0)
    minutes = (ends[0] - first[0]) * 60 + ends[1] - first[1]
    minutes += 1440 if minutes <= 0 else 0
    rule = parse(said, where, zone_of(entry.get("zone"), f"{where}.zone"), _date(entry, where), [first])
    if rule.freq in ("HOURLY", "MINUTELY"):
        raise InputError(where, entry, "comes again within a day", "Give a window for each time of day.")
    over = first[0] * 60 + first[1] + minutes
    return Window(name, playbooks, rule, over, (ends[0] % 24, ends[1]))


def _schedule(entry: t.Any, where: str) -> Schedule:
    entry = _dict(entry, where, SCHEDULE, "a schedule")
    name = entry.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(f"{where}.name", name, "is no name", "Use letters, digits, - and _.")
    playbook = entry.get("playbook", name)
    if not isinstance(playbook, str) or not _PLAYBOOK.fullmatch(playbook):
        raise InputError(
            f"{where}.playbook",
            playbook,
            "is no playbook",
            "Name one of this collection (weekly), of another (a.b.c), or a file.",
        )
    said, times, end = _said(entry, where)
    if end is not None:
        raise InputError(
            where, entry, "has an end, and is no window", 'Say when it begins alone, as in "Friday 15:00".'
        )
    rule = parse(said, where, zone_of(entry.get("zone"), f"{where}.zone"), _date(entry, where), times)
    variables, enabled = entry.get("extra_vars") or {}, entry.get("enabled", True)
    if not isinstance(variables, dict):
        raise InputError(f"{where}.extra_vars", variables, "is no dictionary", "Give names and values.")
    if not isinstance(enabled, bool):
        raise InputError(f"{where}.enabled", enabled, "is neither true nor false", "Use true or false.")
    hosts = entry.get("hosts", "all")
    if not isinstance(hosts, str) or not hosts.strip() or hosts.startswith("-") or "\n" in hosts:
        raise InputError(
            f"{where}.hosts", hosts, "is no pattern of hosts", "Name hosts or groups as for --limit, such as feature11."
        )
    tags = tuple(tuple(_words(entry.get(each), f"{where}.{each}")) for each in ("tags", "skip_tags"))
    return Schedule(
        name, playbook, rule, hosts, tags[0], tags[1], variables, enabled, str(entry.get("description", ""))
    )


def _said(entry: dict[str, t.Any], where: str) -> tuple[str, list[tuple[int, int]], tuple[int, int] | None]:
    """The rule, the times of day at which it begins, and where it ends."""
    kinds = [each for each in ("at", "rule", "days") if each in entry]
    if len(kinds) > 1 or (not kinds and "start" not in entry):
        raise InputError(where, entry, "does not say when, or in two ways", "Give `at`, or `rule`.")
    times = [_schedule_phrase.clock(entry["start"], f"{where}.start")] if "start" in entry else []
    end = _schedule_phrase.clock(entry["end"], f"{where}.end") if "end" in entry else None
    if times and times[0][0] == 24:
        raise InputError(f"{where}.start", entry["start"], "is the end of a day", "Say 00:00 of the next day.")
    if "rule" in entry:
        return entry["rule"], times, end
    if "at" not in entry:
        return _weekdays(entry.get("days"), f"{where}.days"), times, end
    phrase = _schedule_phrase.read(entry["at"], f"{where}.at")
    if (phrase.times and times) or (phrase.end and end):
        raise InputError(where, entry, "says two times of day", "Leave out start and end, or those of `at`.")
    return phrase.rule, list(phrase.times) or times, phrase.end or end


def _weekdays(given: t.Any, where: str) -> str:
    if given is None:
        return "FREQ=DAILY"
    names = _words(given, where)
    if not names:
        raise InputError(where, given, "names no day", "Use some of mon, tue, wed, thu, fri, sat, sun.")
    for name in names:
        if name[:2].upper() not in DAYS:
            raise InputError(where, name, "is no day", "Use some of mon, tue, wed, thu, fri, sat, sun.")
    return f"FREQ=WEEKLY;BYDAY={','.join(name[:2].upper() for name in names)}"


def _words(given: t.Any, where: str) -> list[str]:
    words = [given] if isinstance(given, str) else given or []
    if not isinstance(words, list) or not all(
        isinstance(word, str) and word and not word.startswith("-") for word in words
    ):
        raise InputError(where, given, "is no list of names", "Give a list, such as [weekly, patching].")
    return words


def _dict(entry: t.Any, where: str, known: set[str], what: str) -> dict[str, t.Any]:
    if not isinstance(entry, dict):
        raise InputError(where, entry, f"is no dictionary that describes {what}", "Give {at: …, zone: …}.")
    for name in sorted(set(map(str, entry)) - known):
        raise InputError(
            f"{where}.{name}", entry.get(name), f"is no option of {what}", f"Use {', '.join(sorted(known))}."
        )
    return entry


def _date(entry: dict[str, t.Any], where: str) -> datetime.date | None:
    given = entry.get("from")
    if given is None or (isinstance(given, datetime.date) and not isinstance(given, datetime.datetime)):
        return given
    try:
        return datetime.date.fromisoformat(str(given))
    except ValueError:
        raise InputError(f"{where}.from", given, "is no date", "Write it as 2026-01-02.") from None


def read_moment(text: t.Any, where: str) -> float:
    """Read a time with its zone as seconds since the epoch. Raises InputError."""
    try:
        found = datetime.datetime.fromisoformat(re.sub(r"Z$", "+00:00", str(text)))
        if found.tzinfo is None:
            raise ValueError("it has no zone")
    except ValueError:
        raise InputError(where, str(text), "is no time with a zone", "Write it as 2026-12-01T02:00:00+01:00.") from None
    return found.timestamp()
