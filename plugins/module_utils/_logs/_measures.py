# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures out of lines: count, mean, percentiles, in memory that does not grow (L2)."""

from __future__ import annotations

import math
import typing as t

EXACT = 20000
GAMMA = 1.01
"""Beyond `EXACT` values they are counted in buckets each 1 % wider than the one before: a percentile is then at most 0.5 % off
(DDSketch, Masson et al. 2019, with relative accuracy (GAMMA-1)/(GAMMA+1))."""
STATISTICS = ("count", "mean", "p50", "p95", "p99", "max")
UNITS = {
    "": ("", 1.0), "s": ("_seconds", 1.0), "ms": ("_seconds", 1e-3), "us": ("_seconds", 1e-6), "m": ("_seconds", 60.0),
    "B": ("_bytes", 1.0), "kB": ("_bytes", 1e3), "KiB": ("_bytes", 1024.0), "MB": ("_bytes", 1e6),
    "MiB": ("_bytes", 1024.0**2), "GiB": ("_bytes", 1024.0**3), "%": ("_percent", 1.0),
}  # fmt: skip
_LOG = math.log(GAMMA)
_SMALLEST = 1e-12


class Sketch:
    """The values of one measure."""

    def __init__(self) -> None:
        self.count = 0
        self.unreadable = 0
        self.total = 0.0
        self.max = -math.inf
        self._values: list[float] = []
        self._buckets: dict[int, int] | None = None

    @property
    def exact(self) -> bool:
        """Whether percentiles are those of the values themselves."""
        return self._buckets is None

    def add_text(self, text: str, factor: float) -> None:
        """Add the number in `text`; what is none is counted as unreadable."""
        try:
            value = float(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)
        except ValueError:
            value = math.nan
        if math.isfinite(value):
            self.add(value * factor)
        else:
            self.unreadable += 1

    def add(self, value: float) -> None:
        """Add a value."""
        self.count += 1
        self.total += value
        self.max = max(self.max, value)
        if self._buckets is not None:
            key = _bucket(value)
            self._buckets[key] = self._buckets.get(key, 0) + 1
            return
        self._values.append(value)
        if len(self._values) > EXACT:
            buckets: dict[int, int] = {}
            for each in self._values:
                key = _bucket(each)
                buckets[key] = buckets.get(key, 0) + 1
            self._buckets, self._values = buckets, []

    def percentile(self, share: float) -> float:
        """The smallest value that `share` of all (0 to 1) do not pass (nearest rank)."""
        rank = max(1, math.ceil(share * self.count))
        if self._buckets is None:
            return sorted(self._values)[rank - 1]
        seen = 0
        for key in sorted(self._buckets):
            seen += self._buckets[key]
            if seen >= rank:
                return min(_value(key), self.max)
        return self.max

    def statistics(self) -> dict[str, float]:
        """All of `STATISTICS`; the count alone when there is no value."""
        if not self.count:
            return {"count": 0}
        figures = {"count": float(self.count), "mean": self.total / self.count, "max": self.max}
        figures.update({f"p{share}": self.percentile(share / 100) for share in (50, 95, 99)})
        return {name: figures[name] for name in STATISTICS}


def _bucket(value: float) -> int:
    """The bucket of a value; those of negative values are negative, and that of zero is 0."""
    if abs(value) < _SMALLEST:
        return 0
    key = math.ceil(math.log(abs(value) / _SMALLEST) / _LOG) + 1
    return key if value > 0 else -key


def _value(key: int) -> float:
    if key == 0:
        return 0.0
    middle = _SMALLEST * 2 * GAMMA ** (abs(key) - 1) / (GAMMA + 1)
    return middle if key > 0 else -middle


def metric(statistic: str, unit: str) -> str:
    """The metric's name: `p95_seconds`."""
    return statistic if statistic == "count" else f"{statistic}{UNITS[unit][0]}"


def metrics(figures: t.Mapping[str, float], unit: str) -> dict[str, float]:
    """`figures` under their metrics' names."""
    return {metric(name, unit): round(value, 9) for name, value in figures.items()}
