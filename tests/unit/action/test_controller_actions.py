# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The actions notify, record and report: documented as they are, and loadable where the controller's packages are missing."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from typing import Any

import pytest
import yaml

from ansible_collections.sre.runbooks.plugins.plugin_utils._engine import HistoryError
from ansible_collections.sre.runbooks.plugins.plugin_utils.action import ControllerAction

BASE = "ansible_collections.sre.runbooks.plugins"
NAMES = ("incident", "notify", "record", "report")


def load(kind: str, name: str) -> Any:
    return importlib.import_module(f"{BASE}.{kind}.{name}")


@pytest.mark.parametrize("name", NAMES)
def test_documented_options_are_the_arguments(name):
    documented = yaml.safe_load(load("modules", name).DOCUMENTATION)["options"]
    assert {
        option: {key: value for key, value in about.items() if key != "description"}
        for option, about in documented.items()
    } == load("action", name).ActionModule.ARGUMENTS


@pytest.mark.parametrize("name", NAMES)
def test_the_action_works_on_the_controller_alone_and_once(name):
    action = load("action", name).ActionModule
    assert issubclass(action, ControllerAction)
    assert action.BYPASS_HOST_LOOP
    assert not action._requires_connection
    assert action._supports_check_mode
    document = yaml.safe_load(load("modules", name).DOCUMENTATION)
    assert "sre.runbooks.attributes.controller" in document["extends_documentation_fragment"]
    shared = yaml.safe_load(load("doc_fragments", "attributes").ModuleDocFragment.CONTROLLER)["attributes"]
    attributes = {**shared, **document["attributes"]}
    assert {key: attributes[key]["support"] for key in ("check_mode", "bypass_host_loop", "connection")} == {
        "check_mode": "full",
        "bypass_host_loop": "full",
        "connection": "none",
    }


@pytest.mark.parametrize("name", NAMES)
def test_missing_packages_are_named_when_the_action_runs_and_not_before(name):
    """ansible-doc and ansible-test load plugins where SQLAlchemy and psutil are not installed."""
    program = f"""
import sys
for each in ("sqlalchemy", "psutil"):
    sys.modules[each] = None
import {BASE}.action.{name}
from {BASE}.plugin_utils import collect, history
for work in (lambda: history.History("sqlite:///x.db"), collect.run_started):
    try:
        work()
    except Exception as error:
        print(error)
"""
    # The collection is found where this test found it.
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        text=True,
        capture_output=True,
        check=True,
    )
    first, second = done.stdout.splitlines()
    assert "needs the Python package SQLAlchemy" in first
    assert "psutil is not installed" in second
    assert all("requirements.txt" in line for line in (first, second))


def test_the_error_names_option_value_and_remedy():
    assert (
        str(HistoryError("history_url", "sqlite:///x", "is odd", "Mend it"))
        == "history_url: sqlite:///x is odd. Mend it"
    )
