# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Room on file systems."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._health import _psutil
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation

METRICS = ("used_percent", "free_bytes", "inodes_percent")
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
    return Observation(metrics, summary, target=path)
