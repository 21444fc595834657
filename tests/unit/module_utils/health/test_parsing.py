# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What programs and services answer, read by pure functions."""

from __future__ import annotations

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core import web
from ansible_collections.sre.runbooks.plugins.module_utils._health import http, redis, service

# `systemctl show --property=…` of systemd 252: a unit that runs, one that failed, one that nobody knows, one starting.
SYSTEMCTL = """Id=api.service
LoadState=loaded
ActiveState=active
SubState=running
NRestarts=3
ActiveEnterTimestampMonotonic=4000000

Id=sync.service
LoadState=loaded
ActiveState=failed
SubState=failed
NRestarts=0
ActiveEnterTimestampMonotonic=0

Id=nosuch.service
LoadState=not-found
ActiveState=inactive
SubState=dead
NRestarts=0
ActiveEnterTimestampMonotonic=0

Id=data.mount
LoadState=loaded
ActiveState=activating
SubState=mounting
"""


def test_units():
    names = ["api", "sync.service", "nosuch.service", "data.mount"]
    seen = service.parse(SYSTEMCTL, names, monotonic=64.0)
    assert [(each.target, each.status, dict(each.metrics), each.summary) for each in seen] == [
        ("api", "ok", {"active": 1, "restarts": 3, "uptime_seconds": 60.0}, "api is active (running) for 60.0 s"),
        ("sync.service", "ok", {"active": 0, "restarts": 0}, "sync.service is failed (failed)"),
        ("nosuch.service", "critical", {"active": 0}, "nosuch.service: systemd knows no such unit"),
        ("data.mount", "ok", {"active": 0}, "data.mount is activating (mounting)"),
    ]
    # an inactive one is bad by its default bound
    assert service.DEFAULT_BOUNDS == {"active": {"critical": "< 1"}}


DOCUMENT = {"a": {"b": [1, {"c": "x"}], "0": "key"}, "n": None, "f": False}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.b.0", 1),
        ("a.b.1.c", "x"),
        ("a.0", "key"),
        ("f", False),
        ("n", None),
        ("n.x", None),
        ("a.b.2", None),
        ("a.b.-1", None),
        ("a.b.²", None),
        ("a.b.c", None),
        ("missing.x", None),
        ("a..b", None),
    ],
)
def test_find(path, value):
    assert web.find(DOCUMENT, path) == value


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1),
        (0.5, 0.5),
        ("0.5", 0.5),
        (True, 1),
        (False, 0),
        (None, None),
        ("high", None),
        ([1], None),
        ({}, None),
        (float("nan"), None),
        ("NaN", None),
        (float("inf"), None),
        (10**400, None),
    ],
)
def test_figures_are_finite_numbers(value, number):
    assert http._number(value) == number


INFO = {
    "used_memory": "50",
    "maxmemory": "200",
    "total_system_memory": "1000",
    "keyspace_hits": "30",
    "keyspace_misses": "70",
    "connected_clients": "25",
    "maxclients": "100",
    "rdb_last_save_time": "900",
}


@pytest.mark.parametrize(
    ("change", "metric", "value"),
    [
        ({}, "memory_percent", 25),
        ({"maxmemory": "0"}, "memory_percent", 5),
        ({"maxmemory": "0", "total_system_memory": "0"}, "memory_percent", None),
        ({}, "hit_percent", 30),
        ({"keyspace_hits": "0", "keyspace_misses": "0"}, "hit_percent", None),
        ({}, "clients_percent", 25),
        ({"maxclients": "0"}, "clients_percent", None),
        ({}, "last_save_age_seconds", 100),
        ({"rdb_last_save_time": "1100"}, "last_save_age_seconds", 0),
    ],
)
def test_redis_figures(change, metric, value):
    assert redis.figures({**INFO, **change}, now=1000).get(metric) == value


def test_redis_that_tells_nothing_has_no_figures():
    assert redis.figures({}, now=1000) == {}
