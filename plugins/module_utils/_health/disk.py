# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Room on file systems, and when it is used up."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import _psutil, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Check, Host, Observation

METRICS = ("used_percent", "free_bytes", "inodes_percent", "full_in_seconds")
OPTIONS: dict[str, t.Any] = {"paths": {"type": "list", "elements": "path"}}
DEFAULT_BOUNDS: dict[str, t.Any] = {}
INHERENT = False
# Images that are full by nature.
READ_ONLY_IMAGES = ("squashfs", "iso9660", "erofs", "udf")


def observe(options: t.Mapping[str, t.Any], _host: Host) -> list[Observation]:
    """Measure each of `paths`, else every real file system once."""
    return [_measure(path) for path in dict.fromkeys(options["paths"] or ()) or _real_file_systems()]


def _real_file_systems() -> list[str]:
    """Mount points of block devices, each device once, and always the root (in a container it has no device)."""
    by_device = {os.stat("/").st_dev: "/"}
    for partition in _psutil.get().disk_partitions(all=False):
        if partition.fstype not in READ_ONLY_IMAGES and os.path.isdir(partition.mountpoint):
            by_device.setdefault(os.stat(partition.mountpoint).st_dev, partition.mountpoint)
    return sorted(by_device.values())


def _measure(path: str) -> Observation:
    """Percent as df shows it: of the room that users other than root have."""
    try:
        stat = os.statvfs(path)
    except OSError as error:
        raise RunbookError(f"paths: {path}: {error.strerror}. Name a folder that exists.") from error
    used = stat.f_blocks - stat.f_bfree
    total = used + stat.f_bavail
    metrics: dict[str, float] = {
        "used_percent": round(100 * used / total, 1) if total else 0.0,
        "free_bytes": stat.f_bavail * stat.f_frsize,
    }
    if stat.f_files:
        metrics["inodes_percent"] = round(100 * (stat.f_files - stat.f_ffree) / stat.f_files, 1)
    summary = f"{path} {metrics['used_percent']:.1f} % used, {units.show_size(metrics['free_bytes'])} free"
    return Observation(metrics, summary, target=path, details={"used_bytes": used * stat.f_frsize})


def follow(
    check: Check, seen: t.Sequence[Observation], memory: t.Mapping[str, t.Any], now: float
) -> tuple[list[Observation], dict[str, t.Any]]:
    """Add `full_in_seconds` where a check bounds it; `memory` maps a path to the day's lowest use for some weeks."""
    if not any(check.bounds.get("full_in_seconds", {}).values()):
        return list(seen), dict(memory)
    from ansible_collections.sre.runbooks.plugins.module_utils._health import _trend

    kept = {path: points for path, points in memory.items() if now - points[-1][0] < _trend.KEPT_DAYS * _trend.DAY}
    told = []
    for each in seen:
        kept[each.target] = _trend.record(kept.get(each.target, []), now, each.details["used_bytes"])
        told.append(_foretold(each, kept[each.target]))
    return told, kept


def _foretold(seen: Observation, points: t.Sequence[t.Sequence[float]]) -> Observation:
    from ansible_collections.sre.runbooks.plugins.module_utils._health import _trend

    free = seen.metrics["free_bytes"]
    seconds = _trend.full_in_seconds(points, free, free + seen.details["used_bytes"])
    if seconds is None:
        text = f"when it is full can be told after {_trend.ENOUGH_DAYS} days of observations, this is day {len(points)}"
        return seen._replace(summary=f"{seen.summary}; {text}", later=("full_in_seconds",))
    text = "not full within a year" if seconds >= _trend.NEVER_SECONDS else f"full in {units.show_duration(seconds)}"
    metrics = {**seen.metrics, "full_in_seconds": seconds}
    return seen._replace(metrics=metrics, summary=f"{seen.summary}, {text} at its pace")
