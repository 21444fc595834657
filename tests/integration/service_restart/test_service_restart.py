# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook sre.runbooks.service_restart on hosts that systemd has booted: one after the other, none after a sick one (C2)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lab.systemd_hosts import Hosts, inventory

PROGRAM = Path(sys.executable).with_name("ansible-playbook")
NAMES = ("web1", "web2", "web3")
# Each start is written down; one that finds /srv/broken serves nothing, though it runs.
WEB = """#!/bin/sh
date +%s.%N >> /srv/starts
[ ! -e /srv/broken ] || exec sleep infinity
exec python3 -m http.server --bind 127.0.0.1 --directory /srv/www 8000
"""
UNIT = "[Service]\nExecStart=/srv/web\nTimeoutStopSec=5\n"
WORKER = "[Service]\nExecStart=/bin/sleep infinity\n"
CHECKS = [
    {"name": "page", "type": "http", "url": "http://127.0.0.1:8000/", "timeout": "2s", "expect": {"status": 200}},
    {"name": "disk", "type": "disk", "critical": "> -1"},
]


ALWAYS = [{"begin": "2020-01-01T00:00:00Z", "end": "2099-01-01T00:00:00Z"}]


@pytest.fixture(scope="module")
def hosts():
    with Hosts(*NAMES) as made:
        for name in NAMES:
            made.shell(name, "mkdir -p /srv/www && chmod 755 /srv /srv/www")
            made.write(name, "/srv/web", WEB)
            made.write(name, "/etc/systemd/system/web.service", UNIT)
            made.write(name, "/etc/systemd/system/worker.service", WORKER)
        yield made


@pytest.fixture
def fleet(hosts, tmp_path):
    """The hosts as they should be; run the playbook on them, and return its output and the outcomes of each host."""
    for name in NAMES:
        hosts.shell(name, """
            rm -rf /srv/broken /srv/starts /var/lib/sre-runbooks
            systemctl daemon-reload; systemctl restart worker web
            i=0; until curl -sf -o /dev/null http://127.0.0.1:8000/; do i=$((i + 1)); [ $i -lt 50 ]; sleep 0.1; done
        """)  # fmt: skip

    def go(*arguments, unreachable=False, own=None, **variables):
        common = {
            "runbooks_system": "WEB", "runbooks_services": ["worker.service", "web"], "runbooks_checks_web": CHECKS, "service_restart_max_uptime": "0s",
            "service_restart_within": "4s", "report_directory": str(tmp_path / "reports"), "runbooks_history_url": f"sqlite:///{tmp_path}/history.db",
            "report_fail_on": "never", "report_formats": ["json"], "runbooks_windows": ALWAYS, **variables,
        }  # fmt: skip
        reached = {name: {**hosts.variables(name), **(own or {}).get(name, {})} for name in NAMES}
        if unreachable:
            reached["web0"] = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
        path = inventory(tmp_path / "inventory.json", reached, common)
        done = hosts.play(PROGRAM, ["sre.runbooks.service_restart", "-i", path, *arguments])
        latest = tmp_path / "reports/service-restart_latest.json"
        document = json.loads(latest.read_text()) if latest.exists() else {"systems": []}
        found = {host["name"]: host for system in document["systems"] for host in system["hosts"]}
        return done, {name: {each["subject"]: each for each in host["outcomes"]} for name, host in found.items()}

    return go


def starts(hosts, name):
    return [float(line) for line in hosts.shell(name, "cat /srv/starts").split()]


def test_c2_a_sick_host_is_not_restarted_unless_told_then_host_after_host_each_well_before_the_next(hosts, fleet):
    hosts.shell("web1", "systemctl stop web")
    done, outcomes = fleet()
    assert done.returncode == 0, done.stdout + done.stderr
    assert [len(starts(hosts, name)) for name in NAMES] == [1, 1, 1], done.stdout
    refused = outcomes["web1"]["service_restart:services"]
    assert (refused["status"], outcomes["web1"]["host"]["status"]) == ("skipped", "critical")
    assert "its guard wants this to be well: service:units to restart:web" in refused["summary"]
    done, outcomes = fleet(unreachable=True, service_restart_sick=True, service_restart_within="20s")
    assert done.returncode in (0, 4), done.stdout + done.stderr
    seen = [starts(hosts, name) for name in NAMES]
    assert [len(each) for each in seen] == [2, 2, 2], done.stdout
    assert seen[0][1] < seen[1][1] < seen[2][1]
    restarted = outcomes["web2"]["service_restart:services"]
    assert (restarted["status"], restarted["stage"]) == ("ok", "service_restart")
    assert restarted["summary"] == "restarted worker.service, web.service"
    assert {outcomes[name]["host"]["status"] for name in NAMES} == {"ok"}


def test_c2_the_next_host_is_not_restarted_when_one_is_sick_after_its_turn(hosts, fleet):
    hosts.shell("web2", "touch /srv/broken")
    done, outcomes = fleet()
    assert done.returncode == 0, done.stdout + done.stderr
    assert [len(starts(hosts, name)) for name in NAMES] == [2, 2, 1], done.stdout
    assert outcomes["web2"]["host"]["status"] == "critical"
    assert "http:page" in outcomes["web2"]["host"]["summary"]
    assert "the rollout was stopped, for web2 is in a bad way after its turn" in json.dumps(outcomes["web3"])


def test_c2_what_is_due_check_mode_windows_limits_and_units_that_are_not_there(hosts, fleet):
    young = {"web2": {"service_restart_max_uptime": "1h"}}
    done, _outcomes = fleet("--check", "--limit", "web1,web2", own=young, runbooks_serial=3)
    assert "would restart worker.service (active), web.service (active)" in done.stdout, done.stdout
    assert "well; nothing to do" in done.stdout
    past = [{"begin": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}]
    own = {
        "web1": {"service_restart_limit": "0/h"},
        "web2": {"runbooks_services": ["no-such-unit"]},
        "web3": {"runbooks_windows": past},
    }
    done, outcomes = fleet(own=own, runbooks_serial=3)
    assert [len(starts(hosts, name)) for name in NAMES] == [1, 1, 1], done.stdout
    limit = outcomes["web1"]["service_restart:services"]
    assert limit["summary"] == "not taken: the limit of 0/h on this host is used up"
    assert outcomes["web1"]["host"]["status"] == "warning"
    assert (outcomes["web2"]["host"]["status"], "no-such-unit" in outcomes["web2"]["host"]["summary"]) == (
        "critical",
        True,
    )
    (outside,) = outcomes["web3"].values()
    assert outside["status"] == "skipped"
