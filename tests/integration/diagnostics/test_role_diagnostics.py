# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role sre.runbooks.diagnostics: the bundle on the controller with its sum compared; the baseline in one task (I4)."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import CHECKOUT, Bundle

PROGRAM = Path(sys.executable).with_name("ansible-playbook")
CANARY = "Canary-r0le-5e1f"


@pytest.fixture
def role(tmp_path):
    """Apply the role to hosts that are this machine, each with its variables; return the output and what each registered."""

    def go(hosts, *arguments, tasks_from="main"):
        common = {
            "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "diagnostics_limits": {"reserve": "1MiB"},
            "diagnostics_fetch_directory": str(tmp_path / "fetched"),
        }  # fmt: skip
        given = {
            name: {**common, "number": str(number), "runbooks_state_dir": str(tmp_path / f"state{number}"), **variables}
            for number, (name, variables) in enumerate(hosts.items())
        }
        (tmp_path / "inventory.yml").write_text(json.dumps({"all": {"hosts": given}}))
        shown = (
            "{{ {'result': diagnostics_result | default({}), 'bundle': diagnostics_bundle | default({})} | to_json }}"
        )
        copy = {"content": shown, "dest": str(tmp_path / "result{{ number }}.json"), "mode": "0600"}
        show = {"ansible.builtin.copy": copy, "check_mode": False, "name": "Show"}
        imported = {"name": "sre.runbooks.diagnostics", "tasks_from": tasks_from, "rolespec_validate": False}
        play = {
            "hosts": "all",
            "gather_facts": False,
            "tasks": [{"ansible.builtin.import_role": imported, "name": "Role"}, show],
        }
        (tmp_path / "play.yml").write_text(json.dumps([play]))
        environment = {**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg")}
        argv = [PROGRAM, "-i", tmp_path / "inventory.yml", tmp_path / "play.yml", *arguments]
        done = subprocess.run(argv, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        results = {
            name: json.loads((tmp_path / f"result{number}.json").read_text()) for number, name in enumerate(hosts)
        }
        return done.stdout + done.stderr, results

    return go


def test_the_bundle_comes_to_the_controller_and_no_secret_with_it_or_in_the_output(role, tmp_path):
    (tmp_path / "app.log").write_text(
        f"password={CANARY}\n" + os.urandom(5 << 20).hex().replace("00", "\n") + f"\nlast {CANARY}\n"
    )
    (tmp_path / "app.env").write_text(f"DB_PASSWORD={CANARY}\n")
    variables = {
        "diagnostics_incident": "INC-1", "diagnostics_logs": [str(tmp_path / "app.log")], "diagnostics_env_files": [str(tmp_path / "app.env")],
        "diagnostics_limits": {"reserve": "1MiB", "part": "12MiB"},
        "runbooks_databases_app": [{"name": "cache", "engine": "redis", "port": 1, "password": CANARY + "-db"}],
    }  # fmt: skip
    output, results = role({"app/1": variables}, "-vvvv")
    shown = results["app/1"]
    bundle = shown["bundle"]
    path = Path(bundle["path"])
    assert path.parent == tmp_path / "fetched" / "app_1"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_size > 4 << 20, "more than one piece"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == bundle["sha256"] == shown["result"]["bundle"]["sha256"]
    assert bundle["host"] == "app/1"
    assert CANARY not in json.dumps(shown["result"])
    assert CANARY not in output
    made = Bundle(path, tmp_path / "unpacked")
    assert CANARY.encode() not in made.plain
    assert "last <secret-" in made.text(f"logs{tmp_path}/app.log")
    assert output.count("\nTASK [") == 3, "one for the bundle, one for the fact, one of this test"


def test_check_mode_makes_and_fetches_nothing(role, tmp_path):
    _output, shown = role({"app": {}}, "--check")
    assert shown["app"]["result"]["outcomes"][0]["summary"].startswith("would collect")
    assert not (tmp_path / "fetched").exists()
    assert not (tmp_path / "state0").exists()


def test_a_bundle_that_cannot_be_fetched_is_told_and_nonsense_keeps_the_host_in_the_play(role, tmp_path):
    (tmp_path / "file").write_text("no folder")
    stays = {"diagnostics_collect": ["kernel"], "diagnostics_fetch_directory": str(tmp_path / "file")}
    output, shown = role({"stays": stays, "nonsense": {"diagnostics_redact": ["(unclosed"]}})
    result = shown["stays"]["result"]
    told = {each["subject"]: each for each in result["outcomes"]}["diagnostics:fetch"]
    assert told["status"] == result["status"] == "critical"
    assert Path(result["bundle"]["path"]).exists()
    assert shown["stays"]["bundle"] == {}
    assert shown["nonsense"]["result"]["failed"]
    assert "nothing was collected: redact[0]" in output


def test_the_baseline_is_one_task_and_only_of_a_healthy_host(role, tmp_path):
    due = {"diagnostics_baseline_days": 1}
    hosts = {
        "well": {"health_result": {"status": "ok"}, **due},
        "sick": {"health_result": {"status": "critical"}, **due},
        "off": {"health_result": {"status": "ok"}, "diagnostics_baseline": False, **due},
        "another day": {"health_result": {"status": "ok"}, "diagnostics_baseline_days": 2_000_000},
    }
    output, shown = role(hosts, tasks_from="baseline")
    kept = [(tmp_path / f"state{number}" / "diagnostics-baseline.json").exists() for number in range(4)]
    assert kept == [True, False, False, False]
    assert not shown["well"]["result"]["changed"]
    assert output.count("\nTASK [") == 2, "one for the baseline, one of this test"
