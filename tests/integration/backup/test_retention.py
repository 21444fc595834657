# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Retention against the real `restic forget`, and what keeps copies whatever the policy says (D2)."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _catalog, _plan

from .conftest import CHECKOUT, copies, database

KEEP_ONE = {"keep_last": 1}


@pytest.fixture
def source(tmp_path):
    """A small database."""
    return {"name": "app", "engine": "sqlite", "path": str(database(tmp_path / "app.db"))}


@pytest.fixture
def aged(one, source):
    """Make a copy and give it the time stamp `stamp`, as if it had been made then."""

    def go(stamp):
        path = Path(one(source, retention={"keep_last": 100})["details"]["path"])
        old = path.with_name(f"app_{stamp}.sqlite.zst")
        path.rename(old)
        text = path.with_name(path.name + ".manifest.json").read_text().replace(path.name, old.name)
        old.with_name(old.name + ".manifest.json").write_text(text)
        path.with_name(path.name + ".manifest.json").unlink()
        return old

    return go


def test_the_real_program_still_keeps_what_the_table_says(tmp_path):
    path = CHECKOUT / "tests/unit/module_utils/backup/restic_forget.py"
    spec = importlib.util.spec_from_file_location("restic_forget", path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    assert shutil.which("restic"), "restic is missing: apt-get install restic"
    stamps = program.moments()[-1:-40:-6]
    policies = [program.POLICIES[2], program.POLICIES[7]]
    found = [_catalog.Copy("x", "sqlite", str(each), "", float(each), 1, "restored", False) for each in stamps]
    expected = [
        sorted(
            int(each.copy.created)
            for each in _plan.retention(found, _plan.Policy(**policy), "restored", stamps[0])
            if each.keep
        )
        for policy in policies
    ]
    assert program.kept(tmp_path, stamps, policies) == expected


def test_a_pinned_copy_is_never_deleted(one, store, source, aged):
    first, second = aged("20240101T000000Z"), aged("20240102T000000Z")
    pin = first.with_name(first.name + ".pin")
    pin.write_text("state before the migration, keep for the audit")
    outcome = one(source, retention=KEEP_ONE)
    assert outcome["status"] == "ok"
    assert outcome["details"]["kept"][first.name] == "pinned"
    assert list(outcome["details"]["deleted"]) == [second.name]
    assert next(path.name for path, _manifest in copies(store, "app")) == first.name
    assert "without a manifest" not in outcome["summary"]
    pin.unlink()
    assert list(one(source, retention=KEEP_ONE)["details"]["deleted"])[-1] == first.name


def test_a_pinned_copy_that_failed_stays_and_is_no_proof(one, source, aged):
    old = aged("20240101T000000Z")
    old.with_name(old.name + ".pin").touch()
    aged("20240102T000000Z")
    os.truncate(old, old.stat().st_size - 1)
    outcome = one(source, retention=KEEP_ONE)
    assert outcome["details"]["kept"][old.name] == "pinned"
    assert old.exists()


def test_check_mode_does_not_promise_to_delete_what_is_pinned(one, source, aged):
    first, second = aged("20240101T000000Z"), aged("20240102T000000Z")
    first.with_name(first.name + ".pin").touch()
    outcome = one(source, retention=KEEP_ONE, _ansible_check_mode=True)
    assert outcome["details"]["delete"] == [f"app/{second.name}"]


def test_info_tells_what_is_pinned(info, aged):
    old = aged("20240101T000000Z")
    old.with_name(old.name + ".pin").touch()
    assert [each["pinned"] for each in info()["copies"]] == [True]


def test_a_failure_freezes_retention(one, source, aged, tmp_path):
    old = aged("20240101T000000Z")
    os.rename(tmp_path / "app.db", tmp_path / "away.db")
    outcome = one(source, retention=KEEP_ONE)
    assert outcome["status"] == "critical"
    assert old.exists()
    assert outcome["metrics"]["copies"] == 1


def test_a_copy_that_cannot_be_proven_freezes_retention(one, source, aged, store, tmp_path, monkeypatch):
    """Between dump and proof somebody writes into the new copy: the real proof finds it."""
    old = aged("20240101T000000Z")
    real = shutil.which("zstd")
    wrapper = tmp_path / "bin" / "zstd"
    wrapper.parent.mkdir()
    # Unpacking for the proof gives other bytes than were packed.
    wrapper.write_text(f'#!/bin/sh\ncase "$*" in *-d*) {real} "$@" | head -c 20000;; *) exec {real} "$@";; esac\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    outcome = one(source, retention=KEEP_ONE)
    assert outcome["status"] == "critical"
    assert "NOT proven as restored" in outcome["summary"]
    assert outcome["details"]["frozen"]
    assert old.exists()
    assert set(outcome["details"]["kept"].values()) == {"frozen"}


def test_the_floor_of_verified_copies_holds(one, source, aged, store):
    old = [aged(f"2024010{day}T000000Z") for day in (1, 2, 3)]
    outcome = one(source, retention={**KEEP_ONE, "minimum_verified": 3})
    assert list(outcome["details"]["deleted"]) == [old[0].name]
    assert len(copies(store, "app")) == 3


def test_copies_of_the_future_never_count(one, source, aged):
    future = aged("29990101T000000Z")
    old = aged("20240101T000000Z")
    outcome = one(source, retention=KEEP_ONE, interval="1d")
    assert outcome["details"]["kept"][future.name].startswith("time stamp in the future")
    assert list(outcome["details"]["deleted"]) == [old.name]
    assert outcome["status"] == "warning"


def test_an_empty_policy_is_refused_for_all_and_for_one(run, store, source):
    assert "retention: {" in run(source, retention={})["msg"]
    assert run({**source, "retention": {}})["msg"].startswith("sources.app.retention: {")
    assert not store.exists()
