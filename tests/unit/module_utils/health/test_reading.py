# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a user writes under `checks` is read whole and refused by name, option, value and remedy."""

from __future__ import annotations

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._health import _check, _registry

HTTP = {"name": "api", "type": "http", "url": "http://127.0.0.1:1/"}


@pytest.mark.parametrize("kind", _registry.NAMES)
def test_every_type_says_what_it_is(kind):
    family = _registry.load(kind)
    assert family.METRICS
    assert len(set(family.METRICS)) == len(family.METRICS)
    assert isinstance(family.INHERENT, bool)
    assert set(family.DEFAULT_BOUNDS) <= set(family.METRICS)
    assert not set(family.OPTIONS) & set(_check.COMMON_OPTIONS)


def test_a_type_that_is_none_is_a_key_error():
    with pytest.raises(KeyError):
        _registry.load("astrology")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "x", "type": "astrology"}, "checks[0] (x).type: 'astrology' is no check type. Use one of backup, "),
        ({"name": "x"}, "checks[0] (x).type: None is no check type. Use one of "),
        ({"type": "cpu", "warning": "> 1"}, "checks[0] (no name): missing required arguments: name"),
        ({"name": "x", "type": "port"}, "checks[0] (x): missing required arguments: port"),
        ({"name": "x", "type": "sqlite"}, "checks[0] (x): missing required arguments: path"),
        (
            {"name": "x", "type": "cpu", "warning": "> 1", "intervall": "1s"},
            "checks[0] (x): unknown option intervall. Supported parameters include: critical, interval, metrics, name, timeout, type, warning.",
        ),
        (
            {"name": "x", "type": "postgresql", "connection": {"pasword": "geheim"}},
            "checks[0] (x): unknown option connection.pasword. Supported parameters include: container, database, ",
        ),
        (
            {"name": "x", "type": "sqlite", "path": "/x", "integrity": "some"},
            "checks[0] (x): value of integrity must be one of: none, quick, full, got: some",
        ),
        ({"name": "x", "type": "port", "port": "http"}, "checks[0] (x): argument 'port' is of type str and we were unable to "),
        ({"name": "x", "type": "port", "port": 70000}, "checks[0] (x).port: 70000 is no port. Give a number from 1 to 65535."),
        (
            {"name": "x", "type": "cpu"},
            "checks[0] (x): 'cpu' has no bound, so that it would pass for ever. Give warning or critical for cpu_percent,",
        ),
        ({"name": "x", "type": "memory", "warning": []}, "checks[0] (x): 'memory' has no bound, so that it would pass for ever."),
        (
            {"name": "x", "type": "disk", "metrics": {"free_bytes": {}}},
            "checks[0] (x): 'disk' has no bound, so that it would pass for ever.",
        ),
        (
            {"name": "x", "type": "disk", "metrics": {"free_byte": {"warning": "< 1"}}},
            "checks[0] (x).metrics: 'free_byte' is no metric of this check. Use one of used_percent, free_bytes, inodes_percent, full_in_seconds.",
        ),
        (
            {**HTTP, "values": {"queue": "queue.depth"}, "metrics": {"depth": {"warning": "> 20"}}},
            "checks[0] (api).metrics: 'depth' is no metric of this check. Use one of response_seconds, status_code, queue.",
        ),
        (
            {"name": "x", "type": "disk", "metrics": {"free_bytes": "< 1"}},
            "checks[0] (x).metrics.free_bytes: '< 1' is no pair of bounds. Give warning, critical or both.",
        ),
        (
            {"name": "x", "type": "disk", "metrics": {"free_bytes": {"error": "< 1"}}},
            "checks[0] (x).metrics.free_bytes: {'error': '< 1'} is no pair of bounds. Give warning, critical or both.",
        ),
        (
            {"name": "x", "type": "cpu", "warning": "80"},
            "checks[0] (x).cpu_percent.warning: '80' is no threshold. Write a comparison and a number, such as ",
        ),
        (
            {"name": "x", "type": "cpu", "metrics": {"iowait_percent": {"critical": ["> 5", "> 10 for ever"]}}},
            "checks[0] (x).iowait_percent.critical: '> 10 for ever' is no threshold.",
        ),
        (
            {"name": "x", "type": "cpu", "warning": "> 1", "timeout": "soon"},
            "checks[0] (x).timeout: 'soon' is no duration. Write a number with one of the units ms, s, m, h, d, w.",
        ),
        ({"name": "x", "type": "cpu", "warning": "> 1", "timeout": 0}, "checks[0] (x).timeout: 0 is no time. Give more than 0"),
        (
            {"name": "x", "type": "cpu", "warning": "> 1", "interval": "0s"},
            "checks[0] (x).interval: '0s' is no time. Give more than 0 seconds.",
        ),
        (
            {"name": "x", "type": "process"},
            "checks[0] (x).pattern: None must be given when pidfile is not. Give exactly one of the two.",
        ),
        (
            {"name": "x", "type": "process", "pattern": "a", "pidfile": "/b"},
            "checks[0] (x).pattern: 'a' must be given when pidfile is not. Give exactly one of the two.",
        ),
        ({"name": "x", "type": "process", "pattern": "a("}, "checks[0] (x).pattern: 'a(' is no regular expression: "),
        ({"name": "x", "type": "service", "units": []}, "checks[0] (x).units: [] names no unit, so nothing would be checked."),
        ({"name": "x", "type": "service", "units": ["api@*"]}, "checks[0] (x).units: 'api@*' is no unit's name. Write each"),
        ({**HTTP, "url": "127.0.0.1:80"}, "checks[0] (api).url: '127.0.0.1:80' is no HTTP address. Write http://host:port/path;"),
        ({**HTTP, "url": "file:///etc/passwd"}, "checks[0] (api).url: 'file:///etc/passwd' is no HTTP address."),
        ({**HTTP, "url": "http://x/ä"}, "checks[0] (api).url: 'http://x/ä' is no HTTP address. "),
        ({**HTTP, "url": "http://x/ y"}, "checks[0] (api).url: 'http://x/ y' is no HTTP address. "),
        (
            {**HTTP, "url": "http://me:geheim@x/"},
            "checks[0] (api).url: 'http://x/' holds a user or password. Send them as the header Authorization, under headers.",
        ),
        ({**HTTP, "headers": {"X-Key": "geheim\r\nX: y"}}, "checks[0] (api).headers: 'X-Key' is no header. "),
        ({**HTTP, "headers": {"X Key": "geheim"}}, "checks[0] (api).headers: 'X Key' is no header. "),
        (
            {**HTTP, "expect": {"matches": "[a"}},
            "checks[0] (api).expect.matches: '[a' is no regular expression: ",
        ),
        ({**HTTP, "expect": {"body": "x"}}, "checks[0] (api): unknown option expect.body. Supported parameters include: contains, json, matches,"),
        (
            {"name": "x", "type": "containers", "project": "p", "names": ["a"]},
            "checks[0] (x).names: ['a'] cannot be given with project. Make two checks of it.",
        ),
        ({"name": "x", "type": "containers", "names": []}, "checks[0] (x).names: [] names no container. Name at least one, or"),
        (
            {"name": "x", "type": "containers", "runtime": "lxc"},
            "checks[0] (x): value of runtime must be one of: podman, docker, got: lxc",
        ),
        (
            {"name": "x", "type": "packages"},
            "checks[0] (x): 'packages' has no bound, so that it would pass for ever. Give warning or critical for security_updates,",
        ),
        ({"name": "x", "type": "migrations"}, "checks[0] (x): missing required arguments: directory"),
        (
            {"name": "x", "type": "migrations", "directory": "/x", "command": []},
            "checks[0] (x).command: [] is empty. Write the words that start alembic, or leave it out.",
        ),
        (
            {"name": "x", "type": "migrations", "directory": "/x", "environment": {"A B": "geheim"}},
            "checks[0] (x).environment: 'A B' is no variable's name. Use letters, digits and underscores.",
        ),
        (
            {"name": "x", "type": "environment"},
            "checks[0] (x).file: None must be given when program is not. Give exactly one of the two.",
        ),
        (
            {"name": "x", "type": "environment", "file": "/x", "program": "node"},
            "checks[0] (x).file: '/x' must be given when program is not. Give exactly one of the two.",
        ),
        ({"name": "x", "type": "environment", "file": "/x"}, "checks[0] (x).variables: None names no variable. Name at least one."),
        (
            {"name": "x", "type": "environment", "file": "/x", "variables": ["A=1"]},
            "checks[0] (x).variables: 'A=1' is no variable's name. Use letters, digits and underscores.",
        ),
        (
            {"name": "x", "type": "environment", "file": "/x", "variables": ["A"], "minimum_version": "1"},
            "checks[0] (x).minimum_version: '1' is for a program. Leave it out.",
        ),
        (
            {"name": "x", "type": "environment", "program": "node", "variables": ["A"]},
            "checks[0] (x).variables: ['A'] are looked for in a file. Name the file.",
        ),
        (
            {"name": "x", "type": "environment", "program": "node", "minimum_version": "v18"},
            "checks[0] (x).minimum_version: 'v18' is no version. Write numbers, such as \"18.2\".",
        ),
        ({"name": "x", "type": "environment", "program": "node"}, "checks[0] (x).minimum_version: None is no version. Write numbers,"),
        (
            {"name": "x", "type": "mysql", "connection": {"passwort": "geheim"}},
            "checks[0] (x): unknown option connection.passwort. Supported parameters include: container, database, host, password,",
        ),
        (
            {"name": "x", "type": "log_freshness", "path": "/x"},
            "checks[0] (x): 'log_freshness' has no bound, so that it would pass for ever.",
        ),
        (
            {"name": "x", "type": "log_freshness", "warning": "> 1h"},
            "checks[0] (x).path: None must be given when unit is not. Give exactly one of the two.",
        ),
        (
            {"name": "x", "type": "log_freshness", "unit": "api@*", "warning": "> 1h"},
            "checks[0] (x).unit: 'api@*' is no unit's name. Write the unit's whole name, without wildcards.",
        ),
        (
            {"name": "x", "type": "log_freshness", "path": "/x", "pattern": "(", "warning": "> 1h"},
            "checks[0] (x).pattern: '(' is no regular expression: ",
        ),
        (
            {"name": "x", "type": "log_freshness", "path": "/x", "timestamp": "%Q", "warning": "> 1h"},
            "checks[0] (x).timestamp: '%Q' has %Q, which is unknown or there twice.",
        ),
        (
            {"name": "x", "type": "log_freshness", "path": "/x", "zone": "Mars", "warning": "> 1h"},
            "checks[0] (x).timestamp zone: 'Mars' is no time zone. Write local, UTC or an offset such as +02:00.",
        ),
        (
            {"name": "x", "type": "log_freshness", "path": "/x", "limit": "much", "warning": "> 1h"},
            "checks[0] (x).limit: 'much' is no size.",
        ),
        (
            {"name": "x", "type": "backup", "level": "hoped"},
            "checks[0] (x): value of level must be one of: checksum, archive, restored, got: hoped",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(entry, message):
    with pytest.raises(RunbookError) as caught:
        _check.read([entry])
    assert str(caught.value).startswith(message)
    assert "geheim" not in str(caught.value)


def test_the_place_in_the_list_is_told():
    entries = [{"name": "one", "type": "cpu", "warning": "> 1"}, {"name": "two", "type": "cpu"}]
    with pytest.raises(RunbookError, match=r"^checks\[1\] \(two\): "):
        _check.read(entries)


def test_a_name_is_used_once_in_a_type():
    disks = [{"name": "data", "type": "file", "path": "/a"}, {"name": "data", "type": "file", "path": "/b"}]
    with pytest.raises(RunbookError) as caught:
        _check.read(disks)
    assert str(caught.value) == "checks[1].name: 'data' is used twice for type file. Give each check a name of its own."
    disks[1]["type"] = "sqlite"
    assert [check.subject() for check in _check.read(disks)[0]] == ["file:data", "sqlite:data"]


@pytest.mark.parametrize(
    ("name", "target", "subject"),
    [("file", "", "file"), ("file", "x", "file:x"), ("logs", "", "file:logs"), ("logs", "x", "file:logs:x")],
)
def test_the_subject_does_not_repeat_a_name_that_is_the_type(name, target, subject):
    assert _check.read([{"name": name, "type": "file", "path": "/a"}])[0][0].subject(target) == subject


def bounds(entry):
    (check,), _secrets = _check.read([entry])
    return {
        metric: {level: [bound.text for bound in each] for level, each in levels.items() if each}
        for metric, levels in check.bounds.items()
    }


def test_bounds_of_the_check_belong_to_its_main_metric_and_join_those_under_metrics():
    entry = {
        "name": "x",
        "type": "disk",
        "warning": "> 85",
        "metrics": {"used_percent": {"critical": "> 90"}, "free_bytes": {"critical": ["< 1 GiB", "< 2 GiB for 1h"]}},
    }
    assert bounds(entry) == {
        "used_percent": {"warning": ["> 85"], "critical": ["> 90"]},
        "free_bytes": {"critical": ["< 1 GiB", "< 2 GiB for 1h"]},
    }


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, {"critical": ["< 1"]}),
        ({"metrics": {"processes": {}}}, {"critical": ["< 1"]}),
        ({"metrics": {"processes": {"warning": None}}}, {"critical": ["< 1"]}),
        ({"warning": "< 2"}, {"warning": ["< 2"]}),
        ({"metrics": {"processes": {"critical": "< 3"}}}, {"critical": ["< 3"]}),
    ],
)
def test_a_default_bound_holds_until_the_user_gives_one(extra, expected):
    assert bounds({"name": "x", "type": "process", "pattern": "a", **extra}) == {"processes": expected}


def test_defaults_and_durations_are_read():
    (check,), secrets = _check.read([{**HTTP, "timeout": "250ms"}])
    assert (check.timeout, check.options["timeout"], check.options["method"]) == (0.25, 0.25, "GET")
    assert secrets == set()


def test_secrets_are_found_wherever_they_stand():
    entries = [
        {**HTTP, "headers": {"Authorization": "Bearer geheim-1"}, "body": {"key": "geheim-2"}},
        {"name": "db", "type": "postgresql", "connection": {"password": "geheim-3"}},
        {"name": "cache", "type": "redis", "connection": {"password": "geheim-4"}},
    ]
    assert {"Bearer geheim-1", "geheim-2", "geheim-3", "geheim-4"} <= _check.read(entries)[1]


def test_metrics_named_by_options_and_metrics_that_nobody_knows_yet():
    """The first sample of a page is its main metric; a plugin's figures may have any name that a metric can have."""
    page = {"name": "x", "type": "metrics", "url": "http://x/", "samples": {"load": "node_load1", "b": "b"}}
    assert bounds({**page, "warning": "> 8"}) == {"load": {"warning": ["> 8"]}}
    assert bounds({**page, "samples": {}, "warning": "> 8"}) == {"response_seconds": {"warning": ["> 8"]}}
    with pytest.raises(RunbookError, match=r"'c' is no metric of this check\. Use one of load, b, response_seconds\."):
        _check.read([{**page, "metrics": {"c": {"warning": "> 1"}}}])
    plugin = {
        "name": "x",
        "type": "command",
        "argv": ["true"],
        "critical": "> 1",
        "metrics": {"load1": {"warning": "> 2"}},
    }
    assert bounds(plugin) == {"value": {"critical": ["> 1"]}, "load1": {"warning": ["> 2"]}}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"type": "metrics", "url": "http://x/", "samples": {"a": "node_load1{"}}, "samples.a: 'node_load1{' is no selector."),
        ({"type": "metrics", "url": "http://x/", "samples": {"a": 'b{c=~"d"}'}}, "samples.a: 'b{c=~\"d\"}' is no selector."),
        ({"type": "metrics", "url": "http://x/", "samples": {"a b": "c"}}, "samples: 'a b' is no name for a metric."),
        ({"type": "metrics", "url": "http://x/", "samples": {"response_seconds": "c"}}, "samples: 'response_seconds' is no name"),
        ({"type": "prometheus", "url": "http://x/", "query": "up"}, ": 'prometheus' has no bound, so that it would pass for ever."),
        ({"type": "prometheus", "url": "http://x/?a", "query": "up"}, "url: 'http://x/?a' is no address of a Prometheus server."),
        ({"type": "prometheus", "url": "http://x/", "query": " "}, "query: ' ' asks nothing. Write an expression of PromQL."),
        ({"type": "directory", "path": "/x"}, ": 'directory' has no bound, so that it would pass for ever."),
        ({"type": "directory", "path": "/x", "patterns": []}, "patterns: [] matches no file."),
        ({"type": "directory", "path": "/x", "patterns": ["a/*.log"]}, "patterns: 'a/*.log' is no pattern of a file's name."),
        ({"type": "clock", "port": 0}, "port: 0 is no port."),
        ({"type": "clock"}, ": 'clock' has no bound, so that it would pass for ever."),
        ({"type": "http", "url": "http://x:99999/"}, "url: 'http://x:99999/' is no HTTP address: Port out of range"),
        ({"type": "http", "url": "http:///x"}, "url: 'http:///x' names no host."),
        ({"type": "http", "url": "http://x/", "method": "GET /"}, "method: 'GET /' is no method of HTTP."),
    ],
)  # fmt: skip
def test_what_else_cannot_be_used_is_refused(entry, message):
    with pytest.raises(RunbookError) as caught:
        _check.read([{"name": "x", **entry}])
    assert str(caught.value).removeprefix("checks[0] (x)").removeprefix(".").startswith(message)
