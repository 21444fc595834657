# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs that the inventory needs on the host: are they there, and in which version."""

from __future__ import annotations

import platform
import re
import shutil
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import _psutil
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import PACKAGES, require
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import MissingProgram, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._preflight import _observed
from ansible_collections.sre.runbooks.plugins.module_utils._preflight._finding import Finding, Looked

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host
    from ansible_collections.sre.runbooks.plugins.module_utils._preflight._inventory import Inventory

RULES = {
    "program_missing": "a check, a backup or a clean-up cannot do its work without it",
    "python_too_old": "modules need Python 3.9",
}
SECONDS = 5.0
_PYTHON = (3, 9)
# What another word than --version asks for.
_VERSION_WORDS = {"openssl": "version"}


def look(inventory: Inventory, host: Host) -> Looked:
    """Find every program that is needed, and say who needs those that are missing."""
    needed = needs(inventory)
    findings: list[Finding] = []
    versions = {"python": platform.python_version()}
    try:
        versions["psutil"] = str(_psutil.get().__version__)
    except RunbookError as error:
        findings.append(Finding("program:psutil", "critical", "program_missing", str(error)))
    if tuple(map(int, platform.python_version_tuple()[:2])) < _PYTHON:
        text = f"this host runs modules by Python {platform.python_version()}"
        findings.append(Finding("program:python", "critical", "python_too_old", text, "Install Python 3.9 or newer"))
    missing = _missing_by_sight(inventory, host)
    for program in sorted(needed):
        try:
            path = require(program)
        except MissingProgram:
            missing.setdefault(program, []).extend(needed[program])
            continue
        versions[program.rpartition("/")[2]] = _version(path, host)
    for program, users in sorted(missing.items()):
        text = f"it is not installed, and {_listed(users)} need it" if users else "it is not installed"
        package = PACKAGES.get(program, program)
        remedy = f"Install the package {package} (the role sre.runbooks.prerequisites does)"
        findings.append(Finding(f"program:{program}", "critical", "program_missing", text, remedy))
    told = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return Looked(findings, f"every program is there: {told}", {"versions": versions})


def needs(inventory: Inventory) -> dict[str, list[str]]:
    """Each program that is needed on the host, with the subjects that need it; what runs in a container brings its own.

    Engines and check types tell theirs by their function `programs`.
    """
    found: dict[str, list[str]] = {}
    for subject, names in [*_of_checks_and_backups(inventory), *_of_logs(inventory)]:
        for name in names:
            found.setdefault(name, []).append(subject)
    return found


def _of_checks_and_backups(inventory: Inventory) -> t.Iterator[tuple[str, list[str]]]:
    for check in inventory.checks:
        if hasattr(check.family, "programs"):
            yield check.subject(), check.family.programs(check.options)
    for job in inventory.jobs:
        if hasattr(job.item.engine, "programs"):
            yield job.item.subject, job.item.engine.programs(job.item.source, job.settings.level)
        repository = ["restic"] if job.settings.restic else []
        yield job.item.subject, [stage[0] for stage in job.settings.packing.pack()] + repository


def _of_logs(inventory: Inventory) -> t.Iterator[tuple[str, list[str]]]:
    for cleanup in inventory.cleanups:
        if cleanup.policy.action == "compress":
            yield f"log_cleanup:{cleanup.policy.name}", [cleanup.policy.compression]
    runtime = "podman" if shutil.which("podman") or not shutil.which("docker") else "docker"
    for source in inventory.scan.sources if inventory.scan else ():
        if source.unit or source.container:
            yield f"log_scan:{source.name}", ["journalctl" if source.unit else runtime]


def _missing_by_sight(inventory: Inventory, host: Host) -> dict[str, list[str]]:
    """Programs that checks and sources missed when they were made."""
    found: dict[str, list[str]] = {}
    seen: list[tuple[str, object]] = [(check.subject(), each) for check, each in _observed.checks(inventory, host)]
    seen += [(job.item.subject, each) for job, each in _observed.sources(inventory, host)]
    for subject, answer in seen:
        if isinstance(answer, MissingProgram):
            found.setdefault(answer.program, []).append(subject)
    return found


def _listed(users: t.Sequence[str]) -> str:
    names = list(dict.fromkeys(users))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _version(path: str, host: Host) -> str:
    """The first number with a dot in what it says of itself; empty for a program that says none."""
    word = _VERSION_WORDS.get(path.rpartition("/")[2], "--version")
    try:
        done = host.commands.run([path, word], timeout=SECONDS, check=False)
    except RunbookError:
        return ""
    match = re.search(r"\d+(?:\.\d+)+|\b\d{2,}\b", f"{done.stdout} {done.stderr}")
    return match[0] if match else ""
