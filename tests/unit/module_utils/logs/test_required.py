# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pre-filter of log_scan: what it lets through holds every line that matches, for grep, ripgrep and Python alike (L1, B4)."""

from __future__ import annotations

import random
import re
import subprocess

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._logs import _required

EXPECTED = {
    "ERROR|CRITICAL|FATAL": ("CRITICAL|ERROR|FATAL", True),
    r"\b(ERROR|CRITICAL)\b": ("CRITICAL|ERROR", False),
    r"authentication failed for user (?P<u>\w+)": ("authentication failed for user ", False),
    r'HTTP/1\.[01]" (401|403)': (r'HTTP/1\.[01]" 40[13]', True),
    r"(?i)rate": ("[Rr][Aa][Tt][Ee]", True),
    r"(?i:ra)te": ("[Rr][Aa]te", True),
    r"5\d\d": ("5[0123456789][0123456789]", True),
    r"took .* seconds": (" seconds", False),
    r"(?:abc){2}": ("abcabc", True),
    r"(?:abc)+x": ("abc", False),
    r"x(?:long text|t)y": ("xlong texty|xty", True),
    r"(?=abc)abc": ("abc", False),
    r"tö.": ("t\xc3\xb6", False),
    r"a[]\\^-]cd": (r"a(-|\\|\]|\^)cd", True),
    r"(?x) failed  # a comment": ("failed", True),
}
NOTHING = [r"\d+", r".*", r"a", r"(?:error)?", r"[^x]{5}", r"\w+@\w+", r"(?iu:key)", r"(a|b*)", r"\S+ \S+", "\n\n\n"]


@pytest.mark.parametrize("text", EXPECTED)
def test_what_an_expression_needs(text):
    found = _required.find(re.compile(text, re.ASCII if "(?u" not in text else 0))
    assert (found.expression, found.exact) == EXPECTED[text]


@pytest.mark.parametrize("text", NOTHING)
def test_what_needs_too_little_has_no_filter(text):
    assert _required.find(re.compile(text, re.ASCII)) is None


def test_json_escapes_are_expected():
    found = _required.find(re.compile('could not "connect" to/from', re.ASCII), plain_only=True)
    assert found.expression == "could not "
    assert not found.exact


ATOMS = [
    "a",
    "b",
    "ab",
    "abc",
    "B",
    "1",
    r"\d",
    "[ab]",
    "[^a]",
    ".",
    r"\w",
    r"\s",
    "é",
    "(?:ab|ba)",
    "(?i:ab)",
    r"\.",
    r"\[",
    "-",
    "(a|b|c)b",
]
TAILS = ["", "", "", "*", "+", "?", "{2}", "{1,2}", "*?", "+?"]
PIECES = ["a", "b", "ab", "A", "AB", "c", "1", " ", "é", ".", "[", "-", "x", "\t"]


def expressions(count):
    draw = random.Random(3)
    while count:
        parts = [draw.choice(ATOMS) + draw.choice(TAILS) for _number in range(draw.randrange(1, 5))]
        text = (
            draw.choice(["", "", "^", r"\b", "(?i)"]) + "".join(parts) + draw.choice(["", "", "$", "|cab", "|ab[12]"])
        )
        try:
            expression = re.compile(text, re.ASCII)
        except re.error:
            continue
        if _required.find(expression) is not None:
            count -= 1
            yield expression


@pytest.mark.parametrize(
    "program",
    [
        ["grep", "-a", "-n", "-E", "-e"],
        ["rg", "-N", "--text", "-n", "--no-config", "--color=never", "--no-unicode", "-e"],
    ],
)
def test_no_line_that_matches_is_filtered_out(program, tmp_path):
    draw = random.Random(4)
    lines = ["".join(draw.choices(PIECES, k=draw.randrange(9))) for _number in range(1500)]
    path = tmp_path / "lines"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    tried = 0
    for expression in expressions(200):
        required = _required.find(expression)
        if program[0] == "rg" and not required.expression.isascii():
            continue
        argv = [*program, required.expression.encode("latin-1"), str(path)]
        done = subprocess.run(argv, capture_output=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"}, check=False)
        assert done.returncode in (0, 1), (expression.pattern, done.stderr)
        kept = {int(each.partition(b":")[0]) - 1 for each in done.stdout.splitlines()}
        python = re.compile(required.expression.encode("latin-1"))
        for number, line in enumerate(lines):
            matches = expression.search(line) is not None
            assert not matches or number in kept, (expression.pattern, required.expression, line)
            assert not matches or python.search(line.encode()), (expression.pattern, required.expression, line)
            if required.exact:
                assert matches == (number in kept), (expression.pattern, required.expression, line)
        tried += 1
    assert tried > 100
