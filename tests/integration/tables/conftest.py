# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.database_archive, database_export and database_import on real tables of all three engines."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.module_utils._tables import _archive_delete
from ansible_collections.sre.runbooks.plugins.modules import database_archive, database_export, database_import

CHECKOUT = Path(__file__).resolve().parents[3]
MODULES = {"archive": database_archive, "export": database_export, "import": database_import}
SCRIPT = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sre.runbooks.plugins.modules import database_{name} as module
try:
    with patch_module_args(json.loads(sys.argv[1])):
        module.main()
finally:
    # Of this program alone: ru_maxrss begins with what the parent had.
    with open("/proc/self/status") as status:
        print(next(line.split()[1] for line in status if line.startswith("VmHWM")), file=sys.stderr)
"""
MEMORY_KIB = 64 * 1024
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CHECKOUT / ".work/collections")}
OLD = "2020-01-02 03:04:05"
NEW = "2999-01-01 00:00:00"


class World:
    """A database of one engine: `entry` reaches it by the module, `sql` past it; `quote` is for identifiers."""

    def __init__(self, engine, entry, sql, types):
        self.engine = engine
        self.entry = {"name": "shop", "engine": engine, **entry}
        self.sql = sql
        self.types = types

    def quote(self, name):
        mark = "`" if self.engine == "mysql" else '"'
        return mark + name.replace(mark, mark * 2) + mark

    def events(self, rows=30, new=3, text="x"):
        """A table `events` with old rows, whose ids begin with 1, and some new ones after them."""
        self.sql(
            f"CREATE TABLE events (id {self.types['int']} PRIMARY KEY, made {self.types['time']}, note {self.types['text']})"
        )
        values = [
            f"({number}, '{OLD if number <= rows else NEW}', '{text} {number}')" for number in range(1, rows + new + 1)
        ]
        for start in range(0, len(values), 500):
            self.sql(f"INSERT INTO events VALUES {', '.join(values[start : start + 500])}")
        return {**self.entry, "table": "events", "column": "made"}

    def hexed(self, name):
        """A binary column in a form that every client shows."""
        return {"sqlite": "hex({})", "postgresql": "encode({}, 'hex')", "mysql": "hex({})"}[self.engine].format(name)

    def ids(self, table="events"):
        found = self.sql(f"SELECT id FROM {self.quote(table)} ORDER BY id")
        return [int(line) for line in found.splitlines()]


def sqlite_sql(path):
    def go(text):
        with contextlib.closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=wal")
            rows = list(connection.execute(text)) if not text.startswith("--") else connection.executescript(text)
            return "\n".join("\t".join("NULL" if cell is None else str(cell) for cell in row) for row in rows)

    return go


@pytest.fixture
def sqlite_world(tmp_path):
    path = tmp_path / "shop.db"
    sqlite3.connect(path).close()
    return World(
        "sqlite",
        {"path": str(path)},
        sqlite_sql(path),
        {"int": "INTEGER", "time": "TEXT", "text": "TEXT", "bin": "BLOB"},
    )


@pytest.fixture
def postgresql_world(postgresql_server, postgresql_database):
    server = postgresql_server
    entry = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
    entry["database"] = postgresql_database
    types = {"int": "bigint", "time": "timestamptz", "text": "text", "bin": "bytea"}
    return World("postgresql", entry, lambda text: server.psql(text, postgresql_database), types)


@pytest.fixture
def mysql_world(mariadb_server, mariadb_database):
    server = mariadb_server
    entry = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
    entry["database"] = mariadb_database
    types = {"int": "bigint", "time": "datetime", "text": "longtext", "bin": "longblob"}
    return World("mysql", entry, lambda text: server.sql(f"SET NAMES utf8mb4;\n{text};", mariadb_database), types)


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def world(request):
    """One database of each engine, one after the other."""
    return request.getfixturevalue(f"{request.param}_world")


@pytest.fixture
def options(tmp_path):
    """What all calls of sre.runbooks.database_archive share."""
    return {
        "directory": str(tmp_path / "archive"), "state_dir": str(tmp_path / "state"), "older_than": "90d",
        "limits": {"percent": 100},
    }  # fmt: skip


@pytest.fixture
def call(capsys, tmp_path):
    """Call a module in this process and return its result."""

    def go(name, check=False, **arguments):
        arguments = {"state_dir": str(tmp_path / "state"), **arguments, "_ansible_check_mode": check}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            MODULES[name].main()
        return json.loads(capsys.readouterr().out)

    return go


@pytest.fixture
def archive(call, options):
    """Archive and return the only outcome with whether something changed."""

    def go(entry, check=False, **more):
        result = call("archive", check, databases=[entry], **{**options, **more})
        assert "outcomes" in result, result
        (outcome,) = result["outcomes"]
        assert (outcome["stage"], result["status"]) == ("archive", outcome["status"])
        return {**outcome, "ran": result["changed"]}

    return go


@pytest.fixture
def half(archive, monkeypatch):
    """Archive until four batches of three rows are deleted and time is up: counted, for nobody knows how long a batch takes here."""

    def go(entry):
        real, done = _archive_delete._batch, []

        def counted(*arguments):
            real(*arguments)
            done.append(1)

        clock = SimpleNamespace(monotonic=lambda: time.monotonic() + (7200 if len(done) >= 4 else 0), sleep=time.sleep)
        with monkeypatch.context() as patched:
            patched.setattr(_archive_delete, "_batch", counted)
            patched.setattr(_archive_delete, "time", clock)
            return archive(entry, batch=3, limits={"percent": 100, "seconds": "1h"})

    return go


@pytest.fixture
def one(call):
    """Call sre.runbooks.database_export or database_import with one entry and return the only outcome."""

    def go(name, entry, check=False, **more):
        result = call(name, check, databases=[entry], **more)
        assert "outcomes" in result, result
        (outcome,) = result["outcomes"]
        assert (outcome["stage"], result["status"]) == (name, outcome["status"])
        return {**outcome, "ran": result["changed"]}

    return go


@pytest.fixture
def started():
    """Start a module in a process group of its own, which is killed at the end."""
    processes = []

    def go(name, arguments, prefix=()):
        process = subprocess.Popen(
            [*prefix, sys.executable, "-c", SCRIPT.format(name=name), json.dumps(arguments)],
            env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        processes.append(process)
        return process

    yield go
    for process in processes:
        kill(process)


def kill(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def ended(process):
    """Wait for a module; return its result and the most memory that it had, in KiB."""
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stdout + stderr
    return json.loads(stdout), int(stderr.split()[-1])


def exports(options):
    """The exports of a test's databases, oldest first."""
    return sorted(path for path in Path(options["directory"]).rglob("*.zst") if not path.name.startswith("."))


def unpacked(path):
    """The content of an export."""
    return subprocess.run(["zstd", "-dqc", str(path)], check=True, capture_output=True).stdout.decode()


def manifest(path):
    return json.loads(Path(f"{path}.manifest.json").read_text())


def wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
    return found
