# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a cap on the sum of sizes cuts: the newest files that fit below it stay, what is older goes."""

from __future__ import annotations

from array import array

_BUCKETS = 4096


class Cap:
    """A cut in time: files last modified at `mtime_ns` stay while they fit into `room` bytes, older ones go."""

    def __init__(self, mtime_ns: int, room: int) -> None:
        self._mtime_ns = mtime_ns
        self._room = room

    def passed(self, mtime_ns: int, size: int) -> bool:
        """Whether a file lies past the cut; to be asked once for each file, for those of one time share the room."""
        if mtime_ns != self._mtime_ns:
            return mtime_ns < self._mtime_ns
        self._room -= size
        return self._room < 0


class Sizes:
    """Times of modification and sizes of any number of files, 16 bytes each."""

    def __init__(self) -> None:
        self._mtimes_ns = array("q")
        self._sizes = array("q")

    def add(self, mtime_ns: int, size: int) -> None:
        """Count a file."""
        self._mtimes_ns.append(mtime_ns)
        self._sizes.append(size)

    def cap(self, limit: int) -> Cap | None:
        """Where to cut so that what stays is at most `limit` bytes; None when all of it may stay.

        A histogram over time is refined where it passes the limit, for sorting would take several times the memory.
        """
        if sum(self._sizes) <= limit:
            return None
        low, high, room = min(self._mtimes_ns), max(self._mtimes_ns) + 1, limit
        while high - low > 1:
            width = -(-(high - low) // _BUCKETS)
            buckets = [0] * _BUCKETS
            for mtime_ns, size in zip(self._mtimes_ns, self._sizes):
                if low <= mtime_ns < high:
                    buckets[(mtime_ns - low) // width] += size
            number = _BUCKETS - 1
            while buckets[number] <= room:
                room -= buckets[number]
                number -= 1
            low, high = low + number * width, min(high, low + (number + 1) * width)
        return Cap(low, room)
