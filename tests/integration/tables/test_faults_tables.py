# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""D7: whatever happens to an archive run, every row is in the table, in a verified export, or in both; the next run ends it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from .conftest import ENVIRONMENT, MEMORY_KIB, NEW, OLD, SCRIPT, ended, exports, kill, manifest, unpacked, wait_for

KILLS = 50


def exported(options):
    """The ids in all exports that have a manifest: what counts as safe."""
    found = set()
    for path in exports(options):
        if Path(f"{path}.manifest.json").exists():
            found |= {int(line.partition(",")[0]) for line in unpacked(path).splitlines()[1:]}
    return found


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_killed_at_any_moment_no_row_is_lost(engine, request, options, started):
    """kill -9 of the whole process group, 50 times at random moments; no half file counts, no lock stays, the next run goes on.

    The moments lie around that at which the export is there, however long this machine needs until then.
    """
    world = request.getfixturevalue(f"{engine}_world")
    rows = 400
    entry = world.events(rows=rows)
    arguments = {**options, "databases": [entry], "batch": 5, "pause": "1ms"}
    chance = random.Random(7)
    began = time.monotonic()
    process = started("archive", arguments)
    wait_for(lambda: exports(options))
    kill(process)
    needed = time.monotonic() - began
    interrupted = 1
    for _round in range(KILLS):
        process = started("archive", arguments)
        time.sleep(needed * (0.5 + chance.random()))
        interrupted += process.poll() is None
        kill(process)
        safe = exported(options)
        left = set(world.ids())
        assert {rows + 1, rows + 2, rows + 3} <= left
        assert safe | left == set(range(1, rows + 4)), "a row is in neither place"
        if left.isdisjoint(range(1, rows + 1)):
            # All gone: begin anew with other rows of the same age.
            for path in [
                *exports(options),
                *Path(options["directory"]).rglob("*.json"),
                *Path(options["state_dir"]).glob("*.json"),
            ]:
                path.unlink()
            world.sql("INSERT INTO events VALUES " + ", ".join(f"({n}, '{OLD}', 'x')" for n in range(1, rows + 1)))
    result, _memory = ended(started("archive", arguments))
    assert result["status"] == "ok", result
    assert world.ids() == [rows + 1, rows + 2, rows + 3]
    assert exported(options) >= set(range(1, rows + 1))
    assert not [path for path in Path(options["directory"]).rglob("*") if path.name.endswith(".partial")]
    assert not list(Path(options["state_dir"]).glob("archive*.json"))
    assert interrupted > KILLS / 2, "most were killed at work"


def test_five_million_rows_killed_between_export_and_deletion(tmp_path, options, started):
    """Every row is in both places then; the next run goes on with the same export. At most 64 MiB of memory."""
    path, rows = tmp_path / "big.db", 5_000_000
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=wal")
        connection.execute("PRAGMA synchronous=off")
        connection.execute("CREATE TABLE readings (id INTEGER PRIMARY KEY, at INTEGER, value INTEGER)")
        connection.execute(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) "
            "INSERT INTO readings SELECT i, 1500000000 + i, i % 1000 FROM n"
        )
        connection.execute(f"INSERT INTO readings VALUES ({rows + 1}, 32472144000, 0)")
    entry = {"name": "big", "engine": "sqlite", "path": str(path), "table": "readings", "column": "at"}
    arguments = {**options, "databases": [entry], "batch": 20_000}
    process = started("archive", arguments)
    wait_for(lambda: list(Path(options["directory"]).rglob("*.manifest.json")), 90)
    kill(process)
    (export,) = exports(options)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (left,) = connection.execute("SELECT count(*) FROM readings").fetchone()
    counted = subprocess.run(f"zstd -dc '{export}' | wc -l", shell=True, check=True, capture_output=True, text=True)
    assert int(counted.stdout) == rows + 1, "a head and every row"
    assert left > rows - 1_000_000, "killed before much was deleted"
    result, memory = ended(started("archive", arguments))
    (outcome,) = result["outcomes"]
    assert outcome["status"] == "ok", outcome
    assert outcome["metrics"]["deleted"] + outcome["details"]["gone"] == rows
    assert memory < MEMORY_KIB
    assert exports(options) == [export], "no second export"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT id FROM readings").fetchall() == [(rows + 1,)]


def test_a_damaged_export_stops_the_deletion(world, archive, half, options):
    """One flipped bit, a truncated file, a manifest edited by hand: nothing more is deleted."""
    entry = world.events(rows=30)
    assert "limits.seconds has passed" in half(entry)["summary"]
    (path,) = exports(options)
    left = world.ids()
    whole, document = path.read_bytes(), Path(f"{path}.manifest.json").read_text()
    flipped = bytearray(whole)
    flipped[len(flipped) // 2] ^= 1
    edited = json.loads(document)
    for data, text in (
        (bytes(flipped), document), (whole[:-20], document), (whole, json.dumps({**edited, "rows": 29})),
        (whole, json.dumps({**edited, "keys_sha256": "0" * 64})),
        (whole, json.dumps({**edited, "sha256": "0" * 64})),
        (whole, "{"), (whole, "[]"), (whole, json.dumps({**edited, "key": ["note"]})), (whole, json.dumps({**edited, "columns": []})),
    ):  # fmt: skip
        path.write_bytes(data)
        Path(f"{path}.manifest.json").write_text(text)
        done = archive(entry)
        assert done["status"] == "critical", done
        assert world.ids() == left
    path.write_bytes(whole)
    Path(f"{path}.manifest.json").write_text(document)
    path.rename(f"{path}.away")
    assert "this export is gone" in archive(entry)["summary"]
    Path(f"{path}.away").rename(path)
    assert archive(entry)["status"] == "ok"
    assert world.ids() == [31, 32, 33]


def test_a_column_added_between_export_and_deletion_stops_it(world, archive, half):
    entry = world.events(rows=30)
    assert "limits.seconds has passed" in half(entry)["summary"]
    left = world.ids()
    world.sql("ALTER TABLE events ADD COLUMN more integer")
    done = archive(entry)
    assert done["status"] == "critical"
    assert "columns of events are not what they were" in done["summary"]
    assert world.ids() == left


def test_a_full_disk(world, tmp_path, options):
    """The export breaks off: no half file stays, no row goes, and with room it works."""
    entry = world.events(rows=1)
    world.sql("DELETE FROM events")
    chance = random.Random(1)
    for start in range(0, 4000, 200):
        values = [f"({number}, '{OLD}', '{chance.randbytes(200).hex()}')" for number in range(start, start + 200)]
        world.sql(f"INSERT INTO events VALUES {', '.join(values)}")
    folder = tmp_path / "small"
    folder.mkdir()
    given = json.dumps({**options, "directory": str(folder), "databases": [entry]})
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    script = 'mount -t tmpfs -o size=256k none "$1"; "$2" -c "$3" "$4"; find "$1" -type f; echo; mount -o remount,size=8m "$1"; "$2" -c "$3" "$4"'
    done = subprocess.run(
        [*unshare, "sh", "-c", script, "sh", str(folder), sys.executable, SCRIPT.format(name="archive"), given],
        env=ENVIRONMENT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [each["status"] for each in results] == ["critical", "ok"], done.stdout
    assert "No space left" in results[0]["outcomes"][0]["summary"]
    assert not [line for line in done.stdout.splitlines() if line.startswith(str(folder))], "no file stayed"
    assert results[1]["outcomes"][0]["metrics"]["deleted"] == 4000
    assert world.ids() == []


class Cable:
    """A TCP relay that is cut when so many bytes have passed, or when told."""

    def __init__(self, host, port):
        self.target = (host, port)
        self.limit = None
        self.seen = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.ends = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _address = self.listener.accept()
                server = socket.create_connection(self.target)
                self.ends += [client, server]
                threading.Thread(target=self._pump, args=(client, server), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client), daemon=True).start()

    def _pump(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.seen += len(data)
                if self.limit is not None and self.seen > self.limit:
                    self.cut()
                    return
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self):
        ends, self.ends = self.ends, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture(params=["postgresql", "mysql"])
def cabled(request):
    """A database that is reached by a cable, and the cable."""
    world = request.getfixturevalue(f"{request.param}_world")
    cable = Cable(world.entry["host"], world.entry["port"])
    yield world, cable
    cable.listener.close()
    cable.cut()


def test_a_connection_cut_during_the_export(cabled, archive, options):
    world, cable = cabled
    entry = {**world.events(rows=5000, text="x" * 100), "host": "127.0.0.1", "port": cable.port}
    cable.limit = 200_000
    done = archive(entry)
    assert done["status"] == "critical", done
    assert exports(options) == []
    assert len(world.ids()) == 5003
    cable.limit = None
    assert archive(entry)["metrics"]["deleted"] == 5000


def test_a_connection_cut_during_the_deletion(cabled, archive, options, monkeypatch):
    """What was committed is gone, what was not is there; the next run goes on with the same export."""
    from ansible_collections.sre.runbooks.plugins.module_utils._tables import _archive_delete

    world, cable = cabled
    entry = {**world.events(rows=300), "host": "127.0.0.1", "port": cable.port}
    real, batches = _archive_delete._batch, []

    def count(*arguments):
        batches.append(1)
        if len(batches) == 4:
            cable.cut()
        real(*arguments)

    monkeypatch.setattr(_archive_delete, "_batch", count)
    done = archive(entry, batch=50)
    assert done["status"] == "critical", done
    assert len(world.ids()) == 153
    assert len(exports(options)) == 1
    again = archive(entry, batch=50)
    assert again["status"] == "ok", again
    assert again["metrics"]["deleted"] == 300
    assert world.ids() == [301, 302, 303]
    assert len(exports(options)) == 1


def test_a_connection_cut_during_an_import(cabled, one, tmp_path):
    world, cable = cabled
    world.sql("CREATE TABLE t (id integer primary key, a varchar(200))")
    path = tmp_path / "t.csv"
    path.write_text("id,a\n" + "".join(f"{n},{'x' * 100}\n" for n in range(20_000)))
    entry = {**world.entry, "host": "127.0.0.1", "port": cable.port, "table": "t", "src": str(path)}
    cable.limit = 600_000
    done = one("import", entry)
    cable.limit = None
    assert done["status"] == "critical", done
    assert world.sql("SELECT count(*) FROM t") == "0"
    assert one("import", entry)["metrics"]["rows_written"] == 20_000


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_a_wrong_password_is_told_and_not_shown(engine, request, archive, one, tmp_path):
    world = request.getfixturevalue(f"{engine}_world")
    entry = {**world.events(), "password": "not-the-password"}
    path = tmp_path / "t.csv"
    path.write_text("id\n1\n")
    for done in (
        archive(entry),
        one(
            "export",
            {**world.entry, "password": "not-the-password", "table": "events", "dest": str(tmp_path / "o.csv")},
        ),
        one("import", {**world.entry, "password": "not-the-password", "table": "events", "src": str(path)}),
    ):
        assert done["status"] == "critical"
        assert "check database" in done["summary"]
        assert "not-the-password" not in json.dumps(done)
    assert len(world.ids()) == 33


def lock_row(world):
    """Another session that holds row 1, or in SQLite the whole database, until it is closed."""
    if world.engine == "sqlite":
        connection = sqlite3.connect(world.entry["path"], isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        return contextlib.closing(connection)
    holder = {
        "postgresql": [
            "psql",
            "-XqAt",
            "-h",
            world.entry["host"],
            "-p",
            str(world.entry["port"]),
            "-U",
            "postgres",
            "-d",
            world.entry["database"],
        ],
        "mysql": [
            "mariadb",
            "--no-defaults",
            "--protocol=tcp",
            f"--host={world.entry['host']}",
            f"--port={world.entry['port']}",
            f"--user={world.entry['user']}",
            f"--database={world.entry['database']}",
            "--batch",
            "--skip-column-names",
            "--unbuffered",
        ],
    }[world.engine]
    environment = {**os.environ, "PGPASSWORD": world.entry["password"], "MYSQL_PWD": world.entry["password"]}
    process = subprocess.Popen(holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
    process.stdin.write("BEGIN; SELECT id FROM events WHERE id = 1 FOR UPDATE;\n")
    process.stdin.flush()
    assert process.stdout.readline().strip() == "1"

    @contextlib.contextmanager
    def held():
        yield
        process.stdin.close()
        process.wait()
        process.stdout.close()

    return held()


def test_a_lock_is_waited_for_no_longer_than_told(world, archive, one, options, tmp_path):
    entry = world.events(rows=5)
    with lock_row(world):
        begun = time.monotonic()
        done = archive(entry, lock_timeout="1s")
        assert done["status"] == "critical", done
        assert "lock" in done["summary"].lower()
        assert 0.9 < time.monotonic() - begun < 8
    assert len(world.ids()) == 8
    assert archive(entry)["metrics"]["deleted"] == 5
    assert len(exports(options)) == 1


WRITER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
number = 1_000_000
while True:
    connection.execute("INSERT INTO events VALUES (?, '2999-01-01', 'busy')", (number,))
    connection.execute("UPDATE events SET note = note || '!' WHERE id IN (SELECT id FROM events WHERE id % 50 = ? AND id < 2000)", (number % 50,))
    number += 1
"""


def test_a_writer_without_a_pause_loses_nothing(sqlite_world, archive, options):
    """Rows that the writer changed after their export stay; all it inserted is there."""
    entry = sqlite_world.events(rows=500)
    process = subprocess.Popen([sys.executable, "-c", WRITER, sqlite_world.entry["path"]])
    try:
        wait_for(lambda: sqlite_world.ids()[-1] >= 1_000_010)
        done = archive(entry, batch=50, lock_timeout="30s")
    finally:
        process.kill()
        process.wait()
    assert done["status"] in ("ok", "warning"), done
    left = sqlite_world.ids()
    inserted = [number for number in left if number >= 1_000_000]
    assert inserted == list(range(1_000_000, inserted[-1] + 1))
    old = [number for number in left if number <= 500]
    assert len(old) == done["metrics"]["changed"], done
    assert exported(options) == set(range(1, 501))
    archive(entry)
    assert [number for number in sqlite_world.ids() if number <= 500] == []


def test_two_runs_at_once(world, archive, options, started):
    entry = world.events(rows=40)
    first = started("archive", {**options, "databases": [entry], "batch": 4, "pause": "100ms"})
    wait_for(lambda: list(Path(options["state_dir"]).glob("*.json")))
    # It waits at its work for the second one, which may be slow to come.
    os.killpg(first.pid, signal.SIGSTOP)
    second = archive(entry)
    os.killpg(first.pid, signal.SIGCONT)
    assert second["status"] == "warning"
    assert second["details"]["busy"]
    assert ended(first)[0]["status"] == "ok"
    assert world.ids() == [41, 42, 43]
    assert manifest(exports(options)[0])["deletion"]["deleted"] == 40
    assert NEW
