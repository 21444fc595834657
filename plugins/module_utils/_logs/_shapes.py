# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The shapes of lines: what is left when numbers, identifiers and quoted texts are taken out (new line shapes).

Only lines that a rule matched are looked at. A host remembers the shapes that it has seen, `MOST` for a source at most;
of a source that has more, nothing is reported any more, for its lines have no shape.
"""

from __future__ import annotations

import hashlib
import re
import typing as t

MOST = 2000
SHOWN = 10
_LENGTH = 300
_LOOKED_AT = 20000
_LONGEST = 1000
_VARIABLE = re.compile(
    r"\"[^\"]*\"|'[^']*'"
    r"|\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"
    r"|\b(?:0x)?(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{6,}\b"
    r"|\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b"
    r"|\d+"
)
_ROUGH = b"0123456789abcdefABCDEF"


def shape(text: str) -> str:
    """The shape of a line."""
    return " ".join(_VARIABLE.sub("#", text[: 4 * _LENGTH]).split())[:_LENGTH]


class Shapes:
    """The new shapes of one source. `known` maps the mark of a shape to the time (seconds) it was first seen."""

    def __init__(self, known: t.Mapping[str, float] | None, now: float) -> None:
        self.first_time = known is None
        self.known = dict(known or {})
        self.new = 0
        self.examples: list[str] = []
        self._now = now
        self._rough: set[bytes] = set()

    @property
    def full(self) -> bool:
        """Whether the source has had more shapes than are remembered."""
        return len(self.known) >= MOST

    def look(self, block: bytes, lines: t.Sequence[str], numbers: t.Collection[int]) -> None:
        """Look at some `lines` of `block`, by their numbers. Lines that differ in hexadecimal digits only are one."""
        if len(self._rough) >= _LOOKED_AT:
            return
        if len(numbers) * 4 > len(lines):  # all at once: mostly nothing is new
            rough = block.translate(None, _ROUGH).split(b"\n")
            if self._rough.issuperset(rough):
                return
            chosen = [(number, rough[number]) for number in sorted(numbers)]
        else:
            chosen = [
                (number, lines[number].encode("utf-8", "replace").translate(None, _ROUGH)) for number in sorted(numbers)
            ]
        for number, mark in chosen:
            if mark not in self._rough and len(mark) <= _LONGEST:
                self._rough.add(mark)
                self._note(lines[number])

    def _note(self, text: str) -> None:
        mark = hashlib.sha256(shape(text).encode("utf-8", "replace")).hexdigest()[:16]
        if mark in self.known or self.full:
            return
        self.known[mark] = self._now
        if not self.first_time:
            self.new += 1
            if len(self.examples) < SHOWN:
                self.examples.append(text)
