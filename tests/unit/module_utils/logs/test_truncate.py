# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Emptying logs below services that write to them, with and without O_APPEND (L5)."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._logs import cleanup, plan, policy
from ansible_collections.sre.runbooks.plugins.module_utils._logs.actions import CHANGED, MOUNTED

SERVICE = """
import os, sys
descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | (os.O_APPEND if sys.argv[2] == "append" else 0))
os.write(descriptor, b"before\\n" * 100000)
print("up", flush=True)
sys.stdin.readline()
os.write(descriptor, b"after\\n")
print("done", flush=True)
sys.stdin.read()
"""
LIMITS = policy.Limits(9, 1 << 30, 100)


@pytest.fixture
def logs(tmp_path):
    """A folder of logs."""
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


@pytest.fixture
def large(policies):
    """A policy that empties what is larger than 100 kB."""
    return lambda logs, **more: policies({"folder": logs, "action": "truncate", "larger_than": "100kB", **more})


@pytest.mark.parametrize("mode", ["append", "offset"])
def test_a_service_goes_on_writing_to_its_emptied_log(tmp_path, logs, large, run_command, mode):
    path = logs / "a.log"
    service = subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(path), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        service.stdout.readline()
        work = cleanup.Work(large(logs), LIMITS)
        result = cleanup.run(work, str(tmp_path / "state"), run_command, False)
        (outcome,) = result["outcomes"]
        assert (result["changed"], outcome["status"]) == (True, "ok")
        assert outcome["summary"].startswith("emptied 1 file")
        assert (outcome["metrics"]["files"], outcome["metrics"]["remaining_files"]) == (1, 1)
        assert ("O_APPEND" in outcome["summary"]) is (mode == "offset")
        assert path.stat().st_size == 0
        service.stdin.write("go\n")
        service.stdin.flush()
        service.stdout.readline()
        if mode == "append":
            assert path.read_bytes() == b"after\n"
        else:
            assert path.read_bytes() == bytes(700000) + b"after\n"
            os.sync()
        # A hole is not emptied again: it takes no space.
        assert not cleanup.run(work, str(tmp_path / "state"), run_command, False)["changed"]
    finally:
        service.communicate()


def test_a_log_that_grows_between_look_and_act_is_emptied_and_one_that_shrank_stays(logs, large, act):
    grows, shrinks, swapped, replaced, linked = (logs / f"{name}.log" for name in "abcde")
    for path in (grows, shrinks, swapped, replaced, linked):
        path.write_bytes(b"x" * 200_000)
    victim = logs / "victim"
    victim.write_bytes(b"v" * 200_000)

    def between():
        with grows.open("ab") as stream:
            stream.write(b"more")
        os.truncate(shrinks, 10)
        swapped.unlink()
        swapped.symlink_to(victim)
        replaced.rename(logs / "aside")
        replaced.write_bytes(b"y" * 200_000)
        os.link(linked, logs / "second")

    (done,) = act(large(logs, patterns=["?.log"]), between)
    assert (done.files, done.faults) == (1, 0)
    assert grows.stat().st_size == 0
    assert shrinks.stat().st_size == 10
    assert victim.read_bytes() == b"v" * 200_000
    assert linked.stat().st_size == 200_000
    assert sum(done.left.values()) == 4
    assert set(done.left) <= {CHANGED, plan.HARD_LINK}


def test_a_log_moved_away_and_linked_to_is_not_followed(tmp_path, logs, large, act):
    """The link leads to the very file that was looked at, which lies outside the named folder now."""
    path = logs / "a.log"
    path.write_bytes(b"x" * 200_000)

    def between():
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")

    (done,) = act(large(logs), between)
    assert (done.files, done.left) == (0, {CHANGED: 1})
    assert (tmp_path / "elsewhere").stat().st_size == 200_000


def test_what_is_empty_or_small_stays_and_a_policy_without_a_size_needs_an_unchanged_file(logs, policies, old, act):
    old(logs / "old.log", content="line\n")
    old(logs / "empty.log", content="")
    old(logs / "written.log")
    parsed = policies({"folder": logs, "action": "truncate", "keep_newest": 0})

    def between():
        with (logs / "written.log").open("a") as stream:
            stream.write("new\n")

    (done,) = act(parsed, between)
    assert (done.files, done.left) == (1, {CHANGED: 1})
    assert (logs / "written.log").read_text() == "line\nnew\n"
    assert (logs / "old.log").stat().st_size == 0


BIND = """
import sys, time
from ansible_collections.sre.runbooks.plugins.module_utils._logs import cleanup, policy, writers
logs, action = sys.argv[1:]
spec = {"name": "p", "paths": [logs], "patterns": ["*.log"], "exclude": [], "recurse": False, "larger_than": "1kB"}
more = {"archive_dir": logs + "-archive"} if action == "archive" else {}
parsed = policy.parse([{**spec, "action": action, "compression": "gzip", **more}])
done = cleanup.Done()
with writers.lease_breaks_ignored():
    cleanup.apply(cleanup.observe(parsed, time.time(), writers.look()), None, [done])
print(done.files, dict(done.left), done.failures)
"""


@pytest.mark.parametrize("action", ["delete", "compress", "archive", "truncate"])
def test_a_file_mounted_over_a_log_is_on_another_file_system(tmp_path, logs, action):
    """A real bind mount in a mount namespace: the file that is mounted there lies outside the named folder."""
    outside = tmp_path / "precious"
    outside.write_bytes(b"p" * 5000)
    (logs / "a.log").write_bytes(b"x" * 5000)
    script = f'mount --bind {outside} {logs}/a.log && exec "$@"'
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-ec", script, "sh", sys.executable, "-c", BIND, str(logs), action],
        check=False, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.stdout == f"0 {{'{MOUNTED}': 1}} []\n", done.stderr
    assert outside.read_bytes() == b"p" * 5000
    assert (logs / "a.log").read_bytes() == b"x" * 5000


def test_time_is_the_lesser_half_of_a_policy(logs, large, act):
    """Both age and size where both are given."""
    (logs / "a.log").write_bytes(b"x" * 200_000)
    assert act(large(logs, older_than="1h"))[0].files == 0
    assert act(large(logs, older_than="1h"), now=time.time() + 7200)[0].files == 1
