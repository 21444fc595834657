# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Record a run: what every host of the play answered, and who did not. Documented in plugins/modules/record.py."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.plugin_utils.action import ControllerAction
from ansible_collections.sre.runbooks.plugins.plugin_utils.collect import collect
from ansible_collections.sre.runbooks.plugins.plugin_utils.history import History, count


class ActionModule(ControllerAction):
    """The action C(sre.runbooks.record)."""

    ARGUMENTS: t.ClassVar[dict[str, t.Any]] = {
        "playbook": {"type": "str", "required": True},
        "stages": {"type": "list", "elements": "str", "required": True},
        "history_url": {"type": "str", "default": "sqlite:///~/.local/state/sre-runbooks/history.db"},
    }

    def work(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        history = History(arguments["history_url"])
        run = collect(task_vars, arguments["stages"], arguments["playbook"], self._task.check_mode)
        if not run.check_mode:
            history.record(run)
        return {
            "run_id": "" if run.check_mode else run.id,
            "status": run.status,
            "started": run.started,
            "counts": count(each for host in run.hosts for each in host.outcomes),
            "expected": len(run.hosts),
            "answered": sum(host.answered for host in run.hosts),
        }
