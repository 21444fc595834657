# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Both inventories are read as Ansible reads them, and every check in them is one that health_check accepts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _settings
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._health import _check
from ansible_collections.sre.runbooks.plugins.module_utils._logs import _options, policy
from ansible_collections.sre.runbooks.plugins.modules.log_cleanup import SPEC
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_contacts import read_contacts

CHECKOUT = Path(__file__).resolve().parents[3]
INVENTORIES = CHECKOUT / "inventories"
HOSTS = {
    "local": {"localhost": "F11"},
    "reference": {
        "feature11.example.org": "F11",
        "mcp.example.org": "MCP",
        "abs.example.org": "ABS",
        "ghosteam.example.org": "GHO",
    },
}
EACH = [(inventory, host) for inventory, hosts in HOSTS.items() for host in hosts]
VAULT = {
    "vault_mcp_database_password": "one-secret",
    "vault_abs_redis_password": "two-secret",
    "vault_ghosteam_redis_password": "three-secret",
    "vault_operations_slack_url": "slack://T1JJ3T3L2/A1BRTD4JD/four-secret/",
    "vault_operations_mail_url": "mailtos://runbooks:five-secret@smtp.example.org/?to=ops@example.org",
    "vault_on_call_pagerduty_url": "pagerduty://six-secret@api",
    "vault_management_mail_url": "mailtos://runbooks:seven-secret@smtp.example.org/?to=boss@example.org",
}
LISTS = ("runbooks_checks_", "runbooks_databases_", "runbooks_files_", "runbooks_logs_")
SCANS = tuple(f"runbooks_scan_{name}_" for name in ("sources", "rules", "codes", "measures"))
FOLDERS = ("runbooks_state_dir", "backup_directory", "report_directory", "ansible_remote_tmp", "demo_app")
JOINED = "query('ansible.builtin.vars', *(query('ansible.builtin.varnames', '^{0}.+') | sort)) | flatten(levels=1)"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory) -> dict[str, dict[str, Any]]:
    """For each inventory and host its lists, joined and templated by Ansible as the roles do it, and some variables."""
    folder = tmp_path_factory.mktemp("inventories")
    wanted = {name: f"{{{{ {JOINED.format(name)} }}}}" for name in (*LISTS, *SCANS)}
    plain = ("runbooks_system", "runbooks_history_url", "runbooks_contacts", *FOLDERS)
    wanted.update({name: f"{{{{ {name} | default(none) }}}}" for name in plain})
    copy = {"content": "{{ wanted | to_json }}", "dest": "{{ folder }}/{{ inventory_hostname }}.json", "mode": "0600"}
    task = {"ansible.builtin.copy": copy, "delegate_to": "localhost", "vars": {"ansible_become": False}}
    play = {"hosts": "all", "gather_facts": False, "vars": {"wanted": wanted}, "tasks": [task]}
    playbook = folder / "playbook.yml"
    playbook.write_text(yaml.safe_dump([play]))
    program = Path(sys.executable).with_name("ansible-playbook")
    found = {}
    for inventory, systems in HOSTS.items():
        extra = json.dumps({**VAULT, "folder": str(folder)})
        argv = [program, "-i", INVENTORIES / inventory, playbook, "-e", extra]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg")}
        run = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=CHECKOUT, env=environment)
        assert run.returncode == 0, run.stdout + run.stderr
        found[inventory] = {host: json.loads((folder / f"{host}.json").read_text()) for host in systems}
    return found


def test_hosts_and_systems_are_as_expected(hosts):
    assert {
        inventory: {host: found["runbooks_system"] for host, found in each.items()} for inventory, each in hosts.items()
    } == HOSTS


@pytest.mark.parametrize(("inventory", "host"), EACH)
def test_every_check_is_accepted(hosts, inventory, host):
    checks, _secrets = _check.read(hosts[inventory][host]["runbooks_checks_"])
    assert {"cpu", "memory", "disk", "http", "backup"} <= {check.type for check in checks}


@pytest.mark.parametrize(("inventory", "host"), EACH)
def test_every_backup_source_is_accepted(hosts, inventory, host):
    found = hosts[inventory][host]
    files = [{"engine": "files", **entry} for entry in found["runbooks_files_"]]
    items, secrets = _settings.items([*found["runbooks_databases_"], *files])
    assert len(items) >= 2
    assert secrets <= set(VAULT.values())


@pytest.mark.parametrize(("inventory", "host"), EACH)
def test_every_log_policy_is_accepted(hosts, inventory, host):
    specs = hosts[inventory][host]["runbooks_logs_"]
    result = ArgumentSpecValidator(SPEC).validate({"policies": specs})
    assert not result.error_messages
    policies = policy.parse(result.validated_parameters["policies"])
    # A week at least, or what is past a gigabyte and more.
    assert all(
        one.max_total >= 1 << 30 if one.older_than is None else one.older_than >= 7 * 86400
        for one in policies
        if one.action == "delete"
    )


@pytest.mark.parametrize(("inventory", "host"), EACH)
def test_every_source_rule_code_and_measure_of_log_scan_is_accepted(hosts, inventory, host):
    """L1 to L4, K6: the tables of the four systems."""
    found = hosts[inventory][host]
    given = {name: found[f"runbooks_scan_{name}_"] for name in ("sources", "rules", "codes", "measures")}
    result = ArgumentSpecValidator(_options.SPEC).validate(given)
    assert not result.error_messages
    options = _options.read(result.validated_parameters)
    assert options.sources
    assert options.rules
    assert all(any(rule.bounds.values()) or inventory == "local" for rule in options.rules)


def test_the_error_codes_of_mcp_have_meaning_and_remedy(hosts):
    """L3"""
    codes = {each["code"]: each for each in hosts["reference"]["mcp.example.org"]["runbooks_scan_codes_"]}
    assert set(codes) == {"AUTH_001", "AUTH_002", "AUTH_003", "VAL_001", "DB_001", "API_001"}
    assert all(each["meaning"] and each["remedy"] for each in codes.values())


def test_a_wrong_check_would_be_noticed(hosts):
    checks = hosts["reference"]["feature11.example.org"]["runbooks_checks_"]
    with pytest.raises(RunbookError, match="wrong"):
        _check.read([*checks, {"name": "wrong", "type": "port", "port": 1, "warning": "about 5"}])


@pytest.mark.parametrize(("inventory", "host"), EACH)
@pytest.mark.parametrize("prefix", LISTS)
def test_every_system_has_checks_backups_files_and_log_policies(hosts, inventory, host, prefix):
    names = [entry["name"] for entry in hosts[inventory][host][prefix]]
    assert names
    assert len(set(names)) == len(names)


def test_h8_thresholds_of_the_systems_stand_in_the_reference_inventory(hosts):
    bounds: dict[str, Any] = {}
    for found in hosts["reference"].values():
        for check in found["runbooks_checks_"]:
            bounds.update(check["metrics"] if check["name"] == "business" else {})
    assert bounds["utilization"] == {"warning": ["< 0.50", "> 0.95"]}
    assert bounds["unallocated_hours_percent"] == {"warning": "> 30"}
    assert bounds["conflicts"] == {"warning": "> 10"}
    assert bounds["delay_risk"] == {"critical": "> 0.40"}
    assert bounds["prediction_accuracy_percent"] == {"warning": "< 90"}
    assert bounds["model_latency_seconds"] == {"warning": "> 100ms"}
    assert bounds["throughput_per_minute"] == {"warning": "< 1000"}
    assert bounds["success_rate_percent"]["warning"] == "< 95"
    assert bounds["queue_depth"]["critical"] == "> 20 for 10m"


def test_no_secret_stands_in_an_inventory():
    for path in INVENTORIES.rglob("*.yml"):
        assert yaml.safe_load(path.read_text()), path
        for value in re.findall(r"\b(?:password|token|secret)\w*: *([^\s,}].*)", path.read_text()):
            assert value.startswith(('"{{ vault_', '"{{ mcp_database.password')), (path, value)


def test_nothing_of_the_local_inventory_lies_outside_its_folder(hosts):
    found = hosts["local"]["localhost"]
    folder = (CHECKOUT / ".work" / "demo").resolve()
    for path in [*(found[name] for name in FOLDERS), found["runbooks_history_url"].removeprefix("sqlite:///")]:
        assert folder in Path(path).parents, path


def test_i6_each_level_of_the_reference_inventory_has_a_contact_whose_addresses_are_vaulted(hosts):
    for host in HOSTS["reference"]:
        contacts = read_contacts(hosts["reference"][host]["runbooks_contacts"])
        assert [each.level for each in contacts] == ["support", "engineering", "management"]
    text = (INVENTORIES / "reference" / "group_vars" / "all.yml").read_text(encoding="utf-8")
    assert "://" not in text.partition("runbooks_contacts:")[2]
