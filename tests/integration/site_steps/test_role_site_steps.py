# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role sre.runbooks.site_steps with the report: steps from several lists, by cadence, idle where there are none (C7)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
PROGRAM = Path(sys.executable).with_name("ansible-playbook")
ROLE = {"ansible.builtin.import_role": {"name": "sre.runbooks.site_steps"}, "vars": {"site_steps_cadence": "weekly"}}
REPORT = {
    "ansible.builtin.import_role": {"name": "sre.runbooks.report"},
    "vars": {"report_playbook": "weekly", "report_stages": ["site_steps"]},
    "run_once": True,
}


@pytest.fixture
def play(tmp_path):
    """Run the role and the report on hosts with these variables; return the output and the outcomes that the report has of each."""

    def go(hosts, *arguments):
        common = {
            "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "report_fail_on": "never",
            "runbooks_state_dir": str(tmp_path / "state"), "runbooks_history_url": f"sqlite:///{tmp_path}/history.db",
            "report_directory": str(tmp_path / "reports"),
        }  # fmt: skip
        (tmp_path / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": common}}))
        (tmp_path / "play.yml").write_text(
            json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [ROLE, REPORT]}])
        )
        done = subprocess.run(
            [PROGRAM, "-i", tmp_path / "inventory.json", tmp_path / "play.yml", *arguments],
            cwd=CHECKOUT, capture_output=True, text=True, check=False, env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        latest = tmp_path / "reports/weekly_latest.json"
        document = json.loads(latest.read_text()) if latest.exists() else {"systems": []}
        return done.stdout, {
            host["name"]: host["outcomes"] for system in document["systems"] for host in system["hosts"]
        }

    return go


def step(name, told, **more):
    return {"name": name, "argv": ["sh", "-c", told], "cadences": ["weekly"], **more}


def test_c7_the_result_of_a_step_is_part_of_the_report(play):
    """Steps of all lists in the order of their names; a host without a step of this cadence calls no module."""
    told = '{"status": "warning", "summary": "accuracy fell", "metrics": {"accuracy_percent": 88.5}}'
    both = {
        "runbooks_steps_b": [
            step("drift", f"echo '{told}'", expect="json"),
            step("monthly", "false", cadences=["monthly"]),
        ],
        "runbooks_steps_a": [step("review", "echo fine")],
    }
    idle = {"runbooks_steps_b": [step("monthly", "false", cadences=["monthly"])]}
    bad = {"runbooks_steps_b": [{"name": "x", "argv": ["true"]}]}
    output, outcomes = play({"both": both, "idle": idle, "bad": bad})
    found = {each["subject"]: each for each in outcomes["both"] if each["stage"] == "site_steps"}
    assert {subject: each["status"] for subject, each in found.items()} == {
        "step:review": "ok",
        "step:drift": "warning",
    }
    assert found["step:drift"]["metrics"]["accuracy_percent"] == 88.5
    assert "accuracy fell" in output
    assert not [each for each in outcomes["idle"] if each["status"] not in ("ok", "skipped")], outcomes["idle"]
    assert "missing required arguments: cadences" in json.dumps(outcomes["bad"])


def test_check_mode_runs_nothing(play, tmp_path):
    made = tmp_path / "made"
    output, _outcomes = play({"host": {"runbooks_steps_a": [step("make", f"touch {made}")]}}, "--check")
    assert f"would run sh -c touch {made}" in output
    assert not made.exists()
