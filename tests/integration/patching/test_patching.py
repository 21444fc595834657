# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Updates by the real apt on a machine whose folders and repositories are made here (K8)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._health import packages

from .conftest import by_subject

SUNDAY = {"days": ["sun"], "start": "02:00", "end": "04:00", "zone": "Europe/Madrid"}


def test_k8_security_updates_alone_with_the_way_back(machine, run, tmp_path):
    result = run()
    assert (result["changed"], result["status"], result["reboot"]) == (True, "ok", False)
    assert result["versions"] == {"library": ["1.0", "1.0+deb12u1"]}
    assert (machine.version("library"), machine.version("tool")) == ("1.0+deb12u1", "1.0")
    told = by_subject(result)["patching"]
    assert told["summary"] == "1 packages updated (library)"
    assert told["details"]["way_back"] == ["apt-get", "install", "--allow-downgrades", "library=1.0"]
    (kept,) = json.loads((tmp_path / "state/patching.json").read_text())["runs"]
    assert kept["packages"] == {"library": ["1.0", "1.0+deb12u1"]}
    assert kept["began"] <= kept["ended"]
    # The library was there for the tool alone, and still is.
    marked = subprocess.run(["apt-mark", "showauto"], capture_output=True, text=True, check=True)
    assert marked.stdout.split() == ["library"]
    again = run()
    assert (again["changed"], by_subject(again)["patching"]["summary"]) == (False, "nothing to update")
    # The way back that is told is one.
    machine.apt("-y", *told["details"]["way_back"][1:])
    assert machine.version("library") == "1.0"


def test_k8_all_updates_but_those_held_and_only_those_named(machine, run):
    machine.build("security", "other", "2.0")
    assert run(updates="all", hold=["lib*"])["versions"] == {"tool": ["1.0", "1.1"]}
    assert run(updates="all", packages=["tool"])["versions"] == {}
    assert run(updates="all", packages=["library"])["versions"] == {"library": ["1.0", "1.0+deb12u1"]}
    assert machine.version("other") == "", "nothing new is installed"


def test_what_an_update_needs_and_is_held_is_told_before_anything_is_changed(machine, run):
    machine.build("base", "library", "1.5")
    machine.build("security", "tool", "1.2", depends="library (>= 1.5)")
    result = run(hold=["library"])
    told = by_subject(result)["patching"]
    assert told["status"] == "critical"
    assert "library is held, and the updates need 1.5 of it" in told["summary"]
    assert (machine.version("tool"), machine.version("library")) == ("1.0", "1.0")
    assert run(packages=["tool"])["versions"] == {"library": ["1.0", "1.5"], "tool": ["1.0", "1.2"]}


def test_check_mode_shows_the_plan_and_changes_nothing(machine, run, tmp_path):
    machine.apt("update")
    result = run(updates="all", _ansible_check_mode=True)
    told = by_subject(result)["patching"]
    assert result["changed"] is True
    assert told["details"]["plan"] == {"library": ["1.0", "1.0+deb12u1"], "tool": ["1.0", "1.1"]}
    assert told["metrics"] == {"updates": 2, "security_updates": 1}
    assert (machine.version("library"), machine.version("tool")) == ("1.0", "1.0")
    assert not (tmp_path / "state").exists()


def test_outside_its_window_it_says_when_the_next_one_begins(machine, run):
    begin = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 7200))
    result = run(now=False, windows=[{"begin": begin, "end": end}])
    (told,) = result["outcomes"]
    assert (result["changed"], result["status"]) == (False, "skipped")
    assert told["summary"] == f"no maintenance window is open; the next one begins at {begin}"
    assert machine.version("library") == "1.0"


def test_in_its_window_it_works_unless_too_little_is_left(machine, run):
    begin = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60))
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 600))
    result = run(now=False, windows=[{"begin": begin, "end": end}])
    assert result["status"] == "skipped"
    assert "sooner than least_time; there is none any more" in result["outcomes"][0]["summary"]
    result = run(now=False, windows=[{"begin": begin, "end": end}], least_time="5m")
    assert result["versions"] == {"library": ["1.0", "1.0+deb12u1"]}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"now": False}, "windows: [] names no window. Give {days: [sun]"),
        ({"windows": [{**SUNDAY, "zone": "Europe/Nowhere"}]}, "windows[0].zone: 'Europe/Nowhere' is no time zone that this"),
        ({"windows": [{**SUNDAY, "start": "25:00"}]}, "windows[0].start: '25:00' is no time of day. Write it as"),
        ({"windows": [{**SUNDAY, "days": ["someday"]}]}, "windows[0].days: 'someday' is no day. Use some of mon, tue"),
        ({"windows": [{"begin": "2026-01-01", "end": "2026-01-02"}]}, "windows[0].begin: '2026-01-01' is no time with a zone"),
        ({"windows": [{**SUNDAY, "weeks": 2}]}, "is no window. Give days, start, end and zone, or begin and end."),
        ({"hold": ["*"]}, "hold: '*' would hold everything. Name packages"),
        ({"packages": ["-o=x"]}, "packages: '-o=x' is no name of a package"),
        ({"programs": [{"name": "x", "match": "(", "command": ["true"]}]}, "programs.match: '(' is no regular expression"),
        ({"least_time": "soon"}, "least_time: 'soon'"),
        ({"checks": [{"name": "x", "type": "nonsense"}]}, "'nonsense' is no check type"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_before_anything_is_looked_at(run, tmp_path, given, told):
    result = run(**given)
    assert result["failed"] is True
    assert told in result["msg"]
    assert not (tmp_path / "state").exists()


def test_files_changed_by_hand_are_kept(machine, run):
    machine.build("base", "service", "1.0", files={"etc/service.conf": "a = 1\n"}, conffiles=["etc/service.conf"])
    machine.install("service")
    machine.path("etc/service.conf").write_text("a = 99\n")
    machine.build("security", "service", "1.1", files={"etc/service.conf": "a = 2\n"}, conffiles=["etc/service.conf"])
    assert run()["versions"]["service"] == ["1.0", "1.1"]
    assert machine.path("etc/service.conf").read_text() == "a = 99\n"
    assert machine.path("etc/service.conf.dpkg-dist").read_text() == "a = 2\n"


HOLDER = """
import ctypes, os, sys, time
ctypes.CDLL(sys.argv[1])
open(sys.argv[2], "w").write(str(os.getpid()))
time.sleep(600)
"""


def test_a_reboot_that_is_due_is_asked_for_only_where_it_is_allowed(machine, run, tmp_path, monkeypatch):
    """The file that packages leave when they want one; the host's own is not touched."""
    mark = tmp_path / "reboot-required"
    monkeypatch.setattr(packages, "REBOOT_FILES", (str(mark),))
    machine.build("security", "library", "1.0+deb12u5", postinst=f"touch {mark}\n")
    result = run()
    told = by_subject(result)["reboot"]
    assert (result["reboot"], told["status"]) == (False, "warning")
    assert "left to you (reboot: never)" in told["summary"]
    assert run(reboot="when_needed", _ansible_check_mode=True)["reboot"] is False
    result = run(reboot="when_needed")
    assert (result["reboot"], by_subject(result)["reboot"]["status"]) == (True, "ok")
    mark.unlink()
    assert "reboot" not in by_subject(run(reboot="when_needed"))


def libc():
    """The C library that this process runs from."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        return Path(next(line.split()[-1] for line in maps if "/libc.so" in line))


@pytest.fixture
def holder(machine, tmp_path):
    """Programs that use a library of a package, and a command that restarts each by name."""
    library = libc().read_bytes()
    machine.build("base", "shared", "1.0", files={"usr/lib/libshared.so.1": library})
    machine.install("shared")
    machine.build("security", "shared", "1.1", files={"usr/lib/libshared.so.1": library})
    script = tmp_path / "holder.py"
    script.write_text(HOLDER)
    path = machine.path("usr/lib/libshared.so.1")
    restart = tmp_path / "restart"
    restart.write_text(
        f"#!/bin/sh\necho $1 >> {tmp_path}/order\nkill $(cat {tmp_path}/$1)\nrm {tmp_path}/$1\n"
        f"setsid {sys.executable} {script} {path} {tmp_path}/$1 >/dev/null 2>&1 &\n"
        f"while ! [ -s {tmp_path}/$1 ]; do sleep 0.02; done\n"
    )
    restart.chmod(0o755)
    names = []

    def start(name):
        names.append(name)
        subprocess.Popen([sys.executable, script, path, tmp_path / name], start_new_session=True)
        while not ((tmp_path / name).exists() and (tmp_path / name).read_text()):
            time.sleep(0.02)
        return {"name": name, "match": f"holder.py .*/{name}$", "command": [str(restart), name]}

    yield start
    for name in names:
        os.kill(int((tmp_path / name).read_text()), 9)


def test_programs_that_run_what_was_replaced_are_restarted_in_their_order(run, holder, tmp_path):
    programs = [holder(name) for name in ("alpha", "beta", "gamma")]
    old = {name: (tmp_path / name).read_text() for name in ("alpha", "beta", "gamma")}
    planned = by_subject(run(programs=programs, restart_order=["gamma"], _ansible_check_mode=True))
    assert not [name for name in planned if name.startswith("restart:")], "nothing is replaced yet"
    result = run(programs=programs, restart_order=["gamma", "beta"])
    told = by_subject(result)
    assert told["restart:alpha"]["status"] == "ok"
    assert "libshared.so.1" in told["restart:alpha"]["summary"]
    assert (tmp_path / "order").read_text().split() == ["gamma", "beta", "alpha"]
    assert all((tmp_path / name).read_text() != pid for name, pid in old.items())
    assert not [each for each in by_subject(run(programs=programs)) if each.startswith("restart:")]


def test_a_program_that_nobody_restarts_is_told(run, holder):
    holder("alone")
    told = [each for subject, each in by_subject(run()).items() if subject.startswith("restart:")]
    assert [each["status"] for each in told] == ["warning"]
    assert "still runs what was replaced (libshared.so.1): restart it by hand" in told[0]["summary"]


def test_a_restart_that_fails_is_critical(run, holder):
    program = holder("alone")
    told = by_subject(run(programs=[{**program, "command": ["false"]}]))
    assert told["restart:alone"]["status"] == "critical"
    assert "alone could not be restarted: false ended with status 1" in told["restart:alone"]["summary"]


def test_the_checks_are_made_after_and_what_was_sick_before_says_so(machine, run, tmp_path):
    page = tmp_path / "page"
    machine.build("security", "library", "1.0+deb12u2", postinst=f"rm {page}\n")
    page.touch()
    checks = [
        {"name": "page", "type": "file", "path": str(page)},
        {"name": "gone", "type": "file", "path": str(tmp_path / "never")},
    ]
    told = by_subject(run(checks=checks, checks_within="0s"))
    assert {told[f"file:{name}"]["stage"] for name in ("page", "gone")} == {"patching"}
    assert (told["file:page"]["status"], told["file:gone"]["status"]) == ("critical", "critical")
    assert "before the updates" not in told["file:page"]["summary"]
    assert told["file:gone"]["summary"].endswith("(and before the updates too)")


def test_a_service_may_take_its_time_to_be_well_after(machine, run, tmp_path):
    page = tmp_path / "page"
    machine.build("security", "library", "1.0+deb12u2", postinst=f"(sleep 2; touch {page}) >/dev/null 2>&1 &\n")
    told = by_subject(run(checks=[{"name": "page", "type": "file", "path": str(page)}], checks_within="20s"))
    assert told["file:page"]["status"] == "ok"
