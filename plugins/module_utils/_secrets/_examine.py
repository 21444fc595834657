# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Batches of staged pieces given to the engine, and what is left of its findings (K4)."""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import pattern
from ansible_collections.sre.runbooks.plugins.module_utils._secrets import _engine, _noise, _rules
from ansible_collections.sre.runbooks.plugins.module_utils._secrets._walk import matches

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
    from ansible_collections.sre.runbooks.plugins.module_utils._secrets._options import Scan
    from ansible_collections.sre.runbooks.plugins.module_utils._secrets._staging import Piece, Staging

# Of one batch; a file that takes an engine longer is told.
_BATCH_SECONDS = 180.0
# How often a failed batch is halved in one run to find the file that the engine fails at.
_HALVINGS = 40
_MOST_HITS = 500
_CONTEXT = 60


class Finding(t.NamedTuple):
    """Where a secret stands and of which kind it is; never its value. `noise` says that it is likely none."""

    path: str
    line: int
    kind: str
    digest: str
    noise: bool
    allowed: bool


class Examiner:
    """Lets one engine look at batches until a point in time (`deadline`, of time.monotonic).

    `problem` says why the engine cannot be used at all; from then on nothing is looked at.
    """

    def __init__(self, engine: _engine.Engine | None, problem: str, deadline: float, commands: Commands) -> None:
        self._engine = engine
        self.problem = problem
        self._deadline = deadline
        self._commands = commands
        self._halvings = _HALVINGS
        self.failed: dict[str, str] = {}

    @property
    def usable(self) -> bool:
        """Whether there is an engine, and time."""
        return self._engine is not None and not self.problem and time.monotonic() < self._deadline

    def own(self, scan: Scan, piece: Piece, text: str) -> t.Iterator[Finding]:
        """What the collection's own rules find in a piece."""
        for number, hit in enumerate(_rules.hits(text)):
            if number >= _MOST_HITS:
                self.failed[piece.file.path] = f"has more than {_MOST_HITS} findings in a row; the first ones are told"
                return
            if hit.kind not in scan.disabled:
                line = _line(text, hit.line)
                yield self._finding(scan, piece, hit.line, hit.kind, _engine.sha1(hit.value), hit.value, line)

    def look(self, scan: Scan, staging: Staging) -> t.Iterator[Finding]:
        """What the engine finds in the batch; files that it could not look at stand in `failed`."""
        if not staging.pieces:
            return
        pieces = {piece.name: piece for piece in staging.pieces}
        staging.write(_engine.PROOF, _engine.proof())
        held: tuple[str, list[str]] = ("", [])
        for each in sorted(self._examine(scan, staging, staging.pieces)):
            if each.name not in pieces:
                continue
            if each.name != held[0]:
                held = (each.name, _read(staging.path(each.name)))
            # A private key goes on in the lines below.
            below = 3 if each.kind in _noise.PRIVATE_KEYS else 1
            line = "\n".join(held[1][max(0, each.line - 1) : each.line - 1 + below])
            # Of a text of several lines in YAML detect-secrets tells the first.
            context = held[1][each.line - 1 : each.line + _CONTEXT] if line else []
            value = next((value for near in context if (value := _noise.value_of(near, each.digest)) is not None), None)
            yield self._finding(scan, pieces[each.name], each.line, each.kind, each.digest, value, line)

    def _finding(
        self, scan: Scan, piece: Piece, line: int, kind: str, digest: str, value: str | None, text: str
    ) -> Finding:
        noise = _noise.is_noise(kind, value, text, os.path.splitext(piece.name)[1])
        path = piece.file.path
        return Finding(path, piece.line(line), kind, digest, noise, _allowed(scan, path, kind, text))

    def _examine(self, scan: Scan, staging: Staging, pieces: t.Sequence[Piece]) -> list[_engine.Found]:
        """Ask the engine about `pieces`; where it fails, about each half of them."""
        left = self._deadline - time.monotonic()
        if self._engine is None or self.problem or left <= 0:
            self._give_up(pieces, self.problem or "the time limit was reached")
            return []
        try:
            seconds = min(left, _BATCH_SECONDS)
            return _engine.look(self._engine, staging.batch, scan.disabled, seconds, self._commands)
        except _engine.EngineFailed as error:
            if error.timed_out and time.monotonic() >= self._deadline:
                self._give_up(pieces, "the time limit was reached")
                return []
            if self._broken(scan, staging, pieces) or len(pieces) == 1 or self._halvings <= 0:
                self._give_up(pieces, self.problem or str(error))
                return []
        self._halvings -= 1
        middle = len(pieces) // 2
        found: list[_engine.Found] = []
        for half in (pieces[:middle], pieces[middle:]):
            with staging.only(half, pieces):
                found += self._examine(scan, staging, half)
        return found

    def _broken(self, scan: Scan, staging: Staging, pieces: t.Sequence[Piece]) -> bool:
        """Whether the engine fails without any file, too: then it is not the files' fault."""
        if self._engine is None:
            return True
        with staging.only((), pieces):
            try:
                _engine.look(self._engine, staging.batch, scan.disabled, _BATCH_SECONDS, self._commands)
                return False
            except _engine.EngineFailed as error:
                self.problem = f"{error}. Run {self._engine.program} by hand, or install it anew."
                return True

    def _give_up(self, pieces: t.Iterable[Piece], reason: str) -> None:
        for piece in pieces:
            self.failed[piece.file.path] = reason


def _allowed(scan: Scan, path: str, kind: str, line: str) -> bool:
    """Whether an entry of `allow` fits in all that it says."""
    return any(
        (each.path is None or matches(path, os.path.basename(path), each.path))
        and (each.kind is None or each.kind in (kind, _engine.PLUGINS.get(kind)))
        and (each.line is None or pattern.search(each.line, line, each.option) is not None)
        for each in scan.allow
    )


def _line(text: str, number: int) -> str:
    start = 0
    for _count in range(number - 1):
        start = text.find("\n", start) + 1
    end = text.find("\n", start)
    return text[start : end if end >= 0 else len(text)]


def _read(path: str) -> list[str]:
    with open(path, encoding="utf-8", errors="replace", newline="\n") as stream:
        return stream.read().split("\n")
