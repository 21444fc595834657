# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What sre.runbooks.scaling refuses before it looks at anything (C6)."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.modules import scaling

CPU = {"name": "cpu", "type": "cpu"}
QUEUE = {"name": "queue", "type": "http", "url": "http://127.0.0.1:1/", "values": {"queue_depth": "depth"}}
WORKER = {"name": "w", "kind": "systemd", "template": "worker@.service", "maximum": 3, "measures": [CPU]}
API = {
    "name": "w",
    "kind": "compose",
    "project": "p",
    "service": "api",
    "files": ["/srv/compose.yml"],
    "maximum": 3,
    "measures": [CPU],
}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({**WORKER, "kind": "cloud"}, "targets[0] (w).kind: 'cloud' is no kind of target. Use one of compose, systemd."),
        ({**WORKER, "template": "worker.service"}, "template: 'worker.service' is no template unit"),
        ({**WORKER, "template": "worker@2.service"}, "is no template unit"),
        ({**WORKER, "template": "-@.service"}, "is no template unit"),
        ({**WORKER, "first": -1}, "first: -1 is negative"),
        ({**WORKER, "drain": []}, "drain: [] names no program"),
        ({**WORKER, "shell": True}, "shell"),
        ({**WORKER, "name": "a/b"}, "name: 'a/b' is no name"),
        ({**WORKER, "maximum": 0}, "maximum: 0 is less than 1"),
        ({**WORKER, "minimum": 4}, "maximum: 3 is less than 4"),
        ({**WORKER, "minimum": -1}, "minimum: -1 is negative"),
        ({**WORKER, "step": 0}, "step: 0 would change nothing"),
        ({**WORKER, "cooldown_down": "soon"}, "cooldown_down: 'soon'"),
        ({**WORKER, "gap": "0s"}, "gap: '0s' is no time"),
        ({**WORKER, "measures": []}, "up: {} is no rule, so that it would never come to that"),
        ({**WORKER, "measures": [{"name": "disk", "type": "disk"}]}, "up: {} is no rule"),
        ({**WORKER, "measures": [{"name": "x", "type": "nope"}]}, "up: {} is no rule"),
        ({**WORKER, "measures": [CPU, {"name": "disk", "type": "disk"}]}, "measures: 'disk' is used by no rule"),
        ({**WORKER, "measures": [{**CPU, "interval": "0s"}]}, "interval: '0s' is no time"),
        ({**WORKER, "up": {"cpu_percent": ["> 80"]}}, "up.cpu_percent: ['> 80'] is no rule"),
        ({**WORKER, "up": {"cpu_percent": "a lot"}}, "up.cpu_percent: 'a lot' is no threshold"),
        ({**WORKER, "up": {"queue_depth": "> 10"}}, "up and down: 'queue_depth' is shown by none of the measures. Use one of cpu_percent"),
        ({**WORKER, "up": {"cpu_percent": "> 30"}}, "down.cpu_percent: '< 30 for 15m' leaves no room to the rule of up, '> 30'"),
        ({**WORKER, "measures": [CPU, {**CPU, "name": "again"}]}, "'cpu_percent' is shown by several measures. Write one of cpu.cpu_percent, again."),
        ({**API, "project": "a b"}, "project: 'a b' is no name"),
        ({**API, "service": "--all"}, "service: '--all' is no name"),
        ({**API, "files": []}, "files: [] names no file"),
        ({**API, "files": ["compose.yml"]}, "files: 'compose.yml' is no absolute path"),
        ({**API, "command": []}, "command: [] names no program"),
        ({**API, "stop_within": "-1s"}, "stop_within: '-1s' is negative"),
    ],
)  # fmt: skip
def test_c6_bad_input(capsys, tmp_path, given, told):
    result = called(capsys, tmp_path, given)
    assert result["failed"]
    assert told in result["msg"]
    assert not (tmp_path / "state").exists()


def test_names_are_used_once(capsys, tmp_path):
    assert "targets[1].name: 'w' is used twice" in called(capsys, tmp_path, WORKER, WORKER)["msg"]


def called(capsys, tmp_path, *targets):
    with patch_module_args({"targets": list(targets), "state_dir": str(tmp_path / "state")}), pytest.raises(SystemExit):
        scaling.main()
    return json.loads(capsys.readouterr().out)
