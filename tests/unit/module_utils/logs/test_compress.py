# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compressing: no line lost, whatever writes, changes or is killed, and nothing overwritten (L5)."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._logs import cleanup, compress, policy, writers
from ansible_collections.sre.runbooks.plugins.module_utils._logs.actions import CHANGED

TEXT = "".join(f"2026-10-01 12:00:{number % 60:02d} INFO request {number}\n" for number in range(2000))
OLD = {"older_than": "30d", "action": "compress"}


def names_in(folder):
    """Names in a folder, in order; undecodable ones as Python has them."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(params=["zstd", "gzip"])
def compression(request):
    """Each way to compress."""
    return request.param


@pytest.fixture
def logs(tmp_path):
    """A folder of logs."""
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


def unpacked(path):
    """What an archive holds, as its own program says."""
    program = ["zstd", "-dcq"] if path.suffix == ".zst" else ["gzip", "-dc"]
    return subprocess.run([*program, str(path)], check=True, capture_output=True, text=True).stdout


def test_a_log_is_replaced_by_its_archive(logs, policies, old, act, compression):
    path = old(logs / "a.log.1", content=TEXT)
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 12345, 23456)
    before = path.stat()
    (done,) = act(policies({"folder": logs, "compression": compression, **OLD}))
    archive = logs / f"a.log.1{policy.SUFFIXES[compression]}"
    assert names_in(logs) == [archive.name]
    assert unpacked(archive) == TEXT
    after = archive.stat()
    assert (after.st_mode, after.st_uid, after.st_gid, after.st_mtime_ns, after.st_nlink) == (
        before.st_mode, before.st_uid, before.st_gid, before.st_mtime_ns, 1,
    )  # fmt: skip
    assert (done.files, done.bytes, done.freed) == (1, len(TEXT), len(TEXT) - after.st_size)


def test_an_undecodable_name_is_compressed_as_any_other(logs, policies, old, act, compression):
    old(logs / os.fsdecode(b"r\xe9sum\xe9\n.log"), content=TEXT)
    act(policies({"folder": logs, "compression": compression, **OLD}))
    assert [os.fsencode(name) for name in names_in(logs)] == [
        b"r\xe9sum\xe9\n.log" + policy.SUFFIXES[compression].encode()
    ]


@pytest.mark.parametrize("other", ["another log", "garbage", "link", "folder", "cut short"])
def test_what_has_the_archives_name_is_never_overwritten(logs, policies, old, act, compression, other):
    old(logs / "a.log", content=TEXT)
    taken = logs / f"a.log{policy.SUFFIXES[compression]}"
    if other == "link":
        (logs / "target").write_text("target")
        taken.symlink_to(logs / "target")
    elif other == "folder":
        taken.mkdir()
    elif other == "garbage":
        taken.write_bytes(b"\0\1\2")
    else:
        taken.write_bytes(gzip.compress(b"others" * 500))
        if compression == "zstd":
            taken.unlink()
            subprocess.run(["zstd", "-q", "-", "-o", str(taken)], input=b"others" * 500, check=True)
        if other == "cut short":
            os.truncate(taken, taken.stat().st_size - 4)
    before = taken.read_bytes() if taken.is_file() else None
    (done,) = act(policies({"folder": logs, "compression": compression, **OLD}))
    assert (done.files, done.faults) == (0, 1)
    assert compress.TAKEN in done.failures[0]
    assert (logs / "a.log").read_text() == TEXT
    assert (taken.read_bytes() if taken.is_file() else None) == before
    assert not list(logs.glob(".*"))


FULL_DISK = """
import os, subprocess, sys, time
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sre.runbooks.plugins.module_utils._logs import cleanup, policy
disk, compression = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", disk], check=True)
content = os.urandom(3 << 20)
with open(disk + "/a.log", "wb") as stream:
    stream.write(content)
os.utime(disk + "/a.log", (1, 1))
spec = {"name": "p", "paths": [disk], "patterns": ["*"], "exclude": [], "recurse": False, "older_than": "30d"}
parsed = policy.parse([{**spec, "action": "compress", "compression": compression}])
with patch_module_args({}):
    run_command = AnsibleModule(argument_spec={}).run_command
result = cleanup.run(cleanup.Work(parsed, policy.Limits(9, 1 << 30, 100)), sys.argv[1] + "/../state", run_command, False)
assert os.listdir(disk) == ["a.log"]
assert open(disk + "/a.log", "rb").read() == content
print(result["status"], result["changed"], result["outcomes"][0]["summary"])
"""


def test_a_full_disk_leaves_the_log_as_it_is(tmp_path, compression):
    """A real file system of four MiB with a log of three that does not shrink, in a mount namespace of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    collections = Path(__file__).parents[4] / ".work/collections"
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", sys.executable, "-c", FULL_DISK, str(disk), compression],
        check=False, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(collections)},
    )  # fmt: skip
    assert done.stdout.startswith("critical False nothing to do; 1 failed, such as "), done.stderr
    assert "No space left on device" in done.stdout


def test_a_writer_that_comes_while_its_log_is_compressed_loses_no_line(logs, policies, run_command, compression):
    """A service opens, appends and closes as fast as it can while its log is compressed again and again."""
    log = logs / "a.log"
    written = 0
    pauses = random.Random(5)
    stop = threading.Event()

    def write():
        nonlocal written
        while not stop.is_set():
            with log.open("a") as stream:
                stream.write(f"{written}\n")
            written += 1
            if written % 50 == 0:
                time.sleep(pauses.choice((0.02, 0.1, 0.7)))

    parsed = policies(
        {"folder": logs, "patterns": ["*.log"], "older_than": "0s", "action": "compress", "compression": compression}
    )
    writer = threading.Thread(target=write)
    writer.start()
    kept, end, done = [], time.monotonic() + 6, cleanup.Done()
    with writers.lease_breaks_ignored():
        while time.monotonic() < end:
            cleanup.apply(cleanup.observe(parsed, time.time(), writers.look()), run_command, [done])
            for archive in logs.glob("a.log.*"):
                kept.extend(unpacked(archive).split())
                archive.unlink()
    stop.set()
    writer.join()
    if log.exists():
        kept.extend(log.read_text().split())
    assert sorted(map(int, kept)) == list(range(written))
    assert done.files > 0


def test_a_service_that_holds_its_log_open_keeps_it(logs, policies, old, act, compression):
    path = old(logs / "a.log", content=TEXT)
    service = subprocess.Popen(
        [sys.executable, "-c", "import sys; f=open(sys.argv[1],'a'); print('up',flush=True); sys.stdin.read()", str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        service.stdout.readline()
        (done,) = act(policies({"folder": logs, "compression": compression, **OLD}))
        assert (done.files, sum(done.left.values()) + len(names_in(logs))) == (0, 1)
    finally:
        service.communicate()
    assert act(policies({"folder": logs, "compression": compression, **OLD}))[0].files == 1


def killed_at(line, folder, run_command, compression):
    """Compress in a process of its own that kill -9 ends before the `line`-th line of code; say whether it got there."""
    child = os.fork()
    if child == 0:
        seen = set()

        def trace(frame, event, _argument):
            if not frame.f_code.co_filename.endswith("_logs/compress.py"):
                return None
            if event == "line" and frame.f_lineno not in seen:
                seen.add(frame.f_lineno)
                if len(seen) == line:
                    os.kill(os.getpid(), 9)
            return trace

        try:
            spec = {"name": "p", "paths": [str(folder)], "patterns": ["*.log"], "exclude": [], "recurse": False}
            parsed = policy.parse([{**spec, **OLD, "compression": compression}])
            plan = cleanup.observe(parsed, time.time(), writers.look())
            with writers.lease_breaks_ignored():
                sys.settrace(trace)
                cleanup.apply(plan, run_command, [cleanup.Done()])
                sys.settrace(None)
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1] == 9


def test_killed_at_any_line_no_line_of_the_log_is_lost_and_the_next_run_ends_it(
    tmp_path, logs, policies, old, run_command, compression
):
    parsed = policies({"folder": logs, "compression": compression, **OLD})
    archive = logs / f"a.log{policy.SUFFIXES[compression]}"
    text = TEXT[:300]
    line = 0
    while True:
        line += 1
        old(logs / "a.log", content=text)
        if not killed_at(line, logs, run_command, compression):
            break
        whole = [path for path in logs.iterdir() if path.name == "a.log" or path.name.endswith(".source.partial")]
        assert [path.read_text() for path in whole] == [text] or unpacked(archive) == text
        result = cleanup.run(
            cleanup.Work(parsed, policy.Limits(9, 1 << 30, 100)), str(tmp_path / "state"), run_command, False
        )
        assert result["status"] == "ok"
        assert names_in(logs) == [archive.name]
        assert unpacked(archive) == text
        archive.unlink()
    assert line > 40
    assert names_in(logs) == [archive.name]


def test_leftovers_of_a_process_that_is_alive_and_of_others_stay(logs, policies, old, act):
    shutil.copy(old(logs / "x"), logs / f".a.log.zst.{os.getppid()}.partial")
    shutil.copy(logs / "x", logs / ".something.partial")
    shutil.copy(logs / "x", logs / ".b.log.zst.4194305.partial")
    act(policies({"folder": logs, **OLD}))
    assert names_in(logs) == [f".a.log.zst.{os.getppid()}.partial", ".something.partial", "x"]


def test_a_log_that_grows_while_it_is_packed_keeps_its_name_and_loses_its_archive(
    logs, policies, old, act, run_command
):
    """The writer comes when the archive is complete, by the program that unpacks it."""
    path = old(logs / "a.log", content=TEXT)
    calls = []

    def writes_meanwhile(*args, **options):
        result = run_command(*args, **options)
        calls.append(args)
        if len(calls) == 2:
            with path.open("a") as stream:
                stream.write("late\n")
        return result

    plan = cleanup.observe(policies({"folder": logs, **OLD}), time.time(), writers.look())
    done = cleanup.Done()
    with writers.lease_breaks_ignored():
        cleanup.apply(plan, writes_meanwhile, [done])
    assert (done.files, done.left) == (0, {CHANGED: 1})
    assert path.read_text() == TEXT + "late\n"
    assert names_in(logs) == ["a.log"]
