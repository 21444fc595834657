# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When there should be more or fewer instances. Everything here is pure.

A rule is a bound of one metric. One rule of `up` that holds is enough; of `down` all have to, at the same time. What is not known
holds for neither, and breaks the time for which a bound has been passed.
"""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import threshold
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show, show_duration

UP, DOWN = "up", "down"
# The rules of a target that names none of its own, for those of these metrics that it measures.
DEFAULTS: dict[str, dict[str, str]] = {
    UP: {
        "cpu_percent": "> 80 for 5m",
        "memory_percent": "> 85 for 5m",
        "queue_depth": "> 10",
        "response_seconds": "> 5s",
    },
    DOWN: {"cpu_percent": "< 30 for 15m", "memory_percent": "< 50 for 15m", "queue_depth": "== 0 for 10m"},
}

Rules = t.Mapping[str, threshold.Bound]


class Bounds(t.NamedTuple):
    """How many instances there may be, how many more or fewer at a time, and seconds of rest before each direction."""

    least: int
    most: int
    step: int
    rest: t.Mapping[str, float]


class Memory(t.NamedTuple):
    """What earlier runs left: since when each bound has been passed, when was looked last, when something was changed last."""

    held: dict[str, float]
    seen: float | None
    acted: float | None


class Advice(t.NamedTuple):
    """How many instances are wanted, why, whether that is for want of knowledge, and whether a bound waits for its time."""

    wanted: int
    why: str
    known: bool = True
    pending: bool = False
    # The rules would go further than the limits allow.
    limited: bool = False


def refuse_overlap(up: Rules, down: Rules, where: str) -> None:
    """Raise InputError where one value would pass a rule of both directions: instances would come and go for ever."""
    for metric in sorted(up.keys() & down.keys()):
        one, other = up[metric], down[metric]
        limits = [one.limit, other.limit]
        points = [*limits, sum(limits) / 2, *[limit + way for limit in limits for way in (-1.0, 1.0)]]
        if one.limit == other.limit or any(one.passed(point) and other.passed(point) for point in points):
            raise InputError(
                f"{where}.down.{metric}", other.text, f"leaves no room to the rule of up, {one.text!r}",
                "Keep the bounds apart, such as > 80 and < 30.",
            )  # fmt: skip


class Figures(t.NamedTuple):
    """What was seen of each metric: several where several things were looked at, None where it could not be told.

    What is shown by something in a bad way is in doubt: an error page is quick and tells of no work. It speaks for more
    instances and never for fewer.
    """

    seen: t.Mapping[str, t.Sequence[float] | None]
    doubtful: t.Collection[str] = ()


def advise(
    figures: Figures,
    rules: t.Mapping[str, Rules],
    instances: int,
    bounds: Bounds,
    memory: Memory,
    now: float,
    gap: float,
) -> Advice:
    """Say how many instances are wanted; `memory.held` is brought up to date.

    When nobody has looked for longer than `gap` seconds, nothing is known of the time between: every bound begins anew.
    """
    if memory.seen is None or not 0 <= now - memory.seen <= gap:
        memory.held.clear()
    reasons: dict[str, list[str]] = {UP: [], DOWN: []}
    waiting: dict[str, list[str]] = {UP: [], DOWN: []}
    for way in (UP, DOWN):
        for metric, bound in rules[way].items():
            values = None if way == DOWN and metric in figures.doubtful else figures.seen.get(metric)
            _judge(way, metric, bound, values, memory.held, now, reasons[way], waiting[way])
    unknown = sorted(
        metric for metric in {*rules[UP], *rules[DOWN]} if metric in figures.doubtful or not figures.seen.get(metric)
    )
    if instances < bounds.least:
        return Advice(bounds.least, f"at least {bounds.least} have to run")
    if reasons[UP]:
        return _more(instances, bounds, memory, now, " or ".join(reasons[UP]))
    if unknown:
        return Advice(
            instances, f"{', '.join(unknown)} cannot be told, and silence is no reason to stop anything", known=False
        )
    if instances > bounds.most:
        return Advice(max(bounds.most, instances - bounds.step), f"at most {bounds.most} may run")
    if rules[DOWN] and len(reasons[DOWN]) == len(rules[DOWN]):
        return _fewer(instances, bounds, memory, now, " and ".join(reasons[DOWN]))
    # What waits for fewer is told only where all of it is on its way there.
    down = waiting[DOWN] if len(waiting[DOWN]) + len(reasons[DOWN]) == len(rules[DOWN]) else []
    texts = waiting[UP] or down
    return Advice(instances, "; ".join(texts) if texts else "no rule holds", pending=bool(texts))


def _judge(
    way: str, metric: str, bound: threshold.Bound, values: t.Sequence[float] | None, held: dict[str, float], now: float,
    reasons: list[str], waiting: list[str],
) -> None:  # fmt: skip
    """Judge one rule by the value that speaks most for more instances: upwards any may pass the bound, downwards all have to."""
    key = f"{way}/{metric}"
    if not values:
        for name in [name for name in held if name.startswith(f"{key}/")]:
            del held[name]
        return
    value = next((value for value in values if bound.passed(value) == (way == UP)), values[0])
    verdict = threshold.judge(value, {"critical": [bound]}, key, held, now)
    text = f"{metric} is {show(metric, value)}, bound {bound.text}"
    if verdict.status != "ok":
        reasons.append(text)
    elif verdict.pending:
        waiting.append(text)


def _more(instances: int, bounds: Bounds, memory: Memory, now: float, why: str) -> Advice:
    if instances >= bounds.most:
        if instances > bounds.most:
            return Advice(instances, f"{why}, and more than {bounds.most} run already", limited=True)
        return Advice(instances, f"{why}, but at most {bounds.most} may run", limited=True)
    rest = _rest(UP, bounds, memory, now)
    if rest:
        return Advice(instances, f"{why}; {rest}", pending=True)
    return Advice(min(bounds.most, instances + bounds.step), why)


def _fewer(instances: int, bounds: Bounds, memory: Memory, now: float, why: str) -> Advice:
    if instances <= bounds.least:
        return Advice(instances, f"{why}, and at least {bounds.least} have to run")
    rest = _rest(DOWN, bounds, memory, now)
    if rest:
        return Advice(instances, f"{why}; {rest}", pending=True)
    return Advice(max(bounds.least, instances - bounds.step), why)


def _rest(way: str, bounds: Bounds, memory: Memory, now: float) -> str:
    """A clock that was set back shortens no rest: it begins anew."""
    if memory.acted is None:
        return ""
    left = bounds.rest[way] - max(0.0, now - memory.acted)
    return f"rests for {show_duration(left)} more after the last change" if left > 0 else ""
