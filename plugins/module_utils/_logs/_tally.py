# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is counted of the lines that a rule matches (L1, K6)."""

from __future__ import annotations

import collections

MOST_GROUPS = 4096
TOP = 10
_BUCKETS = 30
_SAMPLE = 2000


class Burst:
    """The most events that fell into any stretch of `seconds`, to a thirtieth of it (a second at least).

    A stamp that lies more than `seconds` before the newest starts anew: the clock was set back.
    """

    __slots__ = ("_counts", "_inside", "_newest", "_seconds", "_step", "most")

    def __init__(self, seconds: float) -> None:
        self.most = 0
        self._seconds = seconds
        self._step = max(1.0, seconds / _BUCKETS)
        self._counts: dict[int, int] = {}
        self._inside = 0
        self._newest: float | None = None

    def add(self, when: float) -> None:
        """Count an event at `when` (seconds since the epoch)."""
        if self._newest is not None and when < self._newest - self._seconds:
            self._counts, self._inside, self._newest = {}, 0, None
        bucket = int(when // self._step)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self._inside += 1
        if self._newest is None or when > self._newest:
            self._newest = when
            oldest = (when - self._seconds) // self._step
            for key in [key for key in self._counts if key <= oldest]:
                self._inside -= self._counts.pop(key)
        self.most = max(self.most, self._inside)


class Tally:
    """The lines that one rule matched: how many, the first and the last time, samples, counts by group, bursts.

    At most `MOST_GROUPS` groups are held; when there are more, the rarer half is given up (`lossy`), so that a figure of a
    frequent one is at most that little too low.
    """

    def __init__(self, samples: int, within: float | None = None) -> None:
        self.count = 0
        self.times: list[float] = []
        self.samples: collections.deque[tuple[str, str]] = collections.deque(maxlen=samples)
        self.groups: dict[str, int] = {}
        self.by_source: dict[str, int] = {}
        self.unstamped = 0
        self.lossy = False
        self.problem = ""
        self._within = within
        self._bursts: dict[str, Burst] = {}

    def add(self, group: str | None, when: float | None) -> None:
        """Count one line; `group` is the value that the rule counts by, `when` its time, both where the rule asks for them."""
        self.count += 1
        if group is not None:
            self.groups[group] = self.groups.get(group, 0) + 1
            if len(self.groups) > MOST_GROUPS:
                self._forget()
        if self._within is not None:
            if when is None:
                self.unstamped += 1
                return
            key = group or ""
            if key not in self._bursts:
                self._bursts[key] = Burst(self._within)
            self._bursts[key].add(when)

    def sample(self, source: str, text: str) -> None:
        """Keep a line; the newest stay."""
        self.samples.append((source, text[:_SAMPLE]))

    def seen(self, when: float | None) -> None:
        """Note the time of a first or last line."""
        if when is not None:
            self.times.append(when)
            self.times[:] = [min(self.times), max(self.times)]

    def top(self) -> list[tuple[str, int]]:
        """The most frequent groups."""
        return sorted(self.groups.items(), key=lambda each: (-each[1], each[0]))[:TOP]

    def burst(self) -> tuple[str, int]:
        """The group with the largest burst, and how many that were."""
        worst = max(self._bursts, key=lambda key: self._bursts[key].most, default="")
        return worst, self._bursts[worst].most if self._bursts else 0

    def _forget(self) -> None:
        self.lossy = True
        kept = sorted(self.groups.items(), key=lambda each: -each[1])[: MOST_GROUPS // 2]
        self.groups = dict(kept)
        self._bursts = {key: each for key, each in self._bursts.items() if key in self.groups or each.most > 1}
        if len(self._bursts) > MOST_GROUPS:
            busiest = sorted(self._bursts.items(), key=lambda each: -each[1].most)[: MOST_GROUPS // 2]
            self._bursts = dict(busiest)
