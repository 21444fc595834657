# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of a bundle, read and refused before anything is looked at."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import entries, pattern, state, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics import _registry

if t.TYPE_CHECKING:
    from types import ModuleType

STAGE = "diagnostics"
# What will have changed in a minute comes first.
ORDER = (
    "processes", "resources", "postgresql", "mysql", "redis", "sqlite", "sockets", "services", "journal", "logs", "kernel", "network",
    "containers", "changes", "sos",
)  # fmt: skip
ENGINES = ("mysql", "postgresql", "redis", "sqlite")
# What takes long, or tells of others than this host, is collected only where asked.
ON_REQUEST = ("containers", "sos")
STATUSES = ("ok", "skipped", "unknown", "warning", "critical")
SMALLEST = 1 << 16
# A shorter value of an environment file, such as `test`, is part of too many words to be blotted out of a result.
SHORTEST_BLOTTED = 6
_INCIDENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_SECRET_NAME = re.compile(r"(?i)pass|pwd|secret|token|key|credential|auth|dsn|signature|salt")
_VARIABLE = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*\Z")
_IN_URL = re.compile(r"://[^\s/:@]*:([^\s/@]+)@")
_LISTS = {"type": "list", "elements": "str", "default": []}
_PATHS = {"type": "list", "elements": "path", "default": []}
LIMITS: dict[str, t.Any] = {
    "bytes": {"type": "str", "default": "50MiB"},
    "part": {"type": "str", "default": "8MiB"},
    "seconds": {"type": "str", "default": "120s"},
    "collector": {"type": "str", "default": "60s"},
    "reserve": {"type": "str", "default": "256MiB"},
}
SOS: dict[str, t.Any] = {
    "bytes": {"type": "str", "default": "100MiB"},
    "seconds": {"type": "str", "default": "5m"},
    "plugins": _LISTS,
}
SPEC: dict[str, t.Any] = {
    "incident": {"type": "str", "default": ""},
    "collect": {"type": "list", "elements": "str", "choices": list(_registry.NAMES)},
    "units": _LISTS,
    "logs": _PATHS,
    "databases": {"type": "list", "elements": "dict", "default": []},
    "containers": _LISTS,
    "paths": _PATHS,
    "deployments": _PATHS,
    "since": {"type": "str", "default": "2h"},
    "changed_within": {"type": "str", "default": "24h"},
    "limits": {"type": "dict", "default": {}, "apply_defaults": True, "options": LIMITS},
    "sos": {"type": "dict", "default": {}, "apply_defaults": True, "options": SOS},
    "directory": {"type": "path"},
    "keep": {"type": "int", "default": 10},
    "redact": _LISTS,
    "secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "env_files": _PATHS,
    "baseline": {"type": "str", "choices": ["compare", "save", "none"], "default": "compare"},
    "health": {"type": "str", "choices": list(STATUSES)},
    "fetch_directory": {"type": "path"},
}  # fmt: skip


class Pattern(t.NamedTuple):
    """A user's expression for secrets; `option` names it in messages."""

    option: str
    expression: re.Pattern[str]


class Limits(t.NamedTuple):
    """Bytes of all parts and of one, seconds of all collectors and of one, bytes of the disk that stay free."""

    bytes: int
    part: int
    seconds: float
    collector: float
    reserve: int


class Sos(t.NamedTuple):
    """What the distribution's own report may take."""

    bytes: int
    seconds: float
    plugins: tuple[str, ...]


class Settings(t.NamedTuple):
    """What to collect; `since` and `changed_within` are in seconds."""

    incident: str
    collect: tuple[str, ...]
    asked: bool
    units: tuple[str, ...]
    logs: tuple[str, ...]
    databases: tuple[entries.Item, ...]
    containers: tuple[str, ...]
    paths: tuple[str, ...]
    deployments: tuple[str, ...]
    since: float
    changed_within: float
    limits: Limits
    sos: Sos
    directory: str
    state_dir: str
    keep: int
    redact: tuple[Pattern, ...]
    secrets: frozenset[str]
    baseline: str
    health: str | None


class _Engines:
    """Those collectors that an entry of `databases` can name."""

    NAMES: tuple[str, ...] = ENGINES

    def load(self, name: str) -> ModuleType:
        return _registry.load(name)


def read(given: t.Mapping[str, t.Any]) -> tuple[Settings, set[str]]:
    """The settings, and the secrets among the options."""
    state_dir = state.directory(given["state_dir"])
    items, secrets = _databases(given["databases"])
    if given["incident"] and not _INCIDENT.fullmatch(given["incident"]):
        raise InputError(
            "incident", given["incident"], "is no name, for it stands in that of the bundle",
            "Use up to 80 letters, digits, dots, dashes and underscores.",
        )  # fmt: skip
    if not 1 <= given["keep"] <= 1000:
        raise InputError("keep", given["keep"], "is out of range", "Keep 1 to 1000 bundles.")
    if given["baseline"] == "save" and given["health"] is None:
        raise InputError(
            "health", None, "is not given", "A baseline is kept of a healthy host only: give the status of its health."
        )
    directory = given["directory"] or os.path.join(state_dir, "diagnostics")
    for option in ("logs", "paths", "deployments", "env_files"):
        for path in given[option]:
            _absolute(path, option)
    _absolute(directory, "directory")
    collect = given["collect"] if given["collect"] is not None else _usual({item.engine_name for item in items})
    secrets |= {each for each in given["secrets"] if each}
    return (
        Settings(
            given["incident"],
            tuple(sorted(set(collect), key=ORDER.index)),
            given["collect"] is not None,
            _unit_names(given["units"]),
            tuple(given["logs"]),
            tuple(items),
            tuple(_plain(each, "containers") for each in given["containers"]),
            tuple(given["paths"]),
            tuple(given["deployments"]),
            _time(given["since"], "since"),
            _time(given["changed_within"], "changed_within"),
            _limits(given["limits"]),
            _sos(given["sos"]),
            directory,
            state_dir,
            given["keep"],
            tuple(
                Pattern(f"redact[{number}]", pattern.compiled(text, f"redact[{number}]", re.MULTILINE))
                for number, text in enumerate(given["redact"])
            ),
            frozenset(secrets | _of_files(given["env_files"])),
            given["baseline"],
            given["health"],
        ),
        secrets,
    )


def _databases(given: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[list[entries.Item], set[str]]:
    """Entries of the inventory; folders and files, which only a backup knows, are none."""
    wanted = [each for each in given if each.get("engine") != "files"]
    return entries.read(wanted, "databases", _Engines()) if wanted else ([], set())


def _usual(engines: set[str]) -> list[str]:
    return [name for name in ORDER if name in engines or name not in (*ENGINES, *ON_REQUEST)]


def _absolute(path: str, option: str) -> None:
    if not os.path.isabs(path):
        raise InputError(option, path, "is no absolute path", "Begin it with a slash.")


def _plain(name: str, option: str) -> str:
    """A name that stands in a program's arguments."""
    if not name or name.startswith("-") or any(each.isspace() for each in name):
        raise InputError(option, name, "is no name", "Give the name alone.")
    return name


def _unit_names(given: t.Sequence[str]) -> tuple[str, ...]:
    return tuple(_plain(each, "units") if "." in each else f"{_plain(each, 'units')}.service" for each in given)


def _time(given: str, option: str) -> float:
    seconds = units.duration(given, option)
    if seconds <= 0:
        raise InputError(option, given, "is no time", "Give a duration above 0, such as 2h.")
    return seconds


def _limits(given: t.Mapping[str, t.Any]) -> Limits:
    sizes = {name: units.size(given[name], f"limits.{name}") for name in ("bytes", "part", "reserve")}
    for name in ("bytes", "part"):
        if sizes[name] < SMALLEST:
            raise InputError(f"limits.{name}", given[name], "leaves no room", "Give at least 64KiB.")
    seconds = {name: _time(given[name], f"limits.{name}") for name in ("seconds", "collector")}
    return Limits(sizes["bytes"], sizes["part"], seconds["seconds"], seconds["collector"], sizes["reserve"])


def _sos(given: t.Mapping[str, t.Any]) -> Sos:
    return Sos(
        units.size(given["bytes"], "sos.bytes"),
        _time(given["seconds"], "sos.seconds"),
        tuple(_plain(each, "sos.plugins") for each in given["plugins"]),
    )


def _of_files(paths: t.Sequence[str]) -> set[str]:
    """What looks like a secret in environment files. Without them a bundle would hold their secrets: they must be readable."""
    found: set[str] = set()
    for path in paths:
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as stream:
                lines = stream.read(1 << 20).splitlines()
        except OSError as error:
            raise RunbookError(
                f"env_files: {path}: {error.strerror}. Give a file that this user may read, or leave it out."
            ) from error
        for line in lines:
            found |= _of_line(line)
    return found


def _of_line(line: str) -> set[str]:
    match = _VARIABLE.match(line)
    if match is None:
        return set()
    value = match[2]
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    found = set(_IN_URL.findall(value))
    if _SECRET_NAME.search(match[1]) and len(value) > 3 and "://" not in value and not value.startswith("/"):
        found.add(value)
    return found
