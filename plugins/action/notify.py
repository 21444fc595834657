# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tell people what a run found, or of an incident. Documented in plugins/modules/notify.py."""

from __future__ import annotations

import datetime
import re
import typing as t

from ansible.utils.display import Display

from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import worst
from ansible_collections.sre.runbooks.plugins.plugin_utils import notify_outcomes
from ansible_collections.sre.runbooks.plugins.plugin_utils.action import ControllerAction
from ansible_collections.sre.runbooks.plugins.plugin_utils.collect import collect
from ansible_collections.sre.runbooks.plugins.plugin_utils.history import History
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify import Notifier, Request
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_contacts import chosen, read_contacts
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_ledger import OUTCOME, Ledger
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_matter import of_incident, of_run
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_page import read_options
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import Run, one_line

SHORTEST, LONGEST = 1, 600


class ActionModule(ControllerAction):
    """The action C(sre.runbooks.notify)."""

    ARGUMENTS: t.ClassVar[dict[str, t.Any]] = {
        "contacts": {"type": "list", "elements": "raw", "default": []},
        "run_id": {"type": "str", "default": ""},
        "playbook": {"type": "str", "default": ""},
        "stages": {"type": "list", "elements": "str", "default": []},
        "incident": {"type": "dict", "default": {}},
        "escalate": {"type": "list", "elements": "raw"},
        "systems": {"type": "dict", "default": {}},
        "report_url": {"type": "str", "default": ""},
        "remind_after": {"type": "str", "default": "7d"},
        "timeout": {"type": "str", "default": "10s"},
        "time_limit": {"type": "str", "default": "60s"},
        "attempts": {"type": "int", "default": 3},
        "status_page": {"type": "dict", "default": {}},
        "errors": {"type": "str", "choices": ["fail", "outcome"], "default": "fail"},
        "history_url": {"type": "str", "default": "sqlite:///~/.local/state/sre-runbooks/history.db"},
    }

    def work(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        try:
            result = self._notify(arguments, task_vars)
        except RunbookError as error:
            if arguments["errors"] == "fail":
                raise
            result = self._unable(arguments, error)
        if self._task.check_mode or arguments["incident"]:
            # Of a run that is recorded the report says it.
            for each in result["outcomes"]:
                Display().display(
                    f"Notify {each['status']:<9} {one_line(each['subject'])}: {one_line(each['summary'])}"
                )
        return {**result, "status": worst(each["status"] for each in result["outcomes"])}

    def _notify(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        request = self._request(arguments, task_vars)
        if not request.contacts and not request.page:
            return {"outcomes": [], "told": [], "missed": [], "run": request.run}
        return Notifier(request, Ledger(arguments["history_url"])).run(self._task.check_mode)

    def _request(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Request:
        # Everything is read before anything is sent.
        contacts = read_contacts(arguments["contacts"])
        escalate = arguments["escalate"]
        if escalate and not arguments["incident"]:
            raise InputError("escalate", escalate, "belongs to an incident", "Give `incident` too.")
        if not 1 <= arguments["attempts"] <= 10:
            raise InputError("attempts", arguments["attempts"], "is no sensible number of attempts", "Use 1 to 10.")
        times = {name: _seconds(arguments[name], name) for name in ("timeout", "time_limit")}
        remind_after = units.duration(arguments["remind_after"], "remind_after")
        settings: dict[str, t.Any] = {
            "contacts": contacts,
            "now": datetime.datetime.now(datetime.UTC).replace(microsecond=0),
            "escalated": None if escalate is None else chosen(escalate, contacts),
            "remind_after": remind_after,
            "attempts": arguments["attempts"],
            "page": read_options(arguments["status_page"]),
            **times,
        }
        if arguments["incident"]:
            matter = of_incident(arguments["incident"])
            return Request(matters=[matter], kind="incident", run=matter.id, **settings)
        run = self._run(arguments, task_vars)
        matters = of_run(run, arguments["stages"] or run.stages, _inventory(task_vars, run), arguments["systems"])
        report = arguments["report_url"].rstrip("/")
        name = re.sub(r"[^A-Za-z0-9.-]+", "-", run.playbook).strip("-.") or "run"
        return Request(
            matters=matters,
            kind=run.playbook,
            run=run.id,
            covers=matters[0].covers if matters else None,
            report=f"{report}/{name}_{run.id}.html" if report else "",
            **settings,
        )

    def _run(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Run:
        """The recorded run; in check mode, in which nothing was recorded, what the hosts have registered."""
        if self._task.check_mode and not arguments["run_id"]:
            if not arguments["stages"]:
                raise InputError(
                    "stages", [], "is empty, and in check mode no run was recorded", "Name the stages of the run."
                )
            return collect(task_vars, arguments["stages"], arguments["playbook"] or "run", True)
        history = History(arguments["history_url"])
        wanted = "" if arguments["run_id"] == "latest" else arguments["run_id"]
        return history.load(history.find(wanted, arguments["playbook"]))

    def _unable(self, arguments: dict[str, t.Any], error: RunbookError) -> dict[str, t.Any]:
        """Nobody can be told: an outcome that the run keeps, not the end of it."""
        made = notify_outcomes.of_failure(error)
        run = str(arguments["run_id"] or arguments["incident"].get("id") or "")
        result = {"outcomes": [made], "told": [], "missed": [], "run": run}
        if not self._task.check_mode and run:
            moment = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%S+00:00}"
            event = {
                "run": run, "time": moment, "key": "", "contact": made["subject"], "target": "", "event": OUTCOME,
                "status": made["status"], "summary": made["summary"],
            }  # fmt: skip
            try:
                Ledger(arguments["history_url"]).finish({}, [event], run)
            except RunbookError as second:
                made["summary"] += f" {second}"
        return result


def _seconds(text: str, option: str) -> float:
    seconds = units.duration(text, option)
    if not SHORTEST <= seconds <= LONGEST:
        raise InputError(option, text, "is no sensible time", f"Use {SHORTEST}s to {LONGEST}s.")
    return seconds


def _inventory(task_vars: dict[str, t.Any], run: Run) -> set[str]:
    groups = task_vars.get("groups") or {}
    return {str(each) for each in groups.get("all") or ()} | {host.name for host in run.hosts}
