# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Contradictions between clean-ups and scans of logs, and alerts that tell nobody what to do."""

from __future__ import annotations

import fnmatch
import itertools
import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration
from ansible_collections.sre.runbooks.plugins.module_utils._preflight._finding import Finding

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._logs._options import Options
    from ansible_collections.sre.runbooks.plugins.module_utils._preflight._inventory import Cleanup, Inventory

RULES = {
    "alert_without_remedy": "whoever is woken by the rule is told nothing to do",
    "window_under_run": "lines between the end of one window and the beginning of the next are never read",
    "cleanup_under_window": "lines are deleted before they have been scanned",
    "compress_after_delete": "files are gone before their time to be compressed or archived comes",
    "cleanup_twice": "two policies take the same files: only the first of them ever acts",
}
# Names that rotation gives to a log.
ENDS = ("", ".1", ".2.gz", ".2.zst", "-20260101", "-20260101.gz")
_GONE = ("delete", "truncate")


def findings(inventory: Inventory) -> t.Iterator[Finding]:
    """What contradicts among the logs' policies."""
    if inventory.scan is not None:
        yield from _remedies(inventory.scan)
        yield from _window(inventory.scan, inventory.run_every)
        yield from _unscanned(inventory.scan, inventory.cleanups)
    for one, other in itertools.combinations(inventory.cleanups, 2):
        yield from _pair(one, other)


def takes(cleanup: Cleanup, path: str) -> bool:
    """Whether a policy's folders and patterns take a file of this path, whatever its age and size."""
    policy = cleanup.policy
    folder, name = os.path.split(os.path.normpath(path))
    if not policy.matches(name) or (policy.excludes is not None and policy.excludes(name)):
        return False
    return any(folder == each or (policy.recurse and folder.startswith(f"{each}/")) for each in policy.paths)


def _remedies(scan: Options) -> t.Iterator[Finding]:
    rules: list[tuple[str, str, bool]] = [(each.name, each.remedy, any(each.bounds.values())) for each in scan.rules]
    rules += [
        (each.name, each.remedy, any(bounds for levels in each.bounds.values() for bounds in levels.values()))
        for each in scan.measures
    ]
    for name, remedy, bounded in rules:
        if bounded and not remedy:
            yield Finding(
                f"log_scan:{name}", "warning", "alert_without_remedy", "it has a threshold and no remedy",
                "Say in remedy what to do first",
            )  # fmt: skip


def _window(scan: Options, run_every: float) -> t.Iterator[Finding]:
    if not scan.cursor and scan.window < run_every:
        yield Finding(
            "log_scan", "warning", "window_under_run",
            f"each run reads the last {show_duration(scan.window)}, runs are {show_duration(run_every)} apart",
            "Make window as long as the time between two runs, or set read to cursor",
        )  # fmt: skip


def _unscanned(scan: Options, cleanups: t.Sequence[Cleanup]) -> t.Iterator[Finding]:
    for cleanup in cleanups:
        age = cleanup.policy.older_than
        if cleanup.policy.action not in (*_GONE, "archive") or scan.cursor or age is None or age >= scan.window:
            continue
        names = [each.name for each in scan.sources if each.path and _meet(cleanup, each.path)]
        if names:
            yield Finding(
                f"log_cleanup:{cleanup.policy.name}", "warning", "cleanup_under_window",
                f"it takes logs of the source {names[0]} that are {show_duration(age)} old, the scan looks back "
                f"{show_duration(scan.window)}",
                "Raise older_than above the window of the scan",
            )  # fmt: skip


def _meet(cleanup: Cleanup, path: str) -> bool:
    """Whether a policy takes what rotation makes of the logs that the glob `path` names."""
    folder, name = os.path.split(path)
    name = name.replace("*", "x").replace("?", "x")
    for each in cleanup.policy.paths:
        inside = fnmatch.fnmatchcase(each, folder) or (cleanup.policy.recurse and folder.startswith(f"{each}/"))
        if inside:
            return any(
                cleanup.policy.matches(name + end)
                and not (cleanup.policy.excludes is not None and cleanup.policy.excludes(name + end))
                for end in ENDS
            )
    return False


def _pair(one: Cleanup, other: Cleanup) -> t.Iterator[Finding]:
    """Two policies over the same folders and files."""
    if not _overlap(one, other):
        return
    first, second = one.policy, other.policy
    if first.action == second.action and _bounds(one) == _bounds(other):
        yield Finding(
            f"log_cleanup:{second.name}", "warning", "cleanup_twice",
            f"it takes the same files by the same bounds as {first.name}", "Make one policy of the two",
        )  # fmt: skip
        return
    for delete, keep in ((first, second), (second, first)):
        if delete.action not in _GONE or keep.action not in ("compress", "archive"):
            continue
        plain = delete.larger_than is None and delete.max_total is None and delete.older_than is not None
        if plain and keep.older_than is not None and t.cast("float", delete.older_than) <= keep.older_than:
            yield Finding(
                f"log_cleanup:{keep.name}", "warning", "compress_after_delete",
                f"it would {keep.action} files after {show_duration(keep.older_than)}, {delete.name} takes them after "
                f"{show_duration(t.cast('float', delete.older_than))}",
                f"Make older_than of {keep.name} shorter than that of {delete.name}",
            )  # fmt: skip


def _bounds(cleanup: Cleanup) -> tuple[bool, ...]:
    """Which bounds a policy has: two by age over the same files contradict, one by age and one by total do not."""
    policy = cleanup.policy
    return (policy.older_than is not None, policy.larger_than is not None, policy.max_total is not None)


def _overlap(one: Cleanup, other: Cleanup) -> bool:
    """Whether some name in a common folder is taken by both."""
    names = {
        each.replace("*", "x").replace("?", "x") + end
        for cleanup in (one, other)
        for each in cleanup.given["patterns"]
        for end in ("", ".1", ".gz")
    }
    for folder in {*one.policy.paths, *other.policy.paths}:
        if any(takes(one, f"{folder}/{name}") and takes(other, f"{folder}/{name}") for name in names):
            return True
    return False
