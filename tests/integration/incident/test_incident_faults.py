# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.incident when things go wrong: hosts, fixes, people's services, the history, the controller itself (I2, I3, I5, I7)."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from integration.incident.site import Listener, Site

CLOSED = "json://127.0.0.1:1"


@pytest.fixture(scope="module")
def bad_day(tmp_path_factory: pytest.TempPathFactory, listener: Listener) -> tuple[Site, int, str]:
    """Three hosts are sick and one is silent; the first action fails, the second does not help; the service of the first level is down."""
    contacts = [
        {"name": "desk", "level": "support", "urls": [f"{CLOSED}/desk"]},
        {"name": "pager", "level": "engineering", "urls": [listener.url("pager")]},
        {"name": "boss", "level": "management", "urls": [listener.url("boss")]},
    ]
    levels = [{"level": "support"}, {"level": "engineering", "after": "1h"}, {"level": "management", "after": "1h"}]
    runbook = Site.runbook(Site.action("restart", "exit 3"), Site.action("repair", "true"))
    site = Site(
        tmp_path_factory.mktemp("bad_day"), ["app1", "app2", "app3", "app4"],
        runbooks_contacts=contacts, runbooks_escalation={"levels": levels}, runbooks_incidents_site=[runbook],
    )  # fmt: skip
    silent = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    site.inventory["all"]["hosts"]["app2"] = silent
    site.write()
    status, output = site.run()
    return site, status, output


def test_a_silent_host_is_a_finding_and_the_run_goes_to_its_end(bad_day: tuple[Site, int, str]) -> None:
    site, status, output = bad_day
    assert status == 2, output  # the report's, for the incident is not over
    assert "stays open" in output, output
    (found,) = [each for each in site.events("outcome", "app2") if each["stage"] == "detect"]
    assert (found["status"], found["summary"].startswith("unreachable: ")) == ("critical", True)
    assert site.log("app2") == []


def test_a_restart_that_fails_is_told_and_the_next_action_taken_each_once(bad_day: tuple[Site, int, str]) -> None:
    """I3, I5: the fix that fails, and the one that does not help: never a loop."""
    site, _status, _output = bad_day
    assert site.log("app1") == ["restart", "repair"]
    told = [(each["subject"], each["status"]) for each in site.events("outcome", "app1", "stabilise")]
    assert told == [("command:restart", "critical"), ("command:repair", "warning"), ("host", "critical")]
    failed, useless, still = site.events("outcome", "app1", "stabilise")
    assert failed["summary"] == "failed: sh ended with status 3"
    assert "it did not help: file:well" in useless["summary"]
    assert still["summary"].startswith("still sick: ")


def test_where_the_actions_did_not_help_the_hosts_that_are_left_are_not_touched(
    bad_day: tuple[Site, int, str],
) -> None:
    """I5: incident_stop_after, with its reason on record."""
    site, _status, _output = bad_day
    assert site.log("app3") == site.log("app4") == []
    for host in ("app3", "app4"):
        (left,) = site.events("outcome", host, "stabilise")
        assert (left["status"], left["subject"]) == ("warning", "host")
        assert left["summary"].startswith("not touched: the actions did not help on 1 host before"), left["summary"]


def test_a_fix_that_did_not_help_and_a_service_that_is_down_go_to_the_next_level_at_once(
    bad_day: tuple[Site, int, str], listener: Listener
) -> None:
    """I2, I6: nobody of support could be told, so engineering is; the actions did not help, so management is."""
    site, _status, output = bad_day
    told = [(each["subject"], each["status"]) for each in site.events("told")]
    assert told[:2] == [("desk", "warning"), ("pager", "ok")], told
    assert ("boss", "ok") in told
    assert listener.paths().count("/pager") >= 1
    assert listener.paths().count("/boss") == 1
    reached = [(each["subject"], each["summary"]) for each in site.events("escalated")]
    assert reached == [
        ("support", "an incident was opened"),
        ("engineering", "nobody of support could be told"),
        ("management", "the actions of the runbook did not end it"),
    ]
    assert "Escalated to management" in output
    # Before the first change, not after it.
    kinds = [(each["kind"], each["subject"]) for each in site.events()]
    assert kinds.index(("told", "pager")) < kinds.index(("outcome", "command:restart"))


def test_the_next_run_takes_no_action_again(bad_day: tuple[Site, int, str]) -> None:
    """I5, I7: the same incident; what was done is not done twice; who is told already is not told again."""
    site, _status, _output = bad_day
    before = len(site.events("escalated"))
    _status, output = site.run(runbooks_hosts="app1")
    assert site.log("app1") == ["restart", "repair"], output
    assert [each["id"] for each in site.incidents()] == [site.incidents()[0]["id"]]
    again = [each["summary"] for each in site.events("outcome", "app1", "stabilise")[3:5]]
    assert [text.startswith("was taken for this incident already") for text in again] == [True, True], again
    assert len(site.events("escalated")) == before


def test_two_alerts_at_the_same_time_are_one_incident_and_one_action(site: Site) -> None:
    """I7: two controllers at once; the host is changed by one of them."""
    site.inventory["all"]["vars"]["runbooks_incidents_site"] = [
        Site.runbook(Site.action("slow", "sleep 3; touch well"))
    ]
    site.write()
    with site.start() as first, site.start() as second:
        outputs = [each.communicate(timeout=180)[0] for each in (first, second)]
    assert site.log("app1") == ["slow"], outputs
    (incident,) = site.incidents()
    assert incident["state"] == "stable", outputs
    kinds = [each["kind"] for each in site.events() if each["kind"] in ("opened", "alert", "reopened")]
    assert len(kinds) == 2, kinds
    assert kinds[0] == "opened"


def test_a_controller_killed_in_mid_incident_is_resumed_and_nothing_done_twice(site: Site) -> None:
    """I7: kill -9 of the controller after the first action. What runs on the host goes on; the next run waits for it and has it all."""
    runbook = Site.runbook(Site.action("first", "true", wait="5s"), Site.action("second", "touch well"))
    site.inventory["all"]["vars"]["runbooks_incidents_site"] = [runbook]
    site.write()
    with site.start() as killed:
        until = time.monotonic() + 120
        state = site.folder / "app1/state/stabilise.json"
        while not (state.exists() and '"done"' in state.read_text(encoding="utf-8")):
            assert time.monotonic() < until
            assert killed.poll() is None
            time.sleep(0.1)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.communicate()
    (before,) = site.incidents()
    assert (before["state"], site.is_well("app1")) == ("open", False)
    assert site.events("outcome", "app1", "stabilise") == []
    status, output = site.run()
    assert status == 0, output
    assert site.log("app1") == ["first", "second"]
    (after,) = site.incidents()
    assert (after["id"], after["state"]) == (before["id"], "stable"), output
    *actions, (subject, verified) = [
        (each["subject"], each["status"]) for each in site.events("outcome", "app1", "stabilise")
    ]
    assert (subject, verified) == ("host", "ok")
    assert actions in (
        [("command:first", "skipped"), ("command:second", "skipped")],
        # What was killed with its controller was taken up by the next run.
        [("command:first", "skipped"), ("command:second", "ok")],
    ), actions
    # A bundle of each run.
    assert len(site.events("evidence")) == 2


def test_without_the_history_the_host_is_well_all_the_same_and_the_next_run_has_it_all(site: Site) -> None:
    """I7, I4: the store cannot be used from the beginning to the end; a bundle that would be too large is made smaller."""
    large = site.folder / "app1/large.log"
    large.write_text("".join(f"line {number} of a log\n" for number in range(50_000)), encoding="utf-8")
    site.inventory["all"]["vars"].update(
        diagnostics_collect=["logs"], diagnostics_logs=[str(large)],
        diagnostics_limits={"reserve": "1MiB", "bytes": "64KiB", "part": "1MiB"},
    )  # fmt: skip
    site.write()
    # Not a database that is locked, which is waited for: tests/integration/incident_record has that.
    (site.folder / "history.db").mkdir()
    _status, output = site.run()
    (site.folder / "history.db").rmdir()
    assert site.is_well("app1"), output
    assert list(site.folder.glob("incidents-*.jsonl")), output
    (size,) = _bundles(site)
    assert 0 < size <= 64 * 1024
    status, output = site.run(incident_action="watch")
    assert status == 0, output
    (incident,) = site.incidents()
    assert incident["state"] == "stable", output
    assert not list(site.folder.glob("incidents-*.jsonl"))
    done = [(each["subject"], each["status"]) for each in site.events("outcome", "app1", "stabilise")]
    assert done == [("command:raise the flag", "ok"), ("host", "ok")]
    (evidence,) = site.events("evidence")
    assert "without their oldest lines" in evidence["summary"]


def _bundles(site: Site) -> list[int]:
    """How many bytes the parts of each bundle on the controller are together."""
    found = []
    for path in (site.home / ".local/state/sre-runbooks/diagnostics").rglob("*.tar*"):
        listed = subprocess.run(
            ["tar", "--list", "--verbose", "--file", path], check=True, capture_output=True, text=True
        )
        found.append(sum(int(line.split()[2]) for line in listed.stdout.splitlines() if "manifest" not in line))
    return found


def test_a_runbook_with_a_missing_guard_is_refused_before_anything_is_changed(site: Site) -> None:
    """I3"""
    careless = Site.action("raise the flag", "touch well")
    del careless["guard"]
    site.inventory["all"]["vars"]["runbooks_incidents_site"] = [Site.runbook(careless)]
    site.write()
    status, output = site.run()
    assert status != 0, output
    assert "guards nothing" in output, output
    assert (site.log("app1"), site.is_well("app1")) == ([], False)


def test_what_people_add_is_one_task_on_the_terminal(site: Site) -> None:
    """I2, I7: note, acknowledge, close; an acknowledged incident that is still sick escalates no further."""
    site.inventory["all"]["vars"]["runbooks_incidents_site"] = [Site.runbook(Site.action("first", "true"))]
    site.write()
    _status, output = site.run()
    (incident,) = site.incidents()
    for name, text in (("note", "asked the vendor"), ("acknowledge", ""), ("close", "the vendor mended it")):
        status, output = site.run(
            incident_action=name, incident_id=incident["id"], incident_text=text, incident_force=name == "close"
        )
        assert status == 0, output
        assert "skipping: [app1]" not in output.split("Tell whoever is due")[0], output
    (closed,) = site.incidents()
    assert (closed["state"], bool(closed["acknowledged"])) == ("closed", True)


def test_check_mode_says_what_would_be_done_on_every_host_and_changes_nothing(tmp_path: Path) -> None:
    """I5"""
    site = Site(tmp_path, ["app1", "app2"])
    _status, output = site.run("--check", "-v")
    assert output.count("raise the flag: run /bin/sh") + output.count("would run /bin/sh") >= 2, output
    assert "not touched" not in output
    for host in site.hosts:
        assert (site.log(host), site.is_well(host), list((site.folder / host).iterdir())) == ([], False, [])
    assert not (site.folder / "history.db").exists()
