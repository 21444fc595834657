# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard of every stage, on ansible-core's own hostvars."""

from __future__ import annotations

import pathlib

import pytest
from ansible.errors import AnsibleTemplatePluginError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

from ansible_collections.sre.runbooks.plugins.test import reachable as plugin

reachable = plugin.TestModule().tests()["reachable"]


@pytest.fixture
def fleet(tmp_path: pathlib.Path) -> tuple[HostVars, VariableManager]:
    """Two hosts, one of which has a variable that fails when templated."""
    source = tmp_path / "hosts.yml"
    source.write_text(
        "all: {hosts: {alpha: {trap: '{{ undefined_here }}', trap_result: '{{ undefined_here }}'}, beta: {}}}\n"
    )
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[str(source)])
    variables = VariableManager(loader=loader, inventory=inventory)
    return HostVars(inventory=inventory, variable_manager=variables, loader=loader), variables


@pytest.mark.parametrize(
    ("registered", "expected"),
    [
        ({}, True),
        ({"health_result": {"changed": False, "outcomes": []}}, True),
        ({"health_result": {"failed": True}}, True),
        ({"health_result": {"skipped": True}}, True),
        ({"health_result": {"unreachable": False}}, True),
        ({"health_result": {"unreachable": True}}, False),
        ({"health_result": {"outcomes": []}, "backup_result": {"unreachable": True}}, False),
        ({"something_else": {"unreachable": True}}, True),
    ],
)
def test_only_a_registered_result_that_says_so_makes_a_host_unreachable(fleet, registered, expected):
    hostvars, variables = fleet
    variables.set_nonpersistent_facts("alpha", registered)
    assert reachable("alpha", hostvars) is expected
    assert reachable("beta", hostvars) is True


@pytest.mark.parametrize("wrong", [{}, "hostvars", None])
def test_anything_but_hostvars_is_refused_with_the_right_usage(wrong):
    with pytest.raises(AnsibleTemplatePluginError, match=r"is sre\.runbooks\.reachable\(hostvars\)"):
        reachable("alpha", wrong)


def test_a_host_that_is_not_in_the_inventory_is_named(fleet):
    with pytest.raises(AnsibleTemplatePluginError, match="'gamma'"):
        reachable("gamma", fleet[0])
