# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet whose programs use a database: two of them hold a whole address, the third its user and password in variables of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pymysql

from ansible_collections.sre.runbooks.plugins.module_utils._keys._provider import fingerprint

from .conftest import Fleet, until
from .database_consumer import held, session

FIRST = "first-Password-0123456789"


class Roles:
    """Two roles in a group that owns a table, and a role that may change them; `suffix` makes them differ from other tests'."""

    def __init__(self, server):
        self.server, suffix = server, os.urandom(3).hex()
        self.database = server.create_database()
        self.group, self.admin = f"app_{suffix}", f"admin_{suffix}"
        self.users = (f"app_a_{suffix}", f"app_b_{suffix}")
        a, b = self.users
        server.psql(
            f"CREATE ROLE {self.group} NOLOGIN; CREATE ROLE {a} LOGIN PASSWORD '{FIRST}' IN ROLE {self.group};"
            f"CREATE ROLE {b} NOLOGIN IN ROLE {self.group}; GRANT CONNECT ON DATABASE {self.database} TO {self.group};"
            f"CREATE ROLE {self.admin} LOGIN CREATEROLE PASSWORD '{FIRST}' IN ROLE pg_signal_backend"
        )
        server.psql(f"CREATE TABLE orders (id int); ALTER TABLE orders OWNER TO {self.group}", self.database)
        self.options = {
            "type": "postgresql_role", "host": server.host, "port": server.port, "user": self.admin, "password": FIRST,
            "database": self.database, "group": self.group,
        }  # fmt: skip

    def login(self):
        names = ", ".join(f"'{user}'" for user in self.users)
        return self.server.psql(f"SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname IN ({names})").split()

    def drop(self):
        self.server.psql(f"DROP DATABASE {self.database} WITH (FORCE)")
        self.server.psql(f"DROP ROLE {self.users[0]}, {self.users[1]}, {self.group}, {self.admin}")


class Databases(Fleet):
    """Three hosts with programs that connect all the time; `address` is the database without user and password, `login` tells who can log in."""

    def __init__(self, folder, name, address, provider, users, password, login):
        self.folder, self.name, self.address, self.users = folder, name, address, users
        self.first, self.login = (users[0], password), login
        self.programs = {}
        scheme, _mark, place = address.partition("://")
        host, port = place.split("/")[0].split(":")
        self.template = f"{scheme}://{{id}}:{{value}}@{place}"
        consumers = []
        for each in self.HOSTS:
            where = {"hosts": each, "path": f"{folder}/{each}/.env", "command": [f"{folder}/{each}/reload"]}
            form = {"variable": "DATABASE_URL", "template": self.template}
            if each == "web3":
                form = {"variable": "DB_PASSWORD", "user_variable": "DB_USER"}
            consumers.append({**where, **form})
        self.key = {
            "name": name,
            "provider": {**provider, "users": list(users), "server": provider["host"], "host": "db1"},
            "consumers": consumers,
            "verify": {
                "type": scheme, "host": host, "port": int(port), "database": place.split("/")[1], "within": "3s"
            },
        }  # fmt: skip

    def start(self, user=None):
        """Write the files, start the programs."""
        user, password = user or self.first[0], self.first[1]
        url = self.template.replace("{id}", user).replace("{value}", password)
        for host in self.HOSTS:
            home = self.home(host)
            home.mkdir()
            holds = f"DB_USER={user}\nDB_PASSWORD={password}" if host == "web3" else f"DATABASE_URL={url}"
            (home / ".env").write_text(f"# of {host}\n{holds}\nOTHER=1\n")
            program = subprocess.Popen(
                [
                    sys.executable,
                    str(Path(__file__).with_name("database_consumer.py")),
                    home / ".env",
                    self.address,
                    home,
                ]
            )
            self.programs[host] = program
            (home / "reload").write_text(f"#!/bin/sh\nkill -HUP {program.pid}\n")
            (home / "reload").chmod(0o700)
        until(lambda: all((self.home(host) / "calls").exists() for host in self.HOSTS))

    def held(self):
        """User and password in the files of all hosts."""
        return {held(str(self.home(host) / ".env"), self.address)[1:] for host in self.HOSTS}

    def accepted(self, key):
        try:
            session(self.address, *key).close()
        except (psycopg.OperationalError, pymysql.err.OperationalError):
            return False
        return True

    def alive(self):
        """The users that can log in."""
        return self.login()

    def ended(self):
        """The sessions that were ended while their program used them."""
        paths = [self.home(host) / "ended" for host in self.HOSTS]
        return [line for path in paths if path.exists() for line in path.read_text().splitlines()]

    def settled(self):
        """One user and password everywhere, the journal's, which works; the other user works in its overlap alone."""
        journal = self.journal()
        (now,) = self.held()
        assert journal["current"]["id"] == now[0]
        assert fingerprint(self.name, now[1]) == journal["current"]["fingerprint"]
        assert self.accepted(now)
        assert not journal["pending"]
        assert sorted(self.alive()) == sorted([now[0], *[each["id"] for each in journal["previous"]]])
        return now
