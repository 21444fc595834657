# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Contradictions within health checks: bounds that nothing can reach."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration
from ansible_collections.sre.runbooks.plugins.module_utils._preflight._finding import Finding

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.threshold import Bound
    from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Check
    from ansible_collections.sre.runbooks.plugins.module_utils._preflight._inventory import Inventory

RULES = {
    "warning_past_critical": "the warning begins where the check is critical already: nobody is ever warned",
    "bound_past_timeout": "an answer that takes as long is given up before: the bound is never judged",
    "timeout_over_all": "one check may take longer than all checks of the host together",
}
# Metrics that the time limit of their check bounds.
_TIMED = ("response_seconds", "connect_seconds")


def findings(inventory: Inventory) -> t.Iterator[Finding]:
    """What contradicts in each check."""
    for check in inventory.checks:
        yield from _levels(check)
        yield from _timeouts(check)
        if check.timeout > inventory.health_timeout:
            yield Finding(
                check.subject(), "warning", "timeout_over_all",
                f"its timeout is {show_duration(check.timeout)}, all checks together have {show_duration(inventory.health_timeout)}",
                "Lower its timeout, or raise health_timeout",
            )  # fmt: skip


def _levels(check: Check) -> t.Iterator[Finding]:
    for metric, levels in check.bounds.items():
        for warning in levels.get("warning", ()):
            past = [each for each in levels.get("critical", ()) if _implied(warning, each)]
            if past:
                yield Finding(
                    check.subject(), "warning", "warning_past_critical",
                    f"{metric}: the warning {warning.text} lies past the critical bound {past[0].text}",
                    "Exchange the two, or correct one",
                )  # fmt: skip


def _implied(warning: Bound, critical: Bound) -> bool:
    """Whether every value that `warning` is given for is critical already, as soon as it is."""
    if critical.seconds > warning.seconds or warning.comparison[0] != critical.comparison[0]:
        return False
    if warning.comparison[0] not in "<>":
        return warning[1:3] == critical[1:3]
    if warning.limit == critical.limit:
        return len(critical.comparison) >= len(warning.comparison)
    return (warning.limit > critical.limit) == (warning.comparison[0] == ">")


def _timeouts(check: Check) -> t.Iterator[Finding]:
    """Past its timeout a check is critical at once, which only a critical bound without `for` says as well."""
    for metric in _TIMED:
        levels = check.bounds.get(metric, {})
        told = [*levels.get("warning", ()), *(each for each in levels.get("critical", ()) if each.seconds)]
        for bound in told:
            if bound.comparison[0] == ">" and bound.limit >= check.timeout:
                yield Finding(
                    check.subject(), "warning", "bound_past_timeout",
                    f"{metric}: the bound {bound.text} is not below the timeout of {show_duration(check.timeout)}",
                    "Raise timeout of the check above the bound",
                )  # fmt: skip
