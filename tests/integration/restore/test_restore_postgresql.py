# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.restore of a real PostgreSQL server (D5, D11, D4)."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from ..conftest import postgresql_files, postgresql_running
from .conftest import aged, answered, flip, manifest_of, settled

FILL = """
CREATE TABLE teams (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text UNIQUE);
CREATE TABLE tasks (id bigserial PRIMARY KEY, team int REFERENCES teams, text text);
INSERT INTO teams (name) SELECT 'team ' || n FROM generate_series(1, 10) n;
INSERT INTO tasks (team, text) SELECT 1 + n % 10, repeat('x', 100) FROM generate_series(1, 500) n;
CREATE VIEW busy AS SELECT team, count(*) FROM tasks GROUP BY team;
CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE SCHEMA "odd ""schema"; CREATE TABLE "odd ""schema"."a table's" (x int);
"""


@pytest.fixture
def owner(postgresql_server):
    """A role of this test, which can log in with a password."""
    name = f"owner_{secrets.token_hex(4)}"
    postgresql_server.psql(f"CREATE ROLE {name} LOGIN PASSWORD 'plain'")
    yield name
    postgresql_server.psql(f"DROP ROLE IF EXISTS {name}")


@pytest.fixture
def named(postgresql_server, owner):
    """Make a filled database with this name; every one that begins so is dropped in the end."""
    names = []

    def go(name, sql=FILL, owner="postgres"):
        names.append(name)
        quoted = name.replace('"', '""')
        postgresql_server.psql(f'CREATE DATABASE "{quoted}" OWNER "{owner}"')
        postgresql_server.psql(sql, name)
        return name

    yield go
    for each in databases(postgresql_server):
        if any(each.startswith(name[:30]) for name in names) or each.startswith("sre_runbooks_restore_"):
            quoted = each.replace('"', '""')
            postgresql_server.psql(f'DROP DATABASE "{quoted}" WITH (FORCE)')


@pytest.fixture
def main(named, owner, postgresql_server):
    """A database that belongs to `owner`, with settings, grants, a comment and an extension."""
    name = named(f"main_{secrets.token_hex(4)}", owner=owner)
    postgresql_server.psql(
        f"""
        CREATE EXTENSION pg_trgm; ALTER TABLE teams OWNER TO {owner}; GRANT SELECT ON tasks TO {owner};
        ALTER DATABASE {name} SET search_path TO "odd ""schema", public; ALTER DATABASE {name} SET statement_timeout TO '17s';
        ALTER DATABASE {name} SET app.tenant TO 'it''s'; ALTER ROLE {owner} IN DATABASE {name} SET work_mem TO '5MB';
        ALTER DATABASE {name} CONNECTION LIMIT 33; COMMENT ON DATABASE {name} IS 'the ''main'' one';
        REVOKE ALL ON DATABASE {name} FROM PUBLIC; GRANT TEMPORARY ON DATABASE {name} TO pg_monitor WITH GRANT OPTION
        """,
        name,
    )
    return name


@pytest.fixture
def source(postgresql_server, main):
    return source_of(postgresql_server, main)


def source_of(server, database):
    place = {"host": str(server.socket_dir), "port": server.port, "user": server.user}
    return {"name": "main", "engine": "postgresql", "database": database, **place}


def databases(server):
    return json.loads(server.psql("SELECT json_agg(datname) FROM pg_database"))


def scratch(server):
    return [name for name in databases(server) if name.startswith("sre_runbooks_")]


def tasks(server, name):
    return int(server.psql("SELECT count(*) FROM public.tasks", name))


def properties(server, name):
    return server.psql(
        f"""
        SELECT to_jsonb(d) - 'oid' - 'datname' - 'datfrozenxid' - 'datminmxid' - 'datacl',
          (SELECT array_agg(a::text ORDER BY a::text) FROM aclexplode(datacl) a), shobj_description(oid, 'pg_database'),
          (SELECT json_agg(json_build_array(setrole::regrole, setconfig) ORDER BY setrole) FROM pg_db_role_setting WHERE setdatabase = d.oid)
        FROM pg_database d WHERE datname = '{name}'
        """
    )


def test_the_whole_cycle(backup, one, source, main, owner, postgresql_server, store):
    """D5: everything of the database comes back, its own settings, grants and owner too; the old one stays beside."""
    server = postgresql_server
    backup(source)
    before = properties(server, main)
    assert owner in before
    assert "17s" in before
    server.psql("DELETE FROM tasks WHERE id > 100; DROP VIEW busy", main)
    outcome = one("main", connection={"user": server.user})
    assert outcome["status"] == "ok", outcome
    assert tasks(server, main) == 500
    assert properties(server, main) == before
    assert server.psql("SELECT tableowner FROM pg_tables WHERE tablename = 'teams'", main) == owner
    assert server.psql(f"SELECT has_table_privilege('{owner}', 'public.tasks', 'SELECT')", main) == "t"
    assert server.psql("SHOW search_path", main) == '"odd ""schema", public'
    assert server.psql("SELECT reltuples::int FROM pg_class WHERE relname = 'tasks'", main) == "500", "it was analysed"
    (kept,) = outcome["details"]["kept"]
    assert kept.startswith(f"{main}_before_restore_2")
    assert tasks(server, kept) == 100
    assert outcome["details"]["safety_backup"].startswith(str(store / ".before-restore" / "main"))
    assert outcome["details"]["figures"]["rows"] == 510
    assert scratch(server) == []
    again = one("main", keep_old=1, safety_backup=False)
    assert again["details"]["pruned"] == [kept]
    assert kept not in databases(server)


def test_a_restore_is_undone_by_the_safety_backup(backup, one, source, main, postgresql_server, store):
    backup(source)
    postgresql_server.psql("DELETE FROM tasks WHERE id > 100", main)
    assert one("main")["status"] == "ok"
    assert one("main", directory=str(store / ".before-restore"), safety_backup=False)["status"] == "ok"
    assert tasks(postgresql_server, main) == 100


def test_the_copy_of_a_moment_into_another_database(backup, one, source, main, owner, postgresql_server):
    """D11: beside the original, which goes on; a new database gets owner and locale from the dump."""
    server = postgresql_server
    aged(backup(source), "20260101T000000Z")
    server.psql("INSERT INTO tasks (team, text) VALUES (1, 'new')", main)
    aged(backup(source), "20260201T000000Z")
    look = f"{main}_look"
    outcome = one("main", **{"from": "2026-01-31", "to": look})
    assert outcome["status"] == "warning", outcome
    assert "settings and grants of the database itself are not in a dump" in outcome["summary"]
    assert tasks(server, look) == 500
    assert tasks(server, main) == 501
    assert outcome["details"]["kept"] == []
    row = "SELECT datdba::regrole, encoding, datcollate, datctype FROM pg_database WHERE datname = "
    assert server.psql(f"{row}'{look}'") == server.psql(f"{row}'{main}'")
    assert server.psql(f"{row}'{look}'").startswith(owner)


@pytest.mark.parametrize("name", ['it\'s "odd" %s', "Ünïcode " + "ü" * 26])
def test_names_with_quotes_spaces_and_as_long_as_can_be(backup, one, named, postgresql_server, name):
    server = postgresql_server
    named(name)
    backup(source_of(server, name), verify="archive")
    server.psql("DELETE FROM tasks", name)
    outcome = one("main")
    assert outcome["status"] == "ok", outcome
    assert tasks(server, name) == 500
    (kept,) = outcome["details"]["kept"]
    assert len(kept.encode()) <= 63
    assert tasks(server, kept) == 0
    assert one("main", keep_old=1)["details"]["pruned"] == [kept]


def test_check_mode_changes_nothing(backup, one, source, main, postgresql_server, store, tmp_path):
    backup(source, verify="restored")
    before = databases(postgresql_server)
    outcome = one("main", check_mode=True)
    assert outcome["status"] == "ok", outcome
    assert outcome["details"]["would"] == "restore"
    assert outcome["details"]["target"].startswith(f"{main} on ")
    assert outcome["details"]["expected_seconds"] > 0
    assert databases(postgresql_server) == before
    assert not (tmp_path / "state").exists()
    assert not (store / ".before-restore").exists()


@pytest.fixture
def session(postgresql_server, main):
    """Somebody who uses the database."""
    server = postgresql_server
    argv = [
        str(server.bindir / "psql"),
        "-XAtq",
        "-h",
        str(server.socket_dir),
        "-p",
        str(server.port),
        "-U",
        "postgres",
        "-d",
        main,
    ]
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PGAPPNAME": "the-service"},
    )
    process.stdin.write("SELECT pg_backend_pid();\n")
    process.stdin.flush()
    yield process, process.stdout.readline().strip()
    process.kill()
    process.communicate()


def test_a_database_in_use_is_refused_and_by_whom(backup, one, source, main, session, postgresql_server):
    backup(source)
    postgresql_server.psql("DELETE FROM tasks", main)
    client, number = session
    outcome = one("main")
    assert outcome["status"] == "critical"
    assert f"is in use by the-service (user postgres, from the socket, process {number})" in outcome["summary"]
    assert "set disconnect" in outcome["summary"]
    assert tasks(postgresql_server, main) == 0
    planned = one("main", check_mode=True)
    assert planned["status"] == "warning"
    assert "the-service" in planned["summary"]
    assert one("main", disconnect=True)["status"] == "ok"
    assert tasks(postgresql_server, main) == 500
    assert client.poll() is None
    client.stdin.write("SELECT 1;\n")
    client.stdin.flush()
    assert client.wait(20) == 2, "its session was ended"


def test_who_comes_in_the_meantime_is_named_and_nothing_is_left(
    backup, one, source, main, postgresql_server, monkeypatch
):
    """A session that begins after the look: the swap waits 5 s for it, then all is as before."""
    from ansible_collections.sre.runbooks.plugins.module_utils._restore import postgresql

    backup(source)
    postgresql_server.psql("DELETE FROM tasks", main)
    server, guests = postgresql_server, []
    swap = postgresql.swap

    def late(job):
        argv = [
            str(server.bindir / "psql"),
            "-X",
            "-h",
            str(server.socket_dir),
            "-p",
            str(server.port),
            "-U",
            "postgres",
            "-d",
            main,
        ]
        guests.append(subprocess.Popen([*argv, "-c", "SELECT pg_sleep(60)"], env={**os.environ, "PGAPPNAME": "late"}))
        while server.psql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'late'") == "0":
            pass
        return swap(job)

    monkeypatch.setattr(postgresql, "swap", late)
    outcome = one("main", safety_backup=False)
    try:
        assert outcome["status"] == "critical"
        assert "is in use by late (user postgres" in outcome["summary"]
    finally:
        server.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'late'")
        guests[0].wait()
    assert tasks(server, main) == 0
    assert scratch(server) == []
    assert [name for name in databases(server) if name.startswith(main)] == [main]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"password": "wrong-secret", "host": "127.0.0.1"}, "password authentication failed"),
        ({"port": 1}, "No such file or directory"),
        ({"user": "nobody"}, 'role "nobody" does not exist'),
    ],
)
def test_a_server_that_cannot_be_reached_is_told_without_secrets(
    backup, run, source, main, change, reason, postgresql_server
):
    backup(source)
    result = run(name="main", connection=change)
    assert result["status"] == "critical"
    assert reason in result["msg"]
    assert "wrong-secret" not in json.dumps(result)
    assert tasks(postgresql_server, main) == 500


def test_the_password_of_the_connection_is_used_and_not_shown(backup, run, source, main, postgresql_server):
    backup(source)
    connection = {"host": "127.0.0.1", "password": postgresql_server.password}
    result = run(name="main", connection=connection)
    assert result["status"] == "ok", result
    assert postgresql_server.password not in json.dumps(result)


def test_who_may_not_is_told_before_anything(backup, one, source, main, owner, postgresql_server):
    backup(source)
    told = one("main", connection={"user": owner})["summary"]
    assert f"the user {owner} may not create databases" in told
    postgresql_server.psql(
        f"ALTER ROLE {owner} CREATEDB; ALTER DATABASE {main} OWNER TO postgres; GRANT CONNECT ON DATABASE {main} TO {owner}"
    )
    told = one("main", connection={"user": owner})["summary"]
    assert f"may not rename the database {main}" in told


def test_roles_and_extensions_that_are_missing_are_found_before_anything(
    backup, one, source, main, owner, postgresql_server
):
    """D11: nothing was changed; the message names the globals, and what to install."""
    copy = backup(source)
    with manifest_of(copy) as manifest:
        assert owner in manifest["figures"]["roles"]
        manifest["figures"]["roles"].append("gone")
    told = one("main")["summary"]
    assert "the server lacks roles that own something in the dump: gone. Restore the cluster's globals first" in told
    assert one("main", privileges=False, safety_backup=False)["status"] == "ok"
    assert postgresql_server.psql("SELECT tableowner FROM pg_tables WHERE tablename = 'teams'", main) == "postgres"
    with manifest_of(copy) as manifest:
        manifest["figures"]["roles"].remove("gone")
        manifest["figures"]["extensions"]["vector"] = "0.7"
    assert "extensions that the server does not have: vector. Install postgresql-" in one("main")["summary"]


def test_a_role_that_only_has_grants_is_found_by_the_restore(backup, one, source, main, owner, postgresql_server):
    copy = backup(source)
    postgresql_server.psql(f"REASSIGN OWNED BY {owner} TO postgres; DROP OWNED BY {owner}", main)
    postgresql_server.psql(f"ALTER ROLE {owner} RENAME TO {owner}_new")
    with manifest_of(copy) as manifest:
        manifest["figures"]["roles"] = []
    try:
        told = one("main")["summary"]
    finally:
        postgresql_server.psql(f"ALTER ROLE {owner}_new RENAME TO {owner}")
    assert f"the server lacks roles that own something in the dump: {owner}." in told
    assert scratch(postgresql_server) == []


def test_globals_bring_the_roles_that_are_missing(backup, one, main, owner, postgresql_server):
    """D11: with their passwords and memberships; roles that are there stay as they are."""
    server = postgresql_server
    place = {"host": str(server.socket_dir), "port": server.port, "user": server.user}
    server.psql(
        f'CREATE ROLE "{owner}; odd" NOLOGIN; GRANT pg_monitor TO {owner}; GRANT "{owner}; odd" TO {owner}; ALTER ROLE {owner} SET work_mem TO \'7MB\''
    )
    secret = server.psql(f"SELECT rolpassword FROM pg_authid WHERE rolname = '{owner}'")
    backup({"name": "globals", "engine": "postgresql", "globals": True, **place})
    server.psql(f"REASSIGN OWNED BY {owner} TO postgres; DROP OWNED BY {owner}", main)
    server.psql(f'DROP ROLE {owner}; ALTER ROLE "{owner}; odd" CREATEDB')
    try:
        planned = one("globals", check_mode=True)
        assert planned["status"] == "ok", planned
        outcome = one("globals")
        assert outcome["status"] == "ok", outcome
        assert outcome["details"]["figures"]["roles"] == 1
        assert secret not in json.dumps(outcome)
        assert server.psql(f"SELECT rolpassword FROM pg_authid WHERE rolname = '{owner}'") == secret
        assert (
            server.psql(f"SELECT rolcanlogin, rolconfig FROM pg_roles WHERE rolname = '{owner}'") == "t|{work_mem=7MB}"
        )
        assert (
            server.psql(
                f"SELECT pg_has_role('{owner}', 'pg_monitor', 'MEMBER') AND pg_has_role('{owner}', '{owner}; odd', 'MEMBER')"
            )
            == "t"
        )
        assert server.psql(f"SELECT rolcreatedb FROM pg_roles WHERE rolname = '{owner}; odd'") == "t", "left as it is"
        assert one("globals")["details"]["figures"]["roles"] == 0
    finally:
        server.psql(f'DROP ROLE IF EXISTS "{owner}; odd"')


def test_copies_that_are_not_what_they_were_are_refused(backup, one, source, main, postgresql_server):
    copy = backup(source)
    with manifest_of(copy) as manifest:
        manifest["figures"]["tables"] = {**manifest["figures"].get("tables", {}), "public.tasks": 7}
        manifest["figures"].setdefault("objects", {})
    postgresql_server.psql("DELETE FROM tasks", main)
    told = one("main", safety_backup=False)["summary"]
    assert "differ from the source's in the dump" in told
    assert (tasks(postgresql_server, main), scratch(postgresql_server)) == (0, [])
    flip(copy)
    assert "its SHA-256 is not that of what was written" in one("main")["summary"]
    assert tasks(postgresql_server, main) == 0


def test_the_time_limit_keeps_the_old_one(backup, one, source, main, postgresql_server, tmp_path, monkeypatch):
    """pg_restore never ends; the database that was being built is dropped though the time has passed."""
    from ansible_collections.sre.runbooks.plugins.module_utils._core import postgresql

    backup(source)
    hold = tmp_path / "pg_restore"
    hold.write_text("#!/bin/sh\nexec sleep 60\n")
    hold.chmod(0o755)
    client = postgresql.client
    monkeypatch.setattr(
        postgresql,
        "client",
        lambda program, connection: str(hold) if program == "pg_restore" else client(program, connection),
    )
    outcome = one("main", safety_backup=False, limits={"seconds": "2s"})
    assert outcome["status"] == "critical"
    assert "did not end within" in outcome["summary"]
    assert scratch(postgresql_server) == []


def test_the_disk_of_the_databases_fills_up_and_the_old_one_stays(backup, one, tmp_path):
    """D5: what was being built is gone, and with room the next run succeeds; too little room is told before."""
    small = Path(tempfile.mkdtemp(prefix="sre-runbooks-small-", dir="/tmp"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, small)
        server = stack.enter_context(postgresql_files())
        stack.enter_context(postgresql_running(server, (small, 40)))
        server.psql(f"CREATE TABLESPACE small LOCATION '{small}'")
        server.psql("CREATE DATABASE app TABLESPACE small")
        server.psql(
            "CREATE TABLE tasks AS SELECT sha512(n::text::bytea) AS hash FROM generate_series(1, 250000) n", "app"
        )
        copy = backup(source_of(server, "app"))
        server.psql("DELETE FROM tasks WHERE hash < '\\\\x80'", "app")
        before = tasks(server, "app")
        outcome = one("main", safety_backup=False)
        assert outcome["status"] == "critical"
        assert "No space left on device" in outcome["summary"]
        assert "what was there before is untouched" in outcome["summary"]
        assert (tasks(server, "app"), scratch(server)) == (before, [])
        server.psql("ALTER DATABASE app SET TABLESPACE pg_default")
        with manifest_of(copy) as manifest:
            manifest["figures"]["database_bytes"] = 1 << 60
        assert "TiB are needed beside what is there" in one("main")["summary"]
        with manifest_of(copy) as manifest:
            manifest["figures"]["database_bytes"] = 1 << 20
        assert one("main", safety_backup=False)["status"] == "ok"
        assert tasks(server, "app") == 250000


def test_killed_at_many_moments_the_database_is_whole_and_the_next_run_succeeds(
    backup, one, in_child, named, postgresql_server, tmp_path
):
    """kill -9 at 50 moments: the old one or the new, and no scratch database after the next run."""
    server = postgresql_server
    main = named(
        f"kill_{secrets.token_hex(4)}",
        "CREATE TABLE tasks (id int PRIMARY KEY); INSERT INTO tasks SELECT generate_series(1, 200)",
    )
    backup(source_of(server, main), verify="restored")
    options = {"name": "main", "safety_backup": False, "keep_old": 1, "disconnect": True}
    took = in_child(60, **options)
    chance = random.Random(6)
    journals = tmp_path / "state" / "restore"
    seen = []
    number = -1
    while sum(killed for killed, _new in seen) < 50:
        number += 1
        assert number < 150, seen
        one_more = "INSERT INTO tasks SELECT max(id) + 1 FROM tasks; SELECT count(*) FROM tasks"
        old = int(answered(server, one_more, main))
        moment, until = took * chance.uniform(0.1, 1), None
        if number % 9 == 0:
            # As soon as the journal says that the swap is over.
            begun = []
            moment, until = 60, functools.partial(settled, journals, begun)
        ended = in_child(moment, until, **options)
        took = ended or took
        # Nothing else is called so, and a database that is not there would be an error.
        found = int(answered(server, "SELECT count(*) FROM tasks", main))
        assert found in (200, old), (number, found, old)
        seen.append((ended is None, found == 200))
        if number % 18 == 17:
            outcome = one("main", safety_backup=False, keep_old=1, disconnect=True)
            assert outcome["status"] == "ok", outcome
            assert tasks(server, main) == 200
            assert scratch(server) == []
            assert not os.listdir(journals)
    assert {(True, False), (True, True)} <= set(seen), seen
