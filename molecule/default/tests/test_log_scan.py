# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows L1 to L4 and K6: the daily run read the hosts' own logs, among them the journal of the sshd that it came by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

REPORT = Path(__file__).resolve().parents[3] / ".work/lab/molecule/reports/daily_latest.json"
READ = {
    "resources1": ["source:main", "source:performance", "source:errors", "source:sshd", "rule:error rate", "measure:optimization"],
    "models1": ["source:api", "source:events", "source:postgresql", "source:sshd", "rule:refused database logins"],
}  # fmt: skip


@pytest.fixture(scope="module", params=sorted(READ))
def found(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    document = json.loads(REPORT.read_text(encoding="utf-8"))
    hosts = {host["name"]: host for system in document["systems"] for host in system["hosts"]}
    outcomes = hosts[request.param]["outcomes"]
    return request.param, {each["subject"]: each for each in outcomes if each["stage"] == "log_scan"}


def test_all_sources_were_read_and_all_rules_judged(found: tuple[str, dict[str, Any]]) -> None:
    host, outcomes = found
    assert {subject: outcomes[subject]["status"] for subject in READ[host]} == dict.fromkeys(READ[host], "ok")


def test_the_journal_of_sshd_was_read(found: tuple[str, dict[str, Any]]) -> None:
    """L4, K6: it has at least the line of the connection that the run itself made."""
    _host, outcomes = found
    assert outcomes["source:sshd"]["metrics"]["read_bytes"] > 0
    assert "matches" in outcomes["rule:failed logins"]["metrics"]
