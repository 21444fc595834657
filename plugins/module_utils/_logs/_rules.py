# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules, error codes and measures as users write them, read and refused before anything is looked at (L1 to L3, K6)."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import pattern, threshold, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._logs import _measures, _required

FLAGS = re.ASCII
MAIN = {"count": "matches", "rate": "matches_per_minute", "ratio": "ratio_percent"}
Bounds = dict[str, list[threshold.Bound]]


class Pattern(t.NamedTuple):
    """What is looked for in a line, or with `field` in a field of a JSON line; `required` is the pre-filter for each format."""

    option: str
    expression: re.Pattern[str]
    field: str | None
    exclude: re.Pattern[str] | None
    required: _required.Required | None
    required_json: _required.Required | None


class Rule(t.NamedTuple):
    """One rule, or one code of an error-code table."""

    name: str
    pattern: Pattern
    sources: frozenset[str] | None
    per: str
    by: str | None
    within: float | None
    bounds: Bounds
    remedy: str
    meaning: str

    @property
    def main(self) -> str:
        """The metric that the bounds hold for."""
        if self.within is not None:
            return "burst_matches"
        return "top_matches" if self.by else MAIN[self.per]


class Measure(t.NamedTuple):
    """One measure; `bounds` by statistic."""

    name: str
    pattern: Pattern
    sources: frozenset[str] | None
    unit: str
    bounds: dict[str, Bounds]
    remedy: str


def read_rules(
    rules: t.Sequence[t.Mapping[str, t.Any]], codes: t.Sequence[t.Mapping[str, t.Any]], sources: t.Sequence[str]
) -> list[Rule]:
    """Rules and codes; names are unique among both."""
    found = [_rule(each, f"rules[{each['name']}]", sources) for each in rules]
    found += [_code(each, f"codes[{each['code']}]", sources) for each in codes]
    unique([each.name for each in found], "rules")
    return found


def _rule(given: t.Mapping[str, t.Any], option: str, sources: t.Sequence[str]) -> Rule:
    by, within = given["by"], given["within"]
    if (by or within) and given["per"] != "count":
        raise InputError(
            f"{option}.per", given["per"], "cannot be had by group or within a time", "Leave out per, or by and within."
        )
    looked_for = _pattern(given, option, [by] if by else [])
    return Rule(
        given["name"],
        looked_for,
        _named(given["sources"], f"{option}.sources", sources),
        given["per"],
        by,
        _positive(within, f"{option}.within") if within else None,
        threshold.parse_levels(given, option),
        given["remedy"] or "",
        "",
    )


def _code(given: t.Mapping[str, t.Any], option: str, sources: t.Sequence[str]) -> Rule:
    code = given["code"]
    if not code.strip():
        raise InputError(f"{option}.code", code, "is empty", "Name the code as it stands in the log.")
    left = r"\b" if re.match(r"\w", code, re.ASCII) else ""
    right = r"\b" if re.search(r"\w\Z", code, re.ASCII) else ""
    written = {"pattern": f"{left}{re.escape(code)}{right}", "field": None, "exclude": None}
    return Rule(
        code,
        _pattern(written, option, []),
        _named(given["sources"], f"{option}.sources", sources),
        "count",
        None,
        None,
        threshold.parse_levels(given, option),
        given["remedy"] or "",
        given["meaning"] or "",
    )


def read_measures(measures: t.Sequence[t.Mapping[str, t.Any]], sources: t.Sequence[str]) -> list[Measure]:
    """Measures; each needs a pattern with a group `value`, or a field that is the value."""
    found = []
    for given in measures:
        option = f"measures[{given['name']}]"
        unit = given["unit"] or ""
        if unit not in _measures.UNITS:
            known = ", ".join(name for name in _measures.UNITS if name)
            raise InputError(f"{option}.unit", unit, "is no unit", f"Use one of {known}, or none.")
        written = dict(given)
        if not written["pattern"] and written["field"]:
            written["pattern"] = r"^\s*(?P<value>[-+]?\d+(?:[.,]\d+)?(?:[eE][-+]?\d+)?)\s*$"
        found.append(
            Measure(
                given["name"],
                _pattern(written, option, ["value"]),
                _named(given["sources"], f"{option}.sources", sources),
                unit,
                _statistics(given, option),
                given["remedy"] or "",
            )
        )
    unique([each.name for each in found], "measures")
    return found


def _statistics(given: t.Mapping[str, t.Any], option: str) -> dict[str, Bounds]:
    bounds: dict[str, Bounds] = {}
    for level in threshold.LEVELS:
        for statistic, text in (given[level] or {}).items():
            if statistic not in _measures.STATISTICS:
                raise InputError(
                    f"{option}.{level}", statistic, "is no statistic", f"Use some of {', '.join(_measures.STATISTICS)}."
                )
            parsed = threshold.parse(text, f"{option}.{level}.{statistic}")
            bounds.setdefault(statistic, {})[level] = parsed
    return bounds


def _pattern(given: t.Mapping[str, t.Any], option: str, groups: t.Sequence[str]) -> Pattern:
    if not given["pattern"]:
        raise InputError(
            f"{option}.pattern", given["pattern"], "is missing", "Write a regular expression that finds the lines."
        )
    expression = pattern.compiled(given["pattern"], f"{option}.pattern", FLAGS, groups)
    exclude = given.get("exclude")
    return Pattern(
        f"{option}.pattern",
        expression,
        given["field"] or None,
        pattern.compiled(exclude, f"{option}.exclude", FLAGS) if exclude else None,
        _required.find(expression),
        _required.find(expression, plain_only=True),
    )


def _named(names: t.Sequence[str] | None, option: str, known: t.Sequence[str]) -> frozenset[str] | None:
    if not names:
        return None
    for name in names:
        if name not in known:
            raise InputError(option, name, "is no source", f"Use some of {', '.join(known)}.")
    return frozenset(names)


def _positive(text: object, option: str) -> float:
    seconds = units.duration(text, option)
    if seconds <= 0:
        raise InputError(option, text, "is no time", "Give a duration above 0, such as 5m.")
    return seconds


def unique(names: t.Sequence[str], option: str) -> None:
    """`InputError` when a name stands twice: outcomes of both would have one subject."""
    for name in names:
        if names.count(name) > 1:
            raise InputError(option, name, "is there twice", "Give each a name of its own.")
