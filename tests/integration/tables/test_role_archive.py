# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""D7, C3: the role sre.runbooks.database_maintenance archives the tables that the inventory names; modules sent as Ansible sends them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from .conftest import CHECKOUT, exports

PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  roles:
    - role: sre.runbooks.database_maintenance
      database_maintenance_stages: [archive]
  tasks:
    - sre.runbooks.database_export:
        databases: ["{{ shop | combine({'table': 'events', 'dest': folder ~ '/out.csv'}) }}"]
        state_dir: "{{ runbooks_state_dir }}"
      register: exported
    - sre.runbooks.database_import:
        databases: ["{{ shop | combine({'table': 'events', 'src': folder ~ '/out.csv'}) }}"]
        state_dir: "{{ runbooks_state_dir }}"
        on_duplicate: skip
      register: imported
    - ansible.builtin.copy:
        dest: "{{ folder }}/results.json"
        content: "{{ [database_maintenance_result, exported, imported] | to_json }}"
        mode: "0600"
      changed_when: false
"""


def test_the_role_archives_and_the_second_run_changes_nothing(sqlite_world, tmp_path):
    world = sqlite_world
    entry = world.events(rows=20)
    (tmp_path / "play.yml").write_text(PLAY)
    given = {
        "shop": world.entry, "folder": str(tmp_path), "runbooks_state_dir": str(tmp_path / "state"),
        "runbooks_archives_shop": [{**entry, "limits": {"percent": 100}}],
        "database_maintenance_archive_directory": str(tmp_path / "archive"),
        "ansible_python_interpreter": sys.executable,
    }  # fmt: skip
    (tmp_path / "vars.json").write_text(json.dumps(given))
    command = [
        Path(sys.executable).parent / "ansible-playbook",
        "-i",
        "localhost,",
        "-e",
        f"@{tmp_path}/vars.json",
        tmp_path / "play.yml",
    ]
    for changed in (True, False):
        done = subprocess.run(
            command, cwd=CHECKOUT, env={**os.environ, "LC_ALL": "C.UTF-8"}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        archived, exported, imported = json.loads((tmp_path / "results.json").read_text())
        assert archived["changed"] == changed
        assert [each["status"] for each in archived["outcomes"]] == ["ok"]
        assert (exported["changed"], exported["outcomes"][0]["metrics"]["rows"]) == (changed, 3)
        assert (imported["changed"], imported["outcomes"][0]["metrics"]["rows_unchanged"]) == (False, 3)
    assert world.ids() == [21, 22, 23]
    assert len(exports({"directory": str(tmp_path / "archive")})) == 1
