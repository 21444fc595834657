# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Row I9: where systemd runs the host, a unit ends the lease of sre.runbooks.maintenance, and is gone with it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import testinfra

UNIT = "sre-runbooks-maintenance-maintenance.service"
FLAG = "/srv/maintenance"


@pytest.fixture
def host() -> Iterator[Any]:
    found = testinfra.get_host("ansible://resources1")
    yield found
    switch(found, "off")


def switch(host: Any, state: str, **options: Any) -> dict[str, Any]:
    given = json.dumps({"state": state, "owner": "lab", "switch": {"kind": "file", "path": FLAG}, **options})
    result: dict[str, Any] = host.ansible("sre.runbooks.maintenance", given, check=False, become=True)
    return result


def until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.3)


def test_a_unit_ends_the_lease_though_it_was_killed(host: Any) -> None:
    result = switch(host, "on", lease="12s")
    assert result["status"] == "ok"
    # Enabled, so that after a boot it is there again. One command, for the lease runs.
    host.check_output(
        f"test -e {FLAG} && systemctl is-active {UNIT} && systemctl is-enabled {UNIT} && systemctl kill --signal=SIGKILL {UNIT}"
    )
    until(lambda: not host.file(FLAG).exists, 30)
    until(lambda: not host.file(f"/etc/systemd/system/{UNIT}").exists, 5)
    assert not host.file(f"/etc/systemd/system/multi-user.target.wants/{UNIT}").exists
    assert "when its lease was over" in switch(host, "off")["outcomes"][0]["summary"]
