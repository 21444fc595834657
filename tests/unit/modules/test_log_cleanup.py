# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.log_cleanup as a module: its result, its defaults, and that bad input is refused."""

from __future__ import annotations

import json
import os
import time

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.modules import log_cleanup


@pytest.fixture
def run(capsys, tmp_path):
    """Run the module with `options` and return its result."""

    def go(**options):
        with patch_module_args({"state_dir": str(tmp_path / "state"), **options}), pytest.raises(SystemExit):
            log_cleanup.main()
        return json.loads(capsys.readouterr().out)

    return go


@pytest.fixture
def policy(tmp_path):
    """A policy for a folder with one old log and one new log."""
    logs = tmp_path / "logs"
    logs.mkdir()
    for name, days in (("old.log", 40), ("new.log", 1)):
        (logs / name).write_text("line\n")
        os.utime(logs / name, (time.time() - days * 86400,) * 2)
    return {"name": "p", "paths": [str(logs)], "patterns": ["*.log"], "older_than": "30d", "action": "delete"}


def test_the_envelope_and_the_difference(run, policy):
    result = run(policies=[policy], _ansible_diff=True)
    assert (result["changed"], result["status"]) == (True, "ok")
    assert [(each["subject"], each["stage"]) for each in result["outcomes"]] == [("logs:p", "log_cleanup")]
    assert result["diff"] == {"before": f"{policy['paths'][0]}/old.log\n", "after": ""}


def test_check_mode_is_supported(run, policy, tmp_path):
    assert run(policies=[policy], _ansible_check_mode=True)["changed"]
    assert not (tmp_path / "state").exists()
    assert (tmp_path / "logs" / "old.log").exists()


def test_a_missing_program_is_an_outcome(run, policy, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda *_arguments, **_options: None)
    result = run(policies=[{**policy, "action": "compress"}, {**policy, "name": "q"}])
    assert [each["status"] for each in result["outcomes"]] == ["unknown", "ok"]
    assert "Install the package zstd" in result["outcomes"][0]["summary"]


def test_no_policy_at_all_is_skipped(run):
    assert run(policies=[])["status"] == "skipped"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"action": None}, "action"),
        ({"patterns": None}, "patterns"),
        ({"max_age": "3d"}, "max_age"),
        ({"keep_newest": "many"}, "keep_newest"),
    ],
)
def test_bad_options_are_refused(run, policy, wrong, message):
    result = run(policies=[{**policy, **wrong}])
    assert result["failed"]
    assert message in result["msg"]
