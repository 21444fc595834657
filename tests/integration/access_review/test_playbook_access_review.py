# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Playbook sre.runbooks.access_review with its role sre.runbooks.access_review (K5)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]


def test_reviewed_with_the_failed_logins_of_the_same_run_and_no_token_shown(access, tmp_path):
    access.add("ana", "ADMIN")
    access.add("eve", "VIEWER")
    (tmp_path / "app.log").write_text("".join(f"login of ana failed ({number})\n" for number in range(12)))
    service = access.service(
        [{"name": "ana", "role": "ADMIN"}, {"name": "cleo", "role": "VIEWER"}], failures={"rules": ["failed accounts"]}
    )
    variables = {
        "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "runbooks_system": "F11", "report_fail_on": "never",
        "runbooks_history_url": f"sqlite:///{tmp_path}/history.db", "report_directory": str(tmp_path / "reports"),
        "runbooks_state_dir": str(tmp_path / "state"), "runbooks_access_f11": [service],
        "runbooks_scan_sources_f11": [{"name": "app", "path": str(tmp_path / "app.log")}],
        "runbooks_scan_rules_f11": [{"name": "failed accounts", "pattern": r"login of (?P<account>\S+) failed", "by": "account"}],
    }  # fmt: skip
    inventory = tmp_path / "inventory.json"
    inventory.write_text(json.dumps({"all": {"hosts": {"web1": variables}}}))
    environment = {
        **os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".work/collections"),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "tmp"), "ANSIBLE_REMOTE_TEMP": str(tmp_path / "tmp"),
    }  # fmt: skip
    argv = [
        str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), "sre.runbooks.access_review", "-vvvv", "--diff",
    ]  # fmt: skip
    done = subprocess.run(argv, env=environment, cwd=CHECKOUT, capture_output=True, text=True, timeout=180, check=False)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert access.users() == {"ana": "ADMIN", "eve": "VIEWER", "cleo": "VIEWER"}
    assert "12 failed login(s)" in told
    assert "is not in the inventory, and is VIEWER" in told
    assert access.process.token not in told
    for path in tmp_path.rglob("*"):
        if path.is_file() and path != inventory:
            assert access.process.token not in path.read_bytes().decode(errors="replace"), path
