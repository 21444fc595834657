# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Validate the variables of several roles at once. Documented in plugins/modules/validate.py."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.yaml import yaml_load
from ansible.plugins.action import ActionBase

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.plugin_utils import report_settings, window
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_contacts import read_contacts
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_page import read_options

ROLES = Path(__file__).resolve().parents[2] / "roles"


class ActionModule(ActionBase):
    """The action C(sre.runbooks.validate)."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False
    _supports_diff = False

    ARGUMENTS: t.ClassVar[dict[str, t.Any]] = {
        "roles": {"type": "list", "elements": "str", "required": True},
        "playbook": {"type": "str", "default": ""},
    }

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(self.ARGUMENTS)
        problems = [problem for role in arguments["roles"] for problem in self._problems(role, task_vars or {})]
        if arguments["playbook"]:
            problems += self._problems_of_windows(arguments["playbook"], task_vars or {})
        if problems:
            raise AnsibleActionFail(f"Nothing was done, for the inventory cannot be used. {' '.join(problems)}")
        return {**result, "changed": False}

    def _problems(self, role: str, task_vars: dict[str, t.Any]) -> list[str]:
        """What is wrong with the variables of `role`. Only values that a message must name are repeated."""
        options = argument_spec(role)
        values = self._templar.template({name: task_vars[name] for name in options if name in task_vars})
        checked = ArgumentSpecValidator(options).validate(values, validate_role_argument_spec=True)
        problems = [f"Role {role}: {message}." for message in checked.error_messages]
        if role == "report":
            problems += report_settings.problems(task_vars, self._templar.template)
        return problems + (self._problems_of_contacts(task_vars) if role == "notify" else [])

    def _problems_of_windows(self, playbook: str, task_vars: dict[str, t.Any]) -> list[str]:
        """What is wrong with the windows that the stages of `playbook` keep."""
        try:
            window.of_inventory(self._templar, task_vars, playbook)
        except RunbookError as error:
            return [str(error)]
        return []

    def _problems_of_contacts(self, task_vars: dict[str, t.Any]) -> list[str]:
        """What is wrong with the contacts and the status page, whose options are in the inventory; no address is repeated."""
        problems = []
        for name, read in (("contacts", read_contacts), ("status_page", read_options)):
            variable = next((each for each in (f"notify_{name}", f"runbooks_{name}") if each in task_vars), None)
            if variable is None:
                continue
            try:
                read(self._templar.template(task_vars[variable]))
            except InputError as error:
                problems.append(f"{variable}: {error}")
        return problems


def argument_spec(role: str) -> dict[str, t.Any]:
    """Return the options of the role's entry point main, without defaults: those are the role's own word."""
    path = ROLES / role / "meta" / "argument_specs.yml"
    if not path.is_file():
        known = ", ".join(sorted(each.parent.parent.name for each in ROLES.glob("*/meta/argument_specs.yml")))
        raise AnsibleActionFail(f"roles: {role!r} is no role of this collection. Use some of {known}.")
    specs = yaml_load(path.read_text(encoding="utf-8"))["argument_specs"]
    options = specs["main"].get("options", {})
    return {name: {key: value for key, value in spec.items() if key != "default"} for name, spec in options.items()}
