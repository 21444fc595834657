# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.migration: bad input fails before anything is looked at; addresses and files of variables (D10, D11)."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.module_utils._core import alembic
from ansible_collections.sre.runbooks.plugins.module_utils._core.entries import Item
from ansible_collections.sre.runbooks.plugins.module_utils._database import postgresql, sqlite
from ansible_collections.sre.runbooks.plugins.module_utils._migration import _rehearse, _schema, _settings
from ansible_collections.sre.runbooks.plugins.modules import migration

PROJECT = {"name": "x", "directory": "/nowhere", "database": "db"}
DATABASE = {"name": "db", "engine": "sqlite", "path": "/nowhere/x.db"}


@pytest.fixture
def call(capsys, tmp_path):
    def go(project=None, **options):
        given = {"migrations": [{**PROJECT, **(project or {})}], "databases": [DATABASE], **options}
        with patch_module_args({"state_dir": str(tmp_path / "state"), **given}), pytest.raises(SystemExit):
            migration.main()
        result = json.loads(capsys.readouterr().out)
        assert not (tmp_path / "state").exists()
        return result

    return go


@pytest.mark.parametrize(
    ("project", "options", "words"),
    [
        ({}, {"migrations": []}, ["migrations", "names nothing"]),
        ({"name": "../x"}, {}, ["migrations[0].name", "stands in paths"]),
        ({}, {"migrations": [PROJECT, PROJECT]}, ["migrations[1].name", "is used twice"]),
        ({"database": None}, {}, ["migrations.x.database", "the way back"]),
        ({"database": "other"}, {}, ["migrations.x.database", "'other'"]),
        ({"command": []}, {}, ["migrations.x.command", "is empty"]),
        ({"environment": {"A B": "1"}}, {}, ["migrations.x.environment", "'A B'"]),
        ({"target": "--sql"}, {}, ["migrations.x.target", "'--sql'"]),
        ({"timeout": "0s"}, {}, ["migrations.x.timeout"]),
        ({"undo": True}, {}, ["undo"]),
        ({}, {"databases": [{"name": "db", "engine": "mysql"}]}, ["migrations.x.rehearse", "not possible with mysql"]),
        ({}, {"backup_max_age": "young"}, ["backup_max_age", "'young'"]),
        ({}, {"backup_level": "hoped"}, ["backup_level", "hoped"]),
    ],
)
def test_bad_input_fails_and_changes_nothing(call, project, options, words):
    result = call(project, **options)
    assert result["failed"] is True
    for word in words:
        assert word in result["msg"]


def test_a_folder_that_is_missing_is_critical(call, tmp_path):
    result = call(upgrade=False)
    assert result["status"] == "critical"
    assert result["outcomes"][0]["summary"].startswith("directory: /nowhere is no folder")


def test_a_file_of_variables():
    text = '# comment\nA=1 # one\nexport B = \'two # 2\'\nC="th\\"ree\\n\\$" # 3\nD=\n E=a#b\nno assignment\nF="open\n'
    assert _settings.parsed(text) == {
        "A": "1", "B": "two # 2", "C": 'th"ree\n$', "D": "", "E": "a#b", "F": '"open',
    }  # fmt: skip


def test_what_is_a_secret_of_variables():
    variables = {"DEBUG": "1", "KEY": "long enough", "URL": "postgresql://me:p%40ss@h/db", "BAD": "http://[x"}
    assert _settings.secrets_of(variables) == {
        "long enough", "postgresql://me:p%40ss@h/db", "p%40ss", "p@ss", "http://[x",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("url", "engine", "expected"),
    [
        ("sqlite:////srv/app.db?timeout=5", sqlite, "sqlite:////tmp/a%20b/c.db?timeout=5"),
        ("sqlite+aiosqlite:///app.db", sqlite, "sqlite+aiosqlite:////tmp/a%20b/c.db"),
        ("postgresql+psycopg://me:p%2Fw@h:5432/app?sslmode=require", postgresql, "postgresql+psycopg://me:p%2Fw@h:5432/%2Ftmp%2Fa%20b%2Fc.db?sslmode=require"),
        ("postgresql:///app?host=/run/postgresql", postgresql, "postgresql:///%2Ftmp%2Fa%20b%2Fc.db?host=/run/postgresql"),
    ],
)  # fmt: skip
def test_an_address_with_another_database(url, engine, expected):
    item = Item("x", engine.__name__.rpartition(".")[2], engine, {})
    assert _rehearse.replaced(url, "/tmp/a b/c.db", item) == expected


def test_what_differs_between_two_schemas():
    assert _schema.differences({"a": "1", "b": "2", "c": "3"}, {"b": "2", "c": "4", "d": "5"}) == ["a", "c", "d"]


def test_what_leads_to_a_target():
    text = "a1 -> b2 (head), two\na1 -> c3 (head), three\n<base> -> a1, one\n"
    found = alembic.revisions(text)
    assert alembic.pending(found) == ["b2", "c3", "a1"]
    assert alembic.pending(found, ["c3"]) == ["c3", "a1"]
    assert alembic.pending({**found, "a1": found["a1"]._replace(current=True)}, ["c3"]) == ["c3"]
