# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""max_total: the newest that fit stay, together with the other bounds, and limits (L5, B9)."""

from __future__ import annotations

import os
import random
import time
import tracemalloc

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._logs import caps, cleanup, policy, writers


@pytest.fixture
def logs(tmp_path):
    """Ten logs of 100 bytes, a.log the newest, each a day older than the one before."""
    folder = tmp_path / "logs"
    folder.mkdir()
    for days, name in enumerate("abcdefghij", 1):
        path = folder / f"{name}.log"
        path.write_bytes(b"x" * 100)
        os.utime(path, (time.time() - days * 86400,) * 2)
    return folder


def left(folder):
    """The letters of the logs that stay."""
    return "".join(sorted(path.stem for path in folder.rglob("*.log")))


@pytest.mark.parametrize(
    ("options", "stay"),
    [
        ({"max_total": "1000"}, "abcdefghij"),
        ({"max_total": "999"}, "abcdefghi"),
        ({"max_total": "450"}, "abcd"),
        ({"max_total": "0"}, ""),
        ({"max_total": "450", "keep_newest": 6}, "abcdef"),
        ({"max_total": "450", "older_than": "60h"}, "ab"),
        ({"max_total": "450", "older_than": "8d"}, "abcd"),
        ({"max_total": "450", "larger_than": "1kB"}, "abcd"),
        ({"max_total": "450", "exclude": ["h*", "i*", "j*"]}, "abcdhij"),
    ],
)
def test_the_newest_that_fit_stay(logs, policies, act, options, stay):
    act(policies({"folder": logs, **options}))
    assert left(logs) == stay
    assert act(policies({"folder": logs, **options}))[0].files == 0


def test_the_cap_is_over_all_folders_and_what_is_held_open_counts(logs, policies, act):
    (logs / "sub").mkdir()
    for name in "bdf":
        (logs / f"{name}.log").rename(logs / "sub" / f"{name}.log")
    with (logs / "j.log").open("a"):
        act(policies({"folder": logs, "recurse": True, "max_total": "500"}))
    assert left(logs) == "abcdej"


def test_what_an_earlier_policy_takes_does_not_count(logs, policies, act):
    act(policies({"folder": logs, "older_than": "80h", "patterns": ["[a-h].log"]}, {"folder": logs, "name": "q", "max_total": "450"}))  # fmt: skip
    assert left(logs) == "abci"


def test_files_of_one_time_go_one_by_one(logs, policies, act):
    for path in logs.iterdir():
        os.utime(path, (1, 1))
    act(policies({"folder": logs, "max_total": "750"}))
    assert len(left(logs)) == 7


def test_a_cap_that_passes_a_limit_is_refused_with_its_plan(tmp_path, logs, policies, run_command):
    parsed = policies({"folder": logs, "max_total": "450"})
    work = cleanup.Work(parsed, policy.Limits(5, 1 << 30, 100))
    result = cleanup.run(work, str(tmp_path / "state"), run_command, False)
    assert (result["status"], result["changed"], left(logs)) == ("critical", False, "abcdefghij")
    assert result["outcomes"][0]["details"]["plan"]["files"] == 6
    assert len(result["outcomes"][0]["details"]["plan"]["first"]) == 6


def test_the_cut_is_that_of_sorting():
    pseudo = random.Random(7)
    for _round in range(200):
        files = [
            (pseudo.choice((pseudo.randrange(10), pseudo.randrange(2**61))), pseudo.randrange(50))
            for _each in range(40)
        ]
        limit = pseudo.randrange(1500)
        sizes = caps.Sizes()
        for file in files:
            sizes.add(*file)
        cap = sizes.cap(limit)
        kept = [file for file in files if cap is None or not cap.passed(*file)]
        assert sum(size for _mtime, size in kept) <= limit
        gone = [file for file in files if file not in kept]
        if gone:
            newest = max(mtime for mtime, _size in gone)
            assert all(mtime >= newest for mtime, _size in kept)
            whole = sum(size for mtime, size in files if mtime >= newest)
            assert whole > limit


def test_a_million_files_take_sixteen_bytes_each():
    tracemalloc.start()
    sizes = caps.Sizes()
    for number in range(100_000):
        sizes.add(10**18 + number * 7919 % 10**9, 100)
    assert sizes.cap(5_000_000) is not None
    assert tracemalloc.get_traced_memory()[1] < 3_000_000
    tracemalloc.stop()


def test_writers_are_looked_at_anew_while_a_long_run_goes_on(tmp_path):
    watch = writers.Watch()
    assert not any(inode == tmp_path.stat().st_ino for _device, inode in watch.files())
    with (tmp_path / "a").open("w") as stream:
        status = os.fstat(stream.fileno())
        end = time.monotonic() + 60
        while (status.st_dev, status.st_ino) not in watch.files():
            assert time.monotonic() < end
            time.sleep(0.1)
