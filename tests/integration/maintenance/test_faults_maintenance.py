# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong with sre.runbooks.maintenance: whoever is killed, the mode goes off at the end of its lease (I9)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from reference_app.process import Process

from ansible_collections.sre.runbooks.plugins.module_utils._maintenance import _keeper

from .conftest import CHECKOUT, http, is_on, until

MODULE = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sre.runbooks.plugins.modules import maintenance
with patch_module_args(json.loads(sys.stdin.read())):
    maintenance.main()
"""
# The module, but killed as `kill -9` does, right before the step that the argument counts.
STEPS = (
    """
import os, signal, sys
from ansible_collections.sre.runbooks.plugins.module_utils._maintenance import _lease, _run, _silence, _start, file
left = [int(sys.argv[1])]
def killed_before(module, name):
    real = getattr(module, name)
    def step(*arguments, **options):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    setattr(module, name, step)
for module, name in ((_lease, "save"), (_lease, "remove"), (_lease, "note"), (_start, "keep"), (_silence, "ensure"), (_silence, "expire"), (file, "turn")):
    killed_before(module, name)
"""
    + MODULE
)
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CHECKOUT / ".work/collections")}


def start(host, state, code=MODULE, *arguments, environment=ENVIRONMENT, **options):
    """Start the module as a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )  # fmt: skip
    process.stdin.write(json.dumps(host.arguments(state, **options)))
    process.stdin.close()
    return process


def result(process):
    with process:
        text = process.stdout.read()
    return json.loads(text)


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 6])
def test_killed_at_each_step_of_switching_on_the_next_run_goes_on(run, host, alerts, step):
    """Save, keeper, silence, switch, save, note."""
    silence = {"url": alerts.url, "matchers": [{"name": "host", "value": host.folder.name}]}
    options = {"switch": host.switch(), "alertmanager": silence}
    with start(host, "on", STEPS, str(step), **options) as process:
        assert process.wait() == -signal.SIGKILL
    if host.flag.exists():
        assert host.keepers(), "on, and nobody who would switch it off"
    lease = host.lease()
    again = run("on", **options)
    assert (again["status"], again["active"], again["ours"], len(host.keepers())) == ("ok", True, True, 1), lease
    assert len([each for each in alerts.silences() if each["matchers"][0]["value"] == host.folder.name]) == 1
    assert run("off", alertmanager=silence)["status"] == "ok"
    assert not host.flag.exists()


@pytest.mark.parametrize("step", [4, 5, 6])
def test_killed_while_it_switches_on_and_nobody_comes_back(host, step):
    """Keeper, switch, save: from the first moment at which it may be on, something is there to switch it off."""
    with start(host, "on", STEPS, str(step - 1), switch=host.switch(), lease="1s") as process:
        assert process.wait() == -signal.SIGKILL
    until(lambda: not host.flag.exists() and host.lease() is None, 5)
    until(lambda: not host.keepers())


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_killed_at_each_step_of_switching_off_the_next_run_ends_it(run, host, alerts, step):
    """Switch, note, remove, silence."""
    silence = {"url": alerts.url, "matchers": [{"name": "host", "value": host.folder.name}]}
    run("on", switch=host.switch(), alertmanager=silence)
    with start(host, "off", STEPS, str(step), alertmanager=silence) as process:
        assert process.wait() == -signal.SIGKILL
    again = run("off", switch=host.switch(), alertmanager=silence)
    assert (again["status"], again["active"]) == ("ok", False)
    assert not host.flag.exists()
    assert host.lease() is None
    assert not [each for each in alerts.silences() if each["matchers"][0]["value"] == host.folder.name]


def test_killed_at_any_moment_it_never_stays_on(host):
    began = time.monotonic()
    assert result(start(host, "on", switch=host.switch(), lease="1s"))["status"] == "ok"
    # How long a whole call takes here and now: so the kills fall all over it on any machine.
    whole = time.monotonic() - began
    until(lambda: not host.flag.exists(), 5)
    for number in range(6):
        process = start(host, "on", switch=host.switch(), lease="1s")
        time.sleep(whole * (number + 3) / 8)
        process.kill()
        process.wait()
        process.stdout.close()
    until(lambda: not host.flag.exists(), 5)
    # One that was killed before its keeper lived has switched nothing, and leaves but what the next run clears, if anything.
    assert result(start(host, "off"))["status"] in ("ok", "warning", "skipped")
    assert host.lease() is None


def test_the_controller_and_the_whole_session_of_the_play_are_killed(host, application, tmp_path):
    inventory = {
        "all": {"hosts": {"here": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}}
    }
    (tmp_path / "inventory.json").write_text(json.dumps(inventory))
    tasks = [
        {"sre.runbooks.maintenance": host.arguments("on", lease="4s", switch=http(application)), "name": "On", "no_log": True},
        {"ansible.builtin.pause": {"seconds": 60}, "name": "Work"},
    ]  # fmt: skip
    (tmp_path / "play.json").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    argv = [
        os.path.join(os.path.dirname(sys.executable), "ansible-playbook"),
        "-i",
        tmp_path / "inventory.json",
        tmp_path / "play.json",
    ]
    play = subprocess.Popen(
        argv, cwd=CHECKOUT, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        until(lambda: is_on(application), 20)
    finally:
        os.killpg(play.pid, signal.SIGKILL)
        play.wait()
    assert is_on(application)
    until(lambda: not is_on(application), 10)
    until(lambda: host.events() == ["begun", "expired"])


def test_what_ends_the_lease_was_killed(run, host):
    run("on", lease="1h", switch=host.switch())
    run("on", lease="1h", switch=host.switch(path=str(host.folder / "second")), name="second")
    host.kill_keepers()
    # As if the hour had passed since.
    over = {**host.lease(), "ends_boot": time.clock_gettime(time.CLOCK_BOOTTIME) - 1}
    (host.state_dir / "maintenance/maintenance.json").write_text(json.dumps(over))
    status = run("status")
    assert status["status"] == "critical"
    assert "it is not switched off: what should have done it was killed" in status["outcomes"][0]["summary"]
    # Any run on the host, whatever lease it is about, brings it back.
    run("on", lease="1h", switch=host.switch(path=str(host.folder / "third")), name="third")
    until(lambda: not host.flag.exists())
    until(lambda: len(host.keepers()) == 2)
    assert run("off", name="second")["changed"]
    assert run("off", name="third")["changed"]


def ended_by(host, script):
    """A switch whose way back is what a shell makes of `script`."""
    return {
        "kind": "command", "on_argv": ["/usr/bin/touch", str(host.flag)], "off_argv": ["/bin/sh", "-c", script],
        "look_argv": ["/usr/bin/test", "-e", str(host.flag)],
    }  # fmt: skip


def test_the_application_is_down_at_the_end_of_the_lease(run, host, tmp_path):
    """In maintenance by a program's word, which cannot be taken back at first."""
    lock = tmp_path / "lock"
    lock.touch()
    switch = ended_by(host, f"test ! -e {lock} && rm {host.flag}")
    run("on", lease="1s", switch=switch)
    until(lambda: (host.lease() or {}).get("problem"), 5)
    status = run("status")
    assert status["status"] == "critical"
    assert "/bin/sh ended with status 1" in status["outcomes"][0]["summary"]
    assert "It is tried again" in run("off")["msg"]
    lock.unlink()
    until(lambda: not host.flag.exists(), 8)
    until(lambda: host.lease() is None)


def test_a_lease_renewed_after_failed_attempts_ends_in_its_own_time(run, host, tmp_path):
    """The pause before the next attempt has grown to 15 s by then; the new end is in the middle of it."""
    lock, tries = tmp_path / "lock", tmp_path / "tries"
    lock.touch()
    switch = ended_by(host, f"echo >> {tries}; test ! -e {lock} && rm {host.flag}")
    run("on", lease="1s", switch=switch)
    until(lambda: tries.exists() and len(tries.read_text()) == 3, 30)
    lock.unlink()
    run("on", lease="3s", switch=switch)
    ends = host.lease()["ends"]
    until(lambda: host.lease() is None, 30)
    assert not host.flag.exists()
    assert time.time() - ends < 6


def test_an_application_that_does_not_answer_is_not_taken_for_switched(run, host, tmp_path):
    with Process(tmp_path / "app") as process:
        switch = http(process, timeout="1s")
        run("on", lease="1h", switch=switch)
        os.kill(process.pid, signal.SIGSTOP)
        try:
            result = run("off")
            assert "no whole answer within 1 s" in result["msg"]
            assert host.lease() is not None
        finally:
            os.kill(process.pid, signal.SIGCONT)
        assert run("off")["changed"]
        assert not is_on(process)
    result = run("on", switch=switch)
    assert "Connection refused" in result["msg"]
    assert host.lease() is None


def test_the_clock_is_set_while_a_lease_runs(run, host):
    """A day back and a day forth for the calls, which see the lease end when it was to end."""
    environment = {**ENVIRONMENT, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1"}
    # They have started before the lease begins: that takes longer than it, on a busy machine.
    code = MODULE.replace("with patch", "print('ready', flush=True)\nwith patch")
    calls = [
        subprocess.Popen(
            ["faketime", "-f", shift, sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=environment,
        )
        for shift in ("-1d", "+1d")
    ]  # fmt: skip
    for call in calls:
        assert call.stdout.readline() == "ready\n"
    run("on", lease="3s", switch=host.switch())
    # Counted from the lease's own clock: it begins before the call that makes it ends.
    ends = host.lease()["ends_boot"]
    for call in calls:
        seen = json.loads(call.communicate(json.dumps(host.arguments("status")))[0])
        assert 0 < seen["left_seconds"] <= 3, seen
        assert seen["status"] == "ok"
    until(lambda: not host.flag.exists())
    assert 0 <= time.clock_gettime(time.CLOCK_BOOTTIME) - ends < 2


def test_after_a_boot_the_wall_clock_counts_and_never_for_longer_than_the_lease(run, host):
    """The lease of another boot, as a boot leaves it: with no keeper."""
    run("on", lease="2s", switch=host.switch())
    host.kill_keepers()
    path = host.state_dir / "maintenance/maintenance.json"
    lease = {**host.lease(), "boot": "another", "ends_boot": 0.0, "ends": time.time() + 86400}
    path.write_text(json.dumps(lease))
    status = run("status")
    assert status["left_seconds"] <= 2
    assert "nothing is there to end it" in status["outcomes"][0]["summary"]
    path.write_text(json.dumps({**lease, "ends": time.time() + 2}))
    run("off", name="other")
    assert host.keepers()
    until(lambda: not host.flag.exists(), 4)


def test_a_lease_that_cannot_be_kept_switches_nothing(run, host):
    host.state_dir.mkdir()
    (host.state_dir / "maintenance").write_text("in the way")
    assert run("on", switch=host.switch())["failed"]
    assert not host.flag.exists()


def test_a_document_that_is_broken_is_named(run, host):
    (host.state_dir / "maintenance").mkdir(parents=True)
    (host.state_dir / "maintenance/maintenance.json").write_text("{")
    result = run("on", switch=host.switch())
    assert "Repair or remove this file" in result["msg"]
    assert not host.flag.exists()


def test_those_who_look_do_not_take_each_other_for_what_ends_the_lease(run, host):
    """Whoever begins a lease would start nothing to end it, for another run was just asking whether something is there."""
    run("on", lease="1h", switch=host.switch())
    host.kill_keepers()
    stop = threading.Event()

    def look():
        while not stop.is_set():
            _keeper.alive(str(host.state_dir), "maintenance")

    other = threading.Thread(target=look)
    other.start()
    try:
        assert not any(_keeper.alive(str(host.state_dir), "maintenance") for _number in range(2000))
    finally:
        stop.set()
        other.join()
    assert run("on", lease="2h", switch=host.switch())["changed"]
    assert len(host.keepers()) == 1
    assert _keeper.alive(str(host.state_dir), "maintenance")


def test_two_runs_at_once_make_one_lease(host):
    both = [start(host, "on", switch=host.switch(), owner=owner) for owner in ("one", "two")]
    results = [result(each) for each in both]
    assert sorted(bool(each.get("failed")) for each in results) == [False, True]
    assert len(host.keepers()) == 1
