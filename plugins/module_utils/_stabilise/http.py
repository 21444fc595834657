# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ask a service by HTTP to do something."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import units, web
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._stabilise import _call
from ansible_collections.sre.runbooks.plugins.module_utils._stabilise._action import Look, Options, Work

OPTIONS: dict[str, t.Any] = dict(_call.HTTP)
LIMIT = "3/h"


def check(options: dict[str, t.Any], where: str) -> None:
    """The address, and the time it has."""
    try:
        web.refuse(options)
    except InputError as error:
        raise RunbookError(f"{where}.{error}") from error
    options["timeout"] = units.duration(options["timeout"], f"{where}.timeout")


def target(options: Options) -> str:
    """Method and address."""
    return f"{options['method']} {web.shown(options['url'])}"


def look(options: Options, work: Work) -> Look:
    """Nothing can be known before."""
    return Look({}, f"ask {target(options)}")


def apply(options: Options, before: Options, work: Work) -> str:
    """Ask."""
    return _call.request(options, work)
