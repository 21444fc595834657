# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lists of things that an engine works on, such as the `sources` of a backup: `{name, engine, …the engine's options}`."""

from __future__ import annotations

import re
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError

if t.TYPE_CHECKING:
    from types import ModuleType

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_COMMON: dict[str, t.Any] = {"name": {"type": "str", "required": True}, "engine": {"type": "str", "required": True}}
# An entry of an inventory serves several stages. What only another stage reads of it is passed over; what none knows is refused.
OTHER_STAGES = frozenset(
    {
        # backup
        "exclude", "interval", "verify", "retention", "compression", "encryption", "secret", "limits", "minimum_size", "shrink_limit", "restic",
        "globals", "lock_tables",
        # vacuum
        "full", "lock_timeout", "analyze", "integrity", "minimum_free_percent", "minimum_dead_percent",
    }
)  # fmt: skip


class Registry(t.Protocol):
    """The generated module `_registry` of a folder of engines."""

    NAMES: tuple[str, ...]

    def load(self, name: str) -> ModuleType:
        """Return the engine called `name`."""


class Item(t.NamedTuple):
    """One entry: its name, its engine's module and the options, validated by the engine's `OPTIONS` and those all entries share."""

    name: str
    engine_name: str
    engine: ModuleType
    source: dict[str, t.Any]

    @property
    def subject(self) -> str:
        """What its outcome is about."""
        return f"{self.engine_name}:{self.name}"


def read(
    entries: t.Sequence[t.Mapping[str, t.Any]],
    option: str,
    registry: Registry,
    shared: t.Mapping[str, t.Any] | None = None,
) -> tuple[list[Item], set[str]]:
    """Read the list that stands in `option`; return its entries and the secrets that stand in them.

    `shared` is the argument spec of what every entry may have besides the options of its engine. An engine has `OPTIONS`
    (argument spec) and `check(source, where)`, which raises InputError and fills in what depends on other options.
    """
    if not entries:
        raise InputError(option, entries, "names nothing", "Give at least one entry.")
    found: list[Item] = []
    secrets: set[str] = set()
    for index, entry in enumerate(entries):
        item, hidden = _item(entry, option, index, registry, shared or {})
        if any(item.name == other.name for other in found):
            raise InputError(
                f"{option}[{index}].name", item.name, "is used twice", "Give each entry a name of its own."
            )
        found.append(item)
        secrets |= hidden
    return found, secrets


def _item(
    entry: t.Mapping[str, t.Any], option: str, index: int, registry: Registry, shared: t.Mapping[str, t.Any]
) -> tuple[Item, set[str]]:
    name = entry.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(
            f"{option}[{index}].name",
            name,
            "is no name, for it stands in paths",
            "Use letters, digits, dots, dashes and underscores.",
        )
    where = f"{option}.{name}"
    engine_name = entry.get("engine")
    if engine_name not in registry.NAMES:
        raise InputError(f"{where}.engine", engine_name, "is no engine", f"Use one of {', '.join(registry.NAMES)}.")
    engine = registry.load(engine_name)
    spec = {**_COMMON, **shared, **engine.OPTIONS}
    given = {key: value for key, value in entry.items() if key in spec or key not in OTHER_STAGES}
    result = ArgumentSpecValidator(spec).validate(given)
    if result.error_messages:
        raise RunbookError(f"{where} (engine {engine_name}): {'; '.join(result.error_messages)}")
    source = result.validated_parameters
    engine.check(source, where)
    return Item(name, engine_name, engine, source), set(result._no_log_values)
