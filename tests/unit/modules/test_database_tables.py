# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.database_archive, database_export, database_import (D7, D8): bad input fails before anything is looked at."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.modules import database_archive, database_export, database_import

SQLITE = {"name": "x", "engine": "sqlite", "path": "/no/such.db"}
SERVER = {"name": "x", "engine": "postgresql", "host": "127.0.0.1", "port": 1, "password": "the-secret"}


@pytest.fixture
def call(capsys):
    def go(module, **options):
        with patch_module_args(options), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return go


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"databases": []}, ["databases", "at least one"]),
        (
            {"databases": [{**SQLITE, "engine": "redis"}]},
            ["databases.x.engine", "'redis'", "mysql, postgresql, sqlite"],
        ),
        ({"databases": [{**SQLITE, "path": "relative.db"}]}, ["databases.x.path", "relative.db", "from the root on"]),
        ({"databases": [{**SQLITE, "tabel": "t"}]}, ["databases.x", "tabel"]),
        ({"table": None}, ["databases.x.table", "is missing"]),
        ({"column": ""}, ["databases.x.column", "is missing"]),
        ({"older_than": "a while"}, ["databases.x.older_than", "'a while'"]),
        ({"older_than": "0d"}, ["databases.x.older_than", "is no age"]),
        ({"batch": 0}, ["databases.x.batch", "0", "1 to 100000"]),
        ({"limits": {"percent": 101}}, ["databases.x.limits.percent", "101"]),
        ({"limits": {"rows": 0}}, ["databases.x.limits.rows"]),
        ({"limits": {"files": 3}}, ["limits", "files"]),
        ({"pause": "now"}, ["databases.x.pause", "'now'"]),
        ({"format": "xml"}, ["format", "xml"]),
        ({"foreign_keys": "ignore"}, ["foreign_keys", "ignore"]),
        ({"directory": "/"}, ["directory", "no place for exports"]),
        (
            {"databases": [{**SQLITE, "tables": [{"table": "t"}, {"table": "t"}]}]},
            ["databases.x.tables[1].table", "named twice"],
        ),
        ({"where": "a = '\0'"}, ["null byte"]),
    ],
)
def test_archive(call, tmp_path, changes, words):
    good = {"databases": [SQLITE], "directory": str(tmp_path / "a"), "table": "t", "column": "c", "older_than": "90d"}
    result = call(database_archive, **{**good, "state_dir": str(tmp_path / "s"), **changes})
    assert result["failed"] is True
    for word in words:
        assert word in result["msg"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"query": None}, ["databases.x.query", "neither"]),
        ({"table": "t"}, ["databases.x.query", "both"]),
        ({"dest": "out.csv"}, ["databases.x.dest", "out.csv"]),
        ({"delimiter": ";;"}, ["databases.x.delimiter", "';;'"]),
        ({"delimiter": '"'}, ["databases.x.delimiter"]),
        ({"encoding": "utf-9"}, ["databases.x.encoding", "'utf-9'"]),
        ({"limits": {"bytes": "many"}}, ["databases.x.limits.bytes", "'many'"]),
        ({"query": "SELECT '\0'"}, ["null byte"]),
    ],
)
def test_export(call, tmp_path, changes, words):
    good = {
        "databases": [SQLITE],
        "query": "SELECT 1",
        "dest": str(tmp_path / "o.csv"),
        "state_dir": str(tmp_path / "s"),
    }
    result = call(database_export, **{**good, **changes})
    assert result["failed"] is True
    for word in words:
        assert word in result["msg"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"table": None}, ["databases.x.table"]),
        ({"src": "in.csv"}, ["databases.x.src", "in.csv"]),
        ({"on_bad_rows": "ignore"}, ["on_bad_rows", "ignore"]),
        ({"on_duplicate": "replace"}, ["on_duplicate", "replace"]),
        ({"report": 0}, ["databases.x.report"]),
        ({"encoding": "nonsense"}, ["databases.x.encoding"]),
        ({"src": "/in.json", "on_bad_rows": "skip"}, ["databases.x.on_bad_rows", "jsonl"]),
        ({"lock_timeout": "x"}, ["databases.x.lock_timeout"]),
    ],
)
def test_import(call, tmp_path, changes, words):
    good = {"databases": [SQLITE], "table": "t", "src": "/in.csv", "state_dir": str(tmp_path / "s")}
    result = call(database_import, **{**good, **changes})
    assert result["failed"] is True
    for word in words:
        assert word in result["msg"]
    assert not list(tmp_path.iterdir())


def test_passwords_are_in_no_result(call, tmp_path):
    common = {"state_dir": str(tmp_path / "s"), "table": "t"}
    results = [
        call(
            database_archive, databases=[SERVER], directory=str(tmp_path / "a"), column="c", older_than="1d", **common
        ),
        call(database_export, databases=[SERVER], dest=str(tmp_path / "o.csv"), **common),
        call(database_import, databases=[SERVER], src=str(tmp_path / "none"), **common),
        call(database_import, databases=[{**SERVER, "unknown": 1}], src="/x", **common),
    ]
    assert [result.get("failed", False) for result in results] == [False, False, False, True]
    assert [result["status"] for result in results[:3]] == ["critical"] * 3
    assert "the-secret" not in json.dumps(results)
