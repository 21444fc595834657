# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Databases inside containers of a real podman: their servers and clients run in there, copies lie on the host (D1, D4)."""

from __future__ import annotations

import json
import os
import pwd
import secrets
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from ..conftest import _postgresql_bindir
from .conftest import CHECKOUT, MODULE, copies

IMAGE = "localhost/sre-runbooks-usr:1"
# Networks and limits are not what is looked at, and need more of the machine than this.
PLAIN = [
    "--network=none",
    "--cgroups=disabled",
    "--ulimit=nofile=1000:1000",
    "--ulimit=nproc=1000:1000",
    "--stop-timeout=0",
]
PASSWORD = "geheim-0123456789"
MARIADB = f"""
mariadb-install-db --no-defaults --datadir=/data/d --user=root --auth-root-authentication-method=normal --skip-test-db >/dev/null
printf '%s' "ALTER USER root@localhost IDENTIFIED BY '{PASSWORD}';" >/data/init.sql
exec mariadbd --no-defaults --datadir=/data/d --user=root --socket=/data/s --skip-networking --init-file=/data/init.sql
"""
REDIS = f"""
printf 'requirepass {PASSWORD}\nsave ""\nunixsocket /data/s\nport 0\nrepl-diskless-sync-delay 0\n' >/data/redis.conf
exec redis-server /data/redis.conf
"""
POSTGRESQL = """
{bin}/initdb -D /data/d -U postgres --auth=trust --no-sync >/dev/null
exec {bin}/postgres -D /data/d -c unix_socket_directories=/data -c listen_addresses= -c fsync=off
"""


def in_lab(*argv, check=True, **options):
    """Run a program where podman works on this machine."""
    return subprocess.run(
        [CHECKOUT / "tests/lab/enter", *argv], check=check, text=True, capture_output=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / ".work/collections")}, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """An image without files: the programs of this machine are mounted into it."""
    archive = tmp_path_factory.mktemp("image") / "root.tar"
    with tarfile.open(archive, "w") as tar:
        for name in ("bin", "sbin", "lib", "lib64"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, f"usr/{name}"
            tar.addfile(link)
    in_lab("podman", "import", "--quiet", str(archive), IMAGE)
    return IMAGE


@pytest.fixture
def start(image):
    """Start a container that runs this shell script, wait until `ready` succeeds in it; it is removed after the test."""
    names = []

    def go(script, *ready, user="root"):
        names.append(f"t-{secrets.token_hex(4)}")
        account = pwd.getpwnam(user)
        in_lab(
            "podman", "run", "--detach", f"--name={names[-1]}", *PLAIN, "--volume=/usr:/usr:ro",
            "--volume=/etc/passwd:/etc/passwd:ro", "--volume=/etc/group:/etc/group:ro", "--tmpfs=/data:rw,mode=1777", "--tmpfs=/tmp:rw,mode=1777",
            f"--user={account.pw_uid}:{account.pw_gid}", IMAGE, "sh", "-c", script,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while in_lab(
            "podman",
            "exec",
            "--env",
            f"REDISCLI_AUTH={PASSWORD}",
            "--env",
            f"MYSQL_PWD={PASSWORD}",
            names[-1],
            *ready,
            check=False,
        ).returncode:
            assert time.monotonic() < deadline, in_lab("podman", "logs", names[-1], check=False)
            time.sleep(0.2)
        return names[-1]

    yield go
    if names:
        in_lab("podman", "rm", "--force", "--time=0", *names)


@pytest.fixture
def outcomes(store):
    """Back up sources in the lab; the outcomes."""

    def go(*sources):
        options = json.dumps({"directory": str(store), "sources": list(sources)})
        done = in_lab(sys.executable, "-c", MODULE, options, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert PASSWORD not in done.stdout.replace(options, "")
        return json.loads(done.stdout)["outcomes"]

    return go


def test_mariadb_in_a_container(start, outcomes, store):
    client = ["mariadb", "--no-defaults", "--socket=/data/s", "--user=root"]
    name = start(MARIADB, *client, "--execute=SELECT 1")
    sql = (
        "CREATE DATABASE shop; USE shop; CREATE TABLE a (n int); INSERT INTO a SELECT seq FROM seq_1_to_1000; "
        "CREATE TABLE z (n int) ENGINE=MyISAM; INSERT INTO z VALUES (1)"
    )
    in_lab("podman", "exec", "--env", f"MYSQL_PWD={PASSWORD}", name, *client, f"--execute={sql}")
    source = {
        "name": "shop",
        "engine": "mysql",
        "container": name,
        "socket": "/data/s",
        "user": "root",
        "password": PASSWORD,
        "lock_tables": True,
    }
    (outcome, broken) = outcomes(source, {**source, "name": "broken", "password": "wrong"})
    assert outcome["status"] == "ok", outcome
    assert outcome["summary"].endswith("restored and compared: 2 tables, 1 001 rows")
    assert "Access denied for user" in broken["summary"]
    assert copies(store, "shop")[0][0].stat().st_mode & 0o777 == 0o600


def test_redis_in_a_container(start, outcomes, store):
    client = ["redis-cli", "-s", "/data/s"]
    name = start(REDIS, *client, "-e", "PING")
    in_lab(
        "podman", "exec", "--env", f"REDISCLI_AUTH={PASSWORD}", name, *client, "MSET", *[f"k{n}" for n in range(200)]
    )
    source = {"name": "cache", "engine": "redis", "container": name, "socket": "/data/s", "password": PASSWORD}
    (outcome, gone) = outcomes(source, {**source, "name": "gone", "container": "nosuch"})
    assert outcome["status"] == "ok", outcome
    assert outcome["summary"].endswith("restored and compared: 100 keys")
    assert "no container with name or ID" in gone["summary"]


def test_postgresql_in_a_container(start, outcomes, store):
    """The clients on the container's PATH are those of its server."""
    folder = _postgresql_bindir()
    name = start(POSTGRESQL.format(bin=folder), f"{folder}/pg_isready", "-q", "-h", "/data", user="postgres")
    in_lab(
        "podman", "exec", name, "psql", "-XAtq", "-h", "/data", "-U", "postgres",
        "-c", "CREATE TABLE a (n int); INSERT INTO a SELECT generate_series(1, 1000)",
    )  # fmt: skip
    source = {
        "name": "app",
        "engine": "postgresql",
        "container": name,
        "host": "/data",
        "user": "postgres",
        "database": "postgres",
    }
    (outcome,) = outcomes(source)
    assert outcome["status"] == "ok", outcome
    assert outcome["summary"].endswith("restored and compared: 1 tables, 1 000 rows")


def test_what_a_killed_run_left_in_a_container_is_gone_after_the_next(start, outcomes, store):
    client = ["mariadb", "--no-defaults", "--socket=/data/s", "--user=root"]
    name = start(MARIADB, *client, "--execute=SELECT 1")
    sql = "CREATE DATABASE shop; USE shop; CREATE TABLE a AS SELECT seq, sha2(seq, 512) AS hash FROM seq_1_to_100000"
    in_lab("podman", "exec", "--env", f"MYSQL_PWD={PASSWORD}", name, *client, f"--execute={sql}")
    source = {
        "name": "shop",
        "engine": "mysql",
        "container": name,
        "socket": "/data/s",
        "user": "root",
        "password": PASSWORD,
    }
    options = json.dumps({"directory": str(store), "sources": [source]})
    for _number in range(3):
        process = subprocess.Popen(
            [CHECKOUT / "tests/lab/enter", sys.executable, "-c", MODULE, options], stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT / ".work/collections")},
        )  # fmt: skip
        deadline = time.monotonic() + 30
        while not list(Path(store).glob("shop/.shop_*")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        process.wait()
    (outcome,) = outcomes(source)
    assert outcome["status"] == "ok", outcome
    done = in_lab(
        "podman", "exec", "--env", f"MYSQL_PWD={PASSWORD}", name, *client, "--batch", "--execute=SHOW DATABASES"
    )
    assert "sre_runbooks_verify" not in done.stdout
    assert not list(Path(store).glob("shop/.*"))
