# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ghosteam V5 (PostgreSQL, Redis, MLflow's real server) through its cadences (C1 to C5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...conftest import Year


class TestGhosteam(Year):
    HOST = "models1"
    UNIT = "ghosteam-v5-api"

    KNOWN = (
        # No nginx, no files of git and no pip-audit are in the lab.
        ("security_audit", "python_packages:ghosteam:/opt/ghosteam/venv"),
        ("secret_scan", "secrets:ghosteam-code"),
        ("secret_scan", "secrets:ghosteam-shells"),
        # The inventory leaves it to the site whether settings are encrypted, and who keeps the roles of the server.
        ("preflight", "files:ghosteam_config"),
        ("preflight", "postgresql:5432"),
        # No host was given for a drill.
        ("disaster_drill", "drill"),
    )

    def test_quarterly(self, cadence: Callable[..., Any]) -> None:
        """C4, R7: no host was given for a drill, which is told."""
        quarterly = cadence("quarterly")
        self.well(quarterly, "health")
