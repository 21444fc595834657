# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.restore of SQLite databases (D5, D11, D4)."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import time

import pytest

from ..backup.conftest import database, tree
from .conftest import aged, flip, kept_anew, manifest_of

OPENER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("SELECT * FROM done")
print(1, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def journal():
    """The journal mode of the database."""
    return "wal"


@pytest.fixture
def path(tmp_path, journal):
    """A database of 200 rows."""
    folder = tmp_path / "data"
    folder.mkdir()
    return database(folder / "app.db", journal)


@pytest.fixture
def source(path):
    return {"name": "app", "engine": "sqlite", "path": str(path)}


def rows(path):
    """The rows of both tables, which are the same number in a whole database, and the result of the integrity check."""
    with contextlib.closing(sqlite3.connect(path)) as opened:
        assert opened.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        pending, done = (opened.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("pending", "done"))
    assert pending == done
    return pending


def token(path):
    """What scratch files of restores to `path` are called by."""
    return hashlib.sha256(f"{platform.node()}:sqlite:{path}".encode()).hexdigest()[:12]


def change(path, more=100):
    with contextlib.closing(sqlite3.connect(path)) as opened, opened as connection:
        connection.executemany("INSERT INTO pending VALUES (?, 'new')", ((each,) for each in range(more)))
        connection.executemany("INSERT INTO done VALUES (?)", ((each,) for each in range(more)))


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_the_whole_cycle(backup, one, source, path, store):
    """D5: back up, change, restore; what was there before is kept and backed up."""
    os.chmod(path, 0o640)
    copy = backup(source)
    change(path)
    outcome = one("app")
    assert outcome["status"] == "ok"
    assert outcome["subject"] == "sqlite:app"
    assert rows(path) == 200
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    details = outcome["details"]
    assert details["path"] == copy
    (kept,) = details["kept"]
    assert rows(kept) == 300
    assert kept.startswith(f"{path}.before-restore-")
    assert details["safety_backup"].startswith(str(store / ".before-restore" / "app" / "app_"))
    assert details["figures"]["rows"] == 400
    assert f"the old is kept as {kept}" in outcome["summary"]
    metrics = outcome["metrics"]
    assert metrics["duration_seconds"] >= metrics["safety_seconds"] + metrics["restore_seconds"]
    assert 0 <= metrics["age_seconds"] < 60
    assert sorted(os.listdir(path.parent)) == ["app.db", os.path.basename(kept)]


def test_a_restore_is_undone_from_the_safety_backup(backup, one, source, path, store):
    """D11: the way back."""
    backup(source)
    change(path)
    assert one("app")["status"] == "ok"
    assert one("app", directory=str(store / ".before-restore"))["status"] == "ok"
    assert rows(path) == 300


def test_a_second_run_restores_the_same_copy_again(backup, one, source, path):
    """The safety backup of the first is not the latest copy of the second."""
    copy = backup(source)
    change(path)
    first = one("app")
    change(path, 7)
    second = one("app")
    assert (first["details"]["path"], second["details"]["path"]) == (copy, copy)
    assert rows(path) == 200
    assert rows(second["details"]["kept"][0]) == 207
    assert rows(first["details"]["kept"][0]) == 300


def test_keep_old_removes_older_ones(backup, one, source, path):
    backup(source)
    for number in range(3):
        change(path, number + 1)
        outcome = one("app", keep_old=2, safety_backup=False)
    names = sorted(name for name in os.listdir(path.parent) if "before-restore" in name)
    assert len(names) == 2
    assert len(outcome["details"]["pruned"]) == 1
    assert rows(path.parent / names[-1]) == 203


def test_what_stands_only_in_the_log_is_in_the_kept_one(backup, one, tmp_path):
    """A killed writer leaves a log beside the old database; it goes nowhere near the new one."""
    path = database(tmp_path / "app.db", "wal")
    backup({"name": "app", "engine": "sqlite", "path": str(path)})
    code = (
        "import os, sqlite3, sys; d = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "d.execute('PRAGMA wal_autocheckpoint=0'); d.execute('BEGIN')\n"
        "d.execute(\"INSERT INTO pending VALUES (1, 'x')\"); d.execute('INSERT INTO done VALUES (1)'); d.execute('COMMIT'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert (tmp_path / "app.db-wal").stat().st_size > 0
    outcome = one("app")
    assert outcome["status"] == "ok"
    assert rows(path) == 200
    assert rows(outcome["details"]["kept"][0]) == 201


def test_cut_off_before_the_exchange_the_old_one_has_what_stood_in_its_log(backup, run, tmp_path, monkeypatch):
    """The log is brought home before anything has another name: there is no moment with a database and not its log."""
    from ansible_collections.sre.runbooks.plugins.module_utils._restore import _place
    from ansible_collections.sre.runbooks.plugins.module_utils._restore import sqlite as engine

    path = database(tmp_path / "app.db", "wal")
    backup({"name": "app", "engine": "sqlite", "path": str(path)})
    code = (
        "import os, sqlite3, sys; d = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "d.execute('PRAGMA wal_autocheckpoint=0'); d.execute('BEGIN')\n"
        "d.execute(\"INSERT INTO pending VALUES (1, 'x')\"); d.execute('INSERT INTO done VALUES (1)'); d.execute('COMMIT'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)

    def die(*_ignored):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_place, "replace", die)
        patch.setattr(engine, "discard", lambda job: None)
        with pytest.raises(KeyboardInterrupt):
            run(name="app", safety_backup=False)
    assert rows(path) == 201
    assert run(name="app", safety_backup=False)["status"] == "ok"
    assert rows(path) == 200


def test_the_copy_of_a_moment(backup, one, source, path):
    """A time means the newest proven copy that is not newer."""
    stamps = ["20260101T000000Z", "20260201T000000Z", "20260301T000000Z"]
    for stamp in stamps:
        aged(backup(source), stamp)
        change(path, 10)
    assert one("app", **{"from": "2026-02-15T12:00:00Z"})["details"]["path"].endswith(f"_{stamps[1]}.sqlite.zst")
    assert rows(path) == 210
    assert one("app", **{"from": "20260201T000000Z"}, check_mode=True)["details"]["path"].endswith(
        f"{stamps[1]}.sqlite.zst"
    )
    assert one("app", **{"from": "2026-02-01T01:00:00+02:00"}, check_mode=True)["details"]["path"].endswith(
        f"{stamps[0]}.sqlite.zst"
    )
    assert one("app")["details"]["path"].endswith(f"_{stamps[2]}.sqlite.zst")
    outcome = one("app", **{"from": "2025-12-31"})
    assert outcome["status"] == "critical"
    assert "oldest 20260101T000000Z" in outcome["summary"]


def test_a_copy_by_its_path_to_another_place(backup, one, source, path, tmp_path):
    copy = backup(source)
    change(path)
    elsewhere = tmp_path / "new" / "look.db"
    outcome = one("app", **{"from": copy, "to": str(elsewhere), "mode": "0604"})
    assert outcome["status"] == "warning"
    assert f"the folder {elsewhere.parent} is missing and is made" in outcome["summary"]
    assert rows(elsewhere) == 200
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o604
    assert rows(path) == 300
    assert outcome["details"]["kept"] == []
    assert outcome["details"]["safety_backup"] is None


def test_check_mode_says_what_would_happen_and_changes_nothing(backup, run, source, path, tmp_path):
    backup(source, verify="restored")
    change(path)
    before = tree(tmp_path)
    result = run(name="app", check_mode=True)
    assert tree(tmp_path) == before
    (outcome,) = result["outcomes"]
    assert outcome["status"] == "ok", outcome
    assert result["changed"] is True
    details = outcome["details"]
    assert details["would"] == "restore"
    assert details["target"] == str(path)
    assert details["level"] == "restored"
    assert details["expected_seconds"] > 0
    assert "proven as restored" in outcome["summary"]
    assert "in about" in outcome["summary"]
    assert "is kept, after a safety backup of it" in outcome["summary"]
    assert result["diff"]["before"].startswith(f"{path}: size_bytes ")
    assert "the copy app_" in result["diff"]["after"]


def test_a_flipped_bit_is_refused_and_the_older_copy_is_latest_then(backup, one, source, path):
    old = aged(backup(source), "20260101T000000Z")
    change(path)
    flip(backup(source))
    before = path.read_bytes()
    outcome = one("app")
    assert outcome["status"] == "critical"
    assert "its SHA-256 is not that of what was written" in outcome["summary"]
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["app.db"]
    again = one("app")
    assert again["status"] == "ok", "the damaged copy is on record as failed"
    assert again["details"]["path"] == old


def test_a_copy_that_was_never_proven_or_failed_needs_force(backup, one, source, path):
    copy = backup(source)
    with manifest_of(copy) as manifest:
        records = manifest["verifications"]
        manifest["verifications"] = []
    assert "is proven" in one("app")["summary"]
    assert "was never proven" in one("app", **{"from": copy})["summary"]
    with manifest_of(copy) as manifest:
        records[-1].update(ok=False, figures={"problem": "a bad day"})
        manifest["verifications"] = records[-1:]
    assert one("app")["status"] == "critical"
    outcome = one("app", force=True)
    assert outcome["status"] == "warning"
    assert "a bad day" in outcome["summary"]
    assert rows(path) == 200


def test_a_level_may_be_asked_for(backup, one, source):
    backup(source, verify="checksum")
    assert "is proven as restored" in one("app", level="restored")["summary"]
    assert one("app", level="checksum")["status"] == "ok"


def test_a_copy_that_is_not_what_its_dump_was_is_not_put_in_place(backup, one, source, path):
    copy = backup(source)
    with manifest_of(copy) as manifest:
        manifest["figures"]["tables"]["done"] += 1
    change(path)
    outcome = one("app")
    assert outcome["status"] == "critical"
    assert "differs from the source's at the time of the dump" in outcome["summary"]
    assert rows(path) == 300
    assert os.listdir(path.parent) == ["app.db"]
    assert one("app", force=True)["status"] == "warning"
    assert rows(path) == 200


def test_a_database_in_use_is_refused_and_by_whom(backup, one, source, path):
    backup(source)
    change(path)
    user = subprocess.Popen(
        [sys.executable, "-c", OPENER, path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        user.stdout.readline()
        outcome = one("app")
        assert outcome["status"] == "critical"
        assert "is in use by python" in outcome["summary"]
        assert f"(process {user.pid}, user " in outcome["summary"]
        planned = one("app", check_mode=True)
        assert planned["status"] == "warning"
        assert f"process {user.pid}" in planned["summary"]
    finally:
        user.communicate()
    assert rows(path) == 300
    assert one("app")["status"] == "ok"


def test_a_safety_backup_that_fails_keeps_everything(backup, one, source, path, store):
    backup(source)
    change(path)
    (store / ".before-restore").write_text("in the way")
    outcome = one("app")
    assert outcome["status"] == "critical"
    assert "the safety backup failed, and nothing was changed" in outcome["summary"]
    assert "set safety_backup to false" in outcome["summary"]
    assert rows(path) == 300
    assert os.listdir(path.parent) == ["app.db"]
    assert one("app", safety_backup=False)["status"] == "ok"
    assert rows(path) == 200


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_damaged_database_is_replaced_and_its_files_are_kept(backup, one, source, path):
    """No backup can be made of it; its bytes are what there is to keep."""
    backup(source)
    content = bytearray(path.read_bytes())
    content[4096 : 4096 + 2000] = bytes(2000)
    path.write_bytes(content)
    outcome = one("app")
    assert outcome["status"] == "warning"
    assert "is damaged" in outcome["summary"]
    assert rows(path) == 200
    with open(outcome["details"]["kept"][0], "rb") as stream:
        assert stream.read() == content


def test_something_else_than_a_database_is_replaced_too(backup, one, source, path):
    backup(source)
    path.write_text("no database at all")
    assert one("app")["status"] == "warning"
    assert rows(path) == 200


def test_killed_at_many_moments_the_database_is_whole_and_the_next_run_succeeds(backup, one, in_child, tmp_path):
    """kill -9 at 50 moments and more: the old or the new, no foreign log, nothing left over."""
    folder = tmp_path / "data"
    folder.mkdir()
    path = database(folder / "app.db", "wal")
    backup({"name": "app", "engine": "sqlite", "path": str(path)})
    options = {"name": "app", "safety_backup": False, "keep_old": 1}
    change(path)
    took = in_child(60, **options)
    chance = random.Random(4)
    seen = []
    number = -1
    while sum(killed for killed, _new in seen) < 50:
        number += 1
        assert number < 200, seen
        change(path, 100)
        old = rows(path)
        # Every third as soon as the old one is kept, for what comes after is short.
        before = set(os.listdir(folder))
        moment, until = took * chance.random(), None
        if number % 3 == 0:
            moment, until = 60, functools.partial(kept_anew, folder, before)
        ended = in_child(moment, until, **options)
        took = ended or took
        found = rows(path)
        assert found in (200, old), f"{found} rows, {old} before, at {number}"
        seen.append((ended is None, found == 200))
        if number % 10 == 9:
            assert one("app", keep_old=1)["status"] in ("ok", "warning")
            assert rows(path) == 200
            assert not [name for name in os.listdir(folder) if name.endswith(".partial") or "-wal" in name]
            assert not os.listdir(tmp_path / "state" / "restore")
    assert {(True, False), (True, True)} <= set(seen), "some were killed before the swap and some after"


def test_a_disk_that_is_full_changes_nothing(backup, small_disk, source, path, tmp_path, places):
    """D5: the volume of the database has no room for a second one."""
    copy = backup(source)
    volume = tmp_path / "volume"
    options = {**places, "name": "app", "to": str(volume / "app.db")}
    told = json.dumps(options)
    with manifest_of(copy) as manifest:
        manifest["source_bytes"] = 1000  # so that it is found out by the writing
    script = f'cp {path} {volume}/app.db; sha256sum < {volume}/app.db; "$PYTHON" -c "$MODULE" "$TOLD"; sha256sum < {volume}/app.db; ls -A {volume}'
    size = path.stat().st_size + 73728
    lines = small_disk(size, volume, script, TOLD=told).split("\n")
    lines = [line for line in lines if line]
    result = json.loads(lines[1])
    assert result["status"] == "critical", result
    assert "No space left on device" in result["msg"]
    assert "what was there before is untouched" in result["msg"]
    assert lines[0] == lines[2]
    assert lines[3:] == ["app.db"]


def test_room_is_looked_for_before_anything_is_done(backup, small_disk, source, path, tmp_path, places, store):
    backup(source)
    volume = tmp_path / "volume"
    told = json.dumps({**places, "name": "app", "to": str(volume / "app.db")})
    lines = small_disk(65536, volume, f'"$PYTHON" -c "$MODULE" "$TOLD"; ls -A {volume}', TOLD=told).strip().splitlines()
    assert "are needed beside what is there, 64.0 KiB are free. Make room" in json.loads(lines[0])["msg"]
    assert lines[1:] == []
    assert not (store / ".before-restore").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "one of the following is required: name, restores"),
        ({"name": "app", "restores": []}, "mutually exclusive"),
        ({"restores": []}, "restores: [] names nothing"),
        ({"name": "../x"}, "name: '../x' is no name of a source"),
        ({"name": "app", "from": "yesterday"}, "from: 'yesterday' names no copy. Write latest, a time such as"),
        ({"name": "app", "keep_old": 0}, "keep_old: 0 would let go of what this restore replaces"),
        ({"name": "app", "limits": {"seconds": "0"}}, "limits.seconds: '0' is no time"),
        ({"name": "app", "encryption": {"identity": "/nonexistent"}}, "encryption.identity: '/nonexistent' is no file"),
        ({"name": "app", "directory": "relative"}, "is no absolute path"),
        ({"name": "app", "mode": "rw"}, "mode: 'rw' is no mode"),
        ({"restores": [{"name": "a"}, {"name": "a"}]}, "restores[1].name: 'a' is named twice"),
        (
            {"restores": [{"name": "a", "force": "yes please"}]},
            "restores[0].force: 'yes please' is neither true nor false",
        ),
        ({"restores": [{"name": "a", "level": "best"}]}, "restores[0].level: 'best' is no level"),
    ],
)
def test_bad_input_is_told_with_option_value_and_remedy(run, options, told, tmp_path):
    before = tree(tmp_path)
    result = run(**options)
    assert result["failed"] is True
    if "directory" in options:
        told = "directory: "  # path options are made absolute by Ansible itself
    assert told in result["msg"]
    if told != "directory: ":
        assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"name": "other"}, "other holds no copy. Correct name or directory"),
        ({"name": "app", "to": "relative.db"}, "to: 'relative.db' is no absolute path"),
        (
            {"name": "app", "connection": {"socket": "/x"}},
            "connection: 'socket' is no option of the engine sqlite. Use path",
        ),
        ({"name": "app", "owner": "nobody-here"}, "owner: 'nobody-here' is no user of this host"),
        ({"name": "app", "limits": {"bytes": "10"}}, "limits.bytes is 10 B"),
        (
            {"name": "app", "from": "/nonexistent/app/app_20260101T000000Z.sqlite"},
            "is no copy with a manifest beside it",
        ),
    ],
)
def test_what_cannot_be_restored_is_told(backup, one, source, path, given, told):
    backup(source)
    before = path.read_bytes()
    outcome = one(**{"name": "app", **given})
    assert outcome["status"] == "critical"
    assert told in outcome["summary"]
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["app.db"]


def test_a_second_restore_while_one_is_running_says_busy_and_one_after_it_was_killed_sweeps(
    backup, one, started, source, path, tmp_path
):
    """The first waits for a pipe that nobody writes to."""
    copy = backup(source, compression={"algorithm": "none"})
    hold = tmp_path / "bin"
    hold.mkdir()
    (hold / "cat").write_text("#!/bin/sh\nsleep 30\n")
    (hold / "cat").chmod(0o755)
    first = started(
        prefix=["env", f"PATH={hold}:{os.environ['PATH']}"], name="app", safety_backup=False, **{"from": copy}
    )
    partial = path.parent
    deadline = time.monotonic() + 20
    while not [name for name in os.listdir(partial) if name.endswith(".partial")]:
        assert time.monotonic() < deadline
        assert first.poll() is None, first.communicate()
        time.sleep(0.02)
    outcome = one("app")
    assert outcome["status"] == "critical"
    assert f"another run holds this lock (process {first.pid})" in outcome["summary"]
    assert rows(path) == 200
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    again = one("app")
    assert again["status"] == "ok", again
    assert again["details"]["recovered"] == [f"removed {path.parent}/.app.db.restore-{token(path)}.partial"]
    assert not [name for name in os.listdir(path.parent) if name.endswith(".partial")]


def test_an_encrypted_copy_needs_its_key_and_what_it_replaces_is_encrypted_too(backup, one, source, path, tmp_path):
    """D3: the safety backup is for the same key."""
    keys = []
    for name in ("key", "other"):
        subprocess.run(["age-keygen", "-o", str(tmp_path / name)], check=True, capture_output=True)
        keys.append(str(tmp_path / name))
    public = subprocess.run(["age-keygen", "-y", keys[0]], check=True, capture_output=True, text=True).stdout.strip()
    copy = backup(source, verify="checksum", encryption={"recipients": [public]})
    assert copy.endswith(".age")
    change(path)
    assert "Set encryption.identity" in one("app", safety_backup=False)["summary"]
    assert "no identity matched" in one("app", safety_backup=False, encryption={"identity": keys[1]})["summary"]
    assert rows(path) == 300
    outcome = one("app", encryption={"identity": keys[0]})
    assert outcome["status"] == "ok", outcome
    assert rows(path) == 200
    assert outcome["details"]["safety_backup"].endswith(".age")
    undo = one(
        "app",
        directory=os.path.dirname(os.path.dirname(outcome["details"]["safety_backup"])),
        encryption={"identity": keys[0]},
    )
    assert undo["status"] == "ok", undo
    assert rows(path) == 300


def test_a_list_is_restored_in_its_order_and_one_failure_keeps_no_other(backup, run, source, path, tmp_path):
    """The list of a backup's sources can be given as it is; a password in it is never shown."""
    (tmp_path / "settings").write_text("old")
    files = {"name": "settings", "engine": "files", "paths": [str(tmp_path / "settings")]}
    backup(source)
    backup(files)
    change(path)
    (tmp_path / "settings").write_text("new")
    flip_me = backup({**source, "name": "bad"})
    flip(flip_me)
    entries = [
        {**files, "interval": "1h"},
        {**source, "name": "bad"},
        {**source, "from": "latest", "retention": {"keep_last": 3}},
    ]
    result = run(restores=entries)
    assert [each["status"] for each in result["outcomes"]] == ["ok", "critical", "ok"]
    assert result["failed"] is True
    assert "bad was not restored" in result["msg"]
    assert rows(path) == 200
    assert (tmp_path / "settings").read_text() == "old"
    assert "restores" not in result["invocation"]["module_args"]
