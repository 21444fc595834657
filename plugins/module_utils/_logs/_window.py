# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the lines of the last hours begin in a file: by bisection on the time stamps (B5).

The stamps may be disordered: a clock set back, zones mixed, lines without any. The start found is the first line at or after
the time asked for before which no probe finds a younger one; probes lie at doubling distances back to the file's start.
"""

from __future__ import annotations

import os
import typing as t

When = t.Callable[[bytes], t.Optional[float]]
_STEP = 1 << 16
_REACH = 1 << 24


def first_offset(descriptor: int, size: int, since: float, when: When) -> int | None:
    """The offset of the first line at or after `since`; `size` when there is none, None when no line has a stamp."""
    first = _next(descriptor, 0, size, when)
    if first is None:
        return None
    if first[1] >= since:
        return 0
    start = _bisect(descriptor, first[0], size, since, when)
    while True:
        earlier = _earlier(descriptor, start, since, when)
        if earlier is None:
            return start
        start = _bisect(descriptor, 0, earlier, since, when)


def _bisect(descriptor: int, low: int, high: int, since: float, when: When) -> int:
    limit = high
    while high - low > _STEP:
        middle = (low + high) // 2
        found = _next(descriptor, middle, high, when)
        if found is None or found[1] >= since:
            high = middle
        else:
            low = found[0]
    found = _next(descriptor, low, limit, lambda line: _at(when(line), since), aligned=True, reach=limit - low)
    return limit if found is None else found[0]


def _at(when: float | None, since: float) -> float | None:
    return when if when is not None and when >= since else None


def _earlier(descriptor: int, start: int, since: float, when: When) -> int | None:
    """The place of a line well before `start` that is in the time asked for."""
    distance = _STEP
    while distance < start:
        found = _next(descriptor, start - distance, start, when, reach=_STEP)
        if found is not None and found[1] >= since:
            return found[0] + 1
        distance *= 2
    return None


def _next(
    descriptor: int, position: int, limit: int, when: When, aligned: bool = False, reach: int = _REACH
) -> tuple[int, float] | None:
    """Offset and time of the first line with a stamp that begins after `position`, or at it (`aligned`, or the file's start)."""
    rest = b""
    begins = position
    end = min(limit, position + reach)
    inside = not (aligned or position == 0)
    while position < end:
        chunk = os.pread(descriptor, min(_STEP, end - position), position)
        if not chunk:
            return None
        position += len(chunk)
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        for line in lines:
            found = None if inside else when(line)
            if found is not None:
                return begins, found
            inside = False
            begins += len(line) + 1
        if len(rest) > _STEP and not inside:  # a line without end: its stamp is in what we have
            found = when(rest)
            if found is not None:
                return begins, found
            inside = True
        if inside:
            begins += len(rest)
            rest = b""
    return None


def last_line_end(descriptor: int, start: int, size: int) -> int:
    """The end of the last whole line between `start` and `size`; `start` when there is none."""
    position = size
    while position > start:
        begin = max(start, position - _STEP)
        chunk = os.pread(descriptor, position - begin, begin)
        found = chunk.rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        position = begin
    return start


def younger(blocks: t.Iterable[bytes], since: float, when: When) -> t.Iterator[bytes]:
    """`blocks` of lines from the first line at or after `since` on; all of them when no line has a stamp."""
    kept: list[bytes] = []
    stamped = False
    source = iter(blocks)
    for block in source:
        last = _last(block, when)
        stamped = stamped or last is not None
        if last is None and not stamped:
            if sum(map(len, kept)) > _REACH:
                break
            kept.append(block)
            continue
        kept = []
        if last is not None and last >= since:
            position = 0
            for line in block.split(b"\n"):
                if _at(when(line), since) is not None:
                    break
                position += len(line) + 1
            yield block[position:]
            yield from source
            return
    if not stamped:
        yield from kept
        yield from source


def _last(block: bytes, when: When) -> float | None:
    """The time of the youngest of the last twenty lines."""
    times = [when(line) for line in block.rsplit(b"\n", 21)[1:]]
    return max((each for each in times if each is not None), default=None)
