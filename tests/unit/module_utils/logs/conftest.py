# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Helpers of the clean-up's tests: policies as users write them, old files, the real run_command."""

from __future__ import annotations

import os
import time

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.module_utils._logs import cleanup, policy, writers

DAY = 86400
DEFAULTS = {"exclude": [], "recurse": False, "compression": "zstd", "archive_dir": None}


def spec(folder, **options):
    """One policy as the module hands it over."""
    return {"name": "p", "paths": [str(folder)], "patterns": ["*.log*"], "action": "delete", **DEFAULTS, **options}


@pytest.fixture
def policies():
    """Parse policies."""

    def go(*specs):
        return policy.parse([spec(**each) for each in specs])

    return go


@pytest.fixture
def old():
    """Make a file that is `days` old."""

    def go(path, days=40, content="line\n"):
        path.write_text(content)
        stamp = time.time() - days * DAY
        os.utime(path, (stamp, stamp))
        return path

    return go


@pytest.fixture
def run_command():
    """The run_command that modules have."""
    with patch_module_args({}):
        return AnsibleModule(argument_spec={}).run_command


@pytest.fixture
def act(run_command):
    """Look and plan, then `between`, then act; return the results by policy."""

    def go(parsed, between=lambda: None, now=None):
        plan = cleanup.observe(parsed, time.time() if now is None else now, writers.look())
        between()
        results = [cleanup.Done() for _each in parsed]
        with writers.lease_breaks_ignored():
            cleanup.sweep(plan)
            cleanup.apply(plan, run_command, results)
        return results

    return go
