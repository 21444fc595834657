# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parts of log_scan: percentiles, redaction, shapes, rotated names, bursts, bisection, blocks; and that the docs' examples are accepted."""

from __future__ import annotations

import itertools
import os
import random
import re
import time
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.sre.runbooks.plugins.module_utils._core import command
from ansible_collections.sre.runbooks.plugins.module_utils._logs import (
    _lines,
    _measures,
    _options,
    _rules,
    _shapes,
    _sources,
    _tally,
    _timestamps,
    _window,
)
from ansible_collections.sre.runbooks.plugins.module_utils._logs._redact import HIDDEN, redact
from ansible_collections.sre.runbooks.plugins.module_utils._logs._stream import Span

CHECKOUT = Path(__file__).resolve().parents[4]

# --- Measures (L2) ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 100, 20000, 20001, 60000])
def test_percentiles_are_exact_and_then_within_half_a_percent(count):
    draw = random.Random(count)
    values = [draw.lognormvariate(0, 3) for _number in range(count)]
    sketch = _measures.Sketch()
    for value in values:
        sketch.add(value)
    assert sketch.exact == (count <= _measures.EXACT)
    ordered = sorted(values)
    for share in (0.5, 0.95, 0.99, 1):
        exact = ordered[max(1, -(-int(share * count * 100) // 100)) - 1]
        assert sketch.percentile(share) == pytest.approx(exact, rel=0 if sketch.exact else 0.006)
    assert sketch.statistics()["max"] == ordered[-1]


def test_values_below_zero_and_of_zero_keep_their_order():
    sketch = _measures.Sketch()
    for value in itertools.islice(itertools.cycle([-100.0, -1.0, 0.0, 1.0, 100.0]), _measures.EXACT + 10):
        sketch.add(value)
    assert [round(sketch.percentile(share), 0) for share in (0.1, 0.3, 0.5, 0.7, 0.9)] == [-100, -1, 0, 1, 100]


def test_what_is_no_number_is_counted_apart():
    sketch = _measures.Sketch()
    for text in ("1.5", "1,5", "nan", "inf", "1.2.3", "", "1e3"):
        sketch.add_text(text, 1)
    assert (sketch.count, sketch.unreadable) == (3, 4)
    assert _measures.Sketch().statistics() == {"count": 0}


# --- Redaction -------------------------------------------------------------------------------------------------------

SECRETS = [
    "password=s3cr3t", "PASSWORD: 's3cr3t'", '{"password": "s3cr3t", "user": "ann"}', '{\\"api_key\\": \\"s3cr3t\\"}', "token => s3cr3t",
    "Authorization: Bearer s3cr3ts3cr3t", "authorization: Basic czNjcjN0czNjcjN0s3cr3t", "postgresql://ann:s3cr3t@db/x",
    "MONDAY_API_KEY=s3cr3t", "Cookie: session=s3cr3t; x=s3cr3t", "GET /?access_key=s3cr3t&x=1", "aws_secret_access_key = s3cr3t",
    "eyJhbGciOiJIs3cr3t.eyJzdWIiOiIs3cr3t.s3cr3ts3cr3t", "ghp_s3cr3ts3cr3ts3cr3t", "AGE-SECRET-KEY-1s3cr3ts3cr3ts3cr3t",
    "-----BEGIN RSA PRIVATE KEY-----s3cr3t", "client_secret=s3cr3t,", "X-API-Key: s3cr3t", "xoxb-s3cr3ts3cr3ts3cr3t",
]  # fmt: skip


@pytest.mark.parametrize("text", SECRETS)
def test_secrets_are_taken_out(text):
    shown = redact(f"2026-11-20 ERROR before {text}", 400)
    assert "s3cr3t" not in shown
    assert HIDDEN in shown
    assert "ERROR before" in shown


@pytest.mark.parametrize(
    "text",
    ["password authentication failed for user bob", "token expired", "took 3 s: 12 rows", "https://example.org/a:b@c"],
)
def test_what_is_no_secret_stays(text):
    assert redact(text, 400) == text


def test_lines_are_bounded_and_without_control_characters():
    assert redact("a\x00b\x1b[31m", 400) == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}[31m"
    assert len(redact("x" * 10000, 400)) == 400
    assert redact("to bob@example.org", 400, emails=True) == f"to {HIDDEN}"
    began = time.monotonic()
    for text in ("password" * 10000, "a." * 10000, 'secret="' + "\\" * 10000, "://" * 10000, "eyJ" * 9999):
        redact(text, 400)
    assert time.monotonic() - began < 1


# --- Shapes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2026-11-20 09:00:00 ERROR id=7", "2026-11-21 10:30:11 ERROR id=8123", True),
        ("user 'ann' failed", "user 'bob smith' failed", True),
        ("job 3fa85f64-5717-4562-b3fc-2c963f66afa6 died", "job 00000000-5717-4562-b3fc-2c963f66afa6 died", True),
        ("at 0x7fffdeadbeef", "at 0x12345678", True),
        ("Nov 20 disk full", "Dec  1 disk full", True),
        ("disk full", "disk empty", False),
        ("facade broken", "decade broken", False),
    ],
)
def test_shapes(one, other, same):
    assert (_shapes.shape(one) == _shapes.shape(other)) == same


def test_a_source_has_a_bounded_number_of_shapes():
    lines = [
        f"word{chr(103 + number % 20)}{'ghijklmnop'[number // 20 % 10]}{'qrstuvwxyz' * (1 + number // 200)}"
        for number in range(5000)
    ]
    shapes = _shapes.Shapes(None, 1.0)
    shapes.look("\n".join(lines).encode() + b"\n", lines, range(len(lines)))
    assert shapes.full
    assert len(shapes.known) == _shapes.MOST


# --- Files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("app.log", "app.log"), ("app.log.1", "app.log"), ("app.log.12.gz", "app.log"), ("app.log-20261120", "app.log"),
        ("app.log-20261120.zst", "app.log"), ("app.log.2026-11-20", "app.log"), ("app.1.log", "app.log"), ("app-20261120.log.xz", "app.log"),
        ("app.log.gz", "app.log"), ("app.log.old", "app.log"), ("other.log", "other.log"), ("app.log.bak", "app.log.bak"),
        ("gone.log.1", "gone.log.1"), ("gone.log.1.gz", "gone.log"), ("worker-1.log", "worker-1.log"), ("app.log.12345", "app.log.12345"),
    ],
)  # fmt: skip
def test_rotated_names(name, base):
    assert _sources.base_name(name, {"app.log", name}) == base


def test_too_many_files_are_refused_and_other_names_cost_nothing(tmp_path, monkeypatch):
    for number in range(30):
        (tmp_path / f"other-{number}.log").touch()
        (tmp_path / f"app.log.{number}").touch()
    (tmp_path / "app.log").touch()
    found, denied = _sources.files(str(tmp_path / "app.log"))
    assert (len(found), denied) == (31, [])
    monkeypatch.setattr(_sources, "MOST", 20)
    assert len(_sources.files(str(tmp_path / "app.log"))[0]) == 1
    with pytest.raises(_sources.RunbookError, match="matches more than 20 files"):
        _sources.files(str(tmp_path / "*"))


# --- Bursts (K6) -----------------------------------------------------------------------------------------------------


def test_bursts_agree_with_a_plain_count():
    draw = random.Random(5)
    times = sorted(draw.uniform(0, 3600) for _number in range(400))
    burst = _tally.Burst(60)
    for when in times:
        burst.add(when)
    exact = max(sum(start <= when < start + 60 for when in times) for start in times)
    slack = max(sum(start <= when < start + 64 for when in times) for start in times)
    assert exact - 2 <= burst.most <= slack


def test_a_clock_set_back_starts_a_burst_anew():
    burst = _tally.Burst(60)
    for when in [1000.0] * 5 + [10.0] * 3:
        burst.add(when)
    assert burst.most == 5


def test_groups_are_bounded_and_the_frequent_ones_right():
    tally = _tally.Tally(3)
    for number in range(20000):
        tally.add("often" if number % 4 == 0 else f"rare{number}", None)
    assert tally.top()[0] == ("often", 5000)
    assert tally.lossy
    assert len(tally.groups) <= _tally.MOST_GROUPS


# --- Window (B5) -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_the_start_of_the_window_is_the_first_line_in_it(tmp_path, seed):
    draw = random.Random(seed)
    path, since, when = tmp_path / "app.log", 1_795_000_000.0, 1_794_990_000.0
    lines, expected, offset = [], None, 0
    for _number in range(draw.choice([1, 10, 4000])):
        when += draw.choice([0, 1, 5])
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(when))} {'x' * draw.randrange(300)}\n"
        if draw.random() < 0.2:
            line = "Traceback\n" * draw.randrange(1, 30)
        elif expected is None and when >= since:
            expected = offset
        lines.append(line)
        offset += len(line)
    path.write_text("".join(lines))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        found = _window.first_offset(descriptor, offset, since, _timestamps.Reader(since + 1e6).read)
    finally:
        os.close(descriptor)
    if any("Z" in line for line in lines):
        assert found == (offset if expected is None else expected)


def test_bisection_reads_little(tmp_path, monkeypatch):
    path = tmp_path / "app.log"
    with path.open("w") as stream:
        for number in range(300_000):
            stream.write(f"{1_790_000_000 + number} {'x' * 80}\n")
    read = []
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda *arguments: read.append(arguments[1]) or real(*arguments))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size = path.stat().st_size
        found = _window.first_offset(descriptor, size, 1_790_299_000.0, _timestamps.Reader(1_795_000_000).read)
    finally:
        os.close(descriptor)
    assert found == size - 1000 * 92
    assert sum(read) < size / 5


# --- Lines -----------------------------------------------------------------------------------------------------------


def test_blocks_hold_whole_lines_whatever_the_chunks_are():
    draw = random.Random(6)
    lines = [b"x" * draw.choice([0, 1, 50, 70_000, 200_000]) + bytes([97 + number % 26]) for number in range(40)]
    text = b"\n".join(lines) + b"\nlast"
    chunks, position = [], 0
    while position < len(text):
        size = draw.choice([1, 100, 50_000, 262_144])
        chunks.append(text[position : position + size])
        position += size
    found = b"".join(_lines.blocks(chunks)).split(b"\n")[:-1]
    expected = [*lines, b"last"]
    assert len(found) == len(expected)
    assert all(
        long.startswith(short) and len(short) >= min(len(long), _lines.LONGEST)
        for short, long in zip(found, expected, strict=True)
    )
    assert b"last" not in b"".join(_lines.blocks(chunks, whole=False))


def test_windows_line_ends_and_long_lines(tmp_path):
    assert list(_lines.blocks([b"a\r\nb\r\nc\r"])) == [b"a\nb\n", b"c\n"]
    path = tmp_path / "long"
    path.write_bytes(b"short\n" * 100 + b"x" * (9 << 20) + b"\nshort\n")
    assert _lines.long_lines(Span(str(path), 0, path.stat().st_size))
    path.write_bytes(b"short\n" * 2_000_000)
    assert not _lines.long_lines(Span(str(path), 0, path.stat().st_size))


def test_lines_are_counted_in_small_and_large_parts_of_a_growing_file(tmp_path, run_command):
    path = tmp_path / "log"
    path.write_bytes(b"12345678\n" * 1_000_000)
    commands = command.Commands(run_command)
    descriptor = os.open(path, os.O_RDONLY)
    name = f"/proc/self/fd/{descriptor}"
    with path.open("ab") as stream:
        stream.write(b"later\n" * 1000)
    for start, lines in ((0, 1_000_000), (9_000, 999_000), (8_991_000, 1000)):
        assert _lines.start_count(Span(name, start, 9_000_000), commands)() == lines
    os.close(descriptor)


# --- Documentation ---------------------------------------------------------------------------------------------------


def test_the_examples_of_the_page_are_accepted_together():
    text = (CHECKOUT / "docs/logs.md").read_text(encoding="utf-8")
    given = {"sources": [], "rules": [], "codes": [], "measures": []}
    for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        for name, entries in yaml.safe_load(block).items():
            given[name.split("_")[2]] += entries
    given["rules"] = list({each["name"]: each for each in given["rules"]}.values())
    result = ArgumentSpecValidator(_options.SPEC).validate(given)
    assert not result.error_messages
    options = _options.read(result.validated_parameters)
    assert (len(options.sources), len(options.rules), len(options.measures)) == (6, 8, 2)
    slow = next(each for each in options.rules if each.name == "slow")
    assert slow.main == _rules.MAIN["rate"]
