# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole playbook runs that end with the role report: told before the run fails, and no secret anywhere (I6)."""

from __future__ import annotations

import json

from integration.notify.office import CANARIES, SLACK

from ansible_collections.sre.runbooks.plugins.plugin_utils.history import History

CONTACTS = """
runbooks_contacts:
  - name: ops
    urls: ["{slack}"]
  - name: hook
    urls: ["jsons://127.0.0.1:{port}/CANARYwebhook/x"]
runbooks_report_url: https://reports.example.test
"""


def document(project):
    return json.loads((project.state / "reports" / "daily_latest.json").read_text())


def test_a_run_is_told_before_it_fails_and_a_failed_message_is_its_own_finding(project, web):
    """At -vvvv no part of an address is shown, nor stands in the history, the spool or the reports."""
    web.answers["hooks.slack.com"] = [500] * 3
    contacts = CONTACTS.format(slack=SLACK, port=web.port)
    done = project.run(contacts, "-vvvv")
    assert done.returncode == 2, done.stdout
    assert "(report_fail_on: critical)" in done.stdout
    made = document(project)
    assert made["status"] == "critical"
    assert made["counts"] == {"ok": 0, "skipped": 0, "unknown": 0, "warning": 1, "critical": 1}
    recorded = History(f"sqlite:///{project.state}/history.db").find().columns
    assert (recorded["status"], recorded["critical"], recorded["warning"]) == ("critical", 1, 1)
    assert [(each["contact"], each["status"]) for each in made["notifications"]] == [("ops", "warning"), ("hook", "ok")]
    assert "warning   ops: 1 of 1 messages did not get through: slack answered 500" in done.stdout
    (hook,) = web.of("127.0.0.1")
    assert f"Report: https://reports.example.test/daily_{made['run']['id']}.html" in hook.body["message"]
    assert "[CRITICAL] F11 daily: disk:/ on f11-app: used 97 %" in hook.body["title"]
    assert "CANARYsummary" not in json.dumps([each.body for each in web.requests])
    kept = [path for path in project.state.rglob("*") if path.is_file()]
    assert {path.name for path in kept} >= {"history.db", "daily_latest.json", "daily_latest.html"}
    for canary in CANARIES:
        assert canary not in done.stdout
        assert not [path for path in kept if canary.encode() in path.read_bytes()]
    assert not [path for path in kept if "history" in path.name and path.stat().st_mode & 0o077]
    # The next run brings what did not get through; nobody is told twice, and a report made again tells nobody.
    again = project.run(contacts)
    assert [each["status"] for each in document(project)["notifications"]] == ["ok", "ok"], again.stdout
    assert (len(web.of("hooks.slack.com")), len(web.of("127.0.0.1"))) == (4, 1)
    assert project.run(contacts, "-e", f"report_run={made['run']['id']}").returncode == 2
    # Over: each is told so once.
    assert project.run(contacts, "-e", "disk=ok").returncode == 0
    assert (len(web.of("hooks.slack.com")), len(web.of("127.0.0.1"))) == (5, 2)
    assert web.of("127.0.0.1")[-1].body["event"] == "resolve"


def test_contacts_that_cannot_be_told_never_make_a_run_green(project, web):
    """A bad list is critical, and the report is made nevertheless."""
    contacts = "runbooks_contacts: [{name: ops, urls: [CANARYwebhook]}]\n"
    done = project.run(contacts, "-e", "disk=ok")
    assert done.returncode == 2, done.stdout
    (found,) = document(project)["notifications"]
    assert found["status"] == "critical"
    assert "nobody was told: contacts[0].urls[0]: '…' is no URL (contact ops)" in found["summary"]
    assert "CANARY" not in done.stdout


def test_in_check_mode_nothing_is_sent_and_without_contacts_nothing_is_done(project, web):
    done = project.run(CONTACTS.format(slack=SLACK, port=web.port), "--check")
    assert done.returncode == 2, done.stdout
    assert "Notify ok        ops: would tell by slack: [CRITICAL] F11 daily" in done.stdout
    assert not web.asked_for
    assert not project.state.exists()
    quiet = project.run("{}", "-e", "report_fail_on=never")
    assert quiet.returncode == 0, quiet.stdout
    assert document(project)["notifications"] == []
