# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is told of an incident, and when the next level is due (I2)."""

from __future__ import annotations

import dataclasses
import datetime

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_escalation import (
    ATTEMPTS,
    Policy,
    next_level,
    read_policy,
)
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_state import Event, Incident, fold
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_contacts import read_contacts

OPENED = datetime.datetime(2026, 11, 21, 9, 0, tzinfo=datetime.UTC)
CONTACTS = read_contacts(
    [
        {"name": "desk", "level": "support", "urls": ["json://127.0.0.1"]},
        {"name": "pager", "level": "support", "urls": ["json://127.0.0.1"], "for": ["P1"]},
        {"name": "on-call", "level": "engineering", "urls": ["json://127.0.0.1"]},
        {"name": "boss", "level": "management", "urls": ["json://127.0.0.1"]},
        {"name": "news", "level": "support", "urls": ["json://127.0.0.1"], "kinds": ["daily"]},
        {"name": "other", "level": "support", "urls": ["json://127.0.0.1"], "tags": ["MCP"]},
    ]
)


def at(minutes):
    return OPENED + datetime.timedelta(minutes=minutes)


def text(minutes):
    return f"{at(minutes):%Y-%m-%dT%H:%M:%SZ}"


def incident(severity="P1", **more):
    values = {"opened": text(0), "detected": text(0), "why": "outage", "severity": severity, **more}
    return Incident("INC-1", "unresponsive", "F11", **values)


def add(what, kind, minutes, subject, status="", **details):
    return fold(what, Event(text(minutes), kind, "", "", subject=subject, status=status, details=details))


def carry_out(what, minutes, contacts=CONTACTS, status="ok", forced=False):
    """Do what is due as the role does: reach the levels, tell the contacts; return the incident and whom it told."""
    due = next_level(what, contacts, Policy(), at(minutes), forced)
    for level, _why in due.reached:
        what = add(what, "escalated", minutes, level)
    for contact, level in due.to_tell:
        what = add(what, "told", minutes, contact, status, level=level)
    return what, [contact for contact, _level in due.to_tell], due


def test_p1_support_at_once_engineering_after_30_management_15_later():
    what, told, due = carry_out(incident(), 0)
    assert told == ["desk", "pager"]
    assert (due.next_level, due.next_at) == ("engineering", text(30))
    what, told, due = carry_out(what, 29)
    assert (told, due.reached) == ([], ())
    what, told, due = carry_out(what, 30)
    assert told == ["on-call"]
    assert due.reached == (("engineering", "nobody acknowledged P1 within 30.0 min"),)
    assert (due.next_level, due.next_at) == ("management", text(45))
    what, told, _due = carry_out(what, 44)
    assert told == []
    what, told, due = carry_out(what, 45)
    assert told == ["boss"]
    assert (due.level, due.next_level) == ("management", "")
    assert carry_out(what, 500)[1] == []


@pytest.mark.parametrize(("severity", "minutes"), [("P2", 60), ("P3", 240), ("P4", 1440)])
def test_others_when_their_response_time_is_over_and_never_management(severity, minutes):
    what, told, due = carry_out(incident(severity), 0)
    assert told == ["desk"]
    assert due.next_at == text(minutes)
    assert carry_out(what, minutes - 1)[1] == []
    what, told, due = carry_out(what, minutes)
    assert told == ["on-call"]
    assert due.next_level == ""
    assert carry_out(what, 100_000)[1] == []


def test_a_run_that_comes_late_does_not_wake_everybody_at_once():
    what, _told, _due = carry_out(incident(), 0)
    what, told, due = carry_out(what, 600)
    assert told == ["on-call"]
    assert due.next_at == text(615)


def test_acknowledged_goes_no_further_until_it_gets_worse():
    what, _told, _due = carry_out(incident("P3"), 0)
    what = fold(what, Event(text(1), "acknowledged", "", "", actor="Kim"))
    assert what.acknowledged_by == "Kim"
    assert carry_out(what, 10_000)[1] == []
    worse = fold(what, Event(text(5), "severity", "outage", "", subject="P1"))
    assert worse.acknowledged == ""
    # The pager hears of P1 only: it was not told before.
    worse, told, _due = carry_out(worse, 5)
    assert told == ["pager"]
    assert carry_out(worse, 30)[1] == ["on-call"]


def test_who_cannot_be_told_is_tried_again_and_the_next_level_at_once():
    what, told, _due = carry_out(incident("P3"), 0, status="critical")
    assert told == ["desk"]
    what, told, due = carry_out(what, 1)
    assert told == ["desk", "on-call"]
    assert due.reached == (("engineering", "nobody of support could be told"),)
    # One of two who was told is enough.
    what = incident()
    what = add(add(what, "escalated", 0, "support"), "told", 0, "desk", "critical", level="support")
    what = add(what, "told", 0, "pager", "ok", level="support")
    assert next_level(what, CONTACTS, Policy(), at(1)).to_tell == (("desk", "support"),)


def test_a_contact_is_given_up_after_some_attempts():
    what = incident()
    for minutes in range(ATTEMPTS + 4):
        what, told, _due = carry_out(what, minutes, status="critical")
    assert told == []
    assert {each["attempts"] for each in what.told} == {ATTEMPTS}


def test_a_level_without_contacts_is_passed_over_at_once():
    _what, told, due = carry_out(incident(), 0, [each for each in CONTACTS if each.level != "support"])
    assert told == ["on-call"]
    assert [level for level, _why in due.reached] == ["support", "engineering"]


def test_what_is_not_assessed_stable_or_closed_is_due_to_nobody():
    assert carry_out(incident(why="not assessed yet"), 1000)[1] == []
    for state in ("stable", "closed"):
        assert carry_out(incident(state=state), 1000)[1] == []


def test_a_person_asks_for_the_next_level_now():
    what, _told, _due = carry_out(incident("P2"), 0)
    due = next_level(what, CONTACTS, Policy(), at(1), forced=True)
    assert due.reached == (("engineering", "asked for"),)
    what = fold(what, Event(text(1), "acknowledged", "", "", actor="Kim"))
    what = add(what, "escalated", 2, "engineering", asked=True)
    assert what.acknowledged == ""
    assert next_level(what, CONTACTS, Policy(), at(2)).to_tell == (("on-call", "engineering"),)
    what = add(what, "told", 2, "on-call", "ok", level="engineering")
    assert next_level(what, CONTACTS, Policy(), at(3), forced=True).reached == ()


def test_reopened_begins_anew():
    what, _told, _due = carry_out(incident(), 0)
    what = fold(what, Event(text(10), "stable", "", "", details={"verified": True}))
    what = fold(what, Event(text(20), "reopened", "", ""))
    assert (what.told, what.levels, what.opened) == ((), {}, text(20))
    what, told, due = carry_out(what, 20)
    assert told == ["desk", "pager"]
    assert due.next_at == text(50)


def test_a_site_has_times_and_levels_of_its_own():
    policy = read_policy(
        {
            "response": {"P1": "5m"},
            "levels": [{"level": "engineering"}, {"level": "management", "after": "1m", "severities": ["P1"]}],
        }
    )
    due = next_level(incident(), CONTACTS, policy, at(0))
    assert due.to_tell == (("on-call", "engineering"),)
    assert due.next_at == text(5)
    assert next_level(incident("P2"), CONTACTS, policy, at(0)).next_level == ""


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({"levles": []}, "escalation: 'levles' is no option"),
        ({"response": {"P9": "1h"}}, "escalation.response: 'P9' is no severity"),
        ({"response": {"P1": "soon"}}, "escalation.response.P1: 'soon' is no duration"),
        ({"levels": [{"level": "ceo"}]}, r"escalation.levels\[0\].level: 'ceo' is no level"),
        ({"levels": [{"level": "support"}, {"level": "support"}]}, "'support' is there more than once"),
        ({"levels": [{"level": "support", "when": 1}]}, r"escalation.levels\[0\]: 'when' is no option"),
        ({"levels": []}, "is no list of levels"),
    ],
)
def test_a_bad_policy_is_refused(raw, told):
    with pytest.raises(InputError, match=told):
        read_policy(raw)


def test_the_order_of_what_is_told_is_kept():
    what = dataclasses.replace(
        incident(), told=({"contact": "desk", "status": "ok", "level": "support", "attempts": 1},)
    )
    assert next_level(what, CONTACTS, Policy(), at(0)).to_tell == (("pager", "support"),)
