# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role sre.runbooks.backup, run by ansible-playbook (D1, D3, C1)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .conftest import CHECKOUT, copies, database, tree

PLAYBOOK = """
- hosts: all
  gather_facts: false
  roles: [sre.runbooks.backup]
  post_tasks:
    - ansible.builtin.copy:
        content: "{{ backup_result | default({}) | to_json }}"
        dest: "{{ result_file }}"
        mode: "0600"
      check_mode: false
      changed_when: false
"""


@pytest.fixture
def play(tmp_path, store):
    """Run the role with variables; return the output and the registered result."""
    (tmp_path / "playbook.yml").write_text(PLAYBOOK)
    result = tmp_path / "result.json"

    def go(*arguments, **variables):
        host = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "backup_directory": str(store),
        }
        inventory = {"all": {"hosts": {"here": {**host, "result_file": str(result), **variables}}}}
        (tmp_path / "inventory.yml").write_text(yaml.safe_dump(inventory))
        done = subprocess.run(
            [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(tmp_path / "inventory.yml"), *arguments, str(tmp_path / "playbook.yml")],
            cwd=CHECKOUT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr, json.loads(result.read_text())

    return go


def test_the_lists_of_the_inventory_are_joined_and_a_second_run_changes_nothing(play, tmp_path, store):
    path = database(tmp_path / "app.db")
    variables = {
        "base": str(tmp_path),
        "runbooks_databases_b": [{"name": "second", "engine": "sqlite", "path": "{{ base }}/app.db"}],
        "runbooks_databases_a": [{"name": "first", "engine": "sqlite", "path": str(path)}],
        "runbooks_files_x": [
            {"name": "third", "paths": ["{{ base }}/app.db"]},
            {"name": "fourth", "engine": "sqlite", "path": str(path)},
        ],
    }
    _output, result = play(**variables)
    assert [each["subject"] for each in result["outcomes"]] == [
        "sqlite:first",
        "sqlite:second",
        "files:third",
        "sqlite:fourth",
    ]
    assert result["status"] == "ok"
    assert result["changed"] is True
    before = tree(store)
    output, result = play(**variables)
    assert result["changed"] is False
    assert "changed=0" in output
    assert tree(store) == before


def test_check_mode_writes_nothing(play, tmp_path, store):
    path = database(tmp_path / "app.db")
    output, result = play(
        "--check", "--diff", runbooks_databases_a=[{"name": "app", "engine": "sqlite", "path": str(path)}]
    )
    assert result["outcomes"][0]["details"]["would"] == "back up"
    assert "+app/app_" in output
    assert not store.exists()


def test_no_sources_no_task(play, store):
    output, result = play()
    assert result.get("skipped", True)
    assert "failed=0" in output
    assert not store.exists()


def test_a_mistake_is_told_and_keeps_the_host_in_the_play(play):
    output, result = play(runbooks_databases_a=[{"name": "app", "engine": "oracle", "password": "the-secret"}])
    assert result["failed"] is True
    assert "nothing could be backed up: sources.app.engine: 'oracle' is no engine" in output
    assert "rescued=1" in output


def test_passwords_are_not_shown_however_much_is_asked_for(play, tmp_path):
    database_source = {"name": "app", "engine": "postgresql", "host": "127.0.0.1", "port": 1, "password": "the-secret"}
    output, result = play("-vvv", runbooks_databases_a=[database_source])
    assert result["status"] == "critical"
    assert "the-secret" not in output
    assert copies(tmp_path / "backups", "app") == []


def test_secrets_are_encrypted_and_brought_elsewhere_as_the_inventory_says(play, tmp_path, store):
    """One call of the role, with everything that has a place in an inventory (D3)."""
    (tmp_path / ".env").write_text("TOKEN=1")
    secret = tmp_path / "key"
    subprocess.run(["age-keygen", "-o", str(secret)], check=True, capture_output=True)
    recipient = subprocess.check_output(["age-keygen", "-y", str(secret)], text=True).strip()
    output, result = play(
        "-vvv",
        runbooks_files_x=[
            {"name": "settings", "paths": [str(tmp_path / ".env")], "secret": True},
            {"name": "open", "paths": [str(tmp_path / ".env")], "encryption": {}, "restic": {}, "interval": "0s"},
        ],
        runbooks_encryption={"recipients": [recipient]},
        runbooks_restic={"repository": str(tmp_path / "repository"), "password": "the-secret-password", "init": True},
    )
    assert [each["status"] for each in result["outcomes"]] == ["ok", "ok", "ok"], result
    assert [copies(store, name)[0][0].name[-4:] for name in ("settings", "open")] == [".age", ".zst"]
    assert result["outcomes"][-1]["subject"] == f"restic:{tmp_path / 'repository'}"
    assert "the-secret-password" not in output
    assert "AGE-SECRET-KEY" not in output
    result = play(runbooks_files_x=[{"name": "settings", "paths": [str(tmp_path / ".env")], "secret": True}])[1]
    assert "sources.settings.secret: True asks for an encrypted copy" in result["msg"]
