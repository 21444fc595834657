# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The folders that the stages write to: may they, and is there room for what retention will hold."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _catalog, _plan
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_size
from ansible_collections.sre.runbooks.plugins.module_utils._preflight import _observed, policies
from ansible_collections.sre.runbooks.plugins.module_utils._preflight._finding import Finding, Looked

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._backup._settings import Job
    from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host
    from ansible_collections.sre.runbooks.plugins.module_utils._preflight._inventory import Inventory

RULES = {
    "folder_unwritable": "a stage writes there and may not, or something else has the folder's name",
    "no_room_for_one": "not even the next copy of every source fits on the disk",
    "no_room_for_all": "the disk is full before retention begins to delete",
    "source_over_limit": "the source is larger than limits.bytes: it is never backed up",
}


def look(inventory: Inventory, host: Host) -> Looked:
    """Look at the backup folders and at the state folder; nothing is written."""
    findings: list[Finding] = []
    folders = sorted({job.settings.directory for job in inventory.jobs})
    for path in [*folders, inventory.state_dir]:
        problem = unwritable(path)
        if problem:
            remedy = "Run with become, or choose another folder"
            findings.append(Finding(f"folder:{path}", "critical", "folder_unwritable", problem, remedy))
    answers = _observed.sources(inventory, host)
    for folder in folders:
        seen = [
            (job, answer.source_bytes, answer.scratch_bytes)
            for job, answer in answers
            if job.settings.directory == folder and not isinstance(answer, RunbookError)
        ]
        findings += [each for job, size, _scratch in seen for each in _limit(job, size)]
        findings += _room(folder, seen, inventory, host.now)
    return Looked(findings, f"{', '.join([*folders, inventory.state_dir])} can be written to, and the copies fit")


def unwritable(path: str) -> str | None:
    """What keeps this user from writing to a folder, or from making it; None when nothing does."""
    existing = path
    while not os.path.lexists(existing) and existing != "/":
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        return f"{existing} is no folder"
    if os.statvfs(existing).f_flag & os.ST_RDONLY:
        return f"{existing} is on a file system that is mounted read-only"
    if not os.access(existing, os.W_OK | os.X_OK):
        return f"{existing} cannot be written to by this user"
    return None


def _limit(job: Job, size: int) -> list[Finding]:
    limit = job.settings.limit_bytes
    if limit is None or size <= limit:
        return []
    text = f"it has {show_size(size)}, limits.bytes is {show_size(limit)}"
    return [Finding(job.item.subject, "critical", "source_over_limit", text, "Raise limits.bytes, or take it out")]


def _room(folder: str, seen: t.Sequence[tuple[Job, int, int]], inventory: Inventory, now: float) -> list[Finding]:
    """Compare the free bytes with what the next copies take, and with what all copies take that retention keeps.

    A copy is expected to be as large as the last ones of its source were; before there is one, as the source itself, for
    nobody knows how well it can be compressed.
    """
    if not seen or unwritable(folder):
        return []
    existing = folder
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    disk = os.statvfs(existing)
    free = disk.f_bavail * disk.f_frsize
    one = scratch = total = held = 0
    measured = True
    for job, size, room in seen:
        copies = _catalog.copies(folder, [job.item.name])
        typical = copies[0].size_bytes if copies else size
        measured = measured and bool(copies)
        step = policies.oldest(job.settings.interval, inventory.run_every)
        one += _plan.expected_size(size, copies, now)
        scratch = max(scratch, room)
        total += typical * max(policies.holds(job.settings.policy, step), job.settings.policy.minimum_verified)
        held += sum(copy.size_bytes for copy in copies)
    subject = f"folder:{folder}"
    if one + scratch > free:
        text = (
            f"the next copies and the proof of them need up to {show_size(one + scratch)}, {show_size(free)} are free"
        )
        return [Finding(subject, "critical", "no_room_for_one", text, "Make room, or choose another folder")]
    if total - held > free:
        basis = "" if measured else ", if copies are as large as what they are of"
        text = f"retention will hold {show_size(total)}{basis}; {show_size(held)} are there, {show_size(free)} are free"
        return [Finding(subject, "warning", "no_room_for_all", text, "Keep fewer copies (retention), or make room")]
    return []
