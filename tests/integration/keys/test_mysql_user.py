# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Passwords of MariaDB (K3): two users take turns, on a real server, with programs that connect all the time."""

from __future__ import annotations

import json
import os
import re

import pymysql
import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._keys import mysql_user

from .databases import Databases
from .rotation import Rotation, forked, statuses
from .test_faults_keys import Gate, refused_none

ALL_OK = {"db1": "ok", "web1": "ok", "web2": "ok", "web3": "ok"}
FIRST = "first-Password-0123456789"


class Users:
    """Two users with the same rights, and one that may change them; `suffix` makes them differ from other tests'."""

    def __init__(self, server):
        self.server, suffix = server, os.urandom(3).hex()
        self.database = server.create_database()
        self.admin = f"admin_{suffix}"
        self.users = (f"app_a_{suffix}", f"app_b_{suffix}")
        a, b = self.users
        server.sql(
            f"CREATE USER {a}@'%' IDENTIFIED BY '{FIRST}'; CREATE USER {b}@'%' ACCOUNT LOCK;"
            f"GRANT SELECT ON {self.database}.* TO {a}@'%', {b}@'%';"
            f"CREATE USER {self.admin}@'%' IDENTIFIED BY '{FIRST}'; GRANT SELECT ON mysql.* TO {self.admin}@'%';"
            f"GRANT CREATE USER, PROCESS, CONNECTION ADMIN ON *.* TO {self.admin}@'%'"
        )
        self.options = {
            "type": "mysql_user", "host": server.host, "port": server.port, "user": self.admin, "password": FIRST,
        }  # fmt: skip

    def login(self):
        names = ", ".join(f"'{user}'" for user in self.users)
        return self.server.sql(
            f"SELECT User FROM mysql.global_priv WHERE User IN ({names}) AND NOT COALESCE(JSON_VALUE(Priv, '$.account_locked'), 0)"
        ).split()

    def passwords(self):
        names = ", ".join(f"'{user}'" for user in self.users)
        rows = self.server.sql(
            f"SELECT User, JSON_VALUE(Priv, '$.authentication_string') FROM mysql.global_priv WHERE User IN ({names})"
        )
        return {name: kept for name, _tab, kept in (row.partition("\t") for row in rows.splitlines())}

    def drop(self):
        self.server.sql(f"DROP DATABASE {self.database}")
        self.server.sql(f"DROP USER {self.users[0]}@'%', {self.users[1]}@'%', {self.admin}@'%'")


@pytest.fixture
def users(mariadb_server):
    made = Users(mariadb_server)
    yield made
    made.drop()


@pytest.fixture
def fleet(tmp_path, users):
    """Programs that use the first user, of whose sessions none may ever be refused, or ended while it is used."""
    server = users.server
    made = Databases(
        tmp_path, f"app-{os.urandom(3).hex()}", f"mysql://{server.host}:{server.port}/{users.database}",
        users.options, users.users, FIRST, users.login,
    )  # fmt: skip
    made.start()
    yield made
    told = made.refused(), made.ended()
    made.stop()
    assert told == ([], [])


def test_k3_the_users_take_turns_while_programs_connect_all_the_time(fleet, users):
    a, b = users.users
    server = users.server
    server.sql("SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = 1")
    try:
        assert statuses(Rotation(fleet, force=[fleet.name]).go()) == ALL_OK
        second = fleet.settled()
        assert second[0] == b
        assert fleet.accepted(fleet.first)
        refused_none(fleet)
        left = pymysql.connect(host=server.host, port=server.port, user=a, password=FIRST)
        assert statuses(Rotation(fleet, compromised=[fleet.name]).go()) == ALL_OK
        third = fleet.settled()
        assert third[0] == a
        with pytest.raises(pymysql.Error):
            left.ping(reconnect=False)
        assert not fleet.accepted(fleet.first)
        assert not fleet.accepted(second)
        assert users.login() == [a]
        refused_none(fleet)
        logged = server.sql("SELECT argument FROM mysql.general_log WHERE argument LIKE '%ALTER USER%'")
        assert mysql_user.native(second[1]) in logged
        assert not [value for _user, value in (second, third) if value in logged]
    finally:
        server.sql("SET GLOBAL general_log = 0; TRUNCATE mysql.general_log")
    # What unlocks the account by hand does not bring the revoked password back.
    server.sql(f"ALTER USER {b}@'%' ACCOUNT UNLOCK")
    assert not fleet.accepted(second)


def test_killed_between_the_new_password_and_the_journal(fleet, users, monkeypatch):
    a, b = users.users

    def rotate():
        real = mysql_user.create

        def create(*arguments):
            real(*arguments)
            os.kill(os.getpid(), 9)

        monkeypatch.setattr(mysql_user, "create", create)
        Rotation(fleet, force=[fleet.name]).go()

    before = users.passwords()
    assert os.WIFSIGNALED(os.waitpid(forked(rotate), 0)[1])
    left = users.passwords()
    assert left[a] == before[a]
    assert left[b] != before[b]
    assert statuses(Rotation(fleet, force=[fleet.name]).go()) == ALL_OK
    after = users.passwords()
    assert after[a] == before[a]
    assert after[b] not in ("", left[b])
    assert fleet.settled()[0] == b
    refused_none(fleet)


def test_alter_user_refused(fleet, users):
    users.server.sql(f"REVOKE CREATE USER ON *.* FROM {users.admin}@'%'")
    for _run in range(2):
        said = Rotation(fleet, force=[fleet.name]).go()
        assert statuses(said)["db1"] == "critical"
        assert "CREATE USER privilege" in said["db1"][0]["summary"]
        assert not re.search(r"\*[0-9A-F]{40}", json.dumps(said))
        assert fleet.held() == {fleet.first}
    refused_none(fleet)
    users.server.sql(f"GRANT CREATE USER ON *.* TO {users.admin}@'%'")
    assert statuses(Rotation(fleet, force=[fleet.name]).go()) == ALL_OK
    assert fleet.settled()[0] == users.users[1]


@pytest.mark.parametrize("at", ["create", "revoke"])
def test_server_down_in_mid_rotation(fleet, users, at):
    gate = Gate(users.server.port)
    fleet.key["provider"]["port"] = int(gate.url.rpartition(":")[2])

    def before(stage, _host):
        gate.open = gate.open and stage != at
        return True

    assert statuses(Rotation(fleet, before, compromised=[fleet.name]).go())["db1"] == "critical"
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
        ("GRANT INSERT ON {database}.* TO {a}@'%'", "{b} lacks: SELECT, INSERT ON `{database}`.*"),
        ("ALTER USER {b}@'%' REQUIRE SSL", "REQUIRE SSL"),
        ("ALTER USER {b}@'%' IDENTIFIED VIA unix_socket", "does not log in by a password alone (unix_socket)"),
        ("DROP USER {b}@'%'; CREATE USER {b}@localhost", "there is no user {b}"),
        ("REVOKE PROCESS ON *.* FROM {admin}@'%'", "not seen without the right PROCESS"),
    ],
)
def test_a_user_that_may_not_do_the_same_gets_no_password(provider, users, spoilt, told):
    names = {"a": users.users[0], "b": users.users[1], "database": users.database, "admin": users.admin}
    users.server.sql(spoilt.format(**names))
    before = users.passwords()
    try:
        module, options, work = provider(users=list(users.users), **users.options)
        with pytest.raises(RunbookError, match=re.escape(told.format(**names))) as caught:
            module.create(options, work._replace(current=users.users[0]))
        assert "IDENTIFIED BY" not in str(caught.value)
        assert users.passwords() == before
    finally:
        if "localhost" in spoilt:
            users.server.sql(f"DROP USER {users.users[1]}@localhost; CREATE USER {users.users[1]}@'%'")


def test_hostile_names(provider, users):
    odd = 'it\'s "o" \\ `n`;\n-- ü'
    name = "`" + odd.replace("`", "``") + "`@'%'"
    server = users.server
    server.sql(f"SET NAMES utf8mb4; CREATE USER {name} ACCOUNT LOCK; GRANT SELECT ON {users.database}.* TO {name}")
    try:
        module, options, work = provider(users=[odd, users.users[1]], **users.options)
        new = module.create(options, work)
        assert new.id == odd
        session = pymysql.connect(host=server.host, port=server.port, user=odd, password=new.value)
        known = {each.id: each for each in module.observe(options, work)}
        assert (known[odd].label, known[users.users[1]].revoked) == (work.name, True)
        with pytest.raises(RunbookError, match="is in use and not revoked"):
            module.revoke(options, odd, work._replace(current=odd))
        module.revoke(options, odd, work)
        with pytest.raises(pymysql.Error):
            session.ping(reconnect=False)
        with pytest.raises(pymysql.err.OperationalError, match=r"account is locked|Access denied"):
            pymysql.connect(host=server.host, port=server.port, user=odd, password=new.value)
        module.revoke(options, odd, work)
        module.revoke(options, "no such user", work)
    finally:
        server.sql(f"SET NAMES utf8mb4; DROP USER {name}")


def test_options_that_cannot_be_used(provider):
    with pytest.raises(InputError) as caught:
        provider(type="mysql_user", users=["a", "b"], user="b")
    assert caught.value.option == "keys.reporting.provider.user"
