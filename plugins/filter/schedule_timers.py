# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the systemd units of schedules say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.sre.runbooks.plugins.plugin_utils import _schedule_filters


class FilterModule:
    """Entry point of ansible-core."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"schedule_timers": _schedule_filters.schedule_timers}
