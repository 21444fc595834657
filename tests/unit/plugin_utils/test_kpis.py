# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""KPIs: definitions that are read or refused, and what observations make of them (R4)."""

from __future__ import annotations

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.plugin_utils import kpis
from ansible_collections.sre.runbooks.plugins.plugin_utils._spread import Spread
from ansible_collections.sre.runbooks.plugins.plugin_utils.figures import Figure, Moment, Statuses
from ansible_collections.sre.runbooks.plugins.plugin_utils.kpi_measure import Collector, measure, of_incidents
from ansible_collections.sre.runbooks.plugins.plugin_utils.kpi_rows import direction, row, thinned
from ansible_collections.sre.runbooks.plugins.plugin_utils.period import ending, parse, show

GOOD = {
    "name": "speed",
    "target": "< 200ms",
    "unit": "seconds",
    "from": {"stage": "health", "metric": "response_seconds"},
}
UNTIL = parse("2026-11-20T09:00:00Z")
WEEK = ending("weekly", UNTIL)
COUNTS = {"ok": 0, "skipped": 0, "unknown": 0, "warning": 0, "critical": 0}


def test_the_kpis_of_r4_are_there_with_their_targets():
    assert {kpi.name: kpi.target_text for kpi in kpis.shipped()} == {
        "uptime": "> 99.9",
        "response_time": "< 0.2",
        "error_rate": "< 0.1",
        "throughput": "> 1000",
        "time_to_detect": "< 300",
        "time_to_resolve": "< 900",
        "deployment_frequency": ">= 1",
        "change_failure_rate": "< 5",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "No"}, r"kpis\[0\]\.name: 'No' is no name\. Use lower-case"),
        ({"name": None}, r"kpis\[0\]\.name: None is no name"),
        ({"targte": 1}, r"kpis\[0\]: 'targte' is no option of a KPI\. Use some of name, title, unit, target"),
        ({"unit": "ms"}, r"kpis\[0\] \(speed\)\.unit: 'ms' is no unit\. Use one of percent"),
        ({"target": "fast"}, r"kpis\[0\] \(speed\)\.target: 'fast' is no threshold"),
        ({"target": "> 1 for 5m"}, r"\.target: '> 1 for 5m' is no target\. Write one comparison"),
        ({"target": ["> 1", "< 0"]}, r"\.target: .* is no target"),
        ({"budget": "yes"}, r"\.budget: 'yes' is neither true nor false"),
        ({"from": []}, r"\.from: \[\] is no source of figures\. Write it as"),
        ({"from": "health"}, r"\.from: 'health' is no source"),
        ({"from": {"metric": "a"}}, r"\.from\[0\]\.stage: None is no stage\. Name the stage"),
        ({"from": {"stage": "health"}}, r"has not exactly one of metric and status"),
        ({"from": {"stage": "health", "status": "fine"}}, r"\.status: 'fine' is not known\. Use one of ok"),
        (
            {"from": {"stage": "health", "metric": "a", "statistic": "p97"}},
            r"\.statistic: 'p97' is not known\. Use one of mean",
        ),
        (
            {"from": {"stage": "health", "status": "ok", "statistic": "p95"}},
            r"\.statistic: 'p95' is not known\. Use one of time, share",
        ),
        ({"from": {"stage": "health", "metric": []}}, r"\.metric: \[\] is no text"),
        ({"from": {"stage": "health", "metric": "a", "scale": "x"}}, r"\.scale: 'x' is no number"),
        ({"from": {"stage": "health", "metric": "a", "per": "1y"}}, r"\.per: '1y' is no duration"),
        ({"from": {"incidents": "mood"}}, r"\.incidents: 'mood' is not known\. Use one of detect_seconds"),
        (
            {"from": {"incidents": "detect_seconds", "stage": "health"}},
            r"'stage' is no option of a source of incidents",
        ),
    ],
)
def test_a_wrong_definition_names_option_value_and_remedy(change, message):
    with pytest.raises(InputError, match=message):
        kpis.read_kpis([{**GOOD, **change}])


@pytest.mark.parametrize("raw", [None, "uptime", {"name": "x"}])
def test_what_is_no_list_is_refused(raw):
    with pytest.raises(InputError, match=r"kpis: .* is no list"):
        kpis.read_kpis(raw)


def test_a_kpi_of_the_site_takes_the_place_of_a_shipped_one_or_takes_it_away():
    own = kpis.read_kpis(
        [{**GOOD, "name": "uptime", "systems": ["F11"]}, {"name": "throughput", "enabled": False}, GOOD]
    )
    found = {kpi.name: kpi for kpi in kpis.merged(own)}
    assert found["uptime"].unit == "seconds"
    assert [found["uptime"].holds_for(system) for system in ("F11", "GHO")] == [True, False]
    assert "throughput" not in found
    assert "speed" in found


def run(day: float) -> Moment:
    seconds = UNTIL.timestamp() - 86400 * day
    return Moment(1000 - int(day * 10), show(parse("2026-11-20T09:00:00Z")), seconds, "daily")


def statuses(moment, subject="http:api", stage="health", **counts):
    return Statuses(moment.number, "F11", stage, subject, {**COUNTS, **counts})


def figure(moment, metric, *values, subject="http:api", stage="health"):
    spread = Spread()
    for value in values:
        spread.add(value)
    return Figure(moment.number, "F11", stage, subject, metric, True, spread.count, spread.total, spread.text())


def value_of(source, runs, *said, before=()):
    """Measure `source` (as it is written) over `runs`, the newest of which ends the week."""
    definition = {"name": "x", "from": source}
    (kpi,) = kpis.read_kpis([definition])
    collector = Collector({"F11": [kpi]})
    for each in said:
        collector.add(each)
    (found,) = kpi.sources
    earlier = collector.cells("F11", found, before)
    last, baseline = earlier[-1] if earlier else (None, None)
    return measure(found, collector.cells("F11", found, runs), last, baseline, WEEK)


UP = {"stage": "health", "subject": "http:api", "status": ["ok", "warning"]}


def test_uptime_weighs_an_observation_by_the_time_since_the_one_before():
    runs = [run(6), run(5.5), run(5.25)]
    said = [statuses(runs[0], ok=1), statuses(runs[1], critical=1), statuses(runs[2], warning=1)]
    found = value_of(UP, runs, *said)
    # A day since the beginning, half a day that was bad, a quarter.
    assert found.covered == 1.75 * 86400
    assert found.value == pytest.approx(100 * 1.25 / 1.75)
    assert "3 observations in 3 runs" in found.how
    assert "42.0 h of 7.0 d known" in found.how


def test_an_observation_stands_for_a_day_at_most_and_not_for_what_was_before_the_period():
    early, late = run(6.9), run(1)
    found = value_of(UP, [early, late], statuses(early, ok=1), statuses(late, ok=1))
    assert found.covered == pytest.approx(1.1 * 86400)
    earlier = run(7.5)
    found = value_of(UP, [early], statuses(earlier, ok=1), statuses(early, ok=1), before=[earlier])
    assert found.covered == pytest.approx(0.1 * 86400)


def test_unknown_and_skipped_say_nothing_of_what_was_to_be_looked_at():
    only = run(1)
    assert value_of(UP, [only], statuses(only, unknown=3, skipped=1)) is None
    assert value_of(UP, [only], statuses(only, ok=1, unknown=3)).value == 100


def test_a_host_that_did_not_answer_is_down_as_far_as_its_observation_is_missing():
    first, second, third = run(3), run(2), run(1)
    said = [
        statuses(first, ok=2),
        statuses(second, ok=1),
        statuses(second, "host", "roll_call", critical=1),
        statuses(third, "host", "roll_call", critical=2),
    ]
    found = value_of({**UP, "statistic": "share"}, [first, second, third], *said)
    assert [value for _at, value in found.points] == [100, 50, 0]
    # A host without the check that is silent takes nothing away.
    found = value_of(UP, [first], statuses(first, ok=2), statuses(first, "host", "roll_call", critical=5))
    assert found.value == 100


@pytest.mark.parametrize(
    ("statistic", "value"),
    [("mean", 2.75), ("p50", 2), ("p95", 5), ("min", 1), ("max", 5), ("last", 4), ("sum", 11), ("positive", 4)],
)
def test_statistics_are_over_all_observations_of_the_period(statistic, value):
    first, second = run(3), run(1)
    said = [figure(first, "a", 1.0, 2.0), figure(second, "a", 3.0, 5.0), figure(second, "b", 9.0)]
    found = value_of({"stage": "health", "metric": "a", "statistic": statistic}, [first, second], *said)
    assert found.value == value
    assert found.count == (2 if statistic == "last" else 4)


def test_scale_offset_and_the_first_metric_that_is_there():
    only = run(1)
    source = {"stage": "health", "metric": ["nothing", "success_rate"], "scale": -100, "offset": 100}
    assert value_of(source, [only], figure(only, "success_rate", 0.999)).value == pytest.approx(0.1)
    assert value_of(source, [only], figure(only, "success", 0.999)) is None
    assert value_of({**source, "stage": "backup"}, [only], figure(only, "success_rate", 0.999)) is None


def test_a_counter_grows_and_may_begin_anew_and_one_look_tells_nothing():
    source = {"stage": "health", "metric": "deployments_total", "statistic": "increase", "per": "1d"}
    earlier, first, second = run(8), run(3), run(1)
    said = [
        figure(earlier, "deployments_total", 10),
        figure(first, "deployments_total", 14),
        figure(second, "deployments_total", 3),
    ]
    assert value_of(source, [first, second], *said, before=[earlier]).value == pytest.approx((4 + 3) / 7)
    assert value_of(source, [first], said[1]) is None


def test_change_failures_are_of_changes_and_not_of_looks():
    first, second, third = run(3), run(2), run(1)
    source = {"stage": "migration", "metric": "applied", "statistic": "failures"}
    said = [
        statuses(first, "alembic:app", "migration", ok=1), figure(first, "applied", 0, subject="alembic:app", stage="migration"),
        statuses(second, "alembic:app", "migration", ok=1), figure(second, "applied", 2, subject="alembic:app", stage="migration"),
        statuses(third, "alembic:app", "migration", critical=1),
    ]  # fmt: skip
    found = value_of(source, [first, second, third], *said)
    assert (found.value, found.count) == (50, 2)
    assert value_of(source, [first], *said[:2]) is None
    over = {"stage": "health", "metric": "failed", "over": "all", "statistic": "sum"}
    assert value_of(over, [first], figure(first, "failed", 1), figure(first, "all", 8)).value == 12.5
    assert value_of(over, [first], figure(first, "failed", 0), figure(first, "all", 0)) is None


def test_times_of_incidents_and_none_without_one():
    (detect,) = kpis.shipped()[4].sources
    said = [{"detected": "2026-11-19T00:00:00Z", "detect_seconds": seconds} for seconds in (60.0, None, 120.0)]
    assert of_incidents(detect, said).value == 90
    assert of_incidents(detect, said[1:2]) is None


def uptime_row(value, before, covered=86400.0 * 7):
    from ansible_collections.sre.runbooks.plugins.plugin_utils.kpi_measure import Measured

    uptime = kpis.shipped()[0]
    found = [None if each is None else Measured(each, 9, "looked", covered) for each in (value, before)]
    return row(uptime, "F11", *found)


def test_a_row_says_met_direction_and_what_is_left_of_the_budget():
    found = uptime_row(99.95, 99.99)
    assert (found["met"], found["direction"], found["observations"]) == (True, "worse", 9)
    assert found["budget"] == {"allowed_seconds": 604.8, "spent_seconds": 302.4, "left_percent": 50.0}
    found = uptime_row(99.5, None)
    assert (found["met"], found["direction"], found["budget"]["left_percent"]) == (False, "new", -400.0)


def test_without_data_nothing_is_made_up():
    found = uptime_row(None, 99.9)
    assert (found["value"], found["met"], found["budget"], found["points"], found["observations"]) == (
        None,
        None,
        None,
        [],
        0,
    )
    assert found["why"].startswith("no data: nothing in health prometheus:uptime*")


@pytest.mark.parametrize(
    ("value", "before", "comparison", "unit", "found"),
    [
        (1.0, None, ">", "", "new"),
        (1.04, 1.0, ">", "", "stable"),
        (1.2, 1.0, ">", "", "better"),
        (1.2, 1.0, "<", "", "worse"),
        (1.2, 1.0, "", "", "changed"),
        (0.0, 0.0, "<", "", "stable"),
        (99.9, 99.95, ">", "percent", "worse"),
        (99.96, 99.9, ">=", "percent", "better"),
        (100.0, 100.0, ">", "percent", "stable"),
    ],
)
def test_directions(value, before, comparison, unit, found):
    assert direction(value, before, comparison, unit) == found


def test_points_are_thinned_evenly_with_the_last():
    points = [{"value": number} for number in range(1000)]
    found = thinned(points, 120)
    assert (len(found), found[0], found[-1]) == (120, points[0], points[-1])
    assert thinned(points[:5]) == points[:5]
