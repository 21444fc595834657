# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which secrets each module takes, read from the argument specs themselves."""

from __future__ import annotations

import ast
import functools
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[3]
PLUGINS = ROOT / "plugins"
PREFIX = "ansible_collections.sre.runbooks.plugins."
MODULES = sorted(path.stem for path in (PLUGINS / "modules").glob("*.py") if not path.stem.startswith("_"))


class Secret(NamedTuple):
    """A `no_log` option; `entry` is the check type, engine or provider that alone has it, empty when it is of no entry."""

    entry: str
    option: str


def secrets(module: str, without: tuple[str, ...] = ()) -> set[Secret]:
    """The secret options of a module and of everything that it may load for the entries of its lists.

    `without` names packages that it uses for something else than to read such entries.
    """
    found = set()
    for name in _imported(f"{PREFIX}modules.{module}", without) | _imported(f"{PREFIX}action.{module}", without):
        parts = name.removeprefix(PREFIX).split(".")
        entry = ""
        if len(parts) == 3 and not parts[2].startswith("_"):
            entry = parts[2] if _path(f"{name.rpartition('.')[0]}._registry").exists() else ""
        for spec in _specs(name):
            found |= {Secret(entry, option) for option in _hidden(spec)}
    return found


def filled(arguments: Any, canary: str, entries: tuple[str, ...] = ("",)) -> Iterator[Secret]:
    """The options in some arguments that have a canary, in their text or in the texts below them; `entries` are those around them."""
    if isinstance(arguments, Mapping):
        entries += tuple(str(arguments[name]) for name in ("type", "engine", "action", "kind") if name in arguments)
        for name, value in arguments.items():
            if canary in repr(value):
                yield from (Secret(entry, name) for entry in entries)
                yield from filled(value, canary, entries)
    elif isinstance(arguments, (list, tuple)):
        for each in arguments:
            yield from filled(each, canary, entries)


def _path(name: str) -> Path:
    path = PLUGINS.joinpath(*name.removeprefix(PREFIX).split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imported(name: str, without: tuple[str, ...]) -> set[str]:
    """The names of the collection's own files that `name` imports, directly or not, and itself."""
    found: set[str] = set()
    waiting = {name} if _path(name).is_file() else set()
    while waiting:
        found.add(one := waiting.pop())
        wanted = {each for each in _imports(one) if not set(each.split(".")) & set(without)}
        waiting |= {each for each in wanted if _path(each).is_file()} - found
    return found


@functools.cache
def _imports(name: str) -> frozenset[str]:
    found = set()
    for node in ast.walk(ast.parse(_path(name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(each for each in found if each.startswith(PREFIX))


@functools.cache
def _texts(name: str) -> bool:
    return "no_log" in _path(name).read_text(encoding="utf-8")


def _specs(name: str) -> list[dict[str, Any]]:
    """The argument specs that a file has: dictionaries of its own by names in capitals, by which all of them are called."""
    found = importlib.import_module(name)
    return [value for key, value in vars(found).items() if key.lstrip("_").isupper() and isinstance(value, dict)]


def _hidden(spec: Mapping[str, Any]) -> Iterator[str]:
    for name, option in spec.items():
        if isinstance(option, dict):
            if option.get("no_log") is True:
                yield str(name)
            if isinstance(option.get("options"), dict):
                yield from _hidden(option["options"])
            elif "type" not in option:
                # Specs by kind, such as the sorts of proof of a key.
                yield from _hidden(option)


def told_in_text() -> set[tuple[str, str]]:
    """(file, option) of each option that is `no_log` in the text of a file, however the file names its specs."""
    found = set()
    for path in sorted(PLUGINS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if (
                        isinstance(key, ast.Constant)
                        and isinstance(value, (ast.Dict, ast.Call))
                        and _says_no_log(value)
                    ):
                        found.add((str(path.relative_to(PLUGINS)), str(key.value)))
    return found


def _says_no_log(node: ast.Dict | ast.Call) -> bool:
    if isinstance(node, ast.Call):
        pairs: list[tuple[Any, Any]] = [(each.arg, each.value) for each in node.keywords]
    else:
        pairs = [
            (key.value if isinstance(key, ast.Constant) else None, value)
            for key, value in zip(node.keys, node.values, strict=True)
        ]
    return any(key == "no_log" and isinstance(value, ast.Constant) and value.value is True for key, value in pairs)
