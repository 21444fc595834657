# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking through folders: no link followed, no other file system, races between the look and the act (L5)."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._logs import cleanup, folders, plan, writers
from ansible_collections.sre.runbooks.plugins.module_utils._logs.actions import CHANGED

OLD = {"older_than": "30d"}


def names_in(folder):
    """Names in a folder, in order; undecodable ones as Python has them."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(autouse=True, params=["each file asked of the kernel", "many files"])
def _size_of_the_run(request, monkeypatch):
    """Small runs ask the kernel about each file; large ones look at processes now and then, and delete in threads."""
    if request.param == "many files":
        monkeypatch.setattr(cleanup, "EXACT", 0)
        monkeypatch.setattr(os, "cpu_count", lambda: 4)


@pytest.fixture
def logs(tmp_path):
    """A folder of logs."""
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


@pytest.fixture
def precious(tmp_path, old):
    """A folder that no policy names, with an old file that its patterns match."""
    folder = tmp_path / "precious"
    folder.mkdir()
    old(folder / "a.log.1", content="precious\n")
    return folder


def test_planted_links_are_left_alone(logs, precious, policies, old, act):
    (logs / "link.log").symlink_to(precious / "a.log.1")
    (logs / "folder.log").symlink_to(precious)
    os.link(precious / "a.log.1", logs / "hard.log")
    os.mkfifo(logs / "pipe.log")
    old(logs / "gone.log")
    parsed = policies({"folder": logs, "recurse": True, **OLD})
    looked = cleanup.observe(parsed, time.time(), writers.look())
    assert looked.tallies[0].skipped == {folders.SYMLINK: 2, folders.SPECIAL: 1, plan.HARD_LINK: 1}
    (done,) = act(parsed)
    assert done.files == 1
    assert names_in(logs) == ["folder.log", "hard.log", "link.log", "pipe.log"]
    assert (precious / "a.log.1").read_text() == "precious\n"


@pytest.mark.parametrize("place", ["itself", "on the way"])
def test_a_policys_folder_behind_a_link_is_not_followed(tmp_path, precious, policies, act, place):
    if place == "itself":
        named = tmp_path / "logs"
        named.symlink_to(precious)
    else:
        (tmp_path / "way").symlink_to(tmp_path)
        named = tmp_path / "way" / "precious"
    parsed = policies({"folder": named, **OLD})
    looked = cleanup.observe(parsed, time.time(), writers.look())
    assert "symbolic link" in looked.tallies[0].problems[0]
    assert act(parsed)[0].files == 0
    assert (precious / "a.log.1").exists()


@pytest.mark.parametrize("kind", ["missing", "file", "below a file"])
def test_a_folder_that_is_none_is_named_and_the_others_are_cleaned(tmp_path, logs, policies, old, act, kind):
    old(logs / "a.log")
    wrong = tmp_path / "wrong"
    if kind != "missing":
        wrong.write_text("")
    named = wrong / "below" if kind == "below a file" else wrong
    parsed = policies({"folder": logs, "paths": [str(named), str(logs)], **OLD})
    looked = cleanup.observe(parsed, time.time(), writers.look())
    (problem,) = looked.tallies[0].problems
    assert problem.startswith(f"{named}: ")
    assert act(parsed)[0].files == 1


def test_a_file_swapped_for_a_link_between_look_and_act(logs, precious, policies, old, act):
    old(logs / "a.log")

    def swap():
        (logs / "a.log").unlink()
        (logs / "a.log").symlink_to(precious / "a.log.1")

    (done,) = act(policies({"folder": logs, **OLD}), swap)
    assert (done.files, done.left) == (0, {CHANGED: 1})
    assert (logs / "a.log").is_symlink()
    assert (precious / "a.log.1").exists()


@pytest.mark.parametrize("action", ["delete", "compress"])
@pytest.mark.parametrize("change", ["append", "touch", "replace", "link", "vanish", "reopen"])
def test_a_file_that_changed_between_look_and_act_stays(logs, policies, old, act, action, change):
    path = old(logs / "a.log")
    held = []

    def do():
        if change == "append":
            stamp = path.stat()
            path.write_text("line\nanother\n")
            os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        elif change == "touch":
            os.utime(path)
        elif change == "replace":
            stamp = path.stat()
            other = logs / "other"
            other.write_text("other\n"[: stamp.st_size])
            os.utime(other, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
            other.rename(path)
        elif change == "link":
            os.link(path, logs / "second")
        elif change == "vanish":
            path.unlink()
        else:
            held.append(path.open("a"))

    (done,) = act(policies({"folder": logs, "action": action, **OLD}), do)
    for stream in held:
        stream.close()
    assert (done.files, done.faults, sum(done.left.values())) == (0, 0, 1)
    assert path.exists() is (change != "vanish")
    assert not list(logs.glob("*.zst"))


@pytest.mark.parametrize("becomes", ["another folder", "a link", "nothing"])
def test_a_folder_replaced_between_look_and_act(tmp_path, logs, precious, policies, old, act, becomes):
    old(logs / "a.log.1")

    def swap():
        logs.rename(tmp_path / "moved")
        if becomes == "another folder":
            precious.rename(logs)
        elif becomes == "a link":
            logs.symlink_to(precious)

    (done,) = act(policies({"folder": logs, **OLD}), swap)
    assert done.files == 0
    assert (tmp_path / "moved" / "a.log.1").exists()
    kept = logs if becomes == "another folder" else precious
    assert (kept / "a.log.1").read_text() == "precious\n"


def test_a_file_open_for_writing_stays_and_one_open_for_reading_goes(logs, policies, old, act):
    written, read = old(logs / "written.log"), old(logs / "read.log")
    with written.open("a"), read.open():
        (done,) = act(policies({"folder": logs, **OLD}))
    assert done.files == 1
    assert names_in(logs) == ["written.log"]


@pytest.mark.parametrize("action", ["delete", "compress", "archive"])
def test_a_writer_whose_process_cannot_be_seen_is_known_to_the_kernel(
    tmp_path, logs, policies, old, act, monkeypatch, action
):
    """As for another user than root, and for a writer that comes after the look at processes."""
    monkeypatch.setattr(writers, "look", lambda: writers.Writers(frozenset(), 1))
    monkeypatch.setattr(cleanup, "EXACT", 10)
    more = {"archive_dir": str(tmp_path / "archive")} if action == "archive" else {}
    with old(logs / "a.log").open("a"):
        (done,) = act(policies({"folder": logs, "action": action, **more, **OLD}))
    assert (done.files, done.left) == (0, {plan.OPEN: 1})
    assert names_in(logs) == ["a.log"]


@pytest.mark.parametrize("goal", ["compress", "archive"])
def test_a_line_written_just_before_the_log_moves_aside_brings_it_back(
    tmp_path, logs, policies, old, act, monkeypatch, goal
):
    """Where the kernel grants no leases and the writer cannot be seen, as on some network file systems."""
    monkeypatch.setattr(writers, "look", lambda: writers.Writers(frozenset(), 1))
    monkeypatch.setattr(writers, "lease", lambda _descriptor: None)
    path = old(logs / "a.log")
    rename, more = os.rename, {"archive_dir": str(tmp_path / "archive")} if goal == "archive" else {}
    with path.open("a") as stream:

        def late(*arguments, **options):
            stream.write("late\n")
            stream.flush()
            rename(*arguments, **options)

        monkeypatch.setattr(os, "rename", late)
        (done,) = act(policies({"folder": logs, "action": goal, **more, **OLD}))
    assert (done.files, done.left) == (0, {CHANGED: 1})
    assert names_in(logs) == ["a.log"]
    assert path.read_text() == "line\nlate\n"


OTHER = """
import os, subprocess, sys, time
from ansible_collections.sre.runbooks.plugins.module_utils._logs import cleanup, policy, writers
logs = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "none", logs + "/mounted"], check=True)
for path in (logs + "/a.log", logs + "/mounted/a.log"):
    open(path, "w").close()
    os.utime(path, (1, 1))
spec = {"name": "p", "paths": [logs], "patterns": ["*.log"], "exclude": [], "recurse": True, "older_than": "30d"}
plan = cleanup.observe(policy.parse([{**spec, "action": "delete", "compression": "zstd"}]), time.time(), writers.look())
done = cleanup.Done()
with writers.lease_breaks_ignored():
    cleanup.apply(plan, None, [done])
print(done.files, dict(plan.tallies[0].skipped), os.listdir(logs + "/mounted"))
"""


def test_another_file_system_below_is_not_entered(logs):
    """A real file system, mounted in a mount namespace."""
    (logs / "mounted").mkdir()
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", sys.executable, "-c", OTHER, str(logs)],
        check=False, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.stdout == f"1 {{'{folders.OTHER_FILE_SYSTEM}': 1}} ['a.log']\n", done.stderr


def test_recursion_is_asked_for_and_leaves_excluded_folders_out(logs, policies, old, act):
    for name in ("", "sub", "sub/deep", "keep"):
        (logs / name).mkdir(exist_ok=True)
        old(logs / name / "a.log")
    act(policies({"folder": logs, **OLD}))
    assert sorted(path.relative_to(logs).as_posix() for path in logs.rglob("*.log")) == [
        "keep/a.log",
        "sub/a.log",
        "sub/deep/a.log",
    ]
    act(policies({"folder": logs, "recurse": True, "exclude": ["keep"], **OLD}))
    assert [path.relative_to(logs).as_posix() for path in logs.rglob("*.log")] == ["keep/a.log"]


def test_policies_whose_folders_lie_in_one_another_share_the_files_in_their_order(logs, policies, old):
    (logs / "sub").mkdir()
    old(logs / "sub" / "a.log")
    parsed = policies(
        {"folder": logs / "sub", "name": "inner", **OLD}, {"folder": logs, "name": "outer", "recurse": True, **OLD}
    )
    looked = cleanup.observe(parsed, time.time(), writers.look())
    assert [tally.chosen_files for tally in looked.tallies] == [1, 0]
    assert looked.tallies[1].skipped == {"taken by policy inner": 1}
    assert looked.files == 1


def test_what_does_not_fit_into_the_plan_is_done_in_further_rounds(
    logs, policies, old, run_command, monkeypatch, tmp_path
):
    for number in range(30):
        old(logs / f"{number}.log")
    monkeypatch.setattr(plan, "BLOCK", 4)
    monkeypatch.setattr(plan.Plan.__init__, "__defaults__", (2000,))
    parsed = policies({"folder": logs, **OLD})
    looked = cleanup.observe(parsed, time.time(), writers.look())
    assert looked.truncated
    limits = cleanup_limits()
    result = cleanup.run(cleanup.Work(parsed, limits), str(tmp_path / "state"), run_command, False)
    assert result["outcomes"][0]["metrics"]["files"] == 30
    assert names_in(logs) == []


def cleanup_limits():
    from ansible_collections.sre.runbooks.plugins.module_utils._logs.policy import Limits

    return Limits(1000, 1 << 30, 100)


@pytest.mark.parametrize("allowance", [None, 123])
def test_many_folders_lose_exactly_what_was_planned(logs, policies, old, run_command, allowance):
    for folder in range(8):
        (logs / str(folder)).mkdir()
        for number in range(60):
            old(logs / str(folder) / f"{number}.log", days=40 if number % 2 else 1, content="12345")
    looked = cleanup.observe(policies({"folder": logs, "recurse": True, **OLD}), time.time(), writers.look())
    done = cleanup.Done()
    cleanup.apply(looked, run_command, [done], None, allowance)
    gone = allowance or 240
    assert (done.files, done.bytes, done.freed, done.faults) == (gone, 5 * gone, 5 * gone, 0)
    assert len(list(logs.rglob("*.log"))) == 480 - gone
    assert sum(int(path.stem) % 2 for path in logs.rglob("*.log")) == 240 - gone


def test_a_race_over_names_never_reaches_outside(logs, precious, policies, old, act):
    """An attacker swaps folder and file for links to another place as fast as possible while clean-ups run."""
    victim = precious / "a.log.1"
    inner = logs / "inner"
    pauses = random.Random(5)
    end = time.monotonic() + 6
    stop = threading.Event()

    def attack():
        aside = logs / "aside"
        while not stop.is_set():
            inner.mkdir()
            old(inner / "a.log.1")
            old(inner / "a.log.2")
            (inner / "a.log.2").unlink()
            (inner / "a.log.2").symlink_to(victim)
            # Sometimes long enough for a clean-up to win.
            time.sleep(pauses.choice((0, 0.01, 0.05, 0.5)))
            inner.rename(aside)
            inner.symlink_to(precious)
            inner.unlink()
            for left in aside.iterdir():
                left.unlink(missing_ok=True)
            aside.rmdir()

    attacker = threading.Thread(target=attack)
    attacker.start()
    deleted = 0
    parsed = policies({"folder": logs, "recurse": True, **OLD}, {"folder": inner, "name": "q", **OLD})
    try:
        while time.monotonic() < end and attacker.is_alive():
            deleted += sum(done.files for done in act(parsed))
    finally:
        stop.set()
        attacker.join()
    assert victim.read_text() == "precious\n"
    assert deleted > 0
