# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scenario's tests share: daily runs as a user starts them, and the hosts they ran on."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
LAB = CHECKOUT / ".work/lab/molecule"


@dataclass(frozen=True)
class Run:
    """A finished ansible-playbook: its exit status and what the JSON callback wrote."""

    returncode: int
    output: dict[str, Any]
    stderr: str

    def tasks(self, host: str) -> list[str]:
        """Names of the tasks that were carried out for `host`, skipped ones left out."""
        return [name for name, result in self._results(host) if not result.get("skipped")]

    def results(self, host: str) -> list[dict[str, Any]]:
        """Results of all tasks of `host`."""
        return [result for _name, result in self._results(host)]

    def _results(self, host: str) -> list[tuple[str, dict[str, Any]]]:
        tasks = [task for play in self.output["plays"] for task in play["tasks"]]
        return [(task["task"]["name"], task["hosts"][host]) for task in tasks if host in task["hosts"]]


@pytest.fixture(scope="session")
def daily() -> Callable[..., Run]:
    """Run the daily playbook with more arguments, on the inventory of the scenario."""

    def run(*arguments: str) -> Run:
        environment = {
            **os.environ,
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        }
        done = subprocess.run(
            ["ansible-playbook", "sre.runbooks.daily", *arguments],
            env=environment,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )
        # Warnings and the table of the report stand before the document.
        start = f"\n{done.stdout}".find("\n{\n")
        assert start >= 0, done.stdout + done.stderr
        return Run(done.returncode, json.loads(done.stdout[start:]), done.stderr)

    return run
