# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options that a source has for itself, and how a backup steps back for others (D1, D2)."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from .conftest import copies, database, tree

# Writes down with which niceness and class zstd runs, then is zstd.
SPY = '#!/bin/sh\necho "$(nice) $(ionice)" >>"{log}"\nexec {real} "$@"\n'


@pytest.fixture
def sources(tmp_path):
    """Two small databases, `plain` as the module says and `own` with what is given."""
    path = str(database(tmp_path / "app.db"))

    def go(**own):
        return {"name": "plain", "engine": "sqlite", "path": path}, {
            "name": "own",
            "engine": "sqlite",
            "path": path,
            **own,
        }

    return go


@pytest.fixture
def spy(tmp_path, monkeypatch):
    """What the packing program ran with, one line a call."""
    folder = tmp_path / "spies"
    folder.mkdir()
    (folder / "zstd").write_text(SPY.format(log=folder / "log", real=shutil.which("zstd")))
    (folder / "zstd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return lambda: (folder / "log").read_text().splitlines()


def test_interval_and_verify_of_its_own(run, store, sources):
    options = {"interval": "1d", "retention": {"keep_last": 5}}
    assert run(*sources(interval="0s", verify="archive"), **options)["status"] == "ok"
    assert run(*sources(interval="0s", verify="archive"), **options)["status"] == "ok"
    assert [len(copies(store, name)) for name in ("plain", "own")] == [1, 2]
    assert copies(store, "plain")[0][1]["verifications"][-1]["level"] == "restored"
    assert copies(store, "own")[0][1]["verifications"][-1]["level"] == "archive"


def test_retention_replaces_that_of_all_and_is_not_joined_with_it(run, store, sources):
    for _number in range(3):
        run(*sources(retention={"keep_last": 1}), retention={"keep_last": 2, "keep_hourly": 10})
    assert [len(copies(store, name)) for name in ("plain", "own")] == [2, 1]


def test_compression_limits_and_sizes_of_its_own(run, store, sources):
    result = run(*sources(compression={"algorithm": "gzip"}, minimum_size="1GB"))
    assert [each["status"] for each in result["outcomes"]] == ["ok", "warning"]
    assert "less than minimum_size" in result["outcomes"][1]["summary"]
    assert [copies(store, name)[0][0].suffix for name in ("plain", "own")] == [".zst", ".gz"]
    result = run(*sources(limits={"bytes": "1kB"}), limits={"bytes": "1GB"})
    assert [each["status"] for each in result["outcomes"]] == ["ok", "critical"]
    assert "limits.bytes is 1000 B" in result["outcomes"][1]["summary"]


def test_shrink_limit_of_its_own(run, store, sources, tmp_path):
    assert run(*sources())["status"] == "ok"
    (tmp_path / "app.db").unlink()
    database(tmp_path / "app.db", rows=60)
    result = run(*sources(shrink_limit=95))
    assert [each["status"] for each in result["outcomes"]] == ["warning", "ok"]


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"interval": "soon"}, "sources.own.interval: 'soon' is no duration"),
        ({"verify": "hoped"}, "value of verify must be one of: checksum, archive, restored"),
        ({"retention": {"keep_daily": -1}}, "sources.own.retention.keep_daily: -1 is negative"),
        ({"compression": {"level": 99}}, "sources.own.compression.level: 99 is no level of zstd"),
        ({"limits": {"seconds": "0s"}}, "sources.own.limits.seconds: '0s' is no time"),
        ({"minimum_size": "big"}, "sources.own.minimum_size: 'big' is no size"),
        ({"shrink_limit": 101}, "sources.own.shrink_limit: 101.0 is no share"),
        ({"directory": "/elsewhere"}, "directory. Supported parameters include: compression"),
    ],
)
def test_what_a_source_may_not_say_is_told_by_its_name(run, store, sources, own, message):
    result = run(*sources(**own))
    assert message in result["msg"]
    assert "sources.own" in result["msg"]
    assert not store.exists()


def test_a_mistake_in_an_option_of_all_is_told_by_the_name_of_the_option(run, sources):
    assert run(*sources(interval="1d"), minimum_size="big")["msg"].startswith("minimum_size: 'big'")


def test_programs_run_nicely_and_this_process_is_as_before(run, sources, spy):
    before = os.getpriority(os.PRIO_PROCESS, 0)
    assert run(sources()[0])["status"] == "ok"
    assert {line.split()[0] for line in spy()} == {str(max(10, before))}
    if os.geteuid() == 0:
        assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_idle_means_that_others_come_first_at_the_disk(run, sources, spy):
    assert run(sources()[0], nice=19, ionice="idle")["status"] == "ok"
    assert set(spy()) == {"19 idle"}
    ours = subprocess.check_output(["ionice", "--pid", str(os.getpid())], text=True)
    assert not ours.startswith("idle")


def test_nice_is_nice_to_others(run, sources, tmp_path):
    before = tree(tmp_path)
    assert run(sources()[0], nice=-5)["msg"].startswith("nice: -5 is no niceness to others")
    assert tree(tmp_path).keys() >= before.keys()
