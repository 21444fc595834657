# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""awx/configure.yml run by ansible-playbook, with the modules of awx.awx, against a server that stands where AWX would be."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.sre.runbooks.tests.integration.awx.controller import Controller, serve

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "canary-token-of-awx"  # never printed
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\ncanary-key\n-----END OPENSSH PRIVATE KEY-----\n"
HISTORY = "postgresql://runbooks:canary-password@db.example.org/history"
DEFAULTS = yaml.safe_load((ROOT / "awx/roles/awx/defaults/main.yml").read_text(encoding="utf-8"))
WEBHOOK = {
    "url": "https://chat.example.org/hook",
    "http_method": "POST",
    "disable_ssl_verification": False,
    "username": "",
    "password": "",
    "headers": {},
}


@dataclass
class Run:
    """What ansible-playbook said: exit status, text, and the counts of its recap."""

    status: int
    text: str

    @property
    def counts(self) -> dict[str, int]:
        recap = re.findall(r"(\w+)=(\d+)", self.text.rpartition("PLAY RECAP")[2])
        return {name: int(number) for name, number in recap}


@dataclass
class Site:
    """A site's inventory, and AWX."""

    folder: Path
    url: str
    awx: Controller
    variables: dict[str, Any] = field(default_factory=dict)

    def configure(self, *arguments: str, key: bool = True, **variables: Any) -> Run:
        """Run the playbook with the inventory's variables and these on top."""
        group_vars = self.folder / "group_vars"
        group_vars.mkdir(exist_ok=True)
        (group_vars / "all.yml").write_text(yaml.safe_dump({**self.variables, **variables}), encoding="utf-8")
        (self.folder / "hosts.yml").write_text("all: {hosts: {shop1.example.org: {}}}\n", encoding="utf-8")
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CONTROLLER_", "RUNBOOKS_", "ANSIBLE_"))
        }
        environment |= {
            "CONTROLLER_HOST": self.url,
            "CONTROLLER_OAUTH_TOKEN": TOKEN,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "HOME": str(self.folder),
        }
        environment["RUNBOOKS_HISTORY_URL"] = HISTORY
        if key:
            path = self.folder / "key"
            path.write_text(KEY, encoding="utf-8")
            environment |= {"RUNBOOKS_SSH_USER": "ops", "RUNBOOKS_SSH_KEY_FILE": str(path)}
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "-i",
            str(self.folder / "hosts.yml"),
            "awx/configure.yml",
            *arguments,
        ]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        return Run(done.returncode, done.stdout + done.stderr)


SCHEDULES = [
    {"name": "daily", "at": "daily 09:00", "zone": "Europe/Madrid", "hosts": "feature11"},
    {"name": "monthly", "playbook": "sre.runbooks.monthly", "at": "first Friday 09:00", "zone": "Europe/Madrid"},
]
# Each module is a process of its own, so a few templates stand for all; test_awx_as_code.py looks at those that come with the role.
KEPT = ("daily", "monthly")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An AWX that is empty at first, and the inventory of a site with two schedules."""
    folder = tmp_path_factory.mktemp("site")
    awx = Controller(ROOT / "awx" / "project", TOKEN)
    with serve(awx) as url:
        yield Site(
            folder,
            url,
            awx,
            {
                "awx_scm_url": "https://git.example.org/ops/inventory.git",
                "awx_image": "registry.example.org/sre-runbooks:0.1.0",
                "awx_slices": {"daily": 4},
                "awx_notifications": [
                    {"name": "chat", "type": "webhook", "configuration": WEBHOOK, "events": ["error", "approvals"]}
                ],
                "awx_overrides": {
                    name: {"state": "absent"} for name in DEFAULTS["awx_job_templates"] if name not in KEPT
                },
                "runbooks_schedules": SCHEDULES,
            },
        )
