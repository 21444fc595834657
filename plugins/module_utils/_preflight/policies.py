# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Policies that contradict each other: pure functions over what the inventory says, nothing of the host is read."""

from __future__ import annotations

import fnmatch
import math
import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _catalog
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration
from ansible_collections.sre.runbooks.plugins.module_utils._preflight import _checks_policies, _logs_policies
from ansible_collections.sre.runbooks.plugins.module_utils._preflight._finding import Finding, Looked

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._backup._plan import Policy
    from ansible_collections.sre.runbooks.plugins.module_utils._backup._settings import Job
    from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Check, Host
    from ansible_collections.sre.runbooks.plugins.module_utils._preflight._inventory import Inventory

RULES = {
    "interval_over_age": "backups are made less often than the check of their age allows: it alarms while all goes as planned",
    "level_over_proof": "the check counts copies at a level that no copy is proven at: it alarms for ever",
    "check_elsewhere": "a backup check looks where the inventory's backups are not, or for a name that no source has",
    "backup_unwatched": "nobody is told when the backups of a source stop",
    "point_under_interval": "the promised recovery point passes before the next backup is due: it is broken while all goes as planned",
    "drill_over_retention": "what is found broken in a drill has no copy left from before the last one",
    "verified_over_retention": "more proven copies are to stay than the other rules keep: these rules decide nothing",
    "secrets_in_clear": "files that hold secrets by their names are copied without encryption",
    "backup_of_backups": "the backup folder lies in a source: every copy would hold all earlier ones",
    "cleanup_of_data": "a clean-up would take a database or backups for logs",
    **_checks_policies.RULES,
    **_logs_policies.RULES,
}
HOUR, DAY = 3600.0, 86400.0
_BUCKETS = {
    "keep_hourly": HOUR, "keep_daily": DAY, "keep_weekly": 7 * DAY, "keep_monthly": 28 * DAY, "keep_yearly": 365 * DAY,
}  # fmt: skip
# Names that say what is in the file.
SECRET_NAMES = (
    ".env", ".env.*", "*.env", "*.key", "*.pem", "*.p12", "*.pfx", "*.jks", "*.kdbx", "id_rsa", "id_ed25519", "id_ecdsa",
    "*secret*", "*credential*", "*password*", ".pgpass", ".my.cnf", "*vault*", "*.token", ".netrc",
)  # fmt: skip
_HARMLESS = ("*.pub", "*.example", "*.sample", "*.dist", "*.template")


def look(inventory: Inventory, _host: Host) -> Looked:
    """Apply every rule."""
    findings = [
        *_checks_of_backups(inventory),
        *(each for job in inventory.jobs for each in _retention(job, inventory)),
        *(each for job in inventory.jobs for each in _contents(job)),
        *_data_in_reach(inventory),
        *_checks_policies.findings(inventory),
        *_logs_policies.findings(inventory),
    ]
    return Looked(findings, f"{len(RULES)} rules find no contradiction")


def _subject(job: Job) -> str:
    return str(job.item.subject)


# --- Backups and the checks of their age ---


def _checks_of_backups(inventory: Inventory) -> t.Iterator[Finding]:
    checks = [each for each in inventory.checks if each.type == "backup"]
    folders = {job.settings.directory for job in inventory.jobs}
    names = {job.item.name for job in inventory.jobs}
    for check in checks:
        if not inventory.jobs:
            continue
        if os.path.normpath(check.options["directory"]) not in folders:
            yield Finding(
                check.subject(), "warning", "check_elsewhere",
                f"it looks into {check.options['directory']}, the backups are in {', '.join(sorted(folders))}",
                "Give the check the directory of the backups",
            )  # fmt: skip
        unknown = sorted(set(check.options["names"] or ()) - names)
        if unknown:
            yield Finding(
                check.subject(), "warning", "check_elsewhere", f"no source makes backups called {', '.join(unknown)}",
                "Correct names of the check, or add the source",
            )  # fmt: skip
    for job in inventory.jobs:
        watching = [each for each in checks if _watches(each, job)]
        if not watching:
            yield Finding(
                _subject(job), "warning", "backup_unwatched", "no check of the type backup looks at the age of its copies",
                'Add to runbooks_checks_*: {name: backup, type: backup, warning: "> 26h", critical: "> 50h"}',
            )  # fmt: skip
        for check in watching:
            yield from _age_and_level(check, job, inventory.run_every)


def _watches(check: Check, job: Job) -> bool:
    options = check.options
    return os.path.normpath(options["directory"]) == job.settings.directory and (
        options["names"] is None or job.item.name in options["names"]
    )


def oldest(interval: float | None, run_every: float) -> float:
    """The age that the newest copy reaches before the next run makes one: runs come every `run_every` seconds.

    A run makes a copy when the last one is `interval` old, so that the age is a whole number of runs.
    """
    return run_every * max(1, math.ceil((interval or 0.0) / run_every))


def _age_and_level(check: Check, job: Job, run_every: float) -> t.Iterator[Finding]:
    age = oldest(job.settings.interval, run_every)
    for level in ("critical", "warning"):
        bounds = [each for each in check.bounds.get("age_seconds", {}).get(level, ()) if each.passed(age)]
        if bounds:
            interval = show_duration(job.settings.interval or 0)
            yield Finding(
                _subject(job), "warning", "interval_over_age",
                f"with an interval of {interval} and a run every {show_duration(run_every)} its newest copy gets "
                f"{show_duration(age)} old, which is {level} for {check.subject()} ({bounds[0].text})",
                "Shorten interval, or raise the bound",
            )  # fmt: skip
            break
    ranks = _catalog.LEVELS
    if ranks.index(check.options["level"]) > ranks.index(job.settings.level):
        yield Finding(
            _subject(job), "warning", "level_over_proof",
            f"its copies are proven as {job.settings.level}, {check.subject()} counts those {check.options['level']}",
            "Set verify of the backup or level of the check",
        )  # fmt: skip


# --- Retention ---


def reach(policy: Policy, step: float) -> float:
    """How far back the oldest kept copy lies, in seconds, once copies are made every `step` seconds."""
    spans = [getattr(policy, name) * max(length, step) for name, length in _BUCKETS.items()]
    return float(max([policy.keep_last * step, policy.keep_within, *spans]))


def holds(policy: Policy, step: float) -> int:
    """The most copies that the rules keep together, without `minimum_verified`."""
    counts = sum(getattr(policy, name) for name in _BUCKETS)
    return int(policy.keep_last + counts + (policy.keep_within // step + 1 if policy.keep_within else 0))


def _retention(job: Job, inventory: Inventory) -> t.Iterator[Finding]:
    step = oldest(job.settings.interval, inventory.run_every)
    policy = job.settings.policy
    promised = inventory.targets.of(job.item.name, True).point_seconds
    if promised is not None and promised < step:
        yield Finding(
            _subject(job), "warning", "point_under_interval",
            f"its newest copy gets {show_duration(step)} old, the recovery point promised is {show_duration(promised)}",
            "Make backups more often (interval, and the schedule), or promise less",
        )  # fmt: skip
    back = reach(policy, step)
    # A floor of proven copies keeps as many, whatever the rules say.
    floor = policy.minimum_verified * step
    if max(back, floor) < inventory.drill_period:
        yield Finding(
            _subject(job), "warning", "drill_over_retention",
            f"its oldest copy is {show_duration(max(back, floor))} old, drills are {show_duration(inventory.drill_period)} apart",
            "Keep copies for longer than the time between two drills (retention), or drill more often (drill_period)",
        )  # fmt: skip
    most = holds(policy, step)
    if policy.minimum_verified > most:
        yield Finding(
            _subject(job), "warning", "verified_over_retention",
            f"minimum_verified is {policy.minimum_verified}, the other rules of its retention keep {most} at most",
            "Raise the other rules, or lower minimum_verified",
        )  # fmt: skip


# --- What is in reach of what ---


def _contents(job: Job) -> t.Iterator[Finding]:
    if job.item.engine_name != "files":
        return
    source = job.item.source
    if not job.settings.packing.recipients:
        secret = [path for path in source["paths"] if _secret(path)]
        if secret:
            yield Finding(
                _subject(job), "warning", "secrets_in_clear", f"{', '.join(secret)} is copied without encryption",
                "Set secret: true and encryption.recipients of the source",
            )  # fmt: skip
    for path in source["paths"]:
        if within(job.settings.directory, path) and not _excluded(job.settings.directory, source["exclude"]):
            yield Finding(
                _subject(job), "warning", "backup_of_backups", f"its path {path} holds the backup folder {job.settings.directory}",
                "Exclude the backup folder, or move it",
            )  # fmt: skip


def _secret(path: str) -> bool:
    name = os.path.basename(path.rstrip("/")).lower()
    if any(fnmatch.fnmatchcase(name, each) for each in _HARMLESS):
        return False
    return any(fnmatch.fnmatchcase(name, each) for each in SECRET_NAMES)


def _excluded(path: str, patterns: t.Sequence[str]) -> bool:
    while path not in ("", "/"):
        if any(fnmatch.fnmatchcase(path if "/" in each else os.path.basename(path), each) for each in patterns):
            return True
        path = os.path.dirname(path)
    return False


def within(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or lies below it, by their names."""
    inner, outer = os.path.normpath(path), os.path.normpath(folder)
    return inner == outer or inner.startswith(f"{outer.rstrip('/')}/")


def _data_in_reach(inventory: Inventory) -> t.Iterator[Finding]:
    """Clean-ups that take what is no log: databases of the inventory, copies and their manifests."""
    data = [(_subject(job), job.item.source["path"]) for job in inventory.jobs if job.item.engine_name == "sqlite"]
    samples = [
        (
            f"the copies of {job.item.name}",
            f"{job.settings.directory}/{job.item.name}/{job.item.name}_20260101T000000Z{end}",
        )
        for job in inventory.jobs
        for end in (f"{job.item.engine.EXTENSION}.zst", f"{job.item.engine.EXTENSION}.zst{_catalog.MANIFEST}")
    ]
    for cleanup in inventory.cleanups:
        for owner, path in [*data, *samples]:
            if _logs_policies.takes(cleanup, path):
                yield Finding(
                    f"log_cleanup:{cleanup.policy.name}", "critical", "cleanup_of_data",
                    f"it would {cleanup.policy.action} {path if (owner, path) in data else owner}",
                    "Narrow its patterns, or exclude the file",
                )  # fmt: skip
