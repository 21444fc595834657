# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module site_steps, called as Ansible calls it, on programs that are really there."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.modules import site_steps


@pytest.fixture
def run(capsys, tmp_path):
    """Call the module with these steps, of the cadence weekly unless they say otherwise; return its result."""

    def go(*steps, **options):
        entries = [{"cadences": ["weekly"], **step} for step in steps]
        given = {"steps": entries, "state_dir": str(tmp_path / "state"), **options}
        with patch_module_args(given), pytest.raises(SystemExit):
            site_steps.main()
        return json.loads(capsys.readouterr().out)

    return go


@pytest.fixture
def script(tmp_path):
    """Write a shell script; return its path."""

    def make(name, text):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return str(path)

    return make
