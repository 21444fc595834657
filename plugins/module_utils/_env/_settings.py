# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of `sre.runbooks.env_file`, read and checked before any file is looked at."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._env import _write

_FORMAT: dict[str, t.Any] = {"type": "str", "choices": ["env", "yaml", "json", "ini"], "default": "env"}
_VARIABLE: dict[str, t.Any] = {
    "path": {"type": "path", "required": True},
    "variable": {"type": "str", "required": True},
    "value": {"type": "str", "no_log": True},
    "format": _FORMAT,
}
SPEC: dict[str, t.Any] = {
    "path": {"type": "path"},
    "variable": {"type": "str"},
    "value": {"type": "str", "no_log": True},
    "format": _FORMAT,
    "variables": {"type": "list", "elements": "dict", "options": _VARIABLE},
    "state": {"type": "str", "choices": ["present", "restored", "forgotten"], "default": "present"},
    "create": {"type": "bool", "default": False},
    "backup": {"type": "bool", "default": True},
}
SINGLE = ("path", "variable", "value")
SECRET = ("value", "variables")


class Variable(t.NamedTuple):
    """A variable of a file and the value that it is to have; none when it is restored or forgotten."""

    path: str
    variable: str
    value: str
    kind: str

    @property
    def subject(self) -> str:
        """What its outcome is about."""
        return f"env_file:{self.path}#{self.variable}"


class Settings(t.NamedTuple):
    """What is asked for."""

    variables: tuple[Variable, ...]
    state: str
    create: bool
    backup: bool
    state_dir: str | None


def read(params: t.Mapping[str, t.Any]) -> Settings:
    """Check the options; InputError never holds a value."""
    several = params["variables"] is not None
    entries = params["variables"] if several else [{name: params[name] for name in (*SINGLE, "format")}]
    if not entries:
        raise InputError("variables", entries, "names nothing", "Give at least one entry.")
    found: list[Variable] = []
    for index, entry in enumerate(entries):
        each = _variable(entry, f"variables[{index}]." if several else "", params["state"])
        if any((each.path, each.variable) == other[:2] for other in found):
            raise InputError(
                f"variables[{index}].variable", each.variable, "is given twice", "Name it once for each file."
            )
        found.append(each)
    return Settings(tuple(found), params["state"], params["create"], params["backup"], params["state_dir"])


def _variable(entry: t.Mapping[str, t.Any], where: str, state: str) -> Variable:
    path, variable, value = (entry[name] for name in SINGLE)
    if not path or not os.path.isabs(path) or not os.path.basename(path):
        raise InputError(
            f"{where}path", path, "is no file's path from the root on", "Write it as in /etc/feature11.env."
        )
    if not variable:
        raise InputError(f"{where}variable", variable, "is no name", "Name the variable.")
    try:
        _write.FORMATS[entry["format"]].refuse(variable)
    except RunbookError as error:
        raise InputError(
            f"{where}variable", variable, "cannot be used", str(error)[:1].upper() + str(error)[1:]
        ) from error
    if state == "present" and value is None:
        raise InputError(f"{where}value", None, "is missing", "Give the text that the variable gets.")
    if state != "present" and value is not None:
        raise RunbookError(f"{where}value: is given though state is {state}. Leave it out.")
    return Variable(os.path.normpath(path), variable, value or "", entry["format"])
