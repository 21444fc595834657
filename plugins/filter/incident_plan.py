# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a runbook means for one host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._stabilise import _plan


def planned(*given: Any) -> dict[str, Any]:
    """Call `_plan.plan`, with its errors as Ansible's."""
    try:
        return _plan.plan(*given)
    except InputError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Entry point of ansible-core."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"incident_plan": planned}
