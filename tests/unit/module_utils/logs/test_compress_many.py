# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compressing many logs in few runs of zstd, and beside a service that rotates by itself: no line lost (L5)."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import time

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._logs import cleanup, compress, frames, writers
from ansible_collections.sre.runbooks.plugins.module_utils._logs.actions import CHANGED

OLD = {"older_than": "30d", "action": "compress"}
SERVICE = """
import os, signal, sys, time
path, mode, number, stopped = sys.argv[1], sys.argv[2], 0, []
signal.signal(signal.SIGTERM, lambda *_arguments: stopped.append(1))
stream = open(path, "a")
while not stopped:
    stream.write(f"{number}\\n")
    number += 1
    if number % 50 == 0:
        stream.flush()
        time.sleep(0.001)
    if number % 5000 == 0:
        if mode == "rename":  # as Python's RotatingFileHandler and logrotate do
            os.rename(path, f"{path}.{number}")
            late = stream
            stream = open(path, "a")
            time.sleep(0.005)
            late.write(f"{number}\\n")  # a thread that still had the old one
            number += 1
            late.close()
        else:  # closes, and opens again by name
            stream.close()
            time.sleep(0.3)
            stream = open(path, "a")
stream.close()
print(number)
"""


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


def test_a_thousand_logs_take_a_few_runs_of_zstd(logs, policies, old, run_command):
    wanted = {}
    for number in range(1000):
        wanted[f"{number}.log.1"] = f"line of {number}\n" * (number % 7 + 1)
        old(logs / f"{number}.log.1", content=wanted[f"{number}.log.1"])
    runs = []

    def counted(argv, **options):
        runs.append(argv)
        return run_command(argv, **options)

    plan = cleanup.observe(policies({"folder": logs, **OLD}), time.time(), writers.look())
    done = cleanup.Done()
    with writers.lease_breaks_ignored():
        cleanup.apply(plan, counted, [done])
    assert (done.files, done.faults, len(runs)) == (1000, 0, 2 * -(-1000 // compress.BATCH_FILES))
    assert {path.name[:-4]: unpacked(path) for path in list(logs.glob("*.zst"))[::50]}.items() <= wanted.items()
    assert len(list(logs.iterdir())) == len(list(logs.glob("*.zst"))) == 1000


def test_one_log_that_changes_while_its_batch_is_packed_spoils_no_other(logs, policies, old, run_command):
    for number in range(20):
        old(logs / f"{number}.log.1", content="line\n" * 1000)
    calls = []

    def cuts(argv, **options):
        if not calls:
            os.truncate(logs / "7.log.1", 10)
        calls.append(argv)
        return run_command(argv, **options)

    plan = cleanup.observe(policies({"folder": logs, **OLD}), time.time(), writers.look())
    done = cleanup.Done()
    with writers.lease_breaks_ignored():
        cleanup.apply(plan, cuts, [done])
    assert (done.files, done.left) == (19, {CHANGED: 1}), done.failures
    assert (logs / "7.log.1").read_text() == "line\nline\n"
    assert sorted(path.name for path in logs.iterdir() if path.suffix != ".zst") == ["7.log.1"]


@pytest.mark.parametrize("mode", ["rename", "reopen"])
@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_no_line_of_a_running_service_is_lost(logs, policies, run_command, mode, compression):
    """A real process logs, holds its descriptor, renames or reopens, while every log is compressed again and again."""
    service = subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(logs / "a.log"), mode], stdout=subprocess.PIPE, text=True
    )
    parsed = policies(
        {"folder": logs, "patterns": ["a.log*"], "older_than": "0s", "action": "compress", "compression": compression}
    )
    kept, done, begun = [], cleanup.Done(), time.monotonic()
    try:
        with writers.lease_breaks_ignored():
            # On a busy machine the service holds its log open at every look of the first seconds.
            while time.monotonic() < begun + (6 if done.files else 60):
                cleanup.apply(cleanup.observe(parsed, time.time(), writers.look()), run_command, [done])
                for archive in [*logs.glob("*.zst"), *logs.glob("*.gz")]:
                    kept.extend(unpacked(archive).split())
                    archive.unlink()
    finally:
        service.terminate()
    written = int(service.communicate()[0])
    for path in logs.iterdir():
        kept.extend(path.read_text().split())
    assert sorted(map(int, kept)) == list(range(written))
    assert done.files > 0
    assert done.faults == 0, done.failures


def test_frames_are_cut_where_zstd_ends_them():
    pseudo = random.Random(3)
    contents = [b"", b"x", b"a" * 300_000, pseudo.randbytes(400_000), b"line\n" * 50_000]
    packed = [subprocess.run(["zstd", "-qc"], input=each, check=True, capture_output=True).stdout for each in contents]
    packed.append(
        subprocess.run(["zstd", "-qc", "--no-check", "-19"], input=contents[4], check=True, capture_output=True).stdout
    )
    stream = io.BytesIO(b"".join(packed))
    for frame, content in zip(packed, [*contents, contents[4]], strict=True):
        found = io.BytesIO()
        # From a pipe zstd does not know the size beforehand.
        assert frames.copy_frame(stream, found.write) in (None, len(content))
        assert found.getvalue() == frame
    for size in (1, 200, 256, 300, 65_791, 65_792, 1 << 20):
        argv = ["zstd", "-qc", f"--stream-size={size}"]
        frame = subprocess.run(argv, input=b"z" * size, check=True, capture_output=True).stdout
        assert frames.copy_frame(io.BytesIO(frame), io.BytesIO().write) == size
    for wrong in (b"", b"\x1f\x8b\x08\x00garbage", packed[4][:-1], packed[3][:1000]):
        with pytest.raises(RunbookError, match="cut short"):
            frames.copy_frame(io.BytesIO(wrong), io.BytesIO().write)
