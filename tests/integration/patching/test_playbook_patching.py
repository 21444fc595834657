# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook sre.runbooks.patching with its role: host after host, and no further once one is in a bad way (K8)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import CHECKOUT, Machine

PROGRAM = Path(sys.executable).with_name("ansible-playbook")


@pytest.fixture
def fleet(tmp_path):
    """Three hosts with folders of their own for apt, and one that cannot be reached; run the playbook on them."""
    machines = {name: Machine(tmp_path / name) for name in ("web1", "web2", "web3")}
    hosts = {"web0": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}}
    for name, machine in machines.items():
        machine.build("base", "library", "1.0")
        machine.install("library")
        # The host's Python, with the variables that lead apt and dpkg to the host's folders.
        python = tmp_path / f"python-{name}"
        words = " ".join(f"'{key}={value}'" for key, value in machine.environment.items())
        python.write_text(f'#!/bin/sh\nexec env {words} {sys.executable} "$@"\n')
        python.chmod(0o755)
        page = tmp_path / f"page-{name}"
        page.touch()
        hosts[name] = {
            "ansible_connection": "local", "ansible_python_interpreter": str(python), "runbooks_state_dir": str(tmp_path / f"state-{name}"),
            "runbooks_checks_web": [{"name": "page", "type": "file", "path": str(page)}],
        }  # fmt: skip
    window = {"begin": "2020-01-01T00:00:00Z", "end": "2099-01-01T00:00:00Z"}
    # No restarts: programs of other tests may run what was replaced.
    common = {
        "runbooks_windows_web": [window], "patching_free": "1MiB", "patching_checks_within": "0s", "patching_restart": False,
    }  # fmt: skip
    (tmp_path / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": common}}))

    def go(*arguments, **variables):
        extra = {
            "report_directory": str(tmp_path / "reports"), "runbooks_history_url": f"sqlite:///{tmp_path}/history.db",
            "report_fail_on": "never", **variables,
        }  # fmt: skip
        argv = [
            PROGRAM,
            "sre.runbooks.patching",
            "-i",
            tmp_path / "inventory.json",
            "-e",
            json.dumps(extra),
            *arguments,
        ]
        done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False,
                              env={**os.environ, "ANSIBLE_NOCOLOR": "1"})  # fmt: skip
        document = None
        if (tmp_path / "reports").exists():
            document = json.loads((tmp_path / "reports/patching_latest.json").read_text())
            document = {host["name"]: host for system in document["systems"] for host in system["hosts"]}
        return done, document

    return machines, go


def test_k8_a_host_in_a_bad_way_stops_the_rollout_and_the_report_says_so(fleet, tmp_path):
    machines, go = fleet
    for name, machine in machines.items():
        # On the second one the update breaks the page.
        page = tmp_path / f"page-{name}"
        machine.build("security", "library", "1.1", postinst=f"rm {page}\n" if name == "web2" else "true\n")
    done, hosts = go()
    assert done.returncode in (0, 4), done.stdout + done.stderr
    assert [machine.version("library") for machine in machines.values()] == ["1.1", "1.1", "1.0"], done.stdout
    web2 = {each["subject"]: each for each in hosts["web2"]["outcomes"]}
    assert web2["file:page"]["status"] == "critical"
    told = json.dumps(hosts["web3"])
    assert "the rollout was stopped, for web2 is in a bad way after its turn" in told
    # When it is well, the next run goes on.
    (tmp_path / "page-web2").touch()
    started = time.monotonic()
    done, hosts = go("--limit", "web1,web2,web3")
    assert done.returncode == 0, done.stdout
    assert machines["web3"].version("library") == "1.1"
    assert {host["status"] for host in hosts.values()} == {"ok"}
    assert time.monotonic() - started < 120


def test_check_mode_and_the_window(fleet):
    machines, go = fleet
    machines["web1"].build("security", "library", "1.1")
    machines["web1"].apt("update")
    # As people say it (C5): the host is given what follows from it.
    done, _nothing = go("--check", "--limit", "web1", patching_windows=[{"at": "daily", "zone": "Europe/Madrid"}])
    assert done.returncode == 0, done.stdout
    assert machines["web1"].version("library") == "1.0"
    assert "1 updates would be installed" in done.stdout, done.stdout
    done, hosts = go(
        "--limit", "web1", patching_windows=[{"begin": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}]
    )
    (outcome,) = hosts["web1"]["outcomes"]
    assert (outcome["status"], machines["web1"].version("library")) == ("skipped", "1.0")
    done, _hosts = go("--limit", "web1", patching_windows=[])
    assert "names no window" in done.stdout + done.stderr
    done, hosts = go("--limit", "web1", patching_windows=[{"at": "some night", "zone": "UTC"}])
    assert "patching_windows[0].at: 'some night' is not understood. Write it as" in json.dumps(hosts)
