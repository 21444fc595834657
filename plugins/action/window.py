# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Say whether a stage may begin now. Documented in plugins/modules/window.py."""

from __future__ import annotations

import time
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.plugin_utils import window


class ActionModule(ActionBase):
    """The action C(sre.runbooks.window): for each host by itself, for each has its own windows."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False
    _supports_diff = False

    ARGUMENTS: t.ClassVar[dict[str, t.Any]] = {
        "stage": {"type": "str", "required": True},
        "playbook": {"type": "str", "required": True},
        "inputs": {"type": "list", "elements": "str", "default": []},
        "windows": {"type": "list", "elements": "dict"},
        "needs": {"type": "dict"},
        "gated": {"type": "list", "elements": "str"},
        "now": {"type": "bool"},
    }

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _validation, given = self.validate_argument_spec(self.ARGUMENTS)
        variables = task_vars or {}
        try:
            nothing = window.idle(given["stage"], given["inputs"], variables)
            found = nothing or window.ask(
                given["stage"], window.of_inventory(self._templar, variables, given["playbook"], given), time.time()
            )
        except RunbookError as error:
            raise AnsibleActionFail(str(error)) from None
        status = found["outcomes"][0]["status"] if found["outcomes"] else "ok"
        return {**result, "changed": False, "status": status, **found}
