# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module stabilise, called as Ansible calls it, on the reference application, Redis, links and copies."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from reference_app.process import Process

from ansible_collections.sre.runbooks.plugins.modules import stabilise


@pytest.fixture(scope="session")
def application(tmp_path_factory):
    """The reference application."""
    with Process(tmp_path_factory.mktemp("application")) as process:
        yield process


@pytest.fixture
def run(capsys, tmp_path):
    """Call the module; return its result."""

    def go(*actions, verify, incident="INC-1", **options):
        given = {
            "incident": incident, "actions": list(actions), "verify": verify, "state_dir": str(tmp_path / "state"), **options,
        }  # fmt: skip
        with patch_module_args(given), pytest.raises(SystemExit):
            stabilise.main()
        return json.loads(capsys.readouterr().out)

    return go


@pytest.fixture
def flag(tmp_path):
    """A host that is well when the file `well` is there."""
    return Flag(tmp_path / "well")


class Flag:
    """What `flag` gives."""

    def __init__(self, path):
        self.path = path
        self.check = {"name": "well", "type": "file", "path": str(path), "metrics": {"files": {"critical": "< 1"}}}
        self.verify = [self.check]

    def touch(self, name="touch", path=None, **more):
        """An action that makes a file."""
        return action(name, "command", argv=["touch", str(path or self.path)], **more)


def action(name, kind, **options):
    """An action that may always be taken, and is not waited for."""
    return {"name": name, "action": kind, "guard": {"always": "a test"}, "wait": "0s", **options}


def statuses(result):
    """The outcomes' subjects and statuses, in order."""
    return [(each["subject"], each["status"]) for each in result["outcomes"]]
