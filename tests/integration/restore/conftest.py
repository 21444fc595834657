# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.restore called in this process or in one that can be killed; copies are made by sre.runbooks.backup."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.modules import backup as backup_module
from ansible_collections.sre.runbooks.plugins.modules import restore as restore_module

from ..backup.conftest import ENVIRONMENT

KEPT = ".before-restore-"
# What PostgreSQL tells who is connected with a database, or is connecting, at the moment of a swap.
SENT_AWAY = ("terminating connection due to administrator command", "It seems to have just been dropped or renamed.")

MODULE = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sre.runbooks.plugins.modules import restore
with patch_module_args(json.loads(sys.argv[1])):
    restore.main()
"""


@pytest.fixture
def store(tmp_path):
    """The folder of all backups of a test."""
    return tmp_path / "backups"


@pytest.fixture
def places(tmp_path, store):
    """The options that keep a test in its own folder."""
    return {"directory": str(store), "state_dir": str(tmp_path / "state")}


@pytest.fixture
def backup(capsys, places):
    """Back up one source and return the path of the copy."""

    def go(source, **options):
        given = {**places, "sources": [source], "verify": "archive", **options}
        with patch_module_args(given), pytest.raises(SystemExit):
            backup_module.main()
        result = json.loads(capsys.readouterr().out)
        assert result["status"] in ("ok", "warning"), [each["summary"] for each in result["outcomes"]]
        return result["outcomes"][0]["details"]["path"]

    return go


@pytest.fixture
def run(capsys, places):
    """Restore with these options of the module and return its result."""

    def go(**options):
        check_mode = options.pop("check_mode", False)
        given = {**places, **options, "_ansible_check_mode": check_mode}
        with patch_module_args(given), pytest.raises(SystemExit):
            restore_module.main()
        return json.loads(capsys.readouterr().out)

    return go


@pytest.fixture
def one(run):
    """Restore one source and return its only outcome."""

    def go(name, **options):
        result = run(name=name, **options)
        assert "outcomes" in result, result
        (outcome,) = result["outcomes"]
        assert result["status"] == outcome["status"]
        assert outcome["stage"] == "restore"
        assert result.get("failed", False) is (outcome["status"] == "critical")
        return outcome

    return go


@pytest.fixture
def started(places):
    """Start the module in a process group of its own; every one is killed at the end."""
    processes = []

    def go(prefix=(), **options):
        process = subprocess.Popen(
            [*prefix, sys.executable, "-c", MODULE, json.dumps({**places, **options})],
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
def in_child(places):
    """Fork children of this process that restore: no time goes into starting Python, so that many can be killed."""

    def go(moment, until=None, **options):
        """Kill a restore with -9, `moment` seconds after its beginning or when `until` is true; how long it took, if it ended."""
        child = os.fork()
        if child == 0:
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
            status = 1
            try:
                with patch_module_args({**places, **options}):
                    restore_module.main()
            except SystemExit as end:
                status = int(end.code or 0)
            finally:
                os._exit(status)
        began = time.monotonic()
        while time.monotonic() < began + moment:
            if os.waitpid(child, os.WNOHANG)[0]:
                return time.monotonic() - began
            if until is not None and until():
                break
            time.sleep(0.0003)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return None

    return go


@pytest.fixture
def small_disk():
    """Run a line of shell in a mount namespace of its own, with `size` bytes of disk under `folder`, which any user may mount."""

    def go(size, folder, script, **variables):
        unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
        folder.mkdir(parents=True, exist_ok=True)
        text = f'set -e; mount -t tmpfs -o size={size} none "{folder}"\n{script}'
        done = subprocess.run(
            [*unshare, "sh", "-c", text],
            env={**ENVIRONMENT, "MODULE": MODULE, "PYTHON": sys.executable, **variables},
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    return go


def flip(path):
    """Change one bit in the middle of a file and nothing else of it."""
    info = os.stat(path)
    with open(path, "r+b") as stream:
        stream.seek(info.st_size // 2)
        byte = stream.read(1)[0]
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte ^ 1]))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


@contextlib.contextmanager
def manifest_of(path):
    """The manifest of a copy, written back with what the block does to it."""
    with open(f"{path}.manifest.json") as stream:
        document = json.load(stream)
    yield document
    with open(f"{path}.manifest.json", "w") as stream:
        json.dump(document, stream)


def aged(path, stamp, **changes):
    """Give a copy another time of its making, by name and manifest; return the new path."""
    name = os.path.basename(path)
    label, _underscore, rest = name.rpartition("_")
    _old, _dot, extension = rest.partition(".")
    new = os.path.join(os.path.dirname(path), f"{label}_{stamp}.{extension}")
    with open(f"{path}.manifest.json") as stream:
        document = json.load(stream)
    created = f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}T{stamp[9:11]}:{stamp[11:13]}:{stamp[13:15]}Z"
    document.update(file=os.path.basename(new), created=created, **changes)
    shutil.move(path, new)
    os.unlink(f"{path}.manifest.json")
    with open(f"{new}.manifest.json", "w") as stream:
        json.dump(document, stream)
    return new


def answered(server, sql, name):
    """The rows that the database `name` gives. The client of a killed run may swap it yet: who is sent away by that comes again."""
    argv = [str(server.bindir / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", str(server.socket_dir)]
    argv += ["-p", str(server.port), "-U", server.user, "-d", name, "-c", sql]
    for _time in range(10):
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
        if not any(sign in done.stderr for sign in SENT_AWAY):
            break
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def kept_anew(folder, before):
    """Whether something that was replaced has been kept since `folder` held the names `before`."""
    return any(KEPT in name for name in set(os.listdir(folder)) - before)


def settled(journals, begun):
    """Whether a journal was in the folder `journals` and is gone; `begun` is a list that remembers."""
    there = bool(os.listdir(journals))
    if there:
        begun.append(1)
    return bool(begun) and not there
