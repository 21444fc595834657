# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trends, what is to be done, what comes next and what it costs (R1, R2, R3)."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.plugin_utils import costs, plan, trends
from ansible_collections.sre.runbooks.plugins.plugin_utils.figures import Figure, Moment, Statuses
from ansible_collections.sre.runbooks.plugins.plugin_utils.period import ending, parse
from ansible_collections.sre.runbooks.plugins.plugin_utils.schedule import read_schedules

DOCUMENTS = Path(__file__).resolve().parents[1] / "report_documents"
WEEK = ending("weekly", parse("2026-11-20T15:00:04Z"))


@pytest.fixture
def weekly():
    with (DOCUMENTS / "weekly.json").open(encoding="utf-8") as stream:
        return json.load(stream)


def figure(run, metric, total, count=1, subject="cpu:cpu", main=True, stage="health"):
    return Figure(run, "F11", stage, subject, metric, main, count, total, "[]")


def test_trends_compare_means_of_the_main_metrics_and_say_which_way():
    moment = Moment(2, "2026-11-20T09:00:00Z", 0.0, "daily")
    found = trends.Trends({2: moment})
    for each in (
        figure(1, "cpu_percent", 100, 10),
        figure(2, "cpu_percent", 240, 12),
        figure(2, "load1_per_cpu", 5, main=False),
        figure(1, "hit_percent", 50, subject="redis:cache"),
        figure(2, "hit_percent", 90, subject="redis:cache"),
        figure(2, "widgets", 3, subject="http:business"),
        figure(1, "widgets", 2, subject="http:business"),
        figure(2, "size_bytes", 3, subject="sqlite:new"),
        figure(2, "status_code", 200, subject="http:api"),
        Statuses(1, "F11", "health", "x", {"ok": 3, "skipped": 5, "unknown": 0, "warning": 1, "critical": 0}),
        Statuses(2, "F11", "health", "x", {"ok": 1, "skipped": 0, "unknown": 1, "warning": 1, "critical": 1}),
    ):
        found.add(each)
    rows = [(row["title"], row["value"], row["before"], row["direction"], row["unit"]) for row in found.rows()]
    assert rows == [
        ("Outcomes that are not ok", 75.0, 25.0, "worse", "percent"),
        ("cpu:cpu cpu_percent", 20.0, 10.0, "worse", "percent"),
        ("http:business widgets", 3.0, 2.0, "changed", ""),
        ("redis:cache hit_percent", 90.0, 50.0, "better", "percent"),
        ("sqlite:new size_bytes", 3.0, None, "new", "bytes"),
    ]
    assert found.rows()[1]["points"] == [{"started": "2026-11-20T09:00:00Z", "value": 20.0}]
    assert found.rows()[1]["change_percent"] == 100.0


def test_actions_come_from_everything_that_is_not_as_it_should_be(weekly):
    found = plan.actions(weekly)
    told = [(each["priority"], each["what"]) for each in found]
    assert told[:3] == [
        (1, "Bring gho-old1.example.org back, or take it out of the inventory"),
        (1, "See docs/incidents.md, system unresponsive."),
        (2, "Make room for disk:/ on f11-app1.example.org"),
    ]
    assert (2, "Put stability before changes: the error budget of Uptime is spent (GHO)") in told
    assert (3, "Ask the client to renew its token; revoke the key if nobody knows it.") in told
    assert [each["priority"] for each in found] == sorted(each["priority"] for each in found)
    assert found[0]["why"] == "critical, for 7 days: unreachable: Connection timed out"
    assert found[2]["due"] == "2026-12-10"


@pytest.mark.parametrize(("left", "priority"), [(0, 1), (7, 1), (8, 2), (31, 3), (91, None), (None, None)])
def test_what_runs_out_is_pressing_by_its_date(weekly, left, priority):
    weekly.update(issues=[], kpis=[], incidents=[], capacity=[{**weekly["capacity"][0], "days_left": left}])
    found = [each["priority"] for each in plan.actions(weekly) if each["due"]]
    assert found == ([] if priority is None else [priority])


@pytest.mark.parametrize(
    ("change", "priority"),
    [
        ({"status": "critical"}, 1),
        ({"status": "warning", "since": "2026-11-19T09:00:00Z"}, 3),
        ({"status": "warning", "since": "2026-11-10T09:00:00Z"}, 2),
        ({"status": "warning", "since": "2026-11-19T09:00:00Z", "state": "returned"}, 2),
        ({"status": "unknown", "since": "2026-10-10T09:00:00Z"}, 3),
        ({"state": "resolved"}, None),
    ],
)
def test_an_issue_is_pressing_by_status_age_and_whether_it_came_back(weekly, change, priority):
    issue = {**weekly["issues"][2], "state": "open", **change}
    weekly.update(issues=[issue], kpis=[], incidents=[], capacity=[])
    assert [each["priority"] for each in plan.actions(weekly)] == ([] if priority is None else [priority])


def test_incidents_and_databases_without_a_copy_are_actions(weekly):
    incident = {**weekly["incidents"][0], "state": "open", "severity": "P1"}
    weekly.update(issues=[], kpis=[], capacity=[], incidents=[incident, {**incident, "state": "stable"}])
    weekly["systems"] = [
        {"name": "F11", "recovery": [{"status": "critical", "subject": "sqlite:a", "host": "h", "point_seconds": None}]}
    ]
    assert [(each["priority"], each["what"][:22]) for each in plan.actions(weekly)] == [
        (1, "Resolve the incident I"),
        (1, "Make a backup of sqlit"),
        (3, "Close the incident INC"),
    ]


def test_recommendations_are_the_checks_own_words_once_for_all_they_mend(weekly):
    weekly["issues"].append({**weekly["issues"][3], "subject": "rule:AUTH_003"})
    first, second = plan.recommendations(weekly["issues"])
    assert first["what"].startswith("Ask the client")
    assert first["why"] == "2 issues: rule:AUTH_002, rule:AUTH_003"
    assert second["where"] == "GHO"


def test_achievements_are_what_got_better_and_what_was_resolved(weekly):
    assert [each["what"] for each in plan.achievements(weekly)] == [
        "Uptime: 99.71 % → 99.96 % (target > 99.9 %)",
        "Error rate: 0.09 % → 0.04 % (target < 0.1 %)",
        "1 issue resolved: postgresql:ghosteam_v5 (gho-db1.example.org)",
    ]


def test_the_plan_has_schedules_what_runs_out_and_what_presses(weekly):
    raw = [
        {"name": "morning", "playbook": "daily", "at": "daily 09:00", "zone": "Europe/Madrid"},
        {"name": "friday", "playbook": "weekly", "at": "Friday 15:00", "zone": "Europe/Madrid", "hosts": "feature11"},
        {"name": "off", "playbook": "monthly", "at": "daily 10:00", "zone": "UTC", "enabled": False},
    ]
    found = plan.plan(weekly, read_schedules(raw, "schedules"), WEEK)
    assert [each["when"] for each in found if each["what"] == "daily"][:2] == [
        "2026-11-21T08:00:00Z",
        "2026-11-22T08:00:00Z",
    ]
    assert {"when": "2026-11-27T14:00:00Z", "kind": "schedule", "what": "weekly", "where": "feature11"} in found
    assert not [each for each in found if each["what"] == "monthly"]
    assert [each["what"] for each in found if each["kind"] == "capacity"] == ["disk:/ runs out (used_percent)"]
    assert [each["when"] for each in found if each["kind"] == "action"] == [None] * 2
    times = [each["when"] for each in found if each["when"]]
    assert times == sorted(times)


def test_the_summary_says_it_in_sentences(weekly):
    assert plan.summary(weekly) == [
        "4 hosts of 2 systems, 8 runs; in the last one 1 did not answer.",
        "6 of 10 measured KPIs met; not met: Uptime (GHO), Response time (p95) (GHO), Time to resolve (GHO), Deployment frequency (GHO).",
        "4 issues open (2 new, 1 from before, 1 came back), 1 resolved.",
        "1 incident: 0 open, 0 stable, 1 closed.",
        "First to run out: disk:/ on f11-app1.example.org on 2026-12-10, in 20 days.",
    ]
    weekly.update(kpis=[], incidents=[], capacity=[])
    assert plan.summary(weekly)[1] == "No KPI could be measured: nothing that they are made from was observed."


def test_costs_are_of_hosts_and_sizes_and_of_nothing_without_a_price():
    quantities = costs.Quantities({2: Moment(2, "", 0.0, "daily"), 3: Moment(3, "", 0.0, "daily")})
    for run, size in ((1, 1), (2, 5), (3, 2)):
        quantities.add(figure(run, "size_bytes", size * 2**30, subject="postgresql:a", stage="backup", main=False))
    quantities.add(figure(3, "size_bytes", 2**30, subject="directory:logs"))
    quantities.hosts["F11", True] = 3
    prices = costs.read_costs({"currency": "EUR", "host": 40, "backup_gib": 0.1, "database_gib": 1})
    month = ending("monthly", datetime.datetime(2026, 12, 1, tzinfo=datetime.UTC))
    found = costs.costs(prices, quantities, {"F11": "F11"}, month) or {}
    assert [(row["what"], row["quantity"], row["amount"], row["before"]) for row in found["rows"]] == [
        ("hosts", 3.0, 118.28, None),
        ("backups", 2.0, 0.2, 0.1),
    ]
    assert (found["total"], found["before"], found["days"]) == (118.48, 0.1, 30.0)
    assert costs.costs(costs.read_costs({}), quantities, {"F11": "F11"}, month) is None


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"host": 4}, r"costs\.currency: .* is no currency\. Write it as"),
        ({"currency": "EUR", "hots": 4}, r"costs: 'hots' is nothing that has a price"),
        ({"currency": "EUR", "host": "a lot"}, r"costs\.host: 'a lot' is no price"),
        (["EUR"], r"costs\.currency: \['EUR'\] is no currency"),
    ],
)
def test_wrong_prices_are_refused(raw, message):
    with pytest.raises(InputError, match=message):
        costs.read_costs(raw)
