# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The check types that look outwards, all in one call through Ansible: what they import is shipped (H10, H11, H13)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from integration.health.chains import chain

CHECKOUT = Path(__file__).resolve().parents[3]


def test_all_of_them_in_one_call(app, prometheus_server, node_exporter, tmp_path):
    shown = chain(tmp_path)
    checks = [
        {"name": "api", "type": "http", "url": f"{app.url}/health", "expect": {"matches": "healthy"}},
        {
            "name": "pages",
            "type": "metrics",
            "url": node_exporter,
            "samples": {"load": "node_load1"},
            "warning": "> 1e9",
        },
        {
            "name": "query",
            "type": "prometheus",
            "url": prometheus_server,
            "query": "scalar(count(up))",
            "warning": "< 3",
        },
        {"name": "file", "type": "tls", "path": shown.files[0], "warning": "< 30"},
        {"name": "none", "type": "tls", "host": "127.0.0.1", "port": 1},
        {"name": "size", "type": "directory", "path": str(tmp_path), "warning": "> 1 GiB"},
        {"name": "dummy", "type": "command", "argv": ["check_dummy", "1", "through Ansible"]},
        {"name": "clock", "type": "clock", "server": "127.0.0.1", "port": 1, "warning": "> 1s"},
        {"name": "port", "type": "port", "port": int(app.url.rpartition(":")[2])},
    ]
    options = json.dumps({"checks": checks, "state_dir": str(tmp_path / "state")})
    done = subprocess.run(
        [
            Path(sys.executable).parent / "ansible",
            "localhost",
            "-c",
            "local",
            "-m",
            "sre.runbooks.health_check",
            "-a",
            options,
        ],
        cwd=CHECKOUT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = json.loads(re.split(r"localhost \| \w+!? => ", done.stdout)[1])["outcomes"]
    assert {each["subject"]: each["status"] for each in outcomes} == {
        "http:api": "ok",
        "metrics:pages": "ok",
        "prometheus:query": "ok",
        "tls:file": "ok",
        "tls:none": "critical",
        "directory:size": "ok",
        "command:dummy": "warning",
        "clock": "unknown",
        "port": "ok",
    }, outcomes
