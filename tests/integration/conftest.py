# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Throw-away servers for the integration tests: the distribution's own programs on loopback, in temporary folders.

A missing program fails the test with the name of the package; nothing is skipped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

START_SECONDS = 30
# Files of a minute and more. They begin first: one that begins last would keep the other workers waiting for it.
LONGEST = (
    "secrets/test_canaries.py", "backup/test_faults_postgresql.py", "keys/test_faults_keys.py", "tables/test_faults_tables.py",
    "backup/test_faults_sqlite.py", "backup/test_faults_mysql.py", "backup/test_backup_redis.py", "ssh_keys/test_faults_ssh_keys.py",
    "keys/test_playbook_rotate_keys.py", "backup/test_core_faults.py", "restore/test_restore_postgresql.py",
    "incident/test_incident_faults.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; the Makefile tells pytest-xdist to keep this order."""
    ranks = {Path(__file__).parent / name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


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
class MariadbServer:
    """A running server, empty but for its system tables, whose `user` is allowed everything with `password`.

    It keeps a binary log, so that it can be the primary of another. `log` is the server's own log file.
    """

    host: str
    port: int
    socket: Path
    user: str
    password: str = field(repr=False)
    log: Path

    def sql(self, text: str, database: str = "") -> str:
        """Run statements over TCP and return rows without headings, columns parted by tabs; raises CalledProcessError."""
        argv = [_program("mariadb", "mariadb-client"), "--no-defaults", "--protocol=tcp", f"--host={self.host}"]
        argv += [
            f"--port={self.port}",
            f"--user={self.user}",
            "--batch",
            "--skip-column-names",
            "--comments",
            f"--database={database}",
        ]
        environment = {**os.environ, "MYSQL_PWD": self.password}
        done = subprocess.run(argv, input=text, check=True, text=True, stdout=subprocess.PIPE, env=environment)
        return done.stdout.strip()

    def create_database(self, prefix: str = "test") -> str:
        """Create an empty database with a name of its own, so that tests do not meet, and return the name."""
        name = f"{prefix}_{secrets.token_hex(4)}"
        self.sql(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
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


@contextlib.contextmanager
def postgresql_files() -> Iterator[PostgresqlServer]:
    """A new cluster in a temporary folder, made by initdb; nothing of it runs yet."""
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
        yield PostgresqlServer("127.0.0.1", free_port(), folder, "postgres", password, bindir, log)


@contextlib.contextmanager
def postgresql_running(server: PostgresqlServer, small: tuple[Path, int] | None = None) -> Iterator[None]:
    """The server of these files as a child process; `small` is a folder that it sees as a file system of so many MiB."""
    account = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    argv = [str(server.bindir / "postgres"), "-D", str(server.socket_dir / "data"), "-p", str(server.port)]
    # fsync is off because this cluster never outlives its session.
    argv += ["-c", f"unix_socket_directories={server.socket_dir}", "-c", "fsync=off", "-c", "max_connections=100"]
    # Statements are counted only by a library that is loaded at the start.
    argv += ["-c", "shared_preload_libraries=pg_stat_statements"]
    argv += ["-c", "listen_addresses=127.0.0.1"]
    ready = [str(server.bindir / "pg_isready"), "-q", "-h", str(server.socket_dir), "-p", str(server.port)]
    if small is not None:
        folder, size = small
        # In a mount namespace of its own, which any user may make; there postgres must not seem to be root.
        user = "nobody" if account is None else account.pw_name
        owner = f"uid={account.pw_uid},gid={account.pw_gid}," if account else ""
        script = f'mount -t tmpfs -o {owner}size={size}m none "$0" && exec "$@"'
        inner = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--pdeathsig=INT"]
        if account is None:
            inner = ["unshare", "--user", f"--map-user={os.getuid()}"]
        outer = ["unshare", "--mount", *([] if account else ["--user", "--map-root-user"])]
        argv, account = [*outer, "sh", "-c", script, str(folder), *inner, *argv], None
    with _Running(argv, server.log, signal.SIGINT, account, lambda: _succeeds(ready)):
        yield


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A PostgreSQL cluster of the whole session, made by initdb in a temporary folder."""
    with postgresql_files() as server, postgresql_running(server):
        yield server


# Of one file of tests: for the others a primary with a standby is another kind of server.
@pytest.fixture(scope="module")
def postgresql_standby(postgresql_server: PostgresqlServer) -> Iterator[PostgresqlServer]:
    """A hot standby that streams from `postgresql_server`; it has the same user and password."""
    account = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    primary = postgresql_server
    with _Folder("sre-runbooks-standby-", account) as folder:
        data, log = folder / "data", folder / "server.log"
        copy = [str(primary.bindir / "pg_basebackup"), f"--pgdata={data}", "--write-recovery-conf", "--checkpoint=fast"]
        copy += ["--no-sync", f"--host={primary.socket_dir}", f"--port={primary.port}", f"--username={primary.user}"]
        made = subprocess.run(copy, text=True, capture_output=True, check=False, cwd=folder, **_identity(account))
        if made.returncode != 0:
            pytest.fail(f"pg_basebackup failed: {made.stderr}{made.stdout}")
        server = dataclasses.replace(primary, port=free_port(), socket_dir=folder, log=log)
        argv = [str(primary.bindir / "postgres"), "-D", str(data), "-p", str(server.port), "-c", "fsync=off"]
        argv += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
        argv += ["-c", "wal_receiver_status_interval=1s", "-c", "wal_retrieve_retry_interval=500ms"]
        ready = [str(primary.bindir / "pg_isready"), "-q", "-h", str(folder), "-p", str(server.port)]
        with _Running(argv, log, signal.SIGINT, account, lambda: _succeeds(ready)):
            yield server


@pytest.fixture
def postgresql_database(postgresql_server: PostgresqlServer) -> Iterator[str]:
    """The name of an empty database of `postgresql_server` that belongs to one test."""
    name = postgresql_server.create_database()
    yield name
    postgresql_server.psql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextlib.contextmanager
def mariadb(server_id: int) -> Iterator[MariadbServer]:
    """A MariaDB server in a temporary folder; servers with different ids can replicate from each other."""
    install, program = _program("mariadb-install-db", "mariadb-server"), _program("mariadbd", "mariadb-server")
    # mariadbd refuses to run as root.
    account = pwd.getpwnam("mysql") if os.geteuid() == 0 else None
    with _Folder("sre-runbooks-mariadb-", account) as folder:
        data = folder / "data"
        settings = ["--no-defaults", f"--datadir={data}", "--innodb-log-file-size=8M", "--innodb-flush-method=fsync"]
        made = subprocess.run(
            [install, *settings, "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"],
            text=True,
            capture_output=True,
            check=False,
            cwd=folder,
            **_identity(account),
        )
        if made.returncode != 0:
            pytest.fail(f"mariadb-install-db failed: {made.stderr}{made.stdout}")
        server = MariadbServer(
            "127.0.0.1", free_port(), folder / "s.sock", "root", secrets.token_urlsafe(24), folder / "server.log"
        )
        setup = folder / "setup.sql"
        setup.touch(mode=0o600)
        setup.write_text(
            # A replica has passwords of its own.
            f"SET sql_log_bin = 0;\nALTER USER root@localhost IDENTIFIED BY '{server.password}';\n"
            f"GRANT ALL ON *.* TO root@'127.0.0.1' IDENTIFIED BY '{server.password}' WITH GRANT OPTION;\n",
            encoding="utf-8",
        )
        _give(setup, account)
        argv = [program, *settings, f"--port={server.port}", f"--socket={server.socket}", "--bind-address=127.0.0.1"]
        argv += [
            f"--pid-file={folder / 'pid'}",
            f"--init-file={setup}",
            "--skip-name-resolve",
            f"--server-id={server_id}",
        ]
        # Nothing is flushed because this server never outlives its session.
        argv += ["--log-bin=bin", "--innodb-flush-log-at-trx-commit=0", "--sync-binlog=0", "--innodb-fast-shutdown=2"]
        ready = [
            "mariadb",
            "--no-defaults",
            "--protocol=tcp",
            "--host=127.0.0.1",
            f"--port={server.port}",
            "--user=root",
        ]

        def answers() -> bool:
            return _succeeds([*ready, "--execute=SELECT 1"], MYSQL_PWD=server.password)

        with _Running(argv, server.log, signal.SIGTERM, account, answers):
            yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariadbServer]:
    """A MariaDB server of the whole session."""
    with mariadb(1) as server:
        yield server


@pytest.fixture
def mariadb_database(mariadb_server: MariadbServer) -> Iterator[str]:
    """The name of an empty database of `mariadb_server` that belongs to one test."""
    name = mariadb_server.create_database()
    yield name
    mariadb_server.sql(f"DROP DATABASE IF EXISTS `{name}`")


# Of one file of tests, and from where the primary is now: what other tests did there before (gigabytes, statements that were
# killed half-way, users that the replica knows by other passwords) would take long to repeat, or end the replication.
@pytest.fixture(scope="module")
def mariadb_replica(mariadb_server: MariadbServer) -> Iterator[MariadbServer]:
    """A second server that replicates from `mariadb_server` whatever is done there from now on."""
    with mariadb(2) as server:
        position = mariadb_server.sql("SELECT @@gtid_binlog_pos")
        server.sql(
            f"SET GLOBAL gtid_slave_pos = '{position}'; "
            f"CHANGE MASTER TO MASTER_HOST='{mariadb_server.host}', MASTER_PORT={mariadb_server.port}, "
            f"MASTER_USER='{mariadb_server.user}', MASTER_PASSWORD='{mariadb_server.password}', "
            "MASTER_CONNECT_RETRY=1, MASTER_USE_GTID=slave_pos; START SLAVE"
        )
        yield server


@contextlib.contextmanager
def redis() -> Iterator[RedisServer]:
    """A Redis server with a password, in a temporary folder."""
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
            f'dir {folder}\nsave ""\nmaxmemory 64mb\nrepl-diskless-sync-delay 0\n',
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


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis server of the whole session."""
    with redis() as server:
        yield server


@pytest.fixture(scope="session")
def node_exporter() -> Iterator[str]:
    """The address of a node_exporter's page of metrics."""
    program = _program("prometheus-node-exporter", "prometheus-node-exporter")
    with _Folder("sre-runbooks-exporter-", None) as folder:
        address = f"127.0.0.1:{free_port()}"
        argv = [program, f"--web.listen-address={address}"]
        with _Running(argv, folder / "server.log", signal.SIGTERM, None, lambda: _answers(f"http://{address}/")):
            yield f"http://{address}/metrics"


@pytest.fixture(scope="session")
def prometheus_server(node_exporter: str) -> Iterator[str]:
    """The address of a Prometheus that has scraped itself, a node_exporter and a target that is down."""
    program = _program("prometheus", "prometheus")
    with _Folder("sre-runbooks-prometheus-", None) as folder:
        address = f"127.0.0.1:{free_port()}"
        settings = folder / "prometheus.yml"
        jobs = {"prometheus": address, "node": urlsplit(node_exporter).netloc, "gone": "127.0.0.1:1"}
        scrapes = [f"  - {{job_name: {job}, static_configs: [{{targets: ['{at}']}}]}}\n" for job, at in jobs.items()]
        # A target that does not answer within the interval is down, so that a shorter one says so of a busy machine.
        settings.write_text("global: {scrape_interval: 4s}\nscrape_configs:\n" + "".join(scrapes), encoding="ascii")
        argv = [program, f"--config.file={settings}", f"--storage.tsdb.path={folder / 'data'}"]
        argv += [f"--web.listen-address={address}"]
        scraped = (
            f"http://{address}/api/v1/query?query=count(up)%20==%20{len(jobs)}%20and%20sum(up)%20==%20{len(jobs) - 1}"
        )
        with _Running(argv, folder / "server.log", signal.SIGTERM, None, lambda: _answers(scraped, '"value"')):
            yield f"http://{address}"


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on, and that the kernel gives to nobody else for a minute.

    A connection that was closed from this side leaves it in TIME_WAIT: whoever asks for any port, to listen or to connect,
    gets another one, while a server that names it may listen there (SO_REUSEADDR, which all servers set).
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port = int(listener.getsockname()[1])
        with socket.create_connection(("127.0.0.1", port)) as client:
            listener.accept()[0].close()
            client.recv(1)
    return port


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


def _succeeds(argv: list[str], **environment: str) -> bool:
    nothing, env = subprocess.DEVNULL, {**os.environ, **environment}
    return subprocess.run(argv, check=False, stdout=nothing, stderr=nothing, env=env).returncode == 0


def _answers(url: str, text: str = "") -> bool:
    try:
        with urllib.request.urlopen(url, timeout=START_SECONDS) as answer:
            return text in answer.read().decode()
    except OSError:
        return False
