# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.security_audit called in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.modules import security_audit

CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.fixture
def run(capsys, tmp_path):
    """Make `audits` and return the module's result."""

    def go(*audits, **options):
        given = {"audits": list(audits), "state_dir": str(tmp_path / "state"), **options}
        with patch_module_args(given), pytest.raises(SystemExit):
            security_audit.main()
        return json.loads(capsys.readouterr().out)

    return go


@pytest.fixture
def audit(run):
    """Make one audit, named `x`, and return its outcomes by what follows its name in their subjects."""

    def go(kind, **options):
        result = run({"name": "x", "type": kind, **options})
        assert "outcomes" in result, result
        assert result["changed"] is False
        assert {each["stage"] for each in result["outcomes"]} == {"security_audit"}
        start = len(f"{kind}:x:")
        return {each["subject"][start:]: each for each in result["outcomes"]}

    return go


def ids(outcome):
    """The ids of the findings."""
    return [each["id"] for each in outcome["details"].get("findings", [])]
