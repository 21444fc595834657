# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Report a run: a table in the terminal, a JSON document, an HTML page. Documented in plugins/modules/report.py."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display

from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import STATUSES
from ansible_collections.sre.runbooks.plugins.plugin_utils.action import ControllerAction
from ansible_collections.sre.runbooks.plugins.plugin_utils.collect import collect
from ansible_collections.sre.runbooks.plugins.plugin_utils.history import History
from ansible_collections.sre.runbooks.plugins.plugin_utils.model import Document, from_history, from_run
from ansible_collections.sre.runbooks.plugins.plugin_utils.output import write_reports
from ansible_collections.sre.runbooks.plugins.plugin_utils.table import DEFAULT_WIDTH, render

_COLOURS = {
    "ok": "COLOR_OK",
    "skipped": "COLOR_SKIP",
    "unknown": "COLOR_UNREACHABLE",
    "warning": "COLOR_WARN",
    "critical": "COLOR_ERROR",
}


class ActionModule(ControllerAction):
    """The action C(sre.runbooks.report)."""

    ARGUMENTS: t.ClassVar[dict[str, t.Any]] = {
        "run_id": {"type": "str", "default": ""},
        "playbook": {"type": "str", "default": ""},
        "stages": {"type": "list", "elements": "str", "default": []},
        "history_url": {"type": "str", "default": "sqlite:///~/.local/state/sre-runbooks/history.db"},
        "directory": {"type": "str", "default": "~/.local/state/sre-runbooks/reports"},
        "formats": {
            "type": "list",
            "elements": "str",
            "choices": ["table", "json", "html"],
            "default": ["table", "json", "html"],
        },
        "width": {"type": "int", "default": 0},
        "fail_on": {"type": "str", "choices": ["never", "unknown", "warning", "critical"], "default": "never"},
    }

    def work(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        document = self._document(arguments, task_vars)
        files = [name for name in arguments["formats"] if name != "table"]
        paths = {} if self._task.check_mode else write_reports(document, arguments["directory"], files)
        if "table" in arguments["formats"]:
            _print(document, paths, arguments["width"] or _terminal_width())
        return {
            **_judged(document, arguments["fail_on"]),
            "status": document["status"],
            "counts": document["counts"],
            "run_id": document["run"]["id"],
            "expected": document["roll_call"]["expected"],
            "answered": document["roll_call"]["answered"],
            "paths": paths,
        }

    def _document(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Document:
        history = History(arguments["history_url"])
        if not self._task.check_mode or arguments["run_id"]:
            wanted = "" if arguments["run_id"] == "latest" else arguments["run_id"]
            return from_history(history, history.find(wanted, arguments["playbook"]))
        if not arguments["stages"]:
            raise AnsibleActionFail(
                "stages: in check mode nothing was recorded, so the report needs the stages of the run, or a run_id."
            )
        return from_run(collect(task_vars, arguments["stages"], arguments["playbook"] or "run", True))


def _judged(document: Document, fail_on: str) -> dict[str, t.Any]:
    """Return what makes the task fail where the status is `fail_on` or worse: a result, for the report was made."""
    if fail_on == "never" or STATUSES.index(document["status"]) < STATUSES.index(fail_on):
        return {}
    return {
        "failed": True,
        "msg": f"The run {document['run']['id']} is {document['status']} (report_fail_on: {fail_on}).",
    }


def _print(document: Document, paths: dict[str, str], width: int) -> None:
    display = Display()
    lines = render(document, width)
    lines += [(f"Report: {path}", "") for path in paths.values()]
    display.display("")
    for line, status in lines:
        display.display(line, color=getattr(constants, _COLOURS[status]) if status else None)


def _terminal_width() -> int:
    """Return the columns of the terminal that ansible-playbook writes to; this worker's own streams lead nowhere."""
    with contextlib.suppress(ValueError, KeyError):
        return int(os.environ["COLUMNS"])
    with contextlib.suppress(OSError):
        descriptor = os.open(f"/proc/{os.getppid()}/fd/1", os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return os.get_terminal_size(descriptor).columns
        finally:
            os.close(descriptor)
    return DEFAULT_WIDTH
