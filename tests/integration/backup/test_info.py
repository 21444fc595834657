# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.backup_info: recovery, targets, and the databases of the host that no policy covers (D1, D4)."""

from __future__ import annotations

import json

import pytest

from .conftest import copies, database


def test_recovery_is_told_and_held_against_targets(one, info, store, tmp_path):
    one({"name": "app", "engine": "sqlite", "path": str(database(tmp_path / "app.db"))})
    (outcome,) = info(targets={"recovery_time": "1h", "recovery_point": "1h"}, level="restored")["outcomes"]
    assert outcome["status"] == "ok"
    assert 0 < outcome["metrics"]["recovery_time_seconds"] < 60
    assert 0 <= outcome["metrics"]["recovery_point_seconds"] < 600
    assert outcome["details"]["recovery"]["target_time_seconds"] == 3600
    assert "a restore takes" in outcome["summary"]
    (outcome,) = info(targets={"names": {"app": {"recovery_point": "0s"}}})["outcomes"]
    assert outcome["status"] == "warning"
    assert "the target is" in outcome["summary"]


def test_a_backup_tells_the_recovery_too_so_that_the_daily_report_has_it(one, store, tmp_path):
    source = {"name": "app", "engine": "sqlite", "path": str(database(tmp_path / "app.db"))}
    made, again = one(source), one(source, interval="1d")
    for outcome in (made, again):
        assert 0 < outcome["metrics"]["recovery_time_seconds"] < 60
        assert 0 <= outcome["metrics"]["recovery_point_seconds"] < 600
        assert outcome["details"]["recovery"]["path"] == str(copies(store, "app")[0][0])
    # A source that cannot be backed up still has its older copy.
    (tmp_path / "app.db").unlink()
    failed = one(source)
    assert failed["status"] == "critical"
    assert "recovery_point_seconds" in failed["metrics"]


def test_a_level_that_no_copy_reaches_is_critical(one, info, tmp_path):
    one({"name": "app", "engine": "sqlite", "path": str(database(tmp_path / "app.db"))}, verify="checksum")
    assert info()["status"] == "ok"
    assert info(level="restored")["status"] == "critical"


def test_databases_that_no_policy_covers_are_warnings(
    run, info, store, tmp_path, postgresql_server, postgresql_database
):
    server = postgresql_server
    place = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
    folder = tmp_path / "data"
    folder.mkdir()
    covered = [
        {"name": "app", "engine": "sqlite", "path": str(database(folder / "app.db"))},
        {"name": "main", "engine": "postgresql", "database": postgresql_database, **place},
    ]
    run(*covered, verify="checksum", compression={"algorithm": "none"})
    stray, other = database(folder / "stray.db"), server.create_database("nobody")
    try:
        result = info(sources=covered, search=[str(tmp_path)])
        without = info()
    finally:
        server.psql(f'DROP DATABASE "{other}"')
    found = {each["subject"]: each for each in result["outcomes"]}
    assert (found["sqlite:app"]["status"], found["postgresql:main"]["status"]) == ("ok", "ok")
    warned = {
        (each["details"]["engine"], each["details"]["name"]): each
        for each in result["outcomes"]
        if each["status"] == "warning" and "no backup source covers it" in each["summary"]
    }
    assert ("sqlite", str(stray)) in warned
    assert ("postgresql", other) in warned
    assert "engine: postgresql" in warned["postgresql", other]["details"]["remedy"]
    assert ("sqlite", str(folder / "app.db")) not in warned
    assert ("postgresql", postgresql_database) not in warned
    assert not [name for engine, name in warned if str(store) in name], "copies are no databases"
    assert server.password not in json.dumps(result)
    assert {each["subject"] for each in without["outcomes"]} == {"sqlite:app", "postgresql:main"}
    assert result["changed"] is False


def test_a_policy_without_any_copy_is_critical_and_no_policy_at_all_finds_everything(info, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    stray = database(folder / "stray.db")
    source = {"name": "app", "engine": "sqlite", "path": str(stray)}
    found = {each["subject"]: each["status"] for each in info(sources=[source])["outcomes"]}
    assert found["backup:app"] == "critical"
    names = [each["details"].get("name") for each in info(sources=[], search=[str(folder)])["outcomes"]]
    assert str(stray) in names


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"names": ["a/b"]}, ["names", "'a/b'"]),
        ({"targets": {"recovery_point": "often"}}, ["targets.recovery_point", "'often'"]),
        ({"sources": [{"name": "x", "engine": "oracle"}]}, ["sources.x.engine", "'oracle'"]),
        ({"directory": "backups"}, ["directory", "is no place for backups"]),
        ({"level": "seen"}, ["level", "seen"]),
    ],
)
def test_bad_input_names_the_option(info, options, words):
    result = info(**options)
    assert result["failed"] is True
    for word in words:
        assert word in result["msg"]


def test_a_copy_without_a_problem_says_none(one, info, store, tmp_path):
    one({"name": "app", "engine": "sqlite", "path": str(database(tmp_path / "app.db"))})
    path = copies(store, "app")[0][0]
    assert info()["copies"][0]["problem"] is None
    path.write_bytes(b"short")
    (copy,) = info()["copies"]
    assert copy["problem"].startswith("it has 5 bytes")
