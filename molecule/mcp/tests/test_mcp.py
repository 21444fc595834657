# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MCP Project Manager (PostgreSQL with Alembic) through its cadences (C1 to C5)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import testinfra

from ...conftest import Year, drill


class TestMcp(Year):
    HOST = "projects1"
    UNIT = "mcp-project-manager"

    KNOWN = (
        # The front end with its certificate, Node, and files of git are not in the lab.
        *((stage, subject) for stage in ("health", "patching") for subject in ("tls:front end", "environment:node")),
        ("preflight", "tls:front end"),
        ("secret_scan", "secrets:mcp-code"),
        ("secret_scan", "secrets:mcp-logs"),
        ("secret_scan", "secrets:mcp-shells"),
        # What PostgreSQL keeps of a database outside of it is not in its copy.
        ("restore", "postgresql:mcp"),
        # There is an update to be installed until the weekly run does.
        ("health", "packages:updates"),
        # The inventory leaves it to the site whether settings are encrypted, and who keeps the roles of the server.
        ("preflight", "files:mcp_config"),
        ("preflight", "postgresql:5432"),
    )

    def test_quarterly_with_the_drill(self, cadence: Callable[..., Any], lab: Path) -> None:
        """C4, D4: the system stands again on an empty host."""
        drill(lab, self.HOST, ["mcp", "mcp_config"])
        quarterly = cadence("quarterly")
        self.well(quarterly, "health", "disaster_drill")
        held = [(each["host"], each["status"]) for each in quarterly.outcomes("disaster_drill")]
        assert held == [("spare1", "ok")]
        assert (
            testinfra.get_host("ansible://spare1").check_output("systemctl is-active mcp-project-manager") == "active"
        )
