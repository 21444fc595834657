# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services that fail in every way, runs that are killed, stores that are locked: nobody is told twice, and nothing is lost (I6)."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import sqlite3
import time

import pytest
from integration.conftest import free_port
from integration.notify import services
from integration.notify.office import CANARIES, PAGERDUTY, SLACK, incident, mail_url

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.plugin_utils import notify_send
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_send import LibraryMissing

FORK = multiprocessing.get_context("fork")
OPS = [{"name": "ops", "urls": [SLACK]}]


def only(result):
    """The outcome of the only contact, which never repeats an address."""
    (found,) = result["outcomes"]
    assert not any(canary in json.dumps(result) for canary in CANARIES)
    return found


@pytest.mark.parametrize(
    ("url", "host", "answer"), [(SLACK, "hooks.slack.com", 500), (PAGERDUTY, "events.pagerduty.com", 429)]
)
def test_a_service_that_is_busy_is_asked_again_after_a_pause(office, web, url, host, answer):
    web.answers[host] = [answer]
    assert only(office.tell([{"name": "ops", "urls": [url]}], incident()))["status"] == "ok"
    assert len(web.of(host)) == 2


def test_a_service_that_is_down_gets_the_message_in_the_next_run(office, web):
    """The failure is an outcome of its own; the message waits in the store, without its address, open to its owner alone."""
    web.answers["hooks.slack.com"] = [503, 503]
    found = only(office.tell(OPS, incident()))
    assert (found["status"], found["stage"], found["subject"]) == ("warning", "notify", "ops")
    assert "slack answered 503" in found["summary"]
    assert "tried again in the next run" in found["summary"]
    (row,) = office.rows()
    assert (row["opened"], row["attempts"]) == ("", 1)
    assert "no answer for 5 minutes" in row["pending"]
    assert office.store.stat().st_mode & 0o777 == 0o600
    office.later(hours=1)
    # Any later run brings it, also one of another kind.
    result = office.tell(OPS, office.run())
    assert [(each["key"], each["event"]) for each in result["told"]] == [
        ("incident:INC-20261121-090000-3f2a", "trigger")
    ]
    assert not office.tell(OPS, incident())["told"]
    assert len(web.requests) == 3


def test_an_escalation_that_did_not_get_through_is_not_lost(office, web):
    boss = [{"name": "boss", "level": "management", "urls": [SLACK]}]
    web.answers["hooks.slack.com"] = [503, 503]
    assert not office.tell(boss, incident(), escalate=["boss"])["told"]
    office.later(minutes=2)
    result = office.tell(boss, incident(), escalate=[])
    assert [(each["contact"], each["event"]) for each in result["told"]] == [("boss", "escalate")]


def test_what_ended_before_anybody_could_be_told_is_not_told(office, web):
    """Only what was opened is resolved."""
    web.answers["hooks.slack.com"] = [503, 503]
    office.tell(OPS, incident())
    office.later(hours=1)
    assert not office.tell(OPS, incident(state="closed"))["told"]
    assert len(web.requests) == 2
    assert office.rows() == []


def test_a_resolve_that_did_not_get_through_is_sent_again(office, web):
    contacts = [{"name": "on call", "urls": [PAGERDUTY]}]
    office.tell(contacts, incident())
    web.answers["events.pagerduty.com"] = [500, 500]
    assert only(office.tell(contacts, incident(state="closed")))["status"] == "warning"
    office.later(days=1)
    office.tell(contacts, office.run())
    assert [each.body["event_action"] for each in web.requests] == ["trigger", "resolve", "resolve", "resolve"]
    office.later(days=1)
    assert not office.tell(contacts, office.run())["told"]


def test_a_message_that_no_service_takes_for_a_week_is_given_up_and_told(office, web):
    web.answers["hooks.slack.com"] = [503, 503]
    office.tell(OPS, incident())
    office.later(days=8)
    found = only(office.tell(OPS, office.run()))
    assert (found["status"], found["summary"]) == ("warning", "1 messages given up: no service took them for 7 days")
    assert len(web.requests) == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (services.HANG, "did not answer in time"),
        (services.HALF, "ended the connection without a whole answer"),
        (services.TRICKLE, "did not answer within the time limit"),
    ],
)
def test_a_service_that_hangs_holds_up_neither_the_run_nor_the_others(office, web, answer, reason):
    contacts = [*OPS, {"name": "hook", "urls": [f"jsons://127.0.0.1:{web.port}/hook"]}]
    web.answers["hooks.slack.com"] = [answer]
    begun = time.monotonic()
    result = office.tell(contacts, incident(), timeout=1.0, time_limit=4.0, attempts=1)
    assert time.monotonic() - begun < 20
    ops, hook = result["outcomes"]
    assert (ops["status"], hook["status"]) == ("warning", "ok")
    assert f"slack {reason}" in ops["summary"]


def test_a_login_that_is_refused_is_not_tried_again(office, mail):
    """More tries would lock the account."""
    found = only(
        office.tell([{"name": "ops", "urls": [mail_url(mail.port, "CANARYmailPassword2")]}], incident(), attempts=3)
    )
    assert (found["status"], mail.messages) == ("warning", [])
    # One attempt: each way to log in that the server offers, once.
    assert mail.logins == [False, False]
    assert "mailtos refused the login" in found["summary"]


def test_a_mail_that_is_refused(office, mail):
    mail.refuse = "550 no such user here"
    found = only(office.tell([{"name": "ops", "urls": [mail_url(mail.port)]}], incident(), attempts=3))
    assert "mailtos refused the message" in found["summary"]
    assert len(mail.logins) == 1


def test_a_certificate_that_nobody_trusts(office, web, monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    for url in (SLACK, PAGERDUTY):
        found = only(office.tell([{"name": "ops", "urls": [url]}], incident(id=f"INC-{url[:5]}")))
        assert "its certificate is not trusted" in found["summary"]
    assert not web.requests


def test_nobody_listens(office, web, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    contacts = [
        {
            "name": "ops",
            "urls": [f"jsons://127.0.0.1:{free_port()}/CANARYwebhook", mail_url(free_port())],
        }
    ]
    found = only(office.tell(contacts, incident(), attempts=1))
    assert "jsons refused the connection, mailtos refused the connection" in found["summary"]


def test_an_address_that_apprise_does_not_know_is_critical_and_keeps_nobody_else_from_hearing(office, web):
    contacts = [
        {"name": "odd", "urls": ["slakc://CANARYwebhook/x"]},
        {"name": "bad", "urls": ["slack://CANARYwebhook"]},
        *OPS,
    ]
    result = office.tell(contacts, incident())
    assert [each["status"] for each in result["outcomes"]] == ["critical", "critical", "ok"]
    assert "slakc is no slakc address that Apprise understands" in result["outcomes"][0]["summary"]
    assert not any(canary in json.dumps(result) for canary in CANARIES)


def test_without_apprise_the_remedy_is_told(office, tmp_path, monkeypatch):
    (tmp_path / "apprise.py").write_text("raise ModuleNotFoundError('gone', name='apprise')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(
        LibraryMissing, match=r"package apprise, which cannot be used here.*Install the collection's requirements.txt"
    ):
        office.tell(OPS, incident())


def test_a_library_that_hangs_is_ended(office, tmp_path, monkeypatch):
    (tmp_path / "apprise.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(notify_send, "GRACE_SECONDS", 0.5)
    begun = time.monotonic()
    found = only(office.tell(OPS, incident(), time_limit=0.5))
    assert time.monotonic() - begun < 20
    assert (found["status"], office.rows()[0]["attempts"]) == ("warning", 1)
    assert "slack did not answer within the time limit" in found["summary"]


SLOW = """
import time
import apprise.manager
load = apprise.manager.PluginManager.load_modules
def slowly(self, *given, **more):
    if not self:
        time.sleep(4)
    return load(self, *given, **more)
apprise.manager.PluginManager.load_modules = slowly
"""


def test_a_library_that_loads_slowly_takes_no_time_from_the_services(office, web, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(SLOW)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert only(office.tell(OPS, incident(), time_limit=4.0))["status"] == "ok"


def test_a_locked_store_keeps_nobody_from_being_told(office, web):
    """Better twice than never."""
    office.wait = 0.2
    office.run()
    with contextlib.closing(sqlite3.connect(office.store)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        ops, history = office.tell(OPS, incident())["outcomes"]
    assert (ops["status"], history["status"]) == ("ok", "warning")
    assert "could not be remembered" in history["summary"]
    assert len(web.requests) == 1


def test_killed_while_it_sends_the_next_run_sends_and_two_at_once_send_one(office, web):
    """kill -9 in the middle; while a run is sending, another leaves the message to it."""
    web.answers["hooks.slack.com"] = [services.HANG]
    # Its limits are longer than the other run takes: it is killed, and does not end.
    limits = {"timeout": 30.0, "time_limit": 30.0, "attempts": 1}
    first = FORK.Process(target=office.tell, args=(OPS, incident()), kwargs=limits)
    first.start()
    deadline = time.monotonic() + 30
    while not web.requests:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    second = office.tell(OPS, incident())
    assert not second["told"] + second["missed"]
    os.kill(first.pid, 9)
    first.join()
    assert first.exitcode == -9
    office.later(minutes=5)
    assert [each["event"] for each in office.tell(OPS, incident())["told"]] == ["trigger"]
    assert not office.tell(OPS, incident())["told"]
    assert len(web.requests) == 2


def test_a_status_page_that_cannot_be_written_is_told(office, web):
    (office.folder / "file").write_text("")
    web.answers["127.0.0.1"] = [403]
    page = {"directory": str(office.folder / "file"), "url": f"https://127.0.0.1:{web.port}/CANARYwebhook"}
    found = only(office.tell([], incident(), page=page))
    assert found["status"] == "warning"
    assert "status_page.directory" in found["summary"]
    assert "its server answered 403 forbidden" in found["summary"]


@pytest.mark.parametrize(
    ("contact", "problem"),
    [
        ("ops", "contacts[0]: 'str' is no contact"),
        ({"urls": ["json://x"]}, "contacts[0].name: '' is no name"),
        ({"name": "ops", "urls": []}, "contacts[0].urls: [] reaches nobody (contact ops)"),
        ({"name": "ops", "urls": ["CANARYwebhook"]}, "contacts[0].urls[0]: '…' is no URL (contact ops)"),
        ({"name": "ops", "urls": {"CANARYwebhook": 1}}, "contacts[0].urls: '…' is no list of texts"),
        (
            {"name": "ops", "urls": ["json://x"], "for": ["P9"]},
            "contacts[0].for: 'P9' is neither a status nor a severity (contact ops)",
        ),
        ({"name": "ops", "urls": ["json://x"], "level": "boss"}, "contacts[0].level: 'boss' is no level (contact ops)"),
        ({"name": "ops", "url": "json://CANARYwebhook"}, "contacts[0]: 'url' is no option of a contact"),
    ],
)
def test_bad_contacts_are_named_with_the_remedy_and_without_the_address(office, contact, problem):
    with pytest.raises(InputError) as caught:
        office.tell([contact], incident())
    assert problem in str(caught.value)
    assert "CANARY" not in str(caught.value)
    assert not office.store.exists()


def test_bad_incidents_and_escalations_are_named(office):
    for what, given, problem in (
        ({"id": "INC-1", "type": "x"}, {}, "incident: 'severity' is missing"),
        (incident(severity="high"), {}, "incident.severity: 'high' is no severity"),
        (incident(state="over"), {}, "incident.state: 'over' is no state"),
        (incident(), {"escalate": ["boss"]}, "escalate: 'boss' is no contact. The contacts are ops."),
        (incident(), {"page": {"folder": "/x"}}, "status_page: 'folder' is no option"),
        (incident(), {"page": {"url": "ftp://CANARYwebhook"}}, "status_page.url: '…' is no address of the web"),
    ):
        with pytest.raises(InputError) as caught:
            office.tell(OPS, what, **given)
        assert problem in str(caught.value)


def test_what_a_host_says_cannot_carry_secrets_or_markup_into_a_message(office, web):
    bad = "login failed password=hunter2hunter2 <!channel> `x` http://user:hunter2@h/ \x1b[31m"
    office.tell(
        [*OPS, {"name": "hook", "urls": [f"jsons://127.0.0.1:{web.port}/x"]}],
        incident(summary=bad, link="javascript:alert(1)"),
    )
    sent = json.dumps([each.body for each in web.requests])
    assert "hunter2" not in sent
    assert "\\u001b" not in sent
    assert "<!channel>" not in json.dumps(web.of("hooks.slack.com")[0].body)
    assert "javascript" not in sent
