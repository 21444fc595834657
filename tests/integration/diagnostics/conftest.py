# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.diagnostics called in this process or in one that can be killed, and its bundles unpacked by the real programs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.modules import diagnostics

CHECKOUT = Path(__file__).resolve().parents[3]
MODULE = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sre.runbooks.plugins.modules import diagnostics
with patch_module_args(json.loads(sys.argv[1])):
    diagnostics.main()
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CHECKOUT / ".work/collections")}


class Bundle:
    """A bundle as a responder has it: unpacked by tar."""

    def __init__(self, path, folder):
        self.path = Path(path)
        folder.mkdir(parents=True)
        program = "zstd" if self.path.suffix == ".zst" else "gzip"
        plain = subprocess.run([program, "-dc", str(path)], check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", str(folder)], input=plain, check=True)
        listed = subprocess.run(["tar", "-t"], input=plain, check=True, capture_output=True)
        self.names = [name.partition("/")[2] for name in listed.stdout.decode().splitlines()]
        (self.folder,) = folder.iterdir()
        self.plain = plain
        self.manifest = json.loads(self.text("manifest.json"))
        self.parts = {part["name"]: part for part in self.manifest["parts"]}

    def text(self, name):
        return (self.folder / name).read_text(errors="replace")

    def rows(self, name):
        return [json.loads(line) for line in self.text(name).splitlines()]


@pytest.fixture
def given(tmp_path):
    """Options that keep a test to its own folders."""
    return {"state_dir": str(tmp_path / "state"), "directory": str(tmp_path / "bundles"), "limits": {"reserve": "1MiB"}}


class Run:
    """Call the module; `text` is what it printed last."""

    def __init__(self, given, capsys):
        self.given, self.capsys, self.text = given, capsys, ""

    def __call__(self, **options):
        limits = {**self.given["limits"], **options.pop("limits", {})}
        with patch_module_args({**self.given, "limits": limits, **options}), pytest.raises(SystemExit):
            diagnostics.main()
        self.text = self.capsys.readouterr().out
        return json.loads(self.text)


class Make:
    """Make a bundle and unpack it; `result` is the module's last result."""

    def __init__(self, run, folder):
        self.run, self.folder, self.result, self.number = run, folder, {}, 0

    def __call__(self, **options):
        self.result = self.run(**options)
        assert "bundle" in self.result, self.result
        self.number += 1
        return Bundle(self.result["bundle"]["path"], self.folder / f"unpacked{self.number}")


@pytest.fixture
def run(capsys, given):
    return Run(given, capsys)


@pytest.fixture
def bundle(run, tmp_path):
    return Make(run, tmp_path)


@pytest.fixture
def started(given):
    """Start the module in a process group of its own; every one is killed at the end."""
    processes = []

    def go(prefix=(), environment=(), module=MODULE, **options):
        argv = [*prefix, sys.executable, "-c", module, json.dumps({**given, **options})]
        process = subprocess.Popen(
            argv,
            env={**ENVIRONMENT, **dict(environment)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield go
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
