# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runbooks of incidents: can each be followed on this host, before the night on which it is needed."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._preflight._finding import Finding, Looked
from ansible_collections.sre.runbooks.plugins.module_utils._stabilise import _plan, _settings

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host
    from ansible_collections.sre.runbooks.plugins.module_utils._preflight._inventory import Inventory

RULES = {
    "runbook_refused": "a runbook that cannot be followed, such as one with an action that has no guard, helps nobody in an incident",
    "runbook_twice": "which of two runbooks of one name is followed would be chance",
}


def look(inventory: Inventory, _host: Host) -> Looked:
    """Read every runbook as the playbook incident does, with the checks and remedies of this host."""
    findings: list[Finding] = []
    names = [str(each.get("name")) for each in inventory.runbooks]
    for name in sorted({name for name in names if names.count(name) > 1}):
        text = f"{names.count(name)} runbooks have this name"
        findings.append(Finding(f"runbook:{name}", "critical", "runbook_twice", text, "Give each a name of its own"))
    followed: list[str] = []
    idle: list[str] = []
    for runbook in inventory.runbooks:
        name = str(runbook.get("name"))
        try:
            (followed if _followed(runbook, name, inventory) else idle).append(name)
        except RunbookError as error:
            findings.append(Finding(f"runbook:{name}", "critical", "runbook_refused", str(error)))
    text = f"{len(followed)} runbooks can be followed here: {', '.join(sorted(followed)) or 'none'}"
    if idle:
        text += f"; no check of this host is for {', '.join(sorted(idle))}"
    return Looked(findings, text)


def _followed(runbook: t.Mapping[str, t.Any], name: str, inventory: Inventory) -> bool:
    """Whether the runbook is for this host, which has a check that it wants; RunbookError when it cannot be followed."""
    plan = _plan.plan([runbook], name, inventory.entries, inventory.remedies)
    if not plan["verify"]:
        return False
    _settings.read(
        {
            "incident": "preflight", "actions": plan["stabilise"], "verify": plan["verify"], "due": [],
            "services": plan["services"], "timeout": "10m",
        }
    )  # fmt: skip
    return True
