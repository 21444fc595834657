# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.log_scan as a module, on real files: rules, codes, measures, faults, bad input (L1 to L4, L6, K6)."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import json
import lzma
import os
import random
import subprocess
import sys
import threading
import time

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.modules import log_scan

HOUR = 3600


def line(age, text, level="INFO"):
    """A line as Python's logging writes it, `age` seconds old."""
    when = time.time() - age
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(when))},123 {level} {text}\n"


@pytest.fixture
def run(capsys, tmp_path):
    """Run the module with `options` and return its result, outcomes also by subject."""

    def go(**options):
        given = {"state_dir": str(tmp_path / "state"), **options}
        with patch_module_args(given), pytest.raises(SystemExit):
            log_scan.main()
        result = json.loads(capsys.readouterr().out)
        result["by"] = {each["subject"]: each for each in result.get("outcomes", [])}
        return result

    return go


@pytest.fixture
def log(tmp_path):
    """A log of two days, a line a minute, errors each hour; the last is a minute old."""
    path = tmp_path / "logs" / "app.log"
    path.parent.mkdir()
    lines = [
        line(minute * 60 + 30, f"request {minute} done" if minute % 60 else f"DB_001 failed id={minute}", "ERROR" if minute % 60 == 0 else "INFO")
        for minute in range(2880, 0, -1)
    ]  # fmt: skip
    path.write_text("".join(lines))
    return path


def source(path, **options):
    return {"name": "app", "path": str(path), **options}


ERRORS = {"name": "errors", "pattern": r"\b(ERROR|CRITICAL)\b"}


def test_a_window_counts_only_its_lines_and_judges_ratio_rate_and_count(run, log):
    rules = [
        {**ERRORS, "per": "ratio", "warning": "> 1", "remedy": "Look."},
        {"name": "rate", "pattern": "ERROR", "per": "rate", "critical": "> 10"},
        {"name": "count", "pattern": "(?i)error", "critical": "> 10"},
        {"name": "excluded", "pattern": "ERROR", "exclude": "DB_0", "warning": "> 0"},
    ]
    result = run(sources=[source(log)], rules=rules)
    assert (result["changed"], result["status"]) == (False, "critical")
    errors = result["by"]["rule:errors"]
    assert errors["status"] == "warning"
    assert errors["metrics"]["matches"] == 23
    assert errors["metrics"]["lines"] == 1439
    assert errors["metrics"]["ratio_percent"] == pytest.approx(1.6, abs=0.05)
    assert errors["summary"].endswith("remedy: Look.")
    assert len(errors["details"]["samples"]) == 3
    assert "id=60" in errors["details"]["samples"][-1]
    assert errors["details"]["first"] < errors["details"]["last"]
    assert result["by"]["rule:rate"]["metrics"]["matches_per_minute"] == pytest.approx(23 / 1440, abs=1e-5)
    assert result["by"]["rule:rate"]["status"] == "ok"
    assert result["by"]["rule:count"]["status"] == "critical"
    assert result["by"]["rule:excluded"]["metrics"]["matches"] == 0
    assert result["by"]["source:app"]["metrics"]["size_bytes"] == log.stat().st_size


def test_codes_have_meaning_and_remedy(run, log):
    codes = [
        {"code": "DB_001", "meaning": "database connection failed", "remedy": "Restart it.", "critical": "> 5"},
        {"code": "AUTH_001", "meaning": "invalid credentials", "warning": "> 0"},
        {"code": "DB_00", "meaning": "no word of its own"},
    ]
    by = run(sources=[source(log)], codes=codes)["by"]
    assert by["rule:DB_001"]["status"] == "critical"
    assert "meaning: database connection failed; remedy: Restart it." in by["rule:DB_001"]["summary"]
    assert by["rule:AUTH_001"]["status"] == "ok"
    assert by["rule:DB_00"]["metrics"]["matches"] == 0


def test_measures_give_percentiles_with_bounds(run, tmp_path):
    path = tmp_path / "app.log"
    path.write_text("".join(line(60, f"Optimization completed in {number / 100:.3f}s") for number in range(1, 1001)))
    measure = {"name": "optimization", "pattern": r"completed in (?P<value>[\d.]+)s", "unit": "s", "warning": {"p95": "> 2"},
               "critical": {"max": "> 20"}}  # fmt: skip
    milliseconds = {**measure, "name": "ms", "unit": "ms", "warning": None, "critical": None}
    by = run(sources=[source(path)], measures=[measure, milliseconds])["by"]
    assert by["measure:optimization"]["status"] == "warning"
    assert by["measure:optimization"]["metrics"] == {
        "count": 1000, "mean_seconds": 5.005, "p50_seconds": 5, "p95_seconds": 9.5, "p99_seconds": 9.9, "max_seconds": 10,
    }  # fmt: skip
    assert by["measure:ms"]["metrics"]["max_seconds"] == 0.01


def test_counts_by_address_and_bursts(run, tmp_path):
    path = tmp_path / "access.log"
    lines = []
    for second in range(3000, 0, -1):
        stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(time.time() - second))
        lines.append(f'10.0.0.1 - - [{stamp}] "GET / HTTP/1.1" 200 5\n')
        if second % 100 == 0 or 1000 < second <= 1040:
            lines.append(f'10.0.0.{7 if second > 1000 else 8} - - [{stamp}] "GET /admin HTTP/1.1" 401 5\n')
    path.write_text("".join(lines))
    rule = {"name": "refused", "pattern": r'^(?P<source>\S+) .*" (401|403|429) ', "by": "source", "warning": "> 30"}
    by = run(sources=[source(path)], rules=[rule, {**rule, "name": "burst", "within": "1m", "critical": "> 39"}])["by"]
    assert by["rule:refused"]["status"] == "warning"
    assert by["rule:refused"]["details"]["top"] == {"10.0.0.7": 60, "10.0.0.8": 10}
    assert by["rule:refused"]["metrics"]["groups"] == 2
    assert by["rule:burst"]["metrics"]["burst_matches"] in (40, 41)
    assert by["rule:burst"]["status"] == "critical"


def test_json_lines(run, tmp_path):
    path = tmp_path / "app.log"
    entries = [
        {
            "time": time.time() - 60,
            "severity": "ERROR",
            "msg": 'could not "connect"',
            "took_ms": 12,
            "user": {"name": "ann"},
        },
        {"time": time.time() - 50, "severity": "INFO", "msg": "ERROR is only a word here", "took_ms": 8},
        {"time": time.time() - 2 * 86400, "severity": "ERROR", "msg": "old"},
    ]
    path.write_text("".join(json.dumps(each) + "\n" for each in [entries[2], entries[0], entries[1]]))
    rules = [
        {"name": "level", "field": "level", "pattern": "^ERROR$"},
        {"name": "message", "field": "message", "pattern": '"connect"'},
        {"name": "nested", "field": "user.name", "pattern": "ann", "per": "ratio"},
        {"name": "raw", "pattern": "ERROR"},
    ]
    by = run(sources=[source(path)], rules=rules, measures=[{"name": "took", "field": "took_ms", "unit": "ms"}])["by"]
    assert {name: by[f"rule:{name}"]["metrics"]["matches"] for name in ("level", "message", "nested", "raw")} == {
        "level": 1, "message": 1, "nested": 1, "raw": 2,
    }  # fmt: skip
    assert by["rule:nested"]["metrics"]["ratio_percent"] == 50
    assert by["measure:took"]["metrics"]["mean_seconds"] == 0.01
    assert by["source:app"]["details"]["formats"] == ["json"]


def test_a_field_asks_for_json_lines(run, log):
    by = run(sources=[source(log)], rules=[{"name": "x", "field": "level", "pattern": "ERROR"}])["by"]
    assert by["rule:x"]["status"] == "unknown"
    assert "none of its sources has JSON lines" in by["rule:x"]["summary"]


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zst"])
def test_rotated_and_packed_files_belong_to_the_window(run, tmp_path, suffix):
    path = tmp_path / "app.log"
    path.write_text(line(60, "now", "ERROR"))
    (tmp_path / "app.log.1").write_text(line(2 * HOUR, "rotated", "ERROR"))
    packed = (line(30 * HOUR, "too old", "ERROR") * 5000 + line(3 * HOUR, "packed", "ERROR") * 3).encode()
    archive = tmp_path / f"app.log.2.{suffix}"
    if suffix == "zst":
        (tmp_path / "plain").write_bytes(packed)
        subprocess.run(["zstd", "-q", str(tmp_path / "plain"), "-o", str(archive)], check=True)
    else:
        archive.write_bytes({"gz": gzip, "bz2": bz2, "xz": lzma}[suffix].compress(packed))
    old = tmp_path / "app.log.3.gz"
    old.write_bytes(gzip.compress(line(60, "written later than its file says", "ERROR").encode()))
    os.utime(old, (time.time() - 100 * HOUR,) * 2)
    by = run(sources=[source(path)], rules=[ERRORS])["by"]
    assert by["rule:errors"]["metrics"]["matches"] == 5
    assert by["source:app"]["metrics"]["files"] == 4


def test_a_rotated_log_that_is_being_packed_counts_once(run, tmp_path):
    path = tmp_path / "app.log"
    path.write_text(line(60, "now", "ERROR"))
    (tmp_path / "app.log.1").write_text(line(120, "rotated", "ERROR"))
    (tmp_path / "app.log.1.gz").write_bytes(gzip.compress(line(120, "rotated", "ERROR").encode()))
    (tmp_path / "app.log.gz").write_bytes(gzip.compress(line(180, "before", "ERROR").encode()))
    by = run(sources=[source(path)], rules=[ERRORS])["by"]
    assert by["rule:errors"]["metrics"]["matches"] == 3


# --- Faults, caused for real -----------------------------------------------------------------------------------------


def test_binary_garbage_nul_and_invalid_utf8_hide_nothing(run, tmp_path):
    path = tmp_path / "app.log"
    garbage = random.Random(1).randbytes(6 << 20)
    path.write_bytes(garbage + b"\n\x00\x00 ERROR one \xff\xfe\n" + garbage + b"\nERROR t\xc3\xb6\n\xc3\n")
    found = run(sources=[source(path)], rules=[{"name": "x", "pattern": "ERROR (one|tö)", "warning": "> 0"}])
    assert found["by"]["rule:x"]["metrics"]["matches"] == 2
    json.dumps(found).encode("utf-8")
    assert "\\u0000" not in json.dumps(found)


def test_a_line_of_100_megabytes_needs_little_memory(log, tmp_path):
    """B9: in a process of its own, whose peak is asked for."""
    with log.open("ab") as stream:
        for _number in range(100):
            stream.write(b"x" * (1 << 20))
        stream.write(b" ERROR\n")
        stream.write(line(1, "last", "ERROR").encode())
    arguments = {"state_dir": str(tmp_path), "sources": [source(log)], "rules": [ERRORS]}
    script = (
        "from ansible.module_utils.testing import patch_module_args\n"
        "from ansible_collections.sre.runbooks.plugins.modules import log_scan\n"
        f"with patch_module_args({arguments!r}):\n"
        "    try: log_scan.main()\n"
        "    except SystemExit: pass\n"
        "print()\nprint(*[each.split()[1] for each in open('/proc/self/status') if each.startswith('VmHWM')])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    result, peak = done.stdout.strip().split("\n\n")
    by = {each["subject"]: each for each in json.loads(result)["outcomes"]}
    assert by["rule:errors"]["metrics"]["matches"] == 24
    assert int(peak) <= 64 * 1024


def test_no_time_stamps_are_told_and_read_as_a_whole(run, tmp_path):
    path = tmp_path / "app.log"
    path.write_text("an ERROR\nTraceback\n" * 10)
    by = run(sources=[source(path)], rules=[ERRORS])["by"]
    assert by["rule:errors"]["metrics"]["matches"] == 10
    assert "1 files without time stamps were read as a whole" in by["source:app"]["summary"]


def test_mixed_time_zones(run, tmp_path):
    path = tmp_path / "app.log"
    lines = []
    for minute in range(3000, 0, -1):
        zone = (0, 5, -8)[minute % 3]
        when = time.gmtime(time.time() - minute * 60 - 30 + zone * HOUR)
        lines.append(time.strftime("%Y-%m-%dT%H:%M:%S", when) + f"{zone:+03d}:00 ERROR x {'y' * 60}\n")
    path.write_text("".join(lines))
    assert run(sources=[source(path)], rules=[ERRORS])["by"]["rule:errors"]["metrics"]["matches"] == 1439


def test_a_clock_set_back_hides_no_line(run, tmp_path):
    """What was written within the window counts, though younger stamps stand before older ones."""
    path = tmp_path / "app.log"
    ages = [*range(40 * HOUR, 20 * HOUR, -10), *range(30 * HOUR, 0, -10)]
    path.write_text("".join(line(age, "x" * 60, "ERROR") for age in ages))
    matches = run(sources=[source(path)], rules=[ERRORS])["by"]["rule:errors"]["metrics"]["matches"]
    first = next(number for number, age in enumerate(ages) if age < 24 * HOUR)
    assert abs(matches - (len(ages) - first)) <= 3


def test_a_file_cut_while_it_is_read(run, tmp_path):
    path = tmp_path / "app.log"
    path.write_text(line(60, "x" * 80, "ERROR") * 300000)
    done = threading.Event()

    def cut():
        while not done.is_set():
            with path.open("r+") as stream:
                stream.truncate(random.Random(2).randrange(1 << 20))
            with path.open("a") as stream:
                stream.write(line(60, "x" * 80, "ERROR") * 300000)

    thread = threading.Thread(target=cut)
    thread.start()
    try:
        for _number in range(3):
            result = run(sources=[source(path)], rules=[{**ERRORS, "per": "ratio"}])
            assert result["by"]["rule:errors"]["metrics"]["matches"] > 0
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zst"])
def test_an_archive_cut_short_is_told_and_read_as_far_as_it_goes(run, tmp_path, suffix):
    path = tmp_path / "app.log"
    path.write_text(line(60, "now", "ERROR"))
    content = "".join(line(60, f"{random.Random(number).random()}", "ERROR") for number in range(50000)).encode()
    if suffix == "zst":
        (tmp_path / "plain").write_bytes(content)
        packed = subprocess.run(["zstd", "-qc", str(tmp_path / "plain")], check=True, capture_output=True).stdout
    else:
        packed = {"gz": gzip, "bz2": bz2, "xz": lzma}[suffix].compress(content)
    (tmp_path / f"app.log.1.{suffix}").write_bytes(packed[: len(packed) * 2 // 3])
    by = run(sources=[source(path)], rules=[ERRORS])["by"]
    assert by["source:app"]["status"] == "warning"
    assert f"app.log.1.{suffix}: the archive is damaged or cut short" in by["source:app"]["summary"]
    assert by["rule:errors"]["metrics"]["matches"] > 10000


def test_catastrophic_backtracking_is_ended_and_named(run, tmp_path):
    path = tmp_path / "app.log"
    path.write_text(line(60, "a" * 40 + "!", "ERROR"))
    began = time.monotonic()
    rules = [{"name": "endless", "pattern": r"(a+)+$"}, ERRORS]
    by = run(sources=[source(path)], rules=rules)["by"]
    assert time.monotonic() - began < 10
    assert by["rule:endless"]["status"] == "unknown"
    assert "rules[endless].pattern: '(a+)+$' took more than 2 s" in by["rule:endless"]["summary"]
    assert by["rule:errors"]["metrics"]["matches"] == 1


def test_nothing_matched_is_never_ok(run, tmp_path):
    folder = tmp_path / "folder.log"
    folder.mkdir()
    missing = source(tmp_path / "none" / "*.log")
    by = run(sources=[missing], rules=[{**ERRORS, "warning": "> 0"}])["by"]
    assert by["source:app"]["status"] == "unknown"
    assert "matches no file" in by["source:app"]["summary"]
    assert by["rule:errors"]["status"] == "unknown"
    assert run(sources=[source(folder)])["status"] == "unknown"


def test_a_time_limit_makes_unknown(run, log):
    result = run(sources=[source(log)], rules=[ERRORS], timeout=0.000001)
    assert result["by"]["source:app"]["status"] == "unknown"
    assert "option timeout" in result["by"]["source:app"]["summary"]
    assert result["by"]["rule:errors"]["status"] == "unknown"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rules": [{"name": "x", "pattern": "("}]}, "rules[x].pattern: '(' is no regular expression"),
        ({"rules": [{"name": "x", "pattern": "a", "exclude": "*"}]}, "rules[x].exclude"),
        ({"rules": [{"name": "x", "pattern": "a", "by": "source"}]}, "has no group named source"),
        ({"rules": [{"name": "x", "pattern": "(?P<s>a)", "by": "s", "per": "rate"}]}, "rules[x].per"),
        ({"rules": [{"name": "x", "pattern": "a", "within": "soon"}]}, "rules[x].within"),
        ({"rules": [{"name": "x", "pattern": "a", "warning": "much"}]}, "rules[x].warning"),
        ({"rules": [{"name": "x", "pattern": "a", "sources": ["nope"]}]}, "rules[x].sources: 'nope' is no source"),
        ({"rules": [{"name": "x", "pattern": "a"}] * 2}, "rules: 'x' is there twice"),
        ({"rules": [{"name": "x", "pattern": "a", "bound": 1}]}, "bound"),
        ({"rules": [{"name": "x"}]}, "pattern"),
        ({"codes": [{"code": " "}]}, "is empty"),
        ({"measures": [{"name": "x", "pattern": "a"}]}, "has no group named value"),
        ({"measures": [{"name": "x", "pattern": "(?P<value>a)", "unit": "h"}]}, "measures[x].unit"),
        ({"measures": [{"name": "x", "pattern": "(?P<value>a)", "warning": {"p42": "> 1"}}]}, "is no statistic"),
        ({"measures": [{"name": "x"}]}, "measures[x].pattern"),
        ({"sources": [{"name": "x"}]}, "names not exactly one place"),
        ({"sources": [{"name": "x", "path": "/a", "unit": "b"}]}, "names not exactly one place"),
        ({"sources": [{"name": "x", "path": "a.log"}]}, "is no absolute path"),
        ({"sources": [{"name": "x", "path": "/a", "timestamp": "%Q"}]}, "sources[x].timestamp"),
        ({"sources": [{"name": "x", "path": "/a", "zone": "Mars"}]}, "is no time zone"),
        ({"sources": [{"name": "x", "path": "/a", "format": "xml"}]}, "format"),
        ({"sources": [{"name": "x", "unit": "a", "warning": "> 1"}]}, "has no size"),
        ({"sources": [{"name": "x", "path": "/a"}] * 2}, "sources: 'x' is there twice"),
        ({"window": "0s"}, "window"),
        ({"read": "all"}, "read"),
        ({"samples": 1000}, "samples"),
        ({"timeout": 0}, "timeout"),
        ({"speed": "high"}, "speed"),
    ],
)
def test_bad_input_is_refused_by_name_before_anything_is_read(run, options, message):
    result = run(**{"sources": [{"name": "app", "path": "/nowhere/*.log"}], **options})
    assert result["failed"]
    assert message in result["msg"]


# --- What is shown, and what is remembered -----------------------------------------------------------------------------


def test_samples_hold_no_secret(run, tmp_path):
    path = tmp_path / "app.log"
    path.write_text(line(60, "login password=hunter2 Authorization: Bearer abcdefgh12345678 bob@example.org", "ERROR"))
    text = json.dumps(run(sources=[source(path)], rules=[ERRORS], redact_emails=True))
    assert "********" in text
    assert not any(secret in text for secret in ("hunter2", "abcdefgh12345678", "bob@"))


def test_new_shapes_are_those_never_seen_before(run, tmp_path):
    path = tmp_path / "app.log"
    path.write_text("".join(line(60, f"request {number} failed for 'a{number}'", "ERROR") for number in range(50)))
    options = {"sources": [source(path)], "rules": [ERRORS], "shapes": "warning"}
    assert run(**options)["by"]["source:app"]["metrics"]["new_shapes"] == 0
    with path.open("a") as stream:
        stream.write(line(50, "request 77 failed for 'zz'", "ERROR") + line(40, "disk on fire at 451 degrees", "ERROR"))
    checked = run(**options, _ansible_check_mode=True)["by"]["source:app"]
    assert checked["metrics"]["new_shapes"] == 1
    found = run(**options)["by"]["source:app"]
    assert (found["status"], found["metrics"]["new_shapes"]) == ("warning", 1)
    assert "disk on fire" in found["details"]["new_shapes"][0]
    assert run(**options)["by"]["source:app"]["metrics"]["new_shapes"] == 0


def test_a_bound_with_for_waits(run, log, tmp_path):
    rule = {**ERRORS, "warning": "> 1 for 1h"}
    found = run(sources=[source(log)], rules=[rule])["by"]["rule:errors"]
    assert (found["status"], found["pending"]) == ("ok", True)
    # Another call on this host, with other rules, does not start its time anew; a bound taken back is forgotten.
    run(sources=[source(log)], rules=[{**ERRORS, "name": "other"}])
    document = tmp_path / "state" / "log_scan.json"
    assert "rule:errors/matches/warning/> 1 for 1h" in json.loads(document.read_text())["held"]
    run(sources=[source(log)], rules=[{**ERRORS, "warning": "> 2 for 1h"}])
    assert list(json.loads(document.read_text())["held"]) == ["rule:errors/matches/warning/> 2 for 1h"]


def test_check_mode_keeps_nothing(run, log, tmp_path):
    run(sources=[source(log)], rules=[ERRORS], read="cursor", _ansible_check_mode=True)
    assert not (tmp_path / "state").exists()
    with contextlib.suppress(FileNotFoundError):
        assert not os.listdir(tmp_path / "state")
