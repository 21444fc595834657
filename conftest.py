# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every test: programs that it starts find the collection, and none is left out.

A skipped test or an expected failure fails the whole run, everywhere, not only in CI.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

_left_out: list[str] = []

# pytest itself finds it by `pythonpath` in pyproject.toml.
os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent / ".work" / "collections")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped or hasattr(report, "wasxfail"):
        _left_out.append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        _left_out.append(report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if _left_out and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for nodeid in _left_out:
        terminalreporter.line(f"LEFT OUT {nodeid}: no test may be skipped or expected to fail", red=True)
