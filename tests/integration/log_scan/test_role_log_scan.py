# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role sre.runbooks.log_scan: lists joined by their names, nothing asked where there is nothing, failures told (L1 to L4)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import CHECKOUT

PROGRAM = Path(sys.executable).with_name("ansible-playbook")


@pytest.fixture
def role(tmp_path):
    """Apply the role to this machine with `variables`; return the run and the registered result."""

    def go(variables, *arguments):
        host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        everything = {"runbooks_state_dir": str(tmp_path / "state"), **variables}
        (tmp_path / "inventory.yml").write_text(json.dumps({"all": {"hosts": {"here": host}, "vars": everything}}))
        copy = {
            "content": "{{ log_scan_result | default({}) | to_json }}",
            "dest": str(tmp_path / "result.json"),
            "mode": "0600",
        }
        show = {"ansible.builtin.copy": copy, "check_mode": False}
        play = {"hosts": "all", "gather_facts": False, "roles": ["sre.runbooks.log_scan"], "post_tasks": [show]}
        (tmp_path / "play.yml").write_text(json.dumps([play]))
        environment = {**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg")}
        argv = [PROGRAM, "-i", tmp_path / "inventory.yml", tmp_path / "play.yml", *arguments]
        done = subprocess.run(argv, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout, json.loads((tmp_path / "result.json").read_text())

    return go


@pytest.fixture
def variables(tmp_path):
    log = tmp_path / "app.log"
    log.write_text(time.strftime("%Y-%m-%d %H:%M:%S,000 ERROR [DB_001] took 3s\n") * 3)
    return {
        "folder": str(tmp_path),
        "runbooks_scan_sources_base": [{"name": "app", "path": "{{ folder }}/app.log"}],
        "runbooks_scan_rules_base": [{"name": "b", "pattern": "ERROR", "critical": "> 2"}],
        "runbooks_scan_rules_a": [{"name": "a", "pattern": r"\d+s"}],
        "runbooks_scan_codes_x": [{"code": "DB_001", "meaning": "database"}],
        "runbooks_scan_measures_x": [{"name": "took", "pattern": "took (?P<value>.)s", "unit": "s"}],
    }


def test_all_lists_are_joined_and_a_finding_fails_nothing(role, variables):
    _output, result = role(variables)
    assert [each["subject"] for each in result["outcomes"]] == [
        "source:app",
        "rule:a",
        "rule:b",
        "rule:DB_001",
        "measure:took",
    ]
    assert {each["stage"] for each in result["outcomes"]} == {"log_scan"}
    assert (result["status"], result["changed"], result["failed"]) == ("critical", False, False)


def test_check_mode_reads_the_same(role, variables, tmp_path):
    _output, result = role(variables, "--check")
    assert result["outcomes"][2]["metrics"]["matches"] == 3
    assert not (tmp_path / "state").exists()


def test_without_sources_nothing_is_done(role):
    output, result = role({})
    assert "skipped=1" in output
    assert "outcomes" not in result


def test_a_failure_is_told_and_keeps_the_host_in_the_play(role, variables):
    output, _result = role({**variables, "runbooks_scan_rules_a": [{"name": "a", "pattern": "("}]})
    assert "logs could not be scanned: rules[a].pattern: '(' is no regular expression" in output
    assert "rescued=1" in output
