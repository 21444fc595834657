# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults of updates, caused for real: killed, interrupted, locked, no room, broken packages (K8)."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import subprocess
import threading
import time

import psutil

from .conftest import by_subject

KILLS = 4


def killed(process):
    """Kill it and all that it started, at once; apt has dpkg in a session of its own."""
    parent = psutil.Process(process.pid)
    stopped = set()
    # One that starts another while these are looked for must not leave it alive.
    while more := {parent, *parent.children(recursive=True)} - stopped:
        for each in more:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.suspend()
        stopped |= more
    for each in stopped:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()
    process.stdout.close()


def wait_for_dpkg(machine, process):
    """Wait until dpkg has begun: it then notes each step in a file of its own."""
    while not any(each.name.isdigit() for each in (machine.admin / "updates").iterdir()):
        assert process.poll() is None, "it ended before dpkg began"
        time.sleep(0.005)


def test_killed_at_any_moment_the_next_run_ends_what_was_begun(machine, process, run, tmp_path):
    """apt and dpkg die with the module; some package is then half installed, or nothing has begun.

    How long a run takes changes with what else the machine does: every other kill is counted from what dpkg does.
    """
    names = [f"part{number}" for number in range(4)]
    for name in names:
        machine.build("base", name, "1.0", postinst="sleep 0.1\n")
    machine.install(*names)
    for name in names:
        machine.build("security", name, "1.1", postinst="sleep 0.1\n")
    clock = time.monotonic()
    whole = process()
    assert whole.wait() == 0
    took = time.monotonic() - clock
    whole.stdout.close()
    state = tmp_path / "state/patching.json"
    seen, number = set(), 0
    while number < KILLS or ((True, True) not in seen and number < 5 * KILLS):
        machine.apt("-y", "--allow-downgrades", "install", *[f"{name}=1.0" for name in names], "library=1.0")
        running = process()
        if number % 2:
            wait_for_dpkg(machine, running)
            # The programs of the four packages alone take longer.
            time.sleep(0.3 * random.random())
        else:
            time.sleep(took * (0.3 + 0.6 * (number + random.random()) / KILLS))
        killed(running)
        broken = subprocess.run(["dpkg", "--audit"], capture_output=True, text=True, check=True).stdout
        begun = "open" in json.loads(state.read_text())
        seen.add((bool(broken) or bool(os.listdir(machine.admin / "updates")), begun))
        result = run()
        assert result["status"] == "ok", result
        assert [machine.version(name) for name in names] == ["1.1"] * 4
        assert subprocess.run(["dpkg", "--audit"], capture_output=True, text=True, check=True).stdout == ""
        kept = json.loads(state.read_text())
        assert "open" not in kept
        if begun:
            # The versions from before are those from before the run that was killed.
            assert {pair[0] for name, pair in kept["runs"][-1]["packages"].items() if name in names} == {"1.0"}
        number += 1
    assert (True, True) in seen, "none of the kills hit dpkg"


def test_dpkg_that_goes_on_when_the_run_was_killed_is_waited_for(machine, process, run, tmp_path):
    started = tmp_path / "started"
    machine.build("security", "library", "1.0+deb12u4", postinst=f"touch {started}; sleep 2\n")
    running = process()
    while not started.exists():
        time.sleep(0.02)
    running.kill()
    running.wait()
    running.stdout.close()
    result = run()
    assert (result["status"], result["versions"]) == ("ok", {"library": ["1.0", "1.0+deb12u4"]})


def test_a_package_that_dpkg_died_unpacking_is_unpacked_anew(machine, process, run, tmp_path):
    """Between two notes of dpkg a package is unpacked and must be reinstalled: it is not configured before, but refused."""
    started, gate = tmp_path / "started", tmp_path / "gate"
    machine.build("security", "library", "1.0+deb12u6", preinst=f"touch {started}; test -e {gate} || sleep 60\n")
    running = process()
    while not started.exists():
        time.sleep(0.02)
    killed(running)
    gate.touch()
    # As if dpkg had died before its last note, which is of the moment before the script.
    last = max(each for each in (machine.admin / "updates").iterdir() if each.name.isdigit())
    assert "half-installed" in last.read_text()
    last.unlink()
    argv = ["dpkg-query", "--show", "--showformat", "${db:Status-Abbrev}", "library"]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "iUR"
    result = run()
    assert (result["status"], result["versions"]) == ("ok", {"library": ["1.0", "1.0+deb12u6"]}), result["outcomes"]
    assert machine.version("library") == "1.0+deb12u6"


def test_dpkg_that_was_interrupted_is_ended_first(machine, run, tmp_path):
    gate = tmp_path / "gate"
    machine.build("base", "slow", "1.0", postinst=f"test -e {gate}\n")
    machine.apt("update")
    assert machine.apt("-y", "install", "slow", check=False).returncode != 0
    assert machine.version("slow").startswith("half-configured")
    gate.touch()
    planned = by_subject(run(_ansible_check_mode=True))["patching"]
    assert planned["summary"] == "would be ended first: not installed whole: slow"
    told = by_subject(run())["patching"]
    assert told["status"] == "ok"
    assert told["summary"].startswith("not installed whole: slow, which was ended; 1 packages updated")
    assert machine.version("slow") == "1.0"


def test_a_package_that_cannot_be_configured_is_critical_and_the_next_run_tries_again(machine, run, tmp_path):
    gate = tmp_path / "gate"
    machine.build("security", "library", "1.0+deb12u2", postinst=f"test -e {gate}\n")
    result = run()
    told = by_subject(result)["patching"]
    assert (told["status"], result["changed"]) == ("critical", True)
    assert "not updated: apt-get ended with status 100" in told["summary"]
    gate.touch()
    result = run()
    assert (result["status"], machine.version("library")) == ("ok", "1.0+deb12u2")
    assert result["versions"] == {"library": ["1.0", "1.0+deb12u2"]}


def test_a_lock_is_waited_for_and_told_when_it_stays(machine, run):
    """Both locks: that of the lists, and dpkg's."""
    for name in ("var/lib/apt/lists/lock", "var/lib/dpkg/lock-frontend"):
        with machine.path(name).open("w") as stream:
            fcntl.lockf(stream, fcntl.LOCK_EX)
            # Locks of this kind are a process's: whoever asks must be another, as apt is.
            told = by_subject(run(lock_timeout="1s"))["patching"]
            assert told["status"] == "critical"
            assert "another program has had the lock of apt or dpkg for 1 s" in told["summary"], told
            timer = threading.Timer(1.5, fcntl.lockf, (stream, fcntl.LOCK_UN))
            timer.start()
            result = run(lock_timeout="30s")
            timer.join()
        assert result["status"] == "ok", result
        machine.apt("-y", "--allow-downgrades", "install", "library=1.0")


def test_no_room_is_found_before_anything_is_fetched(machine, run):
    machine.build("security", "library", "1.0+deb12u9", size=10**9)
    told = by_subject(run())["patching"]
    assert told["status"] == "critical"
    assert "the updates need 953.7 GiB, and 1.0 MiB (option free) must be left" in told["summary"]
    assert machine.version("library") == "1.0"
    assert not list(machine.path("var/cache/apt/archives").glob("*deb12u9*"))


def test_a_repository_that_is_gone_is_critical_and_nothing_is_begun(machine, run, tmp_path):
    (machine.folder / "security").rename(tmp_path / "elsewhere")
    told = by_subject(run())["patching"]
    assert told["status"] == "critical"
    assert "not updated: apt-get ended with status 100" in told["summary"]
    assert not (tmp_path / "state/patching.json").exists()
    assert machine.version("library") == "1.0"


def test_an_archive_that_is_gone_is_critical_and_the_next_run_goes_on(machine, run):
    (archive,) = (machine.folder / "security").glob("library_*.deb")
    archive.rename(machine.folder / "kept.deb")
    assert by_subject(run())["patching"]["status"] == "critical"
    assert machine.version("library") == "1.0"
    (machine.folder / "kept.deb").rename(archive)
    assert run()["versions"] == {"library": ["1.0", "1.0+deb12u1"]}


def test_nothing_is_ever_removed(machine, run):
    """An essential package that conflicts with another is one for which apt would remove that other."""
    machine.build("base", "rival", "1.0")
    machine.install("rival")
    machine.build("security", "rival", "2.0", more=["Essential: yes", "Conflicts: tool"])
    told = by_subject(run())["patching"]
    assert (machine.version("tool"), machine.version("rival")) == ("1.0", "1.0")
    assert told["status"] == "critical"
    assert "apt would remove tool. Do it by hand, or hold what needs it" in told["summary"]
    assert run(hold=["rival"])["versions"] == {"library": ["1.0", "1.0+deb12u1"]}


def test_two_at_once(machine, process, run, tmp_path):
    machine.build("security", "library", "1.0+deb12u3", postinst="sleep 4\n")
    first = process()
    while not (tmp_path / "state/patching.json").exists():
        time.sleep(0.05)
    second = run()
    assert second["failed"] is True
    assert "another run holds this lock" in second["msg"]
    assert first.wait() == 0
    assert json.loads(first.stdout.read())["versions"] == {"library": ["1.0", "1.0+deb12u3"]}
    first.stdout.close()
