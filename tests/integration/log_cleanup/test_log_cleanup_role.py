# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role sre.runbooks.log_cleanup: lists joined, a failure that stays in the host, nothing asked where nothing is to do (L5)."""

from __future__ import annotations

from .conftest import names_in, policy

ROLE = "sre.runbooks.log_cleanup"


def test_all_lists_are_joined_by_their_names_with_templated_values(playbook, logs, tmp_path):
    variables = {
        "log_folder": str(logs),
        "runbooks_state_dir": str(tmp_path / "state"),
        "runbooks_logs_base": [policy("{{ log_folder }}", name="first", patterns=["*.log.3"])],
        "runbooks_logs_site": [policy("{{ log_folder }}", name="second")],
        "runbooks_log_limits": {"files": 2},
    }
    done = playbook(ROLE, variables, ["--diff"])
    assert done.returncode == 0, done.stdout
    assert names_in(logs) == ["a.log.1", "a.log.2"]
    assert done.stdout.index('"subject": "logs:first"') < done.stdout.index('"subject": "logs:second"')
    assert f"-{logs}/a.log.4" in done.stdout
    assert "changed=0" in playbook(ROLE, variables).stdout


def test_without_policies_nothing_runs(playbook):
    done = playbook(ROLE, {})
    assert done.returncode == 0, done.stdout
    assert "skipped=1" in done.stdout


def test_a_failure_is_told_and_keeps_the_host_in_the_play(playbook, logs, tmp_path):
    done = playbook(ROLE, {"runbooks_logs_x": [policy("/etc")], "log_cleanup_state_dir": str(tmp_path / "state")})
    assert done.returncode == 0, done.stdout
    assert "logs could not be cleaned up: policies[p].paths: '/etc' is a folder of the system" in done.stdout
    assert "rescued=1" in done.stdout
