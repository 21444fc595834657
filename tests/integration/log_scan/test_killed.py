# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A scan killed at any moment is as none: the next one counts each line once (L1; killed at any moment, nothing is lost)."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import CHECKOUT, MODULE, scan

LINES = 150_000
RULE = {"name": "errors", "pattern": r"\bERROR (?P<what>\w+)", "by": "what", "within": "1m", "per": "count"}


class Scan:
    """A log that was read once and has grown since, and a scan of what came after, as a process of its own."""

    def __init__(self, folder, state):
        self.state, self.log = state, folder / "app.log"
        self.options = {"sources": [{"name": "app", "path": str(self.log)}], "rules": [RULE], "read": "cursor"}
        self.log.write_text("2026-11-20 09:00:00,000 ERROR the first\n")
        assert self.matches() == 0
        with self.log.open("a") as stream:
            stream.write("2026-11-20 09:00:00,000 ERROR again and again and again and again\n" * LINES)

    def matches(self):
        return scan(self.state, **self.options)["rule:errors"]["metrics"]["matches"]

    def begun(self):
        """Start it, and return it when it reads the log: how long it takes until then is of no interest."""
        arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {"state_dir": str(self.state), **self.options}})
        process = subprocess.Popen(
            [sys.executable, str(MODULE)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT / ".work/collections")},
        )  # fmt: skip
        process.stdin.write(arguments)
        process.stdin.close()
        while not self._reads(process.pid):
            assert process.poll() is None, "it ended unseen"
            time.sleep(0.002)
        return process

    def _reads(self, pid):
        with contextlib.suppress(OSError):
            for each in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if each.readlink() == self.log:
                        return True
        return False


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """How long a scan reads and counts, here and now."""
    folder = tmp_path_factory.mktemp("whole")
    process = Scan(folder, folder / "state").begun()
    began = time.monotonic()
    assert process.wait() == 0
    return time.monotonic() - began


@pytest.mark.parametrize("part", [0.0, 0.2, 0.4, 0.6, 0.8, 0.95])
def test_kill_and_run_again(tmp_path, state, whole, part):
    job = Scan(tmp_path, state)
    before = (state / "log_scan.json").read_bytes()
    running = job.begun()
    time.sleep(whole * part)
    running.kill()
    running.wait(10)
    # What is saved last makes the run a whole one.
    done = (state / "log_scan.json").read_bytes() != before
    assert job.matches() == (0 if done else LINES)
    assert job.matches() == 0
