# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.backup_verify on copies that sre.runbooks.backup made of real data (D4)."""

from __future__ import annotations

import json
import os
import time

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _manifest
from ansible_collections.sre.runbooks.plugins.module_utils._core import lock

from .conftest import copies, database, tree


@pytest.fixture
def app(tmp_path):
    return {"name": "app", "engine": "sqlite", "path": str(database(tmp_path / "app.db"))}


@pytest.fixture
def outcome(verify):
    """Verify and return the only outcome."""

    def go(**options):
        result = verify(**options)
        assert "outcomes" in result, result
        (found,) = result["outcomes"]
        assert (found["stage"], result["status"]) == ("verify", found["status"])
        return found

    return go


def edit(store, name, **changes):
    """Change keys of the manifest of the newest copy; return the copy's path."""
    path, document = copies(store, name)[-1]
    path.with_name(path.name + ".manifest.json").write_text(json.dumps({**document, **changes}))
    return path


@pytest.mark.parametrize("level", ["checksum", "archive", "restored"])
def test_each_level_is_proven_and_recorded(one, outcome, store, app, level):
    assert one(app, verify="checksum")["status"] == "ok"
    found = outcome(level=level)
    assert (found["subject"], found["status"]) == ("sqlite:app", "ok")
    record = copies(store, "app")[0][1]["verifications"][-1]
    assert (record["level"], record["ok"]) == (level, True)
    assert found["metrics"]["verified_copies"] == 1
    assert ("recovery_time_seconds" in found["metrics"]) == (level == "restored")
    assert found["summary"].startswith(f"1 of 1 copies proven as {level} in ")
    assert not list((store / "app").glob(".*"))
    assert found["details"]["recovery"]["level"] == level


def older(store, name, days, verified_days=None):
    """A copy like the newest, made and verified `days` ago; return its path."""
    path, document = copies(store, name)[-1]
    now = time.time()
    created = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now - days * 86400))
    at = _manifest.timestamp(now - (days if verified_days is None else verified_days) * 86400)
    clone = path.with_name(f"{name}_{created}{''.join(path.suffixes)}")
    clone.write_bytes(path.read_bytes())
    records = [{**each, "time": at} for each in document["verifications"]]
    text = json.dumps({**document, "file": clone.name, "verifications": records})
    clone.with_name(clone.name + ".manifest.json").write_text(text)
    return clone


def flip(path):
    """Change one bit in the middle; the size stays."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("level", ["checksum", "archive", "restored"])
def test_a_flipped_bit_is_critical_until_it_is_flipped_back(one, outcome, info, store, app, level):
    one(app)
    path = copies(store, "app")[0][0]
    flip(path)
    found = outcome(level=level)
    assert found["status"] == "critical"
    assert f"1 of 1 copies failed: {path.name}: failed its verification as {level}" in found["summary"]
    assert "SHA-256" in found["summary"]
    assert copies(store, "app")[0][1]["verifications"][-1]["ok"] is False
    # It stays critical when nothing is verified, and for who only looks.
    assert outcome(level=level, interval="1h")["status"] == "critical"
    assert info()["status"] == "critical"
    flip(path)
    assert outcome(level=level)["status"] == "ok"


def test_a_lower_proof_does_not_acquit_a_copy(one, outcome, store, app):
    one(app)
    figures = copies(store, "app")[0][1]["figures"]
    edit(store, "app", figures={**figures, "tables": {"pending": 1, "done": 2}})
    assert "differs from the source's" in outcome()["summary"]
    found = outcome(level="checksum")
    assert (found["status"], found["metrics"]["failed_copies"]) == ("critical", 1)


def test_a_truncated_copy_is_critical(one, outcome, store, app):
    one(app)
    path = copies(store, "app")[0][0]
    os.truncate(path, path.stat().st_size - 1)
    found = outcome()
    assert found["status"] == "critical"
    assert "were written" in found["summary"]


def test_one_bad_copy_keeps_no_other_from_its_proof(one, outcome, store, app):
    one(app)
    flip(older(store, "app", 1))
    found = outcome()
    assert (found["status"], found["metrics"]["verified_copies"], found["metrics"]["failed_copies"]) == (
        "critical",
        2,
        1,
    )
    assert "1 of 2 copies proven as restored" in found["summary"]
    assert found["metrics"]["recovery_point_seconds"] < 600


def test_a_data_file_that_is_gone_is_critical_everywhere(one, outcome, info, store, app):
    one(app)
    path = older(store, "app", 1)
    path.unlink()
    found = outcome()
    assert found["status"] == "critical"
    assert f"{path.name}: the manifest is there, the data file is gone" in found["summary"]
    assert found["details"]["missing"] == [path.name]
    seen = info()["outcomes"][0]
    assert (seen["status"], seen["details"]["missing"]) == ("critical", [path.name])
    # The next backup neither stumbles over it nor hides it.
    assert one(app)["status"] == "ok"
    assert outcome()["status"] == "critical"
    path.with_name(path.name + ".manifest.json").unlink()
    assert outcome()["status"] == "ok"


def test_a_manifest_that_is_gone_leaves_no_backup(one, outcome, store, app):
    one(app)
    next((store / "app").glob("*.manifest.json")).unlink()
    found = outcome()
    assert (found["subject"], found["status"]) == ("backup:app", "critical")
    assert found["summary"] == "there is no backup, 1 data files have no manifest"


def test_names_without_any_backup_are_critical(one, verify, app, tmp_path):
    one(app)
    other = {"name": "other", "engine": "files", "paths": [str(tmp_path)]}
    for options in (
        {"names": ["app", "other"]},
        {"sources": [app, other]},
        {"targets": {"names": {"other": {"recovery_point": "1h"}}}},
    ):
        found = {each["subject"]: each["status"] for each in verify(**options)["outcomes"]}
        assert found == {"sqlite:app": "ok", "backup:other": "critical"}, options


def test_a_folder_without_backups_is_critical(verify, store):
    result = verify()
    assert (result["status"], result["changed"], result["proofs"]) == ("critical", False, [])
    assert result["outcomes"][0]["summary"] == f"{store} holds no backup"
    assert not store.exists()


RECORD = {"level": "restored", "ok": True, "time": "2026-11-20T09:00:00Z", "duration_seconds": 1, "figures": {}}


HOSTILE = (
    {"file": "y.sqlite"}, {"file": "../../etc/passwd"}, {"name": 3}, {"size_bytes": "5"}, {"sha256": None}, {"sha256": "0" * 64},
    {"engine": "oracle"}, {"engine": ["sqlite"]}, {"engine": "files"}, {"engine": "postgresql"}, {"engine": "../sqlite"},
    {"source": "x"}, {"source": {"path": ["x"], "unheard": 1}}, {"source": {}}, {"source": {"path": "relative"}},
    {"figures": []}, {"figures": {}}, {"figures": {"tables": {"t": "many"}}}, {"figures": {"tables": {}, "schema_sha256": 7}},
    {"verifications": 5}, {"verifications": [[1]]}, {"verifications": [{**RECORD, "ok": "yes"}]}, {"format": 7},
    {"source_bytes": "huge", "figures": {"x": []}}, {"source_bytes": -1, "sha256": "1" * 64}, {"duration_seconds": {}, "size_bytes": 1},
)  # fmt: skip


def test_manifests_edited_by_hand_are_failed_copies_and_stop_nobody(one, verify, info, store, app):
    one(app)
    path, document = copies(store, "app")[0]
    for number, change in enumerate(HOSTILE):
        twin = store / f"h{number}" / path.name.replace("app", f"h{number}")
        twin.parent.mkdir()
        twin.write_bytes(path.read_bytes())
        text = json.dumps({**document, "name": f"h{number}", "file": twin.name, **change})
        twin.with_name(twin.name + ".manifest.json").write_text(text)
    for level in ("archive", "restored"):
        found = {each["subject"].split(":")[1]: each["status"] for each in verify(level=level)["outcomes"]}
        assert len(found) == len(HOSTILE) + 1
        assert found.pop("app") == "ok"
        if level == "restored":
            assert [HOSTILE[int(name[1:])] for name, status in found.items() if status != "critical"] == []
    seen = info()["outcomes"]
    assert [each["subject"] for each in seen if each["status"] == "ok"] == ["sqlite:app"]
    assert not list(store.glob("*/.*partial"))


def test_the_clock_was_set_back(one, outcome, store, app):
    """Copies and verifications of the future count for nothing, and keep nothing from being verified."""
    one(app)
    made = copies(store, "app")[0][0]
    older(store, "app", -2)
    os.unlink(made)
    os.unlink(f"{made}.manifest.json")
    found = outcome(interval="1h", targets={"recovery_point": "1d"})
    assert (found["status"], found["metrics"]["verified_copies"]) == ("critical", 1)
    assert "a time stamp in the future counts for nothing" in found["summary"]
    assert "no copy is proven as restored" in found["summary"]
    assert "there is no good copy, one younger than 24.0 h is the target" in found["summary"]


def test_what_was_verified_longest_ago_comes_first_and_the_rest_waits(one, run, verify, store, app, tmp_path):
    run(app, {**app, "name": "second"})
    never = older(store, "app", 3)
    ages = {older(store, "app", 2, verified_days=9): 9, older(store, "second", 5, verified_days=4): 4}
    path, document = copies(store, "app")[0]
    assert path == never
    document["verifications"] = document["verifications"][:1]
    path.with_name(path.name + ".manifest.json").write_text(json.dumps(document))
    expected = [str(never), *(str(each) for each in sorted(ages, key=ages.get, reverse=True))]
    room = 2 * document["source_bytes"]
    first = verify(interval="1d", budget={"bytes": str(room)})
    assert [proof["path"] for proof in first["proofs"]] == expected[:2]
    waiting = [each["details"].get("postponed", {}) for each in first["outcomes"]]
    assert list(waiting[1]) == [os.path.basename(expected[2])]
    assert first["status"] == "ok"
    assert "1 wait for the next run" in first["outcomes"][1]["summary"]
    second = verify(interval="1d", budget={"bytes": str(room)})
    assert [proof["path"] for proof in second["proofs"]] == expected[2:]
    third = verify(interval="1d", budget={"bytes": str(room)})
    assert (third["proofs"], third["changed"]) == ([], False)
    assert "nothing to do" in third["outcomes"][0]["summary"]


@pytest.mark.parametrize("budget", [{"bytes": "1kB"}, {"seconds": "1ms"}])
def test_a_budget_that_lets_nothing_be_verified_is_a_warning(one, outcome, store, app, budget):
    one(app)
    found = outcome(budget=budget)
    assert (found["status"], found["metrics"]["verified_copies"]) == ("warning", 0)
    assert "do not fit into the budget" in found["summary"]
    assert "Raise the budget" in found["summary"]


def test_a_verification_past_the_budget_is_given_up_and_not_tried_for_ever(one, outcome, store, tmp_path):
    app = {"name": "app", "engine": "sqlite", "path": str(database(tmp_path / "big.db", rows=40000))}
    one(app)
    records = [{**each, "duration_seconds": 0.001} for each in copies(store, "app")[0][1]["verifications"]]
    edit(store, "app", verifications=records)
    before = tree(store / "app")
    found = outcome(budget={"seconds": "20ms"})
    assert found["status"] == "unknown"
    assert "not done within budget.seconds, given up after" in found["summary"]
    assert tree(store / "app") == before
    found = outcome(budget={"seconds": "20ms"})
    assert found["status"] == "warning"
    assert "do not fit into the budget" in found["summary"]
    assert outcome(budget={"seconds": "5m"})["status"] == "ok"
    assert json.loads((tmp_path / "state" / "backup_verify.json").read_text()) == {}


def test_check_mode_says_what_would_be_verified_and_writes_nothing(one, verify, store, app, tmp_path):
    one(app)
    old = older(store, "app", 9)
    before = tree(tmp_path)
    result = verify(interval="1d", _ansible_check_mode=True, textfile_dir=str(tmp_path))
    assert tree(tmp_path) == before
    (proof,) = result["proofs"]
    assert (proof["path"], proof["ok"], result["changed"]) == (str(old), None, False)
    assert 0 < proof["duration_seconds"] < 60
    assert "would verify 1 of 2 copies as restored" in result["outcomes"][0]["summary"]


def test_another_run_holds_the_lock(one, outcome, store, app):
    one(app)
    with lock.hold(str(store / ".locks"), "app"):
        found = outcome()
    assert (found["status"], found["metrics"]["verified_copies"]) == ("warning", 0)
    assert "another run holds this lock" in found["summary"]
    assert outcome()["status"] == "ok"


def test_targets_past_their_bounds_are_warnings(one, outcome, verify, store, app):
    one(app)
    made = copies(store, "app")[0][0]
    older(store, "app", 3)
    os.unlink(made)
    os.unlink(f"{made}.manifest.json")
    assert outcome(targets={"recovery_time": "1h", "recovery_point": "4d"})["status"] == "ok"
    found = outcome(targets={"recovery_time": "0.01ms", "recovery_point": "2d"})
    assert found["status"] == "warning"
    assert "the newest good copy is 3.0 d old, the target is 2.0 d" in found["summary"]
    assert "a restore takes" in found["summary"]
    assert len(found["details"]["recovery"]["passed"]) == 2
    assert 2.9 * 86400 < found["metrics"]["recovery_point_seconds"] < 3.1 * 86400
    # A target of its own comes before that for all; with sources, that for all is for those alone.
    own = {"recovery_point": "2d", "names": {"app": {"recovery_point": "4d"}}}
    assert outcome(targets=own)["status"] == "ok"
    other = {**app, "name": "other"}
    found = {each["subject"]: each for each in verify(targets={"recovery_point": "2d"}, sources=[other])["outcomes"]}
    assert found["sqlite:app"]["status"] == "ok"


def test_a_recovery_time_without_any_measured_restore_is_past_its_target(one, outcome, app):
    one(app, verify="checksum")
    found = outcome(level="checksum", targets={"recovery_time": "1h"})
    assert found["status"] == "warning"
    assert "no restore was measured" in found["summary"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"names": []}, ["names", "names nothing"]),
        ({"names": ["../x"]}, ["names", "'../x'", "is no name"]),
        ({"level": "hoped"}, ["level", "hoped"]),
        ({"interval": "weekly"}, ["interval", "'weekly'"]),
        ({"budget": {"seconds": "0"}}, ["budget.seconds", "lets nothing be verified"]),
        ({"budget": {"bytes": "much"}}, ["budget.bytes", "'much'"]),
        ({"budget": {"hosts": 1}}, ["budget", "hosts"]),
        ({"directory": "/"}, ["directory", "is no place for backups"]),
        ({"directory": "relative"}, ["directory", "is no place"]),
        ({"encryption": {"identity": "/missing"}}, ["encryption.identity", "/missing", "cannot be read"]),
        ({"targets": {"recovery_time": "soon"}}, ["targets.recovery_time", "'soon'"]),
        ({"targets": {"names": {"x": "1h"}}}, ["targets.names.x", "is no target"]),
        ({"targets": {"names": {"x": {"time": "1h"}}}}, ["targets.names.x.time", "recovery_time"]),
        ({"names": ["y"], "targets": {"names": {"x": {"recovery_time": "1h"}}}}, ["targets.names.x", "none of names"]),
        ({"sources": [{"name": "x", "engine": "oracle"}]}, ["sources.x.engine", "'oracle'"]),
    ],
)
def test_bad_input_fails_and_changes_nothing(verify, tmp_path, options, words):
    result = verify(**options)
    assert result["failed"] is True
    for word in words:
        assert word in result["msg"]
    assert list(tmp_path.iterdir()) == []
