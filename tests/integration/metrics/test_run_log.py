# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The JSON lines of what was done (R6): whole lines alone, whoever writes, dies, rotates or fills the disk meanwhile."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome
from ansible_collections.sre.runbooks.plugins.plugin_utils import run_log
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import HostAnswer, Run

WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {folder!r})
from test_run_log import run_of
from ansible_collections.sre.runbooks.plugins.plugin_utils import run_log
number = 0
while not Path(sys.argv[3]).exists():
    number += 1
    run_log.append(sys.argv[1], run_of(f"{{sys.argv[2]}}-{{number}}", int(sys.argv[4])))
print(number)
"""
HOSTILE = 'a "quoted"\nname\u2028\x85\x1e{}\\'


def run_of(name, outcomes=3, status="warning"):
    each = outcome(HOSTILE, "health", status, "used 97 %", metrics={"used_percent": 97.5})
    host = HostAnswer("f11.example.org", "F11", True, [{**each, "since": "2026-11-21T09:00:00Z"}] * outcomes)
    return Run(name, "daily", "2026-11-21T09:00:00Z", "2026-11-21T09:01:00Z", False, "0.1.0", ["health"], [host])


def size_of(path):
    return path.stat().st_size if path.exists() else 0


def documents(path):
    """Every line of the file, read as JSON."""
    text = path.read_bytes()
    assert text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()]


def whole_runs(found):
    """The runs of these lines; each is followed by its outcomes and nobody else's."""
    runs = []
    while found:
        first, *found = found
        assert first["event"] == "run"
        number = sum(first["counts"].values())
        assert {(each["event"], each["run"]) for each in found[:number]} <= {("outcome", first["run"])}
        assert len(found) >= number
        found = found[number:]
        runs.append(first["run"])
    return runs


def test_lines_of_a_run(tmp_path):
    path = tmp_path / "new" / "runbooks.log"
    umask = os.umask(0o077)
    try:
        run_log.append(str(path), run_of("one", 1))
    finally:
        os.umask(umask)
    run, each = documents(path)
    assert path.stat().st_mode & 0o777 == 0o640
    assert run == {
        "time": "2026-11-21T09:01:00Z", "run": "one", "playbook": "daily", "event": "run", "level": "warning", "status": "warning",
        "started": "2026-11-21T09:00:00Z", "stages": ["health"], "hosts": 1, "answered": 1, "version": "0.1.0",
        "counts": {"ok": 0, "skipped": 0, "unknown": 0, "warning": 1, "critical": 0},
    }  # fmt: skip
    assert each == {
        "time": "2026-11-21T09:01:00Z", "run": "one", "playbook": "daily", "event": "outcome", "level": "warning", "status": "warning",
        "host": "f11.example.org", "system": "F11", "stage": "health", "subject": HOSTILE, "summary": "used 97 %",
        "since": "2026-11-21T09:00:00Z", "metrics": {"used_percent": 97.5},
    }  # fmt: skip


def writers(path, stop, count, outcomes=20):
    code = WRITER.format(folder=str(Path(__file__).parent))
    argv = [sys.executable, "-c", code, str(path)]
    return [
        subprocess.Popen([*argv, f"w{number}", str(stop), str(outcomes)], text=True, stdout=subprocess.PIPE)
        for number in range(count)
    ]


def test_writers_at_once_with_rotation_by_rename_lose_no_line(tmp_path):
    path, stop = tmp_path / "runbooks.log", tmp_path / "stop"
    started = writers(path, stop, 3)
    # From the first line on: a writer needs its time to start.
    deadline = time.monotonic() + 60
    for rotated in range(40):
        while not path.exists():
            assert time.monotonic() < deadline, f"{rotated} files in a minute"
            time.sleep(0.002)
        path.rename(tmp_path / f"runbooks.log.{rotated:03}")
        time.sleep(0.01)
    stop.touch()
    written = sum(int(each.communicate(timeout=60)[0]) for each in started)
    # One that was renamed before its first line stays empty: its writer went to the next.
    files = [file for file in sorted(tmp_path.glob("runbooks.log*")) if size_of(file)]
    runs = [name for file in files for name in whole_runs(documents(file))]
    assert len(runs) == len(set(runs)) == written


def test_a_writer_that_is_killed_leaves_no_half_line_for_the_next(tmp_path):
    path, stop = tmp_path / "runbooks.log", tmp_path / "stop"
    for number in range(10):
        before = size_of(path)
        (child,) = writers(path, stop, 1, outcomes=4000)
        # It writes: the file of the one before is there already.
        while size_of(path) == before:
            assert child.poll() is None
            time.sleep(0.002)
        time.sleep(0.013 * number)
        child.send_signal(signal.SIGKILL)
        child.communicate(timeout=60)
    with path.open("ab") as stream:
        stream.write(b'{"time": "2026')
    run_log.append(str(path), run_of("last"))
    found = documents(path)
    assert found[-4]["run"] == "last"
    assert all(each["playbook"] == "daily" for each in found)


def test_a_full_disk_leaves_what_was_there(tmp_path):
    path = tmp_path / "runbooks.log"
    run_log.append(str(path), run_of("first"))
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5000, hard))
    try:
        with pytest.raises(InputError, match=rf"^log: '{path}' cannot be added to: File too large\. Its folder"):
            run_log.append(str(path), run_of("second", 1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "runbooks.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"^log: '.*runbooks.log' cannot be added to: "):
        run_log.append(str(tmp_path / "runbooks.log"), run_of("first"))
    assert not (tmp_path / "elsewhere").exists()
