# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Updates of the operating system as the host's own lists have them, and what was updated and still runs as it was (K8).

Nothing is fetched and nothing installed: that is the stage patching's, in its window.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._audit._audit import Context, Finding, Looked
from ansible_collections.sre.runbooks.plugins.module_utils._core import replaced
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._health import packages

STATUSES = ["ok", "warning", "critical"]
OPTIONS: dict[str, t.Any] = {
    "security": {"type": "str", "choices": STATUSES, "default": "warning"},
    "other": {"type": "str", "choices": STATUSES, "default": "ok"},
    "reboot": {"type": "str", "choices": STATUSES, "default": "warning"},
    "restart": {"type": "str", "choices": STATUSES, "default": "warning"},
}
TOLD = 200


def look(options: t.Mapping[str, t.Any], context: Context) -> list[Looked]:
    """One for the updates, one for what waits for a restart; neither keeps the other from being looked at."""
    try:
        updates = _updates(options, context)
    except RunbookError as error:
        updates = Looked([], "", unknown=f"could not be looked at: {error}")
    return [updates, _running(options["restart"])]


def _updates(options: t.Mapping[str, t.Any], context: Context) -> Looked:
    found = packages.pending(context.timeout, context.host)
    security = [each for each in found.updates if each.security]
    findings = []
    for each in found.updates:
        status = options["security" if each.security else "other"]
        if status != "ok":
            kind = "a security update" if each.security else "an update"
            findings.append(Finding(each.name, status, f"{each.name}: {kind}{_versions(each)}"))
    if found.reboot and options["reboot"] != "ok":
        findings.append(Finding("reboot", options["reboot"], "a reboot is required"))
    listed = {each.name: f"{each.installed} -> {each.candidate}".lstrip(" ->") for each in found.updates[:TOLD]}
    details = {"updates": listed, "security": [each.name for each in security[:TOLD]]}
    metrics = {"updates": len(found.updates), "security_updates": len(security), "reboot_required": int(found.reboot)}
    summary = f"{len(found.updates)} updates, {len(security)} of them for security"
    return Looked(findings, summary, "", metrics, details, found.stale)


def _versions(update: packages.Update) -> str:
    return f", {update.installed} -> {update.candidate}" if update.installed else f" to {update.candidate}"


def _running(status: str) -> Looked:
    """What runs from files that an update has replaced, by service; of other users' processes only root sees it."""
    processes = replaced.processes()
    by_owner: dict[str, list[replaced.Process]] = {}
    for each in processes:
        by_owner.setdefault(each.unit or each.name, []).append(each)
    findings = []
    for name, those in sorted(by_owner.items()):
        files = sorted({path for each in those for path in each.files})
        text = f"{name} runs what was replaced ({', '.join(files[:2])}{', …' if len(files) > 2 else ''})"
        if status != "ok":
            findings.append(Finding(f"restart:{name}", status, text))
    unknown = "" if os.geteuid() == 0 else "processes of other users were not looked at: run it as root"
    metrics = {"services_to_restart": len(by_owner), "processes": len(processes)}
    return Looked(findings, f"{len(by_owner)} services run what was replaced", "running", metrics, {}, unknown)
