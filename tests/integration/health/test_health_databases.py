# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SQLite, PostgreSQL and Redis for real, and every way in which they do not answer (H5, H6)."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import types

import psycopg
import pytest

WRONG = "wrong-geheim-0123456789"


# --- sqlite ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path):
    """A database of some 100 pages, a third of them free, that nobody has open."""
    path = tmp_path / "x y?#%.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE tasks (id INTEGER PRIMARY KEY, text TEXT)")
    connection.execute("CREATE INDEX by_text ON tasks (text)")
    connection.executemany("INSERT INTO tasks (text) VALUES (?)", [(f"{number:0>500}",) for number in range(400)])
    connection.commit()
    connection.execute("DELETE FROM tasks WHERE id > 260")
    connection.commit()
    connection.close()
    return path


@pytest.mark.parametrize("integrity", ["none", "quick", "full"])
def test_sqlite_answers(check, database, integrity):
    outcome = check("sqlite", path=str(database), integrity=integrity, warning="> 10s", critical="> 20s")
    assert outcome["status"] == "ok"
    assert outcome["metrics"]["size_bytes"] == database.stat().st_size
    assert 10 < outcome["metrics"]["free_percent"] < 60
    assert outcome["metrics"]["wal_bytes"] == 0
    assert ("check passed" in outcome["summary"]) == (integrity != "none")
    assert [path.name for path in database.parent.iterdir()] == [database.name]


def test_sqlite_past_a_bound(check, database):
    assert check("sqlite", path=str(database), metrics={"free_percent": {"warning": "> 10"}})["status"] == "warning"
    assert check("sqlite", path=str(database), metrics={"size_bytes": {"critical": "> 1 kB"}})["status"] == "critical"


def test_sqlite_that_is_locked_exclusively_is_critical(check, database):
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    outcome = check("sqlite", path=str(database), timeout="300ms")
    holder.close()
    assert (outcome["status"], outcome["summary"]) == ("critical", f"{database}: database is locked")


def test_sqlite_that_is_being_written_answers(check, database):
    writer = sqlite3.connect(database, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert check("sqlite", path=str(database), timeout="300ms")["status"] == "ok"
    writer.close()


def damage(path):
    """Swap two keys of the index, as a flipped byte would: each page is well formed, the order is not."""
    data = bytearray(path.read_bytes())
    places = [number for number in range(len(data)) if data.startswith(b"0" * 490, number)]
    data[places[len(places) // 2] + 3] = ord("7")
    path.write_bytes(data)


@pytest.mark.parametrize(("integrity", "status"), [("none", "ok"), ("full", "critical")])
def test_sqlite_with_a_wrong_byte(check, database, integrity, status):
    damage(database)
    outcome = check("sqlite", path=str(database), integrity=integrity)
    assert outcome["status"] == status
    assert ("full check found: " in outcome["summary"]) == (status == "critical")


@pytest.mark.parametrize("integrity", ["quick", "full"])
def test_sqlite_with_a_page_overwritten(check, database, integrity):
    data = bytearray(database.read_bytes())
    data[4096:8192] = os.urandom(4096)
    database.write_bytes(data)
    outcome = check("sqlite", path=str(database), integrity=integrity)
    assert outcome["status"] == "critical"
    assert str(database) in outcome["summary"]


@pytest.mark.parametrize(
    "content", [b"no database, but long enough to be looked at by its header" * 20, b"SQLite format 3\0"]
)
def test_a_file_that_is_no_database(check, tmp_path, content):
    path = tmp_path / "file.db"
    path.write_bytes(content)
    outcome = check("sqlite", path=str(path))
    assert (outcome["status"], outcome["summary"]) == ("critical", f"{path}: file is not a database")


def test_sqlite_that_is_missing_is_critical_and_not_made(check, tmp_path):
    outcome = check("sqlite", path=str(tmp_path / "none.db"))
    assert (outcome["status"], outcome["summary"]) == ("critical", f"{tmp_path}/none.db: there is no such file")
    assert not (tmp_path / "none.db").exists()


def test_sqlite_with_a_write_ahead_log_that_nobody_has_open_is_left_alone(check, database):
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA journal_mode = wal")
    connection.close()
    before = (sorted(path.name for path in database.parent.iterdir()), database.read_bytes())
    assert check("sqlite", path=str(database), integrity="full")["status"] == "ok"
    assert (sorted(path.name for path in database.parent.iterdir()), database.read_bytes()) == before
    assert before[0] == [database.name]


def test_sqlite_with_a_write_ahead_log_in_use(check, database):
    writer = sqlite3.connect(database)
    writer.execute("PRAGMA journal_mode = wal")
    writer.execute("INSERT INTO tasks (text) VALUES ('new')")
    writer.commit()
    outcome = check("sqlite", path=str(database), metrics={"wal_bytes": {"warning": "> 0 B"}})
    assert outcome["status"] == "warning"
    assert outcome["metrics"]["wal_bytes"] == database.with_name(f"{database.name}-wal").stat().st_size > 0
    assert writer.execute("SELECT count(*) FROM tasks").fetchone() == (261,)
    writer.close()


def test_the_write_ahead_log_of_a_killed_writer_is_left_to_its_owner(check, database):
    """Whoever closes a database last writes the log into it; that must not be a health check."""
    source = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA journal_mode = wal")
connection.execute("INSERT INTO tasks (text) VALUES ('new')")
connection.commit()
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", source, database], check=True)
    log = database.with_name(f"{database.name}-wal")
    before = (database.read_bytes(), log.read_bytes())
    outcome = check("sqlite", path=str(database), integrity="full")
    assert (outcome["status"], outcome["metrics"]["wal_bytes"]) == ("ok", len(before[1]))
    assert (database.read_bytes(), log.read_bytes()) == before


def test_an_integrity_check_that_has_not_the_time_is_unknown(check, tmp_path):
    path = tmp_path / "large.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (a)")
    connection.execute("CREATE INDEX i ON t (a)")
    numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 400000) SELECT x FROM n"
    connection.execute(f"INSERT INTO t {numbers}")
    connection.commit()
    connection.close()
    outcome = check("sqlite", path=str(path), integrity="full", timeout="1ms")
    assert outcome["status"] == "unknown"
    assert outcome["summary"] == f"{path}: the full check did not end within 0.001 s. Raise timeout."


# --- postgresql ------------------------------------------------------------------------------------------------------


@pytest.fixture
def tcp(postgresql_server, postgresql_database):
    """Connection options over TCP, with the right password."""
    server = postgresql_server
    return {
        "host": server.host,
        "port": server.port,
        "user": server.user,
        "password": server.password,
        "database": postgresql_database,
    }


def test_postgresql_answers(check, tcp, postgresql_server):
    # Vacuum on its own would add to the size between the two looks at it.
    made = "CREATE TABLE t WITH (autovacuum_enabled = off) AS SELECT generate_series(1, 50000) AS n; ANALYZE t"
    postgresql_server.psql(made, tcp["database"])
    postgresql_server.psql("SELECT sum(n) FROM t", tcp["database"])
    # A standby of another test may be about to leave.
    deadline = time.monotonic() + 30
    while postgresql_server.psql("SELECT count(*) FROM pg_stat_replication") != "0" and time.monotonic() < deadline:
        time.sleep(0.1)
    outcome = check("postgresql", connection=tcp, timeout="60s", warning="> 30s", critical="> 50s")
    metrics = outcome["metrics"]
    assert outcome["status"] == "ok"
    assert 0 < metrics["response_seconds"] < 30
    assert 1 <= metrics["connections_percent"] <= 50  # max_connections is 100
    assert 0 <= metrics["xid_age_percent"] < 1
    assert metrics["idle_in_transaction_seconds"] == metrics["longest_transaction_seconds"] == 0
    assert metrics["size_bytes"] == int(
        postgresql_server.psql("SELECT pg_database_size(current_database())", tcp["database"])
    )
    assert 0 < metrics["cache_hit_percent"] <= 100
    assert 0 <= metrics["dead_tuples_percent"] <= 100
    assert "replication_lag_seconds" not in metrics
    assert outcome["details"]["version"] == postgresql_server.psql("SHOW server_version")


def test_postgresql_over_the_socket_as_its_own_user(check, postgresql_server):
    connection = {"host": str(postgresql_server.socket_dir), "port": postgresql_server.port}
    if os.geteuid() == 0:
        outcome = check("postgresql", connection={**connection, "run_as": "postgres"}, timeout="60s")
    else:
        outcome = check("postgresql", connection={**connection, "user": "postgres"}, timeout="60s")
    assert outcome["status"] == "ok"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"password": WRONG}, "password authentication failed for user"),
        ({"password": None}, "no password supplied"),
        ({"port": 1}, "Connection refused"),
        ({"database": "nosuch; DROP TABLE t"}, 'database "nosuch; DROP TABLE t" does not exist'),
        ({"user": "nobody at all"}, 'failed for user "nobody at all"'),
        ({"host": "/nowhere"}, "No such file or directory"),
    ],
    ids=["wrong password", "no password", "unreachable", "no database", "no user", "no socket"],
)
def test_postgresql_that_does_not_let_us_in_is_critical(run, tcp, change, message):
    result = run({"name": "x", "type": "postgresql", "connection": {**tcp, **change}, "timeout": "60s"})
    (outcome,) = result["outcomes"]
    assert outcome["status"] == "critical"
    assert outcome["summary"].startswith(
        f"database {change.get('database', tcp['database'])}: psql ended with status 2: "
    )
    assert message in outcome["summary"]
    assert tcp["password"] not in json.dumps(result)
    assert WRONG not in json.dumps(result)


def test_postgresql_that_hangs_is_critical_at_the_timeout(check, tcp, hanging):
    outcome = check("postgresql", connection={**tcp, "port": hanging}, timeout="1s")
    assert outcome["status"] == "critical"
    assert outcome["summary"].startswith(f"database {tcp['database']}: psql did not end within 1 s")


def test_postgresql_with_a_transaction_left_open(check, tcp, postgresql_server):
    bounds = {"idle_in_transaction_seconds": {"warning": "> 300 ms"}}
    with psycopg.connect(postgresql_server.url(tcp["database"])) as connection:
        connection.execute("SELECT 1")  # psycopg begins a transaction
        threading.Event().wait(0.5)
        outcome = check("postgresql", connection=tcp, timeout="60s", metrics=bounds)
    assert outcome["status"] == "warning"
    assert outcome["summary"].startswith("idle_in_transaction_seconds is ")
    assert outcome["metrics"]["longest_transaction_seconds"] >= 0.4
    assert check("postgresql", connection=tcp, timeout="60s", metrics=bounds)["status"] == "ok"


def test_postgresql_with_a_transaction_that_runs_for_long(check, tcp, postgresql_server):
    def work():
        with contextlib.suppress(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(600)")

    running = (
        "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND now() - xact_start > '0.3 s'"
    )
    with psycopg.connect(postgresql_server.url(tcp["database"]), autocommit=True) as connection:
        worker = threading.Thread(target=work)
        worker.start()
        eventually(lambda: postgresql_server.psql(running) == "1")
        outcome = check(
            "postgresql",
            connection=tcp,
            timeout="60s",
            metrics={"longest_transaction_seconds": {"critical": "> 200 ms"}},
        )
        connection.cancel()
        worker.join()
    assert outcome["status"] == "critical"
    assert outcome["metrics"]["idle_in_transaction_seconds"] == 0


@pytest.fixture
def no_psql(postgresql_server):
    """Wait until the sessions of psql are over, of the checks as well: a client leaves without waiting for the end of its session, which counts."""
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name IN ('psql', 'sre.runbooks')"
    with psycopg.connect(postgresql_server.url(), autocommit=True) as observer:
        yield lambda: eventually(lambda: observer.execute(sessions).fetchone() == (0,))


def test_what_a_plain_role_may_not_see_is_unknown_not_0(check, tcp, postgresql_server, no_psql):
    role, password = f"plain_{secrets.token_hex(4)}", secrets.token_urlsafe(12)
    postgresql_server.psql(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    mine = {**tcp, "user": role, "password": password}
    try:
        with psycopg.connect(postgresql_server.url(tcp["database"])) as connection:
            connection.execute("SELECT 1")
            no_psql()
            outcome = check(
                "postgresql",
                connection=mine,
                timeout="60s",
                metrics={"longest_transaction_seconds": {"critical": "> 1h"}},
            )
            no_psql()
            all_of_them = check("postgresql", connection=tcp, timeout="60s")["metrics"]["connections_percent"]
        assert outcome["status"] == "unknown"
        assert outcome["summary"].startswith("longest_transaction_seconds is not known here; ")
        assert outcome["metrics"]["connections_percent"] == all_of_them
    finally:
        postgresql_server.psql(f"DROP ROLE {role}")


def test_connections_of_others_count(check, tcp, postgresql_server, no_psql):
    no_psql()
    before = check("postgresql", connection=tcp, timeout="60s")["metrics"]["connections_percent"]
    with (
        psycopg.connect(postgresql_server.url(tcp["database"])),
        psycopg.connect(postgresql_server.url(tcp["database"])),
    ):
        no_psql()
        outcome = check(
            "postgresql", connection=tcp, timeout="60s", metrics={"connections_percent": {"warning": "> 2.5"}}
        )
    assert outcome["metrics"]["connections_percent"] == before + 2
    assert outcome["status"] == "warning"


def test_without_psql_postgresql_is_unknown_by_package(check, tcp, monkeypatch, tmp_path):
    from ansible_collections.sre.runbooks.plugins.module_utils._core import postgresql

    monkeypatch.setattr(postgresql, "CLIENT_FOLDERS", ())
    (tmp_path / "timeout").symlink_to(shutil.which("timeout"))
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = check("postgresql", connection=tcp)
    assert outcome["status"] == "unknown"
    assert outcome["summary"].startswith("psql is not installed on this host. Install the package postgresql-client ")


def eventually(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_postgresql_dead_tuples_wait_for_vacuum(check, tcp, postgresql_server):
    def run_sql(text):
        return postgresql_server.psql(text, tcp["database"])

    run_sql("CREATE TABLE t WITH (autovacuum_enabled = off) AS SELECT generate_series(1, 1000) AS n")
    run_sql("DELETE FROM t WHERE n <= 400")
    bound = {"dead_tuples_percent": {"warning": "> 30"}}
    eventually(lambda: check("postgresql", connection=tcp, timeout="60s")["metrics"].get("dead_tuples_percent") == 40)
    assert check("postgresql", connection=tcp, timeout="60s", metrics=bound)["status"] == "warning"
    run_sql("VACUUM t")
    eventually(lambda: check("postgresql", connection=tcp, timeout="60s", metrics=bound)["status"] == "ok")


def test_postgresql_transaction_ids_that_are_used_up(check, tcp, postgresql_server):
    """What the server itself says of the oldest database, of 2^31."""
    oldest = int(postgresql_server.psql("SELECT max(age(datfrozenxid)) FROM pg_database"))
    outcome = check("postgresql", connection=tcp, timeout="60s", metrics={"xid_age_percent": {"warning": "> -1"}})
    assert outcome["status"] == "warning"
    assert outcome["metrics"]["xid_age_percent"] == pytest.approx(100 * oldest / 2**31, abs=0.01)


def test_postgresql_cache_hits_are_those_of_its_statistics(check, tcp, postgresql_server):
    postgresql_server.psql("CREATE TABLE t AS SELECT generate_series(1, 50000) AS n", tcp["database"])
    postgresql_server.psql("SELECT pg_stat_reset()", tcp["database"])
    for _number in range(3):
        postgresql_server.psql("SELECT sum(n) FROM t", tcp["database"])
    # Nothing until the first of those sessions has handed in its counts.
    figures = "SELECT 100.0 * blks_hit / nullif(blks_hit + blks_read, 0) FROM pg_stat_database WHERE datname = current_database()"
    eventually(lambda: postgresql_server.psql(figures, tcp["database"]))
    outcome = check("postgresql", connection=tcp, timeout="60s", metrics={"cache_hit_percent": {"warning": "< 101"}})
    assert outcome["status"] == "warning"
    assert outcome["metrics"]["cache_hit_percent"] == pytest.approx(
        float(postgresql_server.psql(figures, tcp["database"])), abs=5
    )


# --- postgresql: a streaming standby ---------------------------------------------------------------------------------

LAG = {"replication_lag_seconds": {"warning": "> 1s"}}


@pytest.fixture
def pair(check, postgresql_server, postgresql_standby):
    """Check the primary or the standby; after the test the standby has caught up again."""

    def go(server):
        connection = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
        return check("postgresql", connection=connection, timeout="60s", metrics=LAG)

    way = postgresql_standby.psql("SELECT quote_literal(setting) FROM pg_settings WHERE name = 'primary_conninfo'")
    yield go
    postgresql_standby.psql(f"ALTER SYSTEM SET primary_conninfo = {way}")
    postgresql_standby.psql("SELECT pg_reload_conf(), pg_wal_replay_resume()")
    eventually(lambda: go(postgresql_standby)["metrics"].get("replication_lag_seconds") == 0)


def lag(outcome):
    return outcome["metrics"].get("replication_lag_seconds", -1)


def test_a_standby_that_keeps_up(pair, postgresql_server, postgresql_standby):
    eventually(lambda: 0 <= lag(pair(postgresql_standby)) < 1)
    outcome = pair(postgresql_standby)
    assert (outcome["status"], outcome["details"]["role"]) == ("ok", "standby")
    # and stays known when the primary has long had nothing to send
    eventually(lambda: 0 <= lag(pair(postgresql_server)) < 1)
    unknown = "SELECT replay_lag IS NULL FROM pg_stat_replication"
    seen = []

    def nothing_sent():
        """The server writes something on its own now and then, and may have done so just before the check."""
        before = postgresql_server.psql(unknown)
        seen.append(pair(postgresql_server))
        return (before, postgresql_server.psql(unknown)) == ("t", "t")

    eventually(nothing_sent)
    assert (seen[-1]["status"], seen[-1]["details"]["role"], lag(seen[-1])) == ("ok", "primary", 0)


def test_a_standby_that_lags_behind_is_seen_from_both_sides(
    pair, postgresql_server, postgresql_standby, postgresql_database
):
    postgresql_standby.psql("SELECT pg_wal_replay_pause()")
    postgresql_server.psql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n", postgresql_database)
    eventually(lambda: pair(postgresql_standby)["status"] == "warning")
    assert 1 < lag(pair(postgresql_standby)) < 120
    eventually(lambda: pair(postgresql_server)["status"] == "warning")


def test_what_is_on_its_way_at_the_moment_of_the_check_is_no_lag(
    pair, postgresql_server, postgresql_standby, postgresql_database, monkeypatch
):
    """Nothing was written for a while, then the check comes between the arrival of something and its replay."""
    from ansible_collections.sre.runbooks.plugins.module_utils._health import postgresql

    eventually(lambda: lag(pair(postgresql_standby)) == 0)
    eventually(lambda: postgresql_server.psql("SELECT replay_lag IS NULL FROM pg_stat_replication") == "t")
    looks = []

    def replayed(_seconds):
        """Between the first look and the second."""
        looks.append(postgresql_standby.psql("SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()"))
        postgresql_standby.psql("SELECT pg_wal_replay_resume()")
        caught_up = "SELECT pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()"
        eventually(lambda: postgresql_standby.psql(caught_up) == "t")

    postgresql_standby.psql("SELECT pg_wal_replay_pause()")
    postgresql_server.psql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n", postgresql_database)
    eventually(lambda: lag(pair(postgresql_standby)) > 1)
    monkeypatch.setattr(postgresql, "time", types.SimpleNamespace(monotonic=time.monotonic, sleep=replayed))
    outcome = pair(postgresql_standby)
    assert (looks, lag(outcome), outcome["status"]) == (["t"], 0, "ok")


def test_a_standby_that_is_cut_off_only_looks_as_if_it_kept_up(
    pair, postgresql_server, postgresql_standby, postgresql_database
):
    postgresql_server.psql("CREATE TABLE t (n INT)", postgresql_database)
    eventually(lambda: lag(pair(postgresql_standby)) == 0)
    postgresql_standby.psql("ALTER SYSTEM SET primary_conninfo = ''")
    postgresql_standby.psql("SELECT pg_reload_conf()")
    eventually(lambda: pair(postgresql_standby)["status"] == "warning")
    assert lag(pair(postgresql_standby)) > 1


# --- redis -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(redis_server):
    """Connection options with the right password; the data are gone after the test."""
    yield {"host": redis_server.host, "port": redis_server.port, "password": redis_server.password}
    redis_server.command("FLUSHALL")


def test_redis_answers(check, cache, redis_server):
    redis_server.command("SET", "key", "value")
    redis_server.command("GET", "key")
    redis_server.command("GET", "no such key")
    outcome = check("redis", connection=cache, timeout="60s", warning="> 30s", critical="> 50s")
    metrics = outcome["metrics"]
    assert outcome["status"] == "ok"
    assert 0 < metrics["memory_percent"] < 50
    assert 0 < metrics["hit_percent"] < 100
    assert 0 < metrics["clients_percent"] < 5
    assert metrics["last_save_age_seconds"] >= 0
    assert outcome["details"]["role"] == "master"
    assert outcome["details"]["version"] in outcome["summary"]


def test_redis_figures_are_those_of_the_server(check, cache, redis_server):
    """H6: each figure against what the server itself says, with keys that hit and miss, clients and a snapshot."""
    redis_server.command("CONFIG", "RESETSTAT")
    redis_server.command("SET", "key", "value")
    for key in ("key", "key", "key", "none"):
        redis_server.command("GET", key)
    clients = [socket.create_connection((redis_server.host, redis_server.port)) for _number in range(20)]
    limit = int(redis_server.command("CONFIG", "GET", "maxclients").split()[1])
    redis_server.command("CONFIG", "SET", "maxclients", "100")
    redis_server.command("SAVE")
    saved = int(redis_server.command("LASTSAVE"))
    bounds = {"hit_percent": {"warning": "< 80"}, "clients_percent": {"critical": "> 20"}}
    try:
        outcome = check("redis", connection=cache, timeout="60s", metrics=bounds)
    finally:
        redis_server.command("CONFIG", "SET", "maxclients", str(limit))
        for client in clients:
            client.close()
    assert outcome["status"] == "critical"
    assert outcome["metrics"]["hit_percent"] == 75
    assert 21 <= outcome["metrics"]["clients_percent"] <= 25
    assert outcome["metrics"]["last_save_age_seconds"] == pytest.approx(time.time() - saved, abs=10)


def test_a_snapshot_that_is_too_old(check, cache, redis_server):
    redis_server.command("SAVE")
    time.sleep(1.1)
    bound = {"last_save_age_seconds": {"warning": "> 1s"}}
    assert check("redis", connection=cache, timeout="60s", metrics=bound)["status"] == "warning"


def test_redis_over_its_socket(check, redis_server):
    connection = {"socket": str(redis_server.socket), "password": redis_server.password}
    assert check("redis", connection=connection, timeout="60s")["status"] == "ok"


def test_redis_near_its_maximum_of_memory(check, cache, redis_server):
    redis_server.command("SETRANGE", "large", str(40 * 2**20), "x")  # of 64 MiB
    outcome = check(
        "redis", connection=cache, timeout="60s", metrics={"memory_percent": {"warning": "> 60", "critical": "> 95"}}
    )
    assert outcome["status"] == "warning"
    assert 60 < outcome["metrics"]["memory_percent"] < 95


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"password": WRONG}, "WRONGPASS invalid username-password pair"),
        ({"password": None}, "NOAUTH Authentication required."),
        ({"user": "nobody"}, "WRONGPASS invalid username-password pair"),
        ({"port": 1}, "Could not connect to Redis at 127.0.0.1:1: Connection refused"),
        ({"socket": "/nowhere"}, "Could not connect to Redis at /nowhere: No such file or directory"),
    ],
    ids=["wrong password", "no password", "no user", "unreachable", "no socket"],
)
def test_redis_that_does_not_let_us_in_is_critical(run, cache, change, message):
    result = run({"name": "x", "type": "redis", "connection": {**cache, **change}, "timeout": "60s"})
    (outcome,) = result["outcomes"]
    assert outcome["status"] == "critical"
    assert outcome["summary"].startswith("Redis at ")
    assert message in outcome["summary"]
    assert cache["password"] not in json.dumps(result)
    assert WRONG not in json.dumps(result)


def test_redis_that_hangs_is_critical_at_the_timeout(check, cache, hanging):
    outcome = check("redis", connection={**cache, "port": hanging}, timeout="500ms")
    assert outcome["status"] == "critical"
    assert outcome["summary"] == "Redis at 127.0.0.1: redis-cli did not end within 0.5 s"


def test_something_else_behind_the_port_of_redis_is_critical(check, cache, app):
    port = int(app.url.rpartition(":")[2])
    outcome = check("redis", connection={**cache, "port": port}, timeout="5s")
    assert outcome["status"] == "critical"
    assert "Redis at 127.0.0.1: " in outcome["summary"]


# --- Passwords while the programs run --------------------------------------------------------------------------------

LOOK = """
import pathlib, sys
print("looks", flush=True)
while True:
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes()
        except OSError:
            continue
        for name in (b"psql", b"mariadb"):
            if name in text:
                print(name.decode(), "seen", flush=True)
        if b"geheim-in-no-command-line" in text.replace(bytes([0]), b" ") and b"pathlib" not in text:
            print("PASSWORD SEEN", flush=True)
"""


def test_passwords_are_in_no_command_line(run, hanging):
    looker = subprocess.Popen([sys.executable, "-c", LOOK], stdout=subprocess.PIPE, text=True)
    password = "geheim-in-no-command-line"
    try:
        assert looker.stdout.readline() == "looks\n"
        connection = {"host": "127.0.0.1", "port": hanging, "password": password}
        result = run(
            {"name": "x", "type": "postgresql", "connection": connection, "timeout": "2s"},
            {"name": "x", "type": "redis", "connection": connection, "timeout": "2s"},
            {"name": "x", "type": "mysql", "connection": connection, "timeout": "2s"},
        )
    finally:
        looker.kill()
        output, _errors = looker.communicate()
    assert "psql seen" in output
    assert "mariadb seen" in output
    assert "PASSWORD SEEN" not in output
    assert password not in json.dumps(result)
