# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows D4, D5, D11, C4: a service restored in place, and a whole system on a spare host. These run last, for they change the hosts."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import testinfra

CHECKOUT = Path(__file__).resolve().parents[3]
LAB = CHECKOUT / ".work/lab/molecule"
DATABASE = "/opt/feature11/data/feature11.db"


def play(*arguments: str) -> str:
    """Run ansible-playbook on the inventory of the scenario; return what it printed, fail with it."""
    done = subprocess.run(
        ["ansible-playbook", *arguments],
        env={**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        cwd=CHECKOUT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def count(host: Any) -> int:
    """Tasks in the service's database."""
    code = f"import sqlite3; print(sqlite3.connect('file:{DATABASE}?mode=ro', uri=True).execute('SELECT count(*) FROM tasks').fetchone()[0])"
    return int(host.check_output(f'python3 -c "{code}"'))


@pytest.fixture(scope="module")
def origin() -> Any:
    return testinfra.get_host("ansible://resources1")


@pytest.fixture(scope="module")
def checks() -> str:
    """What is broken on purpose is left out, and how busy the machine is that the hosts share."""
    return json.dumps({"runbooks_checks_lab": [], "runbooks_checks_backup": [], "runbooks_checks_base": []})


def test_a_service_is_stopped_restored_started_and_healthy(origin: Any, checks: str) -> None:
    """D5: by its unit; what was there is kept, and owner and mode are those of before."""
    before = count(origin)
    stat = origin.check_output(f"stat -c '%U %G %a' {DATABASE}")
    origin.check_output(
        f"python3 -c \"import sqlite3; d = sqlite3.connect('{DATABASE}'); d.execute('DELETE FROM tasks'); d.commit()\""
    )
    started = origin.check_output("systemctl show --property=ExecMainPID --value feature11")
    arguments = ["sre.runbooks.restore", "--limit", "resources1", "-e", checks]
    assert f"would restore {DATABASE} from feature11_" in " ".join(play(*arguments).split())
    assert count(origin) == 0
    play(*arguments, "-e", "restore_confirm=resources1")
    assert count(origin) == before
    assert origin.check_output(f"stat -c '%U %G %a' {DATABASE}") == stat
    assert origin.check_output("systemctl is-active feature11") == "active"
    assert origin.check_output("systemctl show --property=ExecMainPID --value feature11") != started
    assert origin.check_output(f"ls {DATABASE}.before-restore-*Z")
    assert origin.check_output("ls /opt/feature11/.env.before-restore-*Z")


def test_a_disaster_drill_on_a_spare_host(origin: Any, checks: str, tmp_path: Path) -> None:
    """D4, D11, C4: nothing of the system is there but its software; its unit, settings and data come from the copies."""
    spare = testinfra.get_host("ansible://models1")
    hosts = {
        "lab_drill_from": "resources1",
        "lab_drill_to": "models1",
        "lab_drill_names": ["feature11", "feature11_config"],
    }
    play("tests/lab/drill.yml", "-e", json.dumps({**hosts, "lab_copies": f"{tmp_path}/copies.tar"}))
    state = origin.check_output(
        "systemctl show --property=ExecMainPID --value feature11; ls -A /opt/feature11 /opt/feature11/data"
    )
    drill = [
        "sre.runbooks.disaster_drill",
        "-e",
        "drill_hosts=models1",
        "-e",
        "drill_for=resources1",
        "-e",
        "drill_source=/var/lib/drill",
        "-e",
        checks,
    ]
    began = time.monotonic()
    output = " ".join(play(*drill).split())
    print(f"drill: {time.monotonic() - began:.1f} s: {output[output.index('restored and healthy') :][:200]}")
    assert "restored and healthy after" in output
    assert count(spare) == count(origin)
    assert spare.check_output("systemctl is-active feature11") == "active"
    assert spare.check_output(f"stat -c %U {DATABASE}") == "feature11"
    assert "healthy" in spare.check_output(
        "python3 -c \"import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000/health').read().decode())\""
    )
    after = origin.check_output(
        "systemctl show --property=ExecMainPID --value feature11; ls -A /opt/feature11 /opt/feature11/data"
    )
    assert after == state, "nothing of the original was touched"
    page = (LAB / "reports/disaster-drill_latest.html").read_text()
    assert "drill:F11" in page
