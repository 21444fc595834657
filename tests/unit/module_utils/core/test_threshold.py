# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The grammar of bounds and how they judge, with `for` over several observations (H3)."""

from __future__ import annotations

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core import threshold
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError


@pytest.mark.parametrize(
    ("text", "comparison", "limit", "seconds"),
    [
        ("> 85", ">", 85, 0),
        (">85", ">", 85, 0),
        ("< 0.5", "<", 0.5, 0),
        (">= 10", ">=", 10, 0),
        ("<= -3", "<=", -3, 0),
        ("== 0", "==", 0, 0),
        ("!= 1", "!=", 1, 0),
        ("> 85 for 5m", ">", 85, 300),
        ("  >  85   for   90  ", ">", 85, 90),
        ("> 85% for 1h", ">", 85, 3600),
        ("> 85 % for 250ms", ">", 85, 0.25),
        (">= 10 MiB", ">=", 10485760, 0),
        (">= 10MiB for 2d", ">=", 10485760, 172800),
        ("> 1000 ms for 2m", ">", 1, 120),
        ("> 26h", ">", 93600, 0),
        ("> 1.5e3", ">", 1500, 0),
    ],
)
def test_parse(text, comparison, limit, seconds):
    (bound,) = threshold.parse(text, "warning")
    assert (bound.comparison, bound.limit, bound.seconds) == (comparison, pytest.approx(limit), pytest.approx(seconds))


def test_a_bound_keeps_its_text_with_single_spaces_as_the_key_of_what_is_remembered():
    assert threshold.parse("  >  85   for 5m ", "warning")[0].text == "> 85 for 5m"


def test_a_list_means_any_of_them():
    bounds = {"warning": threshold.parse(["< 0.50", "> 0.95"], "warning")}
    assert [threshold.judge(value, bounds, "k", {}, 0).status for value in (0.4, 0.5, 0.7, 0.95, 0.96)] == [
        "warning",
        "ok",
        "ok",
        "ok",
        "warning",
    ]


@pytest.mark.parametrize("nothing", [None, [], [None]])
def test_no_bound(nothing):
    assert threshold.parse(nothing, "warning") == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "85",
        85,
        0.5,
        True,
        "=> 85",
        "= 85",
        "<> 85",
        "> > 85",
        "> eighty",
        ">",
        "> 85 for",
        "> 85 for ever",
        "> 85 for -5m",
        "> 85 for 5 minutes",
        "> 85 for 5m for 5m",
        "> 85for 5m",
        "> 85 since 5m",
        "> nan",
        "> inf",
        "> 1e999",
        "> 10 mib",
        "> 1 MiB MiB",
        "> 85; rm -rf /",
        "85 < x",
        {"limit": 85},
        ["> 85", "x"],
        "> 85 and < 90",
    ],
)
def test_anything_else_is_refused_by_option_value_and_remedy(text):
    with pytest.raises(InputError) as caught:
        threshold.parse(text, "checks[2] (cpu).cpu_percent.warning")
    message = str(caught.value)
    wrong = "x" if isinstance(text, list) else text
    assert message.startswith(f"checks[2] (cpu).cpu_percent.warning: {wrong!r} is no threshold. ")
    assert 'Write a comparison and a number, such as "> 85 for 5m"' in message


@pytest.mark.parametrize(
    ("text", "value", "past"),
    [
        ("> 5", 5, False),
        ("> 5", 5.1, True),
        ("< 5", 5, False),
        ("< 5", 4.9, True),
        (">= 5", 5, True),
        ("<= 5", 5, True),
        ("== 5", 5, True),
        ("== 5", 5.1, False),
        ("!= 5", 5, False),
        ("!= 5", 4, True),
    ],
)
def test_operators(text, value, past):
    assert threshold.parse(text, "o")[0].passed(value) is past


def test_the_worst_level_wins_and_gives_the_reasons():
    bounds = threshold.parse_levels({"warning": "> 80", "critical": ["> 95", "> 99"]}, "o")
    assert threshold.judge(85, bounds, "k", {}, 0) == ("warning", ["> 80"], False)
    assert threshold.judge(96, bounds, "k", {}, 0) == ("critical", ["> 95"], False)
    assert threshold.judge(100, bounds, "k", {}, 0) == ("critical", ["> 95", "> 99"], False)
    assert threshold.judge(80, bounds, "k", {}, 0) == ("ok", [], False)


def observe(series, bounds, held=None):
    """Judge (time, value) after (time, value) as runs of the module do; return (status, pending) of each."""
    held = {} if held is None else held
    verdicts = [threshold.judge(value, bounds, "cpu/cpu_percent", held, now) for now, value in series]
    return [(verdict.status, verdict.pending) for verdict in verdicts]


CPU = threshold.parse_levels({"warning": "> 85 for 5m"}, "o")


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        # pending until the first observation past it is five minutes old; at exactly five minutes it counts
        ([(0, 90), (299, 90), (300, 90), (9000, 90)], [("ok", True), ("ok", True), ("warning", False), ("warning", False)]),
        # one good observation starts it anew
        ([(0, 90), (200, 80), (400, 90), (699, 90), (700, 90)],
         [("ok", True), ("ok", False), ("ok", True), ("ok", True), ("warning", False)]),
        # recovery after the alert
        ([(0, 90), (300, 90), (301, 85), (302, 90)], [("ok", True), ("warning", False), ("ok", False), ("ok", True)]),
        # the clock was set back by an hour: anew from there, not held for an hour, nor for ever
        ([(5000, 90), (1400, 90), (1699, 90), (1700, 90)], [("ok", True), ("ok", True), ("ok", True), ("warning", False)]),
    ],
    ids=["held", "interrupted", "recovered", "clock set back"],
)  # fmt: skip
def test_for(series, expected):
    assert observe(series, CPU) == expected


def test_each_bound_waits_for_its_own_time():
    bounds = threshold.parse_levels({"warning": "> 85 for 5m", "critical": ["> 99", "> 90 for 10m"]}, "o")
    series = [(0, 95), (300, 95), (600, 95), (601, 100)]
    assert observe(series, bounds) == [("ok", True), ("warning", True), ("critical", False), ("critical", False)]


def test_what_is_held_is_one_time_for_each_bound_and_goes_with_recovery():
    held = {"other/metric/warning/> 1 for 1m": 5.0}
    observe([(100, 90), (150, 95)], CPU, held)
    assert held == {"other/metric/warning/> 1 for 1m": 5.0, "cpu/cpu_percent/warning/> 85 for 5m": 100}
    observe([(160, 1)], CPU, held)
    assert held == {"other/metric/warning/> 1 for 1m": 5.0}


def test_bounds_without_for_are_not_remembered():
    held: dict[str, float] = {}
    observe([(0, 90)], threshold.parse_levels({"warning": "> 85"}, "o"), held)
    assert held == {}
