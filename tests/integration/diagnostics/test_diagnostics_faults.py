# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults of a bundle, each caused for real: hanging programs, huge logs, full disks, kill -9, hostile input (I4)."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from .conftest import ENVIRONMENT, MODULE, Bundle

# A collector's time, for the one that hangs alone: the others may take theirs on a busy machine.
SHORT_FOR_SOCKETS = f"""
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics import _crew
usual = _crew.Crew._seconds
_crew.Crew._seconds = lambda crew, name: 1.0 if name == "sockets" else usual(crew, name)
{MODULE}"""


def program(folder, name, script):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            return b") Z " not in stream.read()
    except FileNotFoundError:
        return False


def has_open(pid, path):
    """Whether a process has this file open."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if link.readlink() == path:
                return True
    return False


def test_a_program_that_hangs_is_ended_with_its_children_and_the_others_are_there(started, tmp_path):
    children = tmp_path / "children"
    # What it said before it hung stays; SIGTERM does not impress it.
    script = f"trap '' TERM; echo said before; (trap '' TERM; echo $BASHPID >> {children}; sleep 60) & echo $! >> {children}; sleep 60"
    environment = program(tmp_path / "bin", "ss", script)
    begin = time.monotonic()
    process = started(environment=environment, module=SHORT_FOR_SOCKETS)
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - begin < 15, err
    result = json.loads(out)
    outcomes = {each["subject"]: each for each in result["outcomes"]}
    assert outcomes["diagnostics:sockets"]["status"] == "unknown"
    assert "did not end" in outcomes["diagnostics:sockets"]["summary"]
    made = Bundle(result["bundle"]["path"], tmp_path / "unpacked")
    assert made.manifest["collectors"]["sockets"]["status"] == "timed_out"
    assert made.manifest["collectors"]["kernel"]["status"] == "ok"
    assert made.parts["sockets/summary.txt"]["error"]
    assert "sockets: " in made.text("summary.md")
    pids = [int(word) for word in children.read_text().split()]
    assert pids
    assert not any(alive(pid) for pid in pids)


def test_a_file_system_that_hangs_is_left_alone(bundle, tmp_path, monkeypatch):
    """A read that never comes back, as of a network file system whose server is gone: here of a pipe."""
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics import _crew, kernel

    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(kernel, "_FILES", (str(tmp_path / "pipe"),))
    monkeypatch.setattr(_crew, "_PATIENCE", 0.5)
    usual = _crew.Crew._seconds
    monkeypatch.setattr(_crew.Crew, "_seconds", lambda crew, name: 0.5 if name == "kernel" else usual(crew, name))
    made = bundle(collect=["kernel", "network"])
    assert made.manifest["collectors"]["kernel"]["status"] == "timed_out"
    assert "hangs" in made.manifest["collectors"]["kernel"]["reason"]
    assert made.manifest["collectors"]["network"]["status"] == "ok"
    with open(tmp_path / "pipe", "w") as writer:  # let the thread go
        writer.write("")


def test_a_huge_log_is_cut_the_oldest_first_within_little_memory_and_takes_nothing_from_others(started, tmp_path):
    chance = random.Random(1)
    log = tmp_path / "huge.log"
    with log.open("w") as stream:
        for number in range(12):
            block = "".join(
                f"{number:03} password=s3cret{each} user {chance.randbytes(300).hex()} did something\n"
                for each in range(2000)
            )
            stream.write(block * 2)
        stream.write("the very last line\n")
    size = log.stat().st_size
    assert size > 29 << 20
    with (tmp_path / "line.log").open("wb") as stream:  # no line end at all
        stream.write(b"x" * (9 << 20))
    (tmp_path / "small.log").write_text("small\n")
    wrapper = "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:]); "
    wrapper += "print('peak', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)"
    begin = time.monotonic()
    process = started(
        prefix=[sys.executable, "-c", wrapper],
        logs=[str(tmp_path / "*.log")],
        limits={"bytes": "3MiB", "part": "2MiB", "reserve": "1MiB"},
    )
    out, err = process.communicate(timeout=120)
    seconds = time.monotonic() - begin
    peak = int(err.split("peak ")[1])
    print(f"huge log: {seconds:.1f} s, {peak} KiB")
    assert peak < 64 << 10
    result = json.loads(out)
    made = Bundle(result["bundle"]["path"], tmp_path / "unpacked")
    part = made.parts[f"logs{log}"]
    assert part["truncated"]
    assert made.text(f"logs{log}").splitlines()[-1] == "the very last line"
    assert made.text(f"logs{log}").startswith("0"), "it begins with a whole line"
    assert "password=s3cret" not in made.text(f"logs{log}")
    assert made.text(f"logs{tmp_path}/small.log") == "small\n"
    assert made.parts["processes/processes.txt"]["size_bytes"]
    assert sum(each["size_bytes"] for each in made.parts.values()) <= 4 << 20
    assert result["outcomes"][0]["metrics"]["truncated"] >= 1
    assert "cut: the oldest" in made.text("summary.md")


DISK = """
mount -t tmpfs -o size=$1 none "$2"
mkdir -m 700 "$2/b"
[ -z "$5" ] || head -c "$5" /dev/zero > "$2/filler"
"$3" -c "$4" "$6"
echo
df --output=avail -B1 "$2" | tail -1
ls -A "$2/b"
cp "$2"/b/*.tar.* "$7" 2>/dev/null || true
"""


def small_disk(tmp_path, size, filled, **options):
    """The module on a small file system; gives its result, the bytes that are free afterwards, and the names left."""
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    kept.mkdir()
    given = {"directory": str(disk / "b"), "state_dir": str(tmp_path / "state"), **options}
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    argv = [
        *unshare,
        "sh",
        "-c",
        DISK,
        "disk",
        size,
        str(disk),
        sys.executable,
        MODULE,
        filled,
        json.dumps(given),
        str(kept),
    ]
    done = subprocess.run(argv, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    first, _sep, rest = done.stdout.strip().partition("\n")
    lines = rest.split()
    return json.loads(first), int(lines[0]), lines[1:]


def noise(path, size):
    path.write_bytes(random.Random(2).randbytes(size // 2).hex().encode().replace(b"00", b"\n"))
    return str(path)


def test_a_disk_that_is_nearly_full_gets_a_smaller_bundle_and_keeps_its_reserve(tmp_path):
    log = noise(tmp_path / "app.log", 12 << 20)
    result, free, names = small_disk(tmp_path, "8m", "3m", logs=[log], limits={"reserve": "2MiB", "part": "12MiB"})
    assert result["outcomes"][0]["status"] == "warning", result
    assert "the disk has no more room" in result["outcomes"][0]["summary"]
    assert free >= 2 << 20
    (name,) = [each for each in names if each.endswith((".zst", ".gz"))]
    made = Bundle(tmp_path / "kept" / name, tmp_path / "unpacked")
    assert made.manifest["room_was_short"]
    assert "processes/processes.txt" in made.parts
    assert made.parts[f"logs{log}"]["truncated"]


def test_a_disk_without_room_gets_none_and_the_outcome_says_why(tmp_path):
    result, free, names = small_disk(tmp_path, "8m", "6m", limits={"reserve": "2MiB"})
    (outcome,) = result["outcomes"]
    assert outcome["status"] == "critical"
    assert "no bundle was made" in outcome["summary"]
    assert "limits.reserve" in outcome["summary"]
    assert not result["changed"]
    assert names == ["diagnostics.lock"]
    assert free >= (2 << 20) - 8192


def test_a_disk_that_others_fill_meanwhile_keeps_no_half_bundle(tmp_path):
    """A program that is asked by a collector takes the room away that was there at the beginning."""
    environment = program(
        tmp_path / "bin", "ss", f"head -c 20m /dev/zero > {tmp_path}/disk/filler 2>/dev/null; echo sockets"
    )
    old = dict(ENVIRONMENT)
    ENVIRONMENT.update(environment)
    try:
        result, _free, names = small_disk(tmp_path, "8m", "", limits={"reserve": "0"})
    finally:
        ENVIRONMENT.update(PATH=old["PATH"])
    assert result["outcomes"][0]["status"] == "critical", result
    assert "no bundle was made" in result["outcomes"][0]["summary"]
    assert names == ["diagnostics.lock"]


def test_killed_at_any_moment_there_is_no_half_bundle_and_the_next_run_sweeps(started, bundle, tmp_path):
    folder = tmp_path / "bundles"
    log = noise(tmp_path / "app.log", 4 << 20)
    whole = 0
    for number in range(8):
        process = started(logs=[log], collect=["logs", "kernel", "network", "changes"])
        # How long Python and its imports take is nobody's business: from the moment when it begins in the folder.
        while not has_open(process.pid, folder / "diagnostics.lock"):
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(0.2 * number)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        for path in folder.glob("diagnostics_*.tar.zst") if folder.exists() else ():
            subprocess.run(["zstd", "-tq", str(path)], check=True)
            whole += 1
    # What a run leaves that is killed in the worst moments, as it would look.
    (folder / ".diagnostics_20260101T000000Z.tar.zst.77.partial").write_text("half")
    (folder / ".spool.77.partial").write_text("half")
    (folder / ".sos.77.partial").mkdir()
    (folder / ".sos.77.partial" / "x").write_text("half")
    (folder / ".mine.partial").write_text("not ours")
    made = bundle(collect=["kernel"], keep=1)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [".mine.partial", "diagnostics.lock", made.path.name]
    )


def test_two_at_once_wait_for_each_other(started, given):
    processes = [started(collect=["kernel"]) for _number in range(2)]
    results = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert len({each["bundle"]["path"] for each in results}) == 2


def test_an_expression_that_never_ends_hides_the_block_and_not_the_bundle(started, tmp_path):
    (tmp_path / "app.log").write_text("a" * 40 + "!\n")
    (tmp_path / "other.log").write_text("fine\n")
    process = started(collect=["logs"], logs=[str(tmp_path / "*.log")], redact=[r"(a+)+$"], limits={"reserve": "1MiB"})
    result = json.loads(process.communicate(timeout=60)[0])
    made = Bundle(result["bundle"]["path"], tmp_path / "unpacked")
    part = made.parts[f"logs{tmp_path}/app.log"]
    assert "redact[0]" in part["error"]
    assert "could not be searched for secrets" in made.text(f"logs{tmp_path}/app.log")
    assert made.text(f"logs{tmp_path}/other.log") == "fine\n"


def test_a_damaged_archive_and_hostile_names_harm_nobody(bundle, tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "app.log").write_bytes(b"\xff\xfe\x00 binary \x1b[31m\n")
    (logs / "app.log.1.gz").write_bytes(b"\x1f\x8bbroken")
    (logs / "a b\n$(id)|.log").write_text("odd\n")
    made = bundle(collect=["logs"], logs=[str(logs / "*.log")])
    assert made.parts[f"logs{logs}/app.log"]["error"] is None
    assert "damaged" in made.manifest["collectors"]["logs"]["reason"]
    assert (made.folder / f"logs{logs}" / "a_b___id__.log").read_text() == "odd\n"


def test_the_folder_of_bundles_must_not_be_a_link_or_somebody_s_else(run, tmp_path, given):
    (tmp_path / "target").mkdir()
    (tmp_path / "bundles").symlink_to(tmp_path / "target")
    result = run(collect=["kernel"])
    assert result["failed"]
    assert "is no folder" in result["msg"]
    assert not list((tmp_path / "target").iterdir())
