# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.database_vacuum and sre.runbooks.database_indexes: bad input fails before anything is looked at (D6, D9)."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _registry as backup_registry
from ansible_collections.sre.runbooks.plugins.module_utils._backup import _settings as backup_settings
from ansible_collections.sre.runbooks.plugins.module_utils._core import entries
from ansible_collections.sre.runbooks.plugins.module_utils._database import _registry, _settings
from ansible_collections.sre.runbooks.plugins.modules import database_indexes, database_vacuum

SQLITE = {"name": "x", "engine": "sqlite", "path": "/nowhere/x.db"}


@pytest.fixture
def call(capsys, tmp_path):
    def go(module, **options):
        with patch_module_args({"state_dir": str(tmp_path / "state"), **options}), pytest.raises(SystemExit):
            module.main()
        result = json.loads(capsys.readouterr().out)
        assert not (tmp_path / "state").exists()
        return result

    return go


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"databases": []}, ["databases", "at least one"]),
        (
            {"databases": [{"name": "x", "engine": "redis"}]},
            ["databases.x.engine", "'redis'", "mysql, postgresql, sqlite"],
        ),
        ({"databases": [{**SQLITE, "file": "/x"}]}, ["databases.x", "file"]),
        ({"databases": [{**SQLITE, "path": "x.db"}]}, ["databases.x.path", "no absolute path"]),
        ({"databases": [SQLITE, SQLITE]}, ["databases[1].name", "is used twice"]),
        ({"databases": [{**SQLITE, "integrity": "yes"}]}, ["databases.x", "integrity"]),
        ({"databases": [{**SQLITE, "lock_timeout": "soon"}]}, ["databases.x.lock_timeout", "'soon'"]),
        ({"databases": [{"name": "x", "engine": "postgresql", "database": "host=evil"}]}, ["databases.x.database"]),
        ({"minimum_free_percent": 101}, ["minimum_free_percent", "101", "percent from 0 to 100"]),
        ({"lock_timeout": "0s"}, ["lock_timeout", "at least 1ms"]),
        ({"budget": {"seconds": "0s"}}, ["budget.seconds", "allows nothing"]),
        ({"budget": {"bytes": "much"}}, ["budget.bytes", "'much'"]),
        ({"budget": {"rows": 1}}, ["budget", "rows"]),
    ],
)
def test_bad_input_of_vacuum(call, changes, words):
    result = call(database_vacuum, **{"databases": [SQLITE], **changes})
    assert result["failed"] is True
    for word in words:
        assert word in result["msg"]


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({"database": "y"}, ["indexes[0].database", "'y'", "Use one of x"]),
        ({"columns": []}, ["indexes[0].columns", "at least one"]),
        ({"columns": ["a", "a"]}, ["indexes[0].columns", "once"]),
        ({"method": "gin"}, ["indexes[0].method", "nothing that sqlite knows"]),
        ({"schema": "main"}, ["indexes[0].schema", "nothing that sqlite knows"]),
        ({"tables": "t"}, ["indexes", "tables"]),
    ],
)
def test_bad_input_of_indexes(call, index, words):
    wanted = {"database": "x", "table": "t", "columns": ["a"], **index}
    result = call(database_indexes, databases=[SQLITE], indexes=[wanted])
    assert result["failed"] is True
    for word in words:
        assert word in result["msg"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"timeout": "0s"}, ["timeout", "at least 1ms"]),
        ({"minimum_age": "long"}, ["minimum_age"]),
        ({"slow_queries": {"warning": "slow"}}, ["slow_queries.warning", "'slow'"]),
        ({"slow_queries": {"calls": 0}}, ["slow_queries.calls"]),
        ({"report": ["everything"]}, ["report", "everything"]),
    ],
)
def test_bad_settings_of_indexes(call, changes, words):
    result = call(database_indexes, databases=[SQLITE], **changes)
    assert result["failed"] is True
    for word in words:
        assert word in result["msg"]


def test_a_name_that_postgresql_would_cut_off(call):
    database = {"name": "x", "engine": "postgresql"}
    wanted = {"database": "x", "table": "t" * 60, "columns": ["a"]}
    result = call(database_indexes, databases=[database], indexes=[wanted])
    assert result["failed"] is True
    assert "indexes[0].name" in result["msg"]


def test_what_an_entry_may_hold_for_other_stages_is_known_to_all():
    """One list of databases serves backup and maintenance."""
    assert set(_settings.HOW) <= entries.OTHER_STAGES
    assert set(backup_settings.SHARED) <= entries.OTHER_STAGES
    for name in _registry.NAMES:
        own, backups = _registry.load(name), backup_registry.load(name)
        assert set(backups.OPTIONS) - set(own.OPTIONS) <= entries.OTHER_STAGES
