# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.backup of a real PostgreSQL server (D1, D2, D4)."""

from __future__ import annotations

import json
import os
import pwd
import signal
import stat
import subprocess
import threading

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _work

from .conftest import copies, wait_for


@pytest.fixture
def filled(postgresql_server, postgresql_database):
    """A database with what a real one has: schemas, an identity, indexes, a foreign key, a view, a function, odd names."""
    postgresql_server.psql(
        """
        CREATE TABLE teams (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text UNIQUE);
        CREATE TABLE tasks (id bigserial PRIMARY KEY, team int REFERENCES teams, text text);
        INSERT INTO teams (name) SELECT 'team ' || n FROM generate_series(1, 10) n;
        INSERT INTO tasks (team, text) SELECT 1 + n % 10, repeat('x', 100) FROM generate_series(1, 5000) n;
        CREATE SCHEMA "odd ""schema"; CREATE TABLE "odd ""schema"."a table's" (x int); INSERT INTO "odd ""schema"."a table's" VALUES (1);
        CREATE VIEW busy AS SELECT team, count(*) FROM tasks GROUP BY team;
        CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';
        CREATE EXTENSION pg_trgm; CREATE MATERIALIZED VIEW seen AS SELECT * FROM busy;
        CREATE TABLE parted (day date) PARTITION BY RANGE (day);
        CREATE TABLE parted_2026 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
        INSERT INTO parted VALUES ('2026-11-20')
        """,
        postgresql_database,
    )
    return postgresql_database


@pytest.fixture
def source(postgresql_server, filled):
    """The source by TCP with a password."""
    return {
        "name": "main", "engine": "postgresql", "database": filled, "host": postgresql_server.host,
        "port": postgresql_server.port, "user": postgresql_server.user, "password": postgresql_server.password,
    }  # fmt: skip


def scratch_databases(server):
    return server.psql(r"SELECT count(*) FROM pg_database WHERE datname LIKE 'sre\_runbooks\_verify\_%'")


def test_a_copy_is_restored_compared_and_described(one, source, store, postgresql_server):
    outcome = one(source)
    assert outcome["status"] == "ok"
    assert outcome["subject"] == "postgresql:main"
    assert outcome["summary"].endswith("restored and compared: 4 tables, 5 012 rows")
    assert {"duration_seconds", "verify_seconds", "size_bytes", "copies", "age_seconds"} <= outcome["metrics"].keys()
    ((path, manifest),) = copies(store, "main")
    assert path.name.endswith("Z.dump.zst")
    assert manifest["figures"]["tables"] == {
        "public.teams": 10, "public.tasks": 5000, 'odd "schema.a table\'s': 1, "public.parted_2026": 1,
    }  # fmt: skip
    assert manifest["figures"]["objects"]["materialized_views"] == 1
    assert manifest["figures"]["objects"]["functions"] == 1, "those of the extension are not the dump's"
    assert manifest["sha256"] == subprocess.check_output(["sha256sum", path], text=True).split()[0]
    assert manifest["size_bytes"] == path.stat().st_size == outcome["metrics"]["size_bytes"]
    assert manifest["versions"]["server"].split(".")[0] == manifest["versions"]["client"].split(".")[0]
    assert [(each["level"], each["ok"]) for each in manifest["verifications"]] == [
        ("checksum", True),
        ("restored", True),
    ]
    assert manifest["verifications"][-1]["figures"]["rows"] == 5012
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name, path.name + ".manifest.json"]
    assert scratch_databases(postgresql_server) == "0"
    listed = subprocess.run(
        f"zstd -dc {path} | pg_restore --list", shell=True, check=True, capture_output=True, text=True
    ).stdout
    assert "TABLE DATA public tasks" in listed


def test_the_copy_is_that_of_one_moment_while_rows_are_written(one, source, filled, postgresql_server):
    """The rows are counted in the dump's own snapshot: any other count would differ."""
    stop = threading.Event()

    def write():
        while not stop.is_set():
            postgresql_server.psql(
                "INSERT INTO tasks (team, text) SELECT 1, 'new' FROM generate_series(1, 500)", filled
            )

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_for(lambda: postgresql_server.psql("SELECT count(*) FROM tasks", filled) != "5000")
        outcomes = [one(source) for _number in range(3)]
    finally:
        stop.set()
        writer.join()
    assert [outcome["status"] for outcome in outcomes] == ["ok"] * 3
    assert outcomes[2]["details"]["proof"]["rows"] > outcomes[0]["details"]["proof"]["rows"] > 5012


def test_within_the_interval_nothing_is_done(run, source, store):
    assert run(source, interval="1h")["changed"] is True
    before = copies(store, "main")
    again = run(source, interval="1h")
    assert again["changed"] is False
    assert again["outcomes"][0]["summary"].startswith("nothing to do: ")
    assert copies(store, "main") == before


@pytest.mark.parametrize("level", ["checksum", "archive"])
def test_lower_levels_are_on_record_as_what_they_are(one, source, store, level, info):
    assert one(source, verify=level)["status"] == "ok"
    ((_path, manifest),) = copies(store, "main")
    assert manifest["verifications"][-1]["level"] == level
    assert [copy["level"] for copy in info()["copies"]] == [level]
    assert one(source, verify="restored", interval="1h")["details"]["level"] == "restored", (
        "a lower level is not enough"
    )


def test_peer_authentication_as_another_user(one, source, postgresql_server):
    """Only root may become another user without sudo; the socket trusts every name here."""
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    local = {key: source[key] for key in ("name", "engine", "database", "port", "user")}
    outcome = one({**local, "host": str(postgresql_server.socket_dir), "run_as": user})
    assert outcome["status"] == "ok", outcome
    assert scratch_databases(postgresql_server) == "0"


def test_excluded_tables_are_in_neither_the_copy_nor_the_comparison(one, source, store):
    assert one({**source, "exclude": ["public.par*"]})["status"] == "ok"
    ((path, manifest),) = copies(store, "main")
    assert "public.parted_2026" not in manifest["figures"]["tables"]
    listed = subprocess.run(
        f"zstd -dc {path} | pg_restore --list", shell=True, check=True, capture_output=True, text=True
    ).stdout
    assert "parted" not in listed
    assert "tasks" in listed


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"password": "wrong-secret"}, "password authentication failed"),
        ({"port": 1}, "Connection refused"),
        ({"database": "no_such_database"}, 'database "no_such_database" does not exist'),
        ({"host": "/nonexistent"}, "No such file or directory"),
    ],
)
def test_a_source_that_fails_is_critical_and_stops_no_other(run, source, tmp_path, store, changes, reason):
    (tmp_path / "settings").write_text("x")
    broken = {**source, "name": "broken", **changes}
    result = run(broken, {"name": "settings", "engine": "files", "paths": [str(tmp_path / "settings")]}, source)
    assert [each["status"] for each in result["outcomes"]] == ["critical", "ok", "ok"]
    summary = result["outcomes"][0]["summary"]
    assert reason in summary
    assert "broken" in summary
    assert "check database, host, port, user, password" in summary
    text = json.dumps(result)
    assert "wrong-secret" not in text
    assert source["password"] not in text
    assert not (store / "broken").exists()


def test_a_missing_client_program_names_its_package(one, source, without):
    without("zstd")
    outcome = one(source)
    assert outcome["status"] == "critical"
    assert "zstd is not installed on this host. Install the package zstd" in outcome["summary"]


def test_a_user_without_the_right_to_create_databases_gets_a_copy_that_is_not_called_proven(
    one, source, filled, store, postgresql_server
):
    postgresql_server.psql(
        "DROP ROLE IF EXISTS plain; CREATE ROLE plain LOGIN PASSWORD 'plain'; GRANT pg_read_all_data TO plain"
    )
    try:
        outcome = one({**source, "user": "plain", "password": "plain"})
    finally:
        postgresql_server.psql("DROP OWNED BY plain; DROP ROLE plain")
    assert outcome["status"] == "critical"
    assert "NOT proven as restored" in outcome["summary"]
    assert "permission denied to create database" in outcome["summary"]
    ((_path, manifest),) = copies(store, "main")
    assert [(each["level"], each["ok"]) for each in manifest["verifications"]] == [("checksum", True)]


def waiting(server):
    """Whether pg_dump waits for a lock."""
    return (
        server.psql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LOCK TABLE%' AND wait_event_type = 'Lock'")
        != "0"
    )


@pytest.fixture
def locked(postgresql_server, filled):
    """A session that holds a table, so that every dump waits until it is killed."""
    holder = subprocess.Popen(
        [str(postgresql_server.bindir / "psql"), "-XAtq", "-h", str(postgresql_server.socket_dir), "-p", str(postgresql_server.port),
         "-U", "postgres", "-d", filled],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    holder.stdin.write("BEGIN; LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE; SELECT 'locked';\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "locked\n"
    yield holder
    holder.kill()
    holder.communicate()


def test_a_second_run_is_told_that_one_is_running(one, started, source, locked, postgresql_server):
    first = started(source)
    wait_for(lambda: waiting(postgresql_server))
    outcome = one(source)
    assert outcome["status"] == "warning"
    assert f"another run holds this lock (process {first.pid})" in outcome["summary"]
    locked.kill()
    locked.communicate()
    result = json.loads(first.communicate(timeout=60)[0])
    assert result["status"] == "ok", result


def test_killed_in_the_dump_the_older_copy_stays_and_the_next_run_converges(
    one, started, source, store, locked, postgresql_server
):
    locked.stdin.write("COMMIT; SELECT 'free';\n")
    locked.stdin.flush()
    assert locked.stdout.readline() == "free\n"
    assert one(source)["status"] == "ok"
    ((good, manifest),) = copies(store, "main")
    content = good.read_bytes()
    locked.stdin.write("BEGIN; LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE; SELECT 'locked';\n")
    locked.stdin.flush()
    assert locked.stdout.readline() == "locked\n"
    process = started(source)
    wait_for(lambda: waiting(postgresql_server) and list((store / "main").glob(".*.partial")))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    locked.kill()
    locked.communicate()
    assert copies(store, "main") == [(good, manifest)]
    assert good.read_bytes() == content
    outcome = one(source, retention={"keep_last": 5})
    assert outcome["status"] == "ok"
    assert "left by a run that was killed" in outcome["summary"]
    assert len(copies(store, "main")) == 2
    assert not list((store / "main").glob(".*"))
    assert good.read_bytes() == content
    wait_for(
        lambda: (
            postgresql_server.psql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sre.runbooks'")
            == "0"
        )
    )


def test_scratch_databases_of_killed_runs_are_dropped_and_no_others(one, source, store, postgresql_server):
    ours = f"sre_runbooks_verify_{_work.token(str(store / 'main'))}_0badcafe"
    other = "sre_runbooks_verify_000000000000_0badcafe"
    for name in (ours, other):
        postgresql_server.psql(f"CREATE DATABASE {name}")
    try:
        outcome = one(source)
        names = postgresql_server.psql(r"SELECT datname FROM pg_database WHERE datname LIKE 'sre\_runbooks\_verify\_%'")
    finally:
        postgresql_server.psql(f"DROP DATABASE {other}")
    assert outcome["status"] == "ok"
    assert outcome["details"]["swept"] == [f"database {ours}"]
    assert names == other


def test_the_time_limit_ends_a_dump_that_waits(one, source, store, locked):
    outcome = one(source, limits={"seconds": "2s"})
    assert outcome["status"] == "critical"
    assert "did not end within" in outcome["summary"]
    assert not list((store / "main").iterdir())


def test_a_dump_says_which_roles_and_extensions_it_needs(one, source, store, filled, postgresql_server):
    postgresql_server.psql("DROP ROLE IF EXISTS needs_reader, needs_policy, needs_nothing")
    postgresql_server.psql(
        """CREATE ROLE needs_reader; CREATE ROLE needs_policy; CREATE ROLE needs_nothing; GRANT SELECT ON tasks TO needs_reader;
        ALTER TABLE teams ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON teams TO needs_policy""",
        filled,
    )
    try:
        outcomes = [one(source, verify=level) for level in ("checksum", "restored")]
    finally:
        postgresql_server.psql("DROP OWNED BY needs_reader, needs_policy", filled)
        postgresql_server.psql("DROP ROLE needs_reader, needs_policy, needs_nothing")
    assert [outcome["status"] for outcome in outcomes] == ["ok", "ok"], outcomes
    for _path, manifest in copies(store, "main"):
        assert manifest["figures"]["roles"] == ["needs_policy", "needs_reader", "postgres"]
        assert manifest["figures"]["extensions"].keys() == {"plpgsql", "pg_trgm"}
        assert manifest["figures"]["database_bytes"] > 1_000_000


def test_an_extension_that_its_user_may_not_create_is_told_before_the_restore(
    one, source, filled, store, postgresql_server
):
    postgresql_server.psql("CREATE EXTENSION pageinspect", filled)
    postgresql_server.psql(
        "DROP ROLE IF EXISTS maker; CREATE ROLE maker LOGIN CREATEDB PASSWORD 'maker-secret'; GRANT pg_read_all_data TO maker"
    )
    try:
        outcome = one({**source, "user": "maker", "password": "maker-secret"})
    finally:
        postgresql_server.psql("DROP OWNED BY maker; DROP ROLE maker")
    assert outcome["status"] == "critical"
    assert "NOT proven as restored: the user maker may not CREATE EXTENSION pageinspect" in outcome["summary"]
    assert scratch_databases(postgresql_server) == "0"
