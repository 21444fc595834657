# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""sre.runbooks.preflight on systemd hosts: what their inventory promises in vain is critical, what runs and is covered is not there."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
REPORT = CHECKOUT / ".work/lab/molecule/reports/preflight_latest.json"
# What prepare.yml broke, as (host, subject) and the rule that finds it.
BROKEN = {
    ("resources1", "file:weekly plan"): ["target_down"],
    ("models1", "service:services:mlflow-server.service"): ["unit_missing"],
    ("models1", "http:mlflow"): ["target_down"],
}
# Each has a check or a backup source. A unit that is there and stopped is a finding of health, not of the inventory.
COVERED = {
    ("resources1", "service:stopped:feature11-sync.service"),
    ("resources1", "service:feature11.service"),
    ("resources1", "sqlite:/opt/feature11/data/feature11.db"),
    ("models1", "service:ghosteam-v5-api.service"),
    ("models1", "service:postgresql@15-main.service"),
    ("models1", "service:redis-server.service"),
    ("models1", "postgresql:5432/ghosteam_v5"),
}


@pytest.fixture(scope="module")
def preflight() -> str:
    """What the playbook printed."""
    done = subprocess.run(
        ["ansible-playbook", "sre.runbooks.preflight"],
        env={**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "PLAY RECAP" in done.stdout, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def outcomes(preflight: str) -> dict[tuple[str, str], dict[str, Any]]:
    document = json.loads(REPORT.read_text(encoding="utf-8"))
    hosts = [host for system in document["systems"] for host in system["hosts"]]
    return {(host["name"], each["subject"]): each for host in hosts for each in host["outcomes"]}


def test_what_was_broken_on_purpose_is_found(outcomes: dict[tuple[str, str], dict[str, Any]]) -> None:
    found = {key: outcomes[key]["details"]["rules"] for key in BROKEN}
    assert found == BROKEN
    assert {outcomes[key]["status"] for key in BROKEN} == {"critical"}


def test_nothing_that_is_there_is_called_missing(outcomes: dict[tuple[str, str], dict[str, Any]]) -> None:
    critical = {key for key, each in outcomes.items() if each["status"] == "critical"}
    # An answer that a busy machine gives too late is no matter of the inventory.
    assert {key for key in critical - BROKEN.keys() if not key[1].startswith("http:")} == {("resources2", "host")}


def test_what_runs_and_is_covered_is_no_finding(outcomes: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert outcomes.keys() & COVERED == set()
    assert outcomes["models1", "preflight:programs"]["status"] == "ok"
    assert outcomes["models1", "preflight:folders"]["status"] == "ok"


def test_nothing_is_changed(preflight: str) -> None:
    recap = preflight.partition("PLAY RECAP")[2]
    assert re.findall(r"changed=(\d+)", recap)
    assert set(re.findall(r"changed=(\d+)", recap)) == {"0"}
