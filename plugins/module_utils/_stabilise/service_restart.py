# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restart the services of the host, in order; a program that does not stop in time is killed."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._stabilise import _units
from ansible_collections.sre.runbooks.plugins.module_utils._stabilise._action import Look, Options, Work

OPTIONS: dict[str, t.Any] = dict(_units.OPTIONS)
LIMIT = "3/h"


def check(options: dict[str, t.Any], where: str) -> None:
    """Names of units, and times."""
    _units.check(options, where)


def target(options: Options) -> str:
    """The same units in whatever order."""
    return ",".join(sorted(options["units"]))


def look(options: Options, work: Work) -> Look:
    """The units' states."""
    states = _units.known(options["units"], work)
    told = ", ".join(f"{name} ({how})" for name, how in states.items())
    return Look({"units": states}, f"restart {told}")


def apply(options: Options, before: Options, work: Work) -> str:
    """Stop and start."""
    return _units.restart(options, work)
