# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Feature 11 (SQLite, synchronisation) through its cadences, with the disaster drill on an empty host (C1 to C5)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import testinfra

from ...conftest import Year, drill


class TestFeature11(Year):
    HOST = "resources1"
    UNIT = "feature11"
    KNOWN = (
        # The application has foreign keys without indexes, and no files of git.
        ("indexes", "sqlite:feature11"),
        ("secret_scan", "secrets:feature11-shells"),
        # The inventory leaves it to the site whether settings are encrypted.
        ("preflight", "files:feature11_config"),
    )

    def test_quarterly_with_the_drill(self, cadence: Callable[..., Any], lab: Path) -> None:
        """C4, D4: the system stands again on an empty host."""
        drill(lab, self.HOST, ["feature11", "feature11_config"])
        quarterly = cadence("quarterly")
        self.well(quarterly, "health", "disaster_drill")
        held = [(each["host"], each["status"]) for each in quarterly.outcomes("disaster_drill")]
        assert held == [("spare1", "ok")]
        spare = testinfra.get_host("ansible://spare1")
        assert spare.check_output("systemctl is-active feature11") == "active"
