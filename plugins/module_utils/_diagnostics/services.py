# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Units of systemd: those given, those that failed, and the state of all services."""

from __future__ import annotations

import functools
import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._work import NothingHere

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._settings import Settings
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._work import Work

COLLECTS = "state of all services, and everything about failed and given units"
# Not Environment=, whose values are secrets often enough.
PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,Result,UnitFileState,FragmentPath,DropInPaths,ExecMainPID,ExecMainStatus,ExecMainCode,"
    "ExecMainStartTimestamp,ExecMainExitTimestamp,ActiveEnterTimestamp,InactiveEnterTimestamp,NRestarts,Restart,RestartUSec,User,Group,"
    "MemoryCurrent,MemoryPeak,MemoryMax,MemoryHigh,CPUUsageNSec,TasksCurrent,TasksMax,LimitNOFILE,OOMPolicy,After,Requires,Wants,PartOf"
)
MOST = 50
# systemctl status of a unit that does not run.
_NOT_RUNNING = (1, 2, 3, 4)


def would(settings: Settings) -> list[str]:
    """The given units."""
    return [*settings.units, "failed units"]


def collect(work: Work) -> None:
    """Lists first: where systemd does not answer, that ends it."""
    # sd_booted(3)
    if not os.path.isdir("/run/systemd/system") and not work.settings.units:
        raise NothingHere("this host was not started by systemd")
    work.program(
        "services/units.txt", ["systemctl", "list-units", "--all", "--plain", "--no-legend", "--no-pager", "--full"]
    )
    failed = work.commands.run(
        ["systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager", "--full"], timeout=work.left()
    )
    names = [line.split()[0] for line in failed.stdout.splitlines() if line.strip()]
    wanted = list(dict.fromkeys([*work.settings.units, *names]))[:MOST]
    actions: list[t.Callable[[], None]] = [
        functools.partial(_timers, work),
        *[functools.partial(_unit, work, unit) for unit in wanted],
    ]
    work.attempt(actions)


def _timers(work: Work) -> None:
    work.program("services/timers.txt", ["systemctl", "list-timers", "--all", "--no-pager"])


def _unit(work: Work, unit: str) -> None:
    with work.part(f"services/{unit}.txt") as part:
        shown = work.commands.run(["systemctl", "show", f"--property={PROPERTIES}", "--", unit], timeout=work.left())
        part.text(shown.stdout)
        part.text("")
        part.blocks(
            work.output(["systemctl", "status", "--no-pager", "--full", "--lines=50", "--", unit], _NOT_RUNNING)
        )
    if "LoadState=not-found" in shown.stdout:
        raise RunbookError(f"no unit {unit} on this host")
