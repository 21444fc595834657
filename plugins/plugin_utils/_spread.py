# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a metric's values were, small enough to keep: a few as they are, many as a histogram that can be added to another.

The histogram's buckets grow by 2 %, so that a percentile is at most 1 % off, over whatever range and however many hosts.
Count, sum, lowest and highest are exact.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator

EXACT = 64
"""Up to so many values are kept as they are: the percentiles of a small fleet are no estimates."""

GROWTH = 1.02
_LOG = math.log(GROWTH)


class Spread:
    """Values of one metric. `values` as long as they are few, then `buckets`: how many fell into each."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.low = math.inf
        self.high = -math.inf
        self.values: list[float] = []
        self.buckets: dict[int, int] = {}

    def add(self, value: float) -> None:
        """Add one value, which is finite."""
        self.count += 1
        self.total += value
        self.low, self.high = min(self.low, value), max(self.high, value)
        if self.buckets:
            self._put(value, 1)
        else:
            self.values.append(value)
            if len(self.values) > EXACT:
                self._coarsen()

    def merge(self, other: Spread) -> None:
        """Add all values of `other`."""
        self.count += other.count
        self.total += other.total
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        if not self.buckets and not other.buckets and len(self.values) + len(other.values) <= EXACT:
            self.values += other.values
            return
        self._coarsen()
        for value in other.values:
            self._put(value, 1)
        for place, number in other.buckets.items():
            self.buckets[place] = self.buckets.get(place, 0) + number

    @property
    def mean(self) -> float:
        return self.total / self.count

    def quantile(self, share: float) -> float:
        """Return the value below or at which `share` (0 to 1) of all values lie (nearest rank)."""
        rank = max(1, math.ceil(share * self.count))
        if rank in (1, self.count):
            return self.low if rank == 1 else self.high
        for value, number in self._ordered():
            rank -= number
            if rank <= 0:
                return min(max(value, self.low), self.high)
        return self.high

    @property
    def positive(self) -> int:
        """How many values are greater than 0."""
        return sum(number for value, number in self._ordered() if value > 0)

    def _ordered(self) -> Iterable[tuple[float, int]]:
        if self.buckets:
            return ((_middle(place), self.buckets[place]) for place in sorted(self.buckets, key=_middle))
        return ((value, 1) for value in sorted(self.values))

    def _coarsen(self) -> None:
        for value in self.values:
            self._put(value, 1)
        self.values = []

    def _put(self, value: float, number: int) -> None:
        place = _place(value)
        self.buckets[place] = self.buckets.get(place, 0) + number

    def text(self) -> str:
        """Return it as JSON for the store."""
        if not self.buckets:
            return json.dumps(self.values, separators=(",", ":"))
        flat = [number for pair in sorted(self.buckets.items()) for number in pair]
        return json.dumps([[self.count, self.total, self.low, self.high], flat], separators=(",", ":"))


def read(text: str) -> Spread:
    """Return what `Spread.text` wrote."""
    found, result = json.loads(text), Spread()
    if found and isinstance(found[0], list):
        (result.count, result.total, result.low, result.high), flat = found
        result.buckets = dict(zip(flat[::2], flat[1::2], strict=True))
        return result
    for value in found:
        result.add(value)
    return result


# Zero has the place 0; a positive value an even place, its negative the odd one before it: one number each.
def _place(value: float) -> int:
    if value == 0:
        return 0
    power = math.ceil(math.log(abs(value)) / _LOG)
    place = 4 * power + 2
    return place if value > 0 else place + 1


def _middle(place: int) -> float:
    if place == 0:
        return 0.0
    power, rest = divmod(place - 2, 4)
    size: float = 2 * GROWTH**power / (GROWTH + 1)
    return size if rest == 0 else -size


def finite(metrics: object) -> Iterator[tuple[str, float]]:
    """Yield name and value of what is a number in `metrics`."""
    if isinstance(metrics, dict):
        for name, value in metrics.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
                yield str(name), float(value)
