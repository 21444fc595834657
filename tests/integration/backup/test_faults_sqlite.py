# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults under a backup of SQLite, caused for real: damaged pages, busy writers, disks that fill, kill -9 (D1, D4)."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3

import pytest

from .conftest import copies, database, unpacked, wait_for
from .kills import Killer, age, sound


def source(path):
    return {"name": "app", "engine": "sqlite", "path": str(path)}


def damage(path, page):
    """Write over a page of the file, as a disk that lies does."""
    with path.open("r+b") as stream:
        stream.seek(4096 * page + 8)
        stream.write(b"\xde\xad\xbe\xef" * 900)


@pytest.mark.parametrize("page", [3, 200, -1])
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_corrupt_page_anywhere_is_told_and_the_older_copy_stays(one, store, tmp_path, journal, page):
    path = database(tmp_path / "app.db", journal, rows=2000)
    assert one(source(path))["status"] == "ok"
    (good,) = copies(store, "app")
    content = good[0].read_bytes()
    pages = path.stat().st_size // 4096
    damage(path, page % pages)
    outcome = one(source(path), retention={"keep_last": 1})
    assert outcome["status"] == "critical"
    assert "damage" in outcome["summary"] or "malformed" in outcome["summary"], outcome["summary"]
    assert copies(store, "app") == [good]
    assert good[0].read_bytes() == content
    assert not list((store / "app").glob(".*"))


def test_a_corrupt_page_in_a_copy_is_found_by_its_proof(one, store, tmp_path):
    """Damage that no checksum tells: the copy was made of damaged pages, at a level that does not look into it."""
    path = database(tmp_path / "app.db", "delete", rows=2000)
    damage(path, 200)
    assert one(source(path), verify="checksum")["status"] == "ok"
    for level in ("archive", "restored"):
        assert one(source(path), verify=level, interval="1d")["status"] == "critical"
    assert [manifest["verifications"][-1]["level"] for _path, manifest in copies(store, "app")] == ["checksum"]


def test_a_writer_that_never_pauses_and_a_reader_that_never_ends(one, store, tmp_path, writer):
    """The log grows without a checkpoint; the copy is still of one moment, and neither is held up."""
    path = database(tmp_path / "app.db", "wal", rows=5000)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        seen = reader.execute("SELECT count(*) FROM done").fetchone()
        writer(path)
        wait_for(lambda: (tmp_path / "app.db-wal").stat().st_size > 5_000_000)
        for _number in range(3):
            before = (tmp_path / "app.db-wal").stat().st_size
            outcome = one(source(path), retention={"keep_last": 9})
            assert outcome["status"] == "ok", outcome
            assert (tmp_path / "app.db-wal").stat().st_size > before, "the writer went on"
        assert reader.execute("SELECT count(*) FROM done").fetchone() == seen
    found = copies(store, "app")
    for copy, manifest in found:
        with contextlib.closing(unpacked(copy, tmp_path)) as opened:
            counts = [opened.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("pending", "done")]
        assert counts[0] == counts[1] == manifest["figures"]["tables"]["done"] > 5000


@pytest.mark.parametrize("purpose", ["snapshot", "restore"])
def test_the_disk_fills_up_in_the_scratch_area(small_disk, tmp_path, purpose):
    """Somebody else takes the room that was there when the backup began, under the first or the second scratch file."""
    path = database(tmp_path / "app.db", "delete", rows=30000)
    size = path.stat().st_size
    options = {"sources": [source(path)], "verify": "restored"}
    fill = 'dd if=/dev/zero of="$DISK/fill" bs=256k 2>/dev/null'
    filler = f'export DISK="$0"; (while ! ls "$0"/app/.app_snapshot* >/dev/null 2>&1; do :; done; {fill}) &'
    if purpose == "restore":
        # The program that writes the second file takes the room itself, once, and leaves a part of what it needs.
        unpacker, once = tmp_path / "bin" / "zstd", tmp_path / "once"
        unpacker.parent.mkdir()
        once.touch()
        unpacker.write_text(
            f'#!/bin/sh\ncase " $* " in *" -d "*) rm {once} 2>/dev/null && {{ {fill}; truncate -s -4M "$DISK/fill"; }};; esac\n'
            f'exec {shutil.which("zstd")} "$@"\n'
        )
        unpacker.chmod(0o755)
        filler = f'export DISK="$0" PATH="{unpacker.parent}:$PATH"'
    (first, second), files = small_disk(
        f"{size * 5 // 2 // 1024}k", tmp_path / "disk", filler, options, 'wait; rm -f "$0/fill"', options
    )
    (outcome,) = first["outcomes"]
    assert outcome["status"] == "critical"
    assert "disk is full" in outcome["summary"] or "No space left on device" in outcome["summary"], outcome["summary"]
    assert ("NOT proven as restored" in outcome["summary"]) is (purpose == "restore")
    assert second["status"] == "ok", second
    assert not [each for each in files if ".partial" in each]


def test_killed_at_fifty_moments_the_next_run_always_converges(in_memory, one, store):
    """kill -9 at random moments of a whole run; the database, which somebody has open, is never touched."""
    path = database(in_memory / "app.db", "wal", rows=500)
    options = {"directory": str(store), "sources": [source(path)], "retention": {"keep_last": 3}}
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as opened, Killer(options) as killer:
        for number in killer.kill(50):
            opened.execute("INSERT INTO done VALUES (?)", (number,))
            sound(store, "app")
            if number % 2:
                # A run that is let be has to make up for two.
                age(store, "app")
                continue
            outcome = one(source(path), retention={"keep_last": 3})
            assert outcome["status"] == "ok", outcome
            assert outcome["details"]["proof"]["rows"] == 1000 + number
            # A copy of a killed run that was not proven any more is kept beside the proven ones.
            assert sound(store, "app") <= 7
            assert not list((store / "app").glob(".*"))
            age(store, "app")
        assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
