# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Memory and swap of the host."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import _psutil, units
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation

METRICS = ("memory_percent", "available_bytes", "swap_percent", "oom_kills")
OPTIONS: dict[str, t.Any] = {}
DEFAULT_BOUNDS: dict[str, t.Any] = {}
INHERENT = False
VMSTAT = "/proc/vmstat"


def observe(_options: t.Mapping[str, t.Any], _host: Host) -> list[Observation]:
    """Measure; `oom_kills` counts since boot (Linux 4.13 and later)."""
    psutil = _psutil.get()
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    metrics = {"memory_percent": memory.percent, "available_bytes": memory.available, "swap_percent": swap.percent}
    oom_kills = _oom_kills()
    if oom_kills is not None:
        metrics["oom_kills"] = oom_kills
    summary = f"{memory.percent:.1f} % used, {units.show_size(memory.available)} available, swap {swap.percent:.1f} %"
    return [Observation(metrics, summary)]


def _oom_kills() -> int | None:
    """None where the kernel does not count them, or a container does not show the file."""
    try:
        with open(VMSTAT, encoding="utf-8") as stream:
            words = next((line.split() for line in stream if line.startswith("oom_kill ")), None)
    except OSError:
        return None
    return int(words[1]) if words else None
