# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook sre.runbooks.security_audit with its roles (K4, K7, K8)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from .conftest import CHECKOUT

PROGRAM = Path(sys.executable).with_name("ansible-playbook")


def test_all_stages_in_one_report_and_an_unreachable_host_is_a_row(tmp_path):
    (tmp_path / "srv").mkdir()
    (tmp_path / "srv/open").touch()
    (tmp_path / "srv/open").chmod(0o666)
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    here = {
        **local,
        "runbooks_state_dir": str(tmp_path / "state"),
        "runbooks_audits_base": [{"name": "permissions", "type": "permissions", "folders": [str(tmp_path / "srv")]}],
        "runbooks_audits_app": [{"name": "key_ages", "type": "key_ages"}],
        "runbooks_keys_app": [
            {"name": "reporting", "provider": {"type": "store", "engine": "sqlite", "path": str(tmp_path / "gone.db")}}
        ],
    }
    idle = {**local, "runbooks_state_dir": str(tmp_path / "idle")}
    wrong = {**idle, "runbooks_audits_x": [{"name": "x", "type": "nonsense"}]}
    dead = {
        "ansible_connection": "ssh",
        "ansible_host": "127.0.0.1",
        "ansible_port": 1,
        "runbooks_audits_x": here["runbooks_audits_base"],
    }
    (tmp_path / "inventory.json").write_text(
        json.dumps({"all": {"hosts": {"here": here, "idle": idle, "wrong": wrong, "dead": dead}}})
    )
    extra = {
        "report_directory": str(tmp_path / "reports"),
        "runbooks_history_url": f"sqlite:///{tmp_path}/history.db",
        "report_fail_on": "never",
    }
    argv = [PROGRAM, "sre.runbooks.security_audit", "-i", tmp_path / "inventory.json", "-e", json.dumps(extra)]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(argv, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 4), done.stdout + done.stderr
    document = json.loads((tmp_path / "reports/security-audit_latest.json").read_text())
    hosts = {host["name"]: host for system in document["systems"] for host in system["hosts"]}
    told = {each["subject"]: each for each in hosts["here"]["outcomes"]}
    assert told["permissions"]["status"] == "warning", told
    assert f"{tmp_path}/srv/open: anybody may write to this file" in told["permissions"]["summary"]
    assert told["key_ages:journal"]["status"] == "ok"
    assert told["key:reporting"]["stage"] == "keys"
    assert told["key:reporting"]["status"] in ("critical", "unknown")
    assert not (tmp_path / "state/keys_audit.jsonl").exists()
    assert "nothing is audited here" in json.dumps(hosts["idle"])
    assert "'nonsense' is no kind of audit" in json.dumps(hosts["wrong"])
    assert hosts["wrong"]["status"] == "critical"
    assert hosts["dead"]["status"] == "critical"
    assert "changed=0" in done.stdout
    assert "changed=1" not in done.stdout
