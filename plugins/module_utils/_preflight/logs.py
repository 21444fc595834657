# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Large logs that nobody cleans up, and units that fill the journal and that no scan reads."""

from __future__ import annotations

import collections
import contextlib
import fnmatch
import glob
import itertools
import json
import os
import re
import shutil
import stat
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_size
from ansible_collections.sre.runbooks.plugins.module_utils._logs._sources import base_name
from ansible_collections.sre.runbooks.plugins.module_utils._preflight import _logs_policies, _sqlite_files, _units
from ansible_collections.sre.runbooks.plugins.module_utils._preflight._finding import Finding, Looked

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host
    from ansible_collections.sre.runbooks.plugins.module_utils._preflight._inventory import Inventory

RULES = {
    "log_uncovered": "the log is large, and neither a clean-up of the inventory nor logrotate ever takes it",
    "log_unrotated": "a clean-up waits for rotated files, and nothing rotates this log: it grows until the disk is full",
    "journal_uncovered": "the unit writes much of the journal, and no scan reads it",
    "logs_unknown": "there are folders of logs that may not be read, or too many files to look at",
}
FOLDER = "/var/log"
# What systemd caps by itself.
_JOURNAL = "/var/log/journal"
_LOG_NAMES = ("*.log", "*.log.*", "*.log-*", "*.out", "*.err", "*.jsonl", "syslog*", "messages*")
_LOGROTATE = ("/etc/logrotate.conf", "/etc/logrotate.d/*")
_CONFIGURATION_BYTES = 2**20
JOURNAL_LINES = 5000
# A unit that wrote so much of the journal's last lines, and so many of them, is what fills it.
JOURNAL_PERCENT = 30
JOURNAL_LEAST = 1000


def look(inventory: Inventory, host: Host) -> Looked:
    """Compare the host's logs with clean-ups and logrotate, the journal with scans."""
    limits = _sqlite_files.Limits(**inventory.limits)
    walk = _sqlite_files.Walk(limits, time.monotonic() + limits.seconds)
    large: dict[str, int] = {}
    for path, info in itertools.chain(walk.entries([FOLDER, *_named(inventory)]), _sqlite_files.seen(_open_logs())):
        size = info.st_blocks * 512 if stat.S_ISREG(info.st_mode) else 0
        if size > inventory.log_size and not path.startswith(f"{_JOURNAL}/"):
            large[path] = size
    rotated = rotation()
    findings = [each for path in sorted(large) for each in _large(path, large[path], inventory, rotated)]
    findings += _journal(inventory, host)
    if walk.denied or not walk.complete:
        problem = (
            f"{walk.denied[0]} may not be read" if walk.denied else "the limits were reached before every file was seen"
        )
        findings.append(
            Finding("log:folders", "unknown", "logs_unknown", problem, "Run with become, or raise preflight_limits")
        )
    return Looked(findings, f"{len(large)} logs above {show_size(inventory.log_size)}, none that nobody cleans up")


def _named(inventory: Inventory) -> list[str]:
    """Folders of logs that the inventory names, outside of the usual one."""
    folders = [path for cleanup in inventory.cleanups for path in cleanup.policy.paths]
    if inventory.scan:
        folders += [os.path.dirname(each.path) for each in inventory.scan.sources if each.path]
    return [each for each in dict.fromkeys(folders) if not glob.has_magic(each) and not each.startswith(f"{FOLDER}/")]


def _open_logs() -> list[str]:
    """Files that processes write to and whose names are those of logs."""
    return [
        path
        for path, written in _sqlite_files.open_files().files.items()
        if written and any(fnmatch.fnmatchcase(os.path.basename(path), each) for each in _LOG_NAMES)
    ]


def _large(path: str, size: int, inventory: Inventory, rotated: t.Sequence[str]) -> list[Finding]:
    if any(fnmatch.fnmatchcase(path, each) for each in rotated) or _rotated_by_logrotate(path, rotated):
        return []
    if any(_logs_policies.takes(each, path) for each in inventory.cleanups):
        return []
    shown = f"it takes {show_size(size)}"
    details = {"size_bytes": size}
    waiting = [each.policy.name for each in inventory.cleanups if _waits(each, path)]
    if waiting:
        if _has_kin(path):
            return []
        return [
            Finding(
                f"log:{path}", "warning", "log_unrotated", f"{shown}, and {waiting[0]} waits for rotated files that never come",
                "Rotate it by logrotate or by the program that writes it, or clean it up with action: truncate", details,
            )
        ]  # fmt: skip
    folder, name = os.path.split(path)
    return [
        Finding(
            f"log:{path}", "warning", "log_uncovered", f"{shown}, and nothing cleans it up",
            f'Add to runbooks_logs_*: {{name: {name}, paths: [{folder}], patterns: ["{name}*"], older_than: 30d, action: delete}}',
            details,
        )
    ]  # fmt: skip


def _waits(cleanup: _logs_policies.Cleanup, path: str) -> bool:
    """Whether a policy takes what rotation would make of the log."""
    return any(_logs_policies.takes(cleanup, path + end) for end in _logs_policies.ENDS if end)


def _has_kin(path: str) -> bool:
    folder, name = os.path.split(path)
    with contextlib.suppress(OSError):
        present = set(os.listdir(folder))
        return any(each != name and base_name(each, present) == name for each in present)
    return False


def rotation() -> list[str]:
    """The patterns of the files that logrotate rotates."""
    found: list[str] = []
    for pattern in _LOGROTATE:
        for path in sorted(glob.glob(pattern)):
            with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
                found += patterns(stream.read(_CONFIGURATION_BYTES))
    return found


def patterns(text: str) -> list[str]:
    """The paths before each brace of a configuration of logrotate(8), comments left out."""
    plain = re.sub(r"#.*", "", text)
    heads = re.findall(r"((?:^|\s)\"?/[^{}]*?)\{[^}]*\}", plain)
    return [
        word.strip('"') for head in heads for word in re.findall(r"\"[^\"]+\"|\S+", head) if word.strip('"')[:1] == "/"
    ]


def _rotated_by_logrotate(path: str, rotated: t.Sequence[str]) -> bool:
    """Whether it is the archive of a log that logrotate takes care of."""
    folder, name = os.path.split(path)
    stem = re.sub(r"[.-](?:\d{1,4}|\d{8})(?:\.(?:gz|xz|bz2|zst))?$", "", name)
    return stem != name and any(fnmatch.fnmatchcase(f"{folder}/{stem}", each) for each in rotated)


def _journal(inventory: Inventory, host: Host) -> list[Finding]:
    """The units that wrote most of the journal's last lines."""
    if not _units.booted() or not shutil.which("journalctl"):
        return []
    argv = ["journalctl", f"--lines={JOURNAL_LINES}", "--output=json", "--output-fields=_SYSTEMD_UNIT", "--quiet"]
    try:
        text = host.commands.run([*argv, "--since=-1d"], timeout=_units.SECONDS).stdout
    except RunbookError as error:
        return [
            Finding("journal", "unknown", "logs_unknown", f"the journal cannot be read: {error}", "Run with become")
        ]
    lines: collections.Counter[str] = collections.Counter()
    for line in text.splitlines():
        with contextlib.suppress(ValueError, AttributeError):
            lines[json.loads(line).get("_SYSTEMD_UNIT") or ""] += 1
    scanned = {each.unit for each in inventory.scan.sources if each.unit} if inventory.scan else set()
    names = scanned | {f"{each}.service" for each in scanned}
    return loud(lines, names)


def loud(lines: t.Mapping[str, int], scanned: t.Collection[str]) -> list[Finding]:
    """A finding for each unit with a large share of the lines that no scan reads."""
    total = sum(lines.values())
    return [
        Finding(
            f"journal:{unit}", "warning", "journal_uncovered",
            f"it wrote {100 * count // total} % of the journal's last {total} lines, and no scan reads it",
            f"Add to runbooks_scan_sources_*: {{name: {unit.partition('.')[0]}, unit: {unit}}}",
        )
        for unit, count in sorted(lines.items())
        if unit and unit not in scanned and count >= JOURNAL_LEAST and 100 * count >= JOURNAL_PERCENT * total
    ]  # fmt: skip
