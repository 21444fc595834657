# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures, times and targets of a report as a person reads them."""

from __future__ import annotations

import datetime
import math
import re
import typing as t

NONE = "\N{EN DASH}"
LONGEST_MOMENT = 30
_SUFFIXES = {"_bytes": "bytes", "_seconds": "seconds", "_percent": "percent"}
_TARGET = re.compile(r"\s*([<>]=?)\s*([-+]?[0-9.]+(?:e[-+]?[0-9]+)?)\s*", re.ASCII | re.IGNORECASE)


def figure(metric: str, value: float) -> str:
    """Return `value` as a person reads it; the unit is the suffix of the metric's name, as in Prometheus."""
    return show(value, next((unit for suffix, unit in _SUFFIXES.items() if metric.endswith(suffix)), ""))


def show(value: float | None, unit: str = "") -> str:
    """Return `value` in its `unit` (percent, seconds, bytes, per_minute, per_day, or empty); a dash where there is none."""
    if value is None:
        return NONE
    if not math.isfinite(value):
        return str(value)
    if unit == "bytes":
        return _size(value)
    if unit == "seconds":
        return duration(value)
    if unit == "percent":
        # Two digits after the point: between 99.9 and 99.95 lies half an error budget.
        return f"{value:,.2f}".rstrip("0").rstrip(".") + " %"
    text = f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"
    return text + {"per_minute": "/min", "per_day": "/day"}.get(unit, "")


def target(text: str | None, unit: str = "") -> str:
    """Return a target, as `< 0.2`, with its value shown in `unit`: `< 200 ms`."""
    found = _TARGET.fullmatch(text or "")
    return f"{found[1]} {show(float(found[2]), unit)}" if found else text or NONE


def target_value(text: str | None) -> float | None:
    """Return the number of a target, None where it has none."""
    found = _TARGET.fullmatch(text or "")
    return float(found[2]) if found else None


def duration(seconds: float) -> str:
    """Return `seconds` in the unit that makes a small number of it."""
    if seconds == 0:
        return "0 s"
    if abs(seconds) < 1:
        return f"{seconds * 1000:.3g} ms"
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if abs(seconds) >= 2 * size:
            return f"{_short(seconds / size)} {unit}"
    return f"{_short(seconds)} s"


def money(amount: float | None) -> str:
    """Return an amount of money to its hundredth."""
    return NONE if amount is None else f"{amount:,.2f}"


def moment(text: t.Any) -> str:
    """Return an ISO time as date and time to the minute, UTC; the beginning of anything else."""
    value = str(text)
    if len(value) == 20 and value[10] == "T" and value.endswith("Z"):
        return f"{value[:10]} {value[11:16]}"
    return value if len(value) <= LONGEST_MOMENT else f"{value[:LONGEST_MOMENT]}…"


def time_of(text: t.Any) -> datetime.datetime | None:
    """Return an ISO time or date with a zone, UTC where it names none; None where it is none."""
    try:
        found = datetime.datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def _size(value: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{_short(value)} {unit}"
        value /= 1024
    return f"{_short(value)} TiB"


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
