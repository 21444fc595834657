# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook sre.runbooks.backup_verify with its role, recorded and reported (D4, R1)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ansible_collections.sre.runbooks.plugins.plugin_utils.history import History

from .conftest import CHECKOUT, copies, database, tree


@pytest.fixture
def play(tmp_path, store):
    """Run the playbook with variables of its only host; return exit status, output and the report."""

    def go(*arguments, **variables):
        host = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "runbooks_system": "F11",
            "runbooks_history_url": f"sqlite:///{tmp_path}/history.db",
            "runbooks_report_directory": str(tmp_path / "reports"),
            "runbooks_state_dir": str(tmp_path / "state"),
            "backup_directory": str(store),
        }
        (tmp_path / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": {"here": {**host, **variables}}}}))
        done = subprocess.run(
            [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(tmp_path / "inventory.yml"), *arguments, "sre.runbooks.backup_verify"],
            cwd=CHECKOUT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        latest = tmp_path / "reports" / "backup-verify_latest.json"
        report = json.loads(latest.read_text()) if latest.exists() else None
        return done.returncode, done.stdout + done.stderr, report

    return go


def test_copies_are_verified_recorded_and_reported_with_their_recovery(run, play, store, tmp_path):
    sources = [{"name": name, "engine": "sqlite", "path": str(database(tmp_path / f"{name}.db"))} for name in "ab"]
    run(*sources, verify="checksum")
    variables = {
        "runbooks_databases_x": sources[:1],
        "runbooks_databases_y": sources[1:],
        "backup_verify_targets": {"recovery_time": "1h", "names": {"b": {"recovery_point": "1ms"}}},
    }
    before = tree(tmp_path)
    rc, output, _report = play("--check", **variables)
    assert rc == 0, output
    assert {path: each for path, each in tree(tmp_path).items() if "inventory" not in path} == before
    assert "check mode, nothing recorded" in output
    rc, output, report = play(**variables)
    assert rc == 0, output
    assert report["status"] == "warning"
    (system,) = report["systems"]
    assert [(row["subject"], row["status"], row["level"]) for row in system["recovery"]] == [
        ("sqlite:b", "warning", "restored"),
        ("sqlite:a", "ok", "restored"),
    ]
    assert all(0 < row["time_seconds"] < 60 and row["target_time_seconds"] == 3600 for row in system["recovery"])
    assert "warning   sqlite:b (here): newest good copy" in output
    # The figures are in the history, for trends.
    history = History(f"sqlite:///{tmp_path}/history.db")
    (host,) = history.load(history.find()).hosts
    assert [(each["stage"], each["metrics"]["verified_copies"]) for each in host.outcomes] == [("verify", 1)] * 2
    page = (tmp_path / "reports" / "backup-verify_latest.html").read_text()
    assert "Expected recovery time" in page
    rc, output, report = play(**variables)
    assert "changed=0" in output
    assert report["systems"][0]["recovery"][1]["status"] == "ok"


def test_a_bad_copy_ends_the_playbook_and_a_mistake_is_told(one, play, store, tmp_path):
    source = {"name": "app", "engine": "sqlite", "path": str(database(tmp_path / "app.db"))}
    one(source)
    os.truncate(copies(store, "app")[0][0], 10)
    rc, output, report = play(runbooks_databases_x=[source], backup_verify_interval="0s")
    assert (rc, report["status"]) == (2, "critical")
    assert "were written" in output
    assert report["systems"][0]["recovery"][0]["status"] == "critical"
    rc, output, _report = play(runbooks_databases_x=[{**source, "engine": "oracle"}])
    assert rc == 2
    assert "nothing could be verified: sources.app.engine: 'oracle' is no engine" in output
    rc, output, report = play()
    assert rc == 0, output
    assert report["status"] == "skipped"
