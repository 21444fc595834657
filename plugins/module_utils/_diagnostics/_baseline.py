# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the host was when it was last well, and what is different now (I4).

The facts are small JSON without secrets: of processes their program and user, of settings those of the kernel, of files size and time.
"""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import _psutil
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_size
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics import _find

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

NAME = "diagnostics-baseline"
VERSION = 1
MOST_FILES = 5000
SHOWN = 50
SECONDS = 10.0
_SETTINGS = (
    "fs/file-max", "fs/inotify/max_user_watches", "kernel/pid_max", "kernel/threads-max", "kernel/shmmax", "kernel/tainted", "net/core/somaxconn",
    "net/ipv4/ip_local_port_range", "net/ipv4/tcp_max_syn_backlog", "net/ipv4/ip_forward", "vm/dirty_ratio", "vm/max_map_count",
    "vm/nr_hugepages", "vm/overcommit_memory", "vm/overcommit_ratio", "vm/swappiness",
)  # fmt: skip
# Memory or a disk that moved less is no difference.
MOVED = 0.05
_HUGEPAGES = "/sys/kernel/mm/transparent_hugepage/enabled"

Facts = t.Dict[str, t.Any]  # noqa: UP006  evaluated on Python 3.9 too


def gather(paths: t.Sequence[str], commands: Commands, now: float) -> Facts:
    """What is compared. Of what cannot be asked here the fact is missing."""
    facts: Facts = {"version": VERSION, "time": now}
    asked: dict[str, t.Callable[[], t.Any]] = {
        "resources": _resources,
        "processes": _processes,
        "services": lambda: _services(commands),
        "packages": lambda: _packages(commands),
        "settings": _settings,
        "files": lambda: _files(paths),
    }
    for name, ask in asked.items():
        with contextlib.suppress(RunbookError, OSError):
            facts[name] = ask()
    return facts


def _resources() -> Facts:
    psutil = _psutil.get()
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    disks = {}
    for disk in psutil.disk_partitions(all=False):
        with contextlib.suppress(OSError):
            usage = psutil.disk_usage(disk.mountpoint)
            disks[disk.mountpoint] = {"total_bytes": usage.total, "used_bytes": usage.used}
    return {
        "cpus": psutil.cpu_count(),
        "load1": round(os.getloadavg()[0], 2),
        "memory": {"total_bytes": memory.total, "used_bytes": memory.total - memory.available},
        "swap": {"total_bytes": swap.total, "used_bytes": swap.used},
        "disks": disks,
        "boot": int(psutil.boot_time()),
    }


def _processes() -> dict[str, dict[str, int]]:
    """Programs by `name user`. Threads of the kernel come and go."""
    psutil = _psutil.get()
    found: dict[str, dict[str, int]] = {}
    own = {os.getpid(), os.getppid()}
    for process in psutil.process_iter(["pid", "ppid", "name", "username", "memory_info"]):
        info = process.info
        if (
            info["ppid"] == 2
            or info["pid"] == 2
            or info["pid"] in own
            or info["ppid"] in own
            or not info["memory_info"]
        ):
            continue
        each = found.setdefault(f"{info['name']} {info['username']}", {"count": 0, "memory_bytes": 0})
        each["count"] += 1
        each["memory_bytes"] += info["memory_info"].rss
    return found


def _services(commands: Commands) -> dict[str, str]:
    argv = ["systemctl", "list-units", "--type=service", "--all", "--plain", "--no-legend", "--no-pager", "--full"]
    rows = [line.split(None, 4) for line in commands.run(argv, timeout=SECONDS).stdout.splitlines()]
    return {row[0]: f"{row[2]}/{row[3]}" for row in rows if len(row) > 3 and row[1] != "not-found"}


def _packages(commands: Commands) -> dict[str, str]:
    try:
        text = commands.run(
            ["dpkg-query", "--show", "--showformat=${db:Status-Abbrev}\t${binary:Package}\t${Version}\n"],
            timeout=SECONDS,
        ).stdout
    except RunbookError:
        text = commands.run(["rpm", "-qa", "--queryformat", "ii \t%{NAME}.%{ARCH}\t%{EVR}\n"], timeout=SECONDS).stdout
    rows = [line.split("\t") for line in text.splitlines()]
    return {row[1]: row[2] for row in rows if len(row) == 3 and row[0].startswith("ii")}


def _settings() -> dict[str, str]:
    found = {}
    for name in _SETTINGS:
        with contextlib.suppress(OSError), open(f"/proc/sys/{name}", encoding="ascii", errors="replace") as stream:
            found[name.replace("/", ".")] = " ".join(stream.read().split())
    with contextlib.suppress(OSError), open(_HUGEPAGES, encoding="ascii", errors="replace") as stream:
        found["transparent_hugepage"] = stream.read().strip()
    return found


def _files(paths: t.Sequence[str]) -> dict[str, list[int]]:
    """Size and time of each file below the paths; where there are more than `MOST_FILES` of them, of none beyond."""
    found: dict[str, list[int]] = {}
    deadline = time.monotonic() + SECONDS
    for path in paths:
        for each, info in _find.files(path):
            if len(found) >= MOST_FILES or time.monotonic() > deadline:
                return found
            found[each] = [info.st_size, int(info.st_mtime)]
    return found


def compare(before: Facts, now: Facts) -> dict[str, t.Any]:
    """What is different, by subject; only subjects that both know, and only those with a difference."""
    found: dict[str, t.Any] = {}
    both = before.keys() & now.keys()
    if "resources" in both:
        found["resources"] = _moved(before["resources"], now["resources"])
    if "processes" in both:
        found["processes"] = _programs(before["processes"], now["processes"])
    for name in ("services", "packages", "settings", "files"):
        if name in both:
            found[name] = _changed(before[name], now[name])
    return {name: each for name, each in found.items() if each}


def _changed(before: t.Mapping[str, t.Any], now: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    found = {
        "new": {name: now[name] for name in sorted(now.keys() - before.keys())},
        "missing": {name: before[name] for name in sorted(before.keys() - now.keys())},
        "changed": {
            name: [before[name], now[name]] for name in sorted(now.keys() & before.keys()) if before[name] != now[name]
        },
    }
    return {name: each for name, each in found.items() if each}


def _programs(before: t.Mapping[str, t.Any], now: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """How many there are of a program changes all the time: only their coming and going is told, and much more memory."""
    found = _changed(dict.fromkeys(before, 1), dict.fromkeys(now, 1))
    grown = {
        name: [before[name]["memory_bytes"], now[name]["memory_bytes"]]
        for name in sorted(now.keys() & before.keys())
        if now[name]["memory_bytes"] > 2 * before[name]["memory_bytes"] + (64 << 20)
    }
    result: dict[str, t.Any] = {name: sorted(each) for name, each in found.items()}
    return {**result, **({"grown": grown} if grown else {})}


def _moved(before: Facts, now: Facts) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {}
    pairs = {name: (before.get(name, {}), now.get(name, {})) for name in ("memory", "swap")}
    disks = before.get("disks", {}).keys() | now.get("disks", {}).keys()
    pairs.update(
        {f"disk {name}": (before["disks"].get(name, {}), now["disks"].get(name, {})) for name in sorted(disks)}
    )
    for name, (old, new) in pairs.items():
        if not old or not new:
            found[name] = "new" if new else "missing"
        elif old["total_bytes"] != new["total_bytes"]:
            found[name] = {"total_bytes": [old["total_bytes"], new["total_bytes"]]}
        elif abs(new["used_bytes"] - old["used_bytes"]) > MOVED * new["total_bytes"]:
            found[name] = {"used_bytes": [old["used_bytes"], new["used_bytes"]], "total_bytes": new["total_bytes"]}
    if before.get("cpus") != now.get("cpus"):
        found["cpus"] = [before.get("cpus"), now.get("cpus")]
    # A clock that is corrected moves the time of the boot by some seconds.
    if abs(before.get("boot", 0) - now.get("boot", 0)) > 60:
        found["rebooted"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now.get("boot", 0)))
    return found


def lines(differences: t.Mapping[str, t.Any]) -> list[str]:
    """The differences for a person, at most `SHOWN` of a kind."""
    told: list[str] = []
    for name, each in differences.get("resources", {}).items():
        told.append(f"resources: {name} {_resource(each)}")
    for subject in ("services", "processes", "packages", "settings", "files"):
        for kind, found in differences.get(subject, {}).items():
            names = list(found)
            for name in names[:SHOWN]:
                value = found[name] if isinstance(found, dict) else None
                told.append(f"{subject}: {kind} {name}{_value(subject, kind, value)}")
            if len(names) > SHOWN:
                told.append(f"{subject}: {kind}: {len(names) - SHOWN} more")
    return told


def _resource(value: t.Any) -> str:
    if isinstance(value, dict):
        ((name, (old, new)),) = [(name, pair) for name, pair in value.items() if isinstance(pair, list)]
        of = f" of {show_size(value['total_bytes'])}" if name == "used_bytes" else " in all"
        return f"{show_size(old)} -> {show_size(new)}{of}"
    return f"{value[0]} -> {value[1]}" if isinstance(value, list) else str(value)


def _value(subject: str, kind: str, value: t.Any) -> str:
    if value is None or (subject == "processes" and kind != "grown"):
        return ""
    if subject == "files":
        pair = value if kind == "changed" else [value]
        return ": " + " -> ".join(
            f"{show_size(size)} of {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(when))}" for size, when in pair
        )
    if kind in ("changed", "grown"):
        old, new = value
        return f": {show_size(old)} -> {show_size(new)}" if kind == "grown" else f": {old} -> {new}"
    return f": {value}"
