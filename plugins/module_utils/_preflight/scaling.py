# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules of scaling: whether they leave room between up and down, and what they scale is there (C6)."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._preflight._finding import Finding, Looked
from ansible_collections.sre.runbooks.plugins.module_utils._scaling import _settings
from ansible_collections.sre.runbooks.plugins.module_utils._scaling._target import Work

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host
    from ansible_collections.sre.runbooks.plugins.module_utils._preflight._inventory import Inventory

RULES = {
    "scaling_overlap": "one value would start instances and stop them: they come and go for ever",
    "scaling_refused": "the stage would refuse all targets because of this one",
    "scaling_target_missing": "what is to be scaled is not there, or cannot be asked",
}
SECONDS = 20.0


def look(inventory: Inventory, host: Host) -> Looked:
    """Read each target as the module scaling does, and ask how many instances run."""
    findings = []
    running = []
    for number, entry in enumerate(inventory.scaling):
        subject = f"scaling:{entry.get('name', number)}"
        try:
            read, _secrets = _settings.read({"targets": [entry], "act": False, "timeout": "1m"})
        except RunbookError as error:
            text = str(error).replace("targets[0]", f"targets[{number}]")
            overlap = isinstance(error, InputError) and ".down." in error.option and "leaves no room" in text
            findings.append(Finding(subject, "critical", "scaling_overlap" if overlap else "scaling_refused", text))
            continue
        target = read.targets[0]
        try:
            count = len(target.kind.running(target.options, Work(host.commands, time.monotonic() + SECONDS)))
            running.append(f"{target.name}: {count} of {target.bounds.most}")
        except RunbookError as error:
            findings.append(Finding(subject, "critical", "scaling_target_missing", str(error)))
    text = f"{len(inventory.scaling)} targets can be scaled"
    return Looked(findings, f"{text}, running are {'; '.join(running)}" if running else text)
