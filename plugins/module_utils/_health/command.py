# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Any program that follows the Monitoring Plugins Development Guidelines, as it is.

Exit status, first line, performance data: https://www.monitoring-plugins.org/doc/guidelines.html. What follows the first
line is as Nagios reads it: https://assets.nagios.com/downloads/nagioscore/docs/nagioscore/4/en/pluginapi.html.
"""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import plugin
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import TIMED_OUT, Target
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation

METRICS = ("value",)
OPTIONS: dict[str, t.Any] = {
    "argv": {"type": "list", "elements": "str", "required": True},
    "environment": {"type": "dict", "default": {}, "no_log": True},
    "run_as": {"type": "str"},
}
DEFAULT_BOUNDS: dict[str, t.Any] = {}
INHERENT = True
# Where distributions install plugins, for programs that are named without a folder.
FOLDERS = (
    "/usr/lib/nagios/plugins",
    "/usr/lib64/nagios/plugins",
    "/usr/lib/monitoring-plugins",
    "/usr/local/nagios/libexec",
)


def names(_options: t.Mapping[str, t.Any]) -> None:
    """A plugin's figures are known once it has run."""


def refuse(options: t.Mapping[str, t.Any]) -> None:
    """A program and its arguments."""
    if not options["argv"] or not options["argv"][0].strip():
        raise InputError("argv", options["argv"], "names no program", "Write a list: the program, then its arguments.")
    for name in options["environment"]:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(name)):
            raise InputError("environment", name, "is no name of a variable", "Use letters, digits and underscores.")


def observe(options: t.Mapping[str, t.Any], host: Host) -> list[Observation]:
    """Run the plugin; one that does not end in time is killed, with all that it started."""
    argv = [_program(options["argv"][0]), *options["argv"][1:]]
    name = os.path.basename(argv[0])
    environment = {str(key): str(value) for key, value in options["environment"].items()}
    output = plugin.Output()
    done = host.commands.run(
        argv,
        target=Target(run_as=options["run_as"]),
        secrets=environment,
        timeout=options["timeout"],
        check=False,
        meanwhile=output.read,
    )
    if done.rc == TIMED_OUT:
        raise RunbookError(f"{name}: did not end within {options['timeout']:g} s, killed")
    stdout, stderr = (plugin.hidden(text, environment.values()) for text in output.texts())
    if not stdout and stderr.startswith(("setpriv: ", "sudo: ")):
        raise RunbookError(f"{name}: cannot be run as {options['run_as']}: {stderr.strip().splitlines()[-1]}")
    return [observation(name, done.rc, stdout, stderr)]


def _program(name: str) -> str:
    """A plugin's path, where it is named without a folder and lies where plugins do."""
    if "/" in name:
        if not os.path.exists(name):
            raise RunbookError(f"argv: {name}: No such file or directory. Install the plugin, or correct its path.")
        return name
    places = (os.path.join(folder, name) for folder in FOLDERS)
    return next((path for path in places if os.path.exists(path)), name)


def observation(name: str, rc: int, stdout: str, stderr: str) -> Observation:
    """What a plugin said."""
    said = plugin.said(name, rc, stdout, stderr)
    return Observation(said.figures, said.summary, said.status, details=said.details)
