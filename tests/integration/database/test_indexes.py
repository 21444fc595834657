# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.database_indexes with real servers: made without blocking writers, missing ones and slow statements told (D9)."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import threading
import time

import psycopg
import pymysql
import pytest

from .conftest import mysql, postgresql, sqlite_file

HOSTILE = "a\"b'c;d--é 名"


@pytest.fixture
def indexes(call):
    """See to one database and return its outcomes with `changed` in the first."""

    def go(source, *wanted, **options):
        given = [{"database": source["name"], **each} for each in wanted]
        result = call("database_indexes", databases=[source], indexes=given, **options)
        assert "outcomes" in result, result
        first, *rest = result["outcomes"]
        assert {each["stage"] for each in result["outcomes"]} == {"indexes"}
        return [{**first, "changed": result["changed"], "plan": result["diff"]["after"]}, *rest]

    return go


def findings(outcome):
    return [(each["kind"], each["target"]) for each in outcome["details"].get("findings", [])]


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


@pytest.fixture
def pg(postgresql_server, postgresql_database):
    return postgresql(postgresql_server, postgresql_database)


@pytest.fixture
def sql(postgresql_server, postgresql_database):
    return lambda text: postgresql_server.psql(text, postgresql_database)


def test_postgresql_makes_what_is_missing_once(indexes, pg, sql):
    sql("CREATE TABLE tasks (id int PRIMARY KEY, project_id int, status text, deleted_at date)")
    wanted = [
        {"table": "tasks", "columns": ["project_id"]},
        {"table": "tasks", "columns": ["status"], "where": "deleted_at IS NULL", "name": "live"},
        {"table": "tasks", "columns": ["status", "id"], "unique": True, "method": "btree"},
    ]
    about, _queries = indexes(pg, *wanted, _ansible_check_mode=True)
    assert (about["changed"], about["metrics"]["missing"]) == (True, 3)
    assert "postgresql:app: idx_tasks_project_id on tasks (project_id) would be made\n" in about["plan"]
    assert sql("SELECT count(*) FROM pg_indexes WHERE schemaname = 'public'") == "1"
    about, _queries = indexes(pg, *wanted)
    assert (about["status"], about["changed"], about["metrics"]["missing"]) == ("ok", True, 0)
    assert sql("SELECT indexname FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1").split() == [
        "idx_tasks_project_id", "idx_tasks_status_id", "live", "tasks_pkey",
    ]  # fmt: skip
    about, _queries = indexes(pg, *wanted)
    assert (about["status"], about["changed"], about["plan"]) == ("ok", False, "")
    assert about["summary"] == "3 of 3 wanted indexes are there"
    # One of another name over the same columns serves as well; one of the same name over others does not.
    about, _queries = indexes(pg, {"table": "tasks", "columns": ["project_id"], "name": "other"})
    assert (about["status"], about["changed"]) == ("ok", False)
    about, _queries = indexes(pg, {"table": "tasks", "columns": ["status"], "name": "idx_tasks_project_id"})
    assert (about["status"], about["changed"]) == ("warning", False)
    assert "idx_tasks_project_id is there, but on tasks (project_id): drop it" in about["summary"]


def test_postgresql_writers_go_on_while_an_index_is_made(indexes, pg, postgresql_server, postgresql_database, sql):
    """D9: no write waits for as long as a tenth of the time that the index takes."""
    sql("CREATE TABLE big AS SELECT g AS id, md5(g::text) AS text FROM generate_series(1, 400000) g")
    waits, stop = [], threading.Event()

    def write():
        with psycopg.connect(postgresql_server.url(postgresql_database), autocommit=True) as session:
            while not stop.is_set():
                started = time.monotonic()
                session.execute("INSERT INTO big VALUES (0, 'written')")
                waits.append(time.monotonic() - started)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not waits:
            assert writer.is_alive()
            time.sleep(0.01)
        started = time.monotonic()
        about, _queries = indexes(pg, {"table": "big", "columns": ["text"]}, minimum_table_size="1GiB")
        taken = time.monotonic() - started
    finally:
        stop.set()
        writer.join()
    assert about["status"] == "ok"
    assert len(waits) > 50
    assert max(waits) < max(0.25, taken / 3), (max(waits), taken)
    written = sql("SELECT count(*) FROM big WHERE text = 'written'")
    assert int(written) == len(waits)
    assert sql("SET enable_seqscan = off; SELECT count(*) FROM big WHERE text = 'written'") == written


def test_postgresql_an_invalid_index_is_made_anew(indexes, pg, sql, postgresql_server, postgresql_database):
    """D9: what CREATE INDEX CONCURRENTLY leaves when it fails is found, told and replaced."""
    sql("CREATE TABLE t (x int); INSERT INTO t VALUES (1), (1)")
    wanted = {"table": "t", "columns": ["x"], "unique": True, "name": "x_once"}
    about, _queries = indexes(pg, wanted)
    assert (about["status"], about["changed"]) == ("critical", False)
    assert "could not create unique index" in about["summary"]
    assert sql("SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass") == "0"
    with (
        psycopg.connect(postgresql_server.url(postgresql_database), autocommit=True) as session,
        pytest.raises(psycopg.errors.UniqueViolation),
    ):
        session.execute("CREATE UNIQUE INDEX CONCURRENTLY x_once ON t (x)")
    assert sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'x_once'::regclass") == "f"
    (about, _queries) = indexes(pg)
    assert findings(about) == [("broken_index", "public.x_once")]
    sql("DELETE FROM t WHERE ctid = '(0,1)'")
    about, _queries = indexes(pg, wanted)
    assert (about["status"], about["changed"]) == ("ok", True)
    assert "created anew, for an earlier run had left it unfinished" in about["summary"]
    assert sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'x_once'::regclass") == "t"


def test_postgresql_killed_while_it_makes_an_index_the_next_run_heals_it(
    started, indexes, pg, sql, postgresql_server, postgresql_database
):
    """D9, kill -9: CONCURRENTLY waits for an old transaction, and there the run is killed."""
    sql("CREATE TABLE t (x int); INSERT INTO t SELECT generate_series(1, 1000)")
    wanted = {"table": "t", "columns": ["x"], "name": "x_index", "database": "app"}
    with psycopg.connect(postgresql_server.url(postgresql_database)) as old:
        old.execute("SELECT count(*) FROM t").fetchone()
        old.execute("INSERT INTO t VALUES (0)")
        process = started("database_indexes", databases=[pg], indexes=[wanted])
        deadline = time.monotonic() + 20
        while sql("SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass") == "0":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        while (
            sql(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sre.runbooks' AND query LIKE '%x_index%'"
            )
            != "0"
        ):
            assert time.monotonic() < deadline, "a session outlives its client"
            time.sleep(0.05)
        assert sql("SELECT indisvalid FROM pg_index WHERE indrelid = 't'::regclass") == "f"
        old.rollback()
    del wanted["database"]
    about, _queries = indexes(pg, wanted)
    assert (about["status"], about["changed"]) == ("ok", True)
    assert sql("SELECT indexrelid::regclass, indisvalid FROM pg_index WHERE indrelid = 't'::regclass") == "x_index|t"


def test_postgresql_a_time_limit_leaves_nothing_behind(indexes, pg, sql, postgresql_server, postgresql_database):
    sql("CREATE TABLE t (x int)")
    dropping = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' "
        "AND query LIKE '%DROP INDEX%' AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(postgresql_server.url(postgresql_database)) as old:
        old.execute("INSERT INTO t VALUES (0)")
        ended = threading.Event()

        def let_go():
            """Only when the time is over, and what was left waits for this transaction in its turn."""
            while not ended.is_set() and sql(dropping) == "0":
                time.sleep(0.05)
            old.rollback()

        other = threading.Thread(target=let_go)
        other.start()
        try:
            about, _queries = indexes(pg, {"table": "t", "columns": ["x"]}, timeout="3s")
        finally:
            ended.set()
            other.join()
    assert (about["status"], about["changed"]) == ("warning", False)
    assert "idx_t_x: not made within the time limit" in about["summary"]
    assert sql("SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass") == "0"


def test_postgresql_reports_by_evidence(indexes, pg, sql):
    sql(
        "CREATE TABLE projects (id int PRIMARY KEY);"
        "CREATE TABLE tasks (id int PRIMARY KEY, project_id int REFERENCES projects, other_id int REFERENCES projects, text text);"
        "CREATE INDEX one ON tasks (text); CREATE INDEX two ON tasks (text); CREATE INDEX served ON tasks (other_id, text);"
        "INSERT INTO tasks SELECT g, NULL, NULL, md5(g::text) FROM generate_series(1, 20000) g; ANALYZE"
    )
    for _scan in range(12):
        sql("SELECT count(*) FROM tasks WHERE id % 3 = 1")
    deadline = time.monotonic() + 10
    while int(sql("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'tasks'")) < 12:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    about, _queries = indexes(pg, minimum_table_size="0", minimum_age="0s")
    assert about["status"] == "warning"
    assert findings(about) == [
        ("duplicate_index", "public.two is one once more"),
        ("foreign_key_without_index", "public.tasks (project_id)"),
        ("sequential_scans", "public.tasks"),
        ("unused_index", "public.one"),
        ("unused_index", "public.served"),
        ("unused_index", "public.two"),
    ]
    advice = {each["kind"]: each["advice"] for each in about["details"]["findings"]}
    assert advice["foreign_key_without_index"] == 'CREATE INDEX CONCURRENTLY ON "public"."tasks" ("project_id")'
    about, _queries = indexes(
        pg,
        minimum_table_size="0",
        ignore=["public.tasks", "public.two"],
        report=["foreign_key_without_index", "duplicate_index"],
    )
    assert (about["status"], findings(about)) == ("ok", [])
    assert (
        indexes(pg, minimum_table_size="1GiB", report=["foreign_key_without_index", "unused_index"])[0]["status"]
        == "ok"
    )


def test_postgresql_slow_statements_without_their_values(indexes, pg, sql):
    queries = indexes(pg)[1]
    assert (queries["status"], queries["subject"]) == ("skipped", "postgresql:app:queries")
    assert "the extension pg_stat_statements is not in this database" in queries["summary"]
    sql("CREATE EXTENSION pg_stat_statements; CREATE TABLE t (x text)")
    for _time in range(3):
        sql("SELECT pg_sleep(0.06), 'geheim-0123456789' FROM (VALUES (1)) v")
    sql(
        "ALTER ROLE CURRENT_USER SET application_name = 'geheim-0123456789'; ALTER ROLE CURRENT_USER RESET application_name"
    )
    # First, for what the module asks counts as well: the fourth time it may be slow itself.
    assert indexes(pg, slow_queries={"warning": "> 50ms", "calls": 4})[1]["status"] == "ok"
    queries = indexes(pg, slow_queries={"warning": "> 50ms", "critical": "> 10", "calls": 3})[1]
    assert queries["status"] == "warning"
    assert "SELECT pg_sleep(?), ? FROM (VALUES (?)) v" in queries["summary"]
    assert queries["metrics"]["slowest_seconds"] > 0.05
    assert indexes(pg, slow_queries={"warning": "> 50ms", "critical": "> 55ms", "calls": 3})[1]["status"] == "critical"
    every = indexes(pg, slow_queries={"warning": "> 0", "calls": 1, "limit": 20})
    assert "geheim" not in str(every)


def test_postgresql_names_of_any_kind(indexes, pg, sql):
    quoted = '"' + HOSTILE.replace('"', '""') + '"'
    sql(f"CREATE SCHEMA {quoted}; CREATE TABLE {quoted}.{quoted} ({quoted} int)")
    wanted = {"table": HOSTILE, "schema": HOSTILE, "columns": [HOSTILE], "name": f"{HOSTILE}!"}
    assert indexes(pg, wanted)[0]["changed"] is True
    assert indexes(pg, wanted)[0]["changed"] is False
    assert sql("SELECT count(*) FROM pg_class WHERE relkind = 'i' AND relname LIKE '%名!'") == "1"


def test_what_cannot_be_made_is_critical_and_keeps_no_other_from_being_made(indexes, pg, sql):
    sql("CREATE TABLE t (x int); CREATE TABLE p (x int) PARTITION BY LIST (x)")
    about, _queries = indexes(
        pg, {"table": "none", "columns": ["x"]}, {"table": "p", "columns": ["x"]},
        {"table": "t", "columns": ["y"]}, {"table": "t", "columns": ["x"]},
    )  # fmt: skip
    assert (about["status"], about["changed"], about["metrics"]["missing"]) == ("critical", True, 3)
    for message in ("there is no table public.none", "public.p is partitioned", 'column "y" does not exist'):
        assert message in about["summary"]


# --- MariaDB ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def maria(mariadb_server, mariadb_database):
    return mysql(mariadb_server, mariadb_database)


def test_mysql_makes_what_is_missing_once(indexes, maria, mariadb_server, mariadb_database):
    mariadb_server.sql("CREATE TABLE tasks (id int PRIMARY KEY, project_id int, status varchar(20))", mariadb_database)
    wanted = [
        {"table": "tasks", "columns": ["project_id"]},
        {"table": "tasks", "columns": ["status", "id"], "unique": True},
    ]
    assert indexes(maria, *wanted, _ansible_check_mode=True)[0]["metrics"]["missing"] == 2
    about = indexes(maria, *wanted)[0]
    assert (about["status"], about["changed"], about["metrics"]["missing"]) == ("ok", True, 0)
    assert indexes(maria, *wanted)[0]["changed"] is False
    shown = mariadb_server.sql("SHOW INDEX FROM tasks", mariadb_database)
    assert "idx_tasks_project_id" in shown
    assert "idx_tasks_status_id" in shown


def test_mysql_writers_go_on_while_an_index_is_made(indexes, maria, mariadb_server, mariadb_database):
    """D9: ALGORITHM=INPLACE, LOCK=NONE."""
    mariadb_server.sql(
        "CREATE TABLE big (id int PRIMARY KEY AUTO_INCREMENT, text varchar(64)); INSERT INTO big (text) SELECT MD5(seq) FROM seq_1_to_200000",
        mariadb_database,
    )
    waits, stop = [], threading.Event()
    server = mariadb_server

    def write():
        # One session: the start of a client for each row would count as waiting.
        with contextlib.closing(
            pymysql.connect(
                host=server.host, port=server.port, user=server.user, password=server.password, database=mariadb_database, autocommit=True,
            )
        ) as session, session.cursor() as cursor:  # fmt: skip
            while not stop.is_set():
                started = time.monotonic()
                cursor.execute("INSERT INTO big (text) VALUES ('written')")
                waits.append(time.monotonic() - started)
                time.sleep(0.001)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not waits:
            assert writer.is_alive()
            time.sleep(0.01)
        about = indexes(maria, {"table": "big", "columns": ["text"]})[0]
    finally:
        stop.set()
        writer.join()
    assert about["status"] == "ok"
    assert len(waits) > 3
    assert max(waits) < 0.5, max(waits)
    assert int(mariadb_server.sql("SELECT COUNT(*) FROM big WHERE text = 'written'", mariadb_database)) == len(waits)


def test_mysql_what_needs_a_lock_is_refused_by_the_server(indexes, maria, mariadb_server, mariadb_database):
    mariadb_server.sql("CREATE TABLE t (id int PRIMARY KEY, number int) ENGINE=MyISAM", mariadb_database)
    about = indexes(maria, {"table": "t", "columns": ["number"]})[0]
    assert (about["status"], about["changed"]) == ("critical", False)
    assert "ALGORITHM=INPLACE is not supported" in about["summary"]


def test_mysql_reports_by_evidence(indexes, maria, mariadb_server, mariadb_database):
    mariadb_server.sql(
        "CREATE TABLE t (id int PRIMARY KEY, a int, b int, KEY a (a), KEY ab (a, b), KEY ab2 (a, b), UNIQUE u (b)); CREATE TABLE loose (x int)",
        mariadb_database,
    )
    about = indexes(maria)[0]
    assert findings(about) == [
        ("duplicate_index", "t.a is within ab"),
        ("duplicate_index", "t.ab2 is within ab"),
        ("table_without_primary_key", "loose"),
    ]
    assert about["status"] == "warning"


def test_mysql_slow_statements_of_the_log(indexes, maria, mariadb_server, mariadb_database):
    queries = indexes(maria)[1]
    assert queries["status"] == "skipped"
    assert "set performance_schema, or slow_query_log" in queries["summary"]
    mariadb_server.sql("SET GLOBAL log_output = 'TABLE', slow_query_log = 1, long_query_time = 0.05")
    try:
        for number in range(2):
            mariadb_server.sql(
                f"SELECT SLEEP(0.07), 'geheim-{number}', \"geheim\" FROM DUAL WHERE 1 IN (1, 2, {number})",
                mariadb_database,
            )
        queries = indexes(maria, slow_queries={"warning": "> 60ms", "calls": 2})[1]
    finally:
        mariadb_server.sql("SET GLOBAL slow_query_log = 0, log_output = 'FILE', long_query_time = 10")
    assert queries["status"] == "warning"
    assert "2: SELECT SLEEP(?), ?, … FROM DUAL WHERE ? IN (?, …)" in queries["summary"]
    assert "geheim" not in str(queries)


def test_mysql_names_of_any_kind(indexes, maria, mariadb_server, mariadb_database):
    hostile = "a`b'c;d--é 名"
    quoted = "`" + hostile.replace("`", "``") + "`"
    mariadb_server.sql(f"CREATE TABLE {quoted} ({quoted} int)", mariadb_database)
    wanted = {"table": hostile, "columns": [hostile], "name": f"{hostile}!"}
    assert indexes(maria, wanted)[0]["changed"] is True
    assert indexes(maria, wanted)[0]["changed"] is False


# --- SQLite ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def lite(tmp_path):
    return {"name": "app", "engine": "sqlite", "path": str(sqlite_file(tmp_path / "app.db", free=False, rows=10))}


def execute(source, *statements):
    with contextlib.closing(sqlite3.connect(source["path"], isolation_level=None)) as database:
        return [database.execute(statement).fetchall() for statement in statements]


def test_sqlite_makes_what_is_missing_once_and_reports(indexes, lite):
    execute(
        lite,
        "CREATE TABLE child (id INTEGER PRIMARY KEY, kept INTEGER REFERENCES kept, other INTEGER REFERENCES kept)",
        "CREATE INDEX kept_again ON kept (text)",
    )
    wanted = [
        {"table": "child", "columns": ["other"]},
        {"table": "kept", "columns": ["id"], "where": "text <> ''", "unique": True},
    ]
    (about,) = indexes(lite, *wanted, _ansible_check_mode=True)
    assert (about["changed"], about["metrics"]["missing"]) == (True, 2)
    (about,) = indexes(lite, *wanted)
    assert (about["status"], about["changed"], about["metrics"]["missing"]) == ("warning", True, 0)
    assert findings(indexes(lite, *wanted)[0]) == [
        ("foreign_key_without_index", "child (kept)"),
        ("duplicate_index", "kept_text is kept_again once more"),
    ]
    assert indexes(lite, *wanted)[0]["changed"] is False


def test_sqlite_a_lock_is_waited_for_and_then_told(indexes, lite):
    with contextlib.closing(sqlite3.connect(lite["path"], isolation_level=None)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        about = indexes(lite, {"table": "gone", "columns": ["text"]}, lock_timeout="200ms")[0]
        assert (about["status"], about["changed"]) == ("warning", False)
        assert "idx_gone_text: locked by another program for 200 ms" in about["summary"]
        blocker.execute("ROLLBACK")
    assert indexes(lite, {"table": "gone", "columns": ["text"]})[0]["changed"] is True


def test_sqlite_rows_that_are_not_unique(indexes, lite):
    execute(lite, "INSERT INTO kept (text) VALUES ('twice'), ('twice')")
    about = indexes(lite, {"table": "kept", "columns": ["text"], "unique": True, "name": "u"})[0]
    assert (about["status"], about["changed"]) == ("critical", False)
    assert "UNIQUE constraint failed" in about["summary"]


def test_sqlite_names_of_any_kind(indexes, lite):
    quoted = '"' + HOSTILE.replace('"', '""') + '"'
    execute(lite, f"CREATE TABLE {quoted} ({quoted})")
    wanted = {"table": HOSTILE, "columns": [HOSTILE], "name": f"{HOSTILE}!"}
    assert indexes(lite, wanted)[0]["changed"] is True
    assert indexes(lite, wanted)[0]["changed"] is False
