# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pull mode: hosts that run by themselves, at the same time, into one PostgreSQL history are one fleet in a report (C1, R1).

Real ansible-pull of a git repository, and the playbook sre.runbooks.fleet.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
SITE = """
---
- name: Daily
  import_playbook: sre.runbooks.daily
"""


class Fleet:
    """A repository with playbook and inventory, three hosts that pull it, one that never does, and the history they share."""

    def __init__(self, folder, url, password):
        self.folder, self.url, self.password = folder, url, password
        self.repository = folder / "repository"
        self.repository.mkdir()
        (self.repository / "local.yml").write_text(SITE.lstrip())
        hosts = {f"node-{number}": {"limit_of_files": f"> {number % 2}"} for number in (1, 2, 3, 4)}
        variables = {
            "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "runbooks_system": "F11",
            "runbooks_history_url": url, "runbooks_state_dir": f"{folder}/state-{{{{ inventory_hostname }}}}",
            "report_directory": f"{folder}/reports", "report_notify": False, "report_fail_on": "never",
            "runbooks_checks_base": [{"name": "passwd", "type": "file", "path": "/etc/passwd", "metrics": {"files": {"warning": "{{ limit_of_files }}"}}}],
        }  # fmt: skip
        (self.repository / "hosts.yml").write_text(yaml.safe_dump({"all": {"vars": variables, "hosts": hosts}}))
        for argv in (
            ["init", "-q", "-b", "main"],
            ["add", "."],
            ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "one"],
        ):
            subprocess.run(["git", *argv], cwd=self.repository, check=True)

    def environment(self, name):
        home = self.folder / f"home-{name}"
        home.mkdir(exist_ok=True)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "COLUMNS"))}
        return {
            **kept, "HOME": str(home), "ANSIBLE_HOME": f"{home}/ansible", "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".work/collections"),
            "PATH": f"{BIN}:{os.environ['PATH']}", "PGPASSWORD": self.password, "ANSIBLE_LOCALHOST_WARNING": "false",
        }  # fmt: skip

    def pull(self, name):
        """Start what a timer on the host `name` starts."""
        argv = [str(BIN / "ansible-pull"), "-U", f"file://{self.repository}", "-C", "main", "-d", f"{self.folder}/checkout-{name}",
                "-i", "hosts.yml", "-l", name, "--tags", "health", "local.yml"]  # fmt: skip
        return subprocess.Popen(
            argv,
            cwd=self.folder,
            env=self.environment(name),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def join(self, *arguments):
        """Report the fleet; return the document and the output."""
        argv = [
            str(BIN / "ansible-playbook"),
            "sre.runbooks.fleet",
            "-i",
            str(self.repository / "hosts.yml"),
            *arguments,
        ]
        done = subprocess.run(
            argv, cwd=self.folder, env=self.environment("desk"), text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads((self.folder / "reports/fleet-daily_latest.json").read_text()), done.stdout


@pytest.fixture
def fleet(tmp_path, postgresql_server, postgresql_database):
    server = postgresql_server
    url = f"postgresql://{server.user}@{server.host}:{server.port}/{postgresql_database}"
    return Fleet(tmp_path, url, server.password)


def test_hosts_that_pull_at_the_same_time_are_one_fleet(fleet):
    began = time.monotonic()
    pulls = {name: fleet.pull(name) for name in ("node-1", "node-2", "node-3")}
    for name, process in pulls.items():
        output = process.communicate(timeout=300)[0]
        assert process.returncode == 0, (name, output)
        assert fleet.password not in output
    print(f"three pulls at once: {time.monotonic() - began:.1f} s")

    document, output = fleet.join()
    statuses = {host["name"]: host["status"] for system in document["systems"] for host in system["hosts"]}
    assert statuses == {"node-1": "ok", "node-2": "warning", "node-3": "ok", "node-4": "critical"}
    assert document["run"]["playbook"] == "fleet_daily"
    assert document["run"]["stages"] == ["health"]
    assert document["roll_call"]["missing"][0]["host"] == "node-4"
    assert document["roll_call"]["missing"][0]["summary"] == "never ran: no run of daily was recorded in the last 26h"
    assert (document["roll_call"]["expected"], document["roll_call"]["answered"]) == (4, 3)
    assert fleet.password not in output
