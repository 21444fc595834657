# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which copies are proven anew, in which order, at what cost, and what recovery takes (D4)."""

from __future__ import annotations

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _choice, _manifest, _recovery
from ansible_collections.sre.runbooks.plugins.module_utils._backup._catalog import Copy
from ansible_collections.sre.runbooks.plugins.module_utils._backup._choice import Budget, Candidate, Cost

NOW = 1_000_000.0


def record(level="restored", ok=True, ago=0.0, seconds=1.0, **figures):
    return {
        "level": level, "ok": ok, "time": _manifest.timestamp(NOW - ago), "duration_seconds": seconds, "figures": figures,
    }  # fmt: skip


def document(*records, size=1000, **changes):
    return {"size_bytes": size, "verifications": list(records), **changes}


def copy(name, created=0.0, level="restored", failed=False):
    return Copy("x", "sqlite", f"/b/{name}", f"/b/{name}.manifest.json", created, 1000, level, failed)


def candidate(name, attempted, created=0.0, seconds=1.0, size=10):
    return Candidate(copy(name, created), attempted, Cost(seconds, size))


@pytest.mark.parametrize(
    ("level", "records", "ago"),
    [
        ("restored", [], None),
        ("restored", [record("checksum", ago=5)], None),
        ("restored", [record("archive", ago=5), record("restored", ago=50)], 50),
        ("archive", [record("archive", ago=50), record("restored", ago=5), record("checksum", ago=1)], 5),
        ("checksum", [record("restored", ago=5), record("checksum", ago=9)], 5),
        # A verification that failed is one too, or a bad copy would take every run's time.
        ("restored", [record(ok=False, ago=5)], 5),
        ("restored", [record(ago=-5)], None),
        ("restored", [record(ago=-5), record(ago=70)], 70),
        ("restored", [record("of a later release", ago=5)], None),
    ],
)
def test_when_a_copy_was_last_verified(level, records, ago):
    assert _choice.attempted(document(*records), level, NOW) == (None if ago is None else NOW - ago)


@pytest.mark.parametrize(
    ("candidates", "interval", "order"),
    [
        ([("a", 5), ("b", 3), ("c", 9)], None, "bac"),
        ([("a", 5), ("b", None), ("c", 9)], None, "bac"),
        ([("old", None, 1), ("new", None, 2)], None, ["new", "old"]),
        ([("a", NOW - 10), ("b", NOW - 11), ("c", NOW - 9)], 10, "ba"),
        ([("a", NOW - 10), ("b", None)], 1000, "b"),
        ([("a", NOW)], 0, "a"),
        ([], None, ""),
        # Over all names, and the same whatever order the folders are read in.
        ([("b/1", 5), ("a/1", 5)], None, ["a/1", "b/1"]),
    ],
)
def test_what_was_verified_longest_ago_comes_first(candidates, interval, order):
    found = _choice.due([candidate(*each) for each in candidates], interval, NOW)
    assert [each.copy.path.removeprefix("/b/") for each in found] == list(order)


@pytest.mark.parametrize(
    ("level", "own", "siblings", "interrupted", "expected"),
    [
        ("restored", [record(seconds=7), record("checksum", seconds=1)], [], 0, 7),
        ("restored", [record(seconds=7), record(seconds=9)], [], 0, 9),
        # One that failed ended early.
        ("restored", [record(seconds=7), record(ok=False, seconds=0.1)], [], 0, 7),
        ("restored", [], [document(record(seconds=4), size=500), document(record(seconds=100), size=1)], 0, 8),
        ("restored", [], [document(record(seconds=4), size=9000)], 0, 4),
        ("archive", [record(seconds=7)], [], 0, 0.5 + 1000 / 50e6),
        ("checksum", [], [], 0, 0.5 + 1000 / 100e6),
        ("restored", [record(seconds=7)], [], 2, 7),
        ("restored", [record(seconds=7)], [], 60, 120),
    ],
)
def test_what_a_verification_costs_is_told_from_what_was_measured(level, own, siblings, interrupted, expected):
    found = _choice.cost(document(*own), level, siblings, interrupted)
    assert found.seconds == pytest.approx(expected)


@pytest.mark.parametrize(
    ("level", "source", "expected"),
    [
        ("restored", 5000, 5000),
        ("restored", 10, 1000),
        ("archive", 5000, 1000),
        ("restored", "much", 1000),
        ("restored", None, 1000),
    ],
)
def test_a_restored_copy_takes_the_room_of_its_source(level, source, expected):
    assert _choice.cost(document(source_bytes=source), level, []).bytes == expected


def spent(candidates, budget, actual=None):
    """The names that are proven, and those that wait with whether they always will."""
    proven = []

    def prove(each):
        proven.append(each.copy.path[3:])
        return each.cost if actual is None else actual

    waiting = _choice.spend([candidate(*each) for each in candidates], budget, prove)
    return proven, [(each.candidate.copy.path[3:], each.never) for each in waiting]


@pytest.mark.parametrize(
    ("candidates", "budget", "proven", "waiting"),
    [
        ([("a", 1), ("b", 2)], Budget(), "ab", []),
        ([("a", 1, 0, 6), ("b", 2, 0, 6)], Budget(10), "a", [("b", False)]),
        # A smaller one may still fit; a larger one begins the next run.
        ([("a", 1, 0, 6), ("b", 2, 0, 6), ("c", 3, 0, 4)], Budget(10), "ac", [("b", False)]),
        ([("a", 1, 0, 11), ("b", 2, 0, 6)], Budget(10), "b", [("a", True)]),
        ([("a", 1, 0, 1, 60), ("b", 2, 0, 1, 60), ("c", 3, 0, 1, 101)], Budget(None, 100), "a", [("b", False), ("c", True)]),
        ([("a", 1, 0, 1, 60), ("b", 2, 0, 20, 1)], Budget(10, 100), "a", [("b", True)]),
        ([("a", 1, 0, 10, 100)], Budget(10, 100), "a", []),
    ],
)  # fmt: skip
def test_a_budget_is_kept(candidates, budget, proven, waiting):
    assert spent(candidates, budget) == (list(proven), waiting)


def test_the_budget_is_spent_by_what_was_really_taken():
    candidates = [("a", 1, 0, 1), ("b", 2, 0, 1)]
    assert spent(candidates, Budget(10), Cost(9.5, 0)) == (["a"], [("b", False)])
    assert spent(candidates, Budget(10), Cost(20, 0)) == (["a"], [("b", False)])


def test_a_manifest_keeps_the_first_the_best_and_the_newest_verifications():
    made = document(record("checksum"), record("restored", seconds=2), record("archive"))
    for number in range(100):
        _manifest.record(made, record("checksum", ok=number % 2 == 0, seconds=number))
    kept = made["verifications"]
    assert len(kept) == 3 + _manifest.NEWEST
    assert [each["level"] for each in kept[:3]] == ["checksum", "restored", "archive"]
    assert [each["duration_seconds"] for each in kept[3:]] == list(range(70, 100))


def pair(created, *records, level="restored", failed=False):
    return copy(str(created), created, level, failed), document(*records)


@pytest.mark.parametrize(
    ("copies", "level", "point", "restore"),
    [
        ([], "restored", None, None),
        ([pair(NOW - 5, record(restore_seconds=3))], "restored", 5, 3),
        ([pair(NOW - 9, record(restore_seconds=3)), pair(NOW - 5, record(restore_seconds=4))], "restored", 5, 4),
        # The newest restore counts, of whichever copy.
        ([pair(NOW - 9, record(ago=1, restore_seconds=3)), pair(NOW - 5, record(ago=4, restore_seconds=4))], "restored", 5, 3),
        ([pair(NOW - 5, level="checksum"), pair(NOW - 9, record(seconds=2))], "restored", 9, 2),
        ([pair(NOW - 5, level="checksum"), pair(NOW - 9, record(seconds=2))], "checksum", 5, 2),
        ([pair(NOW - 5, record(restore_seconds=3), failed=True)], "restored", None, None),
        ([pair(NOW + 5, record(restore_seconds=3)), pair(NOW - 9, record(seconds=2))], "restored", 9, 2),
        ([pair(NOW - 9, record(restore_seconds=1), record(ago=-5, restore_seconds=7))], "restored", 9, 1),
        ([pair(NOW - 9, record(restore_seconds="1 s"))], "restored", 9, None),
        ([pair(NOW - 9, record(restore_seconds=float("nan")))], "restored", 9, None),
        ([pair(NOW - 9, record(ok=False, restore_seconds=1), record(restore_seconds=2))], "restored", 9, 2),
    ],
)  # fmt: skip
def test_recovery_is_what_was_measured_of_copies_that_are_good(copies, level, point, restore):
    found = _recovery.measure(copies, level, NOW)
    assert (found.point_seconds, found.time_seconds) == (point, restore)


@pytest.mark.parametrize(
    ("options", "name", "general", "expected"),
    [
        (None, "x", True, (None, None)),
        ({"recovery_time": "1h"}, "x", True, (3600, None)),
        ({"recovery_time": "1h"}, "x", False, (None, None)),
        ({"recovery_time": "1h", "names": {"x": {"recovery_point": "1d"}}}, "x", True, (3600, 86400)),
        ({"recovery_time": "1h", "names": {"x": {"recovery_time": "5m"}}}, "x", True, (300, None)),
        ({"recovery_time": "1h", "names": {"x": {"recovery_time": "5m"}}}, "y", True, (3600, None)),
        ({"recovery_time": "1h", "names": {"x": {"recovery_time": "0s"}}}, "x", False, (0, None)),
    ],
)
def test_a_target_of_ones_own_comes_first(options, name, general, expected):
    assert _recovery.targets(options).of(name, general) == expected
