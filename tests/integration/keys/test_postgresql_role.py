# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Passwords of PostgreSQL (K3): two roles take turns, on a real server, with programs that connect all the time."""

from __future__ import annotations

import json
import os
import re
import subprocess

import psycopg
import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._keys import postgresql_role

from .conftest import until
from .databases import FIRST, Databases, Roles
from .rotation import Rotation, deadly, forked, statuses
from .test_faults_keys import Gate, refused_none
from .test_playbook_rotate_keys import Listings

ALL_OK = {"db1": "ok", "web1": "ok", "web2": "ok", "web3": "ok"}


@pytest.fixture
def roles(postgresql_server):
    made = Roles(postgresql_server)
    yield made
    made.drop()


@pytest.fixture
def fleet(tmp_path, roles):
    """Programs that use the first role, of whose sessions none may ever be refused, or ended while it is used."""
    server = roles.server
    made = Databases(
        tmp_path, f"app-{os.urandom(3).hex()}", f"postgresql://{server.host}:{server.port}/{roles.database}",
        roles.options, roles.users, FIRST, roles.login,
    )  # fmt: skip
    made.start()
    yield made
    told = made.refused(), made.ended()
    made.stop()
    assert told == ([], [])


def logging(server, what):
    """Have the server log such statements, and wait until it does."""
    server.psql(f"ALTER SYSTEM SET log_statement = '{what}'")
    server.psql("SELECT pg_reload_conf()")
    until(lambda: server.psql("SHOW log_statement") == what)


def test_k3_the_roles_take_turns_while_programs_connect_all_the_time(fleet, roles):
    a, b = roles.users
    logging(roles.server, "ddl")
    assert statuses(Rotation(fleet, force=[fleet.name]).go()) == ALL_OK
    second = fleet.settled()
    assert second[0] == b
    assert len(second[1]) >= 43
    assert (fleet.home("web3") / ".env").read_text() == f"# of web3\nDB_USER={b}\nDB_PASSWORD={second[1]}\nOTHER=1\n"
    # Old and new both work until the overlap is over; before that there is no third password.
    assert fleet.accepted((a, FIRST))
    refused_none(fleet)
    said = Rotation(fleet, force=[fleet.name]).go()
    assert statuses(said)["db1"] == "warning"
    assert "the other user's overlap ends at" in said["db1"][0]["summary"]
    assert fleet.settled() == second
    # A session that somebody left open with the old password ends with it.
    left = psycopg.connect(fleet.address.replace("://", f"://{a}:{FIRST}@"), autocommit=True)
    assert statuses(Rotation(fleet, compromised=[fleet.name]).go()) == ALL_OK
    third = fleet.settled()
    assert third[0] == a
    with pytest.raises(psycopg.Error):
        left.execute("SELECT 1")
    assert not fleet.accepted((a, FIRST))
    assert not fleet.accepted(second)
    assert roles.login() == [a]
    refused_none(fleet)
    # The server's log knows verifiers alone, and the old passwords are proven dead on every host.
    logging(roles.server, "none")
    logged = roles.server.log.read_text(errors="replace")
    assert re.search(rf"ALTER ROLE \"{b}\" LOGIN PASSWORD 'SCRAM-SHA-256\$", logged)
    assert not [value for _user, value in (second, third) if value in logged]
    assert all([each["event"] for each in fleet.audit(host)].count("proven_dead") == 2 for host in fleet.HOSTS)
    assert not [path for host in fleet.HOSTS for path in (fleet.home(host) / "state/keys").iterdir()]


def test_by_the_playbook_with_every_secret_inside(fleet, roles):
    """Neither passwords nor their verifiers, nor that of the role that changes them, are anywhere but where they belong."""
    with Listings() as listings:
        told = fleet.rotate("-vvvv", "-e", json.dumps({"key_rotation_compromised": [fleet.name]}))
    user, password = fleet.settled()
    assert user == roles.users[1]
    kept = roles.server.psql(f"SELECT rolpassword FROM pg_authid WHERE rolname = '{user}'")
    assert kept.startswith("SCRAM-SHA-256$")
    places = [told, *(line.decode(errors="replace") for line in listings.seen)]
    belongs = {fleet.home(host) / ".env" for host in fleet.HOSTS} | {fleet.folder / "inventory.json"}
    places += [
        path.read_bytes().decode(errors="replace")
        for path in fleet.folder.rglob("*")
        if path.is_file() and path not in belongs
    ]
    assert not [(canary[:9], place[:200]) for canary in (password, kept, FIRST) for place in places if canary in place]


def test_killed_at_many_steps_programs_can_always_connect(fleet, roles):
    steps, ended = 0, 0
    while ended < 2:
        # What happens at consumers is the same for all providers, and is killed at every single step in test_faults_keys.
        steps += 4 if steps > 12 else 1

        def rotate(steps=steps):
            deadly(steps)
            Rotation(fleet, compromised=[fleet.name]).go()

        _child, status = os.waitpid(forked(rotate), 0)
        refused_none(fleet)
        assert all(fleet.accepted(key) for key in fleet.held())
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            ended += 1
            fleet.settled()
    assert steps > 40


def test_killed_between_the_new_password_and_the_journal(fleet, roles, monkeypatch):
    a, b = roles.users

    def rotate():
        real = postgresql_role.create

        def create(*arguments):
            real(*arguments)
            os.kill(os.getpid(), 9)

        monkeypatch.setattr(postgresql_role, "create", create)
        Rotation(fleet, force=[fleet.name]).go()

    def passwords():
        names = f"('{a}', '{b}')"
        rows = roles.server.psql(f"SELECT rolname, rolpassword FROM pg_authid WHERE rolname IN {names}").splitlines()
        return dict(row.split("|") for row in rows)

    before = passwords()
    assert os.WIFSIGNALED(os.waitpid(forked(rotate), 0)[1])
    left = passwords()
    assert left[a] == before[a]
    assert re.fullmatch(r"SCRAM-SHA-256\$4096:.*", left[b])
    assert "id" not in fleet.journal()["pending"]
    # Nobody knows that password. The same role gets another one.
    assert statuses(Rotation(fleet, force=[fleet.name]).go()) == ALL_OK
    after = passwords()
    assert after[a] == before[a]
    assert after[b] not in ("", left[b])
    assert fleet.settled()[0] == b


def test_alter_role_refused(fleet, roles):
    """The role that changes passwords has lost its right: nothing is changed, and it goes on when it is back."""
    roles.server.psql(f"ALTER ROLE {roles.admin} NOCREATEROLE")
    for _run in range(2):
        said = Rotation(fleet, force=[fleet.name]).go()
        assert statuses(said)["db1"] == "critical"
        assert "permission denied" in said["db1"][0]["summary"]
        assert "SCRAM" not in json.dumps(said)
        assert fleet.held() == {fleet.first}
    refused_none(fleet)
    roles.server.psql(f"ALTER ROLE {roles.admin} CREATEROLE")
    assert statuses(Rotation(fleet, force=[fleet.name]).go()) == ALL_OK
    assert fleet.settled()[0] == roles.users[1]


@pytest.mark.parametrize("at", ["create", "promote", "revoke"])
def test_server_down_in_mid_rotation(fleet, roles, at):
    gate = Gate(roles.server.port)
    fleet.key["provider"]["port"] = int(gate.url.rpartition(":")[2])
    stages = ["status", "create", "distribute", "prove", "promote", "rollback", "revoke", "dead"]

    def before(stage, _host):
        gate.open = stage not in stages[stages.index(at) :]
        return True

    said = Rotation(fleet, before, compromised=[fleet.name]).go()
    # To promote needs no server; what is over is revoked by the next run.
    assert statuses(said)["db1"] == "critical"
    refused_none(fleet)
    assert all(fleet.accepted(key) for key in fleet.held())
    gate.open = True
    assert statuses(Rotation(fleet, compromised=[fleet.name]).go()) == ALL_OK
    fleet.settled()
    assert not fleet.accepted(fleet.first)
    refused_none(fleet)
    gate.listener.close()


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        ("REVOKE {group} FROM {b}", "{b} is no member of {group}"),
        ("GRANT SELECT ON orders TO {a}", "{b} lacks: SELECT on table public.orders"),
        ("GRANT pg_monitor TO {b}", "{a} lacks: member of pg_monitor"),
        ("ALTER ROLE {a} SET search_path = 'x'", "{b} lacks: setting search_path=x in database any"),
        ("ALTER ROLE {a} CREATEDB", "{b} lacks: rolcreatedb: true"),
        ("CREATE TABLE t (); ALTER TABLE t OWNER TO {a}", "{b} lacks: owns table public.t"),
        ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {a}", "{b} lacks: SELECT on what is made later"),
        ("ALTER ROLE {b} SUPERUSER", "a superuser is no role for programs"),
        ("DROP ROLE {b}", "there is no user {b}"),
    ],
)
def test_a_role_that_may_not_do_the_same_gets_no_password(provider, roles, spoilt, told):
    names = {"group": roles.group, "a": roles.users[0], "b": roles.users[1]}
    roles.server.psql(spoilt.format(**names), roles.database)
    try:
        module, options, work = provider(users=list(roles.users), **roles.options)
        with pytest.raises(RunbookError, match=re.escape(told.format(**names))):
            module.create(options, work._replace(current=roles.users[0]))
        assert roles.users[1] not in roles.login() or "SUPER" in spoilt
    finally:
        owned = roles.users[0] if "CREATE" in spoilt or "orders" in spoilt or "DEFAULT" in spoilt else ""
        if owned:
            roles.server.psql(f"DROP OWNED BY {owned}", roles.database)
        if "DROP" in spoilt:
            roles.server.psql(f"CREATE ROLE {roles.users[1]}")


def test_programs_that_use_the_other_role_are_never_locked_out(fleet, roles):
    """The inventory says that the first role is in use; the programs use the second one."""
    a, b = roles.users
    roles.server.psql(f"ALTER ROLE {b} LOGIN PASSWORD '{FIRST}'")
    for host in fleet.HOSTS:
        path = fleet.home(host) / ".env"
        path.write_text(path.read_text().replace(a, b))
        subprocess.run([str(fleet.home(host) / "reload")], check=True)
    refused_none(fleet)
    until(lambda: not roles.server.psql(f"SELECT 1 FROM pg_stat_activity WHERE usename = '{a}'"))
    fleet.key["provider"]["adopt"] = a
    said = Rotation(fleet, force=[fleet.name]).go()
    assert statuses(said)["db1"] == "warning"
    assert f"programs use {b}, while {a} is known to be in use" in said["db1"][0]["summary"]
    assert fleet.held() == {(b, FIRST)}
    fleet.key["provider"]["adopt"] = b
    assert statuses(Rotation(fleet, force=[fleet.name]).go()) == ALL_OK
    assert fleet.settled()[0] == a
    assert fleet.accepted((b, FIRST))


def test_a_role_that_has_sessions_is_left_alone_though_the_files_say_that_it_is_free(fleet, roles):
    """Programs whose files were changed by hand, and which go on with what they had read before."""
    a, b = roles.users
    roles.server.psql(f"ALTER ROLE {b} LOGIN PASSWORD '{FIRST}'")
    for host in fleet.HOSTS:
        path = fleet.home(host) / ".env"
        path.write_text(path.read_text().replace(a, b))
    for _run in range(2):
        said = Rotation(fleet, force=[fleet.name]).go()
        assert statuses(said)["db1"] == "critical"
        assert f"{a} should be free, yet has " in said["db1"][0]["summary"]
        assert sorted(roles.login()) == [a, b]
        refused_none(fleet)


def test_a_file_without_a_place_for_the_user_makes_the_rotation_wait(fleet, roles):
    fleet.key["consumers"][2].pop("user_variable")
    fleet.key["verify"]["user"] = roles.users[0]
    said = Rotation(fleet, force=[fleet.name]).go()
    assert statuses(said)["db1"] == "warning"
    assert "web3: holds a key without its user" in said["db1"][0]["summary"]
    assert roles.login() == [roles.users[0]]


def test_a_role_in_use_is_not_taken_for_the_free_one(provider, roles):
    a, b = roles.users
    server = roles.server
    roles.server.psql(f"ALTER ROLE {b} LOGIN PASSWORD '{FIRST}'")
    module, options, work = provider(users=[a, b], **roles.options)
    with pytest.raises(RunbookError, match=r"which of .* programs use is not known"):
        module.create(options, work)
    used = psycopg.connect(f"postgresql://{b}:{FIRST}@{server.host}:{server.port}/{roles.database}")
    with used, pytest.raises(RunbookError, match=r"should be free, yet has 1 session"):
        module.create(options, work._replace(current=a))
    with pytest.raises(RunbookError, match="is in use and not revoked"):
        module.revoke(options, a, work._replace(current=a))
    assert sorted(roles.login()) == [a, b]


def test_hostile_names_and_a_password_that_ends(provider, roles):
    odd = 'it\'s "odd" \\ {name};\n-- ü'
    server = roles.server
    name = odd.replace('"', '""')
    server.psql(f'CREATE ROLE "{name}" IN ROLE {roles.group}')
    try:
        given = {**roles.options, "expires_in": "2h"}
        module, options, work = provider(users=[odd, roles.users[1]], **given)
        new = module.create(options, work)
        assert new.id == odd
        session = psycopg.connect(
            host=server.host, port=server.port, dbname=roles.database, user=odd, password=new.value
        )
        known = {each.id: each for each in module.observe(options, work)}
        assert abs(known[odd].expires - new.expires) < 1.5
        assert (known[odd].label, known[roles.users[1]].revoked) == (work.name, True)
        module.revoke(options, odd, work)
        with pytest.raises(psycopg.Error):
            session.execute("SELECT 1")
        module.revoke(options, odd, work)
        module.revoke(options, "no such role", work)
    finally:
        server.psql(f'DROP ROLE "{name}"')


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"users": ["a"]}, "users"),
        ({"users": ["a", "a"]}, "users"),
        ({"user": "a"}, "user"),
        ({"bytes": 8}, "bytes"),
        ({"database": "dbname=x"}, "database"),
        ({"expires_in": "soon"}, "expires_in"),
    ],
)
def test_options_that_cannot_be_used(provider, given, option):
    with pytest.raises(InputError) as caught:
        provider(**{"type": "postgresql_role", "users": ["a", "b"], **given})
    assert caught.value.option == f"keys.reporting.provider.{option}"
