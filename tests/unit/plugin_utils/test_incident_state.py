# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Incidents as events make them, the table in the terminal, and the drafts (I7, I8)."""

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_draft import make_document, render
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_state import (
    Event,
    Incident,
    fold,
    moment,
    seconds,
    timings,
)
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_table import CLOSED_LISTED, in_order
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_table import render as table


def event(kind, clock, summary="x", **more):
    return Event(f"2026-11-21T{clock}Z", kind, summary, f"{kind}{clock}", **more)


def after(*events):
    found = None
    for each in events:
        found = fold(found, each, "INC-1")
    return found


OPENED = event(
    "opened",
    "09:00:00",
    details={"type": "memory", "system": "F11", "hosts": ["b", "a"], "started": "2026-11-21T08:56:00Z"},
)
STABLE = event("stable", "09:10:00", details={"verified": True})


def test_states_go_open_stable_closed_and_back():
    assert after(OPENED).state == "open"
    assert after(OPENED).hosts == ("a", "b")
    assert after(OPENED, STABLE).state == "stable"
    closed = after(OPENED, STABLE, event("closed", "09:40:00"))
    assert (closed.state, closed.closed, closed.verified) == ("closed", "2026-11-21T09:40:00Z", True)
    again = fold(closed, event("reopened", "09:50:00", details={"hosts": ["c"]}))
    assert (again.state, again.stable, again.closed, again.verified, again.reopened) == ("open", "", "", False, 1)
    assert (again.hosts, again.detected) == (("a", "b", "c"), "2026-11-21T09:00:00Z")


def test_what_comes_late_from_a_spool_reopens_nothing():
    closed = after(OPENED, STABLE, event("closed", "09:40:00"))
    for late in (STABLE, event("closed", "09:45:00"), event("acknowledged", "09:05:00", actor="Kim")):
        found = fold(closed, late)
        assert (found.state, found.stable, found.closed) == ("closed", closed.stable, closed.closed)
    assert fold(after(OPENED), event("something new", "09:01:00")).state == "open"


def test_the_first_acknowledgement_counts():
    found = after(
        OPENED, event("acknowledged", "09:02:00", actor="Kim"), event("acknowledged", "09:03:00", actor="Sam")
    )
    assert (found.acknowledged_by, timings(found)["acknowledge_seconds"]) == ("Kim", 120.0)


def test_times_and_targets():
    found = timings(after(OPENED, STABLE))
    assert (found["detect_seconds"], found["detect_within"]) == (240.0, True)
    assert (found["resolve_seconds"], found["resolve_within"]) == (600.0, True)
    # The targets are "less than": exactly five minutes are too late.
    late = dataclasses.replace(after(OPENED), started="2026-11-21T08:55:00Z")
    assert timings(late)["detect_within"] is False
    assert timings(late)["resolve_within"] is None
    assert timings(Incident("INC-1", "memory", "F11"))["detect_seconds"] is None


def test_seconds_of_what_is_no_time_are_unknown():
    assert seconds("", "2026-11-21T09:00:00Z") is None
    assert seconds("2026-11-21T09:00:01Z", "2026-11-21T09:00:00Z") == 0.0
    assert moment("2026-11-21T10:00:00+01:00") == moment("2026-11-21T09:00:00Z")
    assert moment("2026-11-21T09:00:00") == moment("2026-11-21T09:00:00Z")


def test_open_ones_first_the_worst_first():
    names = {
        "1 worst": {"severity": "P1", "why": "outage"},
        "2 older": {"severity": "P3", "why": "x", "detected": "2026-11-21T08:00:00Z"},
        "3 newer": {"severity": "P3", "why": "x", "detected": "2026-11-21T09:00:00Z"},
        "4 stable": {"state": "stable"},
        "5 closed lately": {"state": "closed", "closed": "2026-11-21T09:00:00Z"},
        "6 closed before": {"state": "closed", "closed": "2026-11-20T09:00:00Z"},
    }
    incidents = [Incident(name, "memory", "F11", **values) for name, values in reversed(names.items())]
    assert [each.id for each in in_order(incidents)] == list(names)
    assert [each.id for each in in_order(iter(incidents))] == list(names)


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_the_table_keeps_to_its_width_and_shows_no_control_characters(width):
    told = (
        {"contact": "desk", "level": "support", "status": "ok"},
        {"contact": "pager", "level": "support", "status": "critical"},
    )
    wide = Incident(
        "INC-20261121-090000-3f2a", "memory", "F11", title="\x1b[31m" + "überlang " * 30, why="outage: 漢字 " + "x" * 300, severity="P1",
        hosts=tuple(f"host-{number}" for number in range(40)), told=told, detected="2026-11-21T09:00:00Z", opened="2026-11-21T09:00:00Z",
    )  # fmt: skip
    lines = table([wide], "2026-11-21T09:30:00Z", width)
    assert all(len(line) <= width for line, _status in lines)
    text = "\n".join(line for line, _status in lines)
    assert "\x1b" not in text
    assert "Incidents: 1 open, 0 stable, 0 closed" in text
    assert "30.0 min" in text
    assert "told: desk (support); could not be told: pager" in " ".join(text.split())
    assert "and 32 more" in " ".join(text.split())


def test_the_table_says_what_nobody_knows_and_leaves_out_old_ones():
    closed = [
        Incident(f"INC-{number}", "memory", "F11", state="closed", why="x", closed="2026-11-20T09:00:00Z")
        for number in range(15)
    ]
    text = "\n".join(line for line, _status in table([after(OPENED), *closed], "2026-11-21T09:30:00Z"))
    assert "?   open" in text
    assert "nobody was told" in text
    assert "detected after 4.0 min (target 5.0 min)" in text
    assert f"and {15 - CLOSED_LISTED} more that are closed" in text
    assert table([], "2026-11-21T09:30:00Z")[0] == ("Incidents: 0 open, 0 stable, 0 closed", "ok")


def document(*events):
    numbered = [dataclasses.replace(each, number=number) for number, each in enumerate(events, 1)]
    return make_document(after(*numbered), numbered)


def test_the_draft_asks_what_the_record_gives_reason_to_ask():
    always = document(OPENED, STABLE)["questions"]
    assert len(always) == 4
    action = event("outcome", "09:01:00", host="a", stage="stabilise", subject="restart", status="critical")
    told = event("told", "09:01:01", subject="desk", status="critical")
    late = dataclasses.replace(OPENED, details={**OPENED.details, "started": "2026-11-21T08:00:00Z"})
    asked = " ".join(
        document(late, action, told, event("reopened", "09:02:00"), event("stable", "09:30:00"))["questions"]
    )
    for text in (
        "detected only after",
        "Why did it take 30 min",
        "actions fail",
        "could contacts not be told",
        "It came back",
        "without proof",
    ):
        assert text in asked
    assert "When did it begin?" in " ".join(
        document(dataclasses.replace(OPENED, details={"type": "memory", "system": "F11"}))["questions"]
    )


def test_the_drafts_show_time_line_actions_evidence_and_times():
    digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    events = [
        OPENED,
        event("outcome", "09:00:05", "no answer", host="a", stage="detect", subject="http:api", status="critical"),
        event("outcome", "09:00:05", "81 %", host="a", stage="detect", subject="disk:/", status="warning"),
        event("severity", "09:00:06", "outage: all", subject="P1"),
        event(
            "evidence",
            "09:00:30",
            "41 files",
            host="a",
            subject="/x/a b.tar",
            status="ok",
            details={"path": "/x/a b.tar", "sha256": digest},
        ),
        event("outcome", "09:01:00", "restarted", host="a", stage="stabilise", subject="restart:app", status="ok"),
        STABLE,
    ]
    found = document(*events)
    assert [row["subject"] for row in found["findings"]] == ["http:api", "disk:/"]
    assert [row["subject"] for row in found["actions"]] == ["restart:app"]
    assert found["impact_seconds"] == 840.0
    for name in ("markdown", "html"):
        text = render(found, name)
        for part in (digest, "restart:app", "http:api", "09:01:00", "4 min", "10 min", "outage: all", "root cause"):
            assert part in text, (name, part)
    page = render(found, "html")
    assert 'href="file:///x/a%20b.tar"' in page
    assert "content=\"default-src 'none'; style-src 'unsafe-inline'\"" in page
    assert "http-equiv" in page
    assert "src=" not in page


def test_hostile_texts_stay_texts():
    hostile = "<script>alert(1)</script> | [x](http://evil) `rm` \x1b[2J \u202e # 1. x"
    found = document(dataclasses.replace(OPENED, details={**OPENED.details, "title": hostile, "link": "javascript:alert(1)"}),
                     event("note", "09:01:00", hostile, actor=hostile, details={"text": f"- {hostile}\n2. {hostile}"}))  # fmt: skip
    page, text = render(found, "html"), render(found, "markdown")
    assert "<script>" not in page + text
    assert "\x1b" not in page + text
    assert "\u202e" not in page + text
    assert "[x](" not in text
    assert 'href="javascript' not in page
    assert "\n  > \\- " in text
    assert "> 2\\. " in text


def test_a_part_of_a_record_says_that_it_is_one():
    found = make_document(after(OPENED), [event("note", "09:01:00")])
    for name in ("markdown", "html"):
        assert "not the whole record" in render(found, name)
