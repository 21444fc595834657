# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last healthy baseline, and what a bundle tells to be different from it (I4)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess

import pytest

BASELINE = "diagnostics-baseline.json"


@pytest.fixture
def paths(tmp_path):
    folder = tmp_path / "etc"
    folder.mkdir()
    for name in ("changed.conf", "gone.conf", "same.conf"):
        (folder / name).write_text("before\n")
    return folder


def test_what_is_different_since_the_host_was_well(run, bundle, paths, tmp_path):
    kept = run(baseline="save", health="ok", paths=[str(paths)])
    assert kept["status"] == "ok"
    assert not kept["changed"]
    assert not (tmp_path / "bundles").exists()
    state = tmp_path / "state" / BASELINE
    assert state.stat().st_mode & 0o777 == 0o600
    assert state.stat().st_size < 1 << 20
    # As if the host had been another one: a package that is gone, a service that failed, a setting that was other.
    facts = json.loads(state.read_text())
    facts["packages"]["left-pad"] = "1.0-1"
    facts["services"] = {"shop.service": "active/running"}
    facts["settings"]["vm.swappiness"] = "999"
    facts["resources"]["memory"]["total_bytes"] = 1 << 30
    facts["resources"]["disks"]["/gone"] = {"total_bytes": 1, "used_bytes": 1}
    facts["processes"]["shopd shop"] = {"count": 1, "memory_bytes": 1}
    state.write_text(json.dumps(facts))
    (paths / "changed.conf").write_text("after, and longer\n")
    (paths / "gone.conf").unlink()
    (paths / "new.conf").write_text("new\n")
    program = tmp_path / "newcomerd"
    shutil.copy(shutil.which("sleep"), program)
    # A child of the module would be a program that the module itself runs.
    script = '"$0" 60 >/dev/null 2>&1 & echo $!'
    pid = int(subprocess.run(["sh", "-c", script, str(program)], check=True, capture_output=True, text=True).stdout)
    try:
        made = bundle(paths=[str(paths)], collect=["resources"])
    finally:
        os.kill(pid, signal.SIGKILL)
    told = json.loads(made.text("differences.json"))
    assert told["files"]["new"].keys() == {str(paths / "new.conf")}
    assert told["files"]["missing"].keys() == {str(paths / "gone.conf")}
    assert told["files"]["changed"].keys() == {str(paths / "changed.conf")}
    assert told["packages"]["missing"] == {"left-pad": "1.0-1"}
    assert told["settings"]["changed"]["vm.swappiness"][0] == "999"
    assert any(each.startswith("newcomerd ") for each in told["processes"]["new"])
    assert "shopd shop" in told["processes"]["missing"]
    assert told["resources"]["memory"]["total_bytes"][0] == 1 << 30
    assert told["resources"]["disk /gone"] == "missing"
    summary = made.text("summary.md")
    assert "packages: missing left-pad" in summary
    assert f"files: changed {paths}/changed.conf: 7 B of" in summary
    assert "memory 1.0 GiB -> " in summary
    assert any("left-pad" in line for line in bundle.result["outcomes"][0]["details"]["differences"])
    # Looking at it changes no baseline.
    assert json.loads(state.read_text()) == facts


def test_a_host_that_is_not_well_keeps_its_last_healthy_baseline(run, tmp_path):
    for health in ("warning", "critical", "unknown", "skipped"):
        result = run(baseline="save", health=health)
        assert result["outcomes"][0]["status"] == "skipped"
        assert health in result["outcomes"][0]["summary"]
    assert not (tmp_path / "state" / BASELINE).exists()
    run(baseline="save", health="ok", _ansible_check_mode=True)
    assert not (tmp_path / "state" / BASELINE).exists()


def test_without_a_baseline_or_with_a_broken_one_there_is_a_bundle_all_the_same(bundle, tmp_path):
    assert "No baseline was kept" in bundle(collect=["kernel"]).text("summary.md")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / BASELINE).write_text("{broken")
    made = bundle(collect=["kernel"])
    assert "cannot read the state" in made.text("summary.md")
    assert bundle.result["differences"] is None
    assert "differences.json" not in made.names


def test_services_that_changed_state(bundle, run, tmp_path, monkeypatch):
    """By a systemctl that answers as the real one does: states of units come from its columns."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "systemctl"

    def answer(state):
        program.write_text(f'#!/bin/sh\ncase "$*" in *type=service*) echo "shop.service loaded {state} Shop";; esac\n')
        program.chmod(0o755)

    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    answer("active running")
    run(baseline="save", health="ok")
    answer("failed failed")
    made = bundle(collect=["kernel"])
    assert "services: changed shop.service: active/running -> failed/failed" in made.text("summary.md")
    assert "failed units: shop.service" in made.text("summary.md")
