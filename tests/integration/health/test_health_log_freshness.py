# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last line that tells of success, found in logs of every shape (H9)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

MIB = 2**20
# The time of the test that runs. Not that of the import: all files are imported first, and a log that was of that time
# would be half an hour older when this file's turn comes.
NOW = 0.0


@pytest.fixture(autouse=True)
def _now(monkeypatch):
    monkeypatch.setitem(globals(), "NOW", time.time())


def stamp(age):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(NOW - age))


@pytest.fixture
def log(tmp_path):
    return tmp_path / "sync.log"


@pytest.fixture
def fresh(check, log):
    def go(**given):
        return check(
            "log_freshness",
            **{"path": str(log), "pattern": "sync (done|ok)", "warning": "> 30m", "timeout": "60s", **given},
        )

    return go


def write(path, *lines, age=0.0):
    path.write_text("".join(f"{line}\n" for line in lines))
    os.utime(path, (NOW - age, NOW - age))


def age_of(outcome):
    """At the time when the logs' stamps were made up."""
    return outcome["metrics"]["age_seconds"] - (time.time() - NOW)


@pytest.mark.parametrize(("age", "status"), [(60, "ok"), (600, "ok"), (1900, "warning"), (90000, "warning")])
def test_the_last_line_that_matches_counts(fresh, log, age, status):
    write(log, f"{stamp(age + 500)} sync done", f"{stamp(age)} sync ok", f"{stamp(5)} sync failed", f"{stamp(1)} idle")
    outcome = fresh()
    assert outcome["status"] == status
    assert age_of(outcome) == pytest.approx(age, abs=5)
    assert "the last matching line is " in outcome["summary"]


def test_any_line_counts_without_a_pattern(check, log):
    write(log, f"{stamp(600)} anything")
    outcome = check("log_freshness", path=str(log), warning="> 5m")
    assert outcome["status"] == "warning"


@pytest.mark.parametrize(
    ("form", "clock"),
    [
        ("%b %d %H:%M:%S host app[1]: sync done", time.localtime),
        ('127.0.0.1 - - [%d/%b/%Y:%H:%M:%S +0000] "GET /sync done" 200 1', time.gmtime),
        ('{"time": "%Y-%m-%dT%H:%M:%SZ", "message": "sync done"}', time.gmtime),
        ("%s.500 sync done", time.localtime),
        ("%Y-%m-%d %H:%M:%S,123 - app - INFO - sync done", time.localtime),
    ],
    ids=["syslog", "nginx", "json", "epoch", "python"],
)
def test_time_stamps_are_found_by_themselves(fresh, log, form, clock):
    write(log, time.strftime(form, clock(NOW - 1000)), *["nothing"] * 50)
    assert age_of(fresh()) == pytest.approx(1000, abs=5)


def test_time_stamps_of_one_s_own(fresh, log):
    write(log, time.strftime("%d.%m.%Y um %H:%M:%S sync done", time.gmtime(NOW - 1000)), "x")
    assert age_of(fresh(timestamp="%d.%m.%Y um %H:%M:%S", zone="UTC")) == pytest.approx(1000, abs=60)


def test_a_line_without_a_stamp_has_that_of_the_entry_it_belongs_to(fresh, log):
    write(log, f"{stamp(2000)} job", f"{stamp(1000)} job", "  detail", "  sync done", "  more", f"{stamp(5)} next")
    assert age_of(fresh()) == pytest.approx(1000, abs=60)


def test_of_a_last_line_without_a_stamp_the_file_tells(fresh, log):
    write(log, "begin", "sync done", age=1000)
    assert age_of(fresh()) == pytest.approx(1000, abs=60)


def test_lines_without_stamps_before_the_last_are_unknown(fresh, log):
    write(log, "sync done", "more")
    outcome = fresh()
    assert outcome["status"] == "unknown"
    assert outcome["summary"] == (
        f"{log}: lines that match have no time stamp that is known. Say how they are written, by timestamp."
    )


@pytest.mark.parametrize(
    "content", ["", "\n", "nothing here\n", "{stamp} sync failed\n"], ids=["empty", "blank", "other", "failed"]
)
def test_a_log_without_such_a_line_is_critical(fresh, log, content):
    log.write_text(content.format(stamp=stamp(10)))
    outcome = fresh()
    assert (outcome["status"], outcome["metrics"]) == ("critical", {})
    assert outcome["summary"].startswith(f"{log}: no line matches")


def test_no_log_is_critical(fresh, log):
    outcome = fresh()
    assert outcome["status"] == "critical"
    assert outcome["summary"].startswith(f"{log} matches no file")


def test_a_line_from_the_future_does_not_count(fresh, log):
    write(log, f"{stamp(3000)} sync done", f"{stamp(-86400)} sync done", f"{stamp(5)} x")
    assert age_of(fresh()) == pytest.approx(3000, abs=60)


def test_the_newest_of_several_logs(fresh, log):
    write(log.with_name("sync.log.1"), f"{stamp(1000)} sync done", age=900)
    write(log.with_name("sync.log.2"), f"{stamp(100)} sync done", age=90000)  # changed before: not looked at
    write(log, f"{stamp(5)} rotated")
    log.with_name("sync.log.3.gz").write_bytes(b"\x1f\x8b")
    outcome = fresh(path=f"{log}*")
    assert age_of(outcome) == pytest.approx(1000, abs=60)


@pytest.mark.parametrize("width", [0, 1, 100, 2**18 - 30, 2**18, 2**18 + 1, 3 * 2**18])
def test_lines_of_any_length_before_and_after(fresh, log, width):
    write(log, "x" * width, f"{stamp(1000)} sync done {'y' * width}", "z" * width, f"{stamp(5)} {'w' * width}")
    assert age_of(fresh()) == pytest.approx(1000, abs=60)


def test_every_place_of_a_line_across_the_blocks(fresh, log):
    """The line that matches begins at each byte around the border of a block."""
    line = f"{stamp(1000)} sync done"
    for shift in range(-3, len(line) + 4):
        write(log, f"{stamp(9000)} a", "p\n" * 2**18, line, "b" * (2**18 - 2 - len(line) + shift))
        assert age_of(fresh()) == pytest.approx(1000, abs=60)


def test_garbage_is_passed_over(fresh, log):
    log.write_bytes(
        f"{stamp(1000)} sync done\r\n".encode()
        + b"\0" * 5000
        + b"\n"
        + os.urandom(50000)
        + b"\n\xff\xfe \xc3( sync\r\n"
    )
    assert age_of(fresh()) == pytest.approx(1000, abs=60)


MEMORY = r"""
import json, pathlib, re, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sre.runbooks.plugins.modules import health_check
try:
    with patch_module_args(json.loads(sys.argv[1])):
        health_check.main()
finally:
    print(re.search(r"VmHWM:\s*(\d+)", pathlib.Path("/proc/self/status").read_text())[1], file=sys.stderr)
"""


def test_a_line_of_100_mb_in_bounded_memory(log, tmp_path):
    """B9: 64 MiB for a module, whatever it reads."""
    with log.open("wb") as stream:
        stream.write(f"{stamp(1000)} sync done ".encode())
        for _number in range(100):
            stream.write(b"x" * MIB)
        stream.write(f"\n{stamp(5)} other\n".encode())
    options = {
        "checks": [
            {"name": "x", "type": "log_freshness", "path": str(log), "pattern": "sync done", "limit": "200 MiB", "timeout": "60s",
             "warning": "> 30m"},
        ],
        "state_dir": str(tmp_path / "state"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, json.dumps(options)], capture_output=True, text=True, check=True
    )
    (outcome,) = json.loads(done.stdout)["outcomes"]
    assert age_of(outcome) == pytest.approx(1000, abs=60)
    assert int(done.stderr) < 64 * 1024  # KiB


def test_more_than_the_limit_is_not_looked_at_and_is_no_good_news(fresh, log):
    with log.open("w") as stream:
        stream.write(f"{stamp(9000)} sync done\n")
        for number in range(20000):
            stream.write(f"{stamp(4000 - number // 10)} busy with something else that has a long line {'x' * 50}\n")
    outcome = fresh(limit="1 MiB")
    assert outcome["status"] == "warning"  # at least as old as the oldest line looked at
    assert 1900 < age_of(outcome) < 9000
    assert "no line matches in the part that was looked at, which goes back " in outcome["summary"]
    assert fresh(limit="1 MiB", warning="> 2h")["status"] == "unknown"
    assert age_of(fresh()) == pytest.approx(9000, abs=60)


def test_a_log_that_takes_longer_than_the_timeout_is_unknown(fresh, log):
    write(log, *[f"{stamp(5)} x"] * 200000)
    outcome = fresh(timeout="1ms", warning="> 2h")
    assert outcome["status"] == "unknown"


def test_an_expression_that_never_ends_is_unknown_by_name(fresh, log):
    write(log, f"{stamp(5)} {'a' * 60}!")
    outcome = fresh(pattern=r"(a+)+$")
    assert outcome["status"] == "unknown"
    assert outcome["summary"].startswith(
        "pattern: '(a+)+$' took more than 1 s over one text (catastrophic backtracking)"
    )


def test_a_log_that_cannot_be_read_is_unknown(fresh, tmp_path, log):
    log.mkdir()
    assert fresh()["status"] == "critical"  # a folder is no log
    log.rmdir()
    log.symlink_to(log)
    assert fresh()["status"] == "unknown"


# --- The journal -----------------------------------------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path, run_in_namespace):
    """Check a journal that holds these entries (age, unit, message); systemd's own program writes its file."""

    def go(*entries, **given):
        text = "".join(
            f"__REALTIME_TIMESTAMP={int((time.time() - age) * 1e6)}\n__MONOTONIC_TIMESTAMP=1\n_BOOT_ID={'0' * 31}1\n"
            f"_SYSTEMD_UNIT={unit}\nMESSAGE={message}\n\n"
            for age, unit, message in entries
        )
        (tmp_path / "entries").write_text(text)
        argv = ["/lib/systemd/systemd-journal-remote", "-o", tmp_path / "made.journal", tmp_path / "entries"]
        subprocess.run(argv, check=True, capture_output=True)
        lines = "mount -t tmpfs none /run; place=/run/log/journal/$(cat /etc/machine-id); mkdir -p $place"
        options = {"unit": "sync.service", "pattern": "sync done", "warning": "> 30m", "timeout": "60s", **given}
        check = {"name": "x", "type": "log_freshness", **options}
        (outcome,) = run_in_namespace(f"{lines}; cp {tmp_path}/made.journal $place/system.journal", check)
        return outcome

    return go


SYNC = [(5000, "sync.service", "sync done"), (3000, "sync.service", "sync done"), (60, "sync.service", "sync failed")]


def test_the_last_entry_of_a_unit_that_matches_counts(journal):
    outcome = journal(*SYNC, (10, "other.service", "sync done"))
    assert outcome["status"] == "warning"
    assert outcome["metrics"]["age_seconds"] == pytest.approx(3000, abs=60)


def test_any_entry_of_a_unit_counts_without_a_pattern(journal):
    outcome = journal(*SYNC, pattern=".")
    assert (outcome["status"], outcome["metrics"]["age_seconds"] < 120) == ("ok", True)


def test_a_unit_that_never_said_so_is_critical(journal):
    outcome = journal(*SYNC, unit="other.service")
    assert outcome["status"] == "critical"
    assert outcome["summary"].startswith("other.service: no line matches")


def test_a_journal_with_too_many_other_entries_is_no_good_news(journal):
    many = [(1500 - number / 4, "sync.service", "busy") for number in range(5100)]
    assert journal(*SYNC[:2], *many)["status"] == "unknown"
    assert journal(*SYNC[:2], *many, warning="> 20m")["status"] == "warning"
