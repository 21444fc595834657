# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Both inventories are read as Ansible reads them, and every check in them is one that health_check accepts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.manager import VariableManager

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._health import _check

INVENTORIES = Path(__file__).resolve().parents[3] / "inventories"
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
}


def read_host(inventory: str, host: str) -> dict:
    loader = DataLoader()
    loader.set_basedir(str(INVENTORIES))
    manager = InventoryManager(loader=loader, sources=[str(INVENTORIES / inventory)])
    variables = VariableManager(loader=loader, inventory=manager)
    found = variables.get_vars(host=manager.get_host(host))
    found.update(VAULT)
    return found


def joined(variables: dict, prefix: str) -> list:
    templar = Templar(loader=DataLoader(), variables=variables)
    names = sorted(name for name in variables if name.startswith(prefix))
    return [entry for name in names for entry in templar.template(variables[name])]


@pytest.mark.parametrize("inventory", HOSTS)
def test_hosts_and_systems_are_as_expected(inventory):
    loader = DataLoader()
    manager = InventoryManager(loader=loader, sources=[str(INVENTORIES / inventory)])
    systems = {host.name: read_host(inventory, host.name)["runbooks_system"] for host in manager.get_hosts()}
    assert systems == HOSTS[inventory]


@pytest.mark.parametrize(("inventory", "host"), EACH)
def test_every_check_is_accepted(inventory, host):
    checks, _secrets = _check.read(joined(read_host(inventory, host), "runbooks_checks_"))
    assert {"cpu", "memory", "disk", "http", "backup"} <= {check.type for check in checks}


def test_a_wrong_check_would_be_noticed():
    checks = joined(read_host("reference", "feature11.example.org"), "runbooks_checks_")
    with pytest.raises(RunbookError, match="wrong"):
        _check.read([*checks, {"name": "wrong", "type": "port", "port": 1, "warning": "about 5"}])


@pytest.mark.parametrize(("inventory", "host"), EACH)
def test_every_system_has_backups_files_and_log_policies(inventory, host):
    variables = read_host(inventory, host)
    for prefix in ("runbooks_databases_", "runbooks_files_", "runbooks_logs_"):
        entries = joined(variables, prefix)
        assert entries, prefix
        assert len({entry["name"] for entry in entries}) == len(entries)


def test_h8_thresholds_of_the_systems_stand_in_the_reference_inventory():
    bounds = {}
    for host in HOSTS["reference"]:
        for check in joined(read_host("reference", host), "runbooks_checks_"):
            bounds.update(check.get("metrics", {}) if check["name"] == "business" else {})
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


def test_nothing_of_the_local_inventory_lies_outside_its_folder():
    variables = read_host("local", "localhost")
    templar = Templar(loader=DataLoader(), variables=variables)
    folder = (INVENTORIES.parent / ".work" / "demo").resolve()
    for name in ("runbooks_state_dir", "backup_directory", "report_directory", "ansible_remote_tmp", "demo_app"):
        assert folder in Path(templar.template(variables[name])).resolve().parents, name
    history = templar.template(variables["runbooks_history_url"])
    assert folder in Path(history.removeprefix("sqlite:///")).resolve().parents
