# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes that run from files which an update has replaced, as needrestart finds them.

psutil hides the mark of a deleted file when a new one has its name, so the maps of each process are read as the kernel tells them.
"""

from __future__ import annotations

import os
import re
import typing as t

PROC = "/proc"
DELETED = " (deleted)"
# No file of a package is there: shared memory, code made at run time, sockets.
_UNNAMED = ("/memfd:", "/SYSV", "/dev/", "/anon_hugepage", "/[aio]", "/i915", "/drm")
# A file there counts only when a new one has its name: programs map temporary files and delete them.
_TEMPORARY = ("/tmp/", "/var/tmp/", "/run/", "/var/run/")  # noqa: S108  told apart, never used
_CONTAINER = re.compile(r"docker|libpod|containerd|kubepods|lxc|machine\.slice")
_UNIT = re.compile(r"/([^/]+\.service)(?:/|$)")


class Process(t.NamedTuple):
    """A process that still runs what was replaced; `unit` is its service, empty where it belongs to none."""

    pid: int
    name: str
    command: str
    unit: str
    files: tuple[str, ...]


def processes() -> list[Process]:
    """All of this host but those of containers, whose files come from images; those that may not be looked at are left out."""
    found = []
    for entry in os.listdir(PROC):
        if not entry.isdigit():
            continue
        try:
            process = _process(int(entry))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if process is not None:
            found.append(process)
    return sorted(found)


def _process(pid: int) -> Process | None:
    files = replaced(_read(pid, "maps"))
    if not files:
        return None
    group = _read(pid, "cgroup")
    if _CONTAINER.search(group):
        return None
    command = " ".join(part for part in _read(pid, "cmdline").split("\0") if part)
    return Process(pid, _read(pid, "comm").strip(), command, unit_of(group), files)


def _read(pid: int, name: str) -> str:
    with open(f"{PROC}/{pid}/{name}", encoding="utf-8", errors="surrogateescape") as stream:
        return stream.read()


def replaced(maps: str) -> tuple[str, ...]:
    """Paths of the files in `/proc/<pid>/maps` that the process executes from and that are gone."""
    found = set()
    for line in maps.splitlines():
        if not line.endswith(DELETED):
            continue
        fields = line.split(None, 5)
        if len(fields) < 6 or "x" not in fields[1]:
            continue
        path = fields[5][: -len(DELETED)]
        if not path.startswith("/") or path.startswith(_UNNAMED):
            continue
        if path.startswith(_TEMPORARY) and not os.path.exists(path):
            continue
        found.add(path)
    return tuple(sorted(found))


def unit_of(group: str) -> str:
    """The service of the system in `/proc/<pid>/cgroup`; services of a user's own manager and sessions are none."""
    for line in group.splitlines():
        path = line.rpartition(":")[2]
        if "/user.slice/" in path or path.startswith("/user.slice"):
            continue
        units = _UNIT.findall(path)
        if units:
            return str(units[0])
    return ""
