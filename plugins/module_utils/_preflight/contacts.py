# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is told: whether what is bad reaches somebody (I2, I6)."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._preflight._finding import Finding, Looked

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host
    from ansible_collections.sre.runbooks.plugins.module_utils._preflight._inventory import Inventory

RULES = {
    "nobody_told": "runs are scheduled, and when one of them finds what is critical here nobody is told",
    "level_without_contact": "an incident that nobody answers is to reach this level, and nobody is there",
    "severity_without_contact": "an incident of this severity is told to nobody, whatever its level",
}


def look(inventory: Inventory, _host: Host) -> Looked:
    """Follow a critical finding of this host, and an unanswered incident through its levels."""
    plans = inventory.plans
    contacts: t.Sequence[t.Mapping[str, t.Any]] = plans.get("contacts") or []
    system = plans.get("system") or "no system"
    findings = []
    playbooks = dict.fromkeys(each["playbook"] for each in plans.get("schedules") or [])
    unheard = [
        name for name in playbooks if not any(each["critical"] and _hears(each, name, {system}) for each in contacts)
    ]
    if unheard:
        findings.append(
            Finding(
                "contacts", "warning", "nobody_told", f"no contact hears of what is critical for {system} in a run of {', '.join(unheard)}",
                "Add one to runbooks_contacts: {name: operations, urls: [...], for: [critical]}",
            )
        )  # fmt: skip
    # An incident bears the name of its runbook as a tag too.
    tags = {system, *(str(each.get("name")) for each in inventory.runbooks)}
    heard: set[str] = set()
    levels: t.Sequence[t.Mapping[str, t.Any]] = plans.get("levels") or []
    for level in levels:
        here = [each for each in contacts if each["level"] == level["name"] and _hears(each, "incident", tags)]
        told = {one for each in here for one in each["severities"]} & {*level["severities"]}
        heard |= told
        if not told:
            findings.append(
                Finding(
                    f"escalation:{level['name']}", "critical", "level_without_contact",
                    f"no contact of the level {level['name']} hears of incidents of {system}",
                    "Give a contact this level, or leave the level out of runbooks_escalation",
                )
            )  # fmt: skip
    unheard_of = sorted({one for level in levels for one in level["severities"]} - heard)
    if unheard_of and heard:
        text = f"no contact of any level hears of incidents of {system} with {', '.join(unheard_of)}"
        findings.append(Finding("escalation", "critical", "severity_without_contact", text, "Widen for of a contact"))
    return Looked(
        findings,
        f"{len(contacts)} contacts, {len(levels)} levels: what is critical reaches somebody",
    )


def _hears(contact: t.Mapping[str, t.Any], kind: str, tags: t.AbstractSet[str]) -> bool:
    """Whether it wants to hear of this kind of matter (a playbook, or incident) with one of the tags."""
    return (not contact["kinds"] or kind in contact["kinds"]) and (
        not contact["tags"] or bool(tags & {*contact["tags"]})
    )
