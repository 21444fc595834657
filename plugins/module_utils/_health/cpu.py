# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Load of the processors."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import _psutil, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation

METRICS = (
    "cpu_percent", "iowait_percent", "load1_per_cpu", "load5_per_cpu", "load15_per_cpu", "pressure_avg300_percent",
)  # fmt: skip
OPTIONS: dict[str, t.Any] = {"interval": {"type": "raw", "default": "100ms"}}
DEFAULT_BOUNDS: dict[str, t.Any] = {}
MEASURES_OVER_TIME = True
INHERENT = False
PRESSURE = "/proc/pressure/cpu"


def refuse(options: t.Mapping[str, t.Any]) -> None:
    """Without an interval there is nothing to compare with."""
    if units.duration(options["interval"], "interval") <= 0:
        raise InputError("interval", options["interval"], "is no time", "Give more than 0 seconds.")


def observe(options: t.Mapping[str, t.Any], _host: Host) -> list[Observation]:
    """Measure the use over `interval`; load averages and pressure (PSI, where the kernel has it) look further back."""
    psutil = _psutil.get()
    times = psutil.cpu_times_percent(interval=units.duration(options["interval"], "interval"))
    iowait = getattr(times, "iowait", 0.0)
    metrics = {"cpu_percent": round(max(0.0, 100.0 - times.idle - iowait), 1), "iowait_percent": iowait}
    cpus = os.cpu_count() or 1
    for minutes, load in zip((1, 5, 15), os.getloadavg()):
        metrics[f"load{minutes}_per_cpu"] = round(load / cpus, 3)
    pressure = _pressure()
    if pressure is not None:
        metrics["pressure_avg300_percent"] = pressure
    summary = f"{metrics['cpu_percent']:.1f} % of {cpus} CPUs, load {metrics['load5_per_cpu']:.2f} per CPU over 5 min"
    return [Observation(metrics, summary)]


def _pressure() -> float | None:
    """Share of the last 300 s in which some task waited for a CPU: `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`."""
    try:
        with open(PRESSURE, encoding="utf-8") as stream:
            words = stream.readline().split()
    except OSError:
        return None
    return next((float(word[7:]) for word in words if word.startswith("avg300=")), None)
