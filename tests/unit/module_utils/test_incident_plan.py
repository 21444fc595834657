# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a runbook means for one host, and that the shipped ones can be followed on the four systems (I3)."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._stabilise import _plan, _settings
from ansible_collections.sre.runbooks.plugins.plugin_utils import runbooks

ROOT = Path(__file__).parents[3]
RUNBOOKS = sorted((ROOT / "roles/incident/files/runbooks").glob("*.yml"))
TYPES = [
    "api_timeouts", "cache", "database_connection", "error_rate", "memory", "prediction_errors", "sync_failing", "unresponsive",
]  # fmt: skip
API = {"name": "api", "type": "http", "url": "http://localhost/", "expect": {"status": 200}}
DISK = {"name": "disk", "type": "disk", "critical": "> 95"}
UNIT = {"name": "service", "type": "service", "units": ["a.service", "b.service"]}
MEMORY = {
    "name": "memory",
    "type": "memory",
    "warning": "> 80",
    "critical": ["> 95"],
    "metrics": {"swap_percent": {"warning": "> 50"}},
}
RESTART = {"name": "restart", "action": "service_restart", "guard": {"sick": [{"use": {"types": ["http"]}}]}}


def runbook(*actions, detect=({"use": {"types": ["http"]}},), verify=({"use": {"types": ["http"]}},), **more):
    return {
        "name": "mine", "title": "t", "why": "w", "detect": {"checks": list(detect)}, "verify": {"checks": list(verify)},
        "stabilise": list(actions), **more,
    }  # fmt: skip


def plan(book, checks=(API, DISK, UNIT), remedies=None):
    return _plan.plan([book], "mine", list(checks), remedies or {})


def test_the_eight_types_are_shipped():
    assert [path.stem for path in RUNBOOKS] == TYPES


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_a_shipped_runbook_can_be_followed_where_everything_is_there(path):
    shipped = yaml.safe_load(path.read_text())
    assert shipped["name"] == path.stem
    kinds = {
        "http": {"url": "http://localhost/"},
        "port": {"port": 1},
        "process": {"pattern": "x"},
        "sqlite": {"path": "/x"},
    }
    checks = [
        DISK,
        UNIT,
        MEMORY,
        *({"name": name, "type": name, "critical": "> 1", **more} for name, more in kinds.items()),
    ]
    checks += [
        {"name": "redis", "type": "redis", "critical": "> 1"},
        {
            "name": "sync", "type": "http", "url": "http://localhost/", "values": {"error_rate": "a", "queue_depth": "b", "model_latency_seconds": "c"},
            "metrics": {"error_rate": {"warning": "> 1"}, "queue_depth": {"warning": "> 1"}, "model_latency_seconds": {"warning": "> 1"}},
        },
    ]  # fmt: skip
    remedies = {
        "release": {"link": "/srv/current"}, "model": {"link": "/srv/model"}, "cache": {"http": {"url": "http://localhost/"}},
        "queue": {"http": {"url": "http://localhost/"}}, "sync": {"url": "http://localhost/"}, "database": {"units": ["db"]},
        "cache_server": {"units": ["redis"]},
    }  # fmt: skip
    made = _plan.plan([shipped], path.stem, checks, remedies)
    assert made["left_out"] == []
    assert made["detect"]
    settings, _secrets = _settings.read(
        {
            "incident": "I",
            "actions": made["stabilise"],
            "verify": made["verify"],
            "services": made["services"],
            "due": [],
            "timeout": "10m",
        }
    )
    assert len(settings.actions) == len(shipped["stabilise"])
    assert all(action.guard.healthy or action.guard.sick for action in settings.actions)


def test_a_check_of_the_host_stands_where_the_runbook_wants_its_kind():
    made = plan(runbook(RESTART))
    assert made["detect"] == made["verify"] == [API]
    assert made["stabilise"] == [{"name": "restart", "action": "service_restart", "guard": {"sick": [API]}}]
    assert made["services"] == ["a.service", "b.service"]


def test_checks_are_chosen_by_name_and_by_metric_and_each_once():
    chosen = _plan.expand(
        [{"use": {"names": ["ap*"]}}, {"use": {"types": ["http"], "metrics": ["swap_percent"]}}, DISK],
        [API, MEMORY, DISK],
    )
    assert chosen == [API, MEMORY, DISK]


def test_a_warning_can_be_as_bad_as_what_is_critical():
    (made,) = _plan.expand([{"use": {"types": ["memory"], "at": "warning"}}], [MEMORY])
    assert made["critical"] == ["> 80", "> 95"]
    assert made["metrics"] == {"swap_percent": {"critical": ["> 50"]}}


def test_of_a_check_that_was_chosen_by_its_metrics_no_other_warning_is_as_bad():
    """A Redis that answers late is no reason to restart a service whose memory is well."""
    full = {"memory_percent": {"warning": "> 80", "critical": "> 95"}, "hit_percent": {"warning": "< 30"}}
    redis = {"name": "cache", "type": "redis", "warning": "> 0.1", "critical": "> 1", "metrics": full}
    use = {"types": ["memory"], "metrics": ["memory_percent"], "at": "warning"}
    (made,) = _plan.expand([{"use": use}], [redis])
    assert (made["warning"], made["critical"]) == ("> 0.1", "> 1")
    assert made["metrics"] == {**full, "memory_percent": {"critical": ["> 80", "> 95"]}}


def test_what_the_host_has_no_remedy_for_is_left_out_and_told():
    flush = {"name": "flush", "action": "cache_flush", "with": "cache", "guard": {"always": "a test"}}
    made = plan(runbook(flush, RESTART))
    assert [each["name"] for each in made["stabilise"]] == ["restart"]
    assert made["left_out"] == ["flush: this host has no cache among runbooks_remedies"]
    made = plan(runbook(flush), remedies={"cache": {"http": {"url": "http://x/"}}})
    assert made["stabilise"][0]["http"] == {"url": "http://x/"}


def test_an_action_whose_guard_can_see_nothing_is_left_out_and_told():
    made = plan(runbook(RESTART), checks=[DISK, UNIT])
    assert (made["stabilise"], made["left_out"]) == ([], ["restart: this host has no check that its guard could go by"])


def test_a_restart_of_nothing_is_left_out_and_told():
    made = plan(runbook(RESTART), checks=[API])
    assert made["left_out"] == ["restart: neither runbooks_remedies nor a check of this host names a unit"]
    assert plan(runbook(RESTART), checks=[API], remedies={"services": ["x"]})["services"] == ["x"]


def test_a_guard_that_only_wants_what_this_host_has_not():
    made = plan(runbook({**RESTART, "guard": {"healthy": [{"use": {"types": ["redis"]}}]}}))
    assert made["stabilise"][0]["guard"]["always"].startswith("this host has none")


def test_the_sites_own_runbook_stands_for_a_shipped_one():
    found = runbooks.with_shipped([{**runbook(), "name": "memory"}, runbook()])
    assert sorted(each["name"] for each in found) == sorted([*TYPES, "mine"])
    assert _plan.choose("memory", found)["title"] == "t"
    assert _plan.choose("cache", found)["title"] == "The cache is away, full or of no use"


@pytest.mark.parametrize(
    ("book", "told"),
    [
        (runbook({**RESTART, "guard": {}}), "runbooks_incidents.mine.stabilise (restart).guard: {} guards nothing"),
        (runbook({key: value for key, value in RESTART.items() if key != "guard"}), "guards nothing. Give checks under healthy"),
        (runbook({"action": "command"}), "has no name or no action"),
        (runbook(detect=()), "mine.detect.checks: [] names no check"),
        (runbook(verify=()), "mine.verify.checks: [] names no check"),
        (runbook(detect=({"use": {"kind": ["http"]}},)), "use: 'kind' is not known here"),
        (runbook(detect=({"use": {"at": "warning"}},)), "chooses nothing"),
        (runbook(detect=({"use": {"types": ["http"], "at": "info"}},)), "'info' is no level"),
        (runbook(detect=({"use": {"types": ["http"]}, "name": "x"},)), "mixes use"),
        (runbook(detect=({"name": "x"},)), "is no check"),
        (runbook(stabilize=[]), "mine: 'stabilize' is not known here"),
        (runbook(title=" "), "title: ' ' says nothing"),
    ],
)  # fmt: skip
def test_a_runbook_that_cannot_be_followed_is_refused(book, told):
    with pytest.raises(InputError) as error:
        plan(book)
    assert told in str(error.value)


def test_no_runbook_and_two_of_one_name():
    with pytest.raises(InputError, match="incident_type: 'other' is no runbook"):
        _plan.plan([runbook()], "other", [], {})
    with pytest.raises(InputError, match="is the name of two runbooks"):
        _plan.choose("mine", [runbook(), runbook()])
