# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real playbook runs for the tests of record and report: local hosts, one that is dead, one whose stage can fail."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.sre.runbooks.plugins.plugin_utils.history import History
from ansible_collections.sre.runbooks.plugins.test import reachable

COLLECTIONS = Path(reachable.__file__).parents[4]
ANSIBLE_PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")

# Stands for the module of any stage: returns what it is told to.
STAGE = """
from ansible.module_utils.basic import AnsibleModule

def main():
    module = AnsibleModule(argument_spec={"result": {"type": "dict"}, "fail": {"type": "str"}}, supports_check_mode=True)
    if module.params["fail"]:
        module.fail_json(msg=module.params["fail"])
    module.exit_json(changed=False, **module.params["result"])

main()
"""

INVENTORY = """
all:
  vars:
    ansible_connection: local
    ansible_python_interpreter: "{python}"
    trap: "{{{{ lookup('ansible.builtin.pipe', 'touch {folder}/templated') }}}}"
  children:
    feature11:
      vars: {{runbooks_system: F11}}
      hosts:
        f11-app: {{disk: critical}}
        f11-dead: {{ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: 1}}
    ghosteam:
      vars: {{name_of_system: GHO, runbooks_system: "{{{{ name_of_system }}}}"}}
      hosts:
        gho-db: {{}}
        gho-ml: {{trouble: "another run holds the lock"}}
"""

PLAYBOOK = """
- name: Stages
  hosts: "{{ runbooks_hosts | default('all') }}"
  gather_facts: false
  ignore_unreachable: true
  serial: "{{ batch | default(0) }}"
  tasks:
    - name: Health
      tags: [health]
      block:
        - name: Check
          when: inventory_hostname is sre.runbooks.reachable(hostvars)
          register: health_result
          stage:
            result:
              outcomes:
                - {subject: "disk:/", stage: health, status: "{{ disk | default('ok') }}", summary: "used 97 %", metrics: {used_percent: 97}}
                - {subject: "evil", stage: health, status: ok, summary: "{{ '{{' }} lookup('ansible.builtin.pipe', 'touch FOLDER/templated') {{ '}}' }}"}
      rescue:
        - name: Go on
          ansible.builtin.debug:
            msg: rescued
    - name: Backup
      tags: [backup]
      when: not (backup_off | default(false))
      block:
        - name: Back up
          when: inventory_hostname is sre.runbooks.reachable(hostvars)
          register: backup_result
          stage:
            fail: "{{ trouble | default('') }}"
            result: {outcomes: [{subject: "sqlite:app", stage: backup, status: ok, summary: "1.2 MB"}]}
      rescue:
        - name: Go on
          when: unrescued is not defined
          ansible.builtin.debug:
            msg: rescued
        - name: Leave the play
          when: unrescued is defined
          ansible.builtin.fail:
            msg: a role that was badly parametrised

- name: Report
  hosts: "{{ runbooks_hosts | default('all') }}"
  gather_facts: false
  tags: [always]
  roles:
    - role: sre.runbooks.report
      run_once: true
  vars:
    report_stages: [health, backup]
"""


@dataclasses.dataclass
class Result:
    """One run of ansible-playbook."""

    rc: int
    output: str

    def recap(self) -> dict[str, dict[str, int]]:
        found = re.findall(r"^(\S+) +: (ok=.*)$", self.output, re.MULTILINE)
        return {host: {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", text)} for host, text in found}


class Project:
    """A folder with inventory and playbook, with its own home, so that the defaults of the role are used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        (folder / "library").mkdir()
        (folder / "library" / "stage.py").write_text("#!/usr/bin/python\nfrom __future__ import annotations\n" + STAGE)
        (folder / "hosts.yml").write_text(INVENTORY.format(python=sys.executable, folder=folder))
        (folder / "daily.yml").write_text(PLAYBOOK.replace("FOLDER", str(folder)))
        (folder / "secret.yml").write_text(
            "runbooks_history_url: postgresql://runbooks:topsecret@127.0.0.1:1/history\n"
        )
        (folder / "ansible.cfg").write_text("[defaults]\nhost_key_checking = false\n")

    @property
    def state(self) -> Path:
        return self.home / ".local" / "state" / "sre-runbooks"

    @property
    def history(self) -> History:
        return History(f"sqlite:///{self.state}/history.db")

    def document(self) -> dict:
        with (self.state / "reports" / "daily_latest.json").open(encoding="utf-8") as stream:
            return json.load(stream)

    def environment(self) -> dict[str, str]:
        """The caller's environment without what would change Ansible's behaviour, and this project's own places."""
        strange = ("ANSIBLE_", "COLUMNS", "NO_COLOR")
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(strange)},
            "HOME": str(self.home),
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS.parent),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
        }

    def argv(self, *arguments: str, playbook: str = "daily.yml") -> list[str]:
        return [str(ANSIBLE_PLAYBOOK), "-i", str(self.folder / "hosts.yml"), playbook, *arguments]

    def run(self, *arguments: str, playbook: str = "daily.yml") -> Result:
        done = subprocess.run(
            self.argv(*arguments, playbook=playbook),
            cwd=self.folder,
            env=self.environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return Result(done.returncode, done.stdout)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A folder, a home and an inventory of their own."""
    return Project(tmp_path)
