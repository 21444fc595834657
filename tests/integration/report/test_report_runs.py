# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""record and report in real playbook runs (C1, R1, R4, R5)."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from pathlib import Path

import pytest
import sqlalchemy


def rows(document):
    """Host, stage, subject and status of whatever is not ok."""
    return sorted(
        (host["name"], each["stage"], each["subject"], each["status"])
        for system in document["systems"]
        for host in system["hosts"]
        for each in host["outcomes"]
        if each["status"] != "ok"
    )


def _tree(folder: Path) -> dict[str, tuple[int, str]]:
    """Paths below a folder with mode and digest; what ansible-core keeps for itself does not count."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if ".ansible" not in path.parts:
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            found[str(path)] = (path.lstat().st_mode, content)
    return found


def test_a_run_is_recorded_reported_and_judged(project):
    result = project.run()
    assert result.rc == 2, result.output
    document = project.document()
    assert rows(document) == [
        ("f11-app", "health", "disk:/", "critical"),
        ("f11-dead", "roll_call", "host", "critical"),
        ("gho-ml", "roll_call", "backup", "critical"),
    ]
    assert document["schema"] == "sre.runbooks.report/1"
    assert {system["name"] for system in document["systems"]} == {"F11", "GHO"}
    assert (document["roll_call"]["expected"], document["roll_call"]["answered"]) == (4, 3)
    stored = project.history.find()
    assert (
        stored.columns["status"],
        stored.columns["hosts"],
        stored.columns["answered"],
        stored.columns["critical"],
    ) == ("critical", 4, 3, 3)
    assert rows(
        {"systems": [{"hosts": [dataclasses.asdict(host) for host in project.history.load(stored).hosts]}]}
    ) == rows(document)
    assert 0 < document["run"]["duration_seconds"] < 120
    # The table is plain lines, in order, followed by the judgement.
    for line in (
        "daily: CRITICAL",
        "critical f11-app ",
        "Roll-call: 3 of 4 hosts answered",
        "(report_fail_on: critical)",
    ):
        assert line in result.output
    assert f"Report: {project.state}/reports/daily_{stored.id}.html" in result.output
    assert "\x1b[" not in result.output
    table = result.output[result.output.index("daily: CRITICAL") : result.output.index("Report: ")]
    assert max(map(len, table.splitlines())) <= 100
    # What hosts and inventory say is never templated.
    assert not (project.folder / "templated").exists()
    assert all(each["changed"] == 0 for each in result.recap().values())


def test_a_dead_host_costs_one_attempt_and_the_report_connects_nowhere(project):
    result = project.run("--limit", "f11-dead")
    assert result.rc == 2
    assert result.output.count("UNREACHABLE!") == 1
    assert rows(project.document()) == [("f11-dead", "roll_call", "host", "critical")]
    assert result.recap()["f11-dead"]["ignored"] == 1


def test_limit_and_tags_decide_what_is_expected(project):
    result = project.run("--limit", "ghosteam", "--tags", "health")
    assert result.rc == 0, result.output
    document = project.document()
    assert document["run"]["stages"] == ["health"]
    assert document["roll_call"] == {"expected": 2, "answered": 2, "missing": []}
    assert document["status"] == "ok"
    assert project.run("--limit", "ghosteam", "--skip-tags", "backup").rc == 0


def test_a_stage_that_was_left_out_on_purpose_is_skipped(project):
    assert project.run("--limit", "gho-db", "-e", "backup_off=true").rc == 0
    assert rows(project.document()) == [("gho-db", "backup", "backup", "skipped")]


def test_check_mode_shows_the_table_and_writes_nothing(project):
    assert project.run().rc == 2
    before = _tree(project.home)
    result = project.run("--check")
    assert result.rc == 2
    assert "check mode, nothing recorded" in result.output
    assert "critical f11-app " in result.output
    assert _tree(project.home) == before
    shutil.rmtree(project.home)
    project.run("--check")
    assert not project.state.exists()


def test_batches_are_one_run(project):
    result = project.run("-e", "batch=1")
    assert result.rc == 2
    assert len(project.history.recent(project.history.find())) == 1
    assert project.document()["roll_call"]["expected"] == 4


def test_a_host_that_left_the_play_still_counts(project):
    result = project.run("-e", "unrescued=true", "--limit", "ghosteam")
    assert result.rc == 2
    assert rows(project.document()) == [("gho-ml", "roll_call", "backup", "critical")]


def test_stages_that_nobody_ran_are_missed(project):
    result = project.run("--limit", "gho-db", "-e", '{"report_stages": ["health", "backup", "log_cleanup"]}')
    assert result.rc == 2
    assert rows(project.document()) == [("gho-db", "roll_call", "log_cleanup", "critical")]


@pytest.mark.parametrize(
    ("fail_on", "status", "rc"),
    [
        ("never", "critical", 0),
        ("critical", "warning", 0),
        ("warning", "warning", 2),
        ("unknown", "unknown", 2),
        ("unknown", "skipped", 0),
    ],
)
def test_report_fail_on_decides_the_exit_status(project, fail_on, status, rc):
    result = project.run(
        "--limit",
        "gho-db",
        "-e",
        f"disk={status}",
        "-e",
        f"report_fail_on={fail_on}",
        "-e",
        '{"report_formats": ["json"]}',
    )
    assert result.rc == rc, result.output
    assert project.document()["status"] == status
    assert not list((project.state / "reports").glob("*.html"))
    assert "Roll-call" not in result.output


def test_a_second_run_knows_the_first_and_old_runs_can_be_reported_again(project):
    assert project.run().rc == 2
    first = project.history.find()
    assert project.run("-e", "disk=ok").rc == 2
    document = project.document()
    assert [each["run"] for each in document["history"]] == [first.id, document["run"]["id"]]
    assert [(each["host"], each["subject"]) for each in document["resolved"]] == [("f11-app", "disk:/")]
    dead = [each for each in document["roll_call"]["missing"] if each["host"] == "f11-dead"]
    assert dead[0]["since"] == first.columns["started"]
    shutil.rmtree(project.state / "reports")
    again = project.run(playbook="sre.runbooks.report")
    assert again.rc == 0, again.output
    assert project.document() == document
    old = project.run("-e", f"runbooks_run={first.id}", playbook="sre.runbooks.report")
    assert old.rc == 0, old.output
    assert (project.state / "reports" / f"daily_{first.id}.html").is_file()
    assert project.document() == document
    missing = project.run("-e", "runbooks_run=2020", playbook="sre.runbooks.report")
    assert missing.rc == 2
    assert "holds no run '2020'" in missing.output


def test_the_history_of_a_run_is_readable_with_plain_sql(project):
    project.run()
    engine = sqlalchemy.create_engine(f"sqlite:///{project.state}/history.db")
    with engine.connect() as connection:
        query = "SELECT host, stage, subject, status FROM outcomes WHERE status <> 'ok' ORDER BY host"
        assert [tuple(row) for row in connection.execute(sqlalchemy.text(query))] == rows(project.document())


def test_each_format_and_the_wanted_view_are_written_and_lead_to_one_another(project):
    formats = '{"report_formats": ["html", "markdown", "csv"], "report_views": ["executive"]}'
    assert project.run("--limit", "gho-db", "-e", formats).rc == 0
    folder = project.state / "reports"
    stem = f"daily_{project.history.find().id}"
    names = {path.name for path in folder.iterdir() if not path.is_symlink()}
    assert {"index.html", f"{stem}_executive.html", f"{stem}.md", f"{stem}_outcomes.csv"} <= names
    assert not {f"{stem}.html", f"{stem}.json"} & names
    assert f'href="{stem}_executive.html"' in (folder / "index.html").read_text("utf-8")
    assert 'href="index.html"' in (folder / f"{stem}_executive.html").read_text("utf-8")
    assert (folder / "daily_latest.md").read_text("utf-8").startswith("# 🟢 daily: ok")
