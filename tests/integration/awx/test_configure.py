# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""awx/configure.yml makes what is missing, then changes nothing; schedules follow the inventory; secrets stay inside (C8).

The tests stand in the order of a site's life and share its AWX.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.sre.runbooks.tests.integration.awx.conftest import (
    HISTORY,
    KEPT,
    KEY,
    SCHEDULES,
    TOKEN,
    Run,
    Site,
)

MONTHLY = "runbooks monthly with approval"


@pytest.fixture(scope="module")
def first(site: Site) -> Run:
    """The run that finds AWX empty, after one in check mode."""
    checked = site.configure("--check")
    assert checked.status == 0, checked.text
    assert "would be made after it" in checked.text
    assert site.awx.changes == []
    return site.configure("-vvv")


def test_c8_the_first_run_makes_all(site: Site, first: Run) -> None:
    assert first.status == 0, first.text[-3000:]
    awx = site.awx
    assert awx.names("organizations") == {"SRE"}
    assert awx.names("job_templates") == {f"runbooks {name}" for name in KEPT}
    daily = awx.one("job_templates", "runbooks daily")
    assert daily["playbook"] == "playbooks/daily.yml"
    assert daily["job_slice_count"] == 4
    assert daily["ask_job_type_on_launch"]
    assert daily["credentials"] == ["runbooks machine", "runbooks history"]
    assert daily["notification_templates_error"] == ["runbooks chat"]
    assert daily["notification_templates_success"] == []
    assert [question["variable"] for question in daily["survey"]["spec"]] == ["runbooks_hosts"]
    source = awx.one("inventory_sources", "runbooks inventory")
    assert source["source_project"] == awx.one("projects", "runbooks project")["id"]
    assert source["update_on_launch"]


def test_c8_an_approval_stands_before_what_destroys(site: Site, first: Run) -> None:
    assert first.status == 0
    awx = site.awx
    assert awx.names("workflow_job_templates") == {MONTHLY}
    assert awx.one("workflow_job_templates", MONTHLY)["notification_templates_approvals"] == ["runbooks chat"]
    nodes = {name: awx.one("workflow_job_template_nodes", name) for name in ("check", "approval", "run")}
    monthly = awx.one("job_templates", "runbooks monthly")["id"]
    assert nodes["check"]["unified_job_template"] == nodes["run"]["unified_job_template"] == monthly
    assert nodes["check"]["job_type"] == "check"
    assert nodes["check"]["always_nodes"] == ["approval"]
    assert nodes["approval"]["success_nodes"] == ["run"]
    assert nodes["run"]["always_nodes"] == nodes["run"]["success_nodes"] == []
    approval = awx.objects["workflow_approval_templates"][nodes["approval"]["unified_job_template"]]
    assert approval["timeout"] == 14400


def test_c8_schedules_are_those_of_the_inventory(site: Site, first: Run) -> None:
    assert first.status == 0
    daily = site.awx.one("schedules", "runbooks daily")
    assert daily["rrule"] == "DTSTART;TZID=Europe/Madrid:20260101T090000 RRULE:FREQ=DAILY;INTERVAL=1"
    assert (daily["limit"], daily["extra_data"]) == ("feature11", {})
    monthly = site.awx.one("schedules", "runbooks monthly")
    assert monthly["rrule"].endswith("RRULE:FREQ=MONTHLY;INTERVAL=1;BYDAY=FR;BYSETPOS=1")
    assert monthly["unified_job_template"] == site.awx.one("workflow_job_templates", MONTHLY)["id"]


def test_secrets_go_to_awx_and_nowhere_else(site: Site, first: Run) -> None:
    machine = site.awx.one("credentials", "runbooks machine")
    assert machine["inputs"] == {"username": "ops", "ssh_key_data": KEY}
    assert site.awx.one("credentials", "runbooks history")["inputs"] == {"url": HISTORY}
    kind = site.awx.one("credential_types", "sre.runbooks history")
    assert kind["injectors"] == {"extra_vars": {"runbooks_history_url": "{{ url }}"}}
    for secret in ("canary-key", "canary-password", TOKEN):
        assert secret not in first.text


def test_c8_the_second_run_changes_nothing_with_a_secret_or_without(site: Site, first: Run) -> None:
    assert first.status == 0
    before = list(site.awx.changes)
    again = site.configure(key=False)
    assert again.status == 0, again.text[-3000:]
    assert again.counts["changed"] == 0
    assert site.awx.changes == before
    assert site.awx.one("credentials", "runbooks machine")["inputs"]["ssh_key_data"] == KEY


def test_c8_a_schedule_that_is_changed_moved_or_gone(site: Site, first: Run) -> None:
    assert first.status == 0
    someone = site.awx._add("schedules", {"name": "by hand", "rrule": "x", "unified_job_template": 1})
    number = site.awx.one("schedules", "runbooks daily")["id"]
    changed: list[dict[str, Any]] = [
        {**SCHEDULES[0], "at": "daily 10:30", "enabled": False},
        {
            "name": "shop",
            "playbook": "monthly",
            "at": "first Sunday 02:00",
            "zone": "UTC",
            "extra_vars": {"runbooks_serial": 5},
        },
    ]
    before = len(site.awx.changes)
    checked = site.configure("--tags", "schedules", "--check", runbooks_schedules=changed)
    assert (checked.status, checked.counts["changed"] > 0, len(site.awx.changes)) == (0, True, before)
    done = site.configure("--tags", "schedules", runbooks_schedules=changed)
    assert done.status == 0, done.text[-3000:]
    daily = site.awx.one("schedules", "runbooks daily")
    assert (daily["id"], daily["rrule"].partition(" ")[0], daily["enabled"]) == (
        number,
        "DTSTART;TZID=Europe/Madrid:20260101T103000",
        False,
    )
    assert site.awx.names("schedules") == {"runbooks daily", "runbooks shop", "by hand"}
    shop = site.awx.one("schedules", "runbooks shop")
    assert (shop["limit"], shop["extra_data"]) == ("all", {"runbooks_serial": "5"})
    del site.awx.objects["schedules"][someone["id"]]


@pytest.mark.parametrize(
    ("schedules", "said"),
    [
        (
            [{"name": "x", "playbook": "hourly", "at": "daily 09:00", "zone": "UTC"}],
            "there is no job template for that",
        ),
        (
            [{"name": "daily", "at": "daily 09:00", "zone": "UTC", "extra_vars": {"colour": 1}}],
            "colour, which the survey",
        ),
        ([SCHEDULES[0], SCHEDULES[0]], "has a name twice"),
        ([{"name": "daily", "at": "daily 09:00"}], "zone"),
    ],
)
def test_c8_a_schedule_that_cannot_be_is_refused_before_anything(
    site: Site, first: Run, schedules: list[dict[str, object]], said: str
) -> None:
    assert first.status == 0
    before = len(site.awx.changes)
    refused = site.configure("--tags", "schedules", runbooks_schedules=schedules)
    assert refused.status != 0
    assert said in refused.text
    assert len(site.awx.changes) == before


def test_c8_a_rule_that_awx_refuses_is_told_in_its_words(site: Site, first: Run) -> None:
    assert first.status == 0
    rule = "DTSTART;TZID=Europe/Madrid:20260102T150000 RRULE:FREQ=MONTHLY;INTERVAL=1;BYDAY=1FR"
    arguments = f'name=bad unified_job_template="runbooks daily" rrule="{rule}"'
    command = [str(Path(sys.executable).with_name("ansible")), "localhost", "-m", "awx.awx.schedule", "-a", arguments]
    environment = {**os.environ, "CONTROLLER_HOST": site.url, "CONTROLLER_OAUTH_TOKEN": TOKEN, "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "BYDAY with numeric prefix not supported" in done.stdout + done.stderr
    assert "bad" not in site.awx.names("schedules")
