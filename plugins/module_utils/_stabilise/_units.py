# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Units of systemd, as actions stop and start them."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import units as _units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, InputError, RunbookError

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._stabilise._action import Work

OPTIONS: dict[str, t.Any] = {
    "units": {"type": "list", "elements": "str"},
    "stop_within": {"type": "str", "default": "20s"},
    "start_within": {"type": "str", "default": "60s"},
}
_NAME = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_:.@\\-]*")
SHOW_SECONDS = 10.0


def check(options: dict[str, t.Any], where: str, needed: bool = True) -> None:
    """Read the names and times of OPTIONS in place."""
    names = options["units"] or []
    if needed and not names:
        raise InputError(
            f"{where}.units", options["units"], "names no unit", "Name units here, or set the option services."
        )
    for name in names:
        if not _NAME.fullmatch(name):
            raise InputError(f"{where}.units", name, "is no name of a unit", "Write it as systemctl does, no pattern.")
    options["units"] = [name if "." in name else f"{name}.service" for name in names]
    for option in ("stop_within", "start_within"):
        options[option] = _units.duration(options[option], f"{where}.{option}")


def known(names: t.Sequence[str], work: Work) -> dict[str, str]:
    """The state of each unit (active, failed, …); RunbookError for one that systemd cannot start."""
    argv = ["systemctl", "show", "--property=Id,LoadState,ActiveState", "--", *names]
    text = work.commands.run(argv, timeout=work.seconds(SHOW_SECONDS)).stdout
    found: dict[str, str] = {}
    for name, block in zip(names, text.strip().split("\n\n")):
        values = dict(line.partition("=")[::2] for line in block.splitlines())
        if values.get("LoadState") != "loaded":
            raise RunbookError(
                f"the unit {name} is {values.get('LoadState', 'not known')} here. Correct units, or install it."
            )
        found[name] = values.get("ActiveState", "unknown")
    return found


def stop(name: str, options: t.Mapping[str, t.Any], work: Work) -> bool:
    """Stop a unit; return whether it had to be killed, for a program that hangs does not listen to anybody."""
    try:
        work.commands.run(["systemctl", "stop", "--", name], timeout=work.seconds(options["stop_within"]))
        return False
    except CommandFailed:
        # systemd would wait for TimeoutStopSec, 90 s by default, while the service is away.
        work.commands.run(
            ["systemctl", "kill", "--signal=SIGKILL", "--", name], timeout=work.seconds(SHOW_SECONDS), check=False
        )
        work.commands.run(["systemctl", "stop", "--", name], timeout=work.seconds(options["stop_within"]))
        return True


def start(name: str, options: t.Mapping[str, t.Any], work: Work) -> None:
    """Start a unit, also one that systemd has given up because it failed too often."""
    work.commands.run(["systemctl", "reset-failed", "--", name], timeout=work.seconds(SHOW_SECONDS), check=False)
    work.commands.run(["systemctl", "start", "--", name], timeout=work.seconds(options["start_within"]))


def restart(options: t.Mapping[str, t.Any], work: Work) -> str:
    """Stop the units in reverse order and start them in order; one that cannot be stopped keeps none from being started again."""
    killed = [name for name in reversed(options["units"]) if stop(name, options, work)]
    problems = []
    for name in options["units"]:
        try:
            start(name, options, work)
        except RunbookError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise RunbookError("; ".join(problems))
    text = f"restarted {', '.join(options['units'])}"
    return f"{text} (killed, for it did not stop: {', '.join(killed)})" if killed else text
