# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.incident in real runs of ansible-playbook: it connects nowhere, survives being killed, shows no secret (I7)."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import time

from ansible_collections.sre.runbooks.plugins.plugin_utils.incidents import Incidents

SICK = {
    "outcomes": [
        {
            "subject": "http:api",
            "stage": "health",
            "status": "critical",
            "summary": "no answer {{ 1 + 1 }}",
            "metrics": {},
        }
    ]
}
WELL = {"outcomes": [{"subject": "http:api", "stage": "health", "status": "ok", "summary": "200", "metrics": {}}]}
CONTACTS = [{"name": "desk", "level": "support", "urls": ["json://:topsecret@127.0.0.1"]}]
OPEN = ("incident", {"state": "opened", "type": "unresponsive"})
IDS = "{{ found.ids }}"


def answers(stage, result, *, other=None):
    return ("answers", {stage: {"f11-app": result, "f11-db": result, "mcp-app": other or WELL}})


def test_a_run_opens_records_and_shows_the_table_without_a_connection(project):
    record = {"state": "recorded", "incident_id": IDS, "stages": ["detect"], "contacts": CONTACTS}
    found, output = project.run(
        [answers("detect", SICK), OPEN, ("incident", record), ("incident", {"state": "watch"})], "-vv"
    )
    assert [(each["system"], each["severity"]) for each in found["incidents"]] == [("F11", "P1"), ("MCP", "P4")], output
    assert found["changed"] is False
    assert "Incidents: 2 open, 0 stable, 0 closed" in output
    assert "topsecret" not in output
    assert stat.S_IMODE((project.state / "history.db").stat().st_mode) == 0o600
    # --limit and --check: the other system is left alone, nothing is written.
    before = (project.state / "history.db").read_bytes()
    found, output = project.run([OPEN], "--limit", "mcp", "--check")
    assert (found["incident"]["system"], found["incident"]["resumed"], found["stored"]) == ("MCP", True, "nowhere"), (
        output
    )
    assert (project.state / "history.db").read_bytes() == before


def test_a_controller_that_is_killed_is_resumed_by_the_next_run(project):
    """kill -9 of ansible-playbook and its workers in mid-incident: the next run finds the same incident, with what was done."""
    record = ("incident", {"state": "recorded", "incident_id": IDS, "stages": ["detect"]})
    argv = project.argv([answers("detect", SICK), OPEN, record, ("pause", 60)], "--limit", "feature11")
    with subprocess.Popen(
        argv, cwd=project.folder, env=project.environment(), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as killed:
        for line in killed.stdout:
            if "pause" in line:
                break
        time.sleep(0.2)
        os.killpg(killed.pid, signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    found, output = project.run([OPEN], "--limit", "feature11")
    incident = found["incident"]
    assert (incident["resumed"], incident["severity"]) == (True, "P1"), output
    assert {host: list(stages) for host, stages in incident["progress"].items()} == {
        "f11-app": ["detect"],
        "f11-db": ["detect"],
    }


def test_with_a_locked_history_the_run_goes_on_to_the_end(project):
    """The history store locked for the whole of a run: the next one has everything."""
    Incidents(f"sqlite:///{project.state}/history.db").run(lambda ledger: ledger.recent())
    with sqlite3.connect(project.state / "history.db", isolation_level=None) as connection:
        connection.execute("BEGIN IMMEDIATE")
        found, output = project.run([OPEN], "--limit", "feature11")
        connection.execute("ROLLBACK")
    connection.close()
    assert (found["stored"], found["incident"]["opened_now"]) == ("spool", True), output
    assert "until the next run" in found["outcomes"][-1]["summary"]
    (spool,) = project.state.glob("incidents-*.jsonl")
    assert stat.S_IMODE(spool.stat().st_mode) == 0o600
    later, output = project.run([OPEN], "--limit", "feature11")
    assert (later["ids"], later["stored"], later["incident"]["resumed"]) == (found["ids"], "store", True), output
    assert not spool.exists()


def test_bad_input_fails_the_task_with_its_remedy(project):
    found, output = project.run([("incident", {"state": "note", "incident_id": ["INC-1"], "text": ""})])
    assert found == {}
    assert "text: '' is empty, for the state note. Say what there is to say." in output
