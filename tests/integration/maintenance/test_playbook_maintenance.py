# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook sre.runbooks.maintenance and its role, on the reference application (I9, D11)."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from .conftest import CHECKOUT, Host, http, is_on, until

PROGRAM = os.path.join(os.path.dirname(sys.executable), "ansible-playbook")


@pytest.fixture
def hosts(tmp_path):
    """Two hosts, each with a flag file as its switch, and whoever keeps their leases."""
    made = {name: Host(tmp_path / name) for name in ("one", "two")}
    for host in made.values():
        host.folder.mkdir()
        (host.folder / "page").touch()
        (host.folder / "settings").write_text("old\n")
    yield made
    for host in made.values():
        host.kill_keepers()


@pytest.fixture
def play(tmp_path, hosts):
    """Run the playbook; return its exit status, what it printed, and the outcomes by host and subject."""

    def go(work, *arguments, each=None, **variables):
        (tmp_path / "work.json").write_text(json.dumps(work))
        inventory = {
            name: {
                "ansible_connection": "local", "ansible_python_interpreter": sys.executable,
                "runbooks_state_dir": str(host.state_dir), "backup_directory": str(host.folder / "backups"),
                "folder": str(host.folder), "runbooks_maintenance": {"switch": host.switch(), "lease": "5m"},
                "runbooks_files_x": [{"name": "settings", "paths": [str(host.folder / "settings")]}],
                "runbooks_checks_x": [{"name": "page", "type": "file", "path": str(host.folder / "page")}],
                **(each or {}).get(name, {}),
            }
            for name, host in hosts.items()
        }  # fmt: skip
        common = {
            "runbooks_history_url": f"sqlite:///{tmp_path}/history.db", "report_directory": str(tmp_path / "reports"),
            "maintenance_health_timeout": 1, "maintenance_tasks": "work.json", "runbooks_actor": "ops", **variables,
        }  # fmt: skip
        (tmp_path / "inventory.json").write_text(json.dumps({"all": {"hosts": inventory, "vars": common}}))
        done = subprocess.run(
            [PROGRAM, "-i", tmp_path / "inventory.json", "sre.runbooks.maintenance", *arguments],
            cwd=CHECKOUT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        found = {}
        if (tmp_path / "reports").exists():
            document = json.loads((tmp_path / "reports/maintenance_latest.json").read_text())
            found = {
                host["name"]: {each["subject"]: (each["status"], each["summary"]) for each in host["outcomes"]}
                for system in document["systems"]
                for host in system["hosts"]
            }
        return done.returncode, done.stdout + done.stderr, found

    return go


def shell(script):
    return {"name": "Work of the site", "ansible.builtin.shell": script}


def test_i9_backup_way_back_mode_on_work_mode_off_verified(play, hosts, application, alerts):
    """The switch is the application's, and the check one that maintenance mode closes."""
    one = hosts["one"]
    headers = http(application)["headers"]
    page = {"url": f"{application.url}/admin/maintenance-mode", "headers": headers}
    work = [
        {"name": "Look at it", "ansible.builtin.uri": page, "register": "seen", "no_log": True, "check_mode": False},
        {"name": "It is closed", "ansible.builtin.assert": {"that": "seen.json.maintenance or ansible_check_mode"}},
        shell(f"ls {{{{ folder }}}}/backups && echo new > {{{{ folder }}}}/settings && curl -s '{alerts.url}/api/v2/silences' > {{{{ folder }}}}/silences"),
    ]  # fmt: skip
    alertmanager = {"url": alerts.url, "matchers": [{"name": "host", "value": str(one.folder)}]}
    each = {
        "one": {
            "runbooks_maintenance": {"switch": http(application), "lease": "5m", "alertmanager": alertmanager},
            "maintenance_steps": ["database_maintenance"],
            "runbooks_databases_x": [{"name": "app", "engine": "sqlite", "path": str(application.database)}],
            "runbooks_checks_x": [{"name": "api", "type": "http", "url": f"{application.url}/api/v1/whoami", "headers": headers}],
        }
    }  # fmt: skip
    code, output, _found = play(work, "--check", "--limit", "one", each=each)
    assert code == 0, output
    assert not is_on(application)
    assert (one.folder / "settings").read_text() == "old\n"
    assert not (one.folder / "backups").exists()
    code, output, found = play(work, "--limit", "one", each=each)
    assert code == 0, output
    assert (one.folder / "settings").read_text() == "new\n"
    assert found["one"]["work"] == ("ok", "the work is done")
    assert found["one"]["maintenance:maintenance"][0] == "ok"
    assert found["one"]["sqlite:app"][0] == "ok"
    assert "would restore" in " ".join(text for _status, text in found["one"].values())
    assert one.events() == ["begun", "off"]
    assert f'"value":"{one.folder}"' in (one.folder / "silences").read_text()
    assert found["one"]["http:api"][0] == "ok", "made again in the open"
    assert not is_on(application)
    assert not [each for each in alerts.silences() if each["matchers"][0]["value"] == str(one.folder)]
    assert application.token not in output


def test_work_that_breaks_a_host_leaves_it_closed_and_the_others_alone(play, hosts):
    one, two = hosts.values()
    code, output, found = play([shell("rm {{ folder }}/page; false")])
    assert code != 0, output
    assert found["one"]["work"][0] == "critical"
    status, text = found["one"]["opening"]
    assert (status, text.endswith("file:page is not well after the work, and was before")) == ("critical", True)
    assert one.flag.exists()
    assert one.lease()["owner"] == "ops"
    assert (two.folder / "page").exists()
    assert two.events() == []
    assert "the maintenance was stopped, for one is in a bad way after its turn" in json.dumps(found["two"])
    # Nobody comes back: it goes off at the end of the lease.
    lease = one.lease()
    (one.state_dir / "maintenance/maintenance.json").write_text(json.dumps({**lease, "ends_boot": 0.0}))
    until(lambda: not one.flag.exists(), 5)


def test_work_that_fails_in_a_good_state_opens_and_no_way_back_begins_nothing(play, hosts):
    one, two = hosts.values()
    each = {"two": {"runbooks_files_x": [{"name": "gone", "paths": [str(two.folder / "gone")]}]}}
    code, output, found = play(
        [shell("touch {{ folder }}/worked; false")], each=each, maintenance_max_fail_percentage=100
    )
    assert code != 0, output
    assert found["one"]["work"][0] == "critical"
    assert found["one"]["maintenance:maintenance"][1].startswith("off: removed")
    assert found["one"]["file:page"][0] == "ok"
    assert not one.flag.exists()
    assert "there is no way back, so nothing was begun" in " ".join(output.split()), output
    assert not (two.folder / "worked").exists()
    assert two.events() == []
