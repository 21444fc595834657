# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the user wants of database_indexes, read and checked before anything is looked at."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import entries, threshold, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._database import _registry
from ansible_collections.sre.runbooks.plugins.module_utils._database._engine import Index, Limits

WANTED: dict[str, t.Any] = {
    "database": {"type": "str", "required": True},
    "table": {"type": "str", "required": True},
    "schema": {"type": "str"},
    "columns": {"type": "list", "elements": "str", "required": True},
    "name": {"type": "str"},
    "unique": {"type": "bool", "default": False},
    "where": {"type": "str"},
    "method": {"type": "str"},
}
FINDINGS = (
    "foreign_key_without_index", "sequential_scans", "unused_index", "duplicate_index", "broken_index", "table_without_primary_key",
)  # fmt: skip
SPEC: dict[str, t.Any] = {
    "databases": {"type": "list", "elements": "dict", "required": True},
    "indexes": {"type": "list", "elements": "dict", "default": [], "options": WANTED},
    "timeout": {"type": "str", "default": "1h"},
    "lock_timeout": {"type": "str", "default": "10s"},
    "report": {"type": "list", "elements": "str", "choices": list(FINDINGS), "default": list(FINDINGS)},
    "ignore": {"type": "list", "elements": "str", "default": []},
    "minimum_table_size": {"type": "str", "default": "8MiB"},
    "minimum_age": {"type": "str", "default": "7d"},
    "slow_queries": {
        "type": "dict",
        "apply_defaults": True,
        "options": {
            "warning": {"type": "raw", "default": "> 1"},
            "critical": {"type": "raw"},
            "calls": {"type": "int", "default": 5},
            "limit": {"type": "int", "default": 10},
        },
    },
}
# Longer names are cut off by PostgreSQL without a word (NAMEDATALEN), refused by MariaDB.
LONGEST = {"postgresql": 63, "mysql": 64}
METHODS = {"sqlite": (), "mysql": ("btree", "hash")}


class Settings(t.NamedTuple):
    """Times in seconds; `bounds` are those of a statement's mean time."""

    wanted: dict[str, list[Index]]
    seconds: float
    lock_seconds: float
    report: tuple[str, ...]
    ignore: tuple[str, ...]
    limits: Limits
    bounds: dict[str, list[threshold.Bound]]


def items(options: t.Mapping[str, t.Any]) -> tuple[list[entries.Item], set[str]]:
    """Read the databases."""
    return entries.read(options["databases"], "databases", _registry)


def settings(options: t.Mapping[str, t.Any], found: t.Sequence[entries.Item]) -> Settings:
    """Read everything but the databases."""
    engines = {item.name: item.engine_name for item in found}
    wanted: dict[str, list[Index]] = {name: [] for name in engines}
    for number, entry in enumerate(options["indexes"]):
        index = _index(f"indexes[{number}]", entry, engines)
        if any(_same_name(index, other) for other in wanted[entry["database"]]):
            raise InputError(
                f"indexes[{number}].name", index.name, "is used twice", "Give each index a name of its own."
            )
        wanted[entry["database"]].append(index)
    slow = options["slow_queries"]
    for name in ("calls", "limit"):
        if slow[name] < 1:
            raise InputError(f"slow_queries.{name}", slow[name], "is no number of statements", "Give 1 or more.")
    return Settings(
        wanted,
        _time(options, "timeout"),
        _time(options, "lock_timeout"),
        tuple(options["report"]),
        tuple(options["ignore"]),
        Limits(
            units.size(options["minimum_table_size"], "minimum_table_size"),
            units.duration(options["minimum_age"], "minimum_age"),
            slow["calls"],
            slow["limit"],
        ),
        threshold.parse_levels(slow, "slow_queries"),
    )


def _time(options: t.Mapping[str, t.Any], name: str) -> float:
    seconds = units.duration(options[name], name)
    if seconds < 0.001:
        raise InputError(name, options[name], "is no time", "Give at least 1ms.")
    return seconds


def _index(where: str, entry: t.Mapping[str, t.Any], engines: t.Mapping[str, str]) -> Index:
    engine = engines.get(entry["database"])
    if engine is None:
        raise InputError(
            f"{where}.database", entry["database"], "is no database of this call", f"Use one of {', '.join(engines)}."
        )
    columns = tuple(entry["columns"])
    if not columns or len(set(columns)) < len(columns) or "" in columns:
        raise InputError(f"{where}.columns", list(columns), "are no columns", "Name each column once, at least one.")
    for option in ("schema", "where", "method"):
        _known(f"{where}.{option}", option, entry[option], engine)
    name = entry["name"] or f"idx_{entry['table']}_{'_'.join(columns)}"
    for text in (name, entry["table"], *columns):
        if "\0" in text or len(text.encode()) > LONGEST.get(engine, 1000):
            raise InputError(f"{where}.name", text, f"is no name for {engine}", "Give a shorter one of its own.")
    return Index(entry["table"], entry["schema"], columns, name, entry["unique"], entry["where"], entry["method"])


def _known(where: str, option: str, value: str | None, engine: str) -> None:
    """What only some engines have is refused elsewhere, for there it would be left out in silence."""
    if value is None or engine == "postgresql":
        return
    if option == "method" and value.lower() in METHODS.get(engine, ()):
        return
    if option != "where" or engine == "mysql":
        raise InputError(where, value, f"is nothing that {engine} knows", "Leave it out.")


def _same_name(one: Index, other: Index) -> bool:
    return (one.schema, one.name, one.table) == (other.schema, other.name, other.table)
