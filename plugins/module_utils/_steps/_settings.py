# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A site's own programs as steps of a cadence, read and checked before the first one runs."""

from __future__ import annotations

import re
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError

CADENCES = ("daily", "weekly", "monthly", "quarterly")
SPEC: dict[str, t.Any] = {
    "steps": {"type": "list", "elements": "dict", "required": True},
    "cadence": {"type": "str", "choices": list(CADENCES)},
    "stop_on": {"type": "str", "choices": ["never", "unknown", "warning", "critical"], "default": "never"},
    "timeout": {"type": "str", "default": "1h"},
}
EACH: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "argv": {"type": "list", "elements": "str", "required": True},
    "cadences": {"type": "list", "elements": "str", "choices": list(CADENCES), "required": True},
    "timeout": {"type": "str", "default": "10m"},
    "run_as": {"type": "str"},
    "chdir": {"type": "str"},
    "environment": {"type": "dict", "default": {}, "no_log": True},
    "expect": {"type": "str", "choices": ["nagios", "json", "success"], "default": "nagios"},
    "changes": {"type": "bool", "default": False},
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Step(t.NamedTuple):
    """One program: its arguments, seconds it may take, and what it says by its end (`expect`)."""

    name: str
    argv: list[str]
    timeout: float
    run_as: str | None
    chdir: str | None
    environment: dict[str, str]
    expect: str
    changes: bool

    @property
    def subject(self) -> str:
        """What its outcome is about."""
        return f"step:{self.name}"


class Settings(t.NamedTuple):
    """The steps of the cadence in their order, its name, the status after which no further one is begun, seconds for all of them."""

    steps: list[Step]
    cadence: str
    stop_on: str
    timeout: float


def read(params: t.Mapping[str, t.Any]) -> Settings:
    """Read all options; a step of another cadence is checked as well."""
    steps: list[tuple[Step, list[str]]] = []
    for index, entry in enumerate(params["steps"]):
        step, cadences = _step(entry, f"steps[{index}] ({entry.get('name', 'no name')})")
        if any(step.name == other.name for other, _cadences in steps):
            raise InputError(f"steps[{index}].name", step.name, "is used twice", "Give each step a name of its own.")
        steps.append((step, cadences))
    cadence = params["cadence"] or ""
    chosen = [step for step, cadences in steps if not cadence or cadence in cadences]
    return Settings(chosen, cadence, params["stop_on"], _time(params["timeout"], "timeout"))


def _step(entry: t.Mapping[str, t.Any], where: str) -> tuple[Step, list[str]]:
    result = ArgumentSpecValidator(EACH).validate(dict(entry))
    if result.error_messages:
        raise RunbookError(f"{where}: {'; '.join(result.error_messages)}")
    given = result.validated_parameters
    if not _NAME.fullmatch(given["name"]):
        raise InputError(f"{where}.name", given["name"], "is no name", "Use letters, digits, spaces, dots, dashes.")
    if not given["argv"] or not given["argv"][0].strip():
        raise InputError(
            f"{where}.argv", given["argv"], "names no program", "Write a list: the program, then its arguments."
        )
    if not given["cadences"]:
        raise InputError(
            f"{where}.cadences", [], "is no cadence, so that it would never run", f"Use {', '.join(CADENCES)}."
        )
    for name in given["environment"]:
        if not _VARIABLE.fullmatch(str(name)):
            raise InputError(
                f"{where}.environment", name, "is no name of a variable", "Use letters, digits and underscores."
            )
    if given["chdir"] is not None and not given["chdir"].startswith("/"):
        raise InputError(f"{where}.chdir", given["chdir"], "is no absolute path", "Begin it with a slash.")
    if "/" in given["argv"][0] and not given["argv"][0].startswith("/") and given["chdir"] is None:
        raise InputError(
            f"{where}.argv", given["argv"][0], "is a path below no folder", "Give chdir, or the whole path."
        )
    step = Step(
        given["name"], given["argv"], _time(given["timeout"], f"{where}.timeout"), given["run_as"], given["chdir"],
        {str(name): str(value) for name, value in given["environment"].items()}, given["expect"], given["changes"],
    )  # fmt: skip
    return step, given["cadences"]


def _time(text: str, option: str) -> float:
    seconds = units.duration(text, option)
    if seconds <= 0:
        raise InputError(option, text, "is no time", "Give more than 0 seconds.")
    return seconds
