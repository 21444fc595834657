# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The time stamp of a line of a log, in seconds since the epoch (L1, L4).

Formats are found by themselves: ISO 8601 and its kin (Python logging, PostgreSQL, nginx' error log), syslog, Apache and
nginx access logs, Apache's error log, Redis, seconds, milli-, micro- and nanoseconds since the epoch. A stamp
without a zone is in the host's local time (or the `zone` given), one without a year is in the year that puts it last
before now.
"""

from __future__ import annotations

import functools
import re
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError

HEAD = 256
"""Characters of a line in which its stamp is looked for."""
_AHEAD = 86400.0
_MONTHS = {
    name: number
    for number, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1
    )
}
_MONTH = r"(?P<b>[A-Z][a-z]{2})"
_CLOCK = r"(?P<H>\d\d):(?P<M>\d\d):(?P<S>\d\d)(?:[.,](?P<f>\d{1,9}))?"
_ZONE = r"(?P<z>Z\b|UTC\b|GMT\b|[+-]\d\d:?\d\d\b)"
FORMATS = {
    "iso8601": rf"(?<!\d)(?P<Y>\d{{4}})[-/](?P<m>\d\d)[-/](?P<d>\d\d)[T ]{_CLOCK}(?: ?{_ZONE})?",
    "apache": rf"(?<!\d)(?P<d>\d\d)/{_MONTH}/(?P<Y>\d{{4}}):{_CLOCK}(?: {_ZONE})?",
    "asctime": rf"{_MONTH} +(?P<d>\d{{1,2}}) {_CLOCK} (?P<Y>\d{{4}})\b",
    "syslog": rf"^(?:<\d+>)?{_MONTH} +(?P<d>\d{{1,2}}) {_CLOCK}",
    "redis": rf"(?<!\d)(?P<d>\d{{1,2}}) {_MONTH} (?P<Y>\d{{4}}) {_CLOCK}",
    "epoch": r"^\W{0,2}(?P<s>[12]\d{9})(?:[.,](?P<f>\d{1,9}))?(?![\d.])",
    "epoch_ms": r"^\W{0,2}(?P<s>[12]\d{9})(?P<f>\d{3}|\d{6}|\d{9})(?![\d.])",
}
_DIRECTIVES = {
    "Y": r"(?P<Y>\d{4})", "y": r"(?P<y>\d\d)", "m": r"(?P<m>\d{1,2})", "d": r" ?(?P<d>\d{1,2})", "b": _MONTH,
    "H": r"(?P<H>\d{1,2})", "M": r"(?P<M>\d\d)", "S": r"(?P<S>\d\d)", "f": r"(?P<f>\d{1,9})",
    "z": r"(?P<z>Z|[+-]\d\d:?\d\d)", "Z": r"(?P<Z>[A-Za-z]+)", "s": r"(?P<s>\d{9,10})", "a": r"[A-Za-z]{3}", "%": "%",
}  # fmt: skip


class Reader:
    """Reads the stamps of one log. The format that the last line had is tried first.

    `explicit` is a name of `FORMATS` or a format in the manner of strptime, then no other is tried. `zone` holds for stamps
    without one: `local`, `UTC`, or an offset such as `+02:00`. `now` bounds stamps without a year.
    """

    def __init__(self, now: float, explicit: str | None = None, zone: str = "local", option: str = "timestamp") -> None:
        self._now = now
        self._zone = _zone(zone, f"{option} zone") if zone != "local" else None
        names = [explicit] if explicit in FORMATS else list(FORMATS)
        patterns = {name: FORMATS[name] for name in names}
        if explicit is not None and explicit not in FORMATS:
            patterns = {"given": _from_format(explicit, option)}
        self._formats = [(name, re.compile(pattern, re.ASCII)) for name, pattern in patterns.items()]
        self.format = ""
        _hour.cache_clear()  # the host's zone may be another one than the last reader had

    def read(self, line: str | bytes) -> float | None:
        """The time of `line`, or None when it has no stamp (in its first `HEAD` characters)."""
        head = (line[:HEAD].decode("latin-1") if isinstance(line, bytes) else line[:HEAD]).partition("\n")[0]
        for index, (name, expression) in enumerate(self._formats):
            match = expression.search(head)
            if match is None:
                continue
            when = self._when(match)
            if when is None:
                continue
            if index:
                self._formats.insert(0, self._formats.pop(index))
            self.format = name
            return when
        return None

    def value(self, found: object) -> float | None:
        """The time that a field of a JSON line gives: a number of seconds to nanoseconds, or a text."""
        if isinstance(found, (int, float)) and not isinstance(found, bool):
            found = f"{found:.6f}".rstrip("0").rstrip(".") if isinstance(found, float) else str(found)
        return self.read(found) if isinstance(found, str) else None

    def _when(self, match: re.Match[str]) -> float | None:
        parts = match.groupdict()
        fraction = float(f"0.{parts['f']}") if parts.get("f") else 0.0
        if parts.get("s"):
            return float(parts["s"]) + fraction
        when = self._calendar(parts)
        return None if when is None else when + fraction

    def _calendar(self, parts: t.Mapping[str, str | None]) -> float | None:
        month = int(parts["m"] or 0) if parts.get("m") else _MONTHS.get((parts.get("b") or "").lower(), 0)
        day, hour = int(parts.get("d") or 1), int(parts.get("H") or 0)
        minute, second = int(parts.get("M") or 0), int(parts.get("S") or 0)
        if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 25 and minute < 60 and second < 62):
            return None
        zone = self._zone
        if parts.get("z"):
            zone = _offset(str(parts["z"]))
        elif (parts.get("Z") or "").upper() in ("UTC", "GMT"):
            zone = 0.0
        year = parts.get("Y") or (f"20{parts['y']}" if parts.get("y") else None)
        if year is not None:
            return _seconds(int(year), month, day, hour, minute, second, zone)
        this_year = time.gmtime(self._now + _AHEAD).tm_year
        when = _seconds(this_year, month, day, hour, minute, second, zone)
        if when > self._now + _AHEAD:
            when = _seconds(this_year - 1, month, day, hour, minute, second, zone)
        return when


def _seconds(year: int, month: int, day: int, hour: int, minute: int, second: int, zone: float | None) -> float:
    """Seconds since the epoch of a date of the Gregorian calendar; `zone` is the offset east of UTC, None local time."""
    if zone is None:
        try:
            return _hour(year, month, day, hour) + minute * 60 + second
        except (OverflowError, ValueError):
            zone = 0.0
    # Days since 1970-03-01 and the year that begins in March: the leap day is then the year's last (H. Hinnant,
    # days_from_civil).
    march_year, march_month = (year, month - 3) if month > 2 else (year - 1, month + 9)
    days = 365 * march_year + march_year // 4 - march_year // 100 + march_year // 400
    days += (153 * march_month + 2) // 5 + day - 1 - 719468
    return days * 86400.0 + hour * 3600 + minute * 60 + second - zone


@functools.lru_cache(maxsize=64)
def _hour(year: int, month: int, day: int, hour: int) -> float:
    """When an hour of local time begins; kept, for asking the C library costs more than all the rest of a stamp."""
    return time.mktime((year, month, day, hour, 0, 0, 0, 0, -1))


def _offset(text: str) -> float:
    if text in ("Z", "UTC", "GMT"):
        return 0.0
    sign = -1 if text[0] == "-" else 1
    digits = text[1:].replace(":", "")
    return sign * (int(digits[:2]) * 3600.0 + int(digits[2:4]) * 60)


def _zone(text: str, option: str) -> float:
    if re.fullmatch(r"Z|UTC|GMT|[+-]\d\d:?\d\d", text) is None:
        raise InputError(option, text, "is no time zone", "Write local, UTC or an offset such as +02:00.")
    return _offset(text)


def _from_format(text: str, option: str) -> str:
    """A strptime-like format as a regular expression; each directive may stand in it once."""
    parts: list[str] = []
    seen: set[str] = set()
    position = 0
    while position < len(text):
        letter = text[position]
        position += 1
        if letter != "%":
            parts.append(re.escape(letter))
            continue
        directive = text[position : position + 1]
        position += 1
        if directive not in _DIRECTIVES or directive in seen:
            raise InputError(
                option, text, f"has %{directive}, which is unknown or there twice",
                f"Use each of {' '.join('%' + name for name in _DIRECTIVES)} once, or one of {', '.join(FORMATS)}.",
            )  # fmt: skip
        if directive != "%":
            seen.add(directive)
        parts.append(_DIRECTIVES[directive])
    if not ("s" in seen or ({"d", "H"} <= seen and seen & {"m", "b"})):
        raise InputError(
            option, text, "gives no time", "It needs %s, or a day, a month and an hour: %Y-%m-%d %H:%M:%S."
        )
    return "".join(parts)
