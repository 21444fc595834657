# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is planned for a host."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.sre.runbooks.plugins.plugin_utils import preflight_plans


def planned(
    given: Mapping[str, Any], host: str, groups: Mapping[str, Sequence[str]], moment: float | None = None
) -> dict[str, Any]:
    """Call `preflight_plans.plans`, for the present unless a moment is given."""
    return preflight_plans.plans(given, host, groups, time.time() if moment is None else float(moment))


class FilterModule:
    """Entry point of ansible-core."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"preflight_plans": planned}
