# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A site's own programs: whether each is there, and a cadence runs it (C7)."""

from __future__ import annotations

import os
import pwd
import shutil
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration
from ansible_collections.sre.runbooks.plugins.module_utils._preflight._finding import Finding, Looked

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host
    from ansible_collections.sre.runbooks.plugins.module_utils._preflight._inventory import Inventory

RULES = {
    "step_never_runs": "there are schedules, and none of them runs a cadence of the step",
    "step_program_missing": "the program of the step is not on the host, or may not be run",
    "step_user_missing": "the host has no user of the name in run_as",
    "step_over_all": "one step may take longer than all steps of a cadence together",
}
STAGE = "site_steps"


def look(inventory: Inventory, _host: Host) -> Looked:
    """Look for the program of each step, and for a schedule that runs it."""
    plans = inventory.plans
    steps: t.Sequence[t.Mapping[str, t.Any]] = plans.get("steps") or []
    running = {each["playbook"] for each in plans.get("schedules") or [] if STAGE in each["roles"]}
    findings = []
    for step in steps:
        subject = f"step:{step['name']}"
        if plans.get("scheduled") and not running & {*step["cadences"]}:
            text = f"no schedule of this host runs {' or '.join(step['cadences'])} with {STAGE}"
            findings.append(
                Finding(subject, "warning", "step_never_runs", text, "Correct cadences, or schedule one of them")
            )
        problem = _program(step)
        if problem:
            findings.append(
                Finding(subject, "critical", "step_program_missing", problem, "Install it, or correct argv or chdir")
            )
        if step["run_as"] and not _user(step["run_as"]):
            text = f"there is no user {step['run_as']}"
            findings.append(Finding(subject, "critical", "step_user_missing", text, "Correct run_as, or add the user"))
        if step["seconds"] > inventory.steps_timeout:
            text = f"it may take {show_duration(step['seconds'])}, all steps together {show_duration(inventory.steps_timeout)}"
            findings.append(
                Finding(subject, "warning", "step_over_all", text, "Lower its timeout, or raise site_steps_timeout")
            )
    return Looked(findings, f"{len(steps)} steps: each has its program, and a cadence")


def _program(step: t.Mapping[str, t.Any]) -> str | None:
    """Why the program could not be run; None where it could."""
    name, folder = step["program"], step["chdir"]
    if folder and not os.path.isdir(folder):
        return f"chdir: there is no folder {folder}"
    path = os.path.join(folder or "/", name) if "/" in name else shutil.which(name)
    if path is None or not os.path.exists(path):
        return f"there is no program {name}"
    if os.path.isdir(path) or not os.access(path, os.X_OK):
        return f"{path} is no program that may be run"
    return None


def _user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
