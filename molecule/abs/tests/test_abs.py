# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AI Benchmark Suite (PostgreSQL, Redis, Prometheus) through its cadences (C1 to C5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...conftest import Year


class TestAbs(Year):
    HOST = "benchmarks1"
    UNIT = "ai-benchmark-suite"

    KNOWN = (
        # No files of git are in the lab.
        ("secret_scan", "secrets:abs-shells"),
        # The inventory leaves it to the site whether settings are encrypted, and who keeps the roles of the server.
        ("preflight", "files:abs_config"),
        ("preflight", "postgresql:5432"),
        # No host was given for a drill.
        ("disaster_drill", "drill"),
    )

    def test_quarterly(self, cadence: Callable[..., Any]) -> None:
        """C4, R7: no host was given for a drill, which is told."""
        quarterly = cadence("quarterly")
        self.well(quarterly, "health")
