# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys of the reference application, a real service: as rows of its table, and through its admin API."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from reference_app.process import Process

from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
from ansible_collections.sre.runbooks.plugins.module_utils._keys import _registry
from ansible_collections.sre.runbooks.plugins.module_utils._keys._provider import Work


@pytest.fixture(scope="session")
def application(tmp_path_factory):
    """The reference application with its keys in SQLite."""
    with Process(tmp_path_factory.mktemp("application"), rate_limit=1_000_000) as process:
        yield process


@pytest.fixture
def run_command():
    """What AnsibleModule.run_command is to modules, of a real module."""
    from ansible.module_utils.basic import AnsibleModule
    from ansible.module_utils.testing import patch_module_args

    with patch_module_args({}):
        return AnsibleModule({}).run_command


@pytest.fixture
def provider(run_command):
    """Read a provider's options as the module does; return its module, the options, and what it may use."""

    def go(name="reporting", label="reporting-20261121T100000Z-0a1b2c3d", **given):
        module = _registry.load(given.pop("type"))
        result = ArgumentSpecValidator(module.OPTIONS).validate(given)
        assert not result.error_messages, result.error_messages
        options = result.validated_parameters
        module.check(options, "keys.reporting.provider")
        return module, options, Work(Commands(run_command), name, label, None, time.monotonic() + 30)

    return go
