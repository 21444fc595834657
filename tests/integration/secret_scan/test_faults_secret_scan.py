# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults of a scan: what was not looked at is never called ok, and nothing of it stays behind (K4)."""

from __future__ import annotations

import glob
import gzip
import hashlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from .conftest import CHECKOUT, PROGRAM, found, value

MODULE = """
import atexit, json, sys
def peak():
    # Of this program alone: ru_maxrss begins with what the parent had.
    with open("/proc/self/status") as status:
        print(next(line.split()[1] for line in status if line.startswith("VmHWM")), file=sys.stderr)
atexit.register(peak)
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sre.runbooks.plugins.modules import secret_scan
with patch_module_args(json.loads(sys.argv[1])):
    secret_scan.main()
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CHECKOUT / ".work/collections")}


def staged(tmp_path):
    """Staging folders of runs with this test's state folder."""
    mark = hashlib.sha256(os.fsencode(str(tmp_path / "state"))).hexdigest()[:12]
    return [*glob.glob(f"/dev/shm/sre-runbooks-{mark}-*"), *glob.glob(f"{tmp_path}/state/sre-runbooks-*")]


def process(tmp_path, tree, program=PROGRAM, before=()):
    """The module in a process of its own."""
    options = {
        "scans": [{"name": "x", "paths": [str(tree)]}],
        "state_dir": str(tmp_path / "state"),
        "program": str(program),
    }
    argv = [*before, sys.executable, "-c", MODULE, json.dumps(options)]
    return subprocess.Popen(argv, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def around(tmp_path):
    """The real program with `script` before it; `$folder` is what it is to look at.

    It says its version at once: the real one takes longer for that on a busy machine than the shortest time limit of these tests.
    """
    version = importlib.metadata.version("detect-secrets")

    def make(script):
        path = tmp_path / "detect-secrets"
        path.write_text(
            f'#!/bin/sh\nfor folder; do :; done\nif [ "$1" = --version ]; then echo {version}; exit; fi\n{script}\nexec {PROGRAM} "$@"\n'
        )
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def planted(tree):
    """A folder with a credential."""
    (tree / "a.conf").write_text(f"password={value(14)}\n")
    return tree


@pytest.mark.parametrize("fault", ["kill -KILL $$", "exit 3", "echo '{'; exit 0"])
def test_a_program_that_fails_at_one_file_is_told_and_the_others_are_looked_at(run, planted, around, tmp_path, fault):
    for number in range(6):
        (planted / f"{number}.txt").write_text("quiet\n")
    (planted / "bad.txt").write_text("the engine ends HERE\n")
    result = run(planted, program=around(f'if grep -rq "ends HERE" "$folder"; then {fault}; fi'))
    outcome = result["secrets:x"]
    assert found(result) == {("a.conf", 1): "Secret Keyword"}
    assert [os.path.basename(each["file"]) for each in outcome["details"]["not_scanned"]] == ["bad.txt"]
    assert "bad.txt" in outcome["summary"]
    assert not staged(tmp_path)
    # It is tried again, and then all is well.
    assert run(planted)["secrets:x"]["metrics"]["unscanned_files"] == 0


@pytest.mark.parametrize(
    "script",
    [
        "exit 3",
        "kill -KILL $$",
        "echo garbage; exit 0",
        "echo '{\"results\": {}}'; exit 0",
        'echo \'{"results": {"a": [1]}}\'; exit 0',
        "exit 0",
    ],
)
def test_a_program_that_does_not_work_is_unknown_and_never_ok(run, planted, around, script):
    outcome = run(planted, program=around(script))["secrets:x"]
    assert outcome["status"] == "unknown", outcome
    assert "by hand" in outcome["summary"] or "install it anew" in outcome["summary"]


def test_a_program_that_is_none_is_unknown(run, planted):
    assert run(planted, program="/bin/true")["secrets:x"]["status"] == "unknown"
    assert run(planted, program="/nowhere/detect-secrets")["secrets:x"]["status"] == "unknown"


def test_the_time_limit_ends_the_program_and_is_told(run, planted, around):
    started = time.monotonic()
    outcome = run(planted, program=around("sleep 60"), timeout=1.5)["secrets:x"]
    assert (outcome["status"], time.monotonic() - started < 20) == ("unknown", True)
    assert "time limit" in outcome["summary"]


def test_files_and_folders_that_may_not_be_read_are_unknown(tmp_path, tree):
    (tree / "a.conf").write_text(f"password={value(14)}\n")
    (tree / "a.conf").chmod(0)
    (tree / "closed").mkdir(mode=0)
    # Without the rights of root over files.
    without = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    with process(tmp_path, tree, before=without) as running:
        result = json.loads(running.communicate()[0])
    outcome, files = result["outcomes"]
    assert outcome["status"] == files["status"] == "unknown"
    told = {os.path.basename(each["file"]): each["reason"] for each in outcome["details"]["not_scanned"]}
    assert told == {"a.conf": "Permission denied", "closed": "Permission denied"}


def test_files_that_vanish_while_they_are_scanned(run, planted):
    over = threading.Event()

    def come_and_go():
        number = 0
        while not over.is_set():
            number += 1
            path = planted / f"{number % 50}.tmp"
            path.write_text("quiet\n")
            (planted / f"{(number + 25) % 50}.tmp").unlink(missing_ok=True)

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for _each in range(2):
            result = run(planted)
            assert found(result) == {("a.conf", 1): "Secret Keyword"}
            assert result["secrets:x"]["metrics"]["unscanned_files"] == 0
    finally:
        over.set()
        thread.join()


def test_disk_full_in_the_state_folder_costs_the_next_run_its_time_alone(tmp_path, planted):
    state = tmp_path / "state"
    state.mkdir()
    script = 'mount -t tmpfs -o size=16k none "$0" && head -c 1M /dev/zero > "$0/fill"; exec "$@"'
    namespace = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    with process(tmp_path, planted, before=[*namespace, "sh", "-c", script, str(state)]) as running:
        result = json.loads(running.communicate()[0])
    outcome = result["outcomes"][0]
    assert outcome["metrics"]["findings"] == 1
    assert outcome["status"] == "warning"
    assert any("No space left" in note for note in outcome["details"]["notes"])


def test_a_killed_run_leaves_nothing_that_the_next_does_not_remove(run, planted, around, tmp_path):
    with process(tmp_path, planted, around("sleep 30")) as running:
        limit = time.monotonic() + 20
        while not any(glob.glob(f"{each}/batch/*.conf") for each in staged(tmp_path)):
            assert time.monotonic() < limit
            time.sleep(0.02)
        # Two at once are refused, and harm nobody.
        assert "another run" in run(planted)["msg"]
        (folder,) = staged(tmp_path)
        assert os.stat(folder).st_mode & 0o777 == 0o700
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(running.pid)], capture_output=True, text=True, check=False
        )
        running.kill()
        for pid in children.stdout.split():
            os.kill(int(pid), signal.SIGTERM)
    assert staged(tmp_path) == [folder]
    assert found(run(planted)) == {("a.conf", 1): "Secret Keyword"}
    assert not staged(tmp_path)


def test_damaged_archives_states_and_baselines_are_told(run, planted, tmp_path):
    (planted / "app.log.1.gz").write_bytes(gzip.compress(os.urandom(9000).hex().encode())[:5000])
    (planted / "app.log.2.zst").write_bytes(b"\x28\xb5\x2f\xfd")
    (planted / "app.log.3.zip").write_bytes(b"PK")
    run(planted)
    (tmp_path / "state" / "secret_scan.x.json").write_text("{")
    (tmp_path / "baseline").write_text('{"results": []}')
    outcome = run(planted, baseline=str(tmp_path / "baseline"))["secrets:x"]
    assert "none of detect-secrets" in outcome["summary"]
    assert "state of earlier runs" in outcome["details"]["notes"][0]
    reasons = {os.path.basename(each["file"]): each["reason"] for each in outcome["details"]["not_scanned"]}
    assert reasons == {
        "app.log.1.gz": "is a damaged archive",
        "app.log.2.zst": "is a damaged archive",
        "app.log.3.zip": "is packed as zip, which is not unpacked here",
    }


def test_memory_does_not_grow_with_the_files(tmp_path, tree, around):
    with gzip.open(tree / "app.log.1.gz", "wb", compresslevel=1) as stream:
        for number in range(20):
            stream.write(f"{number} a quiet line of this log\n".encode() * 20_000)
    # What is measured is this process: the program looks at nothing but what it is proven by.
    program = around('find "$folder" -type f ! -name "proof*" -size +9k -delete')
    with process(tmp_path, tree, program) as running:
        output, errors = running.communicate()
    assert json.loads(output)["outcomes"][0]["metrics"]["read_bytes"] > 10 << 20
    # In KiB. 64 MiB are its limit.
    assert int(errors.split()[-1]) < 64 << 10
