# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Things that the inventory points to and that cannot be reached: what checks, backups, scans and clean-ups are about."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import paths
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import MissingProgram, RunbookError, TargetDown
from ansible_collections.sre.runbooks.plugins.module_utils._logs import _sources
from ansible_collections.sre.runbooks.plugins.module_utils._preflight import _observed, _units
from ansible_collections.sre.runbooks.plugins.module_utils._preflight._finding import Finding, Looked

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Check, Host, Observation
    from ansible_collections.sre.runbooks.plugins.module_utils._logs._sources import Source
    from ansible_collections.sre.runbooks.plugins.module_utils._preflight._inventory import Cleanup, Inventory

RULES = {
    "target_down": "what a check is about does not answer or is not there: a wrong address, or an outage",
    "check_impossible": "a check cannot be made, so that it would be unknown for ever",
    "source_unreachable": "a source cannot be backed up: its server, database or path is not there, or rights are missing",
    "repository_unreachable": "copies do not get to the second place that they are meant to be in",
    "unit_missing": "systemd knows no unit of this name",
    "scan_source_missing": "a scan reads nothing and finds nothing",
    "cleanup_folder_missing": "a clean-up finds nothing to do for ever, or may not do it",
}


def look(inventory: Inventory, host: Host) -> Looked:
    """Make every check, ask every source, look for every log and folder."""
    checks = _observed.checks(inventory, host)
    sources = _observed.sources(inventory, host)
    findings = [each for check, seen in checks for each in _check(check, seen)]
    for job, answer in sources:
        if isinstance(answer, RunbookError) and not isinstance(answer, MissingProgram):
            findings.append(Finding(job.item.subject, "critical", "source_unreachable", str(answer)))
    for repository, problem in _observed.repositories(inventory, host):
        if problem is not None and not isinstance(problem, MissingProgram):
            findings.append(Finding(f"restic:{repository.shown}", "critical", "repository_unreachable", str(problem)))
    scanned = inventory.scan.sources if inventory.scan else []
    for source in scanned:
        findings += _scan_source(source, host)
    for cleanup in inventory.cleanups:
        findings += _cleanup(cleanup)
    states = _units.load_states(inventory.units, host.commands)
    findings += [
        Finding(
            f"service:{name}", "critical", "unit_missing", "a restore would stop and start it, and systemd knows no such unit",
            "Correct its name",
        )
        for name, state in states.items()
        if state == "not-found"
    ]  # fmt: skip
    text = f"{len(checks)} checks were made, {len(sources)} backup sources answered, {len(scanned)} scan sources can be read"
    return Looked(findings, text)


def _check(check: Check, seen: list[Observation] | RunbookError) -> list[Finding]:
    if isinstance(seen, MissingProgram):
        return []  # the kind `programs` tells it
    if isinstance(seen, TargetDown):
        if check.type == "port" and check.options["state"] == "closed":
            return []
        remedy = "Correct the check, or see why its target is down"
        return [Finding(check.subject(), "critical", "target_down", str(seen).rstrip("."), remedy)]
    if isinstance(seen, RunbookError):
        return [Finding(check.subject(), "unknown", "check_impossible", str(seen))]
    if check.type == "service":
        return [
            Finding(check.subject(each.target), "critical", "unit_missing", each.summary, "Correct the name in units")
            for each in seen
            if each.status == "critical" and "sub_state" not in each.details
        ]
    if check.type == "process" and not seen[0].metrics.get("processes"):
        return [Finding(check.subject(), "critical", "target_down", seen[0].summary, "Correct pattern or pidfile")]
    path = check.options.get("path") if check.type in ("file", "log_freshness") else None
    if path and next(paths.matching(path), None) is None:
        return [Finding(check.subject(), "critical", "target_down", f"{path} matches no file", "Correct path")]
    return []


def _scan_source(source: Source, host: Host) -> list[Finding]:
    subject = f"log_scan:{source.name}"
    if source.path:
        return _scanned_path(subject, source.path)
    if source.unit:
        known = _units.load_states([source.unit], host.commands)
        if known.get(source.unit) == "not-found":
            text = f"systemd knows no unit {source.unit}"
            return [Finding(subject, "warning", "scan_source_missing", text, "Correct unit")]
        return []
    names = _units.containers(host.commands)
    if names is not None and source.container not in names:
        text = f"there is no container {source.container}"
        return [Finding(subject, "warning", "scan_source_missing", text, "Correct container, or start it")]
    return []


def _scanned_path(subject: str, path: str) -> list[Finding]:
    try:
        files, denied = _sources.files(path)
    except RunbookError as error:
        return [Finding(subject, "warning", "scan_source_missing", str(error))]
    if denied:
        return [
            Finding(
                subject, "warning", "scan_source_missing", f"{len(denied)} logs cannot be read, first {denied[0]}",
                "Run with become, or let the user read them",
            )
        ]  # fmt: skip
    if not files:
        return [Finding(subject, "warning", "scan_source_missing", f"{path} matches no file", "Correct path")]
    return []


def _cleanup(cleanup: Cleanup) -> list[Finding]:
    findings = []
    subject = f"log_cleanup:{cleanup.policy.name}"
    for path in cleanup.policy.paths:
        if not os.path.isdir(path):
            text = f"{path} is no folder on this host"
            findings.append(Finding(subject, "warning", "cleanup_folder_missing", text, "Correct paths"))
        elif not os.access(path, os.W_OK | os.X_OK):
            text = f"{path} cannot be written to"
            findings.append(Finding(subject, "warning", "cleanup_folder_missing", text, "Run with become"))
    return findings
