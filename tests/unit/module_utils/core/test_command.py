# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gateway for commands, on the run_command of a real AnsibleModule."""

from __future__ import annotations

import json
import os
import pwd
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core import command
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Target
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import (
    CommandFailed,
    MissingProgram,
    RunbookError,
)

SHOW_ARGUMENTS = [sys.executable, "-c", "import json, sys; print(json.dumps(sys.argv[1:]))"]
HOSTILE = [
    "two words",
    "'single' \"double\" `tick`",
    "$(touch /tmp/owned) ${HOME} $HOME $1 ~ ~root",
    "line\nbreak\ttab",
    "; exit 3 | cat & # * ? [a] {a,b} !",
    "",
    "-n",
    "--",
    "back\\slash \\n",
    "ümläut ☃",
    "undecodable \udcff",
]
SECRET = "s3cr3t $(x) 'quoted'"


# --- Arguments -------------------------------------------------------------------------------------------------------


def test_arguments_reach_the_program_as_they_are(commands):
    assert json.loads(commands.run([*SHOW_ARGUMENTS, *HOSTILE]).stdout) == HOSTILE


@pytest.mark.parametrize("place", [0, 1, 2])
def test_arguments_reach_each_program_of_a_pipeline_as_they_are(commands, place):
    show = [sys.executable, "-c", "import json, sys; print(json.dumps(sys.argv[1:]))", *HOSTILE]
    stages = [["true"], ["cat"], ["cat"]]
    stages[place] = show
    assert json.loads(commands.pipeline(stages).stdout) == HOSTILE


def test_a_long_pipeline_has_more_than_nine_arguments(commands):
    stages = [["printf", "%s", "a"], *[["sed", "-e", f"s/$/{number}/"] for number in range(12)]]
    assert commands.pipeline(stages).stdout == "a01234567891011"


def test_data_and_bytes_pass_unchanged(commands):
    assert commands.run(["cat"], data="no newline at the end").stdout == "no newline at the end"
    made = commands.pipeline([["head", "-c", "3000000", "/dev/zero"], ["gzip", "-c"], ["gzip", "-dc"], ["wc", "-c"]])
    assert made.stdout.strip() == "3000000"


def test_programs_speak_english_in_utf_8(commands):
    assert commands.run(["printenv", "LC_ALL"]).stdout == "C.UTF-8\n"


# --- Failures --------------------------------------------------------------------------------------------------------


def test_another_status_than_0_names_the_program_the_status_and_the_lines_that_tell_most(commands):
    script = "for n in 1 2 3 4 5; do echo line $n >&2; done; exit 7"
    with pytest.raises(CommandFailed) as caught:
        commands.run(["sh", "-c", script])
    assert str(caught.value) == "sh ended with status 7: line 1 / line 2 / line 5"
    assert (caught.value.rc, caught.value.stderr.splitlines()[0]) == (7, "line 1")


def test_a_program_that_has_ended_before_it_was_given_its_input_tells_why(commands, monkeypatch):
    given = commands._run_command

    def late(argv, before_communicate_callback, **options):
        def ended(process):
            process.wait()
            before_communicate_callback(process)

        return given(argv, before_communicate_callback=ended, **options)

    monkeypatch.setattr(commands, "_run_command", late)
    with pytest.raises(CommandFailed, match="sh ended with status 3: no server"):
        commands.run(["sh", "-c", "echo no server >&2; exit 3"], data="SELECT 1;\n")
    assert commands.run(["sh", "-c", "echo answer"], data="SELECT 1;\n").stdout == "answer\n"


def test_without_check_the_status_is_returned(commands):
    result = commands.run(["sh", "-c", "echo out; echo err >&2; exit 4"], check=False)
    assert result == (4, "out\n", "err\n")


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([["sh", "-c", "exit 3"], ["cat"], ["cat"]], "sh ended with status 3"),
        ([["echo", "x"], ["sh", "-c", "cat; echo why >&2; exit 4"], ["cat"]], "sh ended with status 4: why"),
        ([["echo", "x"], ["cat"], ["grep", "y"]], "grep ended with status 1"),
        ([["sh", "-c", "exit 3"], ["cat"], ["grep", "y"]], "sh ended with status 3"),
        # the writer dies of SIGPIPE because its reader failed: the reader is to blame
        ([["yes"], ["sh", "-c", "exit 5"]], "sh ended with status 5"),
        ([["yes"], ["cat"], ["sh", "-c", "exit 6"]], "sh ended with status 6"),
        # a reader that stops early on purpose makes the data incomplete
        ([["yes"], ["head", "-1"]], "yes ended with status 141"),
        ([["sh", "-c", "kill -9 $$"], ["cat"]], "sh ended with status 137"),
    ],
)
def test_every_status_of_a_pipeline_counts(commands, stages, message):
    with pytest.raises(CommandFailed) as caught:
        commands.pipeline(stages)
    first_line = str(caught.value).partition(" / ")[0]
    assert first_line.startswith(message)


def test_a_pipeline_that_went_well_has_no_trace_of_the_marks(commands):
    assert commands.pipeline([["sh", "-c", "echo note >&2; echo x"], ["cat"]]) == (0, "x\n", "note\n")


def test_what_a_program_says_after_the_pipeline_does_not_hide_its_statuses(commands):
    late = "(sleep 0.3; echo late >&2) >/dev/null & echo x"
    assert commands.pipeline([["sh", "-c", late], ["cat"]]).stdout == "x\n"


@pytest.mark.parametrize("pipeline", [False, True])
def test_the_time_limit_ends_the_program(commands, pipeline):
    mark = f"271828.{os.getpid()}"
    started = time.monotonic()
    stages = [["sleep", mark], ["cat"]] if pipeline else [["sleep", mark]]
    with pytest.raises(CommandFailed, match=r"did not end within 0\.3 s"):
        commands.pipeline(stages, timeout=0.3)
    assert time.monotonic() - started < 200
    assert not [line for line in command_lines() if mark in line]


def test_the_time_limit_ends_what_the_program_started_and_what_will_not_hear(commands, monkeypatch):
    monkeypatch.setattr("ansible_collections.sre.runbooks.plugins.module_utils._core.watchdog.GRACE_SECONDS", 0.3)
    mark = f"314159.{os.getpid()}"
    script = f"(trap '' TERM; sleep {mark}; sleep {mark}) & sleep {mark} & wait"
    with pytest.raises(CommandFailed, match=r"did not end within 0\.3 s"):
        commands.run(["sh", "-c", script], timeout=0.3)
    assert not [line for line in command_lines() if mark in line]


def test_below_sudo_the_time_limit_goes_along(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(command, "require", lambda program: f"/bin/{program}")
    placed = command._placed(["psql"], Target("postgres"), [], 3)
    assert placed[-4:] == ["/bin/timeout", "--kill-after=5", "3", "/bin/psql"]


def test_a_program_that_is_missing_names_its_package_and_the_role(commands, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingProgram) as caught:
        commands.run(["zstd-of-mine"])
    assert "zstd-of-mine is not installed on this host. Install the package zstd-of-mine" in str(caught.value)
    assert "sre.runbooks.prerequisites" in str(MissingProgram("psql", command.PACKAGES["psql"]))
    assert "postgresql-client" in str(MissingProgram("psql", command.PACKAGES["psql"]))


@pytest.mark.parametrize("place", [0, 1])
def test_a_missing_program_of_a_pipeline_is_told_before_any_is_started(commands, tmp_path, place):
    stages = [["touch", str(tmp_path / "started")], ["touch", str(tmp_path / "started")]]
    stages[place] = ["no-such-program"]
    with pytest.raises(MissingProgram, match=r"^no-such-program is not installed"):
        commands.pipeline(stages)
    assert not (tmp_path / "started").exists()


def test_a_file_that_is_no_program_is_told(commands, tmp_path):
    (tmp_path / "program").write_bytes(b"\x7fELF nonsense")
    (tmp_path / "program").chmod(0o755)
    with pytest.raises(RunbookError, match="cannot be started: Exec format error"):
        commands.run([str(tmp_path / "program")])


def test_a_null_byte_is_told(commands):
    with pytest.raises(RunbookError, match=r"^echo: cannot be started: an argument holds a null byte"):
        commands.run(["echo", "a\0b"])


# --- Secrets ---------------------------------------------------------------------------------------------------------


def command_lines():
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("pipeline", [False, True])
def test_secrets_are_in_no_command_line_while_the_program_runs_and_blotted_out_of_its_output(commands, pipeline):
    ready = threading.Event()
    seen: list[str] = []

    def look():
        while not ready.is_set():
            seen.extend(command_lines())

    looker = threading.Thread(target=look)
    looker.start()
    program = ["sh", "-c", 'sleep 0.5; printf "%s\\n" "$PASSWORD"; printf "not %s\\n" "$PASSWORD" >&2']
    try:
        if pipeline:
            result = commands.pipeline([program, ["cat"]], secrets={"PASSWORD": SECRET}, timeout=60)
        else:
            result = commands.run(program, secrets={"PASSWORD": SECRET}, timeout=60)
    finally:
        ready.set()
        looker.join()
    assert result == (0, "********\n", "not ********\n")
    assert any("sleep 0.5" in line for line in seen), "the program was never seen"
    assert not [line for line in seen if SECRET in line]


@pytest.mark.parametrize("secret", ["0", "1", "141", "pipeline-status:"])
def test_a_secret_that_looks_like_a_status_changes_none(commands, secret):
    assert commands.pipeline([["echo", "x"], ["cat"]], secrets={"PASSWORD": secret}).rc == 0
    with pytest.raises(CommandFailed, match=r"^grep ended with status 1"):
        commands.pipeline([["echo", "x"], ["grep", "y"]], secrets={"PASSWORD": secret})


def test_secrets_are_blotted_out_of_errors(commands):
    with pytest.raises(CommandFailed) as caught:
        commands.run(["sh", "-c", 'echo "no: $PASSWORD" >&2; exit 1'], secrets={"PASSWORD": SECRET})
    assert str(caught.value) == "sh ended with status 1: no: ********"
    assert SECRET not in caught.value.stderr


def test_an_empty_secret_blots_nothing(commands):
    assert commands.run(["echo", "text"], secrets={"PASSWORD": ""}).stdout == "text\n"


def test_threads_do_not_see_each_other_s_environment(commands):
    def ask(number):
        return commands.run(["sh", "-c", "sleep 0.1; echo $MINE"], environment={"MINE": str(number)}).stdout.strip()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(24))) == [str(number) for number in range(24)]
    assert "MINE" not in os.environ


# --- Other users and containers --------------------------------------------------------------------------------------


def test_run_as_another_user(commands):
    account = pwd.getpwnam("nobody")
    script = 'id -un; id -gn; id -Gn; echo "$HOME $MINE ${PASSWORD:+given}"'
    target = Target("nobody")
    if os.geteuid() != 0:  # sudo is asked, which may not ask back
        with pytest.raises(RunbookError, match="sudo"):
            commands.run(["sh", "-c", script], target=target)
        return
    groups = os.getgroups()
    os.setgroups([*groups, pwd.getpwnam("daemon").pw_gid])  # a group of ours that must not go along
    try:
        result = commands.run(
            ["sh", "-c", script], target=target, environment={"MINE": "a b"}, secrets={"PASSWORD": "geheim"}
        )
    finally:
        os.setgroups(groups)
    assert result.stdout.splitlines() == ["nobody", "nogroup", "nogroup", f"{account.pw_dir} a b given"]


def test_only_the_first_program_of_a_pipeline_runs_as_the_other_user(commands):
    if os.geteuid() != 0:
        with pytest.raises(RunbookError, match="sudo"):
            commands.pipeline([["id", "-un"], ["cat"]], target=Target("nobody"))
        return
    script = 'cat; id -un; echo "$1"'
    result = commands.pipeline([["id", "-un"], ["sh", "-c", script, "sh", "a b $(id)"]], target=Target("nobody"))
    assert result.stdout == f"nobody\n{pwd.getpwuid(os.geteuid()).pw_name}\na b $(id)\n"


def test_run_as_oneself_needs_no_other_program():
    own = pwd.getpwuid(os.geteuid()).pw_name
    assert command._placed(["echo", "x"], Target(own), []) == [command.require("echo"), "x"]


def test_run_as_a_user_who_is_not_there_names_the_option_and_the_remedy(commands):
    with pytest.raises(
        RunbookError, match=r"^run_as: no user 'nobody-of-mine' on this host. Create it, or name another."
    ):
        commands.run(["id"], target=Target("nobody-of-mine"))


def test_in_a_container_secrets_go_by_name_alone(monkeypatch, tmp_path):
    runtime = tmp_path / "docker"
    runtime.write_text("#!/bin/sh\n")
    runtime.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command._placed(["psql", "x"], Target("postgres", "db"), ["PGPASSWORD"]) == [
        str(runtime), "exec", "--interactive", "--env", "PGPASSWORD", "--user", "postgres", "db", "psql", "x",
    ]  # fmt: skip


def test_a_program_that_ends_before_it_has_read_its_input_tells_why(commands):
    done = commands.run(["sh", "-c", "exec <&-; echo no server >&2; exit 3"], data="x" * 1_000_000, check=False)
    assert (done.rc, done.stderr) == (3, "no server\n")
