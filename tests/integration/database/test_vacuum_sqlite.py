# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.database_vacuum with SQLite: VACUUM, integrity check, statistics (D6)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
import threading

import pytest

from .conftest import content, sqlite_file

WHOLE = ((100, 5050), "ok")


@pytest.fixture
def source(tmp_path):
    def go(path=None, **more):
        return {"name": "app", "engine": "sqlite", "path": str(path or tmp_path / "app.db"), **more}

    return go


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_the_file_shrinks_and_a_second_run_changes_nothing(vacuum, source, tmp_path, journal):
    path = sqlite_file(tmp_path / "app.db", journal)
    before = path.stat().st_size
    outcome = vacuum(source())
    assert (outcome["status"], outcome["changed"]) == ("ok", True)
    metrics = outcome["metrics"]
    assert metrics["size_before_bytes"] == before
    assert metrics["size_bytes"] == path.stat().st_size < before / 10
    assert metrics["free_percent"] == 0
    assert "integrity_check ok" in outcome["summary"]
    assert [each["action"] for each in outcome["details"]["steps"]] == ["VACUUM", "ANALYZE"]
    assert content(path) == WHOLE
    data = path.read_bytes()
    outcome = vacuum(source())
    assert (outcome["status"], outcome["changed"], outcome["plan"]) == ("ok", False, "")
    assert "nothing to do" in outcome["summary"]
    assert path.read_bytes() == data
    assert sorted(each.name for each in tmp_path.glob("app.db*")) == ["app.db"]


def test_check_mode_tells_what_would_be_done_and_writes_nothing(vacuum, source, tmp_path, state_dir):
    path = sqlite_file(tmp_path / "app.db")
    data = path.read_bytes()
    outcome = vacuum(source(), _ansible_check_mode=True)
    assert outcome["changed"] is True
    assert outcome["summary"].endswith("would VACUUM of 1, ANALYZE of 1")
    assert outcome["plan"].startswith("sqlite:app: VACUUM the file (9")
    assert "sqlite:app: ANALYZE kept (never analysed" in outcome["plan"]
    assert path.read_bytes() == data
    assert not state_dir.exists()
    assert sorted(each.name for each in tmp_path.glob("app.db*")) == ["app.db"]


def test_a_file_with_little_free_space_is_left_alone_unless_full(vacuum, source, tmp_path):
    path = sqlite_file(tmp_path / "app.db", rows=2000, free=False)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("DELETE FROM gone WHERE id <= 100")
    outcome = vacuum(source(analyze=False))
    assert (outcome["changed"], 1 < outcome["metrics"]["free_percent"] < 10) == (False, True)
    assert vacuum(source(analyze=False), minimum_free_percent=1, _ansible_check_mode=True)["changed"] is True
    assert vacuum(source(analyze=False, full=True))["changed"] is True
    assert vacuum(source(analyze=False, full=True))["changed"] is False


def test_pages_are_given_back_one_by_one_where_the_file_is_made_for_it(vacuum, source, tmp_path):
    path = sqlite_file(tmp_path / "app.db", auto_vacuum=2)
    before = path.stat().st_size
    outcome = vacuum(source())
    assert outcome["details"]["steps"][0]["action"] == "incremental VACUUM"
    assert path.stat().st_size < before / 10
    assert content(path) == WHOLE
    assert vacuum(source())["changed"] is False


@pytest.mark.parametrize("mode", ["quick", "full"])
def test_a_damaged_file_is_critical_and_left_untouched(vacuum, source, tmp_path, mode):
    path = sqlite_file(tmp_path / "app.db", "delete", free=False)
    with contextlib.closing(sqlite3.connect(path)) as database:
        page = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'gone'").fetchone()[0]
        size = database.execute("PRAGMA page_size").fetchone()[0]
        database.execute("DELETE FROM gone WHERE id > 500")
        database.commit()
    data = bytearray(path.read_bytes())
    data[(page - 1) * size + 20 : (page - 1) * size + 200] = b"\xff" * 180
    path.write_bytes(data)
    outcome = vacuum(source(), integrity=mode)
    assert (outcome["status"], outcome["changed"]) == ("critical", False)
    assert outcome["summary"].startswith("damaged, and left untouched: ")
    assert path.read_bytes() == data


def test_an_index_that_lacks_a_row_is_found_by_the_full_check_only(vacuum, source, tmp_path):
    path = sqlite_file(tmp_path / "app.db", "delete")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA writable_schema=ON")
        database.execute(
            "UPDATE sqlite_master SET sql = 'CREATE INDEX kept_text ON kept (id)' WHERE name = 'kept_text'"
        )
    data = path.read_bytes()
    assert vacuum(source(), integrity="full")["status"] == "critical"
    assert path.read_bytes() == data


def test_a_lock_that_somebody_holds_is_waited_for_and_then_told(vacuum, source, tmp_path):
    path = sqlite_file(tmp_path / "app.db", "delete")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        blocker.execute("INSERT INTO gone (text) VALUES ('x')")
        outcome = vacuum(source(), lock_timeout="300ms")
        assert (outcome["status"], outcome["changed"]) == ("warning", False)
        assert "the file: locked by another program for 300 ms (lock_timeout)" in outcome["summary"]
        threading.Timer(0.3, blocker.execute, ["ROLLBACK"]).start()
        outcome = vacuum(source(), lock_timeout="20s")
        assert (outcome["status"], outcome["changed"]) == ("ok", True)


def test_a_busy_writer_loses_nothing(vacuum, source, tmp_path):
    path = sqlite_file(tmp_path / "app.db")
    written, stop, problems = [], threading.Event(), []

    def write():
        with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as database:
            while not stop.is_set():
                try:
                    cursor = database.execute("INSERT INTO kept (text) VALUES ('written')")
                    written.append(cursor.lastrowid)
                except sqlite3.Error as error:
                    problems.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        outcome = vacuum(source(), lock_timeout="30s")
    finally:
        stop.set()
        writer.join()
    # The writer may have kept the log from being brought into the file, or have changed the tables once more.
    assert (outcome["changed"], problems) == (True, []), outcome
    assert outcome["status"] in ("ok", "warning"), outcome
    assert outcome["details"]["steps"][0]["action"] == "VACUUM"
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM kept WHERE text = 'written'").fetchone()[0] == len(written)


def test_a_reader_keeps_the_file_from_shrinking_and_the_next_run_ends_it(vacuum, source, tmp_path):
    path = sqlite_file(tmp_path / "app.db", rows=12000)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM kept").fetchone()
        outcome = vacuum(source(), lock_timeout="100ms")
        assert outcome["status"] == "warning"
        assert "somebody who reads keeps the file from shrinking" in outcome["summary"]
        reader.execute("COMMIT")
    vacuum(source())
    assert path.stat().st_size < 100000
    assert content(path) == WHOLE


def test_a_budget_of_time_ends_the_work_and_undoes_what_was_begun(vacuum, source, tmp_path):
    path = sqlite_file(tmp_path / "app.db", "delete", rows=40000, free=False)
    data = path.read_bytes()
    outcome = vacuum(source(), budget={"seconds": "20ms"})
    assert (outcome["status"], outcome["changed"]) == ("warning", False)
    assert "not maintained: the time limit has passed" in outcome["summary"]
    assert path.read_bytes() == data


def test_a_budget_of_bytes_leaves_the_rest_for_the_next_run_which_begins_with_it(call, source, tmp_path):
    names = ["one", "two", "three"]
    sources = [{**source(sqlite_file(tmp_path / f"{name}.db")), "name": name} for name in names]
    budget = {"bytes": (tmp_path / "one.db").stat().st_size * 3 // 2}
    seen = []
    for _run in range(3):
        result = call("database_vacuum", databases=sources, budget=budget, analyze=False)
        seen.append([each["metrics"]["steps"] for each in result["outcomes"]])
        assert [each["subject"] for each in result["outcomes"]] == ["sqlite:one", "sqlite:two", "sqlite:three"]
        # The first has much free space again each time, and waits for the others nevertheless.
        with contextlib.closing(sqlite3.connect(tmp_path / "one.db", isolation_level=None)) as database:
            rows = [("x" * 500,)] * 4000
            database.execute("BEGIN")
            database.executemany("INSERT INTO gone (text) VALUES (?)", rows)
            database.execute("DELETE FROM gone")
            database.execute("COMMIT")
    assert seen == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    call("database_vacuum", databases=sources, budget=budget, analyze=False)
    result = call("database_vacuum", databases=sources, budget=budget, analyze=False)
    assert (result["changed"], result["status"]) == (False, "ok")


def test_without_room_nothing_is_begun_and_a_disk_that_fills_loses_nothing(small_disk, source, tmp_path):
    """D6, disk full on the database volume."""
    made = sqlite_file(tmp_path / "app.db", "delete", rows=4000, free=False)
    with contextlib.closing(sqlite3.connect(made, isolation_level=None)) as database:
        database.execute("DELETE FROM gone WHERE id <= 1000")
    size = made.stat().st_size
    folder = tmp_path / "disk"
    copy = f'cp "{made}" "$0/app.db"'
    options = {"databases": [source(folder / "app.db", analyze=False)], "state_dir": str(tmp_path / "state")}
    result = small_disk(size + size // 2, folder, copy, "database_vacuum", **options)
    assert result["status"] == "critical"
    assert "VACUUM needs up to" in result["outcomes"][0]["summary"]
    # The file system says that there is room, and then there is none: a limit on the size of files ends it in the middle.
    limited = f'{copy}\nulimit -f {size // 512 // 3}\ntrap "" XFSZ'
    result = small_disk(size * 4, folder, limited, "database_vacuum", **{**options, "state_dir": str(tmp_path / "s")})
    assert result["status"] == "critical"
    assert "Make room in" in result["outcomes"][0]["summary"]


def test_killed_at_any_moment_the_database_is_whole_and_the_next_run_succeeds(
    killed, vacuum, source, tmp_path, state_dir
):
    """D6, kill -9: no lock stays, nothing is lost, and the run after it ends the work."""
    whole = {}
    for journal in ("wal", "delete"):
        whole[journal] = sqlite_file(tmp_path / f"template-{journal}.db", journal, rows=12000)
    path = tmp_path / "app.db"

    def between(number):
        if number:
            assert content(path) == WHOLE
        for leftover in tmp_path.glob("app.db*"):
            leftover.unlink()
        shutil.copy(whole["wal" if number % 2 else "delete"], path)

    killed("database_vacuum", 50, 0.05, between, databases=[source()])
    assert content(path) == WHOLE
    outcome = vacuum(source())
    assert outcome["status"] == "ok"
    assert content(path) == WHOLE
    assert vacuum(source())["changed"] is False
    for lock in state_dir.glob("*.lock"):
        with lock.open("r+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert sorted(each.name for each in tmp_path.glob("app.db*")) == ["app.db"]
    assert sorted(os.listdir(tmp_path)) == ["app.db", "state", "template-delete.db", "template-wal.db"]


def test_check_mode_leaves_what_a_killed_program_has_left(vacuum, source, tmp_path):
    path = sqlite_file(tmp_path / "app.db", "delete")
    script = (
        "import os, sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "database.execute('PRAGMA cache_spill=1'); database.execute('PRAGMA cache_size=1'); database.execute('BEGIN')\n"
        "database.executemany('INSERT INTO gone (text) VALUES (?)', [('y' * 500,)] * 2000)\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    journal = tmp_path / "app.db-journal"
    before = path.read_bytes(), journal.read_bytes()
    outcome = vacuum(source(), _ansible_check_mode=True)
    assert outcome["status"] == "critical"
    assert "a program that was killed has left changes half done" in outcome["summary"]
    assert (path.read_bytes(), journal.read_bytes()) == before
    assert vacuum(source())["status"] == "ok"
    assert content(path) == WHOLE


def test_two_runs_at_once(vacuum, source, tmp_path, state_dir):
    sqlite_file(tmp_path / "app.db")
    state_dir.mkdir()
    with (state_dir / "vacuum-sqlite-app.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        outcome = vacuum(source())
    assert outcome["status"] == "warning"
    assert "another run holds this lock" in outcome["summary"]


def test_names_of_any_kind(vacuum, source, tmp_path):
    path = tmp_path / "app.db"
    names = ["a b", 'quo"te', "semi;colon--", "line\nbreak", "ünï 名", "select", "'; DROP TABLE kept; --"]
    with contextlib.closing(sqlite3.connect(path)) as database:
        for name in names:
            quoted = '"' + name.replace('"', '""') + '"'
            database.execute(f"CREATE TABLE {quoted} (x)")
            database.execute(f"INSERT INTO {quoted} VALUES (1)")
        database.commit()
    outcome = vacuum(source())
    assert outcome["status"] == "ok"
    assert sorted(each["target"] for each in outcome["details"]["steps"]) == sorted(names)
    assert vacuum(source())["changed"] is False


def test_statistics_are_renewed_when_much_has_changed(vacuum, source, tmp_path):
    path = sqlite_file(tmp_path / "app.db")
    vacuum(source())
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN")
        database.executemany("INSERT INTO kept (text) VALUES (?)", ((f"more {number}",) for number in range(5000)))
        database.execute("COMMIT")
    outcome = vacuum(source())
    assert [each["reason"] for each in outcome["details"]["steps"] if each["target"] == "kept"] == [
        "its statistics are old"
    ]
    assert vacuum(source())["changed"] is False


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_text("no database" * 100), "holds no SQLite database"),
        (lambda path: path.mkdir(), "is no regular file"),
    ],
)
def test_what_is_no_database(vacuum, source, tmp_path, make, message):
    make(tmp_path / "app.db")
    outcome = vacuum(source())
    assert (outcome["status"], outcome["changed"]) == ("critical", False)
    assert message in outcome["summary"]
