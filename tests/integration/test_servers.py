# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The servers that other tests stand on must be as strict as real ones, or wrong passwords would go unseen."""

from __future__ import annotations

import os
import subprocess


def test_postgresql_trusts_the_socket_and_asks_for_a_password_on_tcp(postgresql_server, postgresql_database):
    server = postgresql_server
    assert server.psql("SELECT current_database()", postgresql_database) == postgresql_database
    argv = [
        str(server.bindir / "psql"),
        "-XAtqw",
        "-h",
        server.host,
        "-p",
        str(server.port),
        "-U",
        server.user,
        "-c",
        "SELECT 1",
    ]
    right = subprocess.run(
        argv, env={**os.environ, "PGPASSWORD": server.password}, capture_output=True, text=True, check=False
    )
    wrong = subprocess.run(argv, env={**os.environ, "PGPASSWORD": "wrong"}, capture_output=True, text=True, check=False)
    assert right.stdout.strip() == "1"
    assert "password authentication failed" in wrong.stderr


def test_redis_asks_for_its_password(redis_server):
    assert redis_server.command("PING") == "PONG"
    argv = [redis_server.cli, "-h", redis_server.host, "-p", str(redis_server.port), "PING"]
    assert "NOAUTH" in subprocess.run(argv, capture_output=True, text=True, check=False).stdout
