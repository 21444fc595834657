# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.restore of a real MariaDB server (D5, D11)."""

from __future__ import annotations

import json
import os
import random
import subprocess

import pytest

from ..backup.test_backup_mysql import SCHEMA, of
from .conftest import flip, manifest_of


@pytest.fixture
def main(mariadb_server, mariadb_database):
    """A database with what a real one has, and with names that make trouble."""
    server = mariadb_server
    server.sql("SET NAMES utf8mb4;" + SCHEMA.format(database=mariadb_database), mariadb_database)
    yield mariadb_database
    for name in databases(server):
        if name.startswith((f"{mariadb_database}_", "sre_runbooks_restore_")):
            server.sql(f"DROP DATABASE `{name}`")


@pytest.fixture
def source(mariadb_server, main):
    return of(mariadb_server, main)


@pytest.fixture
def secret(mariadb_server):
    return {"connection": {"password": mariadb_server.password}}


def databases(server):
    return server.sql("SHOW DATABASES").splitlines()


def scratch(server):
    return [name for name in databases(server) if name.startswith("sre_runbooks_")]


def shape(server, name):
    """Definitions and numbers of everything, without what a name or a moment makes different."""
    kinds = f"""
    SELECT 'table', table_name, table_type, '' FROM information_schema.tables WHERE table_schema = '{name}'
    UNION ALL SELECT 'view', table_name, replace(view_definition, '{name}', 'HERE'), definer FROM information_schema.views WHERE table_schema = '{name}'
    UNION ALL SELECT routine_type, routine_name, routine_definition, definer FROM information_schema.routines WHERE routine_schema = '{name}'
    UNION ALL SELECT 'trigger', trigger_name, action_statement, definer FROM information_schema.triggers WHERE trigger_schema = '{name}'
    UNION ALL SELECT 'event', event_name, event_definition, concat(definer, status) FROM information_schema.events WHERE event_schema = '{name}'
    UNION ALL SELECT 'key', constraint_name, concat(unique_constraint_schema = '{name}', referenced_table_name), table_name
      FROM information_schema.referential_constraints WHERE constraint_schema = '{name}' ORDER BY 1, 2
    """
    return server.sql(kinds), server.sql("SELECT count(*), md5(group_concat(text ORDER BY id)) FROM tasks", name)


def test_the_whole_cycle(backup, one, source, main, mariadb_server, secret, store):
    """D5: tables with keys, views, routines, triggers, events come back; the old one is kept, whole, with its events at rest."""
    server = mariadb_server
    backup(source)
    before = shape(server, main)
    assert "DISABLED" not in before[0]
    server.sql(
        "DELETE FROM tasks WHERE id > 100; DROP VIEW busy; DROP TRIGGER tr; CREATE TABLE more (a int); CREATE PROCEDURE late() SELECT 1",
        main,
    )
    spoilt = shape(server, main)
    outcome = one("main", **secret)
    assert outcome["status"] == "ok", outcome
    assert shape(server, main) == before
    (kept,) = outcome["details"]["kept"]
    assert kept.startswith(f"{main}_before_restore_2")
    assert shape(server, kept) == (spoilt[0].replace("ENABLED", "DISABLED"), spoilt[1])
    assert outcome["details"]["safety_backup"].startswith(str(store / ".before-restore" / "main"))
    assert server.sql("INSERT INTO nothing VALUES (5); SELECT max(a) FROM nothing", main) == "1", "the trigger works"
    assert scratch(server) == []
    again = one("main", keep_old=1, safety_backup=False, **secret)
    assert again["details"]["pruned"] == [kept]


def test_into_another_database(backup, one, source, main, mariadb_server, secret):
    """D11: beside the original, which goes on."""
    backup(source)
    before = shape(mariadb_server, main)
    outcome = one("main", to=f"{main}_look", **secret)
    assert outcome["status"] == "ok", outcome
    assert shape(mariadb_server, f"{main}_look") == before
    assert shape(mariadb_server, main) == before
    assert outcome["details"]["kept"] == []


def test_check_mode_changes_nothing(backup, one, source, main, mariadb_server, secret):
    backup(source, verify="restored")
    before = databases(mariadb_server), shape(mariadb_server, main)
    outcome = one("main", check_mode=True, **secret)
    assert outcome["details"]["would"] == "restore"
    assert outcome["details"]["expected_seconds"] > 0
    assert (databases(mariadb_server), shape(mariadb_server, main)) == before


def test_a_database_in_use_is_refused_and_by_whom(backup, one, source, main, mariadb_server, secret):
    server = mariadb_server
    backup(source)
    argv = [
        "mariadb",
        "--no-defaults",
        "--protocol=tcp",
        f"--host={server.host}",
        f"--port={server.port}",
        f"--user={server.user}",
        "-N",
        main,
    ]
    guest = subprocess.Popen(
        [*argv, "--unbuffered"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "MYSQL_PWD": server.password},
    )
    try:
        guest.stdin.write("SELECT connection_id();\n")
        guest.stdin.flush()
        number = guest.stdout.readline().strip()
        outcome = one("main", **secret)
        assert outcome["status"] == "critical"
        assert "is in use by root from 127.0.0.1:" in outcome["summary"]
        assert f"(connection {number})" in outcome["summary"]
        outcome = one("main", disconnect=True, safety_backup=False, **secret)
        assert outcome["status"] == "ok", outcome
    finally:
        guest.kill()
        guest.communicate()


def test_what_cannot_be_restored_changes_nothing(backup, run, one, source, main, mariadb_server, secret):
    copy = backup(source)
    mariadb_server.sql("DELETE FROM tasks", main)
    before = shape(mariadb_server, main)
    result = run(name="main", connection={"password": "wrong-secret"})
    assert "Access denied" in result["msg"]
    assert "wrong-secret" not in json.dumps(result)
    with manifest_of(copy) as manifest:
        manifest["figures"]["tables"]["tasks"] += 1
    assert "differ from those of the dump" in one("main", safety_backup=False, **secret)["summary"]
    flip(copy)
    assert "its SHA-256 is not that of what was written" in one("main", **secret)["summary"]
    assert shape(mariadb_server, main) == before
    assert scratch(mariadb_server) == []


def test_killed_at_many_moments_every_row_is_there_and_the_next_run_ends_it(
    backup, one, in_child, source, main, mariadb_server, secret, tmp_path
):
    """kill -9: tables are those of the old or the new one, never a mixture; what does not move with them is back after the next run."""
    server = mariadb_server
    server.sql("DELETE FROM tasks WHERE id > 200; DROP EVENT e; DROP EVENT once", main)
    backup(source)
    good = shape(server, main)
    options = {"name": "main", "safety_backup": False, "keep_old": 1, **secret}
    took = in_child(60, **options)
    chance = random.Random(7)
    for number in range(9):
        server.sql("INSERT INTO tasks SELECT max(id) + 1, 1, '', '' FROM tasks", main)
        old = server.sql("SELECT count(*) FROM tasks", main)
        in_child(took * (0.3 + 0.75 * (number + chance.random()) / 9), **options)
        assert server.sql("SELECT count(*) FROM tasks", main) in ("200", old), number
        if number % 3 == 2:
            outcome = one("main", safety_backup=False, keep_old=1, **secret)
            assert outcome["status"] == "ok", outcome
            assert shape(server, main) == good
            assert scratch(server) == []
            assert not os.listdir(tmp_path / "state" / "restore")


@pytest.mark.parametrize("step", ["drop_code", "rename", "load_code"])
def test_an_error_in_the_swap_takes_it_back_or_ends_it(
    backup, one, source, main, mariadb_server, secret, monkeypatch, step
):
    """Cut off in the swap: what does not move is made again, in the old one before the tables have moved, in the new one after."""
    from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
    from ansible_collections.sre.runbooks.plugins.module_utils._restore import _mysql_swap

    backup(source)
    good = shape(mariadb_server, main)
    mariadb_server.sql("DELETE FROM tasks WHERE id > 100", main)
    old = shape(mariadb_server, main)
    done = getattr(_mysql_swap, step)
    cut = []

    def once(*arguments):
        if not cut:
            cut.append(step)
            if step == "drop_code":
                done(*arguments)
            raise RunbookError("cut off")
        return done(*arguments)

    monkeypatch.setattr(_mysql_swap, step, once)
    outcome = one("main", safety_backup=False, **secret)
    assert outcome["status"] == "critical"
    assert shape(mariadb_server, main) == (good if step == "load_code" else old)
    assert scratch(mariadb_server) == []
