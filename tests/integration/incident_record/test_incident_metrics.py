# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Incidents that are not closed, for Prometheus (R6, I7)."""

from __future__ import annotations

import subprocess

OPEN = {"state": "opened", "type": "unresponsive"}
SILENT = {"subject": "http:api", "stage": "health", "status": "critical", "summary": "no answer", "metrics": {}}
WELL = {**SILENT, "status": "ok"}


def test_r6_how_many_incidents_are_not_closed(project):
    folder = project.folder / "textfile"
    folder.mkdir()
    there = {"textfile_dir": str(folder)}
    record = {"state": "recorded", "incident_id": "{{ found.ids }}", "stages": ["detect"], **there}
    sick, well = {"outcomes": [SILENT]}, {"outcomes": [WELL]}
    detect = ("answers", {"detect": {"f11-app": sick, "f11-db": sick, "mcp-app": well}})
    found, output = project.run([detect, ("incident", {**OPEN, **there}), ("incident", record)])
    assert len(found["ids"]) == 2, output
    (path,) = folder.iterdir()
    text = path.read_text()
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    labels = '{type="unresponsive",system="%s",severity="%s",state="open"}'
    assert f"sre_runbooks_incident_unfinished{labels % ('F11', 'P1')} 1\n" in text
    assert f"sre_runbooks_incident_unfinished{labels % ('MCP', 'P4')} 1\n" in text

    before = path.read_bytes()
    project.run(
        [("incident", {"state": "closed", "incident_id": found["ids"], "force": True, "text": "false alarm", **there})],
        "--check",
    )
    assert path.read_bytes() == before
    ended = {"state": "closed", "incident_id": found["ids"], "force": True, "text": "false alarm", **there}
    closed, output = project.run([("incident", ended)])
    assert {each["state"] for each in closed["incidents"]} == {"closed"}, output
    assert "unfinished" not in path.read_text()
    assert "sre_runbooks_incident_checked_timestamp_seconds 1" in path.read_text()

    wrong = {"state": "watch", "textfile_dir": f"{folder}/none"}
    found, output = project.run([("incident", wrong)])
    (told,) = [each for each in found["outcomes"] if each["subject"] == "incident:metrics"]
    assert (told["status"], told["summary"][:13]) == ("warning", "textfile_dir:")
