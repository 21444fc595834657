# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is told of a run or an incident, compared with what was told before (I6)."""

from __future__ import annotations

import datetime

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_contacts import chosen, read_contacts
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_matter import of_incident, of_run, step
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_message import LISTED, TITLE_LENGTH, message
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import HostAnswer, Run

NOW = datetime.datetime(2026, 11, 21, 9, 0, tzinfo=datetime.UTC)
(OPS,) = read_contacts([{"name": "ops", "urls": ["json://x"]}])


def run_of(*hosts, stages=("health",)):
    return Run("20261121T090000Z-aaaaaa", "daily", "2026-11-21T09:00:00Z", "", False, "0", list(stages), list(hosts))


def host(name, *found, system="F11", answered=True):
    return HostAnswer(
        name, system, answered, [outcome(subject, stage, status, "bad") for stage, subject, status in found]
    )


def matters(*hosts, stages=("health",), inventory=(), **about):
    run = run_of(*hosts, stages=stages)
    return of_run(run, ["health", "backup"], inventory or [each.name for each in hosts], about)


def row(told, opened="2026-11-20T09:00:00+00:00", sent="2026-11-20T09:00:00+00:00", resolved=""):
    return {"told": told, "opened": opened, "sent": sent, "resolved": resolved}


def event(matter, known, remind_after=0.0, forced=False):
    return step(matter, OPS, known, NOW, remind_after, forced).event


def test_each_system_is_one_matter_with_a_key_that_every_run_shares():
    found = matters(host("a", ("health", "disk", "critical")), host("b", system="GHO"), host("c", system=""))
    assert [(each.key, len(each.problems)) for each in found] == [
        ("daily:F11", 1),
        ("daily:GHO", 0),
        ("daily:no system", 0),
    ]


def test_a_stage_that_the_playbook_no_longer_has_takes_its_problems_along():
    told = {"a\tlog_scan\tx\t0": "critical"}
    (half,) = matters(host("a", ("health", "cpu", "ok")))
    assert event(half, row(told)) == ""
    (whole,) = matters(host("a", ("health", "cpu", "ok"), ("backup", "x", "ok")), stages=("health", "backup"))
    assert event(whole, row(told)) == "resolve"


def test_a_host_that_is_lost_keeps_what_its_stages_did_not_look_at_again():
    told = {"a\tbackup\tx\t0": "critical"}
    lost = host("a", ("roll_call", "host", "critical"), answered=False)
    (matter,) = matters(lost, stages=("health", "backup"))
    found = step(matter, OPS, row(told), NOW, 0.0)
    assert found.event == "trigger"
    assert "a\tbackup\tx\t0" in found.told


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({"severity": "P2", "state": "open"}, {}, ""),
        ({"severity": "P3", "state": "open"}, {}, "trigger"),
        ({"severity": "P1", "state": "open"}, {}, ""),
        ({"severity": "P2", "state": "open"}, {"acknowledged": "x"}, "acknowledge"),
        ({"severity": "P2", "state": "acknowledged"}, {"acknowledged": "x"}, ""),
        ({"severity": "P2", "state": "acknowledged"}, {"state": "stable"}, "stable"),
        ({"severity": "P2", "state": "stable"}, {"state": "open"}, "trigger"),
        ({"severity": "P2", "state": "stable"}, {"state": "closed"}, "resolve"),
    ],
)
def test_an_incident_is_told_when_it_is_worse_and_when_its_state_changes(before, now, expected):
    matter = of_incident({"id": "INC-1", "type": "memory", "severity": "P2", **now})
    assert event(matter, row({"incident": before["severity"], "state": before["state"]})) == expected


def test_an_incident_that_is_acknowledged_is_not_told_again_and_an_open_one_is():
    known = {"incident": "P2", "state": "open"}
    assert event(of_incident({"id": "INC-1", "type": "memory", "severity": "P2"}), row(known), 86400.0) == "remind"
    matter = of_incident({"id": "INC-1", "type": "memory", "severity": "P2", "acknowledged": "x"})
    assert event(matter, row({**known, "state": "acknowledged"}), 86400.0) == ""


def test_an_escalation_is_told_whatever_was_told_and_an_end_only_if_something_was():
    matter = of_incident({"id": "INC-1", "type": "memory", "severity": "P4"})
    assert event(matter, row({"incident": "P4", "state": "open"}), forced=True) == "escalate"
    closed = of_incident({"id": "INC-1", "type": "memory", "severity": "P4", "state": "closed"})
    assert event(closed, {}) == ""
    assert event(closed, row({"incident": "P4"}, resolved="2026-11-21T00:00:00+00:00")) == ""


def test_a_message_is_short_whatever_there_is_to_say():
    found = [("health", f"disk:/{'x' * 400}{number}", "critical") for number in range(50)]
    (matter,) = matters(
        host("a", *found), F11={"why": "Orders stop.", "link": "https://user:secret@runbooks.example.test/f11"}
    )
    made = message(matter, step(matter, OPS, {}, NOW, 0.0))
    assert len(made["title"]) <= TITLE_LENGTH
    assert made["text"].count("- critical") == LISTED
    assert f"and {50 - LISTED} more" in made["text"]
    for form in ("text", "markdown", "html"):
        assert len(made[form]) < 12000
        assert "https://runbooks.example.test/f11" in made[form]
        assert "secret" not in made[form]


def test_targets_are_named_by_service_and_never_show_their_address():
    (contact,) = read_contacts(
        [{"name": "ops", "urls": ["slack://token1", "slack://token2", "json://x"], "for": "critical"}]
    )
    assert [each.name for each in contact.targets] == ["slack", "slack#2", "json"]
    assert "token" not in repr(contact)
    assert (contact.minds("warning"), contact.minds("P2"), contact.minds("P3")) == (False, True, False)


def test_an_escalation_names_contacts_or_a_level():
    contacts = read_contacts(
        [
            {"name": name, "level": level, "urls": ["json://x"]}
            for name, level in (("a", "support"), ("b", "engineering"), ("c", "engineering"))
        ]
    )
    assert chosen(["a"], contacts) == {"a": "support"}
    assert chosen([{"level": "engineering"}], contacts) == {"b": "engineering", "c": "engineering"}
    assert chosen([{"contact": "a", "level": "management", "incident": "INC-1"}], contacts) == {"a": "management"}
    with pytest.raises(InputError, match=r"'management' is no contact"):
        chosen([{"level": "management"}], contacts)
