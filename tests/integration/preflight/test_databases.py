# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every database of a host is found, and it is told which of them no backup source covers (D1; issue 4, deliverable 6)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
from ansible_collections.sre.runbooks.plugins.module_utils._preflight import _ask, _servers, _sqlite_files, databases

from .conftest import database, tree


@pytest.fixture
def commands():
    """The gateway for commands that a module has."""
    with patch_module_args({}):
        return Commands(AnsibleModule({}).run_command)


def subjects(findings, part):
    """The findings about what has `part` in its subject, as {subject: rule}; other tests run servers of their own."""
    return {each.subject: each.rule for each in findings if part in each.subject}


def test_postgresql_databases_are_found_through_the_inventory_s_password(
    commands, postgresql_server, postgresql_database
):
    other = postgresql_server.create_database("other")
    place = {"host": "127.0.0.1", "port": postgresql_server.port, "user": "postgres"}
    source = {"name": postgresql_database, "engine": "postgresql", **place, "password": postgresql_server.password}
    try:
        found = databases.found(commands, [source])
        label = f"postgresql:{postgresql_server.port}/"
        gaps = subjects(databases.uncovered(found, [source]), label)
        assert gaps.get(f"{label}{other}") == "database_uncovered"
        assert f"{label}{postgresql_database}" not in gaps
        # Templates and the empty database `postgres` need no backup.
        assert not gaps.keys() & {f"{label}template0", f"{label}template1", f"{label}postgres"}
        assert subjects(databases.uncovered(found, []), label).keys() >= {
            f"{label}{other}",
            label + postgresql_database,
        }
    finally:
        postgresql_server.psql(f'DROP DATABASE "{other}"')


def test_what_a_standby_holds_is_its_primary_s(commands, postgresql_server, postgresql_standby, postgresql_database):
    deadline = time.monotonic() + 20
    while postgresql_database not in postgresql_standby.psql("SELECT datname FROM pg_database").split():
        assert time.monotonic() < deadline, "the standby does not follow"
        time.sleep(0.1)
    gaps = databases.uncovered(databases.found(commands), [])
    assert f"postgresql:{postgresql_server.port}/{postgresql_database}" in {each.subject for each in gaps}
    assert not subjects(gaps, f"postgresql:{postgresql_standby.port}/")


def test_a_maintenance_database_with_tables_needs_a_backup(commands, postgresql_server):
    postgresql_server.psql("CREATE TABLE kept_here (a int)")
    try:
        gaps = databases.uncovered(databases.found(commands), [])
        assert f"postgresql:{postgresql_server.port}/postgres" in subjects(gaps, str(postgresql_server.port))
    finally:
        postgresql_server.psql("DROP TABLE kept_here")


def test_a_source_that_leads_to_another_server_covers_nothing(commands, postgresql_server, postgresql_database):
    """The same name on another port, host, socket or in a container is another database."""
    server = next(each for each in _servers.running(commands) if postgresql_server.port in each.place.ports)
    assert str(postgresql_server.socket_dir / f".s.PGSQL.{postgresql_server.port}") in server.place.sockets
    found = _ask.Database("postgresql", "shop", server.place)
    source = {"name": "shop", "engine": "postgresql"}
    port = postgresql_server.port
    for reaching in (
        {"host": "127.0.0.1", "port": port},
        {"host": "localhost", "port": port},
        {"host": socket.gethostname(), "port": port},
        {"host": str(postgresql_server.socket_dir), "port": port},
        {"host": "localhost", "port": port, "database": "shop", "name": "x"},
    ):
        assert databases.covered(found, {**source, **reaching}), reaching
    for other in (
        {},
        {"host": "127.0.0.1", "port": port + 1},
        {"host": "192.0.2.1", "port": port},
        {"host": "/var/run/postgresql", "port": port},
        {"port": port},
        {"container": "postgres", "port": port},
        {"host": "localhost", "port": port, "database": "other"},
        {"host": "localhost", "port": port, "engine": "mysql"},
    ):
        assert not databases.covered(found, {**source, **other}), other


def test_mariadb_databases_are_found_without_the_system_s(commands, mariadb_server, mariadb_database):
    source = {
        "name": "shop", "engine": "mysql", "socket": str(mariadb_server.socket), "user": "root",
        "password": mariadb_server.password, "database": mariadb_database,
    }  # fmt: skip
    found = databases.found(commands, [source])
    label = f"mysql:{mariadb_server.port}/"
    assert f"{label}{mariadb_database}" in subjects(databases.uncovered(found, []), label)
    assert not {each.split("/")[1] for each in subjects(databases.uncovered(found, []), label)} & {"mysql", "sys"}
    assert not subjects(databases.uncovered(found, [source]), f"{label}{mariadb_database}")
    by_port = {**source, "socket": None, "host": "127.0.0.1", "port": mariadb_server.port}
    assert not subjects(databases.uncovered(found, [by_port]), f"{label}{mariadb_database}")


def test_a_server_that_lets_nobody_in_is_unknown_not_silent(commands, mariadb_server, redis_server):
    """What cannot be asked names the right that is missing, and no password."""
    unknown = {each.subject: each for each in databases.uncovered(databases.found(commands), [])}
    for subject in (f"mysql:{mariadb_server.port}", f"redis:{redis_server.port}"):
        assert unknown[subject].status == "unknown"
        assert "become" in unknown[subject].text
        assert "password" in unknown[subject].text
        assert redis_server.password not in unknown[subject].text


def test_redis_needs_a_policy_once_it_holds_keys(commands, redis_server):
    place = {"host": "127.0.0.1", "port": redis_server.port, "password": redis_server.password}
    check = {"engine": "redis", **place}
    subject = f"redis:{redis_server.port}"
    redis_server.command("FLUSHALL")
    assert not subjects(databases.uncovered(databases.found(commands, [check]), []), subject)
    redis_server.command("SET", "preflight", "1")
    try:
        found = databases.found(commands, [check])
        assert subjects(databases.uncovered(found, []), subject) == {subject: "database_uncovered"}
        source = {"name": "cache", "engine": "redis", "socket": str(redis_server.socket)}
        assert not subjects(databases.uncovered(found, [source]), subject)
        redis_server.command("DEL", "preflight")
        redis_server.command("CONFIG", "SET", "save", "900 1")
        found = databases.found(commands, [check])
        assert subjects(databases.uncovered(found, []), subject) == {subject: "database_uncovered"}
    finally:
        redis_server.command("CONFIG", "SET", "save", "")
        redis_server.command("DEL", "preflight")


def test_sqlite_files_are_found_below_named_folders_and_among_open_files(commands, tmp_path, holder):
    data, far = tmp_path / "data", tmp_path / "far"
    for folder in (data / "deep", far, data / "backups"):
        folder.mkdir(parents=True)
    ours, deep, held = database(data / "app.db"), database(data / "deep" / "cache.sqlite"), database(far / "held.db")
    database(data / "backups" / "copy.sqlite")
    database(far / "nobody-names-this.db")
    (data / "link.db").symlink_to(far / "nobody-names-this.db")
    (data / "text.db").write_text("SQLite format 3? " * 60)
    holder(held)
    source = {"name": "app", "engine": "sqlite", "path": str(ours)}
    found = databases.found(commands, [source], skip=[str(data / "backups")])
    gaps = subjects(databases.uncovered(found, [source]), str(tmp_path))
    assert gaps == {f"sqlite:{deep}": "database_uncovered", f"sqlite:{held}": "database_uncovered"}


def test_a_files_source_is_no_backup_of_a_database_that_is_written_to(commands, tmp_path, holder):
    idle, busy = database(tmp_path / "idle.db"), database(tmp_path / "busy.db")
    archive = {"name": "everything", "engine": "files", "paths": [str(tmp_path)]}
    holder(busy)
    findings = databases.uncovered(databases.found(commands, [archive]), [archive])
    assert subjects(findings, str(tmp_path)) == {f"sqlite:{busy}": "database_as_file"}
    assert next(each for each in findings if each.rule == "database_as_file").details["source"] == "everything"
    archive["exclude"] = ["*.db"]
    findings = databases.uncovered(databases.found(commands, [archive]), [archive])
    assert subjects(findings, str(tmp_path)) == dict.fromkeys(
        (f"sqlite:{busy}", f"sqlite:{idle}"), "database_uncovered"
    )


def test_the_search_for_files_is_bounded_and_says_so(commands, tmp_path):
    for number in range(30):
        (tmp_path / f"{number}").write_bytes(b"x" * 512)
    found = databases.found(commands, folders=[str(tmp_path)], limits=_sqlite_files.Limits(files=10))
    assert "10 files" in next(each for each in found.unknown if each.subject == "sqlite:folders").text


def test_a_file_that_goes_while_its_folder_is_looked_at_hides_no_other(tmp_path):
    for number in range(5):
        database(tmp_path / f"{number}.db")
    with os.scandir(tmp_path) as entries:
        paths = [entry.path for entry in entries]
    walk = _sqlite_files.Walk(_sqlite_files.Limits(), time.monotonic() + 60)
    seen = []
    for path, _info in walk.entries([str(tmp_path)]):
        if not seen:
            os.unlink(paths[1])
        seen.append(path)
    assert seen == [paths[0], *paths[2:]]


def test_other_file_systems_are_not_entered(tmp_path):
    """A folder on which another file system is mounted is passed by."""
    script = """
mkdir "$0/mounted" && mount -t tmpfs none "$0/mounted" && cp "$0/app.db" "$0/mounted/other.db"
exec "$1" -c "$2" "$0"
"""
    program = """
import sys
from ansible_collections.sre.runbooks.plugins.module_utils._preflight import _sqlite_files as files
found, _whole = files.found(files.Open({}, 0), sys.argv[1:], [], files.Limits())
print([each.name for each in found])
"""
    path = database(tmp_path / "app.db")
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    done = subprocess.run(
        [*unshare, "sh", "-c", script, str(tmp_path), sys.executable, program],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == str([str(path)])


def test_places_are_read_from_command_lines_where_sockets_are_hidden():
    """Another user's process shows no sockets, but its words."""
    assert _servers._told("redis", ["redis-server", "127.0.0.1:6380"])[0] == {6380}
    assert _servers._told("redis", ["redis-server *:6379"])[0] == {6379}
    assert _servers._told("redis", ["redis-server unixsocket:/run/r.sock"])[1] == {"/run/r.sock"}
    assert _servers._told("mysql", ["mariadbd", "--port=3307", "--socket=/run/m.sock"]) == ({3307}, {"/run/m.sock"})
    assert _servers._told("postgresql", ["postgres", "-D", "/x", "-p", "5433"])[0] == {5433}


def test_the_module_tells_it_and_leaves_no_trace(found, run, tmp_path, postgresql_server, postgresql_database):
    """The kind `databases`: what a check reaches is asked through it, and the remedy can be pasted into the inventory (D1)."""
    connection = {"host": "127.0.0.1", "port": postgresql_server.port, "user": "postgres", "database": "postgres"}
    check = {"name": "db", "type": "postgresql", "connection": {**connection, "password": postgresql_server.password}}
    forgotten = database(tmp_path / "forgotten.db")
    before = tree(tmp_path)
    outcomes = found("databases", checks=[check], folders=[str(tmp_path)])
    server = outcomes[f"postgresql:{postgresql_server.port}/{postgresql_database}"]
    assert server["status"] == "warning"
    assert server["details"]["rules"] == ["database_uncovered"]
    entry = f"{{name: {postgresql_database}, engine: postgresql, database: {postgresql_database}, host: 127.0.0.1, "
    assert entry + f"port: {postgresql_server.port}, user: postgres}}" in server["summary"]
    assert f"{{name: forgotten, engine: sqlite, path: {forgotten}}}" in outcomes[f"sqlite:{forgotten}"]["summary"]
    assert tree(tmp_path) == before
    text = str(run(kinds=["databases"], checks=[check], folders=[str(tmp_path)]))
    assert postgresql_server.password not in text
    assert not (tmp_path / "state").exists()


def test_a_hostile_name_is_quoted_in_the_remedy():
    odd = _ask.Database("mysql", 'a`b "q", x: é\n', _servers.Place(frozenset([3306])))
    assert databases._entry(odd) == '{name: a_b_q_x, engine: mysql, database: "a`b \\"q\\", x: é\\n"}'


def test_a_folder_full_of_databases_is_one_finding(commands, tmp_path):
    for number in range(5):
        database(tmp_path / f"part-{number}.db")
    found = databases.found(commands, folders=[str(tmp_path)])
    assert subjects(databases.uncovered(found, []), str(tmp_path)) == {f"sqlite:{tmp_path}/": "database_uncovered"}


def test_roles_and_rights_of_a_server_need_a_source_too(found, postgresql_server, postgresql_database):
    """D1: a source of globals is no backup of a database, and the other way round."""
    place = {
        "host": "127.0.0.1",
        "port": postgresql_server.port,
        "user": "postgres",
        "password": postgresql_server.password,
    }
    source = {"name": postgresql_database, "engine": "postgresql", **place}
    whole = {"name": "roles", "engine": "postgresql", "globals": True, **place}
    server = f"postgresql:{postgresql_server.port}"
    outcomes = found("databases", sources=[source])
    assert outcomes[server]["details"]["rules"] == ["globals_uncovered"]
    assert "{name: globals, engine: postgresql, host: 127.0.0.1" in outcomes[server]["summary"]
    assert "globals: true}" in outcomes[server]["summary"]
    assert server not in found("databases", sources=[source, whole])
    alone = found("databases", sources=[{**whole, "name": postgresql_database}])
    assert alone[f"{server}/{postgresql_database}"]["details"]["rules"] == ["database_uncovered"]
    assert server not in alone
