# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules of database maintenance called in this process, or in one that can be killed."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

CHECKOUT = Path(__file__).resolve().parents[3]
MODULES = "ansible_collections.sre.runbooks.plugins.modules"
PROGRAM = """
import importlib, json, sys
from ansible.module_utils.testing import patch_module_args
module = importlib.import_module("ansible_collections.sre.runbooks.plugins.modules." + sys.argv[1])
with patch_module_args(json.loads(sys.argv[2])):
    module.main()
"""
# The same in a process that forks for each call, so that Python and its imports cost once: the loops that kill need many.
FORKING = """
import importlib, json, os, sys
from ansible.module_utils.testing import patch_module_args
module = importlib.import_module("ansible_collections.sre.runbooks.plugins.modules." + sys.argv[1])
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.setsid()
        print(os.getpid(), flush=True)
        sys.stdin.close()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        with patch_module_args(json.loads(line)):
            module.main()
        os._exit(0)
    _pid, status = os.waitpid(child, 0)
    print("killed" if os.WIFSIGNALED(status) else "ended", flush=True)
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CHECKOUT / ".work/collections")}


@pytest.fixture
def state_dir(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def call(capsys, state_dir):
    """Run a module and return its result."""

    def go(name, **options):
        module = importlib.import_module(f"{MODULES}.{name}")
        with patch_module_args({"state_dir": str(state_dir), **options}), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return go


@pytest.fixture
def vacuum(call):
    """Maintain one database and return its outcome with `changed` and `plan` in it."""

    def go(source, **options):
        result = call("database_vacuum", databases=[source], **options)
        assert "outcomes" in result, result
        (outcome,) = result["outcomes"]
        assert (outcome["stage"], result["status"]) == ("vacuum", outcome["status"])
        return {**outcome, "changed": result["changed"], "plan": result["diff"]["after"]}

    return go


@pytest.fixture
def started(state_dir):
    """Start a module in a process group of its own; every one is killed at the end."""
    processes = []

    def go(name, **options):
        given = json.dumps({"state_dir": str(state_dir), **options})
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, name, given],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield go
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def killed(state_dir):
    """Start a module and kill it, with all that it started, after a random part of `longest` seconds, until `times` have died of it.

    A run that ends before is not counted; the time follows how long runs take on this machine.
    """
    processes = []

    def go(name, times, longest, between, **options):
        program = [sys.executable, "-c", FORKING, name]
        process = subprocess.Popen(
            program,
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        processes.append(process)
        given = json.dumps({"state_dir": str(state_dir), **options})
        chance, hit = random.Random(times), 0
        for number in range(times * 5):
            between(number)
            process.stdin.write(given + "\n")
            process.stdin.flush()
            child = int(process.stdout.readline())
            time.sleep(chance.random() * longest)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            died = process.stdout.readline() == "killed\n"
            hit, longest = hit + died, longest * (1.03 if died else 0.9)
            if hit == times:
                return
        pytest.fail(f"only {hit} of {times} runs could be killed")

    yield go
    for process in processes:
        process.stdin.close()
        process.wait()
        process.stdout.close()


@pytest.fixture
def small_disk():
    """Run a module in a mount namespace of its own, with `size` bytes of disk at `folder`; `prepare` are lines of shell before it."""

    def go(size, folder, prepare, name, **options):
        unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
        folder.mkdir(parents=True, exist_ok=True)
        script = f'mount -t tmpfs -o size={size} none "$0"\n{prepare}\n"{sys.executable}" -c "$PROGRAM" "$1" "$2"\n'
        done = subprocess.run(
            [*unshare, "sh", "-c", script, str(folder), name, json.dumps(options)],
            env={**ENVIRONMENT, "PROGRAM": PROGRAM},
            check=True,
            capture_output=True,
            text=True,
        )
        return next(json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))

    return go


def postgresql(server, database, **more):
    """An entry for `database` on the test's server, through its socket."""
    return {
        "name": "app",
        "engine": "postgresql",
        "host": str(server.socket_dir),
        "port": server.port,
        "user": server.user,
        "database": database,
        **more,
    }


def mysql(server, database, **more):
    """An entry for `database` on the test's server."""
    return {
        "name": "app",
        "engine": "mysql",
        "host": server.host,
        "port": server.port,
        "user": server.user,
        "password": server.password,
        "database": database,
        **more,
    }


def sqlite_file(path, journal="wal", rows=4000, free=True, auto_vacuum=0):
    """A SQLite file with a table `kept` of 100 rows and, unless `free` is false, much free space."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(f"PRAGMA auto_vacuum={auto_vacuum}")
        database.execute(f"PRAGMA journal_mode={journal}")
        database.execute("CREATE TABLE kept (id INTEGER PRIMARY KEY, text TEXT)")
        database.execute("CREATE INDEX kept_text ON kept (text)")
        database.execute("CREATE TABLE gone (id INTEGER PRIMARY KEY, text TEXT)")
        database.execute("BEGIN")
        database.executemany("INSERT INTO kept (text) VALUES (?)", ((f"row {number}",) for number in range(100)))
        database.executemany("INSERT INTO gone (text) VALUES (?)", (("x" * 500,) for _number in range(rows)))
        database.execute("COMMIT")
        if free:
            database.execute("DELETE FROM gone")
    return path


def content(path):
    """Rows of `kept`, and what SQLite finds of the file's integrity."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT count(*), sum(id) FROM kept").fetchone()
        return rows, database.execute("PRAGMA integrity_check").fetchone()[0]
