# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Record a run: what every host of the play answered, and who did not. Documented in plugins/modules/record.py."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.plugin_utils import run_log, run_metrics
from ansible_collections.sre.runbooks.plugins.plugin_utils.action import ControllerAction
from ansible_collections.sre.runbooks.plugins.plugin_utils.collect import collect
from ansible_collections.sre.runbooks.plugins.plugin_utils.fleet import join
from ansible_collections.sre.runbooks.plugins.plugin_utils.history import History, count
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import Run


class ActionModule(ControllerAction):
    """The action C(sre.runbooks.record)."""

    ARGUMENTS: t.ClassVar[dict[str, t.Any]] = {
        "playbook": {"type": "str", "required": True},
        "stages": {"type": "list", "elements": "str", "required": True},
        "history_url": {"type": "str", "default": "sqlite:///~/.local/state/sre-runbooks/history.db"},
        "joined": {"type": "str", "default": ""},
        "joined_within": {"type": "str", "default": "26h"},
        "textfile_dir": {"type": "str", "default": ""},
        "log": {"type": "str", "default": ""},
    }

    def work(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        history = History(arguments["history_url"])
        run = _run(arguments, task_vars, history, self._task.check_mode)
        troubles = []
        if not run.check_mode:
            history.record(run)
            troubles = _tell(arguments, run)
        return {
            "warnings": troubles,
            "troubles": troubles,
            "run_id": "" if run.check_mode else run.id,
            "status": run.status,
            "started": run.started,
            "counts": count(each for host in run.hosts for each in host.outcomes),
            "expected": len(run.hosts),
            "answered": sum(host.answered for host in run.hosts),
        }


def _run(arguments: dict[str, t.Any], task_vars: dict[str, t.Any], history: History, check_mode: bool) -> Run:
    """Return what the hosts of this play answered, or have recorded earlier."""
    playbook, joined = arguments["playbook"], arguments["joined"]
    if joined:
        return join(task_vars, history, playbook, joined, arguments["joined_within"], check_mode)
    return collect(task_vars, arguments["stages"], playbook, check_mode)


def _tell(arguments: dict[str, t.Any], run: Run) -> list[str]:
    """Write metrics and log. The run is on record by now: what goes wrong here is told, and no reason to have no report."""
    troubles = []
    writers = {"textfile_dir": run_metrics.write_run, "log": run_log.append}
    for option, write in writers.items():
        path = str(Path(arguments[option]).expanduser()) if arguments[option] else ""
        try:
            if path:
                write(path, run)
        except RunbookError as error:
            troubles.append(str(error))
    return troubles
