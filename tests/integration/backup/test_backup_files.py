# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.backup of files, and what a full disk does to it (D2, D3)."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from .conftest import copies, database


def source(*paths, **options):
    return {"name": "settings", "engine": "files", "paths": [str(path) for path in paths], **options}


def listed(copy):
    """The names in an archive, as bytes, by GNU tar."""
    return subprocess.run(
        f"zstd -dc {copy} | tar --list --quoting-style=literal --warning=no-unknown-keyword",
        shell=True, check=True, capture_output=True,
    ).stdout.splitlines()  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A tree with what makes trees difficult."""
    folder = tmp_path / "etc"
    (folder / "empty").mkdir(parents=True)
    (folder / ".env").write_text("TOKEN=1")
    (folder / ".env").chmod(0o600)
    (folder / "large.bin").write_bytes(random.Random(1).randbytes(3_000_000))
    os.link(folder / "large.bin", folder / "again.bin")
    (folder / "cache.pyc").write_bytes(b"x")
    with open(os.fsencode(folder) + b"/\xff\xfe name\n.txt", "wb") as stream:
        stream.write(b"odd")
    (folder / ("long" * 50)).write_text("long name")
    (folder / "outside").symlink_to("/etc")
    (folder / "dangling").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    return folder


def test_a_tree_is_archived_unpacked_and_compared(one, folder, store, tmp_path):
    outcome = one(source(folder, exclude=["*.pyc"]))
    assert outcome["status"] == "ok", outcome
    assert outcome["subject"] == "files:settings"
    assert "restored and compared: 4 files" in outcome["summary"]
    ((copy, manifest),) = copies(store, "settings")
    assert manifest["figures"]["links"] == 3
    target = tmp_path / "unpacked"
    target.mkdir()
    subprocess.run(f"zstd -dc {copy} | tar -x --warning=no-unknown-keyword -C {target}", shell=True, check=True)
    restored = target / str(folder).lstrip("/")
    assert (restored / ".env").read_text() == "TOKEN=1"
    assert (restored / ".env").stat().st_mode == (folder / ".env").stat().st_mode
    assert (restored / "large.bin").read_bytes() == (folder / "large.bin").read_bytes()
    assert (restored / "again.bin").samefile(restored / "large.bin")
    assert (restored / "outside").readlink() == Path("/etc")
    assert os.fsdecode(b"\xff\xfe name\n.txt") in {each.name for each in restored.iterdir()}
    assert not (restored / "cache.pyc").exists()
    assert (restored / "empty").is_dir()


def test_patterns_with_a_slash_mean_whole_paths(one, folder, store):
    one(source(folder, exclude=[f"{folder}/e*", "large.bin"]))
    names = listed(copies(store, "settings")[0][0])
    assert not any(name.endswith((b"/empty/", b"/large.bin")) for name in names)
    assert any(name.endswith(b"/again.bin") for name in names)


def test_globs_and_overlapping_paths_archive_everything_once(one, folder, store):
    one(source(f"{folder}/*.bin", folder / ".env", folder, folder / "empty"))
    names = listed(copies(store, "settings")[0][0])
    assert len([name for name in names if name.endswith(b"/.env")]) == 1
    assert len([name for name in names if name.endswith(b"/empty/")]) == 1


@pytest.mark.parametrize(
    ("paths", "exclude", "reason"),
    [
        (["missing"], [], "missing does not exist. Correct the path"),
        (["*.nothing"], [], "*.nothing does not exist"),
        (["link"], [], "is a symbolic link to /etc. Name the target instead"),
        (["file"], ["*"], "leaves nothing of"),
    ],
)
def test_what_names_nothing_is_critical(run, tmp_path, store, paths, exclude, reason):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("/etc")
    result = run(
        source(*(tmp_path / path for path in paths), exclude=exclude), {**source(tmp_path / "file"), "name": "good"}
    )
    assert [each["status"] for each in result["outcomes"]] == ["critical", "ok"]
    assert reason in result["outcomes"][0]["summary"]
    assert not (store / "settings").exists()


def test_files_that_vanish_or_change_while_they_are_read_are_told(one, tmp_path, store, monkeypatch):
    """A log grows and a file after it is removed when the packer has had a part of the log; in a folder files come and go."""
    log, gone, folder = (tmp_path / "busy" / name for name in ("log", "removed", "restless"))
    folder.mkdir(parents=True)
    log.write_bytes(b"x" * 30_000_000)
    gone.touch()
    packer, real = tmp_path / "bin" / "zstd", shutil.which("zstd")
    packer.parent.mkdir()
    packer.write_text(
        f'#!/bin/sh\ncase " $* " in *" -d "*) exec {real} "$@";; esac\n'
        f'{{ head -c 1000000; echo more >>{log}; rm {gone}; cat; }} | {real} "$@"\n'
    )
    packer.chmod(0o755)
    monkeypatch.setenv("PATH", f"{packer.parent}:{os.environ['PATH']}")
    stop = threading.Event()

    def disturb():
        while not stop.is_set():
            for number in range(50):
                # They come whole: one that is being written may be called changed.
                (tmp_path / "whole").write_text("lived")
                (tmp_path / "whole").rename(folder / f"short-{number}")
            for number in range(50):
                (folder / f"short-{number}").unlink()

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        outcome = one(source(log, gone, folder))
    finally:
        stop.set()
        thread.join()
    assert outcome["status"] == "warning", outcome
    assert f"1 files changed while they were read: {log}" in outcome["summary"]
    assert f" files vanished while they were read: {gone}" in outcome["summary"]
    assert outcome["details"]["level"] == "restored"


def test_a_file_that_cannot_be_read_is_critical_and_no_copy_is_made(started, tmp_path, store):
    """Root may read everything, so that the module runs as somebody else where the tests run as root."""
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "secret").touch(mode=0o000)
    prefix = []
    if os.geteuid() == 0:
        prefix = [
            "setpriv",
            "--bounding-set=-dac_override,-dac_read_search",
            "--inh-caps=-dac_override,-dac_read_search",
        ]
        prefix += ["setpriv", "--reuid=65534", "--clear-groups"] if not _opens(tmp_path) else []
    process = started(source(folder), prefix=prefix)
    output, errors = process.communicate(timeout=60)
    assert f"{folder}/secret: cannot be read: Permission denied" in output, errors
    assert '"status": "critical"' in output
    assert not list((store / "settings").glob("*"))


def _opens(folder: Path) -> bool:
    """Whether root without the capabilities to pass over permissions still is the owner of `folder`."""
    return folder.stat().st_uid == os.geteuid()


def test_too_little_room_is_told_with_both_figures_before_anything_is_written(small_disk, tmp_path):
    (tmp_path / "data").write_bytes(bytes(8_000_000))
    (result,), files = small_disk("4m", tmp_path / "disk", {"sources": [source(tmp_path / "data")]})
    assert result["status"] == "critical"
    assert "up to 15.3 MiB are needed, 4.0 MiB are free. Make room" in result["outcomes"][0]["summary"]
    assert [Path(path).name for path in files] == ["settings.lock"]


def test_a_disk_that_fills_up_half_way_leaves_the_older_copy_and_no_part_of_the_new(small_disk, tmp_path):
    """The first copy is small, so that the second is expected to be; what it holds then cannot be compressed."""
    data = tmp_path / "data"
    data.write_bytes(b"small")
    options = {"sources": [source(data)], "verify": "checksum"}
    grow = f"head -c 8000000 /dev/urandom > {data}"
    (first, second), files = small_disk("4m", tmp_path / "disk", options, grow, options)
    assert first["status"] == "ok"
    assert second["status"] == "critical"
    assert "No space left on device" in second["outcomes"][0]["summary"]
    assert "the older copies are untouched" in second["outcomes"][0]["summary"]
    kept = Path(first["outcomes"][0]["details"]["path"]).name
    assert sorted(Path(path).name for path in files) == sorted([kept, kept + ".manifest.json", "settings.lock"])


def test_a_disk_that_fills_up_under_the_scratch_copy_of_a_database(small_disk, tmp_path):
    """Another program takes the room between the look at it and the copy: a fifth of it is what the limit leaves."""
    path = database(tmp_path / "app.db", "delete", rows=10)
    app = {"sources": [{"name": "app", "engine": "sqlite", "path": str(path)}]}
    fill = 'head -c 4180000 /dev/zero > "$0/filler"'
    (first, second), files = small_disk("4m", tmp_path / "disk", app, fill, app)
    assert first["status"] == "ok"
    assert second["status"] == "critical"
    assert "Make room" in second["outcomes"][0]["summary"]
    assert len([path for path in files if path.endswith(".zst")]) == 1
