# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an inventory says of reports: KPIs, limits, prices, schedules. Read before a run begins, and when it is reported."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.plugin_utils.capacity import Limit, read_limits
from ansible_collections.sre.runbooks.plugins.plugin_utils.costs import read_costs
from ansible_collections.sre.runbooks.plugins.plugin_utils.kpis import Kpi, read_kpis
from ansible_collections.sre.runbooks.plugins.plugin_utils.model_period import Settings
from ansible_collections.sre.runbooks.plugins.plugin_utils.period import NAMES
from ansible_collections.sre.runbooks.plugins.plugin_utils.schedule import read_schedules

ARGUMENTS: dict[str, t.Any] = {
    "period": {"type": "str", "choices": ["", "none", *NAMES], "default": ""},
    "kpis": {"type": "list", "elements": "dict", "default": []},
    "limits": {"type": "list", "elements": "dict", "default": []},
    "costs": {"type": "dict", "default": {}},
    "schedules": {"type": "list", "elements": "dict", "default": []},
}
T = t.TypeVar("T")


def settings(
    arguments: Mapping[str, t.Any],
    playbook: str,
    kpis_of: Mapping[str, list[Kpi]] | None = None,
    limits_of: Mapping[str, list[Limit]] | None = None,
) -> Settings:
    """Return what the options of C(sre.runbooks.report), and the systems', say of a run of `playbook`. Raises InputError."""
    period = arguments["period"] or (playbook if playbook in NAMES else "none")
    return Settings(
        "" if period == "none" else period,
        read_kpis(arguments["kpis"]),
        kpis_of or {},
        read_limits(arguments["limits"]),
        limits_of or {},
        read_costs(arguments["costs"]),
        read_schedules(arguments["schedules"], "schedules"),
    )


def of_systems(
    hostvars: t.Any, hosts: Mapping[str, Iterable[str]], kind: str, read: t.Callable[[t.Any, str], list[T]]
) -> dict[str, list[T]]:
    """Return what `read` makes of the lists C(runbooks_<kind>) and C(runbooks_<kind>_*) of each system.

    They are those of one of its hosts, for what a system is stands in its group's variables. `hosts` are names by system;
    those that are not in the inventory any more do not count. Raises InputError.
    """
    found = {}
    for system, names in hosts.items():
        name = next((each for each in sorted(names) if each in hostvars), None)
        if name is not None:
            variables = [each for each in sorted(hostvars.raw_get(name)) if _is(f"runbooks_{kind}", each)]
            found[system] = [entry for each in variables for entry in read(hostvars[name][each], each)]
    return found


def _is(prefix: str, name: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}_")


def problems(variables: Mapping[str, t.Any], template: t.Callable[[t.Any], t.Any]) -> list[str]:
    """Return what is wrong with what a host's `variables` say of reports; each may be a template."""
    readers: dict[str, t.Callable[[t.Any, str], t.Any]] = {
        "kpis": read_kpis, "limits": read_limits, "costs": read_costs, "schedules": read_schedules,
    }  # fmt: skip
    told = []
    for kind, read in readers.items():
        for name in sorted(map(str, variables)):
            if name == f"report_{kind}" or _is(f"runbooks_{kind}", name):
                try:
                    read(template(variables[name]), name)
                except InputError as error:
                    told.append(str(error))
    return told
