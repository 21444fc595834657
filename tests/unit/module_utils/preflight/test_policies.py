# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every rule about contradictory policies, with inventories that break it and the nearest that do not (issue 4, 6; D2, D4, H9, L1, L5)."""

from __future__ import annotations

import copy

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.module_utils._backup._plan import Policy
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
from ansible_collections.sre.runbooks.plugins.module_utils._preflight import _inventory, policies

DAY = 86400
KEY = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
SHOP = {"name": "shop", "engine": "sqlite", "path": "/srv/shop/shop.db"}
FILES = {"name": "etc", "engine": "files", "paths": ["/etc/shop"]}
AGE = {"name": "age", "type": "backup", "warning": "> 26h", "critical": "> 50h"}
LOGS = {"name": "old", "paths": ["/var/log/shop"], "patterns": ["*.log.*"], "older_than": "30d", "action": "delete"}
PACK = {**LOGS, "name": "pack", "exclude": ["*.gz"], "older_than": "7d", "action": "compress"}
SOURCE = {"name": "main", "path": "/var/log/shop/*.log"}
SANE = {
    "checks": [AGE, {"name": "api", "type": "http", "url": "http://127.0.0.1/", "warning": "> 1", "critical": "> 2"}],
    "sources": [SHOP, FILES],
    "backup": {"interval": "20h", "retention": {"keep_daily": 30}},
    "log_scan": {
        "sources": [SOURCE],
        "rules": [{"name": "errors", "pattern": "ERROR", "warning": "> 1", "remedy": "Read it."}],
    },
    "log_cleanup": {"policies": [LOGS, PACK]},
}


def looked(**changes):
    """What the rules find in the sane inventory with `changes`, as {(rule, subject)}."""
    options = {**copy.deepcopy(SANE), **changes}
    result = ArgumentSpecValidator(_inventory.SPEC).validate(options)
    assert not result.error_messages
    with patch_module_args({}):
        commands = Commands(AnsibleModule({}).run_command)
    inventory, broken, _secrets = _inventory.read(result.validated_parameters, commands, "/nowhere")
    assert not broken, [each.text for each in broken]
    return {(each.rule, each.subject) for each in policies.look(inventory, None).findings}


def checks(*given):
    return {"checks": [AGE, *given]}


def sources(*given, **backup):
    return {"sources": list(given), "backup": {**SANE["backup"], **backup}}


def scan(**given):
    return {"log_scan": {**SANE["log_scan"], **given}}


def cleanup(*given):
    return {"log_cleanup": {"policies": list(given)}}


def http(**given):
    return {"name": "api", "type": "http", "url": "http://127.0.0.1/", **given}


WRONG = [
    # H9: a copy made every second day is alarmed about on the days between.
    ("interval_over_age", "sqlite:shop", sources(SHOP, interval="40h")),
    ("interval_over_age", "sqlite:shop", {**sources(SHOP, interval="20h"), "run_every": "7d"}),
    ("interval_over_age", "sqlite:shop", sources({**SHOP, "interval": "60h"}, FILES)),
    ("level_over_proof", "files:etc", sources(FILES, verify="archive")),
    ("check_elsewhere", "backup:age", {"checks": [AGE, {**AGE, "directory": "/mnt/backups"}][1:]}),
    ("check_elsewhere", "backup:age", {"checks": [{**AGE, "names": ["shop", "shpo", "etc"]}]}),
    ("backup_unwatched", "files:etc", {"checks": [{**AGE, "names": ["shop"]}]}),
    ("backup_unwatched", "sqlite:shop", {"checks": []}),
    # D4: a promise of four hours needs more than one backup a day.
    ("point_under_interval", "sqlite:shop", {"targets": {"recovery_point": "4h"}}),
    ("point_under_interval", "files:etc", {"targets": {"names": {"etc": {"recovery_point": "23h"}}}}),
    # D4: the quarterly drill needs copies of a quarter.
    ("drill_over_retention", "sqlite:shop", {"drill_period": "92d"}),
    ("drill_over_retention", "sqlite:shop", sources(SHOP, retention={"keep_last": 3})),
    ("drill_over_retention", "sqlite:shop", sources(SHOP, retention={"keep_within": "2d"})),
    # D2
    ("verified_over_retention", "sqlite:shop", sources(SHOP, retention={"keep_daily": 7, "minimum_verified": 8})),
    ("verified_over_retention", "sqlite:shop", sources(SHOP, retention={"keep_within": "7d", "minimum_verified": 9})),
    # D3
    ("secrets_in_clear", "files:etc", sources({**FILES, "paths": ["/opt/shop/.env"]})),
    ("secrets_in_clear", "files:etc", sources({**FILES, "paths": ["/etc/ssl/private/shop.key"]})),
    ("backup_of_backups", "files:etc", sources({**FILES, "paths": ["/var"]})),
    ("cleanup_of_data", "log_cleanup:old", cleanup({**LOGS, "paths": ["/srv/shop"], "patterns": ["*.db"]})),
    ("cleanup_of_data", "log_cleanup:old", cleanup({**LOGS, "paths": ["/srv/shop"], "patterns": ["shop*"]})),
    ("cleanup_of_data", "log_cleanup:old",
     cleanup({**LOGS, "paths": ["/var/backups/sre-runbooks"], "patterns": ["*.zst"], "recurse": True})),
    ("warning_past_critical", "http:api", checks(http(warning="> 3", critical="> 2"))),
    ("warning_past_critical", "disk", checks({"name": "disk", "type": "disk", "metrics":
     {"free_bytes": {"warning": "< 1GiB", "critical": "< 5GiB"}}})),
    ("warning_past_critical", "http:api", checks(http(warning="> 2 for 5m", critical="> 2"))),
    ("bound_past_timeout", "http:api", checks(http(timeout="5s", warning="> 5", critical="> 6"))),
    ("bound_past_timeout", "http:api", checks(http(timeout="5s", critical="> 5 for 5m"))),
    ("timeout_over_all", "http:api", checks(http(timeout="60s", critical="> 5"))),
    ("timeout_over_all", "http:api", {**checks(http(timeout="10s", critical="> 5")), "health": {"timeout": 8}}),
    # L1, L2, L3
    ("alert_without_remedy", "log_scan:errors", scan(rules=[{"name": "errors", "pattern": "E", "critical": "> 1"}])),
    ("alert_without_remedy", "log_scan:DB_001", scan(codes=[{"code": "DB_001", "meaning": "down", "critical": "> 1"}])),
    ("alert_without_remedy", "log_scan:slow",
     scan(measures=[{"name": "slow", "pattern": r"(?P<value>\d+)s", "warning": {"p95": "> 5"}}])),
    ("window_under_run", "log_scan", scan(window="12h")),
    ("cleanup_under_window", "log_cleanup:old", cleanup({**LOGS, "older_than": "12h"})),
    ("cleanup_under_window", "log_cleanup:old", {**cleanup(LOGS), **scan(window="60d")}),
    # L5
    ("compress_after_delete", "log_cleanup:pack", cleanup(LOGS, {**PACK, "older_than": "30d"})),
    ("compress_after_delete", "log_cleanup:pack",
     cleanup({**PACK, "action": "archive", "archive_dir": "/srv/old", "older_than": "31d"}, LOGS)),
    ("cleanup_twice", "log_cleanup:again", cleanup(LOGS, {**LOGS, "name": "again", "older_than": "7d"})),
    ("cleanup_twice", "log_cleanup:again", cleanup(LOGS, {**LOGS, "name": "again", "patterns": ["shop.log.*"]})),
]  # fmt: skip
RIGHT = [
    ("interval_over_age", sources(SHOP, interval="24h")),
    ("interval_over_age", {**sources(SHOP, interval="40h"), "checks": [{**AGE, "warning": "> 50h", "critical": "> 80h"}]}),
    ("interval_over_age", {**sources(SHOP, interval="25h"), "run_every": "1h"}),
    ("level_over_proof", {**sources(FILES, verify="archive"), "checks": [{**AGE, "level": "archive"}]}),
    ("check_elsewhere", {"checks": [{**AGE, "directory": "/var/backups/sre-runbooks/"}]}),
    ("check_elsewhere", {"checks": [AGE], **sources()}),
    ("backup_unwatched", {"checks": [{**AGE, "names": ["shop"]}, {**AGE, "name": "b", "names": ["etc"]}]}),
    ("point_under_interval", {"targets": {"recovery_point": "26h", "recovery_time": "1h"}}),
    ("point_under_interval", {"targets": {"recovery_point": "4h"}, "run_every": "1h", **sources(SHOP, interval="4h")}),
    ("drill_over_retention", {"drill_period": "92d", **sources(SHOP, retention={"keep_monthly": 4})}),
    ("drill_over_retention", sources(SHOP, retention={"keep_last": 7})),
    ("drill_over_retention", sources(SHOP, retention={"keep_last": 2, "minimum_verified": 7})),
    ("verified_over_retention", sources(SHOP, retention={"keep_daily": 7, "keep_weekly": 4, "minimum_verified": 11})),
    ("secrets_in_clear", sources({**FILES, "paths": ["/opt/shop/.env.example", "/etc/ssh/id_rsa.pub", "/etc/shop"]})),
    ("secrets_in_clear", sources({**FILES, "paths": ["/opt/.env"], "encryption": {"recipients": [KEY]}})),
    ("backup_of_backups", sources({**FILES, "paths": ["/var"], "exclude": ["sre-runbooks"]})),
    ("backup_of_backups", sources({**FILES, "paths": ["/var/backups/sre-runbooks-old"]})),
    ("cleanup_of_data", cleanup({**LOGS, "paths": ["/srv/shop"], "patterns": ["*"], "exclude": ["*.db"]})),
    ("cleanup_of_data", cleanup({**LOGS, "paths": ["/srv/shop/logs"], "patterns": ["*"], "recurse": True})),
    ("cleanup_of_data", cleanup({**LOGS, "paths": ["/var/backups/sre-runbooks"], "patterns": ["*.zst"]})),
    ("warning_past_critical", checks(http(warning="> 2 for 5m", critical="> 2 for 10m"))),
    ("warning_past_critical", checks(http(warning="> 2", critical="> 1 for 10m"))),
    ("warning_past_critical", checks(http(warning="< 1", critical="> 2"))),
    ("warning_past_critical", checks(http(warning=">= 2", critical="> 2"))),
    ("bound_past_timeout", checks(http(timeout="5s", warning="> 4", critical="> 5"))),
    ("timeout_over_all", checks(http(timeout="10s", critical="> 5"))),
    ("alert_without_remedy", scan(rules=[{"name": "errors", "pattern": "E"}])),
    ("window_under_run", {**scan(window="12h", read="cursor")}),
    ("window_under_run", {**scan(window="12h"), "run_every": "12h"}),
    ("cleanup_under_window", {**cleanup({**LOGS, "older_than": "12h"}), **scan(read="cursor")}),
    ("cleanup_under_window", cleanup({**LOGS, "older_than": "12h", "paths": ["/var/log/other"]})),
    ("compress_after_delete", cleanup({**LOGS, "max_total": "1GiB"}, {**PACK, "older_than": "40d"})),
    ("compress_after_delete", cleanup(LOGS, {**PACK, "older_than": "40d", "paths": ["/var/log/other"]})),
    ("cleanup_twice", cleanup(LOGS, {**LOGS, "name": "b", "older_than": None, "max_total": "1GiB"})),
    ("cleanup_twice", cleanup(LOGS, {**LOGS, "name": "b", "patterns": ["*.trace"]})),
    ("cleanup_twice", cleanup(LOGS, {**LOGS, "name": "b", "paths": ["/var/log/shop/old"]})),
]  # fmt: skip


def test_a_sane_inventory_has_no_contradiction():
    assert looked() == set()


@pytest.mark.parametrize(("rule", "subject", "changes"), WRONG)
def test_a_contradiction_is_found(rule, subject, changes):
    assert (rule, subject) in looked(**changes)


@pytest.mark.parametrize(("rule", "changes"), RIGHT)
def test_what_only_looks_like_one_is_none(rule, changes):
    assert rule not in {found for found, _subject in looked(**changes)}


def test_every_rule_has_both_kinds_of_example():
    assert {rule for rule, _subject, _changes in WRONG} == policies.RULES.keys()
    assert {rule for rule, _changes in RIGHT} == policies.RULES.keys()


@pytest.mark.parametrize(
    ("interval", "every", "age"),
    [(20 * 3600, DAY, DAY), (DAY, DAY, DAY), (DAY + 1, DAY, 2 * DAY), (None, DAY, DAY), (3 * DAY, 3600, 3 * DAY)],
)
def test_the_age_that_a_copy_reaches(interval, every, age):
    assert policies.oldest(interval, every) == age


@pytest.mark.parametrize(
    ("policy", "step", "reach"),
    [
        (Policy(keep_daily=30), DAY, 30 * DAY),
        (Policy(keep_daily=7, keep_weekly=4), DAY, 28 * DAY),
        # Twenty-four hours in which there is a copy are twenty-four days when there is one a day.
        (Policy(keep_hourly=24), DAY, 24 * DAY),
        (Policy(keep_hourly=24), 3600, DAY),
        (Policy(keep_within=5 * DAY), DAY, 5 * DAY),
    ],
)
def test_how_far_back_the_oldest_copy_lies(policy, step, reach):
    assert policies.reach(policy, step) == reach
