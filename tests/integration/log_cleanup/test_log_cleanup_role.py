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


def test_containers_are_looked_at_without_policies_too(playbook, tmp_path):
    """A runtime that does not answer is an outcome; that the module was called is what counts here (L6)."""
    variables = {"runbooks_log_containers": {"runtime": "docker"}, "log_cleanup_state_dir": str(tmp_path / "state")}
    done = playbook(ROLE, variables)
    assert done.returncode == 0, done.stdout
    assert '"subject": "containers:docker"' in done.stdout


def test_the_four_actions_in_one_call(playbook, logs, tmp_path):
    """L5: an inventory's policies of every action, then nothing left to do."""
    variables = {
        "log_cleanup_state_dir": str(tmp_path / "state"),
        "runbooks_logs_x": [
            policy(logs, name="delete", patterns=["a.log.4"]),
            policy(logs, name="compress", patterns=["a.log.3"], action="compress"),
            policy(
                logs,
                name="archive",
                patterns=["a.log.2"],
                older_than="1h",
                action="archive",
                archive_dir=str(tmp_path / "archive"),
            ),
            policy(logs, name="truncate", patterns=["a.log.1"], older_than="1h", action="truncate"),
        ],
    }
    done = playbook(ROLE, variables, ["--diff"])
    assert done.returncode == 0, done.stdout
    assert names_in(logs) == ["a.log.1", "a.log.3.zst"]
    assert (logs / "a.log.1").stat().st_size == 0
    assert names_in(tmp_path / "archive") == ["a.log.2"]
    assert f"+{tmp_path}/archive/a.log.2" in done.stdout
    assert "changed=0" in playbook(ROLE, variables).stdout
