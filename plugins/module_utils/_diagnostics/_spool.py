# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the parts of a bundle wait until all are there: a file without a name, or a little memory.

All parts share one size. When it is used up, the largest part loses its oldest lines, so that one huge log takes nothing from the others.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._redact import Keys

# Blocks are filled up to `FILL`; what is longer is cut.
SLOT = 1 << 17
FILL = SLOT - (SLOT >> 2)


class Part:
    """One file of the bundle. `size` and `dropped` are in bytes."""

    def __init__(self, name: str, collector: str) -> None:
        self.name = name
        self.collector = collector
        self.slots: list[tuple[int, int]] = []
        self.buffer = bytearray()
        self.keys = Keys()
        self.size = 0
        self.dropped = 0
        self.truncated = False
        self.problem = ""
        self.note = ""
        self.seconds = 0.0
        self.sha256 = ""


class Spool:
    """The blocks of all parts. `limit` is in bytes; `room` tells how many more bytes the disk may be given (None: memory is used)."""

    def __init__(self, descriptor: int | None, limit: int, room: t.Callable[[], int] | None = None) -> None:
        self.limit = limit
        self.used = 0
        self.parts: list[Part] = []
        self._descriptor = descriptor
        self._room = room
        self._memory: dict[int, bytes] = {}
        self._free: list[int] = []
        self._next = 0

    def add(self, part: Part, data: bytes) -> None:
        """Append whole lines to a part."""
        part.buffer += data
        while len(part.buffer) >= FILL:
            cut = part.buffer.rfind(b"\n", 0, FILL) + 1 or FILL
            self._store(part, bytes(part.buffer[:cut]))
            del part.buffer[:cut]

    def end(self, part: Part) -> None:
        """No more comes for this part."""
        if part.buffer:
            self._store(part, bytes(part.buffer))
            part.buffer = bytearray()

    def read(self, part: Part) -> t.Iterator[bytes]:
        """The blocks of a part, the oldest first."""
        for slot, length in part.slots:
            if self._descriptor is None:
                yield self._memory[slot]
            else:
                yield os.pread(self._descriptor, length, slot * SLOT)

    def rewrite(self, part: Part, change: t.Callable[[bytes], bytes]) -> None:
        """Give every block of a part through `change`, which makes them hardly longer: slots have room for a third more."""
        for index, (slot, length) in enumerate(part.slots):
            before = self._memory[slot] if self._descriptor is None else os.pread(self._descriptor, length, slot * SLOT)
            block = change(before)
            if len(block) > SLOT:
                part.truncated = True
                block = block[: block.rfind(b"\n", 0, SLOT) + 1]
            if block is not before:
                if self._descriptor is None:
                    self._memory[slot] = block
                else:
                    os.pwrite(self._descriptor, block, slot * SLOT)
                part.slots[index] = (slot, len(block))

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _store(self, part: Part, block: bytes) -> None:
        if not self._make_room(part, len(block)):
            part.dropped += len(block)
            part.truncated = True
            return
        slot = self._free.pop() if self._free else self._next
        if slot == self._next:
            self._next += 1
        if self._descriptor is None:
            self._memory[slot] = block
        else:
            os.pwrite(self._descriptor, block, slot * SLOT)
        part.slots.append((slot, len(block)))
        part.size += len(block)
        self.used += len(block)

    def _make_room(self, part: Part, length: int) -> bool:
        """Take from the largest part until `length` bytes more fit. The bundle itself needs room on the same disk as well."""
        if self._room is not None and not self._free:
            left = self._room()
            if left < self.used + 2 * length:
                self.limit = min(self.limit, self.used)
        while self.used + length > self.limit:
            largest = max(self.parts, key=_size, default=part)
            if not largest.slots:
                return False
            self._drop(largest)
        return True

    def _drop(self, part: Part) -> None:
        slot, length = part.slots.pop(0)
        self._memory.pop(slot, None)
        self._free.append(slot)
        part.size -= length
        part.dropped += length
        part.truncated = True
        self.used -= length


def _size(part: Part) -> int:
    return part.size
