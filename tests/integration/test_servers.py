# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The servers that other tests stand on must be as strict as real ones, or wrong passwords would go unseen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


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


TAKE_ALL = """
import importlib.util, pathlib, socket, sys
spec = importlib.util.spec_from_file_location("common", sys.argv[1])
common = importlib.util.module_from_spec(spec)
sys.modules["common"] = common
spec.loader.exec_module(common)
pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40015")
port, held = common.free_port(), []
try:
    while True:
        held.append(socket.create_server(("127.0.0.1", 0)))
except OSError:
    others = {each.getsockname()[1] for each in held}
with socket.create_server(("127.0.0.1", port)):
    print(len(others) > 5, port in others)
"""


def test_a_port_for_a_server_is_given_to_nobody_else():
    """In a network of its own that has sixteen ports, somebody takes all that there are."""
    rights = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    argv = [
        "unshare",
        "--net",
        *rights,
        "sh",
        "-ec",
        'ip link set lo up; exec "$@"',
        "sh",
        sys.executable,
        "-c",
        TAKE_ALL,
    ]
    done = subprocess.run([*argv, Path(__file__).with_name("conftest.py")], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "False"], done.stderr
