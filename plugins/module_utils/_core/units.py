# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Durations, sizes and plain numbers as people write them, and back."""

from __future__ import annotations

import re

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError

DURATIONS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
SIZES = {
    "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_QUANTITY = re.compile(rf"({NUMBER})\s*([A-Za-z%]*)")


def _parse(text: object, units: dict[str, float], option: str, kind: str) -> float:
    match = _QUANTITY.fullmatch(str(text).strip())
    if match is None or (match[2] and match[2] not in units):
        raise InputError(option, text, f"is no {kind}", f"Write a number with one of the units {', '.join(units)}.")
    amount = float(match[1]) * units.get(match[2], 1)
    if amount in (float("inf"), float("-inf")):
        raise InputError(option, text, "is too large", "Write a number that can be reached.")
    return amount


def duration(text: object, option: str) -> float:
    """Seconds of a duration such as `90`, `250ms`, `5m` or `30d`."""
    seconds = _parse(text, DURATIONS, option, "duration")
    if seconds < 0:
        raise InputError(option, text, "is negative", "Give a duration of 0 or more.")
    return seconds


def size(text: object, option: str) -> int:
    """Bytes of a size such as `1024`, `10MB` or `1.5GiB`."""
    amount = _parse(text, dict(SIZES), option, "size")
    if amount < 0:
        raise InputError(option, text, "is negative", "Give a size of 0 or more.")
    return int(amount)


def quantity(text: object, option: str) -> float:
    """A number with any unit of this page, or `%`, which is allowed and ignored."""
    return _parse(text, {**DURATIONS, **SIZES, "%": 1.0}, option, "quantity")


def show_size(amount: float) -> str:
    """`148060123` as `141.2 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def show_duration(seconds: float) -> str:
    """`5400` as `1.5 h`; below a second in milliseconds."""
    if abs(seconds) < 1:
        return f"{seconds * 1000:.0f} ms"
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if abs(seconds) < limit:
            return f"{seconds / divisor:.1f} {unit}"
    return f"{seconds / 86400:.1f} d"


def show(metric: str, value: float) -> str:
    """A metric's value with the unit that its name's suffix stands for (Prometheus naming)."""
    if metric.endswith("_bytes"):
        return show_size(value)
    if metric.endswith("_seconds"):
        return show_duration(value)
    if metric.endswith("_percent"):
        return f"{value:.1f} %"
    return f"{value:g}"
