# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How severe an incident is, from what was measured (I1). Pure functions."""

from __future__ import annotations

import dataclasses
import fnmatch
import math
import re
import typing as t
from collections.abc import Iterator, Mapping, Sequence

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_state import SEVERITIES, worse
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import ROLL_CALL, HostAnswer, Outcome

MAIN = ("http:api", "http:health", "http:main")
RATES = ("failure_rate*", "error_rate*", "success_rate*", "failures_percent", "errors_percent")
BOUNDS = {"P1": 50.0, "P2": 20.0, "P3": 10.0}

_CORRUPT = re.compile(
    r"(?i)\bmalformed\b|\bcorrupt|\b(?:integrity|quick|full) check found\b|file is not a database|invalid page|checksum (?:mismatch|differs)"
)


@dataclasses.dataclass(frozen=True)
class Rules:
    """What in the evidence means what: globs over subjects and over names of metrics, bounds in percent by severity."""

    main: tuple[str, ...] = MAIN
    corruption: tuple[str, ...] = ()
    breach: tuple[str, ...] = ("rule:breach*", "rule:intrusion*")
    rates: tuple[str, ...] = RATES
    bounds: Mapping[str, float] = dataclasses.field(default_factory=BOUNDS.copy)
    at_least: str = "P4"


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What the hosts that were looked at answered, and how many hosts the system has, looked at or not."""

    hosts: Sequence[HostAnswer]
    expected: int = 0


def read_rules(raw: Mapping[str, t.Any]) -> Rules:
    """Read the option `severity_rules`; raises InputError."""
    found: dict[str, t.Any] = {}
    for name, value in raw.items():
        if name in ("main", "corruption", "breach", "rates"):
            globs = (value,) if isinstance(value, str) else value
            if not isinstance(globs, (list, tuple)) or not all(isinstance(each, str) for each in globs):
                raise InputError(f"severity_rules.{name}", value, "is no list of globs", "Write it as ['http:*', …].")
            found[name] = tuple(globs)
        elif name == "bounds":
            found[name] = _bounds(value)
        elif name == "at_least":
            if value not in SEVERITIES:
                raise InputError("severity_rules.at_least", value, "is no severity", f"Use {', '.join(SEVERITIES)}.")
            found[name] = str(value)
        else:
            known = ", ".join(field.name for field in dataclasses.fields(Rules))
            raise InputError("severity_rules", name, "is no option of it", f"Use some of {known}.")
    return Rules(**found)


def _bounds(raw: t.Any) -> dict[str, float]:
    remedy = "Write it as {P1: 50, P2: 20, P3: 10}, percent, the worst the highest."
    if not isinstance(raw, Mapping):
        raise InputError("severity_rules.bounds", raw, "is no dictionary", remedy)
    found = dict(BOUNDS)
    for severity, value in raw.items():
        number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
        if severity not in BOUNDS or number is None or not 0 <= number <= 100:
            raise InputError(f"severity_rules.bounds.{severity}", value, "is no share of a severity P1 to P3", remedy)
        found[severity] = float(number)
    if not found["P1"] >= found["P2"] >= found["P3"]:
        raise InputError("severity_rules.bounds", dict(raw), "do not fall from P1 to P3", remedy)
    return found


def severity(evidence: Evidence, rules: Rules | None = None) -> tuple[str, str]:
    """Return the severity that `evidence` shows, and why in one line: the worst of all that it shows."""
    rules = rules or Rules()
    found = [
        *_outage(evidence, rules),
        *_damage(evidence, rules),
        *_rates(evidence, rules),
        *_degraded(evidence, rules),
    ]
    level, why = min(found, key=lambda each: SEVERITIES.index(each[0]), default=("P4", _rest(evidence)))
    if worse(rules.at_least, level):
        return rules.at_least, f"{why}; never below {rules.at_least} (severity_rules.at_least)"
    return level, why


def down(host: HostAnswer, rules: Rules) -> bool:
    """Whether `host` does no work: it is silent, or its main endpoint is critical."""
    return _silent(host) or any(each["status"] == "critical" for each in _main(host, rules))


def _outage(evidence: Evidence, rules: Rules) -> Iterator[tuple[str, str]]:
    expected = max(evidence.expected, len(evidence.hosts))
    gone = [host for host in evidence.hosts if down(host, rules)]
    mains = [each for host in evidence.hosts for each in _main(host, rules)]
    if mains and all(each["status"] == "critical" for each in mains):
        yield "P1", f"outage: the main endpoint {mains[0]['subject']} is critical: {mains[0]['summary']}"
    elif gone and len(gone) == expected:
        yield "P1", f"outage: {_hosts(gone)} of {expected} down or unreachable"
    elif gone:
        share = 100 * len(gone) / expected
        yield (
            _of_share(share, rules),
            f"{len(gone)} of {expected} hosts down or unreachable ({share:.0f} %): {_hosts(gone)}",
        )


def _damage(evidence: Evidence, rules: Rules) -> Iterator[tuple[str, str]]:
    for host, each in _bad(evidence, "critical"):
        for kind, globs in (("corruption", rules.corruption), ("breach", rules.breach)):
            told = each["details"].get(kind) is True or (kind == "corruption" and _CORRUPT.search(each["summary"]))
            if told or _matches(each["subject"], globs):
                yield "P1", f"{kind}: {each['subject']} on {host.name}: {each['summary']}"


def _rates(evidence: Evidence, rules: Rules) -> Iterator[tuple[str, str]]:
    for host in evidence.hosts:
        for each in host.outcomes:
            for metric, value in each["metrics"].items():
                percent = _percent(each, metric, value, rules)
                level = "P4" if percent is None else _of_share(percent, rules)
                if level != "P4":
                    yield level, f"failure rate {percent:.3g} %: {metric} of {each['subject']} on {host.name}"


def _percent(each: Outcome, metric: str, value: float, rules: Rules) -> float | None:
    """Return the share of failures that a metric tells, in percent; None where it tells none."""
    # Lines of a rule are failures only where somebody set a bound that they passed.
    lines = (
        metric == "ratio_percent" and each["subject"].startswith("rule:") and each["status"] in ("warning", "critical")
    )
    if (
        not (lines or _matches(metric, rules.rates))
        or not math.isfinite(value)
        or metric.endswith(("_total", "_seconds"))
    ):
        return None
    percent = value if metric.endswith("_percent") else 100 * value
    percent = 100 - percent if metric.startswith("success") else percent
    return percent if 0 <= percent <= 100 else None


def _of_share(percent: float, rules: Rules) -> str:
    """More than the bound of P1; from the bounds of P2 and P3 on."""
    if percent > rules.bounds["P1"]:
        return "P1"
    return next((level for level in ("P2", "P3") if percent >= rules.bounds[level]), "P4")


def _degraded(evidence: Evidence, rules: Rules) -> Iterator[tuple[str, str]]:
    bad = [(host, each) for host, each in _bad(evidence, "critical") if each["stage"] != ROLL_CALL]
    slow = [(host, each) for host in evidence.hosts for each in _main(host, rules) if each["status"] == "warning"]
    if found := bad or slow:
        host, each = found[0]
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        yield "P2", f"degradation: {each['subject']} on {host.name} is {each['status']}{more}: {each['summary']}"


def _rest(evidence: Evidence) -> str:
    warnings = list(_bad(evidence, "warning"))
    unknown = sum(each["status"] == "unknown" for host in evidence.hosts for each in host.outcomes)
    unseen = f"; {unknown} checks could not be made" if unknown else ""
    if warnings:
        host, each = warnings[0]
        more = f", and {len(warnings) - 1} more" if len(warnings) > 1 else ""
        return f"only warnings: {each['subject']} on {host.name}{more}: {each['summary']}{unseen}"
    return f"nothing that was looked at is bad{unseen}"


def _bad(evidence: Evidence, status: str) -> Iterator[tuple[HostAnswer, Outcome]]:
    for host in evidence.hosts:
        for each in host.outcomes:
            if each["status"] == status:
                yield host, each


def _silent(host: HostAnswer) -> bool:
    return not host.answered or any(each["stage"] == ROLL_CALL and each["subject"] == "host" for each in host.outcomes)


def _main(host: HostAnswer, rules: Rules) -> list[Outcome]:
    return [each for each in host.outcomes if _matches(each["subject"], rules.main)]


def _matches(text: str, globs: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(text, glob) for glob in globs)


def _hosts(hosts: Sequence[HostAnswer]) -> str:
    names = [host.name for host in hosts]
    return ", ".join(names if len(names) <= 5 else [*names[:5], f"{len(names) - 5} more"])
