# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.log_cleanup by `ansible`: what users write and get (L5)."""

from __future__ import annotations

import fcntl
import os
import subprocess

import pytest

from .conftest import make_old, names_in, policy


def tree(folder):
    """Every file with what would show that it was touched."""
    return {
        path.name: (path.lstat().st_ino, path.lstat().st_mtime_ns, path.lstat().st_size) for path in folder.iterdir()
    }


def test_old_logs_go_and_a_second_run_finds_nothing_to_do(module, logs):
    first = module(policy(logs))
    assert (first["changed"], first["status"]) == (True, "ok")
    (outcome,) = first["outcomes"]
    assert (outcome["subject"], outcome["stage"]) == ("logs:p", "log_cleanup")
    assert outcome["metrics"] == {
        "files": 2, "freed_bytes": 2000, "remaining_files": 2, "remaining_bytes": 2000, "failed_files": 0,
    }  # fmt: skip
    assert outcome["summary"] == "deleted 2 files, 2.0 KiB freed; 2 remain, 2.0 KiB"
    assert names_in(logs) == ["a.log.1", "a.log.2"]
    second = module(policy(logs))
    assert (second["changed"], second["status"]) == (False, "ok")
    assert second["outcomes"][0]["summary"] == "nothing to do; 2 remain, 2.0 KiB"


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_compress_and_a_second_run(module, logs, compression):
    content = (logs / "a.log.3").read_text()
    assert module(policy(logs, action="compress", compression=compression))["changed"]
    suffix = {"zstd": "zst", "gzip": "gz"}[compression]
    assert names_in(logs) == ["a.log.1", "a.log.2", f"a.log.3.{suffix}", f"a.log.4.{suffix}"]
    program = {"zstd": "zstd", "gzip": "gzip"}[compression]
    unpacked = subprocess.run([program, "-dc", logs / f"a.log.3.{suffix}"], check=True, capture_output=True, text=True)
    assert unpacked.stdout == content
    second = module(policy(logs, action="compress", compression=compression))
    assert (second["changed"], second["outcomes"][0]["details"]["skipped"]) == (False, {"compressed already": 2})


def test_check_mode_touches_nothing_and_shows_the_plan(module, logs, tmp_path):
    before = tree(logs)
    result = module(policy(logs), policy(logs, name="c", older_than="36h", action="compress"), arguments=["--check"])
    assert (tree(logs), (tmp_path / "state").exists()) == (before, False)
    assert result["changed"]
    assert result["outcomes"][0]["summary"].startswith("would delete 2 files")
    assert result["outcomes"][1]["summary"].startswith("would compress 1 file;")
    assert sorted(result["outcomes"][0]["details"]["examples"]) == [f"{logs}/a.log.3", f"{logs}/a.log.4"]


@pytest.mark.parametrize("limits", [{"files": 1}, {"bytes": "1999B"}, {"percent": 49}])
def test_past_a_limit_nothing_of_the_run_is_touched(module, logs, limits):
    before = tree(logs)
    result = module(policy(logs), limits=limits)
    assert (result["changed"], result["status"], tree(logs)) == (False, "critical", before)
    (outcome,) = result["outcomes"]
    assert "refused, nothing was touched" in outcome["summary"]
    assert f"limits.{next(iter(limits))}" in outcome["summary"]
    plan = outcome["details"]["plan"]
    assert (plan["files"], plan["bytes"]) == (2, 2000)
    assert sorted(plan["first"]) == [f"{logs}/a.log.3", f"{logs}/a.log.4"]


def test_one_limit_for_all_policies(module, logs):
    before = tree(logs)
    two = [policy(logs, patterns=["a.log.3"]), policy(logs, name="q", patterns=["a.log.4"])]
    assert module(*two, limits={"files": 1})["status"] == "critical"
    assert tree(logs) == before
    assert module(*two, limits={"files": 2})["status"] == "ok"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colour": "red"}, "colour"),
        ({"action": "burn"}, "burn"),
        ({"paths": ["/"]}, "is the whole system"),
        ({"paths": ["/etc"]}, "is a folder of the system"),
        ({"paths": ["logs"]}, "is a relative path"),
        ({"patterns": []}, "patterns: [] is empty"),
        ({"patterns": ["a/*"]}, "is no file name pattern"),
        ({"older_than": "old"}, "policies[p].older_than: 'old' is no duration"),
    ],
)
def test_bad_input_is_named_and_nothing_is_touched(module, logs, options, message):
    before = tree(logs)
    result = module(policy(logs, name="good"), policy(logs, **options))
    assert result.get("failed")
    assert message in result["msg"]
    assert tree(logs) == before


def test_a_missing_folder_is_unknown_and_the_other_policies_run(module, logs, tmp_path):
    result = module(policy(tmp_path / "nowhere"), policy(logs, name="q"))
    assert [outcome["status"] for outcome in result["outcomes"]] == ["unknown", "ok"]
    assert f"{tmp_path}/nowhere: no such folder" in result["outcomes"][0]["summary"]
    assert result["outcomes"][1]["metrics"]["files"] == 2


def test_undecodable_names_and_planted_links(module, logs, tmp_path):
    precious = make_old(tmp_path / "precious.log.1", 60)
    make_old(logs / os.fsdecode(b"r\xe9sum\xe9.log.9"), 60)
    make_old(logs / "new\nline\x1b[31m.log.9", 60)
    (logs / "link.log.1").symlink_to(precious)
    (logs / "sub.log.1").symlink_to(tmp_path)
    result = module(policy(logs, recurse=True, patterns=["*"]))
    assert result["status"] == "ok"
    examples = result["outcomes"][0]["details"]["examples"]
    assert f"{logs}/r\\xe9sum\\xe9.log.9" in examples
    assert f"{logs}/new\\nline\\x1b[31m.log.9" in examples
    assert names_in(logs) == ["a.log.1", "a.log.2", "link.log.1", "sub.log.1"]
    assert precious.exists()


def test_a_second_run_at_the_same_time_is_refused(module, logs, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    with (state / "log_cleanup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = module(policy(logs))
        assert result.get("failed")
        assert "another run holds this lock" in result["msg"]
    assert len(names_in(logs)) == 4
    assert module(policy(logs))["changed"]


def test_a_file_open_for_writing_stays(module, logs):
    with (logs / "a.log.3").open("a"):
        os.utime(logs / "a.log.3", (0, 0))
        result = module(policy(logs))
    assert result["outcomes"][0]["details"]["skipped"] == {"open for writing": 1}
    assert names_in(logs) == ["a.log.1", "a.log.2", "a.log.3"]


def test_the_difference_is_the_plan(module, logs):
    result = module(policy(logs, action="compress"), arguments=["--check", "--diff", "-vv"])
    assert result["outcomes"][0]["metrics"]["files"] == 2


def test_metrics_for_node_exporter(module, logs, tmp_path):
    folder = tmp_path / "textfile"
    folder.mkdir()
    module(policy(logs), textfile_dir=str(folder))
    text = (folder / "sre_runbooks_log_cleanup.prom").read_text()
    assert 'sre_runbooks_freed_bytes{stage="log_cleanup",subject="logs:p"} 2000' in text
