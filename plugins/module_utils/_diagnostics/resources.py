# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The processor, memory, disks and their pressure, now and over half a second."""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import _psutil

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._work import Work

COLLECTS = "CPU, memory, swap, disks, inodes, input and output, pressure"
INTERVAL = 0.5
# What a kernel lets everybody read, as it is.
FILES = (
    "/proc/loadavg",
    "/proc/uptime",
    "/proc/meminfo",
    "/proc/vmstat",
    "/proc/diskstats",
    "/proc/mounts",
    "/proc/swaps",
    "/proc/sys/fs/file-nr",
)


def collect(work: Work) -> None:
    """One document for a person, and the kernel's own words."""
    psutil = _psutil.get()
    with work.part("resources/resources.json") as part:
        part.json(_figures(psutil))
    with work.part("resources/pressure.txt") as part:
        for name in ("cpu", "memory", "io"):
            with contextlib.suppress(OSError):
                part.text(f"{name}\n{_read(f'/proc/pressure/{name}')}")
    with work.part("resources/kernel.txt") as part:
        for path in FILES:
            with contextlib.suppress(OSError):
                part.text(f"## {path}\n{_read(path)}\n")


def _figures(psutil: t.Any) -> dict[str, t.Any]:
    before, seen = psutil.disk_io_counters(perdisk=True), time.monotonic()
    cpu = psutil.cpu_times_percent(interval=INTERVAL)
    elapsed = time.monotonic() - seen
    after = psutil.disk_io_counters(perdisk=True)
    disks = {}
    for disk in psutil.disk_partitions(all=False):
        with contextlib.suppress(OSError):
            usage, inodes = psutil.disk_usage(disk.mountpoint), os.statvfs(disk.mountpoint)
            disks[disk.mountpoint] = {
                "device": disk.device, "type": disk.fstype, "options": disk.opts, **usage._asdict(),
                "inodes": inodes.f_files, "inodes_free": inodes.f_ffree,
            }  # fmt: skip
    return {
        "cpus": psutil.cpu_count(),
        "load": os.getloadavg(),
        "cpu_percent": cpu._asdict(),
        "memory": psutil.virtual_memory()._asdict(),
        "swap": psutil.swap_memory()._asdict(),
        "disks": disks,
        "disk_bytes_per_second": {
            name: {
                "read": round((each.read_bytes - before[name].read_bytes) / elapsed),
                "written": round((each.write_bytes - before[name].write_bytes) / elapsed),
            }
            for name, each in (after or {}).items()
            if name in (before or {})
        },
        "boot": psutil.boot_time(),
    }


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read(1 << 20)
