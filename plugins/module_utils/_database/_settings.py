# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the user wants of database_vacuum: read and checked before anything is looked at."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import entries, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._database import _registry

# How a database is maintained; an entry of `databases` may say otherwise for itself.
HOW: dict[str, t.Any] = {
    "full": {"type": "bool"},
    "analyze": {"type": "bool"},
    "integrity": {"type": "str", "choices": ["none", "quick", "full"]},
    "lock_timeout": {"type": "str"},
    "minimum_free_percent": {"type": "float"},
    "minimum_dead_percent": {"type": "float"},
}
DEFAULTS: dict[str, t.Any] = {
    "full": False,
    "analyze": True,
    "integrity": "full",
    "lock_timeout": "10s",
    "minimum_free_percent": 10.0,
    "minimum_dead_percent": 5.0,
}
SPEC: dict[str, t.Any] = {
    "databases": {"type": "list", "elements": "dict", "required": True},
    "budget": {"type": "dict", "options": {"seconds": {"type": "str"}, "bytes": {"type": "str"}}},
    **{name: {**spec, "default": DEFAULTS[name]} for name, spec in HOW.items()},
}


class Settings(t.NamedTuple):
    """What one run may cost, in seconds and bytes; None for no limit."""

    seconds: float | None
    bytes: int | None


def settings(options: t.Mapping[str, t.Any]) -> Settings:
    """Read the budget."""
    budget = options["budget"] or {}
    seconds = None if budget.get("seconds") is None else units.duration(budget["seconds"], "budget.seconds")
    size = None if budget.get("bytes") is None else units.size(budget["bytes"], "budget.bytes")
    for name, value in (("seconds", seconds), ("bytes", size)):
        if value is not None and value <= 0:
            raise InputError(f"budget.{name}", budget[name], "allows nothing", "Give more than 0, or leave it out.")
    return Settings(seconds, size)


def items(options: t.Mapping[str, t.Any]) -> tuple[list[entries.Item], set[str]]:
    """Read the databases; each gets the options of HOW, its own or the module's, in units that engines use."""
    found, secrets = entries.read(options["databases"], "databases", _registry, HOW)
    _read("", options, options)
    for item in found:
        item.source.update(_read(f"databases.{item.name}.", item.source, options))
    return found, secrets


def _read(where: str, own: t.Mapping[str, t.Any], general: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    how = {name: general[name] if own.get(name) is None else own[name] for name in HOW}
    for name in ("minimum_free_percent", "minimum_dead_percent"):
        if not 0 <= how[name] <= 100:
            raise InputError(f"{where}{name}", how[name], "is no share", "Give percent from 0 to 100.")
    how["lock_seconds"] = units.duration(how["lock_timeout"], f"{where}lock_timeout")
    if how["lock_seconds"] < 0.001:
        raise InputError(f"{where}lock_timeout", how["lock_timeout"], "is no time", "Give at least 1ms.")
    return how
