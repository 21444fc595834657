# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a check is: read from the user's words, observed by its family, judged by its bounds.

A family is a module beside this one with
  METRICS         its metrics' names, the main one first; an option `values` lets the user name more
  OPTIONS         argument spec of its own options
  DEFAULT_BOUNDS  bounds that apply where the user gave none for that metric
  INHERENT        True when the observation alone can be bad (a port that must be open), so that no bound is needed
  observe(options, host) -> list[Observation]
or, where several checks of the type are best made together,
  observe_all(list of options, host) -> list[list[Observation]]: called with the checks of one time limit, at least one
and, where an observation mostly waits between two looks,
  MEASURES_OVER_TIME = True
and, where its options need more than their types,
  refuse(options) raises InputError for what cannot be observed, before the first check is made
and, where its metrics are named by its options or by what it sees,
  names(options) -> those names, the main one first; None when any name may come
and, where it runs programs of the host,
  programs(options) -> their names, none for what runs inside a container
and, where a metric follows from earlier observations,
  follow(check, seen, memory, now) -> (observations with that metric, new memory): pure, and `memory` is small JSON that the
                  host's state folder keeps between runs; a metric that needs more of it is named in Observation.later
"""

from __future__ import annotations

import re
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.errors import UnsupportedError

from ansible_collections.sre.runbooks.plugins.module_utils._core import threshold, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._health import _registry

if t.TYPE_CHECKING:
    from types import ModuleType

    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

COMMON_OPTIONS: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "type": {"type": "str", "required": True},
    "warning": {"type": "raw"},
    "critical": {"type": "raw"},
    "metrics": {"type": "dict", "default": {}},
    "timeout": {"type": "raw", "default": "5s"},
}


# What Prometheus takes as a name, without the colon, which is for its own rules.
METRIC_NAME = r"[A-Za-z_][A-Za-z0-9_]*"


class Host(t.NamedTuple):
    """What a family may use: the command gateway, the clock (seconds since the epoch), and the main thread.

    `aside` lets the main thread call what only that can interrupt, such as a search for a user's regular expression.
    """

    commands: Commands
    now: float
    aside: t.Callable[[t.Callable[[], t.Any]], t.Any] = lambda work: work()


class Observation(t.NamedTuple):
    """What a family saw. `target` tells several observations of one check apart; it is stable between runs.

    Bounds of the metrics in `later`, which cannot be known before more runs, are pending. Where a check's metrics are spread
    over several observations, `about` names those that this one is held against; None means all.
    """

    metrics: dict[str, float]
    summary: str
    status: str = "ok"
    target: str = ""
    details: t.Mapping[str, t.Any] = {}
    later: tuple[str, ...] = ()
    about: t.Collection[str] | None = None


class Check(t.NamedTuple):
    """One check as the user wants it; `bounds` maps a metric to its bounds by level, `timeout` is in seconds."""

    name: str
    type: str
    family: ModuleType
    options: dict[str, t.Any]
    bounds: dict[str, dict[str, list[threshold.Bound]]]
    timeout: float

    def subject(self, target: str = "") -> str:
        """`<type>:<name>:<target>`, without repeating a name that equals the type."""
        parts = [self.type, "" if self.name == self.type else self.name, target]
        return ":".join(part for part in parts if part)


def read(entries: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[list[Check], set[str]]:
    """Read the option `checks`; return the checks and the secrets that stand in them."""
    checks: list[Check] = []
    secrets: set[str] = set()
    for index, entry in enumerate(entries):
        check, hidden = _read_one(entry, f"checks[{index}]")
        if any(check.subject() == other.subject() for other in checks):
            raise InputError(
                f"checks[{index}].name", check.name, f"is used twice for type {check.type}",
                "Give each check a name of its own.",
            )  # fmt: skip
        checks.append(check)
        secrets |= hidden
    return checks, secrets


def _read_one(entry: t.Mapping[str, t.Any], where: str) -> tuple[Check, set[str]]:
    kind = entry.get("type")
    where = f"{where} ({entry.get('name', 'no name')})"
    if kind not in _registry.NAMES:
        raise InputError(f"{where}.type", kind, "is no check type", f"Use one of {', '.join(_registry.NAMES)}.")
    family = _registry.load(kind)
    result = ArgumentSpecValidator({**COMMON_OPTIONS, **family.OPTIONS}).validate(dict(entry))
    if result.error_messages:
        raise RunbookError(f"{where}: {'; '.join(_told(error) for error in result.errors.errors)}")
    options = result.validated_parameters
    timeout = units.duration(options["timeout"], f"{where}.timeout")
    if timeout <= 0:
        raise InputError(f"{where}.timeout", options["timeout"], "is no time", "Give more than 0 seconds.")
    options["timeout"] = timeout
    if hasattr(family, "refuse"):
        try:
            family.refuse(options)
        except InputError as error:
            raise RunbookError(f"{where}.{error}") from error
    bounds = _bounds(options, family, where)
    return Check(options["name"], kind, family, options, bounds, timeout), set(result._no_log_values)


def _told(error: t.Any) -> str:
    """Ansible's text for an option that it does not know begins with its bare name."""
    return f"unknown option {error}" if isinstance(error, UnsupportedError) else str(error)


def _bounds(options: dict[str, t.Any], family: ModuleType, where: str) -> dict[str, dict[str, list[threshold.Bound]]]:
    """The bounds of every metric; `warning` and `critical` of the check itself belong to the main metric."""
    known = family.names(options) if hasattr(family, "names") else [*family.METRICS, *(options.get("values") or ())]
    main = (known or family.METRICS)[0]
    given: dict[str, t.Any] = {}
    if options["warning"] is not None or options["critical"] is not None:
        given[main] = {"warning": options["warning"], "critical": options["critical"]}
    for metric, levels in options["metrics"].items():
        if metric not in known if known else not re.fullmatch(METRIC_NAME, str(metric)):
            raise InputError(
                f"{where}.metrics",
                metric,
                "is no metric of this check",
                f"Use one of {', '.join(known)}."
                if known
                else "Use letters, digits and underscores, as the results do.",
            )
        if not isinstance(levels, dict) or set(levels) - set(threshold.LEVELS):
            raise InputError(
                f"{where}.metrics.{metric}", levels, "is no pair of bounds", "Give warning, critical or both."
            )
        given[metric] = {**given.get(metric, {}), **levels}
    for metric, levels in family.DEFAULT_BOUNDS.items():
        if not any(given.get(metric, {}).values()):
            given[metric] = levels
    bounds = {metric: threshold.parse_levels(levels, f"{where}.{metric}") for metric, levels in given.items()}
    if not family.INHERENT and not any(any(levels.values()) for levels in bounds.values()):
        raise InputError(
            where, options["type"], "has no bound, so that it would pass for ever",
            f"Give warning or critical for {main}, or bounds under metrics.",
        )  # fmt: skip
    return bounds
