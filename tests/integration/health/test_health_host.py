# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processors, memory, disks, processes, units, ports, files: each ok and each way of being bad (H1, H2, H9, H10)."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

MIB = 2**20


@pytest.fixture
def spawn():
    """Start a real process; it is killed after the test."""
    running = []

    def go(source, *arguments):
        process = subprocess.Popen([sys.executable, "-c", source, *arguments], stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield go
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


WAIT = "import time; print('ready', flush=True); time.sleep(3600)"
BUSY = "print('ready', flush=True)\nwhile True: pass"


# --- cpu -------------------------------------------------------------------------------------------------------------


def test_cpu_is_busy_when_processes_are(check, spawn):
    for _number in range(2 * (os.cpu_count() or 1)):
        spawn(BUSY)
    bad = check("cpu", warning="> 50", critical="> 80")
    assert bad["status"] == "critical"
    assert bad["metrics"]["cpu_percent"] > 80
    assert bad["summary"].startswith(f"cpu_percent is {bad['metrics']['cpu_percent']:.1f} %, bound > 80; ")


def test_cpu_measures_what_the_kernel_says(check):
    load = os.getloadavg()
    outcome = check("cpu", critical="> 100", metrics={"load15_per_cpu": {"warning": ">= 0"}}, interval="50ms")
    metrics = outcome["metrics"]
    assert outcome["status"] == "warning"
    assert 0 <= metrics["cpu_percent"] <= 100
    assert 0 <= metrics["iowait_percent"] <= 100
    assert metrics["load15_per_cpu"] * os.cpu_count() == pytest.approx(load[2], abs=0.3)
    assert ("pressure_avg300_percent" in metrics) == Path("/proc/pressure/cpu").exists()
    assert check("cpu", critical="> 100")["status"] == "ok"


# --- memory ----------------------------------------------------------------------------------------------------------


def test_memory_is_that_of_meminfo(check):
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, available = (int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    outcome = check("memory", warning="> 100", metrics={"oom_kills": {"warning": "> 1e9"}})
    metrics = outcome["metrics"]
    assert outcome["status"] == "ok"
    assert metrics["memory_percent"] == pytest.approx(100 * (1 - available / total), abs=10)
    assert metrics["available_bytes"] == pytest.approx(available, abs=total / 10)
    assert {"swap_percent", "oom_kills"} <= metrics.keys()


@pytest.mark.parametrize("level", ["warning", "critical"])
def test_memory_past_its_bound(check, level):
    outcome = check("memory", metrics={"available_bytes": {level: "> 1 B"}})
    assert outcome["status"] == level
    assert outcome["summary"].startswith("available_bytes is ")


# --- disk ------------------------------------------------------------------------------------------------------------

DISK = {"type": "disk", "warning": "> 85", "critical": "> 90", "metrics": {"inodes_percent": {"warning": "> 80"}}}


@pytest.mark.parametrize(
    ("filled_kib", "files", "status", "reason"),
    [
        (5000, 1, "ok", ""),
        (8900, 1, "warning", "used_percent is 8"),
        (9600, 1, "critical", "used_percent is 9"),
        (100, 90, "warning", "inodes_percent is 9"),
    ],
)
def test_disk_fills(run_in_namespace, tmp_path, filled_kib, files, status, reason):
    lines = f"""
        mount -t tmpfs -o size=10000k,nr_inodes=100 none {tmp_path}
        head -c {filled_kib}K /dev/zero >{tmp_path}/data
        for number in $(seq 2 {files}); do : >{tmp_path}/$number; done
        mkdir {tmp_path}/state
    """
    (outcome,) = run_in_namespace(lines, {"name": "data", **DISK, "paths": [str(tmp_path), str(tmp_path)]})
    assert (outcome["subject"], outcome["status"]) == (f"disk:data:{tmp_path}", status)
    assert outcome["summary"].startswith(reason)
    assert outcome["metrics"]["free_bytes"] == pytest.approx((10000 - filled_kib) * 1024, abs=64 * 1024)


def test_disk_without_paths_is_every_real_file_system_once(run):
    outcomes = run({"name": "disk", "type": "disk", "warning": "> 100"})["outcomes"]
    targets = [each["subject"].partition(":")[2] for each in outcomes]
    assert "/" in targets
    devices = [Path(target).stat().st_dev for target in targets]
    assert len(devices) == len(set(devices))
    df = subprocess.run(["df", "--output=pcent", "/"], check=True, capture_output=True, text=True).stdout
    assert outcomes[targets.index("/")]["metrics"]["used_percent"] == pytest.approx(
        int(df.split()[1].strip("%")), abs=1.1
    )


SOON = {"full_in_seconds": {"warning": "< 14d", "critical": "< 3d"}}


def test_when_a_disk_is_full_needs_days_and_says_so(run, tmp_path):
    """H2: `for` and the prediction keep their state in one file; check mode keeps nothing."""
    disk = {"name": "x", "type": "disk", "paths": [str(tmp_path)], "metrics": SOON}
    (outcome,) = run(disk, _ansible_check_mode=True)["outcomes"]
    assert not (tmp_path / "state").exists()
    (outcome,) = run(disk)["outcomes"]
    assert (outcome["status"], outcome["pending"]) == ("ok", True)
    assert outcome["summary"].endswith("when it is full can be told after 4 days of observations, this is day 1")
    assert "full_in_seconds" not in outcome["metrics"]
    document = json.loads((tmp_path / "state/health.json").read_text())
    ((_time, used),) = document["trend"]["disk"][str(tmp_path)]
    assert used == pytest.approx(psutil.disk_usage(str(tmp_path)).used, rel=0.01)


@pytest.mark.parametrize(
    ("days_left", "status", "text"),
    [(2, "critical", "full in 2."), (10, "warning", "full in "), (900, "ok", "not full within")],
)
def test_when_a_disk_is_full_is_foretold_from_the_days_on_record(run, tmp_path, days_left, status, text):
    usage = psutil.disk_usage(str(tmp_path))
    pace = usage.free / (days_left + 0.1)
    points = [[time.time() - day * 86400, usage.used - day * pace] for day in range(6, 0, -1)]
    (tmp_path / "state").mkdir()
    (tmp_path / "state/health.json").write_text(json.dumps({"trend": {"disk": {str(tmp_path): points}}}))
    (outcome,) = run({"name": "x", "type": "disk", "paths": [str(tmp_path)], "metrics": SOON})["outcomes"]
    assert outcome["status"] == status
    assert text in outcome["summary"]
    assert outcome["metrics"]["full_in_seconds"] == pytest.approx(min(days_left, 365) * 86400, rel=0.2)


def test_a_disk_without_that_bound_keeps_nothing(run, tmp_path):
    run({"name": "x", "type": "disk", "paths": [str(tmp_path)], "warning": "> 100"})
    assert not (tmp_path / "state").exists()


def test_observations_that_cannot_be_used_are_told(run, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state/health.json").write_text(json.dumps({"trend": {"disk": {str(tmp_path): ["x"]}}}))
    result = run({"name": "x", "type": "disk", "paths": [str(tmp_path)], "metrics": SOON})
    assert result["failed"]
    assert result["msg"].startswith(f"{tmp_path}/state/health.json: cannot read the state of earlier runs: ")


def test_disk_of_a_path_that_is_missing_is_unknown(check):
    outcome = check("disk", paths=["/nowhere"], warning="> 85")
    assert outcome["status"] == "unknown"
    assert outcome["summary"] == "paths: /nowhere: No such file or directory. Name a folder that exists."


# --- process ---------------------------------------------------------------------------------------------------------


def test_processes_are_counted_and_measured(run_in_namespace, spawn):
    """The module runs as a process of its own, for its children do not count."""
    mark = f"mark-of-{os.getpid()}-counted"
    source = f"held = [open('/dev/null') for _ in range(60)]; memory = b'x' * {64 * MIB}; {WAIT}"
    spawn(source, mark)
    spawn(BUSY, mark)
    entry = {"type": "process", "pattern": mark}
    plain, files, count = run_in_namespace(
        ":",
        {"name": "plain", **entry},
        {"name": "files", **entry, "metrics": {"open_files": {"warning": "> 50"}}},
        {"name": "count", **entry, "warning": "> 5", "critical": "< 3"},
    )
    metrics = plain["metrics"]
    # It is measured over a tenth of a second, in which one of many busy processes may not have its turn.
    deadline = time.monotonic() + 60
    while metrics["cpu_percent"] <= 5 and time.monotonic() < deadline:
        metrics = run_in_namespace(":", {"name": "plain", **entry})[0]["metrics"]
    assert metrics["processes"] == 2
    assert metrics["open_files"] >= 60
    assert metrics["cpu_percent"] > 5
    assert metrics["memory_percent"] > 0
    assert 0 <= metrics["age_seconds"] < 600
    assert (plain["status"], files["status"], count["status"]) == ("ok", "warning", "critical")


def test_no_process_is_critical(check):
    outcome = check("process", pattern="no-such-program-[0-9]{9}x")
    assert outcome["status"] == "critical"
    assert outcome["summary"] == "processes is 0, bound < 1; 0 processes of no-such-program-[0-9]{9}x"


def test_a_client_program_of_another_check_is_no_process_of_the_server(run, hanging):
    """Psql carries the name in its command line while it hangs: it must not pass for what it asks."""
    mark = f"mark_of_{os.getpid()}_asked"
    outcomes = run(
        {"name": "db", "type": "postgresql", "timeout": "3s",
         "connection": {"host": "127.0.0.1", "port": hanging, "database": mark}},
        *[{"name": f"p{number}", "type": "process", "pattern": mark} for number in range(3)],
        workers=2,
    )["outcomes"]  # fmt: skip
    assert [each["metrics"].get("processes") for each in outcomes] == [None, 0, 0, 0]


def test_a_process_by_its_pid_file(check, spawn, tmp_path):
    process = spawn(WAIT)
    pidfile = tmp_path / "pid"
    pidfile.write_text(f"{process.pid}\n")
    assert check("process", pidfile=str(pidfile))["metrics"]["processes"] == 1
    process.kill()
    # It has ended, and is a zombie as long as nobody asks how.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert check("process", pidfile=str(pidfile))["status"] == "critical"
    process.wait()
    assert check("process", pidfile=str(pidfile))["status"] == "critical"


@pytest.mark.parametrize("content", [None, "", "no number", "-1", "99999999999999", "\xff"])
def test_a_pid_file_that_names_no_process_is_critical(check, tmp_path, content):
    pidfile = tmp_path / "pid"
    if content is not None:
        pidfile.write_text(content, encoding="latin-1")
    assert check("process", pidfile=str(pidfile))["status"] == "critical"


def test_a_pid_file_that_cannot_be_read_is_unknown(check, tmp_path):
    outcome = check("process", pidfile=str(tmp_path))
    assert (outcome["status"], outcome["summary"]) == ("unknown", f"{tmp_path}: Is a directory")


# --- service ---------------------------------------------------------------------------------------------------------


def test_a_unit(run):
    """Units that run are tested on hosts with systemd; here the answer must say what it is that cannot be known."""
    outcomes = run({"name": "api", "type": "service", "units": ["nosuch-unit.service"]})["outcomes"]
    (outcome,) = outcomes
    if Path("/run/systemd/system").exists():
        assert outcome["status"] == "critical"
        assert outcome["summary"].startswith("nosuch-unit.service: systemd knows no such unit")
    else:
        assert outcome["status"] == "unknown"
        assert outcome["summary"].startswith("systemctl ended with status 1: System has not been booted with systemd")


def test_a_host_without_systemctl_is_unknown_by_package(check, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    outcome = check("service", units=["a.service"])
    assert outcome["status"] == "unknown"
    assert outcome["summary"].startswith("systemctl is not installed on this host. Install the package systemd")


# --- port ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def full() -> int:
    """The port of a server whose queue is full: the kernel answers nobody any more."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _number in range(8):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()[1]


def test_a_port_that_is_open(check, hanging):
    outcome = check("port", port=hanging)
    assert outcome["status"] == "ok"
    assert outcome["metrics"]["connect_seconds"] < 5
    assert check("port", port=hanging, warning=">= 0")["status"] == "warning"


def test_a_port_that_is_open_and_must_not_be(check, hanging):
    outcome = check("port", port=hanging, state="closed")
    assert (outcome["status"], outcome["summary"]) == ("critical", f"127.0.0.1:{hanging} is open, but must be closed")


def test_a_port_that_is_closed(check):
    assert check("port", port=1, state="closed")["status"] == "ok"
    outcome = check("port", port=1)
    assert (outcome["status"], outcome["summary"]) == ("critical", "127.0.0.1:1 cannot be reached: Connection refused")


def test_a_port_that_does_not_answer(check, full):
    outcome = check("port", port=full, timeout="300ms")
    assert (outcome["status"], outcome["summary"]) == ("critical", f"127.0.0.1:{full} cannot be reached: timed out")


def test_a_host_name_that_is_none(check):
    """Not reached, so bad where it must be open; but no proof that a port is closed."""
    assert check("port", host="a..b", port=80)["status"] == "critical"
    outcome = check("port", host="a..b", port=80, state="closed")
    assert outcome["status"] == "unknown"
    assert outcome["summary"].startswith("a..b:80: the name cannot be looked up: ")


# --- file ------------------------------------------------------------------------------------------------------------


def test_files(check, tmp_path):
    for number, name in enumerate(["a.log", "b.log", "deep/c.log"]):
        path = tmp_path / "logs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1000)
        os.utime(path, (time.time() - 3600 * (number + 1),) * 2)
    (tmp_path / "logs/dangling").symlink_to("nowhere")
    glob = str(tmp_path / "logs/**")
    outcome = check("file", path=glob, warning="> 2h", metrics={"size_bytes": {"critical": "> 1 MiB"}})
    assert outcome["status"] == "ok"
    assert (outcome["metrics"]["files"], outcome["metrics"]["size_bytes"]) == (3, 3000)
    assert outcome["metrics"]["age_seconds"] == pytest.approx(3600, abs=120)
    assert check("file", path=glob, warning="> 30m")["status"] == "warning"
    assert check("file", path=glob, metrics={"size_bytes": {"critical": "> 2 kB"}})["status"] == "critical"


def test_a_file_that_is_missing_is_critical_unless_the_number_has_bounds_of_its_own(check, tmp_path):
    outcome = check("file", path=f"{tmp_path}/none")
    assert outcome["status"] == "critical"
    assert outcome["summary"] == f"files is 0, bound < 1; {tmp_path}/none matches no file"
    assert check("file", path=f"{tmp_path}/none", metrics={"files": {"warning": "> 5"}})["status"] == "ok"


def test_a_file_from_the_future_is_not_of_negative_age(check, tmp_path):
    (tmp_path / "a").touch()
    os.utime(tmp_path / "a", (time.time() + 9999,) * 2)
    assert check("file", path=f"{tmp_path}/a")["metrics"]["age_seconds"] == 0
