# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.restore of a Redis server's data (D5)."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time

import pytest

from ..backup.conftest import wait_for
from ..conftest import free_port
from .conftest import flip, manifest_of


class Server:
    """A server that can be stopped and started again, with its file in a folder of its own."""

    def __init__(self, folder):
        self.folder, self.port, self.process = folder, free_port(), None
        folder.mkdir()

    def start(self, *more):
        argv = [
            "redis-server",
            "--repl-diskless-sync-delay",
            "0",
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self.folder),
            "--save",
            "3600 1",
        ]
        self.process = subprocess.Popen(
            [*argv, "--dbfilename", "app.rdb", "--requirepass", "secret", *more], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while "PONG" not in self("PING"):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()

    def __call__(self, *words):
        done = subprocess.run(
            ["redis-cli", "-p", str(self.port), "--no-auth-warning", *words],
            env={**os.environ, "REDISCLI_AUTH": "secret"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout.strip()


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path / "redis")
    made.start()
    made("SET", "a", "old")
    made("-n", "3", "SET", "b", "old")
    yield made
    with contextlib.suppress(ProcessLookupError):
        made.stop()


@pytest.fixture
def source(server):
    return {"name": "cache", "engine": "redis", "host": "127.0.0.1", "port": server.port, "password": "secret"}


SECRET = {"connection": {"password": "secret"}}


def test_the_whole_cycle(backup, one, source, server):
    """D5: refused while it runs, restored while it is stopped, and what it had at its end is kept."""
    backup(source, verify="restored")
    server("SET", "a", "new")
    server("SET", "c", "new")
    refused = one("cache", **SECRET)
    assert refused["status"] == "critical"
    assert f"is in use by redis-server (process {server.process.pid})" in refused["summary"]
    planned = one("cache", check_mode=True, **SECRET)
    assert planned["status"] == "warning"
    assert planned["details"]["expected_seconds"] > 0
    server.stop()
    os.chmod(server.folder / "app.rdb", 0o640)
    outcome = one("cache", **SECRET)
    assert outcome["status"] == "ok", outcome
    assert outcome["details"]["figures"]["keys"] == 2
    (kept,) = outcome["details"]["kept"]
    assert kept.startswith(f"{server.folder}/app.rdb.before-restore-")
    assert os.stat(server.folder / "app.rdb").st_mode & 0o777 == 0o640
    assert sorted(os.listdir(server.folder)) == ["app.rdb", os.path.basename(kept)]
    server.start()
    assert (server("GET", "a"), server("GET", "c"), server("-n", "3", "GET", "b")) == ("old", "", "old")
    server.stop()
    os.replace(kept, server.folder / "app.rdb")
    server.start()
    assert server("GET", "c") == "new"


def test_an_append_only_file_is_a_trap_that_is_told(backup, one, source, server):
    """The server would load it and never look at the RDB file."""
    backup(source)
    assert server("CONFIG", "SET", "appendonly", "yes") == "OK"
    wait_for(lambda: "aof_rewrite_in_progress:0" in server("INFO") and (server.folder / "appendonlydir").is_dir())
    server.stop()
    outcome = one("cache", **SECRET)
    assert outcome["status"] == "critical"
    assert f"the server keeps an append-only file ({server.folder}/appendonlydir)" in outcome["summary"]
    assert "set appendonly no" in outcome["summary"]
    assert one("cache", force=True, **SECRET)["status"] == "critical", "not by force either"
    shutil.rmtree(server.folder / "appendonlydir")
    assert one("cache", **SECRET)["status"] == "ok"


def test_onto_another_host_s_folder(backup, one, source, server, tmp_path):
    """D11: the original goes on; another server takes the file."""
    backup(source)
    spare = tmp_path / "spare"
    spare.mkdir()
    outcome = one("cache", to=str(spare / "app.rdb"), **SECRET)
    assert outcome["status"] == "ok", outcome
    assert (spare / "app.rdb").exists()
    assert server("GET", "a") == "old"


def test_copies_that_are_not_what_they_were_are_refused(backup, one, source, server):
    copy = backup(source)
    server.stop()
    before = (server.folder / "app.rdb").read_bytes()
    with manifest_of(copy) as manifest:
        manifest["figures"].update(keys=7, quiet=False)
    assert "has 2 keys, the dump had 7" in one("cache", **SECRET)["summary"]
    flip(copy)
    assert "its SHA-256 is not that of what was written" in one("cache", **SECRET)["summary"]
    assert (server.folder / "app.rdb").read_bytes() == before
    assert os.listdir(server.folder) == ["app.rdb"]


def test_killed_at_many_moments_the_file_is_whole(backup, one, in_child, source, server):
    backup(source)
    server("SET", "a", "new")
    server.stop()
    path = server.folder / "app.rdb"
    took = in_child(60, name="cache", keep_old=1, **SECRET)
    new = path.read_bytes()
    for number in range(12):
        path.write_bytes(b"old")
        in_child(took * (number + 0.9) / 12, name="cache", keep_old=1, **SECRET)
        assert path.read_bytes() in (b"old", new), number
    assert one("cache", keep_old=1, **SECRET)["status"] == "ok"
    assert path.read_bytes() == new
    assert not [name for name in os.listdir(server.folder) if name.endswith(".partial")]
