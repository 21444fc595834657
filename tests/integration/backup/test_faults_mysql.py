# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults under a backup of MariaDB, caused for real: servers that stop, connections that are cut, disks that fill (D1, D4)."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import threading

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _packing, _settings, _verify
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Work
from ansible_collections.sre.runbooks.plugins.module_utils._core import runbook
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

from ..conftest import mariadb
from .conftest import copies, wait_for
from .kills import Killer, sound
from .test_faults_postgresql import Wire, broken_in_the_middle, meanwhile

SCRATCH = r"SHOW DATABASES LIKE 'sre\_runbooks\_verify\_%'"
# What does not compress, so that it has to go over the wire; two tables, the first of them small.
FILL = (
    "CREATE TABLE a_first (n int); INSERT INTO a_first VALUES (1); "
    "CREATE TABLE b_second (hash char(128)) CHARACTER SET ascii; "
    "INSERT INTO b_second SELECT sha2(seq, 512) FROM seq_1_to_{rows}; "
    "CREATE TABLE c_third (n int)"
)


def of(server, database, **changes):
    return {
        "name": "main", "engine": "mysql", "database": database, "host": server.host, "port": server.port,
        "user": server.user, "password": server.password, **changes,
    }  # fmt: skip


@pytest.fixture
def filled(mariadb_server, mariadb_database):
    mariadb_server.sql(FILL.format(rows=300), mariadb_database)
    return mariadb_database


@pytest.fixture
def source(mariadb_server, filled):
    return of(mariadb_server, filled)


def then_free(wire, action):
    """`action`, after which the connection goes on whatever happened."""

    def act():
        try:
            action()
        finally:
            wire.free()

    return act


@pytest.fixture
def wire(mariadb_server, filled):
    """More rows than fit into the buffers of a connection, and what stops in their middle."""
    mariadb_server.sql("INSERT INTO b_second SELECT sha2(seq, 512) FROM seq_1_to_40000", filled)
    between = Wire(mariadb_server)
    yield between
    between.close()
    for each in between._sockets:
        # Else the server waits a minute for somebody to take its rows, with a lock on the table.
        each.close()


def sessions(server, database):
    """The ids of the sessions in this database; those of the tests are in none."""
    return server.sql(f"SELECT id FROM information_schema.processlist WHERE db = '{database}'").split()


def test_the_server_stops_in_mid_dump(one, store):
    with mariadb(7) as server:
        server.sql("CREATE DATABASE shop")
        server.sql(FILL.format(rows=40000), "shop")
        wire = Wire(server)
        pid = int((server.log.parent / "pid").read_text())
        source = of(server, "shop")
        told = broken_in_the_middle(one, source, store, wire, lambda: os.kill(pid, signal.SIGKILL))
        wire.close()
        assert "mariadb-dump ended with status" in told
        assert "Lost connection to server during query" in told
        outcome = one(source)
        assert outcome["status"] == "critical"
        assert "See that the server runs" in outcome["summary"]


def test_the_session_of_the_dump_is_killed(one, source, store, wire, filled, mariadb_server):
    def kill():
        for session in wait_for(lambda: sessions(mariadb_server, filled)):
            mariadb_server.sql(f"KILL {session}")

    told = broken_in_the_middle(one, source, store, wire, kill)
    assert "mariadb-dump ended with status" in told
    assert one(source)["status"] == "ok"
    assert mariadb_server.sql(SCRATCH) == ""


def test_the_network_breaks(one, source, store, wire):
    told = broken_in_the_middle(one, source, store, wire, wire.cut)
    assert "Lost connection to server during query" in told
    assert one(source)["status"] == "ok"


def test_a_table_that_is_dropped_before_it_is_dumped_makes_the_dump_begin_anew(
    one, source, wire, filled, mariadb_server
):
    """The dump knows its name already and ends; the next one does not."""

    def drop():
        mariadb_server.sql("DROP TABLE c_third", filled)

    with meanwhile(wire.held, then_free(wire, drop)):
        outcome = one({**source, "port": wire.port})
    assert outcome["status"] == "ok", outcome
    assert outcome["details"]["proof"]["tables"] == 2


def test_a_table_that_is_altered_after_the_moment_of_the_dump_makes_it_begin_anew(
    one, source, wire, filled, mariadb_server
):
    """Its rows of that moment are gone: without a new beginning the copy would hold it empty, or not at all."""

    def alter():
        mariadb_server.sql(
            "INSERT INTO c_third VALUES (1), (2); ALTER TABLE c_third ADD PRIMARY KEY (n), FORCE", filled
        )
        wire.free()

    with meanwhile(wire.held, then_free(wire, alter)):
        outcome = one({**source, "port": wire.port})
    assert outcome["status"] == "ok", outcome
    assert outcome["details"]["proof"]["rows"] == 40303


def test_locked_tables_are_of_the_moment_of_the_others(one, source, store, wire, filled, mariadb_server):
    """A writer of a table without transactions waits until the dump is through, and no longer."""
    mariadb_server.sql("CREATE TABLE z_old (n int) ENGINE=MyISAM; INSERT INTO z_old VALUES (1)", filled)
    writers = []

    def write():
        statement = "INSERT INTO z_old VALUES (2)"
        writers.append(threading.Thread(target=mariadb_server.sql, args=(statement, filled)))
        writers[0].start()
        # The lock is the server's own, whatever goes over the wire.
        locked = f"SELECT count(*) FROM information_schema.processlist WHERE info = '{statement}' AND state LIKE 'Waiting for table%'"
        wait_for(lambda: mariadb_server.sql(locked) == "1")

    with meanwhile(wire.held, then_free(wire, write)):
        outcome = one({**source, "port": wire.port, "lock_tables": True})
    writers[0].join(10)
    assert not writers[0].is_alive()
    assert outcome["status"] == "ok", outcome
    assert copies(store, "main")[0][1]["figures"]["tables"]["z_old"] == 1
    assert mariadb_server.sql("SELECT count(*) FROM z_old", filled) == "2"


def test_the_time_limit_ends_a_dump_that_stands_still(one, source, store, wire):
    outcome = one({**source, "port": wire.port}, limits={"seconds": "2s"})
    wire.free()
    assert outcome["status"] == "critical"
    assert "did not end within" in outcome["summary"]
    assert not list((store / "main").iterdir())


def test_the_disk_fills_during_the_dump(source, wire, small_disk, tmp_path):
    """By the size of its files on the server's disk it would fit."""
    results, left = small_disk(
        "4m", tmp_path / "disk", {"sources": [source], "compression": {"algorithm": "none"}, "shrink_limit": 100}
    )
    (outcome,) = results[0]["outcomes"]
    assert outcome["status"] == "critical"
    assert "Make room in" in outcome["summary"] or "are free" in outcome["summary"]
    assert not [path for path in left if "main_" in path]


def test_a_disk_that_fills_while_bytes_are_written(one, source, wire, store):
    """A limit on the size of files is met in the middle of the stream, as a full disk is."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        outcome = one(source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    assert outcome["status"] == "critical"
    assert "File too large" in outcome["summary"]
    assert not list((store / "main").iterdir())


def repacked(path, document, change):
    """Change the content of a copy, and its manifest so that the checksum fits."""
    content = subprocess.check_output(["zstd", "-dqc", str(path)])
    packed = subprocess.run(["zstd", "-qc"], input=change(content), stdout=subprocess.PIPE, check=True).stdout
    path.write_bytes(packed)
    document.update(sha256=hashlib.sha256(packed).hexdigest(), size_bytes=len(packed))


@pytest.fixture
def prove(source, store, one):
    """Make a copy, change its content, prove it at `level`."""

    def go(change, level="restored"):
        assert one(source)["status"] == "ok"
        ((path, document),) = copies(store, "main")
        repacked(path, document, change)
        (item,), _secrets = _settings.items([source])
        with patch_module_args({}):
            module = runbook.build({})
        work = Work(
            Commands(module.run_command), _packing.choose("zstd", None), str(path.parent), "main", "token", level
        )
        return _verify.prove(item.engine, item.source, str(path), document, work)

    return go


def first(old, new):
    def change(content):
        assert old in content
        return content.replace(old, new, 1)

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda content: content[: len(content) // 2], "-- Dump completed is missing"),
        (first(b"\n-- Dump completed", b"\n-- Dump"), "-- Dump completed is missing"),
        (first(b"\nINSERT INTO `a_first` VALUES\n(1);", b"\n"), "1 tables of the restored copy differ"),
        (first(b"CREATE TABLE `c_third`", b"CREATE TABLE `d_third`"), "cannot be restored: mariadb ended with status 1"),
        (first(b"\nUNLOCK TABLES;", b"\nUNLOCK TABLES;\nUSE mysql;"), "speaks of another database (USE mysql;"),
        (first(b"\nUNLOCK TABLES;", b"\nUNLOCK TABLES;\nDROP DATABASE IF EXISTS shop;"), "speaks of another database"),
    ],
)  # fmt: skip
def test_a_copy_with_another_content_fails_though_its_checksum_fits(prove, change, problem, mariadb_server):
    record = prove(change)
    assert record["ok"] is False
    assert problem in record["figures"]["problem"]
    assert mariadb_server.sql(SCRATCH) == ""


def test_commands_of_the_client_in_a_copy_are_not_obeyed(prove, tmp_path):
    """Such as one for a shell: the restore of a copy that somebody changed is no way into the host."""
    gone = tmp_path / "gone"
    record = prove(first(b"\nUNLOCK TABLES;", f"\nUNLOCK TABLES;\n\\! touch {gone}\nsystem touch {gone}\n;".encode()))
    assert record["ok"] is False
    assert "Unknown command" in record["figures"]["problem"]
    assert not gone.exists()


def test_a_flipped_bit_is_found_and_a_new_copy_made(one, source, store):
    assert one(source, interval="1h", retention={"keep_last": 5})["status"] == "ok"
    ((path, _manifest),) = copies(store, "main")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    outcome = one(source, interval="1h", retention={"keep_last": 5})
    assert "made anew" in outcome["summary"]
    assert len(copies(store, "main")) == 2


def test_a_proof_that_cannot_be_made_is_no_evidence_against_the_copy(one, source, store, mariadb_server):
    """The copy counts as what it was proven to be, and is not condemned."""
    mariadb_server.sql(
        f"CREATE USER weak@'127.0.0.1' IDENTIFIED BY 'weak'; GRANT ALL ON {source['database']}.* TO weak@'127.0.0.1'"
    )
    outcome = one({**source, "user": "weak", "password": "weak"})
    mariadb_server.sql("DROP USER weak@'127.0.0.1'")
    assert outcome["status"] == "critical"
    ((_path, manifest),) = copies(store, "main")
    assert [(each["level"], each["ok"]) for each in manifest["verifications"]] == [("checksum", True)]


def test_killed_at_random_moments_it_converges(in_memory, mariadb_server, mariadb_database, store):
    """kill -9, fifty times and more: every copy is whole, the database is as it was, the next run cleans up and succeeds."""
    mariadb_server.sql(FILL.format(rows=100), mariadb_database)
    source = of(mariadb_server, mariadb_database)
    before = mariadb_server.sql("CHECKSUM TABLE a_first, b_second, c_third", mariadb_database)
    options = {"directory": str(store), "sources": [source], "retention": {"keep_last": 3}}
    with Killer(options) as killer:
        for _number in killer.kill(52):
            # A run that is killed before it has let old copies go leaves one more.
            assert sound(store, "main") >= 1
        # Of those that were killed, as many had made a copy as the machine had time for.
        for _number in range(3):
            killer.whole()
    assert sound(store, "main") == 3
    assert not list((store / "main").glob(".*"))
    assert mariadb_server.sql(SCRATCH) == ""
    assert mariadb_server.sql("CHECKSUM TABLE a_first, b_second, c_third", mariadb_database) == before
    wait_for(lambda: not sessions(mariadb_server, mariadb_database))


def test_two_runs_at_once(one, started, source, store, wire):
    first_run = started({**source, "port": wire.port})
    assert wire.held.wait(30)
    outcome = one(source)
    assert outcome["status"] == "warning"
    assert f"another run holds this lock (process {first_run.pid})" in outcome["summary"]
    wire.free()
    assert json.loads(first_run.communicate(timeout=60)[0])["status"] == "ok"
