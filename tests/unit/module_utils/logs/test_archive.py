# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archiving: on the same file system and to a real other one, names taken, killed at any moment (L5)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._logs import archive, cleanup, policy, writers

DAY = 86400
TEXT = "".join(f"request {number}\n" for number in range(2000))


@pytest.fixture
def logs(tmp_path):
    """A folder of logs."""
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


@pytest.fixture(params=["the same", "another"])
def goal(request, tmp_path):
    """A folder for archives on the same file system, or on another: the machine's memory file system."""
    if request.param == "the same":
        yield tmp_path / "archive"
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        assert Path(folder).stat().st_dev != tmp_path.stat().st_dev
        yield Path(folder) / "archive"


@pytest.fixture(autouse=True)
def _shm(monkeypatch):
    """/dev is refused to policies; tests of another file system need the one that every machine has."""
    monkeypatch.setattr(policy, "SYSTEM_TREES", tuple(each for each in policy.SYSTEM_TREES if each != "/dev"))


@pytest.fixture
def moving(policies):
    """A policy that archives."""
    return lambda logs, goal, **more: policies(
        {"folder": logs, "action": "archive", "archive_dir": str(goal), "older_than": "30d", **more}
    )


def content(folder):
    """Each file below a folder with what is in it."""
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_files_move_with_owner_mode_times_and_their_place(logs, goal, old, act, moving):
    (logs / "sub").mkdir()
    first = old(logs / "a.log.1", content=TEXT)
    old(logs / "sub" / "b.log.1", content="b\n")
    old(logs / "new.log", days=1)
    first.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(first, 12345, 23456)
    before = first.stat()
    (done,) = act(moving(logs, goal, recurse=True))
    assert (done.files, done.faults, done.bytes) == (2, 0, len(TEXT) + 2)
    assert content(goal) == {"a.log.1": TEXT, "sub/b.log.1": "b\n"}
    assert content(logs) == {"new.log": "line\n"}
    after = (goal / "a.log.1").stat()
    assert (after.st_mode, after.st_uid, after.st_gid, after.st_mtime_ns, after.st_nlink) == (
        before.st_mode, before.st_uid, before.st_gid, before.st_mtime_ns, 1,
    )  # fmt: skip
    assert done.freed == (0 if before.st_dev == after.st_dev else len(TEXT) + 2)
    assert act(moving(logs, goal, recurse=True))[0].files == 0


def test_a_name_that_is_taken_is_never_overwritten(logs, goal, old, act, moving):
    goal.mkdir()
    (goal / "a.log.gz").write_text("another day")
    (goal / "b.log").symlink_to(goal / "a.log.gz")
    (goal / "c.log").mkdir()
    for name in ("a.log.gz", "b.log", "c.log"):
        old(logs / name, content=f"{name}\n")
        os.utime(logs / name, (DAY, DAY))
    (done,) = act(moving(logs, goal))
    assert (done.files, done.faults) == (3, 0)
    assert (goal / "a.log.gz").read_text() == "another day"
    assert (goal / "a.log.19700102T000000Z.gz").read_text() == "a.log.gz\n"
    assert (goal / "b.log.19700102T000000Z").read_text() == "b.log\n"
    assert (goal / "c.log.19700102T000000Z").read_text() == "c.log\n"
    assert not list(logs.iterdir())


def test_a_file_of_the_same_size_and_time_is_not_taken_for_a_copy(logs, goal, old, act, moving):
    goal.mkdir()
    path = old(logs / "a.log", content="ours")
    (goal / "a.log").write_text("them")
    shutil.copystat(path, goal / "a.log")
    assert act(moving(logs, goal))[0].files == 1
    assert sorted(content(goal).values()) == ["ours", "them"]


def test_no_name_left_is_told(logs, goal, old, act, moving, monkeypatch):
    monkeypatch.setattr(archive, "_names", lambda name, _mtime: iter([name]))
    goal.mkdir()
    (goal / "a.log").write_text("other")
    old(logs / "a.log")
    (done,) = act(moving(logs, goal))
    assert (done.files, done.faults) == (0, 1)
    assert archive.TAKEN in done.failures[0]
    assert content(logs) == {"a.log": "line\n"}


@pytest.mark.parametrize("change", ["append", "replace", "link", "symlink", "reopen", "vanish"])
def test_a_file_that_changed_between_look_and_act_stays(logs, goal, old, act, moving, change):
    path = old(logs / "a.log")
    held = []

    def do():
        stamp = path.stat()
        if change == "append":
            path.write_text("line\nmore\n")
            os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        elif change == "link":
            os.link(path, logs / "second")
        elif change == "reopen":
            held.append(path.open("a"))
        else:
            path.unlink()
            if change == "symlink":
                path.symlink_to("/etc/hostname")
            elif change == "replace":
                old(path)

    (done,) = act(moving(logs, goal), do)
    for stream in held:
        stream.close()
    assert (done.files, done.faults, sum(done.left.values())) == (0, 0, 1)
    assert os.path.lexists(path) is (change != "vanish")
    assert content(goal) == {} if goal.exists() else True


def test_a_link_as_archive_is_not_followed(tmp_path, logs, old, moving, run_command):
    (tmp_path / "other").mkdir()
    (tmp_path / "archive").symlink_to(tmp_path / "other")
    old(logs / "a.log")
    work = cleanup.Work(moving(logs, tmp_path / "archive"), policy.Limits(9, 1 << 30, 100))
    result = cleanup.run(work, str(tmp_path / "state"), run_command, False)
    assert (result["status"], result["changed"]) == ("unknown", False)
    assert "symbolic link" in result["outcomes"][0]["summary"]
    assert content(logs) == {"a.log": "line\n"}


def test_the_archive_inside_the_policys_own_folder_is_refused(logs, policies):
    for goal, more in ((logs, {}), (logs / "archive", {"recurse": True})):
        with pytest.raises(policy.InputError, match="archive_dir"):
            policies({"folder": logs, "action": "archive", "archive_dir": str(goal), "older_than": "1d", **more})
    with pytest.raises(policy.InputError, match="archive_dir"):
        policies({"folder": logs, "action": "archive", "older_than": "1d"})
    with pytest.raises(policy.InputError, match="archive_dir"):
        policies({"folder": logs, "archive_dir": "/srv/x", "older_than": "1d"})


def killed_at(line, parsed, run_command):
    """Archive in a process of its own that kill -9 ends before the `line`-th new line of code; say whether it got there."""
    child = os.fork()
    if child == 0:
        seen = set()

        def trace(frame, event, _argument):
            name = frame.f_code.co_filename
            if not name.endswith(("_logs/archive.py", "_logs/retire.py")):
                return None
            if event == "line" and (name, frame.f_lineno) not in seen:
                seen.add((name, frame.f_lineno))
                if len(seen) == line:
                    os.kill(os.getpid(), 9)
            return trace

        try:
            looked = cleanup.observe(parsed, 1.8e9, writers.look())
            with writers.lease_breaks_ignored():
                sys.settrace(trace)
                cleanup.apply(looked, run_command, [cleanup.Done()])
                sys.settrace(None)
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1] == 9


def test_killed_at_any_line_the_log_is_there_and_the_next_run_ends_it(tmp_path, logs, goal, old, moving, run_command):
    parsed = moving(logs, goal)
    work = cleanup.Work(parsed, policy.Limits(9, 1 << 30, 100))
    line = 0
    while True:
        line += 1
        old(logs / "a.log", content=TEXT)
        if not killed_at(line, parsed, run_command):
            break
        there = [*content(logs).values(), *(content(goal).values() if goal.exists() else ())]
        assert TEXT in there
        result = cleanup.run(work, str(tmp_path / "state"), run_command, False)
        assert result["status"] == "ok", result
        assert content(logs) == {}
        assert content(goal) == {"a.log": TEXT}
        shutil.rmtree(goal)
    assert line > 30
    assert content(goal) == {"a.log": TEXT}


FULL_DISK = """
import os, subprocess, sys
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sre.runbooks.plugins.module_utils._logs import cleanup, policy
logs, disk = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", disk], check=True)
big, small = os.urandom(6 << 20), b"small" * 1000
for name, content in (("big.log", big), ("small.log", small)):
    with open(logs + "/" + name, "wb") as stream:
        stream.write(content)
    os.utime(logs + "/" + name, (1, 1))
spec = {"name": "p", "paths": [logs], "patterns": ["*"], "exclude": [], "recurse": False, "older_than": "30d"}
parsed = policy.parse([{**spec, "action": "archive", "archive_dir": disk, "compression": "zstd"}])
with patch_module_args({}):
    run_command = AnsibleModule(argument_spec={}).run_command
work = cleanup.Work(parsed, policy.Limits(9, 1 << 30, 100))
result = cleanup.run(work, logs + "/../state", run_command, False)
assert os.listdir(disk) == ["small.log"], os.listdir(disk)
assert open(disk + "/small.log", "rb").read() == small
assert os.listdir(logs) == ["big.log"] and open(logs + "/big.log", "rb").read() == big
print(result["status"], result["outcomes"][0]["summary"])
"""


def test_an_archive_without_room_leaves_what_does_not_fit(tmp_path, logs):
    """A real file system of four MiB and a log of six, in a mount namespace of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    collections = Path(__file__).parents[4] / ".work/collections"
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", sys.executable, "-c", FULL_DISK, str(logs), str(disk)],
        check=False, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(collections)},
    )  # fmt: skip
    assert done.stdout.startswith("warning archived 1 file"), done.stderr + done.stdout
    assert "No space left on device" in done.stdout


def test_holes_stay_holes(logs, goal, old, act, moving):
    path = old(logs / "a.log")
    os.truncate(path, 50 << 20)
    os.utime(path, (DAY, DAY))
    act(moving(logs, goal))
    status = (goal / "a.log").stat()
    assert status.st_size == 50 << 20
    assert status.st_blocks * 512 <= 2 << 20


def test_a_copy_cut_short_by_a_crash_is_made_anew(logs, goal, old, act, moving):
    goal.mkdir()
    (goal / ".a.log.4194305.copy.partial").write_text("half")
    path = old(logs / "a.log", content=TEXT)
    cut = goal / "a.log"
    cut.write_text(TEXT[:100])
    shutil.copystat(path, cut)
    act(moving(logs, goal))
    names = sorted(content(goal))
    assert len(names) == 2
    assert not any(name.endswith(".partial") for name in names)
    assert content(goal)[names[1]] == TEXT
