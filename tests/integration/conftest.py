# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Throw-away servers for the integration tests: the distribution's own programs on loopback, in temporary folders.

A missing program fails the test with the name of the package; nothing is skipped.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

START_SECONDS = 30


@dataclass
class PostgresqlServer:
    """A running cluster: `trust` on the socket in `socket_dir`, `scram-sha-256` on TCP `host`:`port`.

    `user` is a superuser named as the distribution's (`postgres`); `log` is the server's own log file.
    """

    host: str
    port: int
    socket_dir: Path
    user: str
    password: str = field(repr=False)
    bindir: Path
    log: Path

    def url(self, database: str = "postgres", driver: str = "postgresql") -> str:
        """Return an URL over TCP with the password in it; `driver` as SQLAlchemy names it."""
        return f"{driver}://{self.user}:{quote(self.password)}@{self.host}:{self.port}/{database}"

    def psql(self, sql: str, database: str = "postgres") -> str:
        """Run `sql` through the socket and return unaligned rows; raises CalledProcessError."""
        argv = [str(self.bindir / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", str(self.socket_dir)]
        argv += ["-p", str(self.port), "-U", self.user, "-d", database, "-c", sql]
        return subprocess.run(argv, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()

    def create_database(self, prefix: str = "test") -> str:
        """Create an empty database with a name of its own, so that tests do not meet, and return the name."""
        name = f"{prefix}_{secrets.token_hex(4)}"
        self.psql(f'CREATE DATABASE "{name}"')
        return name


@dataclass
class RedisServer:
    """A running server that asks for `password` on `host`:`port` and on the unix socket `socket`."""

    host: str
    port: int
    password: str = field(repr=False)
    socket: Path
    directory: Path
    cli: str

    def command(self, *words: str) -> str:
        """Run one command through redis-cli and return what it printed."""
        environment = {**os.environ, "REDISCLI_AUTH": self.password}
        argv = [self.cli, "-h", self.host, "-p", str(self.port), *words]
        return subprocess.run(argv, check=True, text=True, stdout=subprocess.PIPE, env=environment).stdout.strip()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A PostgreSQL cluster of the whole session, made by initdb in a temporary folder."""
    bindir = _postgresql_bindir()
    # postgres refuses to run as root, and pytest's own temporary folders are closed to any other user.
    account = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    with _Folder("sre-runbooks-postgresql-", account) as folder:
        password = secrets.token_urlsafe(24)
        password_file = folder / "password"
        password_file.write_text(password, encoding="utf-8")
        password_file.chmod(0o600)
        _give(password_file, account)
        data, log = folder / "data", folder / "server.log"
        initdb = [
            str(bindir / "initdb"),
            "-D",
            str(data),
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]
        initdb += ["--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={password_file}"]
        made = subprocess.run(initdb, text=True, capture_output=True, check=False, cwd=folder, **_identity(account))
        if made.returncode != 0:
            pytest.fail(f"initdb failed: {made.stderr}{made.stdout}")
        port = free_port()
        server = PostgresqlServer("127.0.0.1", port, folder, "postgres", password, bindir, log)
        argv = [str(bindir / "postgres"), "-D", str(data), "-p", str(port), "-c", "listen_addresses=127.0.0.1"]
        # fsync is off because this cluster never outlives its session.
        argv += ["-c", f"unix_socket_directories={folder}", "-c", "fsync=off", "-c", "max_connections=100"]
        ready = [str(bindir / "pg_isready"), "-q", "-h", str(folder), "-p", str(port)]
        with _Running(argv, log, signal.SIGINT, account, lambda: _succeeds(ready)):
            yield server


@pytest.fixture
def postgresql_database(postgresql_server: PostgresqlServer) -> Iterator[str]:
    """The name of an empty database of `postgresql_server` that belongs to one test."""
    name = postgresql_server.create_database()
    yield name
    postgresql_server.psql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis server of the whole session, with a password, in a temporary folder."""
    program = _program("redis-server", "redis-server")
    with _Folder("sre-runbooks-redis-", None) as folder:
        server = RedisServer(
            "127.0.0.1",
            free_port(),
            secrets.token_urlsafe(24),
            folder / "redis.sock",
            folder,
            _program("redis-cli", "redis-tools"),
        )
        settings = folder / "redis.conf"
        settings.touch(mode=0o600)
        settings.write_text(
            f"bind {server.host}\nport {server.port}\nunixsocket {server.socket}\nrequirepass {server.password}\n"
            f'dir {folder}\nsave ""\nmaxmemory 64mb\n',
            encoding="utf-8",
        )
        with _Running(
            [program, str(settings)],
            folder / "server.log",
            signal.SIGTERM,
            None,
            lambda: server.socket.exists() and server.command("PING") == "PONG",
        ):
            yield server


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _postgresql_bindir() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    return Path(_program("initdb", "postgresql")).parent


def _program(name: str, package: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.fail(f"the program {name} is missing: install the package {package}")
    return found


class _Folder:
    """A temporary folder with a short name (socket paths end at 107 bytes), given to `account`, removed at the end."""

    def __init__(self, prefix: str, account: pwd.struct_passwd | None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
        _give(self.path, account)
        if account is not None:
            # Other users' clients reach the socket in it; what is secret in it has a mode of its own.
            self.path.chmod(0o711)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_ignored: object) -> None:
        shutil.rmtree(self.path)


class _Running:
    """A server as a child process: waits until `ready`, and ends exactly this process in the end."""

    def __init__(
        self,
        argv: list[str],
        log: Path,
        stop: signal.Signals,
        account: pwd.struct_passwd | None,
        ready: Callable[[], bool],
    ) -> None:
        self.log, self.stop, self.ready = log, stop, ready
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                # The kernel ends the server when a killed test session no longer can.
                ["setpriv", "--pdeathsig", stop.name, *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                **_identity(account),
            )

    def __enter__(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                pytest.fail(f"{self.log.parent.name} did not start: {self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    def __exit__(self, *_ignored: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(self.stop)
            try:
                self.process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def _identity(account: pwd.struct_passwd | None) -> dict[str, Any]:
    return {} if account is None else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _give(path: Path, account: pwd.struct_passwd | None) -> None:
    if account is not None:
        os.chown(path, account.pw_uid, account.pw_gid)


def _succeeds(argv: list[str]) -> bool:
    return subprocess.run(argv, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
