# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.database_vacuum with a real MariaDB: CHECK, ANALYZE, OPTIMIZE, locks, budgets, damage (D6)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time

import pytest

from .conftest import mysql


@pytest.fixture
def database(mariadb_server, mariadb_database):
    """Two tables of 600 and 3000 rows."""
    for number, name in enumerate(("one", "two")):
        mariadb_server.sql(
            f"CREATE TABLE {name} (id int PRIMARY KEY, text text); INSERT INTO {name} SELECT seq, REPEAT('x', 400) "
            f"FROM seq_1_to_{600 + number * 2400}",
            mariadb_database,
        )
    return mariadb_database


@pytest.fixture
def source(mariadb_server, mariadb_database):
    return lambda **more: {**mysql(mariadb_server, mariadb_database), **more}


def actions(outcome):
    return {each["target"]: (each["action"], each["reason"]) for each in outcome["details"]["steps"]}


@contextlib.contextmanager
def session(server, database, sql):
    """A session that has done `sql` and then stays open."""
    argv = ["mariadb", "--no-defaults", "--protocol=tcp", f"--host={server.host}", f"--port={server.port}"]
    argv += [f"--user={server.user}", "--unbuffered", "--batch", "--skip-column-names", f"--database={database}"]
    process = subprocess.Popen(
        argv, env={**os.environ, "MYSQL_PWD": server.password}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    process.stdin.write(f"{sql}; SELECT 'ready';\n")
    process.stdin.flush()
    while process.stdout.readline() != "ready\n":
        assert process.poll() is None
    try:
        yield
    finally:
        process.communicate()


def test_tables_are_checked_and_analysed_and_a_second_run_changes_nothing(vacuum, source, database):
    outcome = vacuum(source())
    assert (outcome["status"], outcome["changed"]) == ("ok", True)
    assert actions(outcome) == {"one": ("ANALYZE", "not yet analysed"), "two": ("ANALYZE", "not yet analysed")}
    assert "CHECK TABLE ok: 2 tables" in outcome["summary"]
    assert outcome["metrics"]["size_bytes"] > 1000000
    outcome = vacuum(source(), integrity="quick")
    assert (outcome["status"], outcome["changed"], outcome["metrics"]["steps"]) == ("ok", False, 0)


def test_a_table_that_has_grown_is_analysed_again(vacuum, source, mariadb_server, database):
    vacuum(source())
    mariadb_server.sql(
        "INSERT INTO one SELECT seq, REPEAT('x', 400) FROM seq_1000_to_5000; ANALYZE TABLE one", database
    )
    assert actions(vacuum(source())) == {"one": ("ANALYZE", "its statistics are old")}
    assert vacuum(source())["changed"] is False


def test_full_writes_a_table_anew_and_nothing_goes_to_the_binary_log(vacuum, source, mariadb_server, database):
    mariadb_server.sql("INSERT INTO one SELECT seq, REPEAT('y', 2000) FROM seq_1000_to_20000", database)
    mariadb_server.sql("DELETE FROM one WHERE id >= 1500; ANALYZE TABLE one", database)
    deadline = time.monotonic() + 30
    size = f"SELECT FILE_SIZE FROM information_schema.INNODB_SYS_TABLESPACES WHERE NAME = '{database}/one'"
    free = f"SELECT DATA_FREE FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{database}' AND TABLE_NAME = 'one'"
    while int(mariadb_server.sql(free)) < 20 << 20:
        assert time.monotonic() < deadline, "the purge of deleted rows takes too long"
        time.sleep(0.1)
    before = int(mariadb_server.sql(size))
    position = mariadb_server.sql("SHOW MASTER STATUS")
    assert vacuum(source(), _ansible_check_mode=True)["plan"].count("OPTIMIZE") == 0
    assert mariadb_server.sql("SHOW MASTER STATUS") == position
    outcome = vacuum(source(full=True))
    assert outcome["status"] == "ok", outcome
    assert actions(outcome)["one"][0] == "OPTIMIZE"
    assert int(mariadb_server.sql(size)) < before / 4
    assert mariadb_server.sql("SHOW MASTER STATUS") == position
    assert mariadb_server.sql("SELECT COUNT(*) FROM one", database) == "1100"
    assert vacuum(source(full=True))["changed"] is False


def test_a_table_that_is_locked_is_left_and_the_others_are_done(vacuum, source, mariadb_server, database):
    with session(mariadb_server, database, "LOCK TABLE one WRITE"):
        outcome = vacuum(source(), lock_timeout="1s", integrity="none")
    assert outcome["status"] == "warning", outcome
    assert "one: locked by another session for 1.0 s (lock_timeout)" in outcome["summary"]
    assert actions(outcome) == {"two": ("ANALYZE", "not yet analysed")}
    assert list(actions(vacuum(source()))) == ["one"]


def test_a_budget_of_bytes_leaves_tables_for_the_next_run(vacuum, source, mariadb_server, database):
    mariadb_server.sql("ANALYZE TABLE one, two", database)
    sizes = "SELECT DATA_LENGTH + INDEX_LENGTH FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'two'"
    budget = {"bytes": mariadb_server.sql(sizes, database)}
    outcome = vacuum(source(), budget=budget)
    assert (outcome["status"], outcome["metrics"]["steps_left"], len(actions(outcome))) == ("warning", 1, 1)
    left = {each["target"] for each in outcome["details"]["left"]}
    outcome = vacuum(source(), budget=budget)
    assert (outcome["status"], set(actions(outcome))) == ("ok", left)


def test_a_damaged_table_is_critical_and_left_untouched(vacuum, source, mariadb_server, database):
    mariadb_server.sql(
        "CREATE TABLE broken (id int PRIMARY KEY, text text) ENGINE=Aria; INSERT INTO broken SELECT seq, 'x' FROM seq_1_to_500",
        database,
    )
    mariadb_server.sql("FLUSH TABLES", database)
    folder = mariadb_server.sql("SELECT @@datadir")
    with open(f"{folder}/{database}/broken.MAD", "r+b") as stream:
        stream.seek(8192 + 100)
        stream.write(b"\xff" * 2000)
    outcome = vacuum(source())
    assert (outcome["status"], outcome["changed"]) == ("critical", False)
    assert "damaged, and left untouched: CHECK TABLE of broken finds: " in outcome["summary"]


def test_names_of_any_kind(vacuum, source, mariadb_server, mariadb_database):
    names = ["a b", "quo`te", "semi;colon--", "ünï 名", "select", "'; DROP TABLE x; --", "tab\ttab", "a.b", "per%cent"]
    for name in names:
        mariadb_server.sql("CREATE TABLE `{}` (x int PRIMARY KEY)".format(name.replace("`", "``")), mariadb_database)
    outcome = vacuum(source())
    assert (outcome["status"], sorted(actions(outcome))) == ("ok", sorted(names))
    assert vacuum(source())["changed"] is False


def test_a_wrong_password_is_critical_and_not_shown(vacuum, source):
    outcome = vacuum(source(password="geheim-0123456789"))
    assert (outcome["status"], outcome["changed"]) == ("critical", False)
    assert "Access denied" in outcome["summary"]
    assert "geheim" not in str(outcome)


def test_killed_at_any_moment_the_tables_are_whole_and_the_next_run_succeeds(
    killed, vacuum, source, mariadb_server, database, state_dir
):
    """D6, kill -9: what a run remembers is taken away each time, so that there is always something to do."""

    def between(_number):
        for document in state_dir.glob("*.json"):
            document.unlink()

    killed("database_vacuum", 50, 0.06, between, databases=[source(full=True)])
    outcome = vacuum(source())
    assert outcome["status"] == "ok"
    assert mariadb_server.sql("SELECT COUNT(*), SUM(id) FROM two", database) == "3000\t4501500"
    assert vacuum(source())["changed"] is False
