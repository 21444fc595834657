# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the user wants of a verification, read and checked before anything is looked at."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _catalog, _recovery, _settings
from ansible_collections.sre.runbooks.plugins.module_utils._backup._choice import Budget
from ansible_collections.sre.runbooks.plugins.module_utils._core import state, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError

SPEC: dict[str, t.Any] = {
    "directory": {"type": "path", "default": _settings.DIRECTORY},
    "names": {"type": "list", "elements": "str"},
    "sources": {"type": "list", "elements": "dict"},
    "level": {"type": "str", "choices": list(_catalog.LEVELS), "default": "restored"},
    "interval": {"type": "str"},
    "budget": {"type": "dict", "options": {"seconds": {"type": "str"}, "bytes": {"type": "str"}}},
    "encryption": {"type": "dict", "options": {"identity": {"type": "path"}}},
    "targets": _recovery.SPEC,
}


class Settings(t.NamedTuple):
    """All options of the module; `names` None for all that have copies, `given` the sources by name."""

    directory: str
    names: tuple[str, ...] | None
    given: dict[str, _settings.Item]
    level: str
    interval: float | None
    budget: Budget
    identity: str | None
    targets: _recovery.Targets
    state_dir: str

    def target(self, name: str) -> _recovery.Target:
        """What was promised for `name`. Where sources are given, a copy of something else is history and no promise."""
        return self.targets.of(name, not self.given or name in self.given)

    def identity_of(self, name: str) -> str | None:
        """The file with the secret key of the copies of `name`: the source's own, or that of all."""
        own = (self.given[name].source.get("encryption") or {}) if name in self.given else {}
        return own.get("identity") or self.identity


def settings(options: t.Mapping[str, t.Any]) -> tuple[Settings, set[str]]:
    """Read all options; return them and the secrets that stand in the sources."""
    items, secrets = _settings.items(options["sources"]) if options["sources"] else ([], set())
    given = {item.name: item for item in items}
    names = chosen(options["names"])
    targets = _recovery.targets(options["targets"])
    for name in targets.names:
        if names is not None and name not in names:
            raise InputError(
                f"targets.names.{name}",
                targets.names[name]._asdict(),
                "is for none of names",
                "Add it to names, or take it out.",
            )
    interval = options["interval"]
    read = Settings(
        place(options["directory"]),
        names,
        given,
        options["level"],
        None if interval is None else units.duration(interval, "interval"),
        _budget(options["budget"] or {}),
        _identity((options["encryption"] or {}).get("identity")),
        targets,
        state.directory(options["state_dir"]),
    )
    return read, secrets


def place(directory: str) -> str:
    """The folder of all backups, from the root on."""
    if not os.path.isabs(directory) or os.path.normpath(directory) == "/":
        raise InputError(
            "directory", directory, "is no place for backups", "Name a folder of its own, from the root on."
        )
    return os.path.normpath(directory)


def chosen(names: t.Sequence[str] | None) -> tuple[str, ...] | None:
    """The option `names`: names of folders, for they stand in paths."""
    if names is None:
        return None
    if not names:
        raise InputError("names", list(names), "names nothing", "Name sources, or leave the option out for all.")
    for name in names:
        if not name or "/" in name or name.startswith("."):
            raise InputError("names", name, "is no name of a source", "Give names as the module backup has them.")
    return tuple(dict.fromkeys(names))


def _budget(options: t.Mapping[str, t.Any]) -> Budget:
    seconds = None if options.get("seconds") is None else units.duration(options["seconds"], "budget.seconds")
    size = None if options.get("bytes") is None else units.size(options["bytes"], "budget.bytes")
    for name, value in (("seconds", seconds), ("bytes", size)):
        if value is not None and value <= 0:
            raise InputError(f"budget.{name}", options[name], "lets nothing be verified", "Give more, or leave it out.")
    return Budget(seconds, size)


def _identity(path: str | None) -> str | None:
    if path is not None and not os.access(path, os.R_OK):
        raise InputError(
            "encryption.identity", path, "cannot be read", "Name the file with the secret key, readable to this user."
        )
    return path
