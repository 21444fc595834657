# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages through the real plugins of Apprise to services that stand where the public ones would (I6)."""

from __future__ import annotations

import json

from integration.notify import services
from integration.notify.office import PAGERDUTY, SLACK, incident, mail_url


def test_slack_gets_what_where_why_and_the_runbook_in_markdown(office, web):
    """I6: type, severity, message, time and metadata of an incident."""
    result = office.tell([{"name": "ops", "urls": [SLACK]}], incident())
    assert [each["status"] for each in result["outcomes"]] == ["ok"], result
    assert web.asked_for == ["hooks.slack.com:443"]
    (request,) = web.of("hooks.slack.com")
    assert request.path == "/services/T1JJ3T3L2/A1BRTD4JD/CANARYslackTokenAbcdefgh1"
    text = json.dumps(request.body)
    for part in (
        "[P1] F11 unresponsive: no answer for 5 minutes", "f11-app", "Nobody can log in.", "https://runbooks.example.test/unresponsive",
        "2026-11-21 09:00 UTC", "INC-20261121-090000-3f2a", "failure rate", "100 %",
    ):  # fmt: skip
        assert part in text, part


def test_pagerduty_is_triggered_acknowledged_and_resolved_under_one_key(office, web):
    """I6: the same key all along, and what was not opened is not resolved."""
    contacts = [{"name": "on call", "urls": [PAGERDUTY], "for": ["P1"]}]
    office.tell(contacts, incident(id="INC-other", state="closed"))
    assert not web.requests
    for change in (
        {},
        {},
        {"acknowledged": "2026-11-21T09:05:00Z"},
        {"state": "stable"},
        {"state": "closed"},
        {"state": "closed"},
    ):
        assert office.tell(contacts, incident(**change))["outcomes"][0]["status"] == "ok"
        office.later(minutes=5)
    sent = [each.body for each in web.of("events.pagerduty.com")]
    assert [each["event_action"] for each in sent] == ["trigger", "acknowledge", "resolve"]
    assert {each["dedup_key"] for each in sent} == {"incident:INC-20261121-090000-3f2a"}
    assert {each["routing_key"] for each in sent} == {"CANARYintegrationKey01"}
    payload = sent[0]["payload"]
    assert (payload["severity"], payload["source"], payload["component"]) == ("critical", "f11-app", "F11")
    assert payload["custom_details"]["failure rate"] == "100 %"
    assert sent[0]["links"][0]["href"] == "https://runbooks.example.test/unresponsive"
    # The API needs no more than the routing key.
    assert "CANARYapiKey0001" not in json.dumps([each.headers for each in web.requests])


def test_pagerduty_of_europe(office, web):
    office.tell([{"name": "on call", "urls": [PAGERDUTY.replace("=us", "=eu")]}], incident())
    assert web.asked_for == ["events.eu.pagerduty.com:443"]


def test_a_webhook_gets_fields_that_a_program_reads(office, web):
    run = office.run(("f11-app", "disk:/", "critical"))
    url = f"jsons://127.0.0.1:{web.port}/CANARYwebhook/hook"
    office.tell([{"name": "hook", "urls": [url]}], run, report="https://reports.example.test/daily.html")
    (request,) = web.requests
    assert request.path == "/CANARYwebhook/hook"
    fields = {name: request.body[name] for name in ("event", "key", "status", "system", "id", "type")}
    assert fields == {
        "event": "trigger", "key": "daily:F11", "status": "critical", "system": "F11", "id": run.id, "type": "failure",
    }  # fmt: skip
    assert (
        "- critical f11-app health disk:/: disk:/ is critical (since 2026-11-21 09:00 UTC)" in request.body["message"]
    )
    assert "Report: https://reports.example.test/daily.html" in request.body["message"]


def test_mail_with_starttls_and_login_as_text_and_html(office, mail):
    run = office.run(("f11-app", "disk:/ <b>&", "critical"))
    result = office.tell(
        [{"name": "ops", "urls": [mail_url(mail.port)]}],
        run,
        systems={"F11": {"why": "Ordering stops.", "link": "https://runbooks.example.test/f11"}},
    )
    assert result["outcomes"][0]["status"] == "ok", result
    assert (mail.encrypted, mail.logins) == ([True], [True])
    (message,) = mail.messages
    assert message["Subject"] == "[CRITICAL] F11 daily: disk:/ <b>& on f11-app: disk:/ <b>& is critical"
    html = message.get_body(("html",)).get_content()
    text = message.get_body(("plain",)).get_content()
    assert "disk:/ &lt;b&gt;&amp;" in html
    assert '<a href="https://runbooks.example.test/f11">' in html
    for part in ("Ordering stops.", "disk:/ <b>&", run.id):
        assert part in text


def test_mail_encrypted_from_the_first_byte(office, certificates, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
    with services.mail(certificates, "runbooks", "CANARYmailPassword", implicit=True) as server:
        result = office.tell([{"name": "ops", "urls": [mail_url(server.port, mode="ssl")]}], incident())
    assert result["outcomes"][0]["status"] == "ok", result
    assert len(server.messages) == 1


def test_a_problem_that_goes_on_is_told_once_a_worse_one_at_once_and_its_end_once(office, web):
    """I6: not again each day; again when worse, when new, or after remind_after; one resolve."""
    contacts = [{"name": "ops", "urls": [SLACK]}]
    week = [
        [("f11-app", "disk:/", "warning")],
        [("f11-app", "disk:/", "warning")],
        [("f11-app", "disk:/", "critical")],
        [("f11-app", "disk:/", "warning")],
        [("f11-app", "disk:/", "warning"), ("f11-app", "port", "warning")],
        [("f11-app", "disk:/", "warning"), ("f11-app", "port", "warning")],
        [],
        [],
    ]
    told = []
    for found in week:
        result = office.tell(contacts, office.run(*found), remind_after=10 * 86400)
        told.append([each["event"] for each in result["told"]])
        office.later(days=1)
    assert told == [["trigger"], [], ["trigger"], [], ["trigger"], [], ["resolve"], []]
    assert len(web.requests) == 4
    assert "[RESOLVED] F11 daily" in json.dumps(web.requests[-1].body)
    # What ended can begin anew, and what goes on is told again after a while.
    for day, expected in ((0, ["trigger"]), (2, []), (3, ["remind"]), (1, [])):
        office.later(days=day)
        result = office.tell(contacts, office.run(("f11-app", "disk:/", "warning")), remind_after=5 * 86400)
        assert [each["event"] for each in result["told"]] == expected
    assert "STILL WARNING" in json.dumps(web.requests[-1].body)


def test_what_a_run_did_not_look_at_is_not_over(office, web):
    """--limit: a host that was left out keeps its problem; one that left the inventory does not."""
    contacts = [{"name": "ops", "urls": [SLACK]}]
    both = ("f11-app", "f11-db")
    office.tell(contacts, office.run(("f11-db", "disk:/", "critical"), hosts=both))
    office.later(hours=1)
    assert not office.tell(contacts, office.run(), inventory=both)["told"]
    office.later(hours=1)
    assert [each["event"] for each in office.tell(contacts, office.run(), inventory=["f11-app"])["told"]] == ["resolve"]


def test_everybody_hears_what_they_asked_for(office, web):
    contacts = [
        {"name": "worst", "urls": [f"jsons://127.0.0.1:{web.port}/worst"], "for": ["critical"]},
        {"name": "incidents", "urls": [f"jsons://127.0.0.1:{web.port}/incidents"], "kinds": ["incident"]},
        {"name": "other system", "urls": [f"jsons://127.0.0.1:{web.port}/other"], "tags": ["GHO"]},
        {"name": "all", "urls": [f"jsons://127.0.0.1:{web.port}/all", f"jsons://127.0.0.1:{web.port}/second"]},
    ]
    run = office.run(("f11-app", "disk:/", "critical"), ("f11-app", "port", "warning"))
    result = office.tell(contacts, run)
    assert sorted(each.path for each in web.requests) == ["/all", "/second", "/worst"]
    by_path = {each.path: each.body["message"] for each in web.requests}
    assert "port" not in by_path["/worst"]
    assert "port" in by_path["/all"]
    assert {each["subject"]: each["metrics"]["messages_sent"] for each in result["outcomes"]} == {
        "worst": 1, "incidents": 0, "other system": 0, "all": 2,
    }  # fmt: skip
    assert [(each["contact"], each["target"]) for each in result["told"]] == [
        ("worst", "jsons"),
        ("all", "jsons"),
        ("all", "jsons#2"),
    ]


def test_an_escalation_tells_the_level_and_says_who_was_told_when(office, web):
    """I2: contacts with a level hear of an incident when it is their turn, and of its end if they did."""
    contacts = [
        {"name": "desk", "level": "support", "urls": [f"jsons://127.0.0.1:{web.port}/desk"]},
        {
            "name": "engineer",
            "level": "engineering",
            "urls": [f"jsons://127.0.0.1:{web.port}/engineer"],
            "for": ["critical"],
        },
        {"name": "boss", "level": "management", "urls": [f"jsons://127.0.0.1:{web.port}/boss"]},
    ]
    office.tell(contacts, incident(severity="P3"), escalate=[{"contact": "desk", "level": "support"}])
    office.later(minutes=30)
    result = office.tell(contacts, incident(severity="P3"), escalate=[{"level": "engineering"}])
    assert [(each["contact"], each["level"], each["event"], each["time"]) for each in result["told"]] == [
        ("engineer", "engineering", "escalate", "2026-11-21T09:30:00Z")
    ]
    office.tell(contacts, incident(severity="P3"), escalate=[])
    office.tell(contacts, incident(severity="P3", state="closed"), escalate=[])
    assert [each.path for each in web.requests[:2]] == ["/desk", "/engineer"]
    assert sorted(each.path for each in web.requests[2:]) == ["/desk", "/engineer"]
    assert "[P3 ESCALATED TO ENGINEERING] F11 unresponsive" in web.requests[1].body["title"]
    assert {each.body["event"] for each in web.requests[2:]} == {"resolve"}


def test_check_mode_sends_nothing_and_says_what_it_would(office, web):
    result = office.tell(
        [{"name": "ops", "urls": [SLACK]}], incident(), check_mode=True, page={"directory": str(office.folder / "page")}
    )
    assert not web.asked_for
    assert not office.store.exists()
    assert not (office.folder / "page").exists()
    assert result["told"] == []
    assert "would tell by slack: [P1] F11 unresponsive" in result["outcomes"][0]["summary"]


def test_the_status_page_in_a_folder_and_by_put(office, web):
    """I6: systems and incidents, and nothing of hosts; both files are whole, and readable by a web server."""
    folder = office.folder / "page"
    page = {
        "directory": str(folder),
        "url": f"https://127.0.0.1:{web.port}/CANARYwebhook",
        "title": "Our <services>",
        "names": {"F11": "Feature 11"},
    }
    states = []
    for change in ({}, {"state": "stable"}, {"state": "closed"}):
        assert [each["status"] for each in office.tell([], incident(**change), page=page)["outcomes"]] == ["ok"]
        states.append(json.loads((folder / "status.json").read_text())["status"])
        office.later(minutes=5)
    assert states == ["outage", "operational", "operational"]
    office.tell([], office.run(("f11-app", "disk:/", "critical")), page=page)
    made = json.loads((folder / "status.json").read_text())
    assert made["systems"] == [{"name": "Feature 11", "state": "degraded", "since": "2026-11-21T09:15:00Z"}]
    assert [(each["id"], each["state"]) for each in made["incidents"]] == [("INC-20261121-090000-3f2a", "closed")]
    text = (folder / "index.html").read_text()
    assert "Our &lt;services&gt;" in text
    assert "f11-app" not in text + json.dumps(made)
    assert (folder / "index.html").stat().st_mode & 0o777 == 0o644
    assert [each.method for each in web.requests] == ["PUT"] * 4
    assert web.requests[-1].body == made
