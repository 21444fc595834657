# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the end points work with, found through the application that answers the request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from flask import current_app
from werkzeug.local import LocalProxy

from .access import Access
from .database import Database
from .logs import Logs
from .meter import Meter
from .settings import Settings
from .state import State

EXTENSION = "reference_app"


@dataclass
class Services:
    """The parts of one running service."""

    settings: Settings
    database: Database
    state: State
    logs: Logs
    access: Access
    meter: Meter


services = cast("Services", LocalProxy(lambda: current_app.extensions[EXTENSION]))
