# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to be scaled, by which rules, read and checked before anything is looked at."""

from __future__ import annotations

import re
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.sre.runbooks.plugins.module_utils._core import threshold, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._health import _check
from ansible_collections.sre.runbooks.plugins.module_utils._health import _registry as _families
from ansible_collections.sre.runbooks.plugins.module_utils._scaling import _registry, _rules

if t.TYPE_CHECKING:
    from types import ModuleType

SPEC: dict[str, t.Any] = {
    "targets": {"type": "list", "elements": "dict", "required": True},
    "act": {"type": "bool", "default": False},
    "timeout": {"type": "str", "default": "15m"},
}
EACH: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "kind": {"type": "str", "required": True},
    "minimum": {"type": "int", "default": 1},
    "maximum": {"type": "int", "required": True},
    "step": {"type": "int", "default": 1},
    "measures": {"type": "list", "elements": "dict", "required": True},
    "up": {"type": "dict"},
    "down": {"type": "dict"},
    "cooldown_up": {"type": "str", "default": "3m"},
    "cooldown_down": {"type": "str", "default": "15m"},
    "gap": {"type": "str", "default": "15m"},
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]*")


class Target(t.NamedTuple):
    """One thing of which a number of instances run.

    `measures` are checks, and `sources` says of each metric of a rule which of them, by number, shows it. `gap` is in seconds.
    """

    name: str
    kind: ModuleType
    options: dict[str, t.Any]
    bounds: _rules.Bounds
    rules: dict[str, _rules.Rules]
    measures: list[_check.Check]
    sources: dict[str, tuple[int, str]]
    gap: float

    @property
    def subject(self) -> str:
        """What its outcome is about."""
        return f"{self.options['kind']}:{self.name}"


class Settings(t.NamedTuple):
    """The targets in their order, whether to act, seconds for all of it."""

    targets: list[Target]
    act: bool
    timeout: float


def read(params: t.Mapping[str, t.Any]) -> tuple[Settings, set[str]]:
    """Read all options; return them and the secrets that stand in them."""
    secrets: set[str] = set()
    targets: list[Target] = []
    for index, entry in enumerate(params["targets"]):
        target = _target(entry, f"targets[{index}] ({entry.get('name', 'no name')})", secrets)
        if any(target.name == other.name for other in targets):
            raise InputError(
                f"targets[{index}].name", target.name, "is used twice", "Give each target a name of its own."
            )
        targets.append(target)
    return Settings(targets, params["act"], _time(params["timeout"], "timeout")), secrets


def _target(entry: t.Mapping[str, t.Any], where: str, secrets: set[str]) -> Target:
    kind = entry.get("kind")
    if kind not in _registry.NAMES:
        raise InputError(f"{where}.kind", kind, "is no kind of target", f"Use one of {', '.join(_registry.NAMES)}.")
    family = _registry.load(kind)
    result = ArgumentSpecValidator({**EACH, **family.OPTIONS}).validate(dict(entry))
    if result.error_messages:
        raise RunbookError(f"{where}: {'; '.join(result.error_messages)}")
    secrets |= set(result._no_log_values)
    options = result.validated_parameters
    if not _NAME.fullmatch(options["name"]):
        raise InputError(f"{where}.name", options["name"], "is no name", "Use letters, digits, spaces, dots, dashes.")
    family.check(options, where)
    offered = [_offered(measure) for measure in options["measures"]]
    rules = {way: _read_rules(options, way, offered, where) for way in (_rules.UP, _rules.DOWN)}
    _rules.refuse_overlap(rules[_rules.UP], rules[_rules.DOWN], where)
    sources = {metric: _source(metric, offered, where) for way in rules.values() for metric in way}
    measures = _measures(options["measures"], rules, sources, where, secrets)
    return Target(
        options["name"], family, options, _bounds(options, where), rules, measures, sources, _time(options["gap"], f"{where}.gap"),
    )  # fmt: skip


def _bounds(options: t.Mapping[str, t.Any], where: str) -> _rules.Bounds:
    least, most, step = options["minimum"], options["maximum"], options["step"]
    if least < 0:
        raise InputError(f"{where}.minimum", least, "is negative", "Give 0 or more.")
    if most < max(1, least):
        raise InputError(f"{where}.maximum", most, f"is less than {max(1, least)}", "Give as many as minimum, or more.")
    if step < 1:
        raise InputError(f"{where}.step", step, "would change nothing", "Give 1 or more.")
    rest = {
        way: units.duration(options[f"cooldown_{way}"], f"{where}.cooldown_{way}") for way in (_rules.UP, _rules.DOWN)
    }
    return _rules.Bounds(least, most, step, rest)


class Offer(t.NamedTuple):
    """A measure's name, and the metrics that its type and its options say it has; None when any may come."""

    name: str
    metrics: list[str] | None


def _offered(measure: t.Mapping[str, t.Any]) -> Offer:
    """The names that a rule may use. What is wrong with the measure itself is told when it is read as a check."""
    name, kind = str(measure.get("name")), measure.get("type")
    if kind not in _families.NAMES:
        return Offer(name, [])
    family = _families.load(kind)
    if not hasattr(family, "names"):
        return Offer(name, [*family.METRICS, *(measure.get("values") or ())])
    try:
        known = family.names(dict(measure))
    except (KeyError, TypeError, AttributeError):
        known = None
    return Offer(name, None if known is None else [*known])


def _read_rules(options: t.Mapping[str, t.Any], way: str, offered: t.Sequence[Offer], where: str) -> _rules.Rules:
    """The rules of one direction; the defaults for those metrics that are measured, where the user gives none."""
    texts = options[way]
    if texts is None:
        known = {metric for offer in offered for metric in offer.metrics or ()}
        texts = {metric: text for metric, text in _rules.DEFAULTS[way].items() if metric in known}
    if not texts:
        raise InputError(
            f"{where}.{way}", texts, "is no rule, so that it would never come to that",
            f"Measure one of {', '.join(_rules.DEFAULTS[way])}, or write a rule, such as queue_depth: '> 10'.",
        )  # fmt: skip
    rules: dict[str, threshold.Bound] = {}
    for metric, text in texts.items():
        if not isinstance(text, str):
            raise InputError(f"{where}.{way}.{metric}", text, "is no rule", threshold.REMEDY)
        (rules[metric],) = threshold.parse(text, f"{where}.{way}.{metric}")
    return rules


def _source(metric: str, offered: t.Sequence[Offer], where: str) -> tuple[int, str]:
    """Which measure shows the metric of a rule, `<metric>` or `<measure>.<metric>`, and what it is called there."""
    found = []
    for number, offer in enumerate(offered):
        for name in (metric, metric[len(offer.name) + 1 :] if metric.startswith(f"{offer.name}.") else ""):
            if name and (
                name in offer.metrics if offer.metrics is not None else re.fullmatch(_check.METRIC_NAME, name)
            ):
                found.append((number, name))
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(f"{offered[number].name}.{name}" for number, name in found)
        raise InputError(f"{where}.up and down", metric, "is shown by several measures", f"Write one of {several}.")
    known = sorted({name for offer in offered for name in offer.metrics or ()})
    raise InputError(
        f"{where}.up and down",
        metric,
        "is shown by none of the measures",
        f"Use one of {', '.join(known)}, or measure it.",
    )


def _measures(
    entries: t.Sequence[t.Mapping[str, t.Any]], rules: t.Mapping[str, _rules.Rules], sources: t.Mapping[str, tuple[int, str]], where: str,
    secrets: set[str],
) -> list[_check.Check]:  # fmt: skip
    """The measures as checks. Bounds of their own have nothing to say here; those of the rules are put in their place."""
    texts = {metric: bound.text for way in rules.values() for metric, bound in way.items()}
    made = []
    for number, entry in enumerate(entries):
        mine = {name: texts[metric] for metric, (source, name) in sources.items() if source == number}
        if not mine:
            raise InputError(
                f"{where}.measures", entry.get("name"), "is used by no rule", "Leave it out, or write a rule for it."
            )
        plain = {key: value for key, value in entry.items() if key not in ("warning", "critical")}
        made.append({**plain, "metrics": {name: {"critical": text} for name, text in mine.items()}})
    try:
        checks, hidden = _check.read(made)
    except RunbookError as error:
        raise RunbookError(f"{where}.measures: {error}") from error
    secrets |= hidden
    return checks


def _time(text: str, option: str) -> float:
    seconds = units.duration(text, option)
    if seconds <= 0:
        raise InputError(option, text, "is no time", "Give more than 0 seconds.")
    return seconds
