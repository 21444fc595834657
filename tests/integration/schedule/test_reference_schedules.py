# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The windows and schedules of the reference inventory (C1, C2, C3, C4, C5), as Ansible reads them."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.sre.runbooks.plugins.plugin_utils import schedule

CHECKOUT = Path(__file__).resolve().parents[3]
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC).timestamp()
YEAR = NOW + 365 * 86400
SYSTEMS = ("feature11", "mcp", "abs", "ghosteam")


def joined(variables: dict[str, Any], prefix: str) -> list[Any]:
    names = sorted(name for name in variables if name == prefix or name.startswith(f"{prefix}_"))
    return [each for name in names for each in variables[name]]


@pytest.fixture(scope="module")
def inventory() -> dict[str, dict[str, Any]]:
    """The variables of each host of the reference inventory."""
    program = Path(sys.executable).with_name("ansible-inventory")
    argv = [program, "--inventory", CHECKOUT / "inventories/reference", "--list"]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=True, env=dict(os.environ))
    hosts: dict[str, dict[str, Any]] = json.loads(done.stdout)["_meta"]["hostvars"]
    return {name.partition(".")[0]: variables for name, variables in hosts.items()}


def schedules(inventory: dict[str, dict[str, Any]]) -> dict[str, schedule.Schedule]:
    entries = joined(inventory["abs"], "runbooks_schedules")
    return {each.name: each for each in schedule.read_schedules(entries, "runbooks_schedules")}


def clocks(made: schedule.Schedule, count: int) -> list[str]:
    return [
        f"{datetime.datetime.fromtimestamp(each, made.rule.zone):%a %d %H:%M}" for each in made.upcoming(NOW, count)
    ]


def test_c1_c2_c3_c4_the_times_of_the_four_systems(inventory: dict[str, dict[str, Any]]) -> None:
    read = schedules(inventory)
    assert {each.hosts for each in read.values()} == {"all", *SYSTEMS}
    assert clocks(read["daily"], 2) == ["Thu 01 09:00", "Fri 02 09:00"]
    assert clocks(read["feature11-weekly"], 2) == ["Fri 02 15:00", "Fri 09 15:00"]
    assert clocks(read["feature11-monthly"], 2) == ["Fri 02 17:00", "Fri 06 17:00"]
    assert clocks(read["abs-weekly"], 2) == ["Sun 04 02:00", "Sun 11 02:00"]
    assert clocks(read["abs-monthly"], 2) == ["Sun 04 04:00", "Sun 01 04:00"]
    assert len([each for each in read["quarterly"].upcoming(NOW, 9) if each < YEAR]) == 4


@pytest.mark.parametrize("system", SYSTEMS)
def test_c5_weekly_and_monthly_begin_in_a_window_with_an_hour_left_all_year(
    inventory: dict[str, dict[str, Any]], system: str
) -> None:
    """Also where clocks change: on 29 March 2026 the window of a night to Sunday is an hour shorter."""
    entries = joined(inventory[system], "runbooks_windows")
    for playbook in ("weekly", "monthly"):
        made = schedules(inventory)[f"{system}-{playbook}"]
        windows = schedule.read_windows(entries, "runbooks_windows", playbook)
        for begins in made.upcoming(NOW, 52 if playbook == "weekly" else 12):
            found = schedule.state(windows, begins)
            assert found.open, (playbook, begins)
            assert found.until is not None
            assert found.until - begins >= 3600, (playbook, begins)


def test_c8_systemd_and_awx_both_accept_all_of_them(inventory: dict[str, dict[str, Any]]) -> None:
    for made in schedules(inventory).values():
        assert made.on_calendar(NOW)
        assert made.rrule(NOW).startswith("DTSTART;TZID=Europe/Madrid:2026")
