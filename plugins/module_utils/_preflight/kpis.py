# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""KPIs of the site: whether something produces the figures of each (R4)."""

from __future__ import annotations

import fnmatch
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._preflight import _observed
from ansible_collections.sre.runbooks.plugins.module_utils._preflight._finding import Finding, Looked

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host
    from ansible_collections.sre.runbooks.plugins.module_utils._preflight._inventory import Inventory

RULES = {"kpi_without_source": "nothing produces the figures of the KPI: the report never has a value for it"}
# What a subject is found with; None where it could not be looked at, so that nobody knows.
Seen = tuple[str, t.Optional[t.AbstractSet[str]]]


def look(inventory: Inventory, host: Host) -> Looked:
    """Look for the subject and the metric of each KPI among what this host has.

    Of a system of several hosts each has its own checks: one that has none of the type that a KPI is measured by says nothing.
    """
    kpis: t.Sequence[t.Mapping[str, t.Any]] = inventory.plans.get("kpis") or []
    seen = _seen(inventory, host) if kpis else {}
    findings = []
    for kpi in kpis:
        if any(_fed(source, seen, inventory) for source in kpi["sources"]):
            continue
        if inventory.plans.get("alone") or any(_concerns(source, seen, inventory) for source in kpi["sources"]):
            wanted = ", ".join(source["shown"] for source in kpi["sources"])
            text = f"nothing here produces any of its sources ({wanted})"
            remedy = "Correct stage, subject or metric, or add the check"
            findings.append(Finding(f"kpi:{kpi['name']}", "warning", "kpi_without_source", text, remedy))
    return Looked(findings, f"{len(kpis)} KPIs of the site: none without a source")


def _seen(inventory: Inventory, host: Host) -> dict[str, list[Seen]]:
    """By stage, the subjects that this host has."""
    checks: list[Seen] = []
    for check, observed in _observed.checks(inventory, host):
        if isinstance(observed, RunbookError):
            checks.append((check.subject(), None))
        else:
            checks += [(check.subject(each.target), each.metrics.keys()) for each in observed]
    # These have no figures before their stages have run.
    checks += [(each.subject(), None) for each in inventory.checks if each.type in _observed.NOT_YET]
    return {
        "health": checks,
        "backup": [(str(job.item.subject), None) for job in inventory.jobs],
        "site_steps": [(f"step:{each['name']}", None) for each in inventory.plans.get("steps") or []],
    }


def _fed(source: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Sequence[Seen]], inventory: Inventory) -> bool:
    if source["incidents"]:
        return True
    if source["stage"] not in seen:
        return source["stage"] in (inventory.plans.get("stages") or [])
    for subject, metrics in seen[source["stage"]]:
        fits = any(fnmatch.fnmatchcase(subject, glob) for glob in source["subjects"])
        if metrics is None:
            # Of a check that saw nothing, what its subjects would be called is known by their beginning alone.
            fits = fits or any(glob.startswith(f"{subject}:") for glob in source["subjects"])
        if fits and (not source["metrics"] or metrics is None or metrics & {*source["metrics"]}):
            return True
    return False


def _concerns(source: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Sequence[Seen]], inventory: Inventory) -> bool:
    """Whether the host has something of the type that the source names, or the stage is none at all."""
    if source["stage"] not in seen:
        return source["stage"] not in (inventory.plans.get("stages") or [])
    types = {subject.partition(":")[0] for subject, _metrics in seen[source["stage"]]}
    return any(fnmatch.fnmatchcase(each, glob.partition(":")[0]) for each in types for glob in source["subjects"])
