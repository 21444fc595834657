# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults of what all engines share: copies, manifests, locks, clocks, the disk of the backups (D1, D2, D4)."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess

import pytest

from .conftest import copies, tree
from .kills import Killer, age, sound

PACKINGS = {
    "zstd": {},
    "gzip": {"compression": {"algorithm": "gzip"}},
    "plain": {"compression": {"algorithm": "none"}},
}


@pytest.fixture
def folder(tmp_path):
    """A few files that do not compress."""
    folder = tmp_path / "etc"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}.bin").write_bytes(random.Random(number).randbytes(10_000))
    return folder


@pytest.fixture
def source(folder):
    """Plain files, the smallest engine."""
    return {"name": "etc", "engine": "files", "paths": [str(folder)]}


@pytest.fixture
def encrypted(tmp_path):
    """Options by which copies are encrypted."""
    secret = tmp_path / "key"
    subprocess.run(["age-keygen", "-o", str(secret)], check=True, capture_output=True)
    return {
        "encryption": {"recipients": [subprocess.check_output(["age-keygen", "-y", str(secret)], text=True).strip()]}
    }


def manifest_of(path):
    return path.with_name(path.name + ".manifest.json")


def test_killed_at_fifty_moments_an_encrypted_copy_of_files_converges(in_memory, one, store, folder, source, encrypted):
    """kill -9 through dump, proof and retention: no half copy, no lock, no part left, and the next run succeeds."""
    before = tree(folder)
    options = {"retention": {"keep_last": 2}, **encrypted}
    killed = 0
    with Killer({"directory": str(store), "sources": [source], **options}) as killer:
        # The first run of all has loaded everything; this one takes as long as each of those that follow.
        age(store, "etc")
        seconds = killer.whole()
        while killed < 50:
            age(store, "etc")
            killed += killer.run(killer.chance.uniform(0.0, seconds))[0]
            sound(store, "etc")
            age(store, "etc")
            outcome = one(source, **options)
            assert outcome["status"] == "ok", outcome
            assert 1 <= sound(store, "etc") <= 2
            assert not list((store / "etc").glob(".*"))
    assert tree(folder) == before


def test_runs_at_once_make_whole_copies_or_say_that_they_are_busy(started, store, source):
    processes = [started(source, retention={"keep_last": 9}) for _number in range(5)]
    outcomes = [json.loads(process.communicate(timeout=120)[0])["outcomes"][0] for process in processes]
    busy = [each for each in outcomes if each["details"].get("busy")]
    assert {each["status"] for each in busy} <= {"warning"}
    assert {each["status"] for each in outcomes if each not in busy} == {"ok"}
    assert sound(store, "etc") == len(outcomes) - len(busy)
    assert not list((store / "etc").glob(".*"))


@pytest.fixture
def spoilt(one, store, source):
    """Make a copy once, of long ago; then, each time, let `spoil` work on it, run again, and return its path and the outcome."""
    kept = store.with_name("kept")

    def go(spoil, **options):
        options = {"interval": "10000d", "retention": {"keep_last": 1}, **options}
        if not kept.exists():
            assert one(source, **options)["status"] == "ok"
            age(store, "etc")
            shutil.copytree(store / "etc", kept)
        shutil.rmtree(store / "etc")
        shutil.copytree(kept, store / "etc")
        ((path, document),) = copies(store, "etc")
        spoil(path, document)
        return path, one(source, **options)

    return go


@pytest.mark.parametrize("packing", [*PACKINGS, "encrypted"])
def test_any_flipped_bit_and_any_cut_is_found_and_a_new_copy_made(spoilt, one, store, source, encrypted, packing):
    chance = random.Random(packing)

    def flip(path, _document):
        data = bytearray(path.read_bytes())
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)

    def cut(path, _document):
        os.truncate(path, chance.randrange(path.stat().st_size))

    for spoil in (flip, cut, flip, flip, cut):
        path, outcome = spoilt(spoil, **PACKINGS.get(packing, encrypted))
        assert outcome["status"] == "critical", outcome
        assert f"{path}: " in outcome["summary"]
        assert "; made anew: " in outcome["summary"]
        assert outcome["details"]["level"] == "restored"
        assert outcome["details"]["path"] != str(path)
        assert path.exists(), "what failed is kept for whoever looks into it"
    again = one(source, interval="1d", retention={"keep_last": 1})
    assert again["summary"].startswith("nothing to do")
    assert again["status"] == "ok"


def test_a_damaged_copy_does_not_spoil_the_good_one_before_it(one, info, store, source):
    """The newest was cut, the one before it is young enough: the damage is told all the same, and the good one stays good."""
    for _number in range(2):
        assert one(source, retention={"keep_last": 9})["status"] == "ok"
        age(store, "etc")
    good, newest = (path for path, _document in copies(store, "etc"))
    os.truncate(newest, 10)
    outcome = one(source, interval="10000d", retention={"keep_last": 9})
    assert outcome["status"] == "critical"
    assert f"{newest}: it has 10 bytes" in outcome["summary"]
    failed = {each["path"]: each["failed"] for each in info()["copies"]}
    assert (failed[str(good)], failed[str(newest)], len(failed)) == (False, True, 3)


def hostile(document, path, outside):
    """Manifests as somebody who wants harm, or a text editor, would leave them."""
    yield {**document, "file": f"../../{outside.name}"}
    yield {**document, "file": str(outside)}
    yield {**document, "name": "../other"}
    yield {**document, "engine": ["files"]}
    yield {**document, "sha256": None}
    yield {**document, "sha256": "0" * 64}
    yield {**document, "size_bytes": -1}
    yield {**document, "size_bytes": 10**30}
    yield {**document, "figures": "none"}
    yield {**document, "verifications": {"level": "restored"}}
    yield {**document, "verifications": [{"level": "restored", "ok": True}]}
    yield {**document, "verifications": [None, 1, "restored"]}
    yield {**document, "format": 99}
    yield [document]
    yield "text"
    yield '{"format": 1,' + '"a":[' * 100_000
    yield "\0" * 1000
    yield b"\xff\xfe"
    yield json.dumps(document) + " " * (17 << 20)


def test_no_manifest_edited_by_hand_counts_or_leads_elsewhere(spoilt, info, tmp_path):
    """Beside the newest copy each means a new one; nothing outside is touched, and no error ends the run."""
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    contents = []
    spoilt(lambda path, document: contents.extend(hostile(document, path, outside)))
    assert len(contents) == 19
    for number, content in enumerate(contents):

        def edit(path, _document, content=content):
            text = content if isinstance(content, (str, bytes)) else json.dumps(content)
            manifest_of(path).write_bytes(text if isinstance(text, bytes) else text.encode())

        path, outcome = spoilt(edit)
        assert outcome["status"] == "critical", (number, outcome)
        assert f"{path}: " in outcome["summary"]
        assert outcome["details"]["level"] == "restored", (number, outcome)
        assert outcome["details"]["path"] != str(path), (number, outcome)
        assert info()["copies"][0]["failed"] is False, number
    assert outside.read_text() == "mine"


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_manifest_that_is_no_file_makes_no_copy_and_is_not_waited_for(one, store, source, kind):
    assert one(source)["status"] == "ok"
    path, _document = copies(store, "etc")[0]
    manifest = manifest_of(path)
    if kind == "link":
        manifest.rename(manifest.with_name("elsewhere"))
        manifest.symlink_to("elsewhere")
    else:
        manifest.unlink()
        os.mkfifo(manifest) if kind == "pipe" else manifest.mkdir()
    outcome = one(source, interval="1d")
    assert outcome["status"] == "ok"
    assert "1 without a manifest, which is no backup" in outcome["summary"]


def test_the_clock_is_set_back_a_day(one, started, store, source):
    """A real clock a day behind: the copy of tomorrow counts for nothing and stays, one of today is made, then all is well."""
    assert one(source, interval="20h", retention={"keep_last": 1})["status"] == "ok"
    (tomorrow,) = copies(store, "etc")
    back = started(
        source,
        prefix=["env", "FAKETIME_DONT_FAKE_MONOTONIC=1", "faketime", "-f", "-1d"],
        interval="20h",
        retention={"keep_last": 1},
    )
    output, errors = back.communicate(timeout=60)
    (outcome,) = json.loads(output)["outcomes"]
    assert outcome["status"] == "warning", errors
    assert "1 with a time stamp in the future count for nothing" in outcome["summary"]
    assert outcome["details"]["kept"][tomorrow[0].name].startswith("time stamp in the future")
    assert len(copies(store, "etc")) == 2
    outcome = one(source, interval="20h", retention={"keep_last": 1})
    assert outcome["summary"].startswith("nothing to do"), "the clock is right again"
    assert outcome["details"]["path"] == str(tomorrow[0])


def test_no_room_for_the_manifest_leaves_no_file_that_is_no_backup(small_disk, source, tmp_path):
    """Inodes run out between the data and its manifest, run after run; then there is room."""
    (first, second, third), files = small_disk(
        "10M,nr_inodes=5", tmp_path / "disk", {"sources": [source]}, {"sources": [source]},
        'mount -o remount,nr_inodes=50 "$0"', {"sources": [source]},
    )  # fmt: skip
    for result in (first, second):
        (outcome,) = result["outcomes"]
        assert outcome["status"] == "critical"
        assert "manifest.json: cannot write: No space left on device" in outcome["summary"], outcome
        assert "without a manifest" not in outcome["summary"]
    assert third["status"] == "ok", third
    assert sum("etc_" in path for path in files) == 2


@pytest.mark.parametrize(
    "broken",
    [
        {"engine": "sqlite", "path": "/no/such/file.db"},
        {"engine": "files", "paths": ["/no/such/folder/*.conf"]},
        {"engine": "files", "paths": ["/etc/hostname"], "exclude": ["*"]},
    ],
)
def test_what_is_not_there_is_an_error_and_never_an_empty_copy(run, store, source, broken):
    result = run({"name": "broken", **broken}, source)
    assert [each["status"] for each in result["outcomes"]] == ["critical", "ok"]
    assert "There is no backup verified as restored" in result["outcomes"][0]["summary"]
    assert not (store / "broken").exists()
