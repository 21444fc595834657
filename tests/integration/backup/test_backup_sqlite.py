# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.backup of real SQLite files, with a process that writes to them (D1, D2, D4)."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
import time

import pytest

from .conftest import copies, database, tree, unpacked, wait_for


def source(path, name="app"):
    return {"name": name, "engine": "sqlite", "path": str(path)}


def rows(path, folder):
    with contextlib.closing(unpacked(path, folder)) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [copy.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("pending", "done")]


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_copy_is_whole_and_of_one_moment_while_a_process_writes_without_a_pause(
    one, store, tmp_path, writer, journal
):
    path = database(tmp_path / "app.db", journal, rows=40000)
    writer(path)
    begun = time.monotonic()
    outcome = one(source(path))
    assert time.monotonic() - begun < 60
    assert outcome["status"] == "ok", outcome
    assert outcome["subject"] == "sqlite:app"
    ((copy, manifest),) = copies(store, "app")
    assert copy.name.endswith("Z.sqlite.zst")
    pending, done = rows(copy, tmp_path)
    assert pending == done > 40000
    assert manifest["figures"]["tables"] == {"pending": pending, "done": done}
    assert [each["level"] for each in manifest["verifications"]] == ["checksum", "restored"]
    assert "2 tables, " + f"{2 * done:,} rows".replace(",", " ") in outcome["summary"]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert sorted(each.name for each in copy.parent.iterdir()) == [copy.name, copy.name + ".manifest.json"]


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_the_source_is_not_touched(one, store, tmp_path, journal):
    folder = tmp_path / "data"
    folder.mkdir()
    database(folder / "app.db", journal)
    before = tree(folder)
    assert one(source(folder / "app.db"))["status"] == "ok"
    assert tree(folder) == before, "neither -wal nor -shm may stay beside it"


def test_what_stands_only_in_the_log_of_a_killed_writer_is_in_the_copy(one, store, tmp_path, writer):
    path = database(tmp_path / "app.db")
    process = writer(path)
    wait_for(lambda: (tmp_path / "app.db-wal").stat().st_size > 100_000)
    process.kill()
    process.wait()
    owner = [(each.stat().st_uid, each.stat().st_gid) for each in sorted(tmp_path.glob("app.db*"))]
    assert one(source(path))["status"] == "ok"
    assert [(each.stat().st_uid, each.stat().st_gid) for each in sorted(tmp_path.glob("app.db*"))] == owner
    ((copy, _manifest),) = copies(store, "app")
    pending, done = rows(copy, tmp_path)
    assert pending == done > 200


def test_within_the_interval_a_second_run_changes_nothing_at_all(run, tmp_path, store):
    path = database(tmp_path / "app.db")
    assert run(source(path), interval="20h")["changed"] is True
    before = tree(tmp_path)
    again = run(source(path), interval="20h")
    assert again["changed"] is False
    assert again["status"] == "ok"
    assert again["outcomes"][0]["metrics"]["copies"] == 1
    assert tree(tmp_path) == before


def test_check_mode_says_what_it_would_do_and_writes_nothing(run, tmp_path, store):
    path = database(tmp_path / "app.db")
    before = tree(tmp_path)
    result = run(source(path), _ansible_check_mode=True, _ansible_diff=True)
    assert result["changed"] is True
    assert result["outcomes"][0]["summary"].startswith("would make a backup of up to ")
    assert result["diff"]["before"] == ""
    assert result["diff"]["after"].startswith("app/app_")
    assert tree(tmp_path) == before
    assert one_would_fail(run, tmp_path)["status"] == "critical"
    assert tree(tmp_path) == before


def one_would_fail(run, folder):
    return run(source(folder / "missing.db"), _ansible_check_mode=True)["outcomes"][0]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("missing.db", None, "does not exist"),
        ("text.db", b"this is no database at all, only a few words of text", "holds no SQLite database"),
        ("empty.db", b"", "holds no SQLite database"),
        ("", None, "is no regular file"),
    ],
)
def test_a_path_that_is_no_database_is_critical_and_stops_no_other(run, tmp_path, store, name, content, reason):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    good = database(tmp_path / "app.db")
    result = run(source(tmp_path / name, "broken"), source(good))
    assert [each["status"] for each in result["outcomes"]] == ["critical", "ok"]
    assert reason in result["outcomes"][0]["summary"]
    assert str(tmp_path / name) in result["outcomes"][0]["summary"]
    assert not (store / "broken").exists()


@pytest.mark.parametrize("level", ["archive", "restored"])
def test_a_damaged_page_in_the_source_is_critical_and_no_copy_is_made(one, tmp_path, store, level):
    path = database(tmp_path / "app.db", "delete", rows=2000)
    with path.open("r+b") as stream:
        stream.seek(4096 * 20 + 100)
        stream.write(b"\xff" * 2000)
    outcome = one(source(path), verify=level)
    assert outcome["status"] == "critical"
    assert "damage" in outcome["summary"] or "malformed" in outcome["summary"]
    assert copies(store, "app") == []
    assert not list((store / "app").iterdir())


def test_a_flipped_bit_in_a_copy_is_found_and_a_new_copy_made(one, tmp_path, store, info):
    path = database(tmp_path / "app.db")
    one(source(path), interval="1d")
    ((copy, _manifest),) = copies(store, "app")
    content = bytearray(copy.read_bytes())
    content[len(content) // 2] ^= 1
    copy.write_bytes(content)
    outcome = one(source(path), interval="1d")
    assert outcome["status"] == "critical"
    assert f"{copy}: its SHA-256 is not that of what was written; made anew" in outcome["summary"]
    assert [each["failed"] for each in info()["copies"]] in ([False, True], [True, False])
    assert info()["status"] == "warning"
    assert one(source(path), interval="1d")["status"] == "ok"


def test_a_truncated_copy_counts_as_failed(one, tmp_path, store, info):
    path = database(tmp_path / "app.db")
    one(source(path))
    ((copy, _manifest),) = copies(store, "app")
    os.truncate(copy, 100)
    assert info()["copies"][0]["failed"] is True
    assert info()["status"] == "critical"
    assert one(source(path), interval="1d")["summary"].find("restored and compared") > 0


def test_a_second_run_while_one_is_running_says_busy(one, started, tmp_path, store):
    path = database(tmp_path / "app.db", "delete")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        first = started(source(path))
        wait_for(lambda: list((store / "app").glob(".*snapshot*")))
        outcome = one(source(path))
        assert (outcome["status"], outcome["details"]["busy"]) == ("warning", True)
        assert f"process {first.pid}" in outcome["summary"]
        holder.execute("COMMIT")
    assert json.loads(first.communicate(timeout=60)[0])["status"] == "ok"


def test_retention_keeps_what_the_policy_says_with_a_reason(run, tmp_path, store):
    path = database(tmp_path / "app.db")
    results = [run(source(path), retention={"keep_last": 2}) for _number in range(3)]
    details = results[-1]["outcomes"][0]["details"]
    assert len(copies(store, "app")) == 2
    assert list(details["deleted"].values()) == ["no rule keeps it"]
    assert sorted(details["kept"].values()) == ["last 1 of 2, verified 1 of 1", "last 2 of 2"]


def test_an_odd_size_is_a_warning_and_freezes_retention(one, tmp_path, store):
    path = database(tmp_path / "app.db", "delete", rows=20000)
    one(source(path), retention={"keep_last": 1})
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM pending")
        connection.execute("VACUUM")
    outcome = one(source(path), retention={"keep_last": 1})
    assert outcome["status"] == "warning"
    assert "shrink_limit is 50 %; nothing is deleted" in outcome["summary"]
    assert len(copies(store, "app")) == 2
    outcome = one(source(path), retention={"keep_last": 1}, minimum_size="10MB", shrink_limit=100)
    assert outcome["status"] == "warning"
    assert "less than minimum_size, 9.5 MiB" in outcome["summary"]
    assert len(copies(store, "app")) == 3


def test_a_copy_from_the_future_counts_for_nothing_and_stays(one, tmp_path, store):
    path = database(tmp_path / "app.db")
    one(source(path))
    ((copy, manifest),) = copies(store, "app")
    future = copy.with_name("app_29990101T000000Z.sqlite.zst")
    copy.rename(future)
    copy.with_name(copy.name + ".manifest.json").unlink()
    future.with_name(future.name + ".manifest.json").write_text(json.dumps({**manifest, "file": future.name}))
    for _number in range(2):
        outcome = one(source(path), interval="1d", retention={"keep_last": 1})
        assert outcome["status"] == "warning"
        assert "1 with a time stamp in the future" in outcome["summary"]
        assert len(copies(store, "app")) == 2


def test_a_data_file_without_a_manifest_is_no_copy_and_swept_when_it_is_old(one, tmp_path, store, info):
    path = database(tmp_path / "app.db")
    one(source(path))
    left = store / "app" / "app_20200101T000000Z.sqlite.zst"
    left.write_bytes(b"half")
    outcome = one(source(path))
    assert "1 without a manifest" in outcome["summary"]
    assert left.exists(), "somebody may be copying it here"
    os.utime(left, (0, 0))
    assert one(source(path))["details"]["swept"] == [str(left)]
    assert not left.exists()


def test_files_of_others_and_symbolic_links_are_left_alone(one, tmp_path, store):
    path = database(tmp_path / "app.db")
    one(source(path), retention={"keep_last": 1})
    other, link = store / "app" / "notes.txt", store / "app" / "app_20200101T000000Z.sqlite.zst"
    other.write_text("mine")
    link.symlink_to(path)
    assert one(source(path), retention={"keep_last": 1})["status"] == "ok"
    assert other.read_text() == "mine"
    assert link.is_symlink()
    assert path.exists()


def test_a_folder_of_copies_that_is_a_symbolic_link_is_refused(one, tmp_path, store):
    store.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (store / "app").symlink_to(tmp_path / "elsewhere")
    outcome = one(source(database(tmp_path / "app.db")))
    assert outcome["status"] == "critical"
    assert "is a symbolic link to" in outcome["summary"]
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(("algorithm", "extension"), [("gzip", ".sqlite.gz"), ("none", ".sqlite")])
def test_other_compressions(one, tmp_path, store, algorithm, extension):
    outcome = one(source(database(tmp_path / "app.db")), compression={"algorithm": algorithm})
    assert outcome["status"] == "ok"
    ((copy, _manifest),) = copies(store, "app")
    assert copy.name.endswith("Z" + extension)


def test_textfile(run, tmp_path):
    folder = tmp_path / "textfile"
    folder.mkdir()
    run(source(database(tmp_path / "app.db")), textfile_dir=str(folder))
    text = (folder / "sre_runbooks_backup.prom").read_text()
    assert 'subject="sqlite:app"' in text
