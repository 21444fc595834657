# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs of the Monitoring Plugins as Debian has them, and programs that misbehave (H13)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time

import pytest

PLUGINS = "/usr/lib/nagios/plugins"
SECRET = "geheim-0123456789"


@pytest.fixture
def script(tmp_path):
    """Write a program; return its path."""

    def go(text, interpreter="/bin/sh"):
        path = tmp_path / "check_it"
        path.write_text(f"#!{interpreter}\n{text}\n")
        path.chmod(0o755)
        tmp_path.chmod(0o755)
        return str(path)

    return go


# --- Debian's monitoring-plugins-basic -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [("0", "fine", "ok"), ("1", "hm", "warning"), ("2", "bad", "critical"), ("3", "who knows", "unknown")],
)
def test_exit_codes(check, status, text, expected):
    outcome = check("command", argv=[f"{PLUGINS}/check_dummy", status, text])
    assert outcome["status"] == expected
    assert outcome["summary"] == f"{'OK' if expected == 'ok' else expected.upper()}: {text}"
    assert outcome["details"]["exit_code"] == int(status)


def test_check_load_by_its_bare_name(check):
    outcome = check("command", argv=["check_load", "-w", "9999,9999,9999", "-c", "9999,9999,9999"], warning=">= 0")
    assert outcome["status"] == "warning"
    assert set(outcome["metrics"]) == {"value", "load1", "load5", "load15"}
    assert outcome["metrics"]["value"] == outcome["metrics"]["load1"]
    assert outcome["metrics"]["load15"] == pytest.approx(os.getloadavg()[2], abs=1)
    assert "LOAD OK" in outcome["summary"]
    assert "|" not in outcome["summary"]


def test_check_procs_and_bounds_of_the_user(check):
    argv = [f"{PLUGINS}/check_procs", "-w", "1:99999"]
    assert check("command", argv=argv)["status"] == "ok"
    outcome = check("command", argv=argv, metrics={"procs": {"warning": "> 0", "critical": "> 99999"}})
    assert outcome["status"] == "warning"
    assert outcome["summary"].startswith(f"procs is {outcome['metrics']['procs']:g}, bound > 0; PROCS OK: ")


def test_check_disk_in_bytes(check):
    outcome = check("command", argv=["check_disk", "-w", "1%", "-c", "1%", "-p", "/"])
    stat = os.statvfs("/")
    used = (stat.f_blocks - stat.f_bfree) * stat.f_frsize
    assert outcome["metrics"]["root_bytes"] == pytest.approx(used, rel=0.05)


def test_check_http_and_check_tcp_of_the_application(check, app):
    port = app.url.rpartition(":")[2]
    outcome = check("command", argv=["check_http", "-H", "127.0.0.1", "-p", port, "-u", "/health"])
    assert outcome["status"] == "ok"
    assert outcome["summary"].startswith("HTTP OK: ")
    assert outcome["metrics"]["size_bytes"] > 10
    assert 0 < outcome["metrics"]["time_seconds"] < 10
    outcome = check("command", argv=["check_tcp", "-H", "127.0.0.1", "-p", "1"])
    assert (outcome["status"], outcome["metrics"]) == ("critical", {})
    assert "Connection refused" in outcome["summary"]


def test_a_figure_that_the_plugin_did_not_give_is_unknown(check):
    outcome = check("command", argv=["check_dummy", "0"], metrics={"load1": {"critical": "> 1"}})
    assert outcome["status"] == "unknown"
    assert outcome["summary"].startswith("load1 is not known here; ")


# --- Output ----------------------------------------------------------------------------------------------------------


def test_several_lines(check, script):
    path = script("""cat <<'END'
DISK WARNING - /home is full | /=2643MB;5948;5958;0;5968
/home 95 %
/var is well | /boot=68MB;88;93;0;98
/home=69357MB;253404;253409;0;253414
'a b=c'=15%
END
exit 1""")
    outcome = check("command", argv=[path])
    assert (outcome["status"], outcome["summary"]) == ("warning", "DISK WARNING - /home is full")
    assert outcome["details"]["output"] == "/home 95 %\n/var is well"
    assert outcome["metrics"] == {
        "value": 2643 * 2**20,
        "root_bytes": 2643 * 2**20,
        "boot_bytes": 68 * 2**20,
        "home_bytes": 69357 * 2**20,
        "a_b_c_percent": 15,
    }


@pytest.mark.parametrize(
    ("text", "status", "summary"),
    [
        ("exit 4", "unknown", "check_it ended with status 4, which is none of a plugin's: no output"),
        ("echo sad >&2; exit 127", "unknown", "check_it ended with status 127, which is none of a plugin's: sad"),
        ("echo well; kill -SEGV $$", "unknown", "check_it was ended by signal 11: well"),
        ("echo 'no output, but an error' >&2", "ok", "no output, but an error"),
        ("exit 2", "critical", "no output"),
        (r"printf '\303\050 \000 \033[31mred | x=1\n'", "ok", None),
    ],
    ids=range(6),
)
def test_plugins_that_are_odd(check, script, text, status, summary):
    outcome = check("command", argv=[script(text)])
    assert outcome["status"] == status
    assert summary is None or outcome["summary"] == summary


def test_a_program_that_is_missing_or_no_program_is_unknown(check, tmp_path):
    outcome = check("command", argv=[f"{tmp_path}/none"])
    assert outcome["status"] == "unknown"
    assert (
        outcome["summary"]
        == f"argv: {tmp_path}/none: No such file or directory. Install the plugin, or correct its path."
    )
    outcome = check("command", argv=["check_nothing_at_all"])
    assert (outcome["status"], outcome["summary"][:41]) == ("unknown", "check_nothing_at_all is not installed on ")
    (tmp_path / "text").write_text("x")
    assert check("command", argv=[f"{tmp_path}/text"])["status"] == "unknown"


def test_nothing_is_read_as_shell(check, tmp_path):
    outcome = check("command", argv=["check_dummy", "0", f"$(touch {tmp_path}/made) ; `id` $HOME ~ *"])
    assert outcome["summary"] == f"OK: $(touch {tmp_path}/made) ; `id` $HOME ~ *"
    assert not (tmp_path / "made").exists()


def test_the_environment_is_given_and_not_told(run, script):
    path = script('echo "password is $PASSWORD, $LC_ALL"; echo "again $PASSWORD"')
    result = run({"name": "x", "type": "command", "argv": [path], "environment": {"PASSWORD": SECRET}})
    (outcome,) = result["outcomes"]
    assert outcome["summary"] == "password is ********, C.UTF-8"
    assert outcome["details"]["output"] == "again ********"
    assert SECRET not in json.dumps(result)


# --- Programs that do not end ----------------------------------------------------------------------------------------


def alive(mark):
    found = subprocess.run(["pgrep", "-f", mark], check=False, capture_output=True, text=True).stdout
    return [pid for pid in found.split() if int(pid) != os.getpid()]


def gone(mark):
    deadline = time.monotonic() + 20
    while alive(mark) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not alive(mark)


@pytest.mark.parametrize("stubborn", ["", "trap '' TERM; "])
def test_a_plugin_that_hangs_is_killed_with_its_children(check, script, stubborn):
    """Faults: within its timeout, and five seconds more for one that does not listen."""
    mark = f"31{os.getpid()}{len(stubborn)}"
    path = script(f"{stubborn}sleep {mark} & (sleep {mark}; true) & echo begun; sleep {mark}; wait")
    began = time.monotonic()
    outcome = check("command", argv=[path], timeout="500ms")
    assert time.monotonic() - began < 15
    assert (outcome["status"], outcome["summary"]) == ("unknown", "check_it: did not end within 0.5 s, killed")
    assert gone(f"sleep {mark}")


def test_a_plugin_that_hangs_delays_nobody(run, script):
    path = script("sleep 600")
    began = time.monotonic()
    hangs, well = run(
        {"name": "hangs", "type": "command", "argv": [path], "timeout": "1s"},
        {"name": "well", "type": "command", "argv": ["check_dummy", "0"]},
    )["outcomes"]
    assert (hangs["status"], well["status"]) == ("unknown", "ok")
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("stream", ["1", "2"])
def test_output_without_end_is_not_kept(run_in_namespace, script, stream):
    """Faults, B9: gigabytes come within the time, 64 KiB stay; the module has no more memory than it needs for those."""
    path = script(f"echo 'WELL | x=1'; exec yes 'a line of no end' >&{stream}")
    (outcome,) = run_in_namespace("ulimit -v 600000", {"name": "x", "type": "command", "argv": [path], "timeout": "2s"})
    assert (outcome["status"], outcome["summary"]) == ("unknown", "check_it: did not end within 2 s, killed")


def test_much_output_is_cut_and_the_plugin_ends_by_itself(check, script):
    path = script("echo 'WELL | x=1'; head -c 50000000 /dev/zero | tr '\\0' x; exit 1")
    outcome = check("command", argv=[path], timeout="60s")
    assert (outcome["status"], outcome["summary"], outcome["metrics"]) == ("warning", "WELL", {"value": 1, "x": 1})
    assert len(outcome["details"]["output"]) == 1000


def test_a_plugin_that_leaves_a_child_behind_is_not_waited_for(check, script):
    """A child that keeps the pipes open is no reason to wait for the timeout."""
    mark = f"29{os.getpid()}"
    path = script(f"sleep {mark} & echo 'BEGUN | x=2'")
    began = time.monotonic()
    outcome = check("command", argv=[path], timeout="60s")
    try:
        assert time.monotonic() - began < 20
        assert (outcome["status"], outcome["metrics"]["x"]) == ("ok", 2)
    finally:
        for pid in alive(f"sleep {mark}"):
            os.kill(int(pid), 9)


def test_as_another_user(check):
    """Root may become anybody; a user may where sudo lets it."""
    argv = ["/bin/sh", "-c", 'echo "$(id -un) $HOME"']
    if os.geteuid() == 0:
        assert check("command", argv=argv, run_as="nobody")["summary"] == "nobody /nonexistent"
        outcome = check("command", argv=["/root/none"], run_as="nobody")
        assert outcome["status"] == "unknown"
        assert check("command", argv=["/etc/shadow"], run_as="nobody")["status"] == "unknown"
    outcome = check("command", argv=argv, run_as="no-such-user")
    assert (outcome["status"], outcome["summary"]) == (
        "unknown",
        "run_as: no user 'no-such-user' on this host. Create it, or name another.",
    )


def test_every_plugin_that_is_installed_can_be_told_what_it_lacks(run):
    """H13: each of them is run with no arguments: whatever it says, an outcome comes of it, none of them ok for nothing."""
    names = sorted(
        name for name in os.listdir(PLUGINS) if name.startswith("check_") and name not in ("check_log", "check_dhcp")
    )
    outcomes = run(
        *[{"name": name, "type": "command", "argv": [name], "timeout": "20s"} for name in names], timeout=120, workers=4
    )["outcomes"]
    assert [each["subject"] for each in outcomes] == [f"command:{name}" for name in names]
    for each in outcomes:
        assert each["summary"], each
        assert not re.search(r"an error that it does not know", each["summary"]), each
