# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gateway with the run_command of a real AnsibleModule, and sources that run in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

COLLECTIONS = Path(__file__).resolve().parents[4] / ".work/collections"


@pytest.fixture(scope="session")
def commands() -> Commands:
    with patch_module_args({}):
        module = AnsibleModule(argument_spec={})
    return Commands(module.run_command)


@pytest.fixture
def start():
    """Start Python `source` with `arguments`; what still runs after the test is killed."""
    running: list[subprocess.Popen[str]] = []

    def begin(source: str, *arguments: object, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*prefix, sys.executable, "-c", source, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(COLLECTIONS)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
