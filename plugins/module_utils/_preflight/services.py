# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services and containers of the host that no check looks at."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import _psutil, pattern
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._preflight import _listeners, _servers, _units
from ansible_collections.sre.runbooks.plugins.module_utils._preflight._finding import Finding, Looked

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Check, Host
    from ansible_collections.sre.runbooks.plugins.module_utils._preflight._inventory import Inventory
    from ansible_collections.sre.runbooks.plugins.module_utils._preflight._units import Unit

RULES = {
    "service_uncovered": "a service of the site's own (unit in /etc or /usr/local), or one that serves others by TCP, may die unnoticed",
    "container_uncovered": "a container may die unnoticed",
    "services_unknown": "whose the ports are that are listened on, only root may see",
}
# Where the site's own units are; those of packages lie in /usr/lib or /lib.
OWN = ("/etc/systemd/system/", "/usr/local/")
# What every host has, and what tells of itself when it is down: without sshd no playbook runs.
BASE = ("ssh.service", "sshd.service", "systemd-*", "dbus*", "getty@*", "serial-getty@*", "chrony*", "ntp*")


def look(inventory: Inventory, host: Host) -> Looked:
    """Compare systemd's services and the runtimes' containers with the checks."""
    units = _units.services(host.commands)
    listeners = _listeners.listeners()
    findings: list[Finding] = []
    candidates: list[tuple[Unit, set[int]]] = []
    if units is not None:
        looked_at = _listeners.checked(inventory.checks)
        ports = _ports(units, listeners, host)
        candidates = [(each, ports.get(each.name, set())) for each in units if _matters(each, ports)]
        findings += [
            _uncovered(unit, listening)
            for unit, listening in candidates
            if not looked_at & listening and not covered(unit, inventory.checks)
        ]
        hidden = sorted({each.port for each in listeners if each.pid is None})
        # What even root may not see belongs to the machine around this one.
        if hidden and os.geteuid() != 0:
            findings.append(
                Finding(
                    "service:listening", "unknown", "services_unknown",
                    f"whose the ports {', '.join(map(str, hidden))} are cannot be seen", "Run with become",
                )
            )  # fmt: skip
    containers = _units.containers(host.commands) or {}
    findings += [
        Finding(
            f"container:{name}", "warning", "container_uncovered", "it runs, and no check looks at it",
            "Add a check: {name: containers, type: containers}",
        )
        for name, project in sorted(containers.items())
        if not any(_looks_into(each, name, project) for each in inventory.checks)
    ]  # fmt: skip
    services = f"{len(candidates)} services that matter" if units is not None else "no systemd"
    return Looked(findings, f"{services}, {len(containers)} containers: none without a check")


def _matters(unit: Unit, ports: t.Mapping[str, set[int]]) -> bool:
    if any(fnmatch.fnmatchcase(unit.name, each) for each in BASE):
        return False
    own = unit.path.startswith(OWN) and not unit.job and (unit.enabled or unit.active)
    return own or (unit.active and unit.name in ports)


def _ports(units: t.Sequence[Unit], listeners: t.Sequence[_listeners.Listener], host: Host) -> dict[str, set[int]]:
    """The ports that each unit's processes listen on; a database's server counts without any, for its socket."""
    by_pid = {each.pid: each.name for each in units if each.pid}
    found: dict[str, set[int]] = {}
    for listener in listeners:
        name = unit_of(listener.pid, by_pid) if listener.pid else None
        if name:
            found.setdefault(name, set()).add(listener.port)
    for server in _servers.running(host.commands):
        name = unit_of(server.pid, by_pid) if server.pid and not server.inside else None
        if name:
            found.setdefault(name, set()).update(server.place.ports)
    return found


def unit_of(pid: int, by_pid: t.Mapping[int, str]) -> str | None:
    """The service of a process: by its control group, else by the main process that it descends from."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as stream:
        match = re.search(r"/([^/\n]+\.service)(?:/|$)", stream.read(), re.MULTILINE)
        if match:
            return match[1].replace("\\x2d", "-")
    psutil = _psutil.get()
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (process, *process.parents()):
            if each.pid in by_pid:
                return by_pid[each.pid]
    return None


def covered(unit: Unit, checks: t.Sequence[Check]) -> bool:
    """Whether a check names the unit or finds its process."""
    for check in checks:
        if check.type == "service" and {_full(each) for each in check.options["units"]} & unit.names:
            return True
        if check.type == "process" and unit.pid and _finds(check, unit.pid):
            return True
    return False


def _full(name: str) -> str:
    return name if re.search(r"\.[a-z]+$", name) else f"{name}.service"


def _finds(check: Check, pid: int) -> bool:
    """Whether a check of processes means this one."""
    if check.options["pidfile"]:
        with contextlib.suppress(OSError, ValueError), open(check.options["pidfile"], encoding="utf-8") as stream:
            return int(stream.readline()) == pid
        return False
    with contextlib.suppress(OSError, RunbookError), open(f"/proc/{pid}/cmdline", "rb") as stream:
        line = stream.read().replace(b"\0", b" ").decode("utf-8", "replace")
        expression = pattern.compiled(check.options["pattern"], f"{check.name}.pattern")
        return pattern.search(expression, line, f"{check.name}.pattern") is not None
    return False


def _uncovered(unit: Unit, ports: t.Collection[int]) -> Finding:
    how = "runs" if unit.active else "is enabled"
    listening = f" and listens on {', '.join(map(str, sorted(ports)))}" if ports else ""
    return Finding(
        f"service:{unit.name}", "warning", "service_uncovered", f"it {how}{listening}, and no check looks at it",
        f"Add it to a check: {{name: services, type: service, units: [{unit.name}]}}", {"path": unit.path},
    )  # fmt: skip


def _looks_into(check: Check, container: str, project: str) -> bool:
    options = check.options
    if check.type == "containers":
        if options["names"] is not None:
            return container in options["names"]
        return options["project"] in (None, "", project)
    return bool((options.get("connection") or options).get("container") == container)
