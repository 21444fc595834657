# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Instances of a template unit of systemd, by their numbers, such as `worker@1.service` and `worker@2.service`."""

from __future__ import annotations

import re
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._scaling._target import Options, Work

OPTIONS: dict[str, t.Any] = {
    "template": {"type": "str", "required": True},
    "first": {"type": "int", "default": 1},
    "drain": {"type": "list", "elements": "str"},
    "drain_within": {"type": "str", "default": "10m"},
    "stop_within": {"type": "str", "default": "100s"},
    "start_within": {"type": "str", "default": "60s"},
}
_TEMPLATE = re.compile(r"([A-Za-z0-9_:][A-Za-z0-9_:.\\-]*@)(?:\.service)?")
SHOW_SECONDS = 10.0
SETTLE_SECONDS = 0.5


def check(options: dict[str, t.Any], where: str) -> None:
    """The name of a template, and times."""
    match = _TEMPLATE.fullmatch(options["template"])
    if match is None:
        raise InputError(
            f"{where}.template", options["template"], "is no template unit", "Write it as worker@.service, no instance."
        )
    options["template"] = match[1]
    if options["first"] < 0:
        raise InputError(f"{where}.first", options["first"], "is negative", "Give 0 or more.")
    if options["drain"] is not None and not (options["drain"] and options["drain"][0].strip()):
        raise InputError(f"{where}.drain", options["drain"], "names no program", "Give it and its arguments.")
    for name in ("drain_within", "stop_within", "start_within"):
        options[name] = units.duration(options[name], f"{where}.{name}")


def running(options: Options, work: Work) -> list[int]:
    """The numbers of those that run."""
    return sorted(_numbers(options, work))


def _numbers(options: Options, work: Work) -> set[int]:
    """One that systemd is about to start again after it failed does not run; one that is being stopped no longer does."""
    # The first by its name, so that a template that is not installed is told from one of which nothing runs.
    names = [_unit(options, options["first"]), f"{options['template']}*.service"]
    argv = ["systemctl", "show", "--property=Id,LoadState,ActiveState,SubState", "--", *names]
    text = work.commands.run(argv, timeout=work.seconds(SHOW_SECONDS)).stdout
    blocks = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in text.strip().split("\n\n")]
    if not blocks or blocks[0].get("LoadState") != "loaded":
        known = blocks[0].get("LoadState", "not known") if blocks else "not known"
        raise RunbookError(f"the unit {names[0]} is {known} here. Correct template, or install it.")
    found = set()
    for block in blocks:
        number = block.get("Id", "")[len(options["template"]) : -len(".service")]
        runs = (
            block.get("ActiveState") in ("active", "reloading", "activating")
            and block.get("SubState") != "auto-restart"
        )
        if runs and re.fullmatch(r"0|[1-9][0-9]{0,5}", number):
            found.add(int(number))
    return found


def more(options: Options, work: Work, running: t.Sequence[int], count: int) -> None:
    """Start the lowest numbers that do not run; one that ends at once was started in vain."""
    number = options["first"]
    started = []
    for _each in range(count):
        while number in running:
            number += 1
        name = _unit(options, number)
        work.commands.run(["systemctl", "reset-failed", "--", name], timeout=work.seconds(SHOW_SECONDS), check=False)
        work.commands.run(["systemctl", "start", "--", name], timeout=work.seconds(options["start_within"]))
        started.append(number)
        number += 1
    time.sleep(SETTLE_SECONDS)
    left = _numbers(options, work)
    ended = [_unit(options, number) for number in started if number not in left]
    if ended:
        raise RunbookError(f"{', '.join(ended)} has ended again right after its start. See journalctl -u {ended[0]}.")


def fewer(options: Options, work: Work, running: t.Sequence[int], count: int) -> None:
    """Drain the highest, then stop it. It may take its time to end what it does; nobody kills it here."""
    for number in sorted(running)[-count:][::-1]:
        name = _unit(options, number)
        if options["drain"]:
            argv = [part.replace("{instance}", str(number)).replace("{unit}", name) for part in options["drain"]]
            work.commands.run(argv, timeout=work.seconds(options["drain_within"]))
        try:
            work.commands.run(["systemctl", "stop", "--", name], timeout=work.seconds(options["stop_within"]))
        except CommandFailed as error:
            raise RunbookError(
                f"{name} is asked to stop and has not yet: {error}. systemd waits for its TimeoutStopSec."
            ) from error


def _unit(options: Options, number: int) -> str:
    return f"{options['template']}{number}.service"
