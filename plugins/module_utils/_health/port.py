# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TCP ports that must be open or must be closed."""

from __future__ import annotations

import socket
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.connect import connect
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError, TargetDown
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation

METRICS = ("connect_seconds",)
OPTIONS: dict[str, t.Any] = {
    "host": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int", "required": True},
    "state": {"type": "str", "choices": ["open", "closed"], "default": "open"},
}
DEFAULT_BOUNDS: dict[str, t.Any] = {}
INHERENT = True


def refuse(options: t.Mapping[str, t.Any]) -> None:
    """A port is 16 bits wide."""
    if not 1 <= options["port"] <= 65535:
        raise InputError("port", options["port"], "is no port", "Give a number from 1 to 65535.")


def observe(options: t.Mapping[str, t.Any], _host: Host) -> list[Observation]:
    """Connect once."""
    where = f"{options['host']}:{options['port']}"
    started = time.monotonic()
    try:
        connect(options["host"], options["port"], started + options["timeout"]).close()
    except (OSError, UnicodeError) as error:
        problem = getattr(error, "strerror", None) or error
        if options["state"] == "open":
            raise TargetDown(f"{where} cannot be reached: {problem}") from error
        if isinstance(error, (socket.gaierror, UnicodeError)):
            # A name that cannot be looked up says nothing about the port.
            raise RunbookError(f"{where}: the name cannot be looked up: {problem}") from error
        return [Observation({}, f"{where} is closed: {problem}")]
    seconds = round(time.monotonic() - started, 6)
    if options["state"] == "closed":
        raise TargetDown(f"{where} is open, but must be closed")
    return [Observation({"connect_seconds": seconds}, f"{where} is open, connected in {show_duration(seconds)}")]
