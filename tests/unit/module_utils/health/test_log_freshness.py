# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is found in a log becomes an observation; entries of a journal (H9)."""

from __future__ import annotations

import time

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._health import log_freshness
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host
from ansible_collections.sre.runbooks.plugins.module_utils._health.log_freshness import Found


@pytest.mark.parametrize(
    ("found", "status", "metrics"),
    [
        (Found(900.0), "ok", {"age_seconds": 100}),
        (Found(1001.0), "ok", {"age_seconds": 0}),
        (Found(None), "critical", {}),
        (Found(None, 400.0), "critical", {}),
        (Found(None, 400.0, False), "unknown", {"age_seconds": 600}),
        (Found(None, None, False), "unknown", {}),
    ],
)
def test_judged(found, status, metrics):
    seen = log_freshness.judged(found, "x.log", 1000.0)
    assert (seen.status, seen.metrics) == (status, metrics)


# `journalctl --output=json --output-fields=MESSAGE` of systemd 252: a text, bytes, a message that was too long.
JOURNAL = """{"__REALTIME_TIMESTAMP":"1763703482123456","MESSAGE":"sync done","__CURSOR":"s=1"}
{"__REALTIME_TIMESTAMP":"1763703481000000","MESSAGE":[115,121,110,99,255]}
{"__REALTIME_TIMESTAMP":"1763703480000000","MESSAGE":null}
{"__REALTIME_TIMESTAMP":"1763703479000000"}
"""


def test_journal():
    assert log_freshness.parse_journal(JOURNAL) == [
        (1763703482.123456, "sync done"),
        (1763703481.0, "sync\ufffd"),
        (1763703480.0, ""),
        (1763703479.0, ""),
    ]
    assert log_freshness.parse_journal("") == []


def test_a_log_that_is_rotated_away_meanwhile_is_passed_over(tmp_path):
    there = tmp_path / "there.log"
    there.write_text("1000 x\n2001-09-09T01:46:40Z sync done\n")
    options = {"pattern": "sync", "timestamp": None, "zone": "local", "limit": 1000}
    paths = [(2e9, str(tmp_path / "gone.log")), (1.5e9, str(there))]
    host = Host(None, 2e9)
    assert log_freshness._files(paths, options, host, time.monotonic() + 60).when == 1e9
    assert log_freshness._files(paths[:1], options, host, time.monotonic() + 60) == Found(None)
