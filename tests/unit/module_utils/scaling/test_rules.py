# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When more or fewer instances are wanted (C6): sustained, with room between, with rest, never by silence."""

from __future__ import annotations

import random

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core import threshold
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._scaling import _rules

BOUNDS = _rules.Bounds(1, 4, 1, {"up": 180, "down": 900})
START = 1_000_000.0
CALM = {"cpu_percent": [10], "memory_percent": [20], "queue_depth": [0], "response_seconds": [0.1]}
METRICS = tuple(CALM)


def rules(**texts):
    return {
        way: {metric: threshold.parse(text, metric)[0] for metric, text in each.items()}
        for way, each in {**_rules.DEFAULTS, **texts}.items()
    }


class Host:
    """Looks every so many seconds; what it advises is done at once."""

    def __init__(self, instances=1, bounds=BOUNDS, gap=900):
        self.instances, self.bounds, self.gap, self.now = instances, bounds, gap, START
        self.memory = _rules.Memory({}, None, None)
        self.advice = None

    def look(self, minutes=1.0, act=True, doubtful=(), **figures):
        self.now += minutes * 60
        seen = {**CALM, **{metric: None if value is None else [value] for metric, value in figures.items()}}
        self.advice = _rules.advise(
            _rules.Figures(seen, doubtful), rules(), self.instances, self.bounds, self.memory, self.now, self.gap
        )
        acted = self.memory.acted
        if act and self.advice.wanted != self.instances:
            self.instances, acted = self.advice.wanted, self.now
        self.memory = self.memory._replace(seen=self.now, acted=acted)
        return self.instances


@pytest.mark.parametrize("load", [{"cpu_percent": 81}, {"memory_percent": 86}])
def test_c6_up_after_five_minutes_of_load(load):
    host = Host()
    assert [host.look(**load) for _minute in range(6)] == [1, 1, 1, 1, 1, 2]
    assert "for 5m" in host.advice.why


def test_c6_load_that_lets_up_for_one_look_begins_anew():
    host = Host()
    assert [host.look(cpu_percent=value) for value in (90, 90, 90, 90, 80, 90, 90, 90, 90, 90)] == [1] * 10
    assert host.advice.pending
    assert host.look(cpu_percent=90) == 2


@pytest.mark.parametrize("load", [{"queue_depth": 11}, {"response_seconds": 5.1}])
def test_c6_up_at_once_by_queue_and_response(load):
    assert Host().look(**load) == 2


@pytest.mark.parametrize(
    "load", [{"queue_depth": 10}, {"response_seconds": 5.0}, {"cpu_percent": 80}, {"memory_percent": 85}]
)
def test_c6_at_the_bound_nothing_happens(load):
    host = Host()
    assert [host.look(**load) for _minute in range(30)] == [1] * 30


def test_c6_down_when_all_has_been_calm_for_its_time():
    """The queue waits for 10 minutes, processor and memory for 15; then once every 15 minutes, and never below the minimum."""
    host = Host(instances=3)
    seen = [host.look() for _minute in range(60)]
    assert seen[:15] == [3] * 15
    assert seen[15] == 2
    assert seen[29] == 2
    assert seen[30] == 1
    assert seen[-1] == 1
    assert "cpu_percent is 10.0 %, bound < 30 for 15m and memory_percent" in host.advice.why


@pytest.mark.parametrize("load", [{"cpu_percent": 30}, {"memory_percent": 50}, {"queue_depth": 1}])
def test_c6_one_rule_that_does_not_hold_keeps_all(load):
    host = Host(instances=3)
    assert {host.look(**load) for _minute in range(60)} == {3}


def test_c6_hysteresis_between_the_bounds_nothing_changes():
    host = Host(instances=2)
    chance = random.Random(7)
    for _minute in range(2000):
        assert (
            host.look(
                cpu_percent=chance.uniform(30, 80),
                memory_percent=chance.uniform(50, 85),
                queue_depth=chance.randint(1, 10),
            )
            == 2
        )


def test_c6_rest_after_a_change_in_either_direction():
    host = Host()
    assert [host.look(queue_depth=20) for _minute in range(8)] == [2, 2, 2, 3, 3, 3, 4, 4]
    assert "but at most 4 may run" in host.advice.why
    assert host.advice.limited
    assert [host.look() for _minute in range(14)][-2:] == [4, 3]
    # What was taken away is added again after the shorter rest.
    assert [host.look(queue_depth=20) for _minute in range(3)] == [3, 3, 4]
    assert host.instances == 4


@pytest.mark.parametrize("metric", METRICS)
def test_c6_silence_is_no_reason_to_stop_anything(metric):
    host = Host(instances=3)
    for _minute in range(60):
        assert host.look(**{metric: None}) == 3
    assert not host.advice.known
    # When it speaks again its time begins anew; what answered all the time has waited long enough.
    assert [host.look() for _minute in range(16)][9] == (3 if metric != "response_seconds" else 2)


def test_c6_silence_of_one_does_not_hide_the_load_of_another():
    assert Host().look(cpu_percent=None, queue_depth=11) == 2
    assert Host().look(cpu_percent=None, queue_depth=3) == 1


@pytest.mark.parametrize("metric", METRICS)
def test_c6_what_is_in_doubt_speaks_for_more_and_never_for_fewer(metric):
    host = Host(instances=3)
    assert {host.look(doubtful=[metric]) for _minute in range(60)} == {3}
    assert [Host(instances=3).look(doubtful=["queue_depth"], queue_depth=11)] == [4]


def test_c6_the_limits_hold_whatever_is_measured():
    assert Host(instances=0).look(cpu_percent=None, queue_depth=None) == 1
    assert Host(instances=6).look(queue_depth=50) == 6
    assert Host(instances=6).look(queue_depth=None) == 6
    assert Host(instances=6).look(queue_depth=5) == 5
    assert Host(instances=3, bounds=BOUNDS._replace(step=5)).look(queue_depth=50) == 4
    calm = Host(instances=3, bounds=BOUNDS._replace(step=5))
    assert [calm.look() for _minute in range(16)][-1] == 1
    chance = random.Random(11)
    host = Host()
    for _minute in range(3000):
        load = {metric: chance.choice([None, 0, 20, 60, 90]) for metric in METRICS}
        before = host.instances
        assert 1 <= host.look(minutes=chance.choice([0.2, 1, 5, 20]), **load) <= 4
        assert abs(host.instances - before) <= 1
        assert host.instances >= before or None not in load.values()


def test_c6_what_was_not_looked_at_for_long_is_not_known():
    host = Host()
    assert [host.look(minutes=16, cpu_percent=95) for _look in range(10)] == [1] * 10
    assert [host.look(minutes=15, cpu_percent=95) for _look in range(2)] == [2, 3]


def test_c6_clocks_that_were_set():
    host = Host(instances=2)
    host.look(queue_depth=20)
    assert host.look(minutes=-600, queue_depth=20) == 3
    host.memory = host.memory._replace(acted=host.now)
    assert [host.look(queue_depth=20) for _minute in range(3)] == [3, 3, 4]


def test_several_values_of_one_metric_the_one_that_speaks_for_more_counts():
    for values, instances in (([10, 95], 3), ([10, 20], 2)):
        memory = _rules.Memory({}, None, None)
        for minute in range(20):
            seen = {**CALM, "cpu_percent": values}
            advice = _rules.advise(_rules.Figures(seen), rules(), 2, BOUNDS, memory, START + minute * 60, 900)
            memory = memory._replace(seen=START + minute * 60)
        assert advice.wanted == (instances if instances == 3 else 1)


@pytest.mark.parametrize(
    ("up", "down"),
    [("> 80", "< 80"), ("> 80", "< 90"), ("> 5", "> 6"), ("< 10", "> 5"), ("> 0", "== 3"), (">= 3", "<= 3")],
)
def test_c6_bounds_that_leave_no_room_are_refused(up, down):
    made = rules(up={"x": up}, down={"x": down})
    with pytest.raises(InputError, match=r"^here\.down\.x: .*leaves no room"):
        _rules.refuse_overlap(made["up"], made["down"], "here")


@pytest.mark.parametrize(("up", "down"), [("> 80 for 5m", "< 30 for 15m"), ("< 1 GiB", "> 4 GiB"), ("> 10", "== 0")])
def test_c6_bounds_with_room_between(up, down):
    made = rules(up={"x": up}, down={"x": down})
    _rules.refuse_overlap(made["up"], made["down"], "here")
