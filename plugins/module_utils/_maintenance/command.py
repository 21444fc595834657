# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs of the site: argument vectors, no shell. They run as the user of the module, also those that end a lease."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._maintenance._switch import Options, Work

OPTIONS: dict[str, t.Any] = {
    "on_argv": {"type": "list", "elements": "str", "required": True},
    "off_argv": {"type": "list", "elements": "str", "required": True},
    "look_argv": {"type": "list", "elements": "str"},
    "timeout": {"type": "str", "default": "60s"},
}


def check(options: dict[str, t.Any], where: str) -> None:
    """Programs by their whole paths: what ends a lease runs without anybody's PATH."""
    for name in ("on_argv", "off_argv", "look_argv"):
        argv = options[name]
        if argv is not None and not (argv and os.path.isabs(argv[0])):
            raise InputError(f"{where}.{name}", argv, "names no program by its whole path", "Write /usr/bin/….")
    options["timeout"] = units.duration(options["timeout"], f"{where}.timeout")


def target(options: Options) -> str:
    """What switches it off."""
    return f"command {' '.join(options['off_argv'])}"


def look(options: Options, work: Work) -> bool | None:
    """0 means on, 1 off; without a program nobody can know."""
    if not options["look_argv"]:
        return None
    status, text = work.run(options["look_argv"], work.seconds(options["timeout"]))
    if status not in (0, 1):
        raise RunbookError(f"{options['look_argv'][0]} ended with status {status}: {_last(text)}. 0 means on, 1 off.")
    return status == 0


def turn(options: Options, on: bool, work: Work) -> str:
    """Run it."""
    argv = options["on_argv" if on else "off_argv"]
    status, text = work.run(argv, work.seconds(options["timeout"]))
    if status:
        raise RunbookError(f"{argv[0]} ended with status {status}: {_last(text)}")
    return f"ran {argv[0]}"


def _last(text: str) -> str:
    return text.strip().rpartition("\n")[2][:200]
