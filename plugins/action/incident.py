# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keep the record of an incident. Documented in plugins/modules/incident.py."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.plugin_utils.action import ControllerAction
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_run import run
from ansible_collections.sre.runbooks.plugins.plugin_utils.terminal import show, terminal_width


def _text(default: str = "", **more: t.Any) -> dict[str, t.Any]:
    return {"type": "str", **more, "default": default}


def _list(elements: str) -> dict[str, t.Any]:
    return {"type": "list", "elements": elements, "default": []}


class ActionModule(ControllerAction):
    """The action C(sre.runbooks.incident)."""

    ARGUMENTS: t.ClassVar[dict[str, t.Any]] = {
        "state": {
            "type": "str",
            "required": True,
            "choices": ["opened", "recorded", "note", "acknowledged", "escalated", "stable", "closed", "watch"],
        },
        "incident_id": _list("str"),
        "type": _text(),
        "title": _text(),
        "link": _text(),
        "systems": _list("str"),
        "hosts": _list("str"),
        "source": _text(),
        "started": _text(),
        "actor": _text(),
        "text": _text(),
        "severity": _text(choices=["", "P1", "P2", "P3", "P4"]),
        "severity_rules": {"type": "dict", "default": {}},
        "stages": _list("str"),
        "stable_at": _text("ok", choices=["ok", "warning"]),
        "evidence": _list("dict"),
        "told": _list("dict"),
        "contacts": _list("dict"),
        "escalation": {"type": "dict", "default": {}},
        "reopen_within": _text("1h"),
        "quiet": _text("30m"),
        "targets": {"type": "dict", "default": {}},
        "force": {"type": "bool", "default": False},
        "formats": {
            "type": "list",
            "elements": "str",
            "choices": ["table", "markdown", "html"],
            "default": ["table", "markdown", "html"],
        },
        "directory": _text("~/.local/state/sre-runbooks/incidents"),
        "width": {"type": "int", "default": 0},
        "history_url": _text("sqlite:///~/.local/state/sre-runbooks/history.db"),
        "spool": _text(),
        "textfile_dir": _text(),
    }

    def work(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        wide = {**arguments, "width": arguments["width"] or terminal_width()}
        result, lines = run(wide, task_vars, self._task.check_mode)
        if lines:
            show(lines)
        return result
