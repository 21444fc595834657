# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stabilise refuses before it looks at anything (I3, I5), and that each action is whole."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.module_utils._stabilise import _registry
from ansible_collections.sre.runbooks.plugins.modules import stabilise

CHECK = {"name": "disk", "type": "disk", "critical": "> 95"}
ALWAYS = {"always": "a test"}


def refused(capsys, tmp_path, *actions, **options):
    given = {
        "incident": "INC-1",
        "verify": [CHECK],
        "actions": list(actions),
        "state_dir": str(tmp_path / "state"),
        **options,
    }
    with patch_module_args(given), pytest.raises(SystemExit):
        stabilise.main()
    result = json.loads(capsys.readouterr().out)
    assert result["failed"]
    assert not (tmp_path / "state").exists()
    return result["msg"]


def entry(kind, **options):
    return {"name": "x", "action": kind, "guard": ALWAYS, **options}


@pytest.mark.parametrize(
    ("action", "told"),
    [
        ({"name": "x", "action": "pray"}, "actions[0] (x).action: 'pray' is no action. Use one of cache_flush"),
        ({"name": "x", "action": "command", "argv": ["true"]}, "actions[0] (x).guard: None guards nothing. Give checks under healthy or sick"),
        (entry("command", argv=["true"], guard={"healthy": [], "sick": []}), "guards nothing"),
        (entry("command", argv=["true"], guard={"sick": [{"name": "a", "type": "nope"}]}), "guard.sick: checks[0] (a).type: 'nope'"),
        (entry("command", argv=["true"], limit="often"), "limit: 'often' is no limit. Write a number and a time, such as 3/h"),
        (entry("command", argv=["true"], limit="3/0s"), "limit: '3/0s' is no limit"),
        (entry("command", argv=["true"], wait="soon"), "wait: 'soon'"),
        (entry("command", argv=[]), "argv: [] names no program"),
        (entry("command", argv=["true"], undo=True), "undo_argv: None says not how it is taken back"),
        (entry("command"), "missing required arguments: argv"),
        (entry("command", argv=["true"], shell=True), "shell"),
        (entry("service_restart"), "units: None names no unit. Name units here, or set the option services"),
        (entry("service_restart", units=["-a"]), "units: '-a' is no name of a unit"),
        (entry("service_restart", units=["web*"]), "units: 'web*' is no name of a unit"),
        (entry("service_restart", units=["a.service"], undo=True), "undo: True is not possible: service_restart cannot be taken back"),
        (entry("cache_flush"), "is no place to act at. Give redis or http"),
        (entry("cache_flush", redis={}, http={"url": "http://localhost/"}), "is no place to act at"),
        (entry("cache_flush", redis={"port": 1}), "patterns: [] does not say which keys belong to the cache"),
        (entry("cache_flush", http={"url": "ftp://x/"}), "http.url: 'ftp://x/' is no HTTP address"),
        (entry("queue_clear", redis={"port": 1}), "key: None names no queue"),
        (entry("queue_clear", redis={"port": 1}, key="k", keep="0s"), "keeps nothing"),
        (entry("release_rollback"), "does not say what is rolled back. Give link or package"),
        (entry("release_rollback", link="current"), "link: 'current' is no absolute path"),
        (entry("release_rollback", link="/srv/current", to="../../etc"), "to: '../../etc' is no release"),
        (entry("release_rollback", link="/srv/current", to=".."), "to: '..' is no release"),
        (entry("release_rollback", package="a b"), "package: 'a b' is no name of a package"),
        (entry("release_rollback", package="a", to="1;2"), "to: '1;2' is no version"),
        (entry("database_restore", restore={}), "restore: '(options)' cannot be used"),
        (entry("database_restore", restore={"name": "a", "from": "whenever"}), "whenever"),
        (entry("http", url="localhost"), "url: 'localhost' is no HTTP address"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_name_value_and_remedy(capsys, tmp_path, action, told):
    assert told in refused(capsys, tmp_path, action)


def test_without_a_check_nobody_would_see_whether_it_helped(capsys, tmp_path):
    assert "verify: [] names no check" in refused(capsys, tmp_path, entry("command", argv=["true"]), verify=[])


def test_a_name_used_twice(capsys, tmp_path):
    same = entry("command", argv=["true"])
    assert "actions[1].name: 'x' is used twice" in refused(capsys, tmp_path, same, same)


def test_an_incident_is_named(capsys, tmp_path):
    assert "incident: '../x' is no name" in refused(capsys, tmp_path, entry("command", argv=["true"]), incident="../x")


@pytest.mark.parametrize("name", _registry.NAMES)
def test_each_action_is_whole(name):
    family = _registry.load(name)
    assert family.__doc__
    for part in ("OPTIONS", "LIMIT", "check", "target", "look", "apply"):
        assert hasattr(family, part)
