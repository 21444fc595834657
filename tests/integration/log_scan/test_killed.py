# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A scan killed at any moment is as none: the next one counts each line once (L1; killed at any moment, nothing is lost)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from .conftest import CHECKOUT, MODULE, scan

LINES = 150_000


@pytest.mark.parametrize("seconds", [0.05, 0.15, 0.2, 0.25, 0.3, 0.4])
def test_kill_and_run_again(tmp_path, state, seconds):
    log = tmp_path / "app.log"
    log.write_text("2026-11-20 09:00:00,000 ERROR the first\n")
    options = {
        "sources": [{"name": "app", "path": str(log)}],
        "rules": [
            {"name": "errors", "pattern": r"\bERROR (?P<what>\w+)", "by": "what", "within": "1m", "per": "count"}
        ],
        "read": "cursor",
    }
    assert scan(state, **options)["rule:errors"]["metrics"]["matches"] == 0
    with log.open("a") as stream:
        stream.write("2026-11-20 09:00:00,000 ERROR again and again and again and again\n" * LINES)
    before = (state / "log_scan.json").read_bytes()
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {"state_dir": str(state), **options}})
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / ".work/collections")}
    running = subprocess.Popen(
        [sys.executable, str(MODULE)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment, text=True
    )
    assert running.stdin is not None
    running.stdin.write(arguments)
    running.stdin.close()
    time.sleep(seconds)
    running.kill()
    running.wait(10)
    # What is saved last makes the run a whole one.
    done = (state / "log_scan.json").read_bytes() != before
    matches = scan(state, **options)["rule:errors"]["metrics"]["matches"]
    assert matches == (0 if done else LINES)
    assert scan(state, **options)["rule:errors"]["metrics"]["matches"] == 0
