# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.health_check as a module: its result, and that nothing is checked when something is wrong."""

from __future__ import annotations

import json
import socket

import pytest
from ansible.module_utils.common.parameters import PASS_VARS
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.modules import health_check

# ansible-core 2.21 leaves the invocation out of a result unless it is asked for; older ones do not know the question.
SHOW_INVOCATION = {"_ansible_inject_invocation": True} if "inject_invocation" in PASS_VARS else {}


@pytest.fixture
def run(capsys):
    """Run the module with `options` and return its result."""

    def go(**options):
        with patch_module_args(options), pytest.raises(SystemExit):
            health_check.main()
        return json.loads(capsys.readouterr().out)

    return go


@pytest.fixture
def listener():
    """A port that is open."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def port_check(listener, **extra):
    return {"name": "api", "type": "port", "port": listener.getsockname()[1], **extra}


def test_the_envelope(run, listener, tmp_path):
    result = run(checks=[port_check(listener)], state_dir=str(tmp_path))
    assert (result["changed"], result["status"]) == (False, "ok")
    (outcome,) = result["outcomes"]
    assert outcome["subject"] == "port:api"
    assert outcome["metrics"]["connect_seconds"] >= 0
    assert outcome["details"] == {"check": "api", "type": "port"}


def test_no_check_at_all_is_skipped(run, tmp_path):
    assert run(checks=[], state_dir=str(tmp_path))["status"] == "skipped"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"checks": [{"name": "y", "type": "cpu", "warning": "high"}]},
            "checks[1] (y).cpu_percent.warning: 'high' is no thr",
        ),
        ({"checks": [{"name": "y", "type": "astrology"}]}, "checks[1] (y).type: 'astrology' is no check type."),
        ({"workers": 0}, "workers: 0 is too few."),
        ({"timeout": 0}, "timeout: 0.0 is no time."),
    ],
)
def test_a_mistake_fails_the_task_before_any_check_is_made(run, listener, tmp_path, wrong, message):
    options = {"state_dir": str(tmp_path), **wrong, "checks": [port_check(listener), *wrong.get("checks", [])]}
    result = run(**options)
    assert result["failed"] is True
    assert result["msg"].startswith(message)
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_the_checks_are_not_repeated_in_the_result(run, listener, tmp_path):
    checks = [{"name": "x", "type": "redis", "connection": {"port": 1, "password": "geheim"}}, port_check(listener)]
    result = run(checks=checks, state_dir=str(tmp_path), **SHOW_INVOCATION)
    assert result["invocation"]["module_args"]["workers"] == 16
    assert "checks" not in result["invocation"]["module_args"]
    assert "geheim" not in json.dumps(result)
