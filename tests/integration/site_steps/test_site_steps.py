# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A site's own programs as steps of a cadence: order, what they say, limits, secrets (C7)."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import time
from pathlib import Path

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core import lock


def shell(name, text, **more):
    return {"name": name, "argv": ["sh", "-c", text], **more}


def statuses(result):
    return [(each["subject"], each["status"]) for each in result["outcomes"]]


def test_c7_steps_of_the_cadence_in_their_order(run, tmp_path):
    told = tmp_path / "told"
    steps = [
        shell("performance review", f"echo one >> {told}; echo reviewed"),
        shell("retraining", f"echo never >> {told}", cadences=["monthly"]),
        shell("drift", f"echo two $SRE_RUNBOOKS_CADENCE >> {told}; echo 'drift 0.3 | drift=0.3;0.2 age=90s'; exit 1", cadences=["weekly", "monthly"]),
    ]  # fmt: skip
    result = run(*steps, cadence="weekly")
    assert statuses(result) == [("step:performance review", "ok"), ("step:drift", "warning")]
    assert told.read_text() == "one\ntwo weekly\n"
    drift = result["outcomes"][1]
    assert (drift["stage"], drift["summary"]) == ("site_steps", "drift 0.3")
    assert (drift["metrics"]["drift"], drift["metrics"]["age_seconds"]) == (0.3, 90)
    assert drift["metrics"]["duration_seconds"] < 5
    assert not result["changed"]
    assert run(*steps)["outcomes"][1]["subject"] == "step:retraining"


def test_c7_a_json_on_the_output_or_its_last_line(run):
    document = {"status": "warning", "summary": "accuracy fell", "metrics": {"accuracy_percent": 88.5}}
    text = json.dumps(document)
    result = run(
        shell("whole", f"echo '{json.dumps(document, indent=1)}'", expect="json"),
        shell("last line", f"echo loading; echo '{text}'", expect="json"),
        shell("worse by its end", f"echo '{text}'; exit 2", expect="json"),
        shell("not better by its end", f"echo '{text}'; exit 0", expect="json"),
        shell("crashed", "echo loading; echo 'ValueError: no model' >&2; exit 1", expect="json"),
        shell("no number", """echo '{"status": "ok", "summary": "x", "metrics": {"a": "1"}}'""", expect="json"),
        shell("not finite", """echo '{"status": "ok", "summary": "x", "metrics": {"a": NaN}}'""", expect="json"),
        shell("huge", """echo '{"status": "ok", "summary": "x", "metrics": {"a": 1'$(printf %0400d 0)'}}'""", expect="json"),
        shell("no status", """echo '{"status": "fine", "summary": "x"}'""", expect="json"),
        shell("a list", "echo '[]'", expect="json"),
    )  # fmt: skip
    whole, last, worse, not_better, *bad = result["outcomes"]
    for each in (whole, last, not_better):
        assert (each["status"], each["summary"], each["metrics"]["accuracy_percent"]) == (
            "warning",
            "accuracy fell",
            88.5,
        )
    assert (worse["status"], worse["summary"]) == (
        "critical",
        "sh ended with status 2, its document says warning: accuracy fell",
    )
    assert {each["status"] for each in bad} == {"critical"}
    assert bad[0]["summary"] == "sh ended with status 1; wrote no JSON object: ValueError: no model"


def test_c7_a_program_that_knows_nothing_of_us(run):
    result = run(
        shell("good", "echo a; echo report written", expect="success"),
        shell("bad", "echo a; echo Traceback >&2; echo 'KeyError: 1' >&2; exit 1", expect="success"),
        shell("killed", "kill -9 $$", expect="success"),
    )
    good, bad, killed = result["outcomes"]
    assert (good["status"], good["summary"]) == ("ok", "report written")
    assert (bad["status"], bad["summary"]) == ("critical", "sh ended with status 1: KeyError: 1")
    assert bad["details"]["error_output"] == "Traceback\nKeyError: 1"
    assert (killed["status"], killed["summary"]) == ("critical", "sh was ended by signal 9: no output")


def test_a_step_past_its_time_ends_with_all_that_it_started(run, tmp_path):
    """The child in the background has lost its parent, so that only the session tells whose it is."""
    pids = tmp_path / "pids"
    text = f"(sh -c 'echo $$ >> {pids}; trap \"\" TERM; exec sleep 300' &); until [ -s {pids} ]; do :; done; echo $$ >> {pids}; sleep 300"
    began = time.monotonic()
    result = run(shell("slow", text, timeout="1s"), shell("next", "echo done"))
    assert statuses(result) == [("step:slow", "critical"), ("step:next", "ok")]
    assert "did not end within 1 s, killed with all that it had started" in result["outcomes"][0]["summary"]
    assert time.monotonic() - began < 20
    left = [pid for pid in map(int, pids.read_text().split()) if alive(pid)]
    assert len(pids.read_text().split()) == 2
    assert left == []


def alive(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_time_for_all_steps(run, tmp_path):
    never = tmp_path / "never"
    result = run(shell("slow", "sleep 60"), shell("late", f"touch {never}"), timeout="1s")
    assert [each["status"] for each in result["outcomes"]] == ["critical", "critical"]
    assert result["outcomes"][1]["summary"] == "not begun: the time of all steps (timeout) is over. Raise it."
    assert not never.exists()


@pytest.mark.parametrize(("stop_on", "last"), [("never", "ok"), ("critical", "ok"), ("warning", "skipped")])
def test_stop_on(run, stop_on, last):
    result = run(shell("first", "echo so-so; exit 1"), shell("second", "echo fine"), stop_on=stop_on)
    assert statuses(result) == [("step:first", "warning"), ("step:second", last)]
    if last == "skipped":
        assert result["outcomes"][1]["summary"] == "not begun, for first is warning (stop_on: warning)"


def test_check_mode_lists_what_would_run(run, tmp_path):
    secret = "geheim-0123456789"
    made = tmp_path / "made"
    step = {
        "name": "make",
        "argv": ["touch", str(made), secret],
        "chdir": "/",
        "environment": {"TOKEN": secret},
        "changes": True,
    }
    result = run(
        step,
        {"name": "missing", "argv": ["/nowhere/x"]},
        shell("other", "x", cadences=["daily"]),
        cadence="weekly",
        _ansible_check_mode=True,
    )
    assert statuses(result) == [("step:make", "ok"), ("step:missing", "critical")]
    assert result["outcomes"][0]["summary"] == f"would run touch {made} ******** in /"
    assert (result["changed"], list(tmp_path.iterdir())) == (True, [])
    assert result["diff"]["after"].startswith(f"make: touch {made}")
    assert secret not in json.dumps(result)
    made.touch()
    assert run(step)["changed"]


def test_what_cannot_be_run_is_critical_and_the_next_one_runs(run, tmp_path, script):
    (tmp_path / "plain").write_text("no program")
    result = run(
        {"name": "missing", "argv": ["/nowhere/drift.py"]},
        {"name": "unknown", "argv": ["sre-runbooks-no-such-program"]},
        {"name": "no folder", "argv": ["true"], "chdir": "/nowhere"},
        {"name": "no user", "argv": ["true"], "run_as": "sre-nobody-0"},
        {"name": "no program", "argv": [str(tmp_path / "plain")]},
        {"name": "in its folder", "argv": ["bin/here"], "chdir": str(Path(script("here", "pwd")).parent), "expect": "success"},
        shell("garbage", r"printf '\377\000\n\001'; exit 77"),
        shell("last", "pwd", chdir=str(tmp_path)),
    )  # fmt: skip
    told = [each["summary"] for each in result["outcomes"]]
    assert told[0] == "argv: /nowhere/drift.py: No such file or directory. Install the program, or correct its path."
    assert "sre-runbooks-no-such-program is not installed on this host" in told[1]
    assert told[2] == "chdir: /nowhere is no folder. Make it, or correct the step."
    assert "no user 'sre-nobody-0' on this host" in told[3]
    assert [each["status"] for each in result["outcomes"]] == ["critical"] * 6 + ["unknown", "ok"]
    assert told[-1] == str(tmp_path)


def test_another_user_without_our_rights(run, tmp_path):
    user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    result = run(shell("who", "id -un; echo $HOME", run_as=user, chdir="/"))
    assert result["outcomes"][0]["summary"] == user


def test_outputs_are_bounded_and_secrets_concealed(run):
    secret = 'gehe"im-\u00fc0123456789'
    echo = "echo it is $TOKEN; echo it was $TOKEN >&2; exit 2"
    dump = 'import json, os; print(json.dumps({"status": "warning", "summary": os.environ["TOKEN"] + os.environ["SHORT"]}))'
    given = {"environment": {"TOKEN": secret, "SHORT": "1"}}
    result = run(
        shell("nagios", echo, **given),
        shell("success", echo, expect="success", **given),
        {"name": "json", "argv": ["python3", "-c", dump], "expect": "json", **given},
        shell("much", "yes 0123456789 | head -c 3000000; exit 2"),
    )
    text = json.dumps(result, ensure_ascii=False)
    assert secret not in text
    assert json.dumps(secret)[1:-1] not in json.dumps(result)
    assert "invocation" in result
    assert "steps" not in result["invocation"]["module_args"]
    assert result["outcomes"][0]["summary"] == "it is ********"
    assert result["outcomes"][2]["summary"] == "********1"
    assert len(text) < 10_000


def test_a_run_at_the_same_time_is_told(run, tmp_path):
    with lock.hold(str(tmp_path / "state/locks"), "site_steps-one_step"):
        child = os.fork()
        if not child:
            ended = run(shell("one step", "echo x"), shell("other", "echo y"))
            os._exit(0 if statuses(ended) == [("step:one step", "skipped"), ("step:other", "ok")] else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    ("steps", "options", "told"),
    [
        ([{"name": "x"}], {}, "steps[0] (x): missing required arguments: argv"),
        ([{"name": "x", "argv": []}], {}, "steps[0] (x).argv: [] names no program"),
        ([{"name": "x", "argv": ["true"], "cadences": []}], {}, "(x).cadences: [] is no cadence"),
        ([{"name": "x", "argv": ["true"], "cadences": ["yearly"]}], {}, "value of cadences must be one or more of"),
        ([{"name": "x", "argv": ["true"], "shell": True}], {}, "shell"),
        ([{"name": "x", "argv": ["true"], "timeout": "0s"}], {}, "(x).timeout: '0s' is no time"),
        ([{"name": "x", "argv": ["true"], "environment": {"A-B": 1}}], {}, "environment: 'A-B' is no name of a variable"),
        ([{"name": "x", "argv": ["true"], "chdir": "here"}], {}, "chdir: 'here' is no absolute path"),
        ([{"name": "x", "argv": ["bin/x"]}], {}, "argv: 'bin/x' is a path below no folder"),
        ([{"name": "../x", "argv": ["true"]}], {}, "name: '../x' is no name"),
        ([{"name": "x", "argv": ["true"]}] * 2, {}, "steps[1].name: 'x' is used twice"),
        ([], {"timeout": "soon"}, "timeout: 'soon'"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_before_the_first_step(run, tmp_path, steps, options, told):
    made = tmp_path / "made"
    result = run({"name": "first", "argv": ["touch", str(made)]}, *steps, **options)
    if steps:
        told = told.replace("steps[0]", "steps[1]").replace(
            "steps[1].name", "steps[2].name" if len(steps) == 2 else "steps[1].name"
        )
    assert result["failed"]
    assert told in result["msg"]
    assert not made.exists()
