# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Enter maintenance mode for a time: it goes off by itself, also when nobody comes back to it (`sre.runbooks.maintenance`)."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._maintenance import _run, _settings
from ansible_collections.sre.runbooks.plugins.module_utils._stabilise._action import Look, Options, Work

OPTIONS: dict[str, t.Any] = {
    "switch": {"type": "dict", "required": True},
    "alertmanager": {"type": "dict"},
    "lease": {"type": "str", "default": "30m"},
    "owner": {"type": "str", "default": "sre.runbooks.stabilise"},
}
LIMIT = "2/h"
LEASE_NAME = "maintenance"


def check(options: dict[str, t.Any], where: str) -> None:
    """As the module maintenance has it."""
    given = {key: options[key] for key in OPTIONS}
    if not options["switch"]:
        raise InputError(f"{where}.switch", options["switch"], "switches nothing", "Give kind and its options.")
    settings, secrets = _settings.read(
        {**given, "state": "on", "name": LEASE_NAME, "reason": options["name"], "force": False}
    )
    options.update(read=settings, secrets=secrets)


def target(options: Options) -> str:
    """What is switched."""
    return str(options["read"].switch.target)


def look(options: Options, work: Work) -> Look:
    """How it is, and what would be done."""
    work.hide(options["secrets"])
    result = _run.run(options["read"], work.commands, work.state_dir, True)
    return Look({"ours": result["ours"]}, f"enter maintenance mode: {_line(result)}")


def apply(options: Options, before: Options, work: Work) -> str:
    """Begin the lease, or go on with it."""
    return f"maintenance mode {_line(_run.run(options['read'], work.commands, work.state_dir, False))}"


def undo(options: Options, before: Options, work: Work) -> str:
    """End it."""
    settings = options["read"]._replace(state="off")
    return f"maintenance mode {_line(_run.run(settings, work.commands, work.state_dir, False))}"


def _line(result: t.Mapping[str, t.Any]) -> str:
    return "; ".join(each["summary"] for each in result["outcomes"])
