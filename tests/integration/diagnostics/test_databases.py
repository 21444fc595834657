# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Databases in a bundle: real servers, real locks, who blocks whom (I4)."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import time

import pytest

VALUE = "Canary-person@example.org"


@contextlib.contextmanager
def sessions(*argvs, environment=None):
    """Clients that stay connected and read statements from their input."""
    opened = []
    try:
        for argv in argvs:
            opened.append(
                subprocess.Popen(
                    argv,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    env=environment,
                )
            )
        yield opened
    finally:
        for process in opened:
            process.kill()
            process.communicate()


def say(process, sql):
    process.stdin.write(sql + "\n")
    process.stdin.flush()


def wait_for(condition, seconds=15):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        # InnoDB shows what it showed before as long as it is asked more often than every 0.1 s.
        time.sleep(0.25)


@pytest.fixture
def postgresql(postgresql_server, postgresql_database):
    server = postgresql_server
    return {
        "name": "shop", "engine": "postgresql", "database": postgresql_database, "host": server.host, "port": server.port,
        "user": server.user, "password": server.password,
    }  # fmt: skip


def test_postgresql_who_blocks_whom_is_told_as_a_chain_without_values(bundle, run, postgresql, postgresql_server):
    server, database = postgresql_server, postgresql["database"]
    server.psql(
        "CREATE TABLE stock (id int PRIMARY KEY, owner text); INSERT INTO stock VALUES (1, 'a'), (2, 'b')", database
    )
    argv = [
        str(server.bindir / "psql"),
        "-XAtq",
        "-h",
        str(server.socket_dir),
        "-p",
        str(server.port),
        "-U",
        server.user,
        "-d",
        database,
    ]
    with sessions(argv, argv, argv) as (first, second, third):
        say(first, f"BEGIN; SET application_name = 'holder'; UPDATE stock SET owner = '{VALUE}' WHERE id = 1;")
        wait_for(
            lambda: (
                server.psql(
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holder' AND state LIKE 'idle in%'"
                )
                == "1"
            )
        )
        say(
            second,
            f"BEGIN; SET application_name = 'middle'; UPDATE stock SET owner = 'x' WHERE id = 2; UPDATE stock SET owner = '{VALUE}' WHERE id = 1;",
        )
        wait_for(
            lambda: (
                server.psql(
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'middle' AND wait_event_type = 'Lock'"
                )
                == "1"
            )
        )
        say(third, f"SET application_name = 'last'; DELETE FROM stock WHERE id = 2 AND owner <> '{VALUE}';")
        wait_for(
            lambda: (
                server.psql(
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'last' AND wait_event_type = 'Lock'"
                )
                == "1"
            )
        )
        made = bundle(collect=["postgresql"], databases=[postgresql])
    chain = made.text("postgresql/shop/blocking.txt").splitlines()
    assert [line.split("(")[0].split()[-1] for line in chain] == ["holder", "middle", "last"]
    assert [len(line) - len(line.lstrip()) for line in chain] == [0, 4, 8]
    assert chain[0].startswith("pid ")
    assert "idle in transaction" in chain[0]
    assert "DELETE FROM stock WHERE id = ? AND owner <> ?" in chain[2]
    assert VALUE.encode() not in made.plain
    assert postgresql["password"].encode() not in made.plain
    assert postgresql["password"] not in run.text
    assert {"sessions", "locks", "settings", "tables", "databases", "server", "replication"} <= {
        name.split("/")[2].partition(".")[0] for name in made.parts
    }
    assert any(
        row["name"] == "fsync" and row["setting"] == "off" for row in made.rows("postgresql/shop/settings.jsonl")
    )
    assert any(row["name"] == "stock" for row in made.rows("postgresql/shop/tables.jsonl"))
    assert made.manifest["collectors"]["postgresql"]["status"] == "ok"


def test_a_table_that_is_locked_altogether_keeps_nothing_waiting(bundle, postgresql, postgresql_server):
    server, database = postgresql_server, postgresql["database"]
    server.psql("CREATE TABLE stock (id int)", database)
    argv = [
        str(server.bindir / "psql"),
        "-XAtq",
        "-h",
        str(server.socket_dir),
        "-p",
        str(server.port),
        "-U",
        server.user,
        "-d",
        database,
    ]
    with sessions(argv) as (holder,):
        say(holder, "BEGIN; LOCK TABLE stock IN ACCESS EXCLUSIVE MODE;")
        wait_for(
            lambda: (
                # Of this table: vacuum takes such locks too.
                server.psql(
                    "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'stock'::regclass",
                    database,
                )
                != "0"
            )
        )
        made = bundle(collect=["postgresql"], databases=[postgresql])
    assert made.manifest["collectors"]["postgresql"]["status"] == "ok"
    assert made.manifest["collectors"]["postgresql"]["seconds"] < 5
    assert any(
        row["mode"] == "AccessExclusiveLock" and row["name"] == "stock"
        for row in made.rows("postgresql/shop/locks.jsonl")
    )


def test_slow_statements_of_postgresql_without_their_values(bundle, postgresql, postgresql_server):
    server, database = postgresql_server, postgresql["database"]
    server.psql("CREATE EXTENSION pg_stat_statements", database)
    server.psql(f"SELECT pg_sleep(0.05), '{VALUE}'", database)
    made = bundle(collect=["postgresql"], databases=[postgresql])
    assert any("pg_sleep" in (row["query"] or "") for row in made.rows("postgresql/shop/statements.jsonl"))
    assert VALUE.encode() not in made.plain


def test_mariadb_who_blocks_whom(bundle, run, mariadb_server, mariadb_database):
    server = mariadb_server
    server.sql(
        f"CREATE TABLE stock (id INT PRIMARY KEY, owner TEXT) ENGINE=InnoDB; INSERT INTO stock VALUES (1, '{VALUE}')",
        mariadb_database,
    )
    argv = [
        "mariadb",
        "--no-defaults",
        "--protocol=tcp",
        f"--host={server.host}",
        f"--port={server.port}",
        f"--user={server.user}",
        mariadb_database,
    ]
    environment = {**os.environ, "MYSQL_PWD": server.password}
    source = {
        "name": "shop", "engine": "mysql", "database": mariadb_database, "host": server.host, "port": server.port, "user": server.user,
        "password": server.password,
    }  # fmt: skip
    with sessions(argv, argv, environment=environment) as (holder, waiter):
        say(holder, "BEGIN; UPDATE stock SET owner = 'x' WHERE id = 1;")
        wait_for(
            lambda: server.sql("SELECT count(*) FROM information_schema.innodb_trx WHERE trx_rows_locked > 0") == "1"
        )
        say(waiter, f"UPDATE stock SET owner = '{VALUE}' WHERE id = 1;")
        wait_for(
            lambda: (
                server.sql("SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'") == "1"
            )
        )
        made = bundle(collect=["mysql"], databases=[source])
    chain = made.text("mysql/shop/blocking.txt").splitlines()
    assert len(chain) == 2
    assert chain[0].startswith("thread ")
    assert chain[1].startswith("    blocks thread ")
    assert "UPDATE stock SET owner = ? WHERE id = ?" in chain[1]
    assert VALUE.encode() not in made.plain
    assert server.password.encode() not in made.plain
    assert server.password not in run.text
    assert any(
        row["variable_name"].lower() == "innodb_flush_log_at_trx_commit"
        for row in made.rows("mysql/shop/settings.jsonl")
    )
    assert any(row["name"] == "stock" for row in made.rows("mysql/shop/tables.jsonl"))
    assert made.manifest["collectors"]["mysql"]["status"] == "ok"


def test_redis_without_passwords_and_arguments(bundle, run, redis_server):
    server = redis_server
    server.command("CONFIG", "SET", "slowlog-log-slower-than", "0")
    server.command("SET", "greeting", VALUE)
    source = {"name": "cache", "engine": "redis", "port": server.port, "password": server.password}
    made = bundle(collect=["redis"], databases=[source])
    server.command("CONFIG", "SET", "slowlog-log-slower-than", "10000")
    assert "redis_version:" in made.text("redis/cache/info.txt")
    assert "maxmemory 67108864" in made.text("redis/cache/settings.txt")
    assert "requirepass <secret-1>" in made.text("redis/cache/settings.txt")
    assert any(row["command"] == "SET" and row["key"] == "greeting" for row in made.rows("redis/cache/slow.jsonl"))
    assert VALUE.encode() not in made.plain
    assert server.password.encode() not in made.plain
    assert server.password not in run.text


def test_sqlite_who_holds_a_lock_and_nothing_is_written_beside_it(bundle, tmp_path):
    path = tmp_path / "app.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("CREATE TABLE orders (id INTEGER)")
        database.execute("BEGIN EXCLUSIVE")
        before = sorted(each.name for each in tmp_path.iterdir())
        made = bundle(collect=["sqlite"], databases=[{"name": "app", "engine": "sqlite", "path": str(path)}])
        assert (
            sorted(each.name for each in tmp_path.iterdir() if not each.name.startswith(("bundles", "unpacked")))
            == before
        )
    told = made.text("sqlite/app/database.json")
    assert "WRITE" in told
    assert '"orders"' in told
    assert str(os.getpid()) in told


def test_a_server_that_is_down_or_refuses_keeps_no_other_from_its_part(bundle, postgresql, postgresql_server):
    gone = {"name": "gone", "engine": "postgresql", "host": "127.0.0.1", "port": 1}
    wrong = {**postgresql, "name": "wrong", "password": "Wrong-Canary-1"}
    made = bundle(
        collect=["postgresql", "redis"],
        databases=[gone, wrong, postgresql, {"name": "r", "engine": "redis", "port": 1}],
    )
    assert "postgresql/shop/sessions.jsonl" in made.parts
    found = made.manifest["collectors"]
    assert found["postgresql"]["status"] == "failed"
    assert found["redis"]["status"] == "failed"
    assert "gone: " in found["postgresql"]["reason"]
    assert "wrong: " in found["postgresql"]["reason"]
    assert {each["subject"]: each["status"] for each in bundle.result["outcomes"]} == {
        "diagnostics:bundle": "ok", "diagnostics:postgresql": "unknown", "diagnostics:redis": "unknown",
    }  # fmt: skip
    assert b"Wrong-Canary-1" not in made.plain
