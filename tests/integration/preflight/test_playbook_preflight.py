# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook sre.runbooks.preflight and its role, over the inventories of the checkout and over one that is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from reference_app.process import Process

from .conftest import CHECKOUT, database

VAULT = dict.fromkeys(("vault_mcp_database_password", "vault_abs_redis_password", "vault_ghosteam_redis_password"), "x")
VAULT |= {
    f"vault_{name}_url": "json://127.0.0.1"
    for name in ("operations_slack", "operations_mail", "on_call_pagerduty", "management_mail")
}


@pytest.fixture
def play(tmp_path):
    """Run the playbook on an inventory with variables; return its output and, for each host, {subject: outcome}."""

    def go(inventory, *arguments, **variables):
        extra = {
            "report_directory": str(tmp_path / "reports"),
            "runbooks_history_url": f"sqlite:///{tmp_path}/history.db",
            "report_fail_on": "never",
            # Other tests have ports as well, which are not to be disturbed.
            "preflight_tls_ports": [],
            **variables,
        }
        done = subprocess.run(
            [str(Path(sys.executable).with_name("ansible-playbook")), "sre.runbooks.preflight", "-i", str(inventory),
             "-e", json.dumps(extra), *arguments],
            cwd=CHECKOUT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode in (0, 4), done.stdout + done.stderr  # 4: a host was unreachable
        document = json.loads((tmp_path / "reports/preflight_latest.json").read_text())
        hosts = {host["name"]: host["outcomes"] for system in document["systems"] for host in system["hosts"]}
        return done.stdout, {name: {each["subject"]: each for each in outcomes} for name, outcomes in hosts.items()}

    return go


def test_the_defaults_are_those_of_the_other_roles():
    """What the role assumes where the inventory says nothing is what the stages would do."""

    def defaults(role):
        return yaml.safe_load((CHECKOUT / f"roles/{role}/defaults/main.yml").read_text())

    preflight = defaults("preflight")
    assumed = {"health_checks": preflight["preflight_checks"], "backup_sources": preflight["preflight_sources"]}
    assumed = {
        name: text.removeprefix(f"{{{{ {name} | default(").removesuffix(") }}") for name, text in assumed.items()
    }
    for name in ("backup_verify_targets", "restore_services"):
        text = preflight["preflight_targets" if name == "backup_verify_targets" else "preflight_units"]
        assumed[name] = text.removeprefix(f"{{{{ {name} | default(").removesuffix(") }}")
    for stage in ("health", "backup", "log_scan", "log_cleanup"):
        pairs = re.findall(r"(\w+)=(\w+) \| default\((.*?)\)(?=, |\) \}\})", preflight[f"preflight_{stage}"])
        for option, name, value in pairs:
            assert name == f"{stage}_{option}"
            assumed[name] = value
    assert len(assumed) == 20
    for name, value in assumed.items():
        role = next(
            each
            for each in ("health", "backup_verify_targets", "backup", "log_cleanup", "log_scan", "restore")
            if name.startswith(each)
        )
        theirs = defaults("backup_verify" if role == "backup_verify_targets" else role)[name]
        if "{{" in str(theirs):
            assert "".join(f"{{{{{value}}}}}".split()) == "".join(theirs.split()), name
        else:
            assert yaml.safe_load(value) == theirs, name


def test_the_local_inventory_is_sensible(play, tmp_path):
    """As a new user runs it, before anything else; nothing is written but the report."""
    app = Process(tmp_path / "demo/app")
    app.run("--seed", "20", "--seed-logs", "3")
    with app:
        output, hosts = play(CHECKOUT / "inventories/local", demo_folder=str(tmp_path / "demo"), preflight_folders=[])
    (outcomes,) = hosts.values()
    ours = {
        subject: each["summary"]
        for subject, each in outcomes.items()
        if each["status"] not in ("ok", "skipped")
        # What else runs on this machine is not the inventory's fault.
        and not subject.startswith(
            ("postgresql:", "mysql:", "redis:", "service:", "container:", "tls:", "log:", "journal")
        )
        and not (subject.startswith("sqlite:") and str(tmp_path) not in subject)
    }
    assert ours == {}
    assert outcomes["preflight:policies"]["status"] == outcomes["preflight:reachability"]["status"] == "ok"
    assert "10 checks were made" in outcomes["preflight:reachability"]["summary"]
    assert "changed=0" in output
    assert not (tmp_path / "demo/state").exists()
    assert not (tmp_path / "demo/backups").exists()


def test_the_reference_inventory_does_not_contradict_itself(play):
    """What needs none of its hosts, for they are nobody's (C5, C8, I2); that `.env` is copied in clear is for whoever has a key to say."""
    variables = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
    _output, hosts = play(
        CHECKOUT / "inventories/reference", preflight_kinds=["policies", "schedules", "contacts"], **variables, **VAULT
    )
    assert len(hosts) == 4
    for name, outcomes in hosts.items():
        rules = {rule for each in outcomes.values() for rule in each["details"].get("rules", ())}
        assert rules <= {"secrets_in_clear"}, name


def test_a_wrong_inventory_and_an_unreachable_host_are_rows(play, tmp_path):
    path = database(tmp_path / "shop.db")
    here = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "runbooks_state_dir": str(tmp_path / "state"),
        "backup_directory": str(tmp_path / "backups"),
        "backup_interval": "40h",
        "runbooks_checks_base": [{"name": "age", "type": "backup", "directory": str(tmp_path / "backups"), "critical": "> 26h"}],
        "runbooks_checks_shop": [{"name": "api", "type": "port", "port": 1}, {"name": "typo", "type": "htpp"}],
        "runbooks_databases_shop": [{"name": "shop", "engine": "sqlite", "path": str(path)}],
        "runbooks_files_shop": [{"name": "etc", "paths": [str(tmp_path / "gone")]}],
        "runbooks_ignore_base": [{"subject": "port:api", "reason": "it moves next week"}],
        "runbooks_windows": [{"at": "Sunday 02:00-04:00", "zone": "Europe/Madrid"}],
        "runbooks_schedules_shop": [{"name": "weekly", "at": "Friday 15:00", "zone": "Europe/Madrid", "hosts": "here"}],
        "runbooks_steps_shop": [
            {"name": "drift", "argv": ["no-such-program"], "cadences": ["daily"], "environment": {"TOKEN": "canary-of-a-step"}}
        ],
        "runbooks_contacts": [{"name": "team", "urls": ["json://127.0.0.1/canary-of-a-contact"], "kinds": ["incident"]}],
        # The schedules would say that backups are made once a week.
        "preflight_run_every": "24h",
        "preflight_drill_period": "7d",
        "preflight_kinds": ["policies", "reachability", "folders", "schedules", "steps", "contacts"],
    }  # fmt: skip
    dead = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    (tmp_path / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": {"here": here, "dead": dead}}}))
    output, hosts = play(tmp_path / "inventory.yml")
    found = {subject: (each["status"], each["details"].get("rules")) for subject, each in hosts["here"].items()}
    assert found.pop("files:etc") == ("critical", ["interval_over_age", "source_unreachable"])
    assert found == {
        "htpp:typo": ("critical", ["invalid"]),
        "sqlite:shop": ("warning", ["interval_over_age"]),
        "port:api": ("skipped", ["target_down"]),
        "preflight:folders": ("ok", None),
        "schedule:weekly": ("critical", ["schedule_outside_window"]),
        "step:drift": ("critical", ["step_never_runs", "step_program_missing"]),
        "contacts": ("warning", ["nobody_told"]),
    }
    # What a contact's URL and a step's environment hold is told nowhere.
    told = output + "".join(each.read_text() for each in (tmp_path / "reports").iterdir())
    assert "canary" not in told
    assert "it moves next week" in hosts["here"]["port:api"]["summary"]
    assert [each["stage"] for each in hosts["dead"].values()] == ["roll_call"]
    assert "Roll-call: 1 of 2 hosts answered" in output
    assert not re.search(r"changed=[1-9]", output)
    # In check mode, and a second time, it is the same.
    again, later = play(tmp_path / "inventory.yml", "--check")
    assert "changed=0" in again
    assert {subject: each["status"] for subject, each in later["here"].items()} == {
        subject: each["status"] for subject, each in hosts["here"].items()
    }
