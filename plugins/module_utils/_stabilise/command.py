# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a program of the site: an argument vector, no shell."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Target, require
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._stabilise._action import Look, Options, Work

OPTIONS: dict[str, t.Any] = {
    "argv": {"type": "list", "elements": "str", "required": True},
    "undo_argv": {"type": "list", "elements": "str"},
    "run_as": {"type": "str"},
    "timeout": {"type": "str", "default": "60s"},
}
LIMIT = "3/h"


def check(options: dict[str, t.Any], where: str) -> None:
    """A program, and the time it has."""
    for name in ("argv", "undo_argv"):
        if options[name] is not None and not (options[name] and options[name][0]):
            raise InputError(f"{where}.{name}", options[name], "names no program", "Give it and its arguments.")
    if options["undo"] and not options["undo_argv"]:
        raise InputError(f"{where}.undo_argv", None, "says not how it is taken back", "Give a program.")
    options["timeout"] = units.duration(options["timeout"], f"{where}.timeout")


def target(options: Options) -> str:
    """The command as it is."""
    return " ".join(options["argv"])


def look(options: Options, work: Work) -> Look:
    """The program must be there."""
    require(options["argv"][0])
    return Look({}, f"run {target(options)}")


def apply(options: Options, before: Options, work: Work) -> str:
    """Run it."""
    return _ran(options["argv"], options, work)


def undo(options: Options, before: Options, work: Work) -> str:
    """Run what takes it back."""
    return _ran(options["undo_argv"], options, work)


def _ran(argv: t.Sequence[str], options: Options, work: Work) -> str:
    seconds = work.seconds(options["timeout"])
    done = work.commands.run(argv, target=Target(run_as=options["run_as"]), timeout=seconds)
    last = done.stdout.strip().rpartition("\n")[2][:200]
    return f"ran {argv[0]}" + (f": {last}" if last else "")
