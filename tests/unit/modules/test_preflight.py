# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.preflight as a module: its result, what it refuses, what it only tells, what it ignores."""

from __future__ import annotations

import json
import re

import pytest
from ansible.module_utils.common.parameters import PASS_VARS
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.module_utils._preflight import _registry, _run
from ansible_collections.sre.runbooks.plugins.module_utils._preflight._finding import Finding
from ansible_collections.sre.runbooks.plugins.modules import preflight
from ansible_collections.sre.runbooks.tools import generate

# ansible-core 2.21 leaves the invocation out of a result unless it is asked for; older ones do not know the question.
SHOW_INVOCATION = {"_ansible_inject_invocation": True} if "inject_invocation" in PASS_VARS else {}
SHOP = {"name": "shop", "engine": "sqlite", "path": "/srv/shop/shop.db"}


@pytest.fixture
def run(capsys, tmp_path):
    """Run the module with `options` and return its result; only policies are looked at unless told otherwise."""

    def go(**options):
        given = {"kinds": ["policies"], "state_dir": str(tmp_path / "state"), **options}
        with patch_module_args(given), pytest.raises(SystemExit):
            preflight.main()
        return json.loads(capsys.readouterr().out)

    return go


def rows(result):
    return {each["subject"]: (each["status"], each["details"].get("rules")) for each in result["outcomes"]}


def test_nothing_to_prove_is_told_by_each_kind(run):
    result = run(kinds=["policies", "programs", "folders", "reachability"])
    assert (result["changed"], result["status"]) == (False, "ok")
    assert list(rows(result)) == [f"preflight:{kind}" for kind in ("policies", "programs", "folders", "reachability")]
    assert all(each["stage"] == "preflight" for each in result["outcomes"])


RESTART = {"name": "restart", "action": "service_restart", "guard": {"sick": [{"use": {"types": ["disk"]}}]}}
RUNBOOK = {
    "name": "mine", "title": "t", "why": "w", "detect": {"checks": [{"use": {"types": ["disk"]}}]},
    "verify": {"checks": [{"use": {"types": ["disk"]}}]},
    "stabilise": [RESTART],
}  # fmt: skip


def incidents(run, *runbooks, checks=({"name": "disk", "type": "disk", "critical": "> 90"},), **more):
    result = run(kinds=["incidents"], runbooks=list(runbooks), checks=list(checks), **more)
    return {each["subject"]: (each["status"], each["summary"]) for each in result["outcomes"]}


def without(part):
    """The runbook whose action lacks `part`."""
    return {**RUNBOOK, "stabilise": [{key: value for key, value in RESTART.items() if key != part}]}


def test_i3_a_runbook_that_can_be_followed(run):
    unit = {"name": "api", "type": "service", "units": ["api.service"]}
    found = incidents(run, RUNBOOK, checks=[{"name": "disk", "type": "disk", "critical": "> 90"}, unit])
    assert found == {"preflight:incidents": ("ok", "1 runbooks can be followed here: mine")}


def test_i3_a_runbook_with_a_missing_guard_is_refused(run):
    status, told = incidents(run, without("guard"))["runbook:mine"]
    assert status == "critical"
    assert "mine.stabilise (restart).guard: None guards nothing. Give checks under healthy or sick" in told


def test_i3_a_remedy_that_cannot_be_used(run):
    flush = {"name": "flush", "action": "cache_flush", "with": "cache", "guard": {"always": "a test"}}
    found = incidents(run, {**RUNBOOK, "stabilise": [flush]}, remedies={"cache": {"redis": {"port": 6379}}})
    assert "patterns: [] does not say which keys belong to the cache" in found["runbook:mine"][1]


def test_i3_two_runbooks_of_one_name(run):
    assert incidents(run, {**RUNBOOK, "stabilise": []}, {**RUNBOOK, "stabilise": []})["runbook:mine"][0] == "critical"


def test_i3_a_runbook_that_is_not_for_this_host(run):
    found = incidents(run, RUNBOOK, checks=[])
    assert found == {
        "preflight:incidents": ("ok", "0 runbooks can be followed here: none; no check of this host is for mine")
    }


def test_every_kind_has_rules_with_reasons():
    for kind in _registry.NAMES:
        module = _registry.load(kind)
        assert module.RULES
        assert all(reason and not reason.endswith(".") for reason in module.RULES.values())


def test_the_documentation_has_a_row_for_every_rule_and_no_other():
    page = (generate.ROOT / "docs/preflight.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (?:ok|warning|critical|unknown) \| ([^|]+) \|", page, re.MULTILINE))
    rules = {rule: reason for kind in _registry.NAMES for rule, reason in _registry.load(kind).RULES.items()}
    assert rows.keys() == {*rules, "invalid", "failed"}
    assert {rule: rows[rule] for rule in rules} == rules


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"run_every": "daily"}, "run_every: 'daily' is no duration"),
        ({"run_every": "0s"}, "run_every: '0s' is no time"),
        ({"drill_period": "0"}, "drill_period: '0' is no time"),
        ({"log_size": "big"}, "log_size: 'big' is no size"),
        ({"ignore": [{"reason": "noise"}]}, "ignore[0]"),
        ({"ignore": [{"subject": "*", "rule": "**", "reason": "noise"}]}, "would silence everything"),
        ({"ignore": [{"subject": "x", "reason": " "}]}, "ignore[0].reason: '' is empty"),
        ({"ignore": [{"subject": "x"}]}, "missing required arguments: reason"),
        ({"kinds": ["everything"]}, "value of kinds must be one or more of"),
        ({"limits": {"files": "many"}}, "files"),
    ],
)
def test_options_of_its_own_that_cannot_be_used_are_refused(run, wrong, message):
    result = run(**wrong)
    assert result["failed"] is True
    assert message in result["msg"]


BROKEN = [
    ({"checks": [{"name": "x", "type": "cpuu"}]}, "cpuu:x", "is no check type"),
    ({"checks": [{"name": "x", "type": "cpu"}]}, "cpu:x", "has no bound"),
    ({"checks": [{"name": "x", "type": "port", "port": 1}] * 2}, "port:x", "used twice"),
    ({"checks": [{"type": "port", "port": 1}]}, "port:checks[0]", "missing required arguments: name"),
    ({"sources": [{**SHOP, "engine": "oracle"}]}, "oracle:shop", "is no engine"),
    ({"sources": [{**SHOP, "path": "shop.db"}]}, "sqlite:shop", "is no absolute path"),
    ({"sources": [SHOP, SHOP]}, "sqlite:shop", "is used twice"),
    ({"sources": [SHOP], "backup": {"retention": {"keep_daily": 0}}}, "backup", "keeps nothing"),
    ({"sources": [SHOP], "backup": {"interval": "often"}}, "backup", "is no duration"),
    ({"sources": [SHOP], "backup": {"directroy": "/x"}}, "backup", "directroy"),
    ({"log_scan": {"sources": [{"name": "x"}]}}, "log_scan", "not exactly one place"),
    ({"log_scan": {"sources": [{"name": "x", "path": "/x"}], "rules": [{"name": "y"}]}}, "log_scan", "pattern"),
    ({"log_cleanup": {"policies": [{"name": "x", "paths": ["/"], "patterns": ["*"], "action": "delete"}]}},
     "log_cleanup:x", "would take every file"),
    ({"targets": {"recovery_point": "soon"}}, "targets", "is no duration"),
    ({"targets": {"recovery": "1h"}}, "targets", "recovery"),
    ({"log_cleanup": {"policies": [{"name": "x"}]}}, "log_cleanup:x", "missing required arguments"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "subject", "told"), BROKEN)
def test_an_entry_that_a_stage_would_refuse_is_a_finding(run, options, subject, told):
    result = run(**options)
    status, rules = rows(result)[subject]
    assert status == "critical"
    assert "invalid" in rules
    assert told in next(each["summary"] for each in result["outcomes"] if each["subject"] == subject)


def test_a_broken_entry_keeps_no_other_from_being_looked_at(run):
    good = {"name": "age", "type": "backup", "critical": "> 1h"}
    found = rows(run(checks=[{"name": "x", "type": "cpuu"}, good], sources=[{**SHOP, "engine": "oracle"}, SHOP]))
    assert found["cpuu:x"] == found["oracle:shop"] == ("critical", ["invalid"])
    assert found["sqlite:shop"] == ("warning", ["interval_over_age"])


def test_findings_that_are_ignored_stay_with_their_reason(run):
    options = {"sources": [SHOP], "backup": {"retention": {"keep_last": 1}}}
    found = rows(run(**options))
    assert found == {"sqlite:shop": ("warning", ["backup_unwatched", "drill_over_retention"])}
    half = {"subject": "sqlite:*", "rule": "backup_unwatched", "reason": "Icinga watches it"}
    (outcome,) = run(**options, ignore=[half])["outcomes"]
    assert outcome["status"] == "warning"
    assert "oldest copy" in outcome["summary"]
    assert "no check of the type backup" not in outcome["summary"]
    result = run(**options, ignore=[half, {"rule": "drill*", "reason": "nobody needs it"}])
    first, second = result["outcomes"]
    assert first["status"] == "skipped"
    assert "ignored, for Icinga watches it" in first["summary"]
    assert "nobody needs it" in first["summary"]
    assert (second["subject"], second["status"]) == ("preflight:policies", "ok")


def test_one_thing_with_several_findings_is_one_outcome():
    findings = [
        Finding("a", "warning", "one", "first", "Do this"),
        Finding("a", "critical", "two", "second.", details={"x": 1}),
        Finding("b", "unknown", "three", "third"),
    ]
    first, second = _run._outcomes(findings, [])
    assert (first["status"], first["summary"]) == ("critical", "first. Do this; second")
    assert first["details"] == {"rules": ["one", "two"], "x": 1}
    assert second["status"] == "unknown"


def test_check_mode_and_a_second_run_find_the_same(run, tmp_path):
    options = {"sources": [SHOP], "kinds": list(_registry.NAMES), "folders": [str(tmp_path)]}
    kinds = ["policies", "reachability", "programs", "folders"]
    first = rows(run(**{**options, "kinds": kinds}))
    assert rows(run(**{**options, "kinds": kinds}, _ansible_check_mode=True)) == first
    assert not (tmp_path / "state").exists()


def test_passwords_are_not_repeated(run):
    secret = "s3cret-of-the-shop"
    checks = [{"name": "x", "type": "redis", "connection": {"port": 1, "password": secret}, "warning": "> 1"}]
    # Messages name the database, which somebody called as the password.
    sources = [
        {"name": "y", "engine": "postgresql", "host": "127.0.0.1", "port": 1, "database": secret, "password": secret}
    ]
    scan = {"sources": [{"name": "x", "path": "/nowhere"}]}
    text = str(run(kinds=["reachability"], checks=checks, sources=sources, log_scan=scan, **SHOW_INVOCATION))
    assert secret not in text
    assert "refused" in text
