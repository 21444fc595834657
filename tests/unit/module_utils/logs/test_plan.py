# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files are chosen: age, size, keep_newest, several policies, limits, and how little memory a plan takes (L5, B9)."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._logs import plan as planning
from ansible_collections.sre.runbooks.plugins.module_utils._logs.policy import Limits

NOW = 1_800_000_000.0
DAY = 86400


class File(NamedTuple):
    st_mtime_ns: int
    st_size: int = 100
    st_nlink: int = 1
    st_ino: int = 7
    st_dev: int = 1
    st_blocks: int = 8
    st_ctime_ns: int = 0


def aged(days, **more):
    return File(int((NOW - days * DAY) * 1e9), **more)


def chosen(policies, files, writing=frozenset()):
    """Offer `files` to policies that all match them; return the plan and, by policy, the names chosen."""
    plan = planning.Plan(policies)
    plan.enter(planning.Folder("/logs", 1, 1))
    chooser = planning.Chooser(plan, NOW, writing)
    for name, stat in files.items():
        plan.files += 1
        chooser.offer(name, stat, list(range(len(policies))))
    chooser.finish()
    plan.flush()
    names = [[] for _each in policies]
    for block in plan.blocks:
        names[block.rank].extend(name for name, *_rest in block.files())
    return plan, [sorted(each) for each in names]


AGES = {"a": aged(1), "b": aged(10), "c": aged(40), "d": aged(50), "future": aged(-3)}


@pytest.mark.parametrize(
    ("options", "files", "expected"),
    [
        ({"older_than": "30d"}, AGES, ["c", "d"]),
        ({"older_than": "0s"}, AGES, ["a", "b", "c", "d"]),
        ({"older_than": "30d"}, {"exactly": aged(30)}, ["exactly"]),
        ({"older_than": "30d", "keep_newest": 4}, AGES, ["d"]),
        ({"keep_newest": 2}, AGES, ["b", "c", "d"]),
        ({"keep_newest": 9}, AGES, []),
        ({"keep_newest": 1}, {"x": aged(5), "y": aged(5)}, ["x"]),
        ({"larger_than": "1kB"}, {"s": aged(1), "l": aged(1, st_size=1001), "e": aged(1, st_size=1000)}, ["l"]),
        ({"larger_than": "1kB", "older_than": "7d"}, {"new": aged(1, st_size=2000), "old": aged(9, st_size=2000)}, ["old"]),
        ({"older_than": "7d"}, {"linked": aged(9, st_nlink=2)}, []),
        ({"older_than": "7d", "action": "compress"}, {"x.gz": aged(9), "x.zst": aged(9), "0": aged(9, st_size=0), "t": aged(9)}, ["t"]),
    ],
)  # fmt: skip
def test_one_policy(policies, options, files, expected):
    _plan, (names,) = chosen(policies({"folder": "/logs", **options}), files)
    assert names == expected


def test_the_counts_of_a_policy(policies):
    files = {**AGES, "linked": aged(60, st_nlink=2), "busy": aged(60, st_ino=9)}
    plan, _names = chosen(policies({"folder": "/logs", "older_than": "30d"}), files, frozenset({(1, 9), (2, 7)}))
    tally = plan.tallies[0]
    assert (tally.files, tally.bytes, tally.chosen_files, tally.chosen_bytes) == (7, 700, 2, 200)
    assert tally.skipped == {planning.HARD_LINK: 1, planning.OPEN: 1}
    assert sorted(tally.examples) == ["/logs/c", "/logs/d"]


def test_the_first_policy_that_wants_a_file_gets_it(policies):
    two = policies(
        {"folder": "/logs", "name": "delete", "older_than": "30d"},
        {"folder": "/logs", "name": "compress", "older_than": "7d", "action": "compress"},
    )
    plan, names = chosen(two, AGES)
    assert names == [["c", "d"], ["b"]]
    assert plan.tallies[1].skipped == {"taken by policy delete": 2}
    assert plan.chosen_files == 3


def test_what_one_policy_keeps_as_newest_goes_to_the_next(policies):
    two = policies(
        {"folder": "/logs", "name": "first", "keep_newest": 2},
        {"folder": "/logs", "name": "second", "older_than": "5d", "keep_newest": 1},
    )
    _plan, names = chosen(two, {"a": aged(6), "b": aged(7), "c": aged(8)})
    assert names == [["c"], ["b"]]


@pytest.mark.parametrize(
    ("limits", "passed"),
    [
        (Limits(2, 1000, 100), 0), (Limits(1, 1000, 100), 1), (Limits(2, 199, 100), 1), (Limits(2, 1000, 39.9), 1),
        (Limits(2, 1000, 40), 0), (Limits(0, 0, 0), 3),
    ],
)  # fmt: skip
def test_limits(policies, limits, passed):
    plan, _names = chosen(policies({"folder": "/logs", "older_than": "30d"}), AGES)
    assert len(planning.passed_limits(plan, limits)) == passed


def test_nothing_to_do_passes_no_limit(policies):
    plan, _names = chosen(policies({"folder": "/logs", "older_than": "30d"}), {})
    assert planning.passed_limits(plan, Limits(0, 0, 0)) == []


def test_a_plan_holds_no_more_than_its_room_and_counts_the_rest(policies):
    plan = planning.Plan(policies({"folder": "/logs", "older_than": "30d"}), capacity=200_000)
    plan.enter(planning.Folder("/logs", 1, 1))
    for number in range(50_000):
        plan.choose(0, f"app-{number:07d}.log", aged(40, st_ino=number))
    plan.flush()
    held = sum(len(list(block.files())) for block in plan.blocks)
    assert plan.truncated
    assert held < 12_000
    assert plan.tallies[0].chosen_files == 50_000


def test_names_that_are_no_utf8_come_back_as_they_were(policies):
    _plan, (names,) = chosen(policies({"folder": "/logs", "older_than": "30d"}), {"r\udce9sum\udce9\n": aged(40)})
    assert names == ["r\udce9sum\udce9\n"]
