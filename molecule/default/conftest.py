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
        return [
            task["task"]["name"]
            for play in self.output["plays"]
            for task in play["tasks"]
            if host in task["hosts"] and not task["hosts"][host].get("skipped")
        ]


@pytest.fixture(scope="session")
def daily() -> Callable[..., Run]:
    """Run the daily playbook with more arguments, on the inventory of the scenario."""

    def run(*arguments: str) -> Run:
        environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg")}
        done = subprocess.run(
            ["ansible-playbook", "sre.runbooks.daily", *arguments],
            env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=False,
        )
        start = done.stdout.find("{")
        assert start >= 0, done.stdout + done.stderr
        # Warnings may stand before the document.
        return Run(done.returncode, json.JSONDecoder().raw_decode(done.stdout[start:])[0], done.stderr)

    return run
