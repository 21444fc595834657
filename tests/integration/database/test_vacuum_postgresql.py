# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.database_vacuum with a real PostgreSQL: dead rows, statistics, locks, budgets, damage (D6)."""

from __future__ import annotations

import contextlib
import os
import pwd
import threading
import time

import psycopg
import pytest

from .conftest import postgresql

NAMES = ["a b", 'quo"te', "semi;colon--", "line\nbreak", "ünï 名", "select", "'; DROP TABLE kept; --"]


@pytest.fixture
def database(postgresql_server, postgresql_database):
    """Three tables, half of whose rows are dead, in a database in which autovacuum does nothing."""
    settings = "WITH (autovacuum_enabled = off)"
    for number, name in enumerate(("one", "two", "three"), start=1):
        postgresql_server.psql(
            f"CREATE TABLE {name} (id int PRIMARY KEY, text text) {settings};"
            f"INSERT INTO {name} SELECT g, repeat('x', 200) FROM generate_series(1, {2000 * number}) g;"
            f"DELETE FROM {name} WHERE id % 2 = 0;",
            postgresql_database,
        )
    return postgresql_database


@pytest.fixture
def source(postgresql_server, postgresql_database):
    return lambda **more: {**postgresql(postgresql_server, postgresql_database), **more}


def settled(server, database, condition="n_dead_tup > 900", tables=3, seconds=10):
    """Wait until the server's statistics know of what was done."""
    deadline = time.monotonic() + seconds
    sql = f"SELECT count(*) FROM pg_stat_user_tables WHERE {condition}"
    while int(server.psql(sql, database)) != tables:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def actions(outcome):
    return {each["target"]: (each["action"], each["reason"]) for each in outcome["details"]["steps"]}


def connect(server, database):
    return psycopg.connect(server.url(database), autocommit=True)


def test_dead_rows_go_and_a_second_run_changes_nothing(vacuum, source, postgresql_server, database):
    settled(postgresql_server, database)
    outcome = vacuum(source())
    assert (outcome["status"], outcome["changed"]) == ("ok", True)
    assert actions(outcome)["public.one"] == ("VACUUM (ANALYZE)", "50 % dead rows, never analysed")
    assert (outcome["metrics"]["steps"], outcome["metrics"]["tables"], outcome["metrics"]["dead_percent"]) == (3, 3, 0)
    assert "integrity not checked: the extension amcheck is not in this database" in outcome["summary"]
    assert postgresql_server.psql("SELECT sum(n_dead_tup) FROM pg_stat_user_tables", database) == "0"
    assert postgresql_server.psql("SELECT count(*) FROM one", database) == "1000"
    outcome = vacuum(source())
    assert (outcome["status"], outcome["changed"], outcome["metrics"]["steps"]) == ("ok", False, 0)


def test_check_mode_tells_what_would_be_done_by_table(vacuum, source, postgresql_server, database, state_dir):
    settled(postgresql_server, database)
    outcome = vacuum(source(), _ansible_check_mode=True)
    assert outcome["changed"] is True
    assert "postgresql:app: VACUUM (ANALYZE) public.two (50 % dead rows, never analysed, " in outcome["plan"]
    assert postgresql_server.psql("SELECT count(*) FROM pg_stat_user_tables WHERE last_vacuum IS NULL", database) == "3"
    assert not state_dir.exists()


def test_full_writes_the_table_anew_once(vacuum, source, postgresql_server, database):
    postgresql_server.psql("INSERT INTO one SELECT g, repeat('x', 200) FROM generate_series(10001, 60000) g", database)
    postgresql_server.psql("DELETE FROM one WHERE id > 10000 AND id % 5 <> 0; ANALYZE one", database)
    before = int(postgresql_server.psql("SELECT pg_total_relation_size('one')", database))
    outcome = vacuum(source(full=True))
    assert outcome["status"] == "ok", outcome
    action, reason = actions(outcome)["public.one"]
    assert action == "VACUUM FULL"
    assert reason.startswith("about 79 % of it is free")
    assert int(postgresql_server.psql("SELECT pg_total_relation_size('one')", database)) < before / 3
    assert outcome["metrics"]["size_bytes"] < outcome["metrics"]["size_before_bytes"]
    assert vacuum(source(full=True))["changed"] is False
    assert vacuum(source(full=True), minimum_free_percent=0)["changed"] is False


def test_a_table_that_is_locked_is_left_and_the_others_are_done(vacuum, source, postgresql_server, database):
    settled(postgresql_server, database)
    with connect(postgresql_server, database) as blocker, blocker.transaction():
        blocker.execute("LOCK TABLE two IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        outcome = vacuum(source(), lock_timeout="300ms")
        assert time.monotonic() - started < 10
    assert (outcome["status"], outcome["changed"]) == ("warning", True)
    assert "public.two: locked by another session for 300 ms (lock_timeout)" in outcome["summary"]
    assert sorted(actions(outcome)) == ["public.one", "public.three"]
    outcome = vacuum(source())
    assert (outcome["status"], list(actions(outcome))) == ("ok", ["public.two"])


def test_dead_rows_that_an_old_transaction_needs_are_told(vacuum, source, postgresql_server, database):
    with connect(postgresql_server, database) as old, old.transaction():
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM one").fetchone()
        postgresql_server.psql("DELETE FROM one WHERE id < 1000", database)
        settled(postgresql_server, database)
        outcome = vacuum(source())
    assert outcome["status"] == "warning"
    assert "1 of them still as before: a transaction that is open since" in outcome["summary"]
    assert vacuum(source())["status"] == "ok"


def test_a_budget_stops_between_tables_and_the_next_run_goes_on(vacuum, source, postgresql_server, database):
    settled(postgresql_server, database)
    sizes = postgresql_server.psql("SELECT pg_total_relation_size('three')", database)
    outcome = vacuum(source(), budget={"bytes": sizes})
    assert (outcome["status"], outcome["metrics"]["steps_left"] > 0) == ("warning", True)
    done = set(actions(outcome))
    left = {each["target"] for each in outcome["details"]["left"]}
    assert (done | left, done & left) == ({"public.one", "public.two", "public.three"}, set())
    assert f"the budget leaves {len(left)} for the next run" in outcome["summary"]
    seen = set(done)
    while left:
        outcome = vacuum(source(), budget={"bytes": sizes})
        assert not seen & set(actions(outcome))
        seen |= set(actions(outcome))
        left = outcome["details"].get("left")
    assert len(seen) == 3


def test_a_budget_of_time_ends_a_statement(vacuum, source, postgresql_server, database):
    settled(postgresql_server, database)
    with connect(postgresql_server, database) as blocker, blocker.transaction():
        blocker.execute("LOCK TABLE one, two, three IN SHARE MODE")
        started = time.monotonic()
        outcome = vacuum(source(), budget={"seconds": "1500ms"}, lock_timeout="60s")
        assert time.monotonic() - started < 5
    assert (outcome["status"], outcome["metrics"]["steps_left"]) == ("warning", 3)


def test_a_connection_that_is_cut_is_told_and_the_other_tables_are_done(vacuum, source, postgresql_server, database):
    """D6: the server ends the session in the middle of a VACUUM."""
    settled(postgresql_server, database)
    ended = []

    def cut():
        sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND query LIKE 'VACUUM%%two%%'"
        with connect(postgresql_server, "postgres") as session:
            deadline = time.monotonic() + 20
            while not ended and time.monotonic() < deadline:
                ended.extend(session.execute(sql, (database,)).fetchall())

    thread = threading.Thread(target=cut)
    with connect(postgresql_server, database) as blocker, blocker.transaction():
        blocker.execute("LOCK TABLE two IN SHARE MODE")
        thread.start()
        outcome = vacuum(source(), lock_timeout="60s")
    thread.join()
    assert (outcome["status"], outcome["changed"]) == ("critical", True)
    assert "public.two: terminating connection due to administrator command" in outcome["summary"]
    assert sorted(actions(outcome)) == ["public.one", "public.three"]
    assert vacuum(source())["status"] == "ok"


def test_a_check_that_is_too_long_does_not_keep_the_work_from_being_done(vacuum, source, postgresql_server, database):
    """D6: looking for damage may take half of the time."""
    postgresql_server.psql("CREATE EXTENSION amcheck", database)
    settled(postgresql_server, database)
    with connect(postgresql_server, database) as blocker, blocker.transaction():
        blocker.execute("LOCK TABLE two IN ACCESS EXCLUSIVE MODE")
        outcome = vacuum(source(), budget={"seconds": "8s"}, lock_timeout="5s")
    assert outcome["status"] == "warning", outcome
    assert "integrity was not checked in all of it" in outcome["summary"], outcome
    assert {"public.one", "public.three"} <= set(actions(outcome)) | {
        each["target"] for each in outcome["details"].get("left", [])
    }
    assert vacuum(source())["status"] == "ok"


def test_names_of_any_kind(vacuum, source, postgresql_server, postgresql_database):
    for name in NAMES:
        quoted = '"' + name.replace('"', '""') + '"'
        postgresql_server.psql(f"CREATE SCHEMA {quoted}; CREATE TABLE {quoted}.{quoted} (x int)", postgresql_database)
    outcome = vacuum(source())
    assert (outcome["status"], sorted(actions(outcome))) == ("ok", sorted(f"{name}.{name}" for name in NAMES))
    assert vacuum(source())["changed"] is False


def test_partitions_views_and_temporary_tables(vacuum, source, postgresql_server, postgresql_database):
    postgresql_server.psql(
        "CREATE TABLE p (id int) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (9);"
        "CREATE MATERIALIZED VIEW m AS SELECT 1 AS x; CREATE VIEW v AS SELECT 1 AS x; INSERT INTO p VALUES (1)",
        postgresql_database,
    )
    found = actions(vacuum(source()))
    assert found == {
        "public.p": ("ANALYZE", "never analysed"),
        "public.p1": ("VACUUM (ANALYZE)", "never analysed"),
        "public.m": ("VACUUM (ANALYZE)", "never analysed"),
    }
    assert vacuum(source())["changed"] is False


def test_tables_of_other_owners_are_told_and_not_tried(vacuum, source, postgresql_server, database):
    role = f"{database}_user"
    postgresql_server.psql(f"CREATE ROLE {role} LOGIN; GRANT CREATE ON SCHEMA public TO {role}", database)
    try:
        postgresql_server.psql(f"CREATE TABLE own (x int); ALTER TABLE own OWNER TO {role}", database)
        outcome = vacuum(source(user=role))
        assert outcome["status"] == "warning"
        assert "3 tables of other owners, which this user may not maintain" in outcome["summary"]
        assert list(actions(outcome)) == ["public.own"]
    finally:
        postgresql_server.psql(f"DROP OWNED BY {role}; DROP ROLE {role}", database)


def test_a_damaged_index_is_critical_and_nothing_is_touched(vacuum, source, postgresql_server, database):
    """D6, with amcheck: the order of an index's rows is broken by giving its function another meaning."""
    postgresql_server.psql(
        "CREATE EXTENSION amcheck;"
        "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';"
        "CREATE INDEX broken ON one (f(id));"
        "CREATE OR REPLACE FUNCTION f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT -$1';",
        database,
    )
    settled(postgresql_server, database)
    outcome = vacuum(source())
    assert (outcome["status"], outcome["changed"]) == ("critical", False)
    assert "damaged, and left untouched: amcheck finds: " in outcome["summary"]
    assert "broken" in outcome["summary"]
    assert postgresql_server.psql("SELECT count(*) FROM pg_stat_user_tables WHERE last_vacuum IS NULL", database) == "3"
    postgresql_server.psql("DROP INDEX broken", database)
    outcome = vacuum(source())
    assert (outcome["status"], outcome["changed"]) == ("ok", True)
    assert "amcheck ok: 3 tables, 3 indexes" in outcome["summary"]


def test_a_damaged_page_is_critical_and_nothing_is_touched(vacuum, source, postgresql_server, database):
    """D6: a copy of the database by its files has no page in the server's memory yet."""
    postgresql_server.psql("CREATE EXTENSION amcheck", database)
    copy = f"{database}_copy"
    postgresql_server.psql(f"CREATE DATABASE {copy} TEMPLATE {database} STRATEGY file_copy")
    try:
        where = "SELECT current_setting('data_directory') || '/' || pg_relation_filepath('one')"
        path = postgresql_server.psql(where, copy)
        with open(path, "r+b") as stream:
            stream.seek(8192)
            stream.write(b"\xff" * 4096)
        outcome = vacuum(source(database=copy))
        assert (outcome["status"], outcome["changed"]) == ("critical", False)
        assert "damaged, and left untouched: amcheck finds: invalid page in block 1" in outcome["summary"]
        never = "SELECT count(*) FROM pg_stat_user_tables WHERE last_vacuum IS NULL"
        assert postgresql_server.psql(never, copy) == "3"
    finally:
        postgresql_server.psql(f"DROP DATABASE {copy} WITH (FORCE)")


def test_peer_authentication_as_another_user(vacuum, source, postgresql_server, database):
    """Only root may become another user without sudo; the socket trusts every name here."""
    settled(postgresql_server, database)
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    outcome = vacuum(source(run_as=user))
    assert (outcome["status"], outcome["metrics"]["steps"]) == ("ok", 3)


def test_a_standby_is_skipped(vacuum, source, postgresql_standby):
    outcome = vacuum(source(host=str(postgresql_standby.socket_dir), port=postgresql_standby.port, database="postgres"))
    assert outcome["status"] == "skipped"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"host": "127.0.0.1", "password": "geheim-0123456789"}, "password authentication failed"),
        ({"database": "no such"}, 'database "no such" does not exist'),
        ({"port": 1}, "See that the server runs"),
    ],
)
def test_a_server_that_does_not_let_us_in_is_critical(vacuum, source, more, message):
    outcome = vacuum(source(**more))
    assert (outcome["status"], outcome["changed"]) == ("critical", False)
    assert message in outcome["summary"]
    assert "geheim" not in str(outcome)


def sessions(server, database):
    sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sre.runbooks' AND datname = '{}'"
    return int(server.psql(sql.format(database)))


def test_killed_at_any_moment_no_lock_stays_and_the_next_run_succeeds(
    killed, vacuum, source, postgresql_server, postgresql_database
):
    """D6, kill -9 of the module and its client."""
    database = postgresql_database
    with contextlib.closing(connect(postgresql_server, database)) as session:
        for name in ("one", "two"):
            session.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, text text) WITH (autovacuum_enabled = off)")
            session.execute(f"INSERT INTO {name} SELECT g, repeat('x', 100) FROM generate_series(1, 3000) g")

        def between(number):
            if number % 2 == 0:
                # A session tells the server's statistics at its end what it has done.
                with connect(postgresql_server, database) as writer:
                    writer.execute("UPDATE one SET text = text; UPDATE two SET text = text")

        killed("database_vacuum", 50, 0.14, between, databases=[source(full=True)], minimum_free_percent=1)
        deadline = time.monotonic() + 10
        while sessions(postgresql_server, database):
            assert time.monotonic() < deadline, "a session outlives its client"
            time.sleep(0.05)
        with session.transaction():
            session.execute("SET LOCAL lock_timeout = 100")
            session.execute("LOCK TABLE one, two IN ACCESS EXCLUSIVE MODE")
        assert vacuum(source())["status"] == "ok"
        assert session.execute("SELECT count(*), sum(id) FROM one").fetchone() == (3000, 4501500)
        assert vacuum(source())["changed"] is False
