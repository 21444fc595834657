# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What AWX asks of single kinds of objects, beside required fields, choices and references."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.sre.runbooks.tests.integration.awx import rules
from ansible_collections.sre.runbooks.tests.integration.awx.kinds import NOTIFICATIONS

ENCRYPTED = "$encrypted$"
Item = dict[str, Any]


class RefusedError(Exception):
    """A status of HTTP with its body."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status, body)
        self.status, self.body = status, body


class Checks:
    """Checks of the fields of an object that is made (`item` is None) or changed; each raises RefusedError, and may complete the fields."""

    files: Path
    objects: dict[str, dict[int, Item]]
    surveys: dict[int, Item]

    def _find(self, endpoint: str, number: Any) -> Item | None:
        raise NotImplementedError

    def _check_credential_types(self, fields: Item, _item: Item | None) -> None:
        if errors := rules.injector_errors(fields["inputs"], fields["injectors"]):
            raise RefusedError(400, {"injectors": errors})

    def _check_credentials(self, fields: Item, item: Item | None) -> None:
        kind = self.objects["credential_types"][fields["credential_type"]]
        known = {field["id"] for field in kind["inputs"]["fields"]}
        unknown = sorted(set(fields["inputs"]) - known)
        if unknown:
            raise RefusedError(
                400,
                {
                    "inputs": {
                        name: [f"Additional properties are not allowed ('{name}' was unexpected)"] for name in unknown
                    }
                },
            )
        kept = item["inputs"] if item else {}
        fields["inputs"] = {
            name: kept.get(name) if value == ENCRYPTED else value for name, value in fields["inputs"].items()
        }

    def _check_projects(self, fields: Item, _item: Item | None) -> None:
        if fields["scm_type"] and not fields["scm_url"]:
            raise RefusedError(400, {"scm_url": ["SCM URL is required."]})

    def _check_inventory_sources(self, fields: Item, _item: Item | None) -> None:
        if fields["source"] == "scm" and not fields["source_project"]:
            raise RefusedError(400, {"source_project": ["Project required for scm type sources."]})

    def _check_notification_templates(self, fields: Item, item: Item | None) -> None:
        options, secrets = NOTIFICATIONS[fields["notification_type"]]
        given = dict(fields["notification_configuration"])
        missing = [name for name, default in options.items() if default is None and name not in given]
        if missing:
            raise RefusedError(
                400,
                {"notification_configuration": [f"Missing required fields for Notification Configuration: {missing}."]},
            )
        for name in secrets:
            if given.get(name) == ENCRYPTED and item:
                given[name] = item["notification_configuration"][name]
        fields["notification_configuration"] = {
            **{name: default for name, default in options.items() if default is not None},
            **given,
        }

    def _check_job_templates(self, fields: Item, _item: Item | None) -> None:
        project = self.objects["projects"].get(fields["project"] or 0)
        if project is None:
            raise RefusedError(400, {"project": ["This field is required."]})
        if not fields["playbook"]:
            raise RefusedError(400, {"playbook": ["Must select playbook for project."]})
        if not (self.files / fields["playbook"]).is_file():
            raise RefusedError(400, {"playbook": ["Playbook not found for project."]})
        if not fields["inventory"] and not fields["ask_inventory_on_launch"]:
            raise RefusedError(400, {"inventory": ["Job Template must provide 'inventory' or allow prompting for it."]})
        fields["organization"] = project["organization"]

    def _check_launch(self, fields: Item) -> None:
        template = self._find("unified_job_templates", fields["unified_job_template"] or 0)
        if template and (errors := rules.launch_errors(template, self.surveys.get(template["id"], {}), fields)):
            raise RefusedError(400, errors)

    def _check_workflow_job_template_nodes(self, fields: Item, _item: Item | None) -> None:
        self._check_launch(fields)

    def _check_schedules(self, fields: Item, _item: Item | None) -> None:
        if errors := rules.rrule_errors(fields["rrule"]):
            raise RefusedError(400, {"rrule": errors})
        self._check_launch(fields)
