# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run tells Prometheus and the log, by real runs (R6); and one run out of those of single hosts (C1)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

from prometheus_client.parser import text_string_to_metric_families

RANKS = {"ok": 0, "skipped": 1, "unknown": 2, "warning": 3, "critical": 4}


def told(project):
    """What the controller's node_exporter would give out: {(name, system): value}."""
    found = {}
    for path in sorted((project.folder / "textfile").glob("*.prom")):
        text = path.read_text()
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False
        )
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                name = sample.name.removeprefix("sre_runbooks_run_")
                key = (name, sample.labels["system"], *filter(None, [sample.labels.get("status")]))
                assert key not in found
                found[key] = sample.value
    return found


def log_of(project):
    return [json.loads(line) for line in (project.folder / "log" / "runbooks.log").read_bytes().splitlines()]


def extra(project, **more):
    (project.folder / "textfile").mkdir(exist_ok=True)
    values = {
        "report_textfile_dir": f"{project.folder}/textfile", "report_log": f"{project.folder}/log/runbooks.log", "report_fail_on": "never", **more,
    }  # fmt: skip
    return ["-e", json.dumps(values)]


def test_r6_a_run_tells_prometheus_and_the_log_who_answered_and_log_scan_reads_it(project):
    checked = project.run(*extra(project), "--check")
    assert checked.rc == 0, checked.output
    assert not list((project.folder / "textfile").iterdir())
    assert not (project.folder / "log").exists()

    done = project.run(*extra(project))
    assert done.rc == 0, done.output
    found = told(project)
    assert abs(found.pop(("timestamp_seconds", "F11")) - time.time()) < 60
    assert found["duration_seconds", "GHO"] > 0
    figures = {
        system: [found[name, system] for name in ("status", "hosts_expected", "hosts_answered", "missing")]
        for system in ("F11", "GHO")
    }
    assert figures == {"F11": [RANKS["critical"], 2, 1, 1], "GHO": [RANKS["critical"], 2, 2, 1]}
    assert found["outcomes", "F11", "critical"] == 2

    run, *outcomes = log_of(project)
    assert (run["event"], run["playbook"], run["status"], run["hosts"], run["answered"]) == (
        "run",
        "daily",
        "critical",
        4,
        3,
    )
    assert {each["run"] for each in outcomes} == {run["run"]} == {project.document()["run"]["id"]}
    missing = {(each["host"], each["subject"]) for each in outcomes if each["stage"] == "roll_call"}
    assert missing == {("f11-dead", "host"), ("gho-ml", "backup")}

    # Systems that a run leaves out keep what was said of them.
    done = project.run(*extra(project), "--limit", "gho-db")
    assert done.rc == 0, done.output
    again = told(project)
    assert [again["missing", "F11"], again["missing", "GHO"]] == [1, 0]
    assert len([each for each in log_of(project) if each["event"] == "run"]) == 2
    scanned = scan(project)
    assert scanned["rule:critical outcomes"]["metrics"]["matches"] == 3
    assert scanned["rule:silence"]["metrics"]["matches"] == 2


def scan(project):
    """What log_scan finds in the log: outcomes by subject."""
    arguments = {
        "sources": [{"name": "runbooks", "path": f"{project.folder}/log/runbooks.log", "format": "json"}],
        "rules": [
            {"name": "critical outcomes", "field": "status", "pattern": "^critical$", "exclude": '"event":"run"', "warning": "> 0"},
            {"name": "silence", "field": "stage", "pattern": "^roll_call$", "critical": "> 0"},
        ],
        "read": "window", "window": "1h", "state_dir": f"{project.folder}/state",
    }  # fmt: skip
    argv = [
        str(sys.executable),
        "-m",
        "ansible",
        "adhoc",
        "localhost",
        "-m",
        "sre.runbooks.log_scan",
        "-a",
        json.dumps(arguments),
    ]
    environment = {
        **project.environment(),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    done = subprocess.run(argv, cwd=project.folder, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout[done.stdout.index("{") :])
    return {each["subject"]: each for each in result["outcomes"]}


def test_r6_what_cannot_be_written_is_told_and_fails_the_run_which_is_recorded(project):
    (project.folder / "log").write_text("a file")
    done = project.run(*extra(project, report_textfile_dir=f"{project.folder}/none"))
    assert done.rc == 2
    assert f"textfile_dir: '{project.folder}/none' is no folder" in " ".join(done.output.split())
    assert "cannot be added to: Not a directory" in " ".join(done.output.split())
    assert project.document()["status"] == "critical", "recorded and reported all the same"


JOIN = """
- name: Join
  hosts: all
  gather_facts: false
  roles:
    - {role: sre.runbooks.report, run_once: true, report_playbook: fleet_daily, report_joined: daily}
"""


def test_runs_of_single_hosts_are_one_run_of_the_fleet(project):
    """A run each, at the same time; one host ran twice, one never, one is in no inventory any more."""
    (project.folder / "fleet.yml").write_text(JOIN)
    first = project.run(*extra(project), "--limit", "gho-db", "-e", '{"disk": "warning"}')
    assert first.rc == 0, first.output
    processes = [
        subprocess.Popen(project.argv(*extra(project), "--limit", host), cwd=project.folder, env=project.environment(),
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for host in ("gho-db", "f11-app", "gho-ml")
    ]  # fmt: skip
    assert [each.wait() for each in processes] == [0, 0, 0]
    hosts = (project.folder / "hosts.yml").read_text()
    (project.folder / "hosts.yml").write_text(hosts.replace("        gho-ml: {trouble", "        gho-new: {trouble"))

    done = project.run(*extra(project), playbook="fleet.yml")
    assert done.rc == 0, done.output
    document = json.loads((project.state / "reports" / "fleet-daily_latest.json").read_text())
    statuses = {host["name"]: host["status"] for system in document["systems"] for host in system["hosts"]}
    assert statuses == {"f11-app": "critical", "f11-dead": "critical", "gho-db": "ok", "gho-new": "critical"}
    missing = {(each["host"], each["system"], each["summary"]) for each in document["roll_call"]["missing"]}
    silent = "never ran: no run of daily was recorded in the last 26h"
    assert missing == {("f11-dead", "F11", silent), ("gho-new", "GHO", silent)}
    assert document["run"]["stages"] == ["health", "backup"]
    assert (document["roll_call"]["expected"], document["roll_call"]["answered"]) == (4, 2)
    found = log_of(project)
    assert [each["playbook"] for each in found if each["event"] == "run"] == ["daily"] * 4 + ["fleet_daily"]

    late = project.run(*extra(project, report_joined_within="0s"), playbook="fleet.yml")
    assert late.rc == 0, late.output
    document = json.loads((project.state / "reports" / "fleet-daily_latest.json").read_text())
    assert document["roll_call"]["answered"] == 0
    assert len(document["history"]) == 2, "runs of the fleet are a history of their own"

    same = project.run(*extra(project, report_playbook="daily"), playbook="fleet.yml")
    assert same.rc == 2
    assert "playbook: 'daily' is the name of the runs that are joined. Give the joined runs a name" in " ".join(
        same.output.split()
    )
    assert os.listdir(project.folder / "textfile")
