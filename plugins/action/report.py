# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Report a run: a table in the terminal, and files for people and programs. Documented in plugins/modules/report.py."""

from __future__ import annotations

import functools
import typing as t

from ansible.errors import AnsibleActionFail

from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import STATUSES
from ansible_collections.sre.runbooks.plugins.plugin_utils import report_settings
from ansible_collections.sre.runbooks.plugins.plugin_utils.action import ControllerAction
from ansible_collections.sre.runbooks.plugins.plugin_utils.capacity import read_limits
from ansible_collections.sre.runbooks.plugins.plugin_utils.collect import collect
from ansible_collections.sre.runbooks.plugins.plugin_utils.history import History, StoredRun
from ansible_collections.sre.runbooks.plugins.plugin_utils.kpis import read_kpis
from ansible_collections.sre.runbooks.plugins.plugin_utils.model import Document, from_history, from_run
from ansible_collections.sre.runbooks.plugins.plugin_utils.model_period import Settings
from ansible_collections.sre.runbooks.plugins.plugin_utils.output import write_reports
from ansible_collections.sre.runbooks.plugins.plugin_utils.page import VIEWS
from ansible_collections.sre.runbooks.plugins.plugin_utils.page_index import LIMIT
from ansible_collections.sre.runbooks.plugins.plugin_utils.table import render
from ansible_collections.sre.runbooks.plugins.plugin_utils.terminal import show, terminal_width


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
            "choices": ["table", "json", "html", "markdown", "csv"],
            "default": ["table", "json", "html", "markdown"],
        },
        "views": {"type": "list", "elements": "str", "choices": list(VIEWS), "default": list(VIEWS)},
        "width": {"type": "int", "default": 0},
        "fail_on": {"type": "str", "choices": ["never", "unknown", "warning", "critical"], "default": "never"},
        **report_settings.ARGUMENTS,
    }

    def work(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        document = self._document(arguments, task_vars)
        paths = {} if self._task.check_mode else _write(document, arguments)
        if "table" in arguments["formats"]:
            lines = render(document, arguments["width"] or terminal_width())
            # Of the tables for spreadsheets, the first one tells where the others are.
            show([*lines, *((f"Report: {path}", "") for name, path in paths.items() if not name.startswith("csv_"))])
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
            stored = history.find(wanted, arguments["playbook"])
            return from_history(history, stored, _settings(arguments, stored, history, task_vars["hostvars"]))
        if not arguments["stages"]:
            raise AnsibleActionFail(
                "stages: in check mode nothing was recorded, so the report needs the stages of the run, or a run_id."
            )
        return from_run(collect(task_vars, arguments["stages"], arguments["playbook"] or "run", True))


def _settings(arguments: dict[str, t.Any], stored: StoredRun, history: History, hostvars: t.Any) -> Settings:
    hosts = history.systems(stored)
    kpis = report_settings.of_systems(hostvars, hosts, "kpis", read_kpis)
    limits = report_settings.of_systems(hostvars, hosts, "limits", read_limits)
    return report_settings.settings(arguments, stored.columns["playbook"], kpis, limits)


def _write(document: Document, arguments: dict[str, t.Any]) -> dict[str, str]:
    formats = [name for name in arguments["formats"] if name != "table"]
    runs = functools.partial(History(arguments["history_url"]).newest, LIMIT)
    return write_reports(document, arguments["directory"], formats, arguments["views"], runs)


def _judged(document: Document, fail_on: str) -> dict[str, t.Any]:
    """Return what makes the task fail where the status is `fail_on` or worse: a result, for the report was made."""
    if fail_on == "never" or STATUSES.index(document["status"]) < STATUSES.index(fail_on):
        return {}
    return {
        "failed": True,
        "msg": f"The run {document['run']['id']} is {document['status']} (report_fail_on: {fail_on}).",
    }
