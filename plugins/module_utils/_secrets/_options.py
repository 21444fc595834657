# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of secret_scan, read and refused before the first file is opened (K4)."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import pattern, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError

STAGE = "secret_scan"
ENGINES = ("detect-secrets", "gitleaks")
FILES, BYTES, FILE_SIZE = 100_000, "256MiB", "32MiB"
SPEC: dict[str, t.Any] = {
    "scans": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "paths": {"type": "list", "elements": "path", "required": True},
            "patterns": {"type": "list", "elements": "str", "default": []},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "usual_excludes": {"type": "bool", "default": True},
            "recurse": {"type": "bool", "default": True},
            "baseline": {"type": "path"},
            "disabled": {"type": "list", "elements": "str", "default": []},
            "secret_files": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "world_readable": {"type": "bool", "default": True},
            "limits": {
                "type": "dict",
                "default": {},
                "options": {
                    "files": {"type": "int", "default": FILES},
                    "bytes": {"type": "str", "default": BYTES},
                    "file_size": {"type": "str", "default": FILE_SIZE},
                },
            },
            "allow": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"path": {"type": "str"}, "kind": {"type": "str"}, "line": {"type": "str"}},
            },
        },
    },
    "engine": {"type": "str", "choices": ["auto", *ENGINES], "default": "auto"},
    "program": {"type": "path"},
    "groups": {"type": "list", "elements": "str", "default": []},
    "write_baseline": {"type": "bool", "default": False},
    "show": {"type": "int", "default": 50},
    "timeout": {"type": "float", "default": 1800},
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PLUGIN = re.compile(r"[A-Za-z0-9_ -]+")
_MOST_SHOWN = 1000


class Allow(t.NamedTuple):
    """A finding is no secret where all that is given holds."""

    path: str | None
    kind: str | None
    line: re.Pattern[str] | None
    option: str


class Scan(t.NamedTuple):
    """One entry of `scans`; sizes in bytes."""

    name: str
    paths: list[str]
    patterns: list[str]
    exclude: list[str]
    usual_excludes: bool
    recurse: bool
    baseline: str | None
    disabled: list[str]
    secret_files: list[str]
    world_readable: bool
    max_files: int
    max_bytes: int
    max_file_size: int
    allow: list[Allow]


class Settings(t.NamedTuple):
    """What the module was asked for; `timeout` in seconds."""

    scans: list[Scan]
    engine: str
    program: str | None
    groups: frozenset[str]
    write_baseline: bool
    show: int
    timeout: float


def read(params: t.Mapping[str, t.Any]) -> Settings:
    """Read the module's parameters; InputError names option, value and remedy."""
    if not params["scans"]:
        raise InputError("scans", [], "names nothing", "Give at least one scan.")
    scans: list[Scan] = []
    for index, entry in enumerate(params["scans"]):
        scan = _scan(entry, index)
        if any(scan.name == other.name for other in scans):
            raise InputError(f"scans[{index}].name", scan.name, "is used twice", "Give each scan a name of its own.")
        scans.append(scan)
    if not 0 <= params["show"] <= _MOST_SHOWN:
        raise InputError("show", params["show"], "is out of range", f"Give 0 to {_MOST_SHOWN}.")
    if params["timeout"] <= 0:
        raise InputError("timeout", params["timeout"], "leaves no time", "Give seconds above 0.")
    if params["write_baseline"] and not any(scan.baseline for scan in scans):
        raise InputError("write_baseline", True, "has nowhere to write", "Give a scan a baseline.")
    if params["program"] and not os.path.isabs(params["program"]):
        raise InputError("program", params["program"], "is no absolute path", "Begin it with a slash.")
    return Settings(
        scans=scans,
        engine=params["engine"],
        program=params["program"],
        groups=frozenset(params["groups"]),
        write_baseline=params["write_baseline"],
        show=params["show"],
        timeout=params["timeout"],
    )


def _scan(entry: t.Mapping[str, t.Any], index: int) -> Scan:
    name = entry["name"]
    if not _NAME.fullmatch(name):
        raise InputError(
            f"scans[{index}].name", name, "is no name, for it stands in the name of a file",
            "Use letters, digits, dots, dashes and underscores.",
        )  # fmt: skip
    where = f"scans.{name}"
    if not entry["paths"]:
        raise InputError(f"{where}.paths", [], "names nothing", "Give at least one folder or file.")
    for path in entry["paths"]:
        _absolute(path, f"{where}.paths")
    if entry["baseline"]:
        _absolute(entry["baseline"], f"{where}.baseline")
    for plugin in entry["disabled"]:
        if not _PLUGIN.fullmatch(plugin):
            raise InputError(f"{where}.disabled", plugin, "is no kind", "Name it as findings do, or its plugin.")
    limits = entry["limits"] or {}
    files = limits.get("files", FILES)
    if files < 1:
        raise InputError(f"{where}.limits.files", files, "is too few", "Give 1 or more.")
    return Scan(
        name=name,
        paths=[os.path.normpath(path) for path in entry["paths"]],
        patterns=entry["patterns"],
        exclude=entry["exclude"],
        usual_excludes=entry["usual_excludes"],
        recurse=entry["recurse"],
        baseline=entry["baseline"],
        disabled=entry["disabled"],
        secret_files=entry["secret_files"],
        world_readable=entry["world_readable"],
        max_files=files,
        max_bytes=units.size(limits.get("bytes", BYTES), f"{where}.limits.bytes"),
        max_file_size=units.size(limits.get("file_size", FILE_SIZE), f"{where}.limits.file_size"),
        allow=[_allow(each, f"{where}.allow[{number}]") for number, each in enumerate(entry["allow"])],
    )


def _allow(entry: t.Mapping[str, t.Any], where: str) -> Allow:
    if not any(entry.get(key) for key in ("path", "kind", "line")):
        raise InputError(where, {}, "allows everything", "Give at least one of path, kind and line.")
    line = pattern.compiled(entry["line"], f"{where}.line") if entry.get("line") else None
    return Allow(entry.get("path"), entry.get("kind"), line, f"{where}.line")


def _absolute(path: str, option: str) -> None:
    if not os.path.isabs(path) or "\0" in path:
        raise InputError(option, path, "is no absolute path", "Begin it with a slash.")
