# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stores for the tests of the record of incidents, and playbook runs of a project of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ansible_collections.sre.runbooks.plugins.test import reachable

COLLECTIONS = Path(reachable.__file__).parents[4]
ANSIBLE_PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """An empty store of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state/history.db"
    server = request.getfixturevalue("postgresql_server")
    return server.url(request.getfixturevalue("postgresql_database"))


class Project:
    """A folder with an inventory of two systems and a home of its own; each run is a real ansible-playbook."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        hosts = {
            "feature11": {"hosts": {"f11-app": {}, "f11-db": {}}, "vars": {"runbooks_system": "F11"}},
            "mcp": {
                "hosts": {"mcp-app": {}},
                "vars": {"name_of_system": "MCP", "runbooks_system": "{{ name_of_system }}"},
            },
        }
        # A connection that would be noticed: nothing of the action may connect.
        inventory = {
            "all": {
                "vars": {"ansible_connection": "ssh", "ansible_port": 1, "ansible_host": "127.0.0.1"},
                "children": hosts,
            }
        }
        (folder / "hosts.yml").write_text(yaml.safe_dump(inventory))

    @property
    def state(self) -> Path:
        return self.home / ".local" / "state" / "sre-runbooks"

    def argv(self, tasks, *arguments):
        """Write a playbook of `tasks`, a list of (action, arguments), that shows what the last one returned."""
        steps = []
        for name, options in tasks:
            if name == "answers":
                facts = {f"{stage}_result": f"{{{{ answers.{stage}[inventory_hostname] }}}}" for stage in options}
                steps.append({"ansible.builtin.set_fact": facts, "vars": {"answers": options}})
            elif name == "pause":
                steps.append({"ansible.builtin.pause": {"seconds": options}})
            else:
                steps.append({f"sre.runbooks.{name}": options, "register": "found", "run_once": True})
        steps.append({"ansible.builtin.copy": {"content": "{{ found | to_json }}", "dest": str(self.folder / "found.json")},
                      "delegate_to": "localhost", "connection": "local", "run_once": True, "check_mode": False,
                      "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}})  # fmt: skip
        play = {"hosts": "{{ runbooks_hosts | default('all') }}", "gather_facts": False, "tasks": steps}
        (self.folder / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False))
        return [str(ANSIBLE_PLAYBOOK), "-i", str(self.folder / "hosts.yml"), "play.yml", *arguments]

    def environment(self) -> dict[str, str]:
        return {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("ANSIBLE_", "COLUMNS", "NO_COLOR"))
            },
            "HOME": str(self.home),
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS.parent),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
        }

    def run(self, tasks, *arguments):
        """Run `tasks`; return what the last one registered, and the output."""
        (self.folder / "found.json").unlink(missing_ok=True)
        done = subprocess.run(
            self.argv(tasks, *arguments), cwd=self.folder, env=self.environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            return {}, done.stdout
        return json.loads((self.folder / "found.json").read_text()), done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)
