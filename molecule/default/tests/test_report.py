# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report names what was broken on purpose and who did not answer; nobody is stopped by somebody else's trouble."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPORTS = Path(__file__).resolve().parents[3] / ".work/lab/molecule/reports"
STAGES = {"health", "log_scan", "log_cleanup", "backup"}

# What prepare.yml broke, as (host, stage, subject, status).
BROKEN = [
    ("resources1", "health", "service:stopped:feature11-sync.service", "critical"),
    ("resources1", "health", "file:weekly plan", "critical"),
    ("models1", "health", "service:services:mlflow-server.service", "critical"),
    ("models1", "health", "http:mlflow", "critical"),
    ("models1", "health", "http:business", "warning"),
]
# What a machine that runs tests may pass at times.
BUSY = {"cpu", "memory", "redis", "http:api", "http:business", "postgresql:database", "sqlite:database"}


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((REPORTS / "daily_latest.json").read_text(encoding="utf-8"))
    return document


@pytest.fixture(scope="module")
def outcomes(report: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    return [
        (host["name"], outcome["stage"], outcome["subject"], outcome["status"])
        for system in report["systems"]
        for host in system["hosts"]
        for outcome in host["outcomes"]
    ]


@pytest.mark.parametrize("expected", BROKEN, ids=lambda expected: expected[2])
def test_report_names_what_is_broken(
    outcomes: list[tuple[str, str, str, str]], expected: tuple[str, str, str, str]
) -> None:
    assert expected in outcomes


def test_nothing_else_is_bad(outcomes: list[tuple[str, str, str, str]]) -> None:
    known = {each[:3] for each in BROKEN} | {("resources2", "roll_call", "host")}
    bad = [each for each in outcomes if each[3] not in ("ok", "skipped")]
    # Slow is a warning; down or not to be asked would be critical or unknown. Only load itself may be critical.
    slow = [each for each in bad if each[2] in BUSY and (each[3] == "warning" or each[2:] == ("cpu", "critical"))]
    assert [each for each in bad if each[:3] not in known and each not in slow] == []


def test_unreachable_host_is_in_the_roll_call(
    report: dict[str, Any], outcomes: list[tuple[str, str, str, str]]
) -> None:
    assert [each for each in outcomes if each[0] == "resources2"] == [("resources2", "roll_call", "host", "critical")]
    missing = report["roll_call"]["missing"]
    assert [each["host"] for each in missing] == ["resources2"]
    assert "Connection refused" in missing[0]["summary"]
    assert (report["roll_call"]["expected"], report["roll_call"]["answered"]) == (3, 2)


@pytest.mark.parametrize("host", ["resources1", "models1"])
def test_every_stage_of_the_others_was_done(outcomes: list[tuple[str, str, str, str]], host: str) -> None:
    assert {each[1] for each in outcomes if each[0] == host} == STAGES


def test_page_stands_alone(report: dict[str, Any]) -> None:
    page = (REPORTS / "daily_latest.html").read_text(encoding="utf-8")
    assert "feature11-sync.service" in page
    assert "resources2" in page
    assert "http://" not in page.replace("http://127.0.0.1", "").replace("http://www.w3.org", "")


def test_a_third_run(daily: Callable[..., Any]) -> None:
    """At most 8 tasks a host, nothing changed, one connection attempt for the dead host, and the status decides the exit."""
    run = daily("--extra-vars", "report_fail_on=critical")
    assert run.returncode == 2
    assert "report_fail_on: critical" in json.dumps(run.output)
    for host in ("resources1", "models1", "resources2"):
        tasks = run.tasks(host)
        assert len(tasks) <= 8, tasks
        assert run.output["stats"][host]["changed"] == 0
    tried = [task for task in run.results("resources2") if task.get("unreachable")]
    assert len(tried) == 1
