# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""systemd units."""

from __future__ import annotations

import re
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import units as quantities
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation

METRICS = ("active", "restarts", "uptime_seconds")
OPTIONS: dict[str, t.Any] = {"units": {"type": "list", "elements": "str", "required": True}}
DEFAULT_BOUNDS: dict[str, t.Any] = {"active": {"critical": "< 1"}}
INHERENT = True
PROPERTIES = "Id,LoadState,ActiveState,SubState,NRestarts,ActiveEnterTimestampMonotonic"


def refuse(options: t.Mapping[str, t.Any]) -> None:
    """Names without wildcards, for systemd answers those with any number of units."""
    if not options["units"]:
        raise InputError("units", options["units"], "names no unit, so nothing would be checked", "Name at least one.")
    for name in options["units"]:
        if not name or re.search(r"[*?\[\s]", name):
            raise InputError("units", name, "is no unit's name", "Write each unit's whole name, without wildcards.")


def programs(_options: t.Mapping[str, t.Any]) -> list[str]:
    """What it runs on the host."""
    return ["systemctl"]


def observe_all(every: t.Sequence[t.Mapping[str, t.Any]], host: Host) -> list[list[Observation]]:
    """Ask systemd once for the `units` of all checks."""
    names = list(dict.fromkeys(name for options in every for name in options["units"]))
    argv = ["systemctl", "show", f"--property={PROPERTIES}", "--", *names]
    text = host.commands.run(argv, timeout=every[0]["timeout"]).stdout
    seen = dict(zip(names, parse(text, names, time.monotonic())))
    return [[seen[name] for name in dict.fromkeys(options["units"])] for options in every]


def parse(text: str, names: t.Sequence[str], monotonic: float) -> list[Observation]:
    """Read `systemctl show`: a block of `Property=value` lines for each unit, in the order asked."""
    blocks = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in text.strip().split("\n\n")]
    return [_observation(name, block, monotonic) for name, block in zip(names, blocks)]


def _observation(name: str, unit: t.Mapping[str, str], monotonic: float) -> Observation:
    if unit.get("LoadState") == "not-found":
        return Observation({"active": 0}, f"{name}: systemd knows no such unit", "critical", name)
    active = unit.get("ActiveState") in ("active", "reloading")
    metrics: dict[str, float] = {"active": int(active)}
    if unit.get("NRestarts", "").isdigit():
        metrics["restarts"] = int(unit["NRestarts"])
    entered = int(unit.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
    summary = f"{name} is {unit.get('ActiveState')} ({unit.get('SubState')})"
    if active and entered:
        metrics["uptime_seconds"] = round(max(0.0, monotonic - entered), 3)
        summary += f" for {quantities.show_duration(metrics['uptime_seconds'])}"
    return Observation(metrics, summary, target=name, details={"sub_state": unit.get("SubState")})
