# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the actions that work on the controller alone have in common."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError


class ControllerAction(ActionBase):
    """Runs once for all hosts of the play, on the controller, and opens no connection to any of them."""

    TRANSFERS_FILES = False
    BYPASS_HOST_LOOP = True
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False
    _supports_diff = False

    ARGUMENTS: t.ClassVar[dict[str, t.Any]] = {}

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(self.ARGUMENTS)
        try:
            return {**result, "changed": False, **self.work(arguments, task_vars or {})}
        except RunbookError as error:
            # The cause is left out: what it quotes is not known to be free of secrets.
            raise AnsibleActionFail(str(error)) from None

    def work(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Do the action's job and return what its result has besides `changed`."""
        raise NotImplementedError
