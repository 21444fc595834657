# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Order, guards, limits and the journal of stabilising actions (I3, I5)."""

from __future__ import annotations

import json
import os
import signal
import time

from ansible_collections.sre.runbooks.plugins.module_utils._core import lock
from ansible_collections.sre.runbooks.plugins.module_utils._stabilise import _journal

from .conftest import action, statuses


def journal(tmp_path):
    return json.loads((tmp_path / "state/stabilise.json").read_text())


def test_i3_a_host_that_is_well_is_left_alone(run, flag, tmp_path):
    flag.path.touch()
    result = run(flag.touch(path=tmp_path / "other"), verify=flag.verify)
    assert statuses(result) == [("host", "ok")]
    assert (result["healthy"], result["helped"], result["changed"]) == (True, "", False)
    assert not (tmp_path / "other").exists()


def test_i3_the_first_action_that_helps_is_the_last(run, flag, tmp_path):
    first, third = tmp_path / "first", tmp_path / "third"
    result = run(
        flag.touch("first", first), flag.touch("second"), flag.touch("third", third), verify=flag.verify
    )  # fmt: skip
    assert statuses(result) == [("command:first", "warning"), ("command:second", "ok"), ("host", "ok")]
    assert "it did not help: file:well" in result["outcomes"][0]["summary"]
    assert (result["helped"], result["changed"]) == ("second", True)
    assert first.exists()
    assert not third.exists()


def test_i3_the_fix_that_does_not_help_is_never_tried_again(run, flag, tmp_path):
    count = tmp_path / "count"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\necho x >> {count}\n")
    script.chmod(0o755)
    for number in range(3):
        result = run(action("script", "command", argv=[str(script)]), verify=flag.verify)
        assert (result["status"], result["healthy"]) == ("critical", False)
        assert result["outcomes"][-1]["stage"] == "verify"
        assert result["changed"] is (number == 0)
    assert count.read_text() == "x\n"
    assert "was taken for this incident already" in result["outcomes"][0]["summary"]


def test_i3_an_action_that_fails_does_not_keep_the_next_from_being_taken(run, flag):
    result = run(action("bad", "command", argv=["false"]), flag.touch(), verify=flag.verify)
    assert statuses(result) == [("command:bad", "critical"), ("command:touch", "ok"), ("host", "ok")]
    assert "false ended with status 1" in result["outcomes"][0]["summary"]


def test_i5_a_guard_that_wants_something_well(run, flag, tmp_path):
    needed = tmp_path / "needed"
    guard = {"healthy": [{**flag.check, "name": "needed", "path": str(needed)}]}
    result = run(flag.touch(guard=guard), verify=flag.verify)
    assert statuses(result) == [("command:touch", "skipped"), ("host", "critical")]
    assert "its guard wants this to be well: file:needed" in result["outcomes"][0]["summary"]
    assert not result["changed"]
    needed.touch()
    assert run(flag.touch(guard=guard), verify=flag.verify)["helped"] == "touch"


def test_i5_a_guard_that_wants_something_sick(run, flag, tmp_path):
    other = tmp_path / "other"
    other.touch()
    guard = {"sick": [{**flag.check, "name": "other", "path": str(other)}]}
    result = run(flag.touch(guard=guard), verify=flag.verify)
    assert statuses(result) == [("command:touch", "skipped"), ("host", "critical")]
    assert "sees nothing that it would help: file:other" in result["outcomes"][0]["summary"]
    other.unlink()
    assert run(flag.touch(guard=guard), verify=flag.verify)["helped"] == "touch"


def test_i5_the_limit_counts_over_all_incidents(run, flag):
    for number, wanted in enumerate(["ok", "ok", "warning"]):
        flag.path.unlink(missing_ok=True)
        result = run(flag.touch(f"touch {number}", limit="2/h"), verify=flag.verify, incident=f"INC-{number}")
        assert result["outcomes"][0]["status"] == wanted
    assert "the limit of 2/h on this host is used up" in result["outcomes"][0]["summary"]
    assert result["status"] == "critical"
    assert not flag.path.exists()


def test_i5_a_clock_that_was_set_back_does_not_lift_the_limit(run, flag, tmp_path, monkeypatch):
    now = time.time()
    with monkeypatch.context() as patched:
        patched.setattr(_journal.time, "time", lambda: now + 86400)
        run(flag.touch(limit="1/h"), verify=flag.verify)
    flag.path.unlink()
    result = run(flag.touch(limit="1/h"), verify=flag.verify, incident="INC-2")
    assert result["outcomes"][0]["status"] == "warning"


def test_the_host_may_take_its_time(run, flag, tmp_path):
    late = tmp_path / "late"
    late.write_text(f"#!/bin/sh\n(sleep 1.5; touch {flag.path}) >/dev/null 2>&1 &\n")
    late.chmod(0o755)
    result = run(action("late", "command", argv=[str(late)], wait="20s"), verify=flag.verify)
    assert result["helped"] == "late"


def test_what_did_not_help_is_taken_back(run, flag, tmp_path):
    other = tmp_path / "other"
    undone = flag.touch("other", other, undo=True, undo_argv=["rm", str(other)])
    result = run(undone, flag.touch(), verify=flag.verify)
    assert statuses(result)[0] == ("command:other", "warning")
    assert "Taken back: ran rm" in result["outcomes"][0]["summary"]
    assert not other.exists()
    assert journal(tmp_path)["incidents"]["INC-1"]["actions"]["other"]["state"] == "undone"


def test_check_mode_takes_nothing_and_says_what_it_would(run, flag, tmp_path):
    result = run(flag.touch("first"), flag.touch("second"), verify=flag.verify, _ansible_check_mode=True)
    assert statuses(result) == [("command:first", "ok"), ("command:second", "ok"), ("host", "critical")]
    assert result["outcomes"][0]["summary"] == f"would run touch {flag.path}"
    assert result["diff"]["after"].count("run touch") == 2
    assert not flag.path.exists()
    assert not (tmp_path / "state").exists()


def killed(run, flag, moment, *actions, **more):
    """Call the module in a child that ends itself by SIGKILL when the journal comes to `moment`."""
    child = os.fork()
    if not child:
        setattr(_journal.Journal, moment, lambda *_given: os.kill(os.getpid(), signal.SIGKILL))
        run(*actions, verify=flag.verify, **more)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_killed_in_an_action_the_next_run_takes_it_up(run, flag, tmp_path):
    count = tmp_path / "count"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\necho x >> {count}\n[ $(wc -l < {count}) -lt 2 ] || touch {flag.path}\n")
    script.chmod(0o755)
    killed(run, flag, "end", action("script", "command", argv=[str(script)]))
    assert journal(tmp_path)["incidents"]["INC-1"]["actions"]["script"]["state"] == "begun"
    result = run(action("script", "command", argv=[str(script)]), verify=flag.verify)
    assert (result["helped"], count.read_text()) == ("script", "x\nx\n")


def test_killed_after_an_action_that_helped_nothing_more_is_done(run, flag, tmp_path):
    killed(run, flag, "end", flag.touch())
    result = run(flag.touch(), verify=flag.verify)
    assert statuses(result) == [("host", "ok")]
    assert not result["changed"]


def test_i5_a_guard_needs_no_days_of_observations(run, flag, tmp_path):
    """The disk of the reference inventory is judged by its pace of the last week too, which a call alone cannot know."""
    disk = {"name": "disk", "type": "disk", "critical": "> 99.9", "metrics": {"full_in_seconds": {"critical": "< 1s"}}}
    result = run({**flag.touch(), "guard": {"healthy": [disk]}}, verify=flag.verify)
    assert statuses(result) == [("command:touch", "ok"), ("host", "ok")]


def test_two_runs_at_once(run, flag, tmp_path):
    with lock.hold(str(tmp_path / "state/locks"), "stabilise"):
        result = run(flag.touch(), verify=flag.verify, timeout="1s")
    assert result["failed"]
    assert "another run holds this lock" in result["msg"]
    assert not flag.path.exists()


def test_when_the_time_is_over_nothing_more_is_begun(run, flag, tmp_path):
    other = tmp_path / "other"
    slow = action("slow", "command", argv=["sleep", "20"])
    result = run(slow, flag.touch("other", other), verify=flag.verify, timeout="2s")
    assert statuses(result) == [("command:slow", "critical"), ("command:other", "critical"), ("host", "critical")]
    assert "did not end within" in result["outcomes"][0]["summary"]
    assert not other.exists()


def test_a_journal_that_cannot_be_written_keeps_the_action_from_being_taken(run, flag, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state/stabilise.json").write_text("[")
    result = run(flag.touch(), verify=flag.verify)
    assert result["failed"]
    assert "Repair or remove this file" in result["msg"]
    assert not flag.path.exists()


def test_bounds_hold_at_once(run, flag, tmp_path):
    """`for 5m` says when to raise an alarm; a host is not well again because that has just begun to count."""
    slow = [{"name": "files", "type": "file", "path": str(flag.path), "metrics": {"files": {"critical": "< 1 for 5m"}}}]
    assert not run(action("nothing", "command", argv=["true"]), verify=slow)["healthy"]


def test_c2_what_is_due_is_a_reason_to_act_on_a_host_that_is_well(run, flag, tmp_path):
    """The host is well and the page too old: the action is taken, and both have to be good after it."""
    page = tmp_path / "page"
    due = [{"name": "page", "type": "file", "path": str(page), "metrics": {"files": {"critical": "< 1"}}}]
    flag.path.touch()
    result = run(flag.touch("never", page, limit="0/h"), verify=flag.verify, due=due)
    assert statuses(result) == [("command:never", "warning"), ("host", "warning")]
    assert result["outcomes"][1]["summary"].startswith("well; due: file:page")
    result = run(flag.touch("write", page), verify=flag.verify, due=due, _ansible_check_mode=True)
    assert statuses(result) == [("command:write", "ok"), ("host", "ok")]
    result = run(flag.touch("write", page), verify=flag.verify, due=due)
    assert (statuses(result), result["helped"]) == ([("command:write", "ok"), ("host", "ok")], "write")
    assert run(flag.touch("write", page), verify=flag.verify, due=due, incident="INC-2")["changed"] is False
    page.unlink()
    breaks = action("breaks", "command", argv=["sh", "-c", f"touch {page}; rm {flag.path}"])
    result = run(breaks, verify=flag.verify, due=due, incident="INC-3")
    assert statuses(result) == [("command:breaks", "warning"), ("host", "critical")]


def test_c2_what_a_killed_run_began_is_taken_up_for_another_incident_whatever_the_guard_says(run, flag, tmp_path):
    """The first run leaves the host sick in a way that its own guard would refuse."""
    needed = tmp_path / "needed"
    needed.touch()
    well = {**flag.check, "name": "needed", "path": str(needed)}
    script = tmp_path / "script"
    script.write_text(
        f"#!/bin/sh\nif [ -e {needed} ]; then rm {needed}; kill -9 $PPID; exit; fi\ntouch {needed} {flag.path}\n"
    )
    script.chmod(0o755)
    restart = action("restart", "command", argv=[str(script)], guard={"healthy": [well]}, limit="1/h")
    child = os.fork()
    if not child:
        run(restart, verify=flag.verify)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not needed.exists()
    other = run(flag.touch("other", guard={"healthy": [well]}), verify=flag.verify, incident="INC-1b")
    assert other["outcomes"][0]["status"] == "skipped"
    result = run(restart, verify=flag.verify, incident="INC-2")
    assert statuses(result) == [("command:restart", "ok"), ("host", "ok")]
    known = journal(tmp_path)["incidents"]
    assert known["INC-1"]["actions"]["restart"]["told"] == "cut short, and taken up for INC-2"
    flag.path.unlink()
    assert run(restart, verify=flag.verify, incident="INC-3")["outcomes"][0]["status"] == "warning"
