# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults under a backup of PostgreSQL, caused for real: servers that stop, connections that are cut, disks that fill (D1, D4)."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from ..conftest import postgresql_files, postgresql_running
from .conftest import copies, wait_for
from .kills import Killer, age, sound

SCRATCH = r"SELECT count(*) FROM pg_database WHERE datname LIKE 'sre\_runbooks\_verify\_%'"
OURS = "FROM pg_stat_activity WHERE application_name = 'sre.runbooks'"
# What does not compress, so that it has to go over the wire.
FILL = "INSERT INTO {table} SELECT sha512(i::text::bytea) FROM generate_series(1, {rows}) i"


class Wire:
    """Between client and server. A connection that has had a MiB is held until `free` is called: a dump in its middle."""

    LIMIT = 1 << 20

    def __init__(self, server) -> None:
        self.held, self._free, self._broken = threading.Event(), threading.Event(), threading.Event()
        self._to = (server.host, server.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def free(self) -> None:
        self._free.set()

    def cut(self) -> None:
        """Every connection breaks at once."""
        self._broken.set()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._free.set()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                try:
                    far = socket.create_connection(self._to)
                except OSError:
                    near.close()
                    continue
                self._sockets += [near, far]
                threading.Thread(target=self._pump, args=(near, far, None), daemon=True).start()
                threading.Thread(target=self._pump, args=(far, near, self.LIMIT), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, limit: int | None) -> None:
        seen = 0
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                seen += len(piece)
                if limit is not None and seen > limit and not self._free.is_set():
                    self.held.set()
                    self._free.wait(60)
                target.sendall(piece)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        if self._broken.is_set():
            # Open but read by nobody, it would keep whoever sends waiting when its buffers are full.
            source.close()


@pytest.fixture
def wire(postgresql_server):
    between = Wire(postgresql_server)
    yield between
    between.close()


@pytest.fixture
def filled(postgresql_server, postgresql_database):
    postgresql_server.psql(
        f"CREATE TABLE a_first (hash bytea); CREATE TABLE b_second (hash bytea); {FILL.format(table='b_second', rows=120000)}",
        postgresql_database,
    )
    return postgresql_database


@pytest.fixture
def source(postgresql_server, filled):
    return of(postgresql_server, filled)


def of(server, database, **changes):
    return {
        "name": "main", "engine": "postgresql", "database": database, "host": server.host, "port": server.port,
        "user": server.user, "password": server.password, **changes,
    }  # fmt: skip


@contextlib.contextmanager
def meanwhile(event, action):
    """Do `action` in a thread as soon as `event` is set."""
    problems = []

    def work():
        try:
            assert event.wait(30), "the dump never got into its middle"
            action()
        except (AssertionError, OSError, subprocess.CalledProcessError) as error:
            problems.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join()
    assert not problems


def broken_in_the_middle(one, source, store, wire, action):
    """A good copy is made, then the dump of a second is disturbed by `action`; the outcome of that one."""
    assert one(source)["status"] == "ok"
    (good,) = copies(store, "main")
    content = good[0].read_bytes()

    def act():
        try:
            action()
        finally:
            wire.free()

    with meanwhile(wire.held, act):
        outcome = one({**source, "port": wire.port})
    assert outcome["status"] == "critical", outcome
    assert "no backup could be made of main" in outcome["summary"]
    assert copies(store, "main") == [good]
    assert good[0].read_bytes() == content
    assert sorted(path.name for path in good[0].parent.iterdir()) == sorted(
        [good[0].name, good[0].name + ".manifest.json"]
    )
    return outcome["summary"]


def test_the_server_stops_in_mid_dump(one, store):
    with postgresql_files() as server:
        with postgresql_running(server):
            server.psql(f"CREATE TABLE t (hash bytea); {FILL.format(table='t', rows=120000)}")
            wire = Wire(server)
            pid = int((server.socket_dir / "data/postmaster.pid").read_text().split()[0])
            source = of(server, "postgres")
            told = broken_in_the_middle(one, source, store, wire, lambda: os.kill(pid, signal.SIGQUIT))
            wire.close()
            assert "pg_dump ended with status 1" in told
            assert "server closed the connection unexpectedly" in told or "immediate shutdown" in told
        outcome = one(source)
        assert outcome["status"] == "critical"
        assert "Connection refused" in outcome["summary"]
        assert "See that the server runs" in outcome["summary"]
        with postgresql_running(server):
            assert one(source)["status"] == "ok"
    assert len(copies(store, "main")) >= 1


def test_the_server_ends_the_connection_of_the_dump(one, source, store, wire, postgresql_server):
    told = broken_in_the_middle(
        one, source, store, wire,
        lambda: postgresql_server.psql(f"SELECT pg_terminate_backend(pid) {OURS} AND query LIKE 'COPY%'"),
    )  # fmt: skip
    assert "pg_dump ended with status 1" in told
    assert "terminating connection" in told or "server closed the connection unexpectedly" in told
    assert one(source)["status"] == "ok"
    assert postgresql_server.psql(SCRATCH) == "0"


def test_the_network_breaks(one, source, store, wire, postgresql_server):
    told = broken_in_the_middle(one, source, store, wire, wire.cut)
    assert "server closed the connection unexpectedly" in told
    wait_for(lambda: postgresql_server.psql(f"SELECT count(*) {OURS}") == "0")
    assert one(source)["status"] == "ok"


@pytest.fixture
def held(filled, postgresql_server):
    """A session that holds the first table; `held.communicate()` lets it go."""
    holder = subprocess.Popen(
        [str(postgresql_server.bindir / "psql"), "-XAtq", "-h", str(postgresql_server.socket_dir), "-p",
         str(postgresql_server.port), "-U", "postgres", "-d", filled],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    holder.stdin.write("BEGIN; LOCK TABLE a_first IN ACCESS EXCLUSIVE MODE; SELECT 'locked';\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "locked\n"
    yield holder
    holder.kill()
    holder.wait()


def now():
    event = threading.Event()
    event.set()
    return event


def test_the_session_that_holds_the_snapshot_is_ended_while_it_counts(one, source, store, held, postgresql_server):
    """Its counts are what the copy is compared with, so there is no copy; the next run makes one."""
    waiting = f"{OURS} AND wait_event_type = 'Lock' AND query LIKE"

    def end():
        for query in ("'LOCK TABLE%'", "'%count(*)%'"):
            wait_for(lambda query=query: postgresql_server.psql(f"SELECT count(*) {waiting} {query}") == "1")
        postgresql_server.psql(f"SELECT pg_terminate_backend(pid) {waiting} '%count(*)%'")
        held.communicate("COMMIT;\n")

    with meanwhile(now(), end):
        outcome = one(source)
    assert outcome["status"] == "critical"
    assert "psql ended with status" in outcome["summary"]
    assert "terminating connection due to administrator command" in outcome["summary"]
    assert not list((store / "main").iterdir())
    assert one(source)["status"] == "ok"


def test_the_session_that_holds_the_snapshot_is_ended_after_it_has_counted(one, source, wire, postgresql_server):
    """The dump has the snapshot by then, and the counts are there: nothing is lost."""

    # Between two of its statements it is idle too.
    counted = f"{OURS} AND state = 'idle in transaction' AND query LIKE '%FROM pg_largeobject_metadata%'"

    def end():
        try:
            wait_for(lambda: postgresql_server.psql(f"SELECT count(*) {counted}") == "1")
            postgresql_server.psql(f"SELECT pg_terminate_backend(pid) {counted}")
        finally:
            wire.free()

    with meanwhile(wire.held, end):
        outcome = one({**source, "port": wire.port})
    assert outcome["status"] == "ok", outcome
    assert outcome["details"]["proof"]["rows"] == 120000


def test_a_table_that_is_dropped_while_it_is_dumped_is_in_the_copy(one, source, store, wire, filled, postgresql_server):
    dropping = []

    def drop():
        dropping.append(
            subprocess.Popen(
                [str(postgresql_server.bindir / "psql"), "-XAtq", "-h", str(postgresql_server.socket_dir), "-p",
                 str(postgresql_server.port), "-U", "postgres", "-d", filled, "-c", "DROP TABLE b_second"],
            )
        )  # fmt: skip
        wait_for(
            lambda: postgresql_server.psql(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DROP TABLE b%' AND wait_event_type = 'Lock'"
            ) == "1"
        )  # fmt: skip
        wire.free()

    with meanwhile(wire.held, drop):
        outcome = one({**source, "port": wire.port})
    assert dropping[0].wait(30) == 0
    assert outcome["status"] == "ok", outcome
    assert outcome["details"]["proof"]["rows"] == 120000
    assert one(source)["details"]["proof"]["rows"] == 0


def test_a_table_that_is_dropped_before_it_is_locked_makes_the_dump_begin_anew(
    one, source, store, filled, held, postgresql_server
):
    """The snapshot still knows it, so pg_dump asks for it and ends; the next snapshot does not."""

    def drop():
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LOCK TABLE%' AND wait_event_type = 'Lock'"
        wait_for(lambda: postgresql_server.psql(waiting) != "0")
        postgresql_server.psql("DROP TABLE b_second", filled)
        held.communicate("COMMIT;\n")

    with meanwhile(now(), drop):
        outcome = one(source)
    assert outcome["status"] == "ok", outcome
    assert copies(store, "main")[0][1]["figures"]["tables"] == {"public.a_first": 0}


def test_the_disk_of_the_database_fills_up_under_the_scratch_database(one, store, tmp_path):
    """It says nothing about the copy, which is kept and not called proven; nothing stays on the disk."""
    small = Path(tempfile.mkdtemp(prefix="sre-runbooks-small-", dir="/tmp"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, small)
        server = stack.enter_context(postgresql_files())
        stack.enter_context(postgresql_running(server, (small, 8)))
        server.psql("CREATE DATABASE app")
        server.psql(f"CREATE TABLE t (hash bytea); {FILL.format(table='t', rows=100000)}", "app")
        server.psql(f"CREATE TABLESPACE small LOCATION '{small}'")
        server.psql("ALTER ROLE postgres SET default_tablespace = small")
        outcome = one(of(server, "app"))
        assert outcome["status"] == "critical"
        assert "NOT proven as restored" in outcome["summary"]
        assert "No space left on device" in outcome["summary"]
        ((path, manifest),) = copies(store, "main")
        assert [(each["level"], each["ok"]) for each in manifest["verifications"]] == [("checksum", True)]
        assert server.psql(SCRATCH) == "0"
        server.psql("ALTER ROLE postgres RESET default_tablespace")
        outcome = one(of(server, "app"), retention={"keep_last": 5})
        assert outcome["status"] == "ok", outcome
        assert path.exists()


@pytest.mark.parametrize("fill", [False, True])
def test_the_disk_of_the_scratch_cluster_is_full_or_fills_up(small_disk, postgresql_server, fill):
    """Globals are proven in a cluster below TMPDIR."""
    disk = Path(tempfile.mkdtemp(prefix="sre-runbooks-disk-", dir="/tmp"))
    disk.chmod(0o711)
    source = {**of(postgresql_server, "postgres"), "globals": True}
    prepare = 'mkdir -m 1777 "$0/tmp"; chmod 711 "$0"; export TMPDIR="$0/tmp"'
    filler = '(while ! ls "$TMPDIR"/sre-*/data/base >/dev/null 2>&1; do :; done; dd if=/dev/zero of="$0/fill" bs=64k 2>/dev/null) &'
    try:
        (result,), files = small_disk(
            "80m" if fill else "40m",
            disk,
            prepare,
            filler if fill else ":",
            {"sources": [source]},
            "wait; rm -f $0/fill",
        )
    finally:
        disk.rmdir()
    (outcome,) = result["outcomes"]
    assert outcome["status"] == "critical"
    assert "NOT proven as restored" in outcome["summary"]
    assert ("No space left on device" if fill else "a scratch cluster needs 64") in outcome["summary"]
    assert not [each for each in files if "/tmp/sre-" in each.removeprefix("/tmp")]


def test_killed_at_fifty_moments_the_next_run_always_converges(
    in_memory, one, store, postgresql_server, postgresql_database
):
    """kill -9 at random moments of a whole run, from its start to its end, with the restore into a scratch database."""
    postgresql_server.psql(
        "CREATE TABLE t (n int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 500)", postgresql_database
    )
    source = of(postgresql_server, postgresql_database, host=str(postgresql_server.socket_dir))
    options = {"directory": str(store), "sources": [source], "retention": {"keep_last": 4}}
    with Killer(options) as killer:
        for number in killer.kill(50):
            sound(store, "main")
            if number % 2:
                # A run that is let be has to make up for two.
                age(store, "main")
                continue
            outcome = one(source, retention={"keep_last": 4})
            assert outcome["status"] == "ok", outcome
            assert postgresql_server.psql(SCRATCH) == "0"
            # A copy of a killed run that was not proven any more is kept beside the proven ones.
            assert sound(store, "main") <= 8
            assert not list((store / "main").glob(".*"))
            age(store, "main")
    wait_for(lambda: postgresql_server.psql(f"SELECT count(*) {OURS}") == "0")
