# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Performance data of plugins, read as their guidelines say (H13)."""

from __future__ import annotations

import time

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core import plugin
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._health import _check


@pytest.mark.parametrize(
    ("data", "figures"),
    [
        ("load1=0.010;5.000;6.000;0;", {"load1": 0.01}),
        ("time=0.002722s;;;0.000000;10.000000", {"time_seconds": 0.002722}),
        ("rta=0.314000ms;100.0;200.0;0.0 pl=0%;20;40;0;", {"rta_seconds": 0.000314, "pl_percent": 0}),
        ("'a b'=5%;80;90;0;100", {"a_b_percent": 5}),
        ("'it''s here'=1", {"it_s_here": 1}),
        ("'a=b'=7us", {"a_b_seconds": 7e-6}),
        ("'C:\\ %'=62% 'C:\\'=40GB", {"C_percent": 62, "C_bytes": 40 * 2**30}),
        ("/=1KB /var/log=2MB 'D: '=3TB", {"root_bytes": 1024, "var_log_bytes": 2 * 2**20, "D_bytes": 3 * 2**40}),
        ("a=1B b=1kB c=1KiB d=1GiB", {"a_bytes": 1, "b_bytes": 1024, "c_bytes": 1024, "d_bytes": 2**30}),
        ("requests=17c requests_total=18c", {"requests_total": 17, "requests_total_2": 18}),
        ("bytes=5B;; size_bytes=6B", {"bytes": 5, "size_bytes": 6}),
        ("temperature=-23.5C;~:30;@10:20", {"temperature": -23.5}),
        ("x=U y=1 z=", {"y": 1}),
        ("x=1,5s", {"x_seconds": 1.5}),
        ("x=1e3 y=+.5 z=2.", {"x": 1000, "y": 0.5, "z": 2}),
        ("x=1e999 y=2", {"y": 2}),
        ("5min=0.4 -=3 é=4", {"_5min": 0.4, "figure": 3, "figure_2": 4}),
        ("value=4 value=5", {"value": 4, "value_2": 5}),
        ("x=1\ny=2", {"x": 1, "y": 2}),
        ("x=1;2;3 garbage 'open=3 =4 y=2", {"x": 1, "y": 2}),
        ("", {}),
    ],
)
def test_figures(data, figures):
    found = plugin.figures(data)
    if figures:
        assert found.pop("value") == next(iter(figures.values()))
        figures.pop("value", None)
    assert found == figures


def test_the_number_of_figures_is_bounded():
    assert len(plugin.figures(" ".join(f"x{number}=1" for number in range(10_000)))) <= 201


@pytest.mark.parametrize("data", ["'" * 65536, "a" * 65536, "'a" * 30000, "=" * 65536, "''" * 30000 + "=1"])
def test_garbage_takes_no_time(data):
    began = time.monotonic()
    plugin.figures(data)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("output", "parts"),
    [
        ("OK", ("OK", "", "")),
        ("OK | a=1", ("OK", "", "a=1")),
        ("OK | a=1\nmore\nlines", ("OK", "more\nlines", "a=1")),
        ("OK\nmore | b=2\nc=3\n", ("OK", "more", "b=2\nc=3")),
        ("OK | a=1\nmore | b=2\nc=3\n", ("OK", "more", "a=1  b=2\nc=3")),
        ("", ("", "", "")),
        ("|a=1", ("", "", "a=1")),
    ],
)
def test_lines(output, parts):
    assert plugin.parse(output) == parts


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, ": missing required arguments: argv"),
        ({"argv": []}, ".argv: [] names no program. Write a list: the program, then its arguments."),
        ({"argv": [" "]}, ".argv: [' '] names no program. "),
        ({"argv": ["x"], "environment": {"A B": "geheim"}}, ".environment: 'A B' is no name of a variable. Use letters,"),
        ({"argv": ["x"], "metrics": {"a b": {"warning": "> 1"}}}, ".metrics: 'a b' is no metric of this check. Use letters, digits"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_used_are_refused(given, message):
    with pytest.raises(RunbookError) as caught:
        _check.read([{"name": "x", "type": "command", **given}])
    assert str(caught.value).startswith(f"checks[0] (x){message}")
    assert "geheim" not in str(caught.value)
