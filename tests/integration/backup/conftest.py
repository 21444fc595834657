# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.backup called in this process or in one that can be killed; databases that are written to meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.modules import backup, backup_info, backup_verify

CHECKOUT = Path(__file__).resolve().parents[3]
MODULE = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sre.runbooks.plugins.modules import backup
with patch_module_args(json.loads(sys.argv[1])):
    backup.main()
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CHECKOUT / ".work/collections")}
# One transaction after the other, each leaving both tables with the same number of rows, until it is killed.
WRITER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
number = 0
while True:
    database.execute("BEGIN IMMEDIATE")
    database.execute("INSERT INTO pending VALUES (?, ?)", (number, "x" * 200))
    database.execute("INSERT INTO done VALUES (?)", (number,))
    database.execute("COMMIT")
    number += 1
    if number == 1:
        print("writing", flush=True)
"""


@pytest.fixture
def in_memory():
    """A folder without a disk. To a process that is killed it is no other, and tests that kill fifty of them do not wait for a disk."""
    with tempfile.TemporaryDirectory(prefix="sre-runbooks-", dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def store(request):
    """The folder of all backups of a test."""
    folder = "in_memory" if "in_memory" in request.fixturenames else "tmp_path"
    return request.getfixturevalue(folder) / "backups"


@pytest.fixture
def run(capsys, store):
    """Back up `sources` and return the module's result; options of the module as keywords."""

    def go(*sources, **options):
        with (
            patch_module_args({"directory": str(store), "sources": list(sources), **options}),
            pytest.raises(SystemExit),
        ):
            backup.main()
        return json.loads(capsys.readouterr().out)

    return go


@pytest.fixture
def one(run):
    """Back up one source and return its only outcome."""

    def go(source, **options):
        result = run(source, **options)
        assert "outcomes" in result, result
        (outcome,) = result["outcomes"]
        assert result["status"] == outcome["status"]
        assert outcome["stage"] == "backup"
        return outcome

    return go


@pytest.fixture
def info(capsys, store):
    """The result of sre.runbooks.backup_info."""

    def go(**options):
        with patch_module_args({"directory": str(store), **options}), pytest.raises(SystemExit):
            backup_info.main()
        return json.loads(capsys.readouterr().out)

    return go


@pytest.fixture
def verify(capsys, store, tmp_path):
    """The result of sre.runbooks.backup_verify."""

    def go(**options):
        given = {"directory": str(store), "state_dir": str(tmp_path / "state"), **options}
        with patch_module_args(given), pytest.raises(SystemExit):
            backup_verify.main()
        return json.loads(capsys.readouterr().out)

    return go


@pytest.fixture
def started(store):
    """Start the module in a process group of its own; every one is killed at the end."""
    processes = []

    def go(*sources, prefix=(), **options):
        given = json.dumps({"directory": str(store), "sources": list(sources), **options})
        process = subprocess.Popen(
            [*prefix, sys.executable, "-c", MODULE, given],
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
def small_disk():
    """Run the module in a mount namespace of its own, which any user may make, with `size` bytes of disk under `folder`."""

    def go(size, folder, *runs):
        unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
        folder.mkdir(parents=True, exist_ok=True)
        script = f'mount -t tmpfs -o size={size} none "$0"\n'
        argv = []
        for number, options in enumerate(runs, start=1):
            if callable(options):
                raise TypeError("a run is a dictionary of options or a line of shell")
            if isinstance(options, str):
                script += f"{options}\n"
                argv.append("")
            else:
                script += f'"{sys.executable}" -c "$MODULE" "${number}"; echo\n'
                argv.append(json.dumps({"directory": str(folder), **options}))
        script += 'find "$0" -type f\n'
        done = subprocess.run(
            [*unshare, "sh", "-c", script, str(folder), *argv],
            env={**ENVIRONMENT, "MODULE": MODULE},
            check=True,
            capture_output=True,
            text=True,
        )
        lines = done.stdout.splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")], [
            line for line in lines if line.startswith("/")
        ]

    return go


@pytest.fixture
def writer():
    """Start a process that writes to a SQLite database without a pause."""
    processes = []

    def go(path):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout.readline() == "writing\n"
        return process

    yield go
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def without(tmp_path, monkeypatch):
    """Take a program away: PATH leads to links to all the others."""

    def go(program):
        folder = tmp_path / f"without-{program}"
        folder.mkdir()
        for path in [*os.environ["PATH"].split(":"), "/usr/sbin", "/sbin"]:
            for each in Path(path).glob("*") if Path(path).is_dir() else ():
                if each.name != program and not (folder / each.name).is_symlink():
                    (folder / each.name).symlink_to(each)
        monkeypatch.setenv("PATH", str(folder))
        monkeypatch.setattr(shutil, "which", lambda name, path=None, which=shutil.which: which(name, path=str(folder)))

    return go


def wait_for(condition, seconds=20):
    """Wait until `condition` is true and return its value."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def database(path, journal="wal", rows=200):
    """A SQLite database with two tables that always have the same number of rows."""
    chance = random.Random(rows)
    with contextlib.closing(sqlite3.connect(path)) as opened, opened as connection:
        connection.execute(f"PRAGMA journal_mode={journal}")
        connection.execute("CREATE TABLE pending (number INTEGER, text TEXT)")
        connection.execute("CREATE TABLE done (number INTEGER)")
        connection.executemany(
            "INSERT INTO pending VALUES (?, ?)", ((each, chance.randbytes(250).hex()) for each in range(rows))
        )
        connection.executemany("INSERT INTO done VALUES (?)", ((each,) for each in range(rows)))
    return path


def copies(store, name):
    """The copies of `name`, oldest first, as (path, manifest)."""
    found = sorted((store / name).glob("*.manifest.json"))
    return [(path.with_name(path.name.removesuffix(".manifest.json")), json.loads(path.read_text())) for path in found]


def unpacked(path, folder):
    """Unpack the SQLite copy `path` into `folder` with zstd and open it."""
    target = folder / "unpacked.db"
    subprocess.run(["zstd", "-dqf", str(path), "-o", str(target)], check=True)
    return sqlite3.connect(target)


def tree(folder):
    """Every path below `folder` with what would change if somebody touched it."""
    return {
        str(path): (path.lstat().st_mtime_ns, path.lstat().st_size, path.lstat().st_mode) for path in folder.rglob("*")
    }
