# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Severity from measured evidence (I1)."""

from __future__ import annotations

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_severity import (
    Evidence,
    Rules,
    read_rules,
    severity,
)
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import HostAnswer


def host(name, *outcomes, answered=True):
    return HostAnswer(name, "F11", answered, list(outcomes))


def found(subject, status, summary="", metrics=None, details=None):
    return outcome(subject, "health", status, summary or subject, metrics=metrics, details=details)


def silent(name):
    return host(name, outcome("host", "roll_call", "critical", "unreachable: no route"), answered=False)


def judge(*hosts, expected=0, **rules):
    return severity(Evidence(hosts, expected), read_rules(rules))


FINE = found("disk:/", "ok")


def test_every_host_of_the_system_silent_is_an_outage():
    level, why = judge(silent("a"), silent("b"))
    assert (level, why) == ("P1", "outage: a, b of 2 down or unreachable")


def test_hosts_that_were_not_looked_at_are_not_down():
    """--limit to one of five: its silence is a fifth of the system."""
    level, why = judge(silent("a"), expected=5)
    assert level == "P2"
    assert "1 of 5 hosts down or unreachable (20 %)" in why
    assert judge(silent("a"), expected=11)[0] == "P4"
    assert judge(silent("a"), expected=10)[0] == "P3"


def test_a_critical_main_endpoint_is_an_outage_and_one_of_two_is_half():
    sick, well = found("http:api", "critical", "connection refused"), found("http:api", "ok")
    level, why = judge(host("a", sick), host("db", FINE))
    assert level == "P1"
    assert why == "outage: the main endpoint http:api is critical: connection refused"
    assert judge(host("a", sick), host("b", well))[0] == "P2"
    assert judge(host("a", found("http:shop", "critical")), main=["http:shop"])[0] == "P1"
    assert judge(host("a", found("http:shop", "critical")))[0] == "P2"


@pytest.mark.parametrize(
    ("each", "why"),
    [
        (found("sqlite:app", "critical", "/x.db: quick check found: row 1 missing"), "corruption"),
        (found("sqlite:app", "critical", "database disk image is malformed"), "corruption"),
        (found("files:app", "critical", details={"corruption": True}), "corruption"),
        (found("rule:breach_sudo", "critical"), "breach"),
        (found("rule:auth", "critical", details={"breach": True}), "breach"),
    ],
)
def test_corruption_and_breach_are_p1(each, why):
    level, told = judge(host("a", each, FINE))
    assert level == "P1"
    assert told.startswith(f"{why}: {each['subject']} on a")


def test_a_site_says_which_rules_mean_a_breach():
    each = found("rule:unauthorized", "critical")
    assert judge(host("a", each))[0] == "P2"
    assert judge(host("a", each), breach=["rule:unauth*"])[0] == "P1"
    # What is only a warning is no breach yet.
    assert judge(host("a", found("rule:unauthorized", "warning")), breach=["rule:unauth*"])[0] == "P4"


@pytest.mark.parametrize(
    ("metric", "value", "level"),
    [
        ("failure_rate_percent", 50.1, "P1"),
        ("failure_rate_percent", 50.0, "P2"),
        ("failure_rate_percent", 20.0, "P2"),
        ("failure_rate_percent", 19.9, "P3"),
        ("failure_rate_percent", 10.0, "P3"),
        ("failure_rate_percent", 9.9, "P4"),
        ("error_rate", 0.6, "P1"),
        ("error_rate", 0.05, "P4"),
        ("success_rate_percent", 70.0, "P2"),
        ("success_rate", 0.3, "P1"),
        ("error_rate", 17.0, "P4"),
        ("failure_rate_percent", float("nan"), "P4"),
        ("cpu_percent", 99.0, "P4"),
    ],
)
def test_failure_rates_by_the_row(metric, value, level):
    assert judge(host("a", found("http:business", "ok", metrics={metric: value})))[0] == level


def test_lines_of_a_log_rule_are_failures_only_past_a_bound():
    ratio = {"ratio_percent": 60.0}
    assert judge(host("a", found("rule:answered", "ok", metrics=ratio)))[0] == "P4"
    assert judge(host("a", found("rule:errors", "warning", metrics=ratio)))[0] == "P1"


def test_a_site_sets_bounds_and_a_least_severity():
    sick = host("a", found("http:business", "ok", metrics={"failure_rate_percent": 35.0}))
    assert judge(sick, bounds={"P1": 30})[0] == "P1"
    assert judge(sick, rates=["nothing*"])[0] == "P4"
    level, why = judge(host("a", FINE), at_least="P2")
    assert level == "P2"
    assert "never below P2" in why


def test_degradation_and_the_rest():
    assert judge(host("a", found("redis:cache", "critical", "no answer")))[0] == "P2"
    assert judge(host("a", found("http:api", "warning", "slow")))[0] == "P2"
    level, why = judge(host("a", found("disk:/", "warning", "81 %"), found("x", "unknown")))
    assert (level, why) == ("P4", "only warnings: disk:/ on a: 81 %; 1 checks could not be made")
    assert judge(host("a", FINE)) == ("P4", "nothing that was looked at is bad")
    assert severity(Evidence([])) == ("P4", "nothing that was looked at is bad")


def test_a_stage_that_failed_is_no_degradation_of_the_system():
    assert judge(host("a", outcome("detect", "roll_call", "critical", "failed: no python")))[0] == "P4"


def test_the_worst_of_all_counts():
    assert (
        judge(
            host(
                "a", found("http:business", "critical", metrics={"error_rate": 0.12}), found("rule:breach", "critical")
            )
        )[0]
        == "P1"
    )


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({"mains": []}, "severity_rules: 'mains' is no option of it. Use some of main"),
        ({"main": 3}, "severity_rules.main: 3 is no list of globs"),
        ({"bounds": {"P1": 10}}, "do not fall from P1 to P3"),
        ({"bounds": {"P4": 10}}, "severity_rules.bounds.P4: 10 is no share"),
        ({"bounds": 5}, "is no dictionary"),
        ({"at_least": "high"}, "severity_rules.at_least: 'high' is no severity"),
    ],
)
def test_bad_rules_are_refused(raw, told):
    with pytest.raises(InputError, match=told.replace("[", r"\[")):
        read_rules(raw)
    assert read_rules({}) == Rules()
