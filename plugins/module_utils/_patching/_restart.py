# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services that still run what was replaced are restarted in the order that the user wants, and looked at after."""

from __future__ import annotations

import fnmatch
import os
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import replaced
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host

STAGE = "patching"
SECONDS = 120.0
INIT = "systemd"


class Action(t.NamedTuple):
    """What is restarted, by what; `argv` empty where it is left to a person or a reboot."""

    name: str
    argv: tuple[str, ...]
    why: str
    held: bool = False


def plan(processes: t.Sequence[replaced.Process], given: t.Mapping[str, t.Any]) -> list[Action]:
    """The actions in their order: those of `restart_order` first, the others by name, what is left alone at the end."""
    found: dict[str, Action] = {}
    for each in processes:
        action = _action(each, given)
        found.setdefault(action.name, action)
    order = given["restart_order"]

    def place(action: Action) -> tuple[bool, int, str]:
        ranks = [rank for rank, pattern in enumerate(order) if fnmatch.fnmatchcase(action.name, pattern)]
        return not action.argv, ranks[0] if ranks else len(order), action.name

    return sorted(found.values(), key=place)


def _action(process: replaced.Process, given: t.Mapping[str, t.Any]) -> Action:
    files = ", ".join(os.path.basename(path) for path in process.files[:2])
    for program in given["programs"]:
        if re.search(program["match"], process.command):
            return Action(program["name"], tuple(program["command"]), files)
    if process.pid == 1:
        return Action(INIT, ("systemctl", "daemon-reexec"), files)
    if not process.unit:
        return Action(process.name, (), files)
    if any(fnmatch.fnmatchcase(process.unit, pattern) for pattern in given["restart_never"]):
        return Action(process.unit, (), files, True)
    return Action(process.unit, ("systemctl", "restart", process.unit), files)


def waiting() -> list[replaced.Process]:
    """Processes that run what was replaced, but for this one and those that it runs below."""
    ours = set()
    pid = os.getpid()
    while pid > 1 and pid not in ours:
        ours.add(pid)
        pid = _parent(pid)
    return [each for each in replaced.processes() if each.pid not in ours]


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            # The name in brackets may hold anything.
            return int(stream.read().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def perform(actions: t.Sequence[Action], host: Host) -> list[dict[str, t.Any]]:
    """Restart one after the other; one that fails keeps no other from it."""
    outcomes = []
    for each in actions:
        status, text = "warning", f"{each.name} still runs what was replaced ({each.why}): restart it by hand"
        if each.held:
            text = f"{each.name} still runs what was replaced ({each.why}): it is not restarted, a reboot does it"
        if each.argv:
            status, text = _one(each, host)
        outcomes.append(outcome(f"restart:{each.name}", STAGE, status, text))
    return outcomes


def _one(action: Action, host: Host) -> tuple[str, str]:
    try:
        host.commands.run(action.argv, timeout=SECONDS)
        if action.argv[:2] == ("systemctl", "restart"):
            # A unit that fails at once is active for a moment only: its job has ended by now.
            host.commands.run(["systemctl", "is-active", "--quiet", action.argv[2]], timeout=SECONDS)
    except RunbookError as error:
        return "critical", f"{action.name} could not be restarted: {error}"
    return "ok", f"{action.name} was restarted, for it ran what was replaced ({action.why})"
