# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ages of keys: those that the stage keys rotates, by the journal of this host, and those in files that nobody rotates."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._audit._audit import (
    Context,
    Finding,
    Looked,
    absolute,
    places,
    some,
)
from ansible_collections.sre.runbooks.plugins.module_utils._core import state, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration

OPTIONS: dict[str, t.Any] = {
    "files": {"type": "list", "elements": "path", "default": []},
    "journal": {"type": "bool", "default": True},
    "max_age": {"type": "str", "default": "90d"},
    "status": {"type": "str", "choices": ["warning", "critical"], "default": "warning"},
}
JOURNAL = "keys"


def refuse(options: t.Mapping[str, t.Any], where: str) -> None:
    """Something must be looked at."""
    some(options, ("files", "journal"), where)
    absolute(options, ("files",), where)
    if units.duration(options["max_age"], f"{where}.max_age") <= 0:
        raise InputError(f"{where}.max_age", options["max_age"], "is no time", "Give a duration, as in 90d.")


def look(options: t.Mapping[str, t.Any], context: Context) -> list[Looked]:
    """One for the journal, one for the files."""
    most, now = units.duration(options["max_age"], "max_age"), context.host.now
    found = []
    if options["journal"]:
        keys = state.load(context.state_dir, JOURNAL).get("keys", {})
        if not isinstance(keys, dict):
            raise state.unreadable(context.state_dir, JOURNAL, "its keys are no dictionary")
        found.append(journal(keys, most, options["status"], now))
    if options["files"]:
        found.append(_files(options, most, now))
    return found


def journal(keys: t.Mapping[str, t.Any], most: float, status: str, now: float) -> Looked:
    """Keys that are too old, and those whose end is past and that are not yet revoked."""
    findings, ages = [], []
    for name, entry in sorted(keys.items()):
        current = entry.get("current") or {}
        made = current.get("created") or current.get("at")
        if isinstance(made, (int, float)):
            ages.append(now - made)
            if now - made > most:
                findings.append(Finding(name, status, f"key {name} is {show_duration(now - made)} old"))
        else:
            findings.append(Finding(name, "unknown", f"how old key {name} is is not known"))
        ends = current.get("expires")
        if isinstance(ends, (int, float)) and ends <= now:
            findings.append(
                Finding(f"{name}:expired", "critical", f"key {name} expired {show_duration(now - ends)} ago")
            )
        late = [each for each in entry.get("previous") or [] if isinstance(each.get("revoke_at"), (int, float))]
        if any(each["revoke_at"] <= now for each in late):
            findings.append(
                Finding(f"{name}:previous", "warning", f"an earlier key {name} is past its overlap and not revoked")
            )
        if entry.get("pending"):
            findings.append(Finding(f"{name}:pending", "warning", f"a rotation of key {name} has not ended"))
    metrics = {"keys": len(keys)}
    if ages:
        metrics["oldest_age_seconds"] = round(max(ages))
    return Looked(findings, f"{len(keys)} keys in the journal of this host", "journal", metrics)


def _files(options: t.Mapping[str, t.Any], most: float, now: float) -> Looked:
    findings, ages = [], []
    for path in places(options["files"], "files"):
        age = now - os.stat(path).st_mtime
        ages.append(age)
        if age > most:
            findings.append(Finding(path, options["status"], f"{path} was written {show_duration(age)} ago"))
    metrics = {"files": len(ages), "oldest_age_seconds": round(max(ages))}
    return Looked(findings, f"{len(ages)} files with keys", "files", metrics)
