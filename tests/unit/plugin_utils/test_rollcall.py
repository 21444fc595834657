# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The roll-call (C1): silence, failure and nonsense are findings, and one trouble is one row."""

from __future__ import annotations

import json

import pytest

from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import (
    SUMMARY_LIMIT,
    call_host,
    call_stage,
    expected_stages,
    plain,
)

STAGES = ["health", "log_cleanup", "backup"]
FINE = {
    "changed": False,
    "outcomes": [
        {"subject": "cpu", "stage": "health", "status": "ok", "summary": "12 %", "metrics": {"cpu_percent": 12}}
    ],
}
DEAD = {"changed": False, "unreachable": True, "msg": "Task failed: Connection refused"}
SKIPPED = {
    "changed": False,
    "skipped": True,
    "skip_reason": "Conditional result was False",
    "false_condition": "health_enabled",
}


def rows(answer):
    return [(each["stage"], each["subject"], each["status"]) for each in answer.outcomes]


def test_a_host_that_answered_everything_has_no_row_of_its_own():
    answer = call_host("alpha", "F11", STAGES, dict.fromkeys(STAGES, FINE))
    assert answer.answered
    assert rows(answer) == [("health", "cpu", "ok")] * 3


def test_an_unreachable_host_is_one_row_whatever_was_skipped_after_it():
    answer = call_host("alpha", "F11", STAGES, {"health": DEAD, "log_cleanup": SKIPPED, "backup": SKIPPED})
    assert not answer.answered
    assert rows(answer) == [("roll_call", "host", "critical")]
    assert answer.outcomes[0]["summary"] == "unreachable: Connection refused"


def test_a_host_that_was_lost_half_way_keeps_what_it_had_answered():
    answer = call_host("alpha", "F11", STAGES, {"health": FINE, "log_cleanup": DEAD, "backup": SKIPPED})
    assert not answer.answered
    assert rows(answer) == [("roll_call", "host", "critical"), ("health", "cpu", "ok")]


def test_a_host_on_which_nothing_ran_is_one_row_that_names_the_stages():
    answer = call_host("alpha", "F11", STAGES, {})
    assert not answer.answered
    assert rows(answer) == [("roll_call", "host", "critical")]
    assert "never ran" in answer.outcomes[0]["summary"]
    assert "health, log_cleanup, backup" in answer.outcomes[0]["summary"]


def test_a_host_of_which_nothing_was_expected_has_answered():
    assert call_host("alpha", "F11", [], {}).answered


def test_a_stage_that_never_ran_on_a_host_that_answered_is_a_row_of_its_own():
    answer = call_host("alpha", "F11", STAGES, {"health": FINE})
    assert answer.answered
    assert rows(answer) == [
        ("health", "cpu", "ok"),
        ("roll_call", "log_cleanup", "critical"),
        ("roll_call", "backup", "critical"),
    ]


def test_a_failed_stage_says_why_and_keeps_the_outcomes_it_came_with():
    found = call_stage("backup", {"failed": True, "msg": "another run\nholds the lock", **FINE})
    assert [(each["stage"], each["subject"], each["status"]) for each in found] == [
        ("roll_call", "backup", "critical"),
        ("health", "cpu", "ok"),
    ]
    assert found[0]["summary"] == "failed: another run holds the lock"


def test_a_censored_failure_is_still_a_failure():
    assert (
        call_stage("backup", {"failed": True, "censored": "the output has been hidden"})[0]["summary"]
        == "failed: the output has been hidden"
    )


def test_a_stage_skipped_for_a_reason_of_its_own_is_skipped_and_says_so():
    (found,) = call_stage("health", SKIPPED)
    assert (found["stage"], found["subject"], found["status"]) == ("health", "health", "skipped")
    assert "health_enabled" in found["summary"]


@pytest.mark.parametrize(
    "result", [None, "text", [1], {}, {"changed": False}, {"outcomes": None}, {"outcomes": "none"}, {"results": []}]
)
def test_a_result_without_outcomes_is_a_finding(result):
    (found,) = call_stage("health", result)
    assert (found["stage"], found["subject"], found["status"]) == ("roll_call", "health", "critical")


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "text",
        {},
        {"subject": "cpu"},
        {"subject": 3, "status": "ok"},
        {"subject": "cpu", "status": "fine"},
        {"subject": "cpu", "status": ["ok"]},
    ],
)
def test_a_malformed_outcome_is_a_finding_and_its_neighbours_survive(bad):
    found = call_stage("health", {"outcomes": [bad, *FINE["outcomes"]]})
    assert [each["status"] for each in found] == ["critical", "ok"]
    assert "malformed outcome" in found[0]["summary"]


def test_parts_of_an_outcome_of_the_wrong_kind_are_left_out():
    (found,) = call_stage(
        "health",
        {"outcomes": [{"subject": "a", "status": "ok", "metrics": [1], "details": "x", "since": 5, "summary": None}]},
    )
    assert (found["stage"], found["metrics"], found["details"], found["summary"]) == ("health", {}, {}, "")
    assert "since" not in found


def test_since_and_pending_of_the_module_are_kept():
    (found,) = call_stage(
        "health", {"outcomes": [{"subject": "a", "status": "ok", "since": "2026-11-20T09:00:00Z", "pending": True}]}
    )
    assert (found["since"], found["pending"]) == ("2026-11-20T09:00:00Z", True)


def test_a_long_summary_is_cut_to_one_line():
    (found,) = call_stage("health", {"outcomes": [{"subject": "a", "status": "ok", "summary": "x\n" * 1000}]})
    assert len(found["summary"]) == SUMMARY_LIMIT
    assert "\n" not in found["summary"]


def test_what_no_database_takes_is_made_plain():
    value = plain(
        {"name": "bad\udcffname\x00", "ratio": float("nan"), "sizes": (1, 2.5, float("inf")), 7: b"\xff", "yes": True}
    )
    assert value == {
        "name": "bad?name\N{REPLACEMENT CHARACTER}",
        "ratio": None,
        "sizes": [1, 2.5, None],
        "7": "\N{REPLACEMENT CHARACTER}",
        "yes": True,
    }
    json.dumps(value, allow_nan=False).encode("utf-8")


@pytest.mark.parametrize(
    ("run_tags", "skip_tags", "expected"),
    [
        (["all"], [], STAGES),
        ([], [], STAGES),
        (["tagged"], [], STAGES),
        (["backup"], [], ["backup"]),
        (["health", "backup"], ["backup"], ["health"]),
        (["all"], ["log_cleanup"], ["health", "backup"]),
        (["untagged"], [], []),
        (["all"], ["all"], []),
        (["all"], ["tagged"], []),
    ],
)
def test_tags_decide_which_stages_are_expected(run_tags, skip_tags, expected):
    assert expected_stages(STAGES, run_tags, skip_tags) == expected
