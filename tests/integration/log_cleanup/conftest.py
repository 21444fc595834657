# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.log_cleanup run as users run it: by ansible and ansible-playbook, on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
DAY = 86400


def environment(tmp_path):
    """What Ansible runs with: the checkout's settings, results as JSON, nothing written into the user's home."""
    return {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "ansible"),
        "ANSIBLE_REMOTE_TEMP": str(tmp_path / "ansible"),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
    }


def names_in(folder):
    """Names in a folder, in order; undecodable ones as Python has them."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def logs(tmp_path):
    """A folder of logs: two old ones and two new ones."""
    folder = tmp_path / "logs"
    folder.mkdir()
    for number, days in enumerate((1, 2, 40, 50), 1):
        make_old(folder / f"a.log.{number}", days)
    return folder


def make_old(path, days, content="line\n" * 200):
    """Write a file that is `days` old."""
    path.write_text(content)
    stamp = time.time() - days * DAY
    os.utime(path, (stamp, stamp))
    return path


def policy(folder, **options):
    """One policy."""
    return {
        "name": "p",
        "paths": [str(folder)],
        "patterns": ["*.log.*"],
        "older_than": "30d",
        "action": "delete",
        **options,
    }


@pytest.fixture
def module(tmp_path):
    """Run the module by `ansible`; return its result."""

    def go(*policies, arguments=(), **options):
        given = {"policies": list(policies), "state_dir": str(tmp_path / "state"), **options}
        argv = [
            str(BIN / "ansible"),
            "localhost",
            "-m",
            "sre.runbooks.log_cleanup",
            "-a",
            json.dumps(given),
            *arguments,
        ]
        done = subprocess.run(argv, cwd=ROOT, env=environment(tmp_path), check=False, capture_output=True, text=True)
        # A failure's result comes on the other stream, after a message of its own.
        text = done.stdout + done.stderr
        return {"failed": done.returncode != 0, **json.JSONDecoder().raw_decode(text[text.index("=> {") + 3 :])[0]}

    return go


@pytest.fixture
def playbook(tmp_path):
    """Run a playbook that applies a role to hosts of this machine with `variables`; return the run."""

    def go(role, variables, arguments=(), become=False):
        inventory = tmp_path / "inventory.yml"
        python = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        inventory.write_text(json.dumps({"all": {"hosts": {"here": python}, "vars": variables}}))
        book = tmp_path / "play.yml"
        book.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "become": become, "roles": [role]}]))
        argv = [str(BIN / "ansible-playbook"), "-v", "-i", str(inventory), str(book), *arguments]
        return subprocess.run(argv, cwd=ROOT, env=environment(tmp_path), check=False, capture_output=True, text=True)

    return go
