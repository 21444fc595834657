# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decisions without side effects: which copies are proven anew, in which order, and what that costs.

Whatever was proven longest ago comes first, over all names; a copy that was never proven at the level comes before all,
and among those the newest, for it is the one that would be restored.
"""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _catalog, _shape
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size

# Bytes a second of a level that was never measured, low enough for an old disk.
RATES = {"checksum": 100e6, "archive": 50e6, "restored": 10e6}
# What starting programs costs, whatever the size.
LEAST_SECONDS = 0.5


class Cost(t.NamedTuple):
    """What one proof takes: its seconds, and the bytes that it reads or unpacks."""

    seconds: float
    bytes: int


class Candidate(t.NamedTuple):
    """A copy that can be proven; `attempted` is the time of its last verification at the level or better."""

    copy: _catalog.Copy
    attempted: float | None
    cost: Cost


class Budget(t.NamedTuple):
    """What one run may cost, None without a limit."""

    seconds: float | None = None
    bytes: int | None = None

    def refusal(self, cost: Cost) -> str | None:
        """Why `cost` does not fit; None when it does."""
        if self.seconds is not None and cost.seconds > self.seconds:
            return f"{show_duration(cost.seconds)} are expected, budget.seconds leaves {show_duration(max(0.0, self.seconds))}"
        if self.bytes is not None and cost.bytes > self.bytes:
            return f"{show_size(cost.bytes)} are needed, budget.bytes leaves {show_size(self.bytes)}"
        return None

    def less(self, cost: Cost) -> Budget:
        """What is left after `cost`."""
        return Budget(
            None if self.seconds is None else self.seconds - cost.seconds,
            None if self.bytes is None else self.bytes - cost.bytes,
        )


class Postponed(t.NamedTuple):
    """A copy that is not proven in this run; `never` says that it would not fit into an untouched budget either."""

    candidate: Candidate
    reason: str
    never: bool


def attempted(document: t.Mapping[str, t.Any], level: str, now: float) -> float | None:
    """When the copy was last verified at `level` or better, passed or not.

    A time in the future is worth nothing: the clock was set back, and until it has caught up nothing would be verified.
    """
    times = [
        moment
        for record in document["verifications"]
        if record["level"] in _catalog.LEVELS and _catalog.LEVELS.index(record["level"]) >= _catalog.LEVELS.index(level)
        if (moment := _shape.seconds(record["time"])) is not None and moment <= now
    ]
    return max(times, default=None)


def cost(
    document: t.Mapping[str, t.Any], level: str, siblings: t.Sequence[t.Mapping[str, t.Any]], interrupted: float = 0.0
) -> Cost:
    """What proving takes: as long as it last did, else as the newest of the `siblings` by size, else by a low rate.

    `interrupted` are the seconds after which the last attempt was given up: it needs twice that, for all that is known.
    """
    amount = _bytes(document, level)
    seconds = _measured(document, level)
    if seconds is None:
        known = [(each, found) for each in siblings if (found := _measured(each, level)) is not None]
        seconds = (
            known[0][1] * max(1.0, amount / max(1, _bytes(known[0][0], level)))
            if known
            else LEAST_SECONDS + amount / RATES[level]
        )
    return Cost(max(seconds, 2 * interrupted), amount)


def due(candidates: t.Sequence[Candidate], interval: float | None, now: float) -> list[Candidate]:
    """Those whose last verification is `interval` seconds old, in the order in which they are proven."""
    chosen = [
        each for each in candidates if each.attempted is None or interval is None or now - each.attempted >= interval
    ]
    return sorted(chosen, key=_turn)


def spend(
    ordered: t.Sequence[Candidate], budget: Budget, prove: t.Callable[[Candidate], Cost | None]
) -> list[Postponed]:
    """Call `prove` for each that fits into what is left of `budget`; it returns what it cost. Return the others.

    One that does not fit keeps no smaller one from its turn: the next run begins with it, when the budget is whole.
    """
    left = budget
    postponed = []
    for each in ordered:
        reason = left.refusal(each.cost)
        if reason is None:
            taken = prove(each)
            left = left if taken is None else left.less(taken)
        else:
            postponed.append(Postponed(each, reason, budget.refusal(each.cost) is not None))
    return postponed


def _turn(candidate: Candidate) -> tuple[float, float, str]:
    longest = float("-inf") if candidate.attempted is None else candidate.attempted
    return longest, -candidate.copy.created, candidate.copy.path


def _measured(document: t.Mapping[str, t.Any], level: str) -> float | None:
    for record in reversed(document["verifications"]):
        if record["ok"] and record["level"] == level and record.get("duration_seconds"):
            return float(record["duration_seconds"])
    return None


def room(document: t.Mapping[str, t.Any]) -> int:
    """Bytes that a restored copy takes: as many as its source did."""
    size: int = document["size_bytes"]
    source = document.get("source_bytes")
    return max(size, source) if isinstance(source, int) else size


def _bytes(document: t.Mapping[str, t.Any], level: str) -> int:
    return room(document) if level == "restored" else int(document["size_bytes"])
