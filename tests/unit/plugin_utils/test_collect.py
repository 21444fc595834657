# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run gathered from ansible-core's own hostvars, without templating what hosts answered (C1)."""

from __future__ import annotations

import datetime
import re

import psutil
import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome
from ansible_collections.sre.runbooks.plugins.plugin_utils import collect

INVENTORY = """
all:
  hosts:
    alpha: {site: F11, runbooks_system: "{{ site }}"}
    beta: {runbooks_system: GHO, trap_result: "{{ undefined_here }}"}
    gamma: {}
"""


@pytest.fixture
def task_vars(tmp_path):
    source = tmp_path / "hosts.yml"
    source.write_text(INVENTORY)
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[str(source)])
    variables = VariableManager(loader=loader, inventory=inventory)
    hostvars = HostVars(inventory=inventory, variable_manager=variables, loader=loader)
    found = {"health_result": {"outcomes": [outcome("cpu", "health", "ok", "fine")]}}
    for host in ("alpha", "beta"):
        variables.set_nonpersistent_facts(host, found)
    return {
        "hostvars": hostvars,
        "ansible_play_hosts_all": ["alpha", "beta", "gamma"],
        "ansible_run_tags": ["all"],
        "ansible_skip_tags": [],
    }


def test_every_host_of_the_play_is_called(task_vars):
    run = collect.collect(task_vars, ["health"], "daily", False)
    assert [(host.name, host.system, host.answered, host.status) for host in run.hosts] == [
        ("alpha", "F11", True, "ok"),
        ("beta", "GHO", True, "ok"),
        ("gamma", "", False, "critical"),
    ]
    assert run.status == "critical"
    assert run.stages == ["health"]
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{6}", run.id)
    assert run.id[:8] == run.started.replace("-", "")[:8]
    assert run.started <= run.finished


def test_results_are_never_templated(task_vars):
    run = collect.collect(task_vars, ["health", "trap"], "daily", False)
    assert [each["summary"] for each in run.hosts[1].outcomes] == ["fine", "returned something else than a result"]


def test_two_recordings_of_one_process_are_two_runs(task_vars):
    ids = {collect.collect(task_vars, ["health"], "daily", False).id for _time in range(20)}
    assert len(ids) == 20


def test_the_run_began_with_the_parent_process():
    parent = psutil.Process().parent()
    assert parent is not None
    assert collect.run_started() == datetime.datetime.fromtimestamp(parent.create_time(), datetime.UTC)


def test_the_version_is_that_of_the_collection():
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", collect.collection_version())
