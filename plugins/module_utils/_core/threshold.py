# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one grammar of bounds: `> 85 for 5m`, `< 0.5`, a list means any of them.

`for` follows Prometheus alerting rules: the bound counts once every observation since that long ago was past it. What
must be remembered for that is a time per bound, kept by the caller (`held`).
"""

from __future__ import annotations

import operator
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError

LEVELS = ("warning", "critical")
REMEDY = 'Write a comparison and a number, such as "> 85 for 5m", "< 0.5" or ">= 10 MiB".'
_OPERATORS: dict[str, t.Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
_BOUND = re.compile(r"(>=|<=|==|!=|>|<)\s*(\S+(?:\s+(?!for\b)\S+)?)(?:\s+for\s+(\S+))?")


class Bound(t.NamedTuple):
    """One comparison: past it when `value <operator> limit` held for `seconds`."""

    text: str
    comparison: str
    limit: float
    seconds: float

    def passed(self, value: float) -> bool:
        """Whether `value` is past the bound at this moment."""
        return _OPERATORS[self.comparison](value, self.limit)


class Verdict(t.NamedTuple):
    """`status`, the bounds' texts that made it so, and whether a bound waits for its `for`."""

    status: str
    reasons: list[str]
    pending: bool


def parse(text: object, option: str) -> list[Bound]:
    """Read a bound or a list of bounds; `InputError` names `option` for anything else."""
    if text is None:
        return []
    if isinstance(text, (list, tuple)):
        return [bound for each in text for bound in parse(each, option)]
    match = _BOUND.fullmatch(" ".join(str(text).split()))
    if not isinstance(text, str) or match is None:
        raise InputError(option, text, "is no threshold", REMEDY)
    try:
        seconds = units.duration(match[3], option) if match[3] else 0.0
        return [Bound(match[0], match[1], units.quantity(match[2], option), seconds)]
    except InputError as error:
        raise InputError(option, text, "is no threshold", f"{REMEDY} ({error})") from error


def parse_levels(spec: t.Mapping[str, t.Any], option: str) -> dict[str, list[Bound]]:
    """The bounds of `warning` and `critical` in `spec`."""
    return {level: parse(spec.get(level), f"{option}.{level}") for level in LEVELS}


def judge(
    value: float, bounds: t.Mapping[str, t.Sequence[Bound]], key: str, held: dict[str, float], now: float
) -> Verdict:
    """Compare `value` with the bounds of each level.

    `held` maps `<key>/<level>/<bound>` to the time since which every observation was past that bound; it is brought up
    to date here. A time in the future (the clock was set back) starts anew.
    """
    status, pending = "ok", False
    reasons: list[str] = []
    for level in LEVELS:
        for bound in bounds.get(level, ()):
            name = f"{key}/{level}/{bound.text}"
            if not bound.passed(value):
                held.pop(name, None)
                continue
            if bound.seconds:
                held[name] = min(held.get(name, now), now)
                if now - held[name] < bound.seconds:
                    pending = True
                    continue
            if status != level:
                status, reasons = level, []
            reasons.append(bound.text)
    return Verdict(status, reasons, pending)
