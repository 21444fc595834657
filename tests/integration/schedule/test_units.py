# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The units that the role schedule writes, read by the real systemd (C8). That timers start runs is shown by molecule/schedule."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[3]
ROLE = CHECKOUT / "roles/schedule"
PROGRAM = Path(sys.executable).with_name("ansible-playbook")
HOSTILE = "50% of $HOME \"quoted\" 'too' \\ and\nmore"


def write(folder: Path, schedules: list[dict[str, Any]], **variables: Any) -> subprocess.CompletedProcess[str]:
    """Write the units of the first schedule with the role's own templates."""
    task = {
        "ansible.builtin.template": {"src": f"{ROLE}/templates/{{{{ item }}}}.j2", "dest": f"{folder}/{{{{ timer.unit }}}}.{{{{ item }}}}"},
        "loop": ["service", "timer"],
    }  # fmt: skip
    timers = (
        "{{ schedule_schedules | sre.runbooks.schedule_timers(schedule_program, ['--inventory=' ~ folder], schedule_directory, "
        "schedule_random_delay, schedule_timeout, option='schedule_schedules') }}"
    )
    given = {
        "folder": str(folder), "schedule_schedules": schedules, "schedule_project": str(folder), "schedule_program": str(PROGRAM),
        "ansible_python_interpreter": sys.executable, "timers": timers, "timer": "{{ timers[0] }}", **variables,
    }  # fmt: skip
    play = {
        "hosts": "localhost", "gather_facts": False, "tasks": [task],
        "vars": {**yaml.safe_load((ROLE / "defaults/main.yml").read_text(encoding="utf-8")), **given},
    }  # fmt: skip
    (folder / "play.json").write_text(json.dumps([play]), encoding="utf-8")
    argv = [PROGRAM, "--inventory=localhost,", "--connection=local", folder / "play.json"]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("sandbox", [True, False])
def test_c8_systemd_understands_every_line(tmp_path: Path, sandbox: bool) -> None:
    entry = {
        "name": "weekly", "at": "Sunday 02:30", "zone": "Europe/Madrid", "hosts": "a:&b", "tags": ["health"], "skip_tags": ["x y"],
        "description": HOSTILE, "extra_vars": {"password": "canary"},
    }  # fmt: skip
    more = {"schedule_environment": {"TEXT": HOSTILE.replace("\n", " ")}, "schedule_on_failure": ["told@%n.service"]}
    done = write(tmp_path, [entry], schedule_sandbox=sandbox, schedule_random_delay="90s", **more)
    assert done.returncode == 0, done.stdout + done.stderr
    units = [tmp_path / f"sre-runbooks-weekly.{kind}" for kind in ("service", "timer")]
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    # Of other units it tells what it likes.
    told = [line for line in checked.stderr.splitlines() if "sre-runbooks-weekly" in line]
    assert told == [], checked.stderr
    service, timer = (unit.read_text(encoding="utf-8") for unit in units)
    assert "canary" not in service + timer
    assert ("NoNewPrivileges=true" in service) is sandbox
    assert timer.count("OnCalendar=") == 6
    assert "RandomizedDelaySec=90\n" in timer


def test_systemd_would_tell_of_a_line_that_it_does_not_understand(tmp_path: Path) -> None:
    """What the test before relies on."""
    done = write(tmp_path, [{"name": "weekly", "at": "Friday 15:00", "zone": "UTC"}])
    assert done.returncode == 0, done.stdout
    timer = tmp_path / "sre-runbooks-weekly.timer"
    timer.write_text(timer.read_text(encoding="utf-8").replace("Fri *-*-*", "some day"), encoding="utf-8")
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", timer], capture_output=True, text=True, check=False
    )
    assert "sre-runbooks-weekly.timer" in checked.stderr


@pytest.mark.parametrize(
    ("entry", "variables", "told"),
    [
        ({"at": "soon"}, {}, "schedule_schedules[0].at: 'soon' is not understood. Write it as"),
        ({"at": "daily 09:00"}, {"schedule_random_delay": "long"}, "schedule_random_delay: 'long' is no duration"),
        ({"at": "daily 09:00"}, {"schedule_timeout": "-1h"}, "schedule_timeout: '-1h' is negative"),
    ],
)
def test_c8_bad_input_names_option_value_and_remedy(
    tmp_path: Path, entry: dict[str, Any], variables: dict[str, Any], told: str
) -> None:
    done = write(tmp_path, [{"name": "weekly", "zone": "UTC", **entry}], **variables)
    assert done.returncode != 0
    assert told in done.stdout + done.stderr
