# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The decorator that lets only some roles call a view."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from flask import g
from flask.typing import ResponseReturnValue

from .access import RefusalError
from .services import services

View = Callable[..., ResponseReturnValue]


def requires(*roles: str) -> Callable[[View], View]:
    """Let a view be called with a key of one of these roles (none given: any role) or with the admin token."""

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(**arguments: object) -> ResponseReturnValue:
            g.actor, g.role = services.access.identify()
            if roles and g.role not in roles:
                raise RefusalError("AUTH_003", f"FORBIDDEN: {g.actor} is {g.role}")
            return view(**arguments)

        return checked

    return decorate
