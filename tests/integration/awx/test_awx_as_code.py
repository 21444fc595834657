# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What comes with the role awx: every playbook has a job template and a file in the project; surveys ask for what playbooks read (C8)."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ansible_collections.sre.runbooks.plugins.plugin_utils import _schedule_filters
from ansible_collections.sre.runbooks.tests.integration.awx import rules
from ansible_collections.sre.runbooks.tests.integration.awx.conftest import DEFAULTS, ROOT

# The playbook schedule makes timers where there is no AWX.
PLAYBOOKS = {path.stem: path for path in (ROOT / "playbooks").glob("*.yml") if path.stem != "schedule"}
PROJECT = {path.stem: path for path in (ROOT / "awx/project/playbooks").glob("*.yml")}
TEMPLATES: dict[str, Any] = DEFAULTS["awx_job_templates"]
QUESTIONS = {question["variable"]: question for question in DEFAULTS["awx_questions"]}
VARS = yaml.safe_load((ROOT / "awx/roles/awx/vars/main.yml").read_text(encoding="utf-8"))


def test_c8_every_playbook_has_a_job_template_and_a_file_in_the_project() -> None:
    assert set(TEMPLATES) == set(PLAYBOOKS)
    assert set(PROJECT) == set(PLAYBOOKS)
    for name, path in PROJECT.items():
        (play,) = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert play["ansible.builtin.import_playbook"] == f"sre.runbooks.{name}"


def roles_of(playbook: str) -> set[str]:
    """The roles that a playbook imports, includes or validates, by what stands in its text."""
    text = PLAYBOOKS[playbook].read_text(encoding="utf-8")
    return {
        path.name
        for path in (ROOT / "roles").iterdir()
        if f"sre.runbooks.{path.name}\n" in text or f"{path.name}," in text
    }


def read_by(playbook: str) -> set[str]:
    """Variables that a playbook itself reads, and the options of its roles."""
    names = {name for name in QUESTIONS if name in PLAYBOOKS[playbook].read_text(encoding="utf-8")}
    for role in roles_of(playbook):
        spec = yaml.safe_load((ROOT / "roles" / role / "meta/argument_specs.yml").read_text(encoding="utf-8"))
        names |= set(spec["argument_specs"]["main"].get("options", {}))
    return names


@pytest.mark.parametrize("playbook", sorted(TEMPLATES))
def test_c8_a_survey_asks_for_variables_that_its_playbook_reads(playbook: str) -> None:
    asked = TEMPLATES[playbook]["survey"]
    assert set(asked) <= set(QUESTIONS)
    assert set(asked) <= read_by(playbook), f"{playbook} reads none of {set(asked) - read_by(playbook)}"


@pytest.mark.parametrize("playbook", sorted(TEMPLATES))
def test_c8_awx_takes_every_survey(playbook: str) -> None:
    spec = [{**VARS["__awx_question"], **QUESTIONS[name]} for name in TEMPLATES[playbook]["survey"]]
    assert rules.survey_error({"name": "", "description": "", "spec": spec}) == ""


def test_c8_what_destroys_has_an_approval() -> None:
    approved = {name for name, template in TEMPLATES.items() if template.get("approval")}
    assert {"restore", "monthly", "patching", "migration", "maintenance", "database_maintenance"} <= approved


def test_a_choice_is_one_that_the_role_knows() -> None:
    spec = yaml.safe_load((ROOT / "roles/incident/meta/argument_specs.yml").read_text(encoding="utf-8"))
    options = spec["argument_specs"]["main"]["options"]
    assert QUESTIONS["incident_action"]["choices"] == options["incident_action"]["choices"]
    assert QUESTIONS["incident_severity"]["choices"] == [
        each for each in options["incident_severity"]["choices"] if each
    ]
    spec = yaml.safe_load((ROOT / "roles/maintenance/meta/argument_specs.yml").read_text(encoding="utf-8"))
    options = spec["argument_specs"]["main"]["options"]
    assert QUESTIONS["maintenance_steps"]["choices"] == options["maintenance_steps"]["choices"]


REFERENCE = yaml.safe_load((ROOT / "inventories/reference/group_vars/all.yml").read_text(encoding="utf-8"))
SCHEDULES = [each for name, entries in REFERENCE.items() if name.startswith("runbooks_schedules") for each in entries]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=[each["name"] for each in SCHEDULES])
def test_c8_awx_takes_every_schedule_of_the_reference_inventory(schedule: dict[str, Any]) -> None:
    template = TEMPLATES[schedule.get("playbook", schedule["name"])]
    assert set(schedule.get("extra_vars", {})) <= set(template["survey"])
    assert rules.rrule_errors(_schedule_filters.schedule_rrule(schedule)) == []
