# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.restore of files and folders (D3, D5)."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import random
import stat
import tarfile

import pytest

from ..backup.conftest import tree
from .conftest import KEPT, kept_anew, manifest_of


@pytest.fixture
def root(tmp_path):
    """A folder with what settings have: closed files, links, hard links, times, names that are no UTF-8."""
    folder = tmp_path / "etc" / "app"
    (folder / "conf.d").mkdir(parents=True)
    (folder / "empty").mkdir(mode=0o700)
    (folder / ".env").write_text("SECRET=one\n")
    (folder / ".env").chmod(0o600)
    (folder / "conf.d" / "a.conf").write_text("a = 1\n")
    os.link(folder / "conf.d" / "a.conf", folder / "conf.d" / "b.conf")
    (folder / "current").symlink_to("conf.d/a.conf")
    (folder / "away").symlink_to("/nonexistent")
    with open(os.path.join(os.fsencode(folder), b"\xff\n.bin"), "wb") as stream:
        stream.write(os.urandom(200000))
    os.chmod(folder / "conf.d", 0o750)
    if os.geteuid() == 0:
        os.chown(folder / ".env", 12345, 54321)
        os.chown(folder / "away", 12345, 54321, follow_symlinks=False)
    os.utime(folder / ".env", (1_600_000_000, 1_600_000_000))
    os.utime(folder / "conf.d", (1_600_000_000, 1_600_000_000))
    os.utime(folder, (1_500_000_000, 1_500_000_000))
    return folder


@pytest.fixture
def source(root):
    return {"name": "settings", "engine": "files", "paths": [str(root)]}


def shape(folder):
    """Everything of a tree that a restore has to bring back."""
    found = {}
    for name in [".", *sorted(os.fsdecode(os.path.relpath(path, folder)) for path in folder.rglob("*"))]:
        path = os.path.join(folder, name)
        info = os.lstat(path)
        content = os.readlink(path) if stat.S_ISLNK(info.st_mode) else None
        if stat.S_ISREG(info.st_mode):
            with open(path, "rb") as stream:
                content = hashlib.sha256(stream.read()).hexdigest()
        links = info.st_nlink if stat.S_ISREG(info.st_mode) else 0
        found[name] = (info.st_mode, info.st_uid, info.st_gid, int(info.st_mtime), links, content)
    return found


def spoil(root):
    (root / ".env").write_text("SECRET=two\n")
    (root / "conf.d" / "a.conf").unlink()
    (root / "new").write_text("new")


def test_the_whole_cycle(backup, one, source, root, store):
    """D3, D5: contents, owners, modes, times, links come back; what was there is kept and backed up."""
    before = shape(root)
    backup(source)
    spoil(root)
    spoilt = shape(root)
    outcome = one("settings")
    assert outcome["status"] == "ok", outcome
    assert shape(root) == before
    details = outcome["details"]
    (kept,) = details["kept"]
    assert kept.startswith(f"{root}.before-restore-")
    assert shape(type(root)(kept)) == spoilt
    assert details["figures"]["files"] == 3
    assert details["safety_backup"].startswith(str(store / ".before-restore" / "settings"))
    assert sorted(os.listdir(root.parent)) == ["app", os.path.basename(kept)]
    assert one("settings", directory=str(store / ".before-restore"), safety_backup=False)["status"] == "ok"
    assert shape(root) == spoilt, "and back again"


def test_some_files_and_patterns(backup, one, tmp_path):
    """Several paths of one source: each is exchanged, with all else around them as it is."""
    folder = tmp_path / "app"
    (folder / "data").mkdir(parents=True)
    for name in ("a.conf", "b.conf", "other.txt", "data/x"):
        (folder / name).write_text("old")
    backup({"name": "some", "engine": "files", "paths": [str(folder / "*.conf"), str(folder / "data" / "x")]})
    for name in ("a.conf", "other.txt", "data/x"):
        (folder / name).write_text("new")
    (folder / "b.conf").unlink()
    outcome = one("some", keep_old=1)
    assert outcome["status"] == "ok", outcome
    assert [(folder / name).read_text() for name in ("a.conf", "b.conf", "data/x", "other.txt")] == ["old"] * 3 + [
        "new"
    ]
    assert [os.path.basename(path).split(".before")[0] for path in outcome["details"]["kept"]] == ["a.conf", "x"]


def test_onto_an_empty_place_and_elsewhere(backup, one, source, root, tmp_path):
    """D11: nothing is there, not even the folder above."""
    before = shape(root)
    backup(source)
    elsewhere = tmp_path / "look" / "here"
    outcome = one("settings", to=str(elsewhere))
    assert outcome["status"] == "ok", outcome
    assert shape(elsewhere / str(root).lstrip("/")) == before
    assert shape(root) == before
    assert outcome["details"]["kept"] == []


def test_check_mode_changes_nothing(backup, one, source, root, tmp_path):
    backup(source, verify="restored")
    spoil(root)
    before = tree(tmp_path)
    outcome = one("settings", check_mode=True)
    assert outcome["details"]["would"] == "restore"
    assert outcome["details"]["target"] == str(root)
    assert tree(tmp_path) == before


def test_what_a_copy_leaves_out_is_told(backup, one, source, root):
    backup({**source, "exclude": ["*.conf"]})
    outcome = one("settings")
    assert outcome["status"] == "warning"
    assert "what the copy leaves out (*.conf) is in the kept ones only" in outcome["summary"]
    assert not (root / "conf.d" / "a.conf").exists()
    assert os.path.exists(os.path.join(outcome["details"]["kept"][0], "conf.d", "a.conf"))


def test_extended_attributes_in_an_archive_are_set(backup, one, root, source):
    """As other programs write them, too."""

    def more(tar, info):
        if info.name.endswith(".env"):
            info.pax_headers = {"SCHILY.xattr.user.origin": "vault"}

    forge(backup(source), more, root)
    assert one("settings", force=True)["status"] in ("ok", "warning")
    assert os.getxattr(root / ".env", "user.origin") == b"vault"


def forge(copy, change, root=None, add=()):
    """Write the archive of a copy anew: every entry as `change` leaves it, then the entries of `add`."""
    import subprocess

    plain = subprocess.check_output(["zstd", "-dqc", copy])
    out = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(plain), errors="surrogateescape") as old,
        tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as new,
    ):
        for info in old:
            change(new, info)
            new.addfile(info, old.extractfile(info) if info.isreg() else None)
        for info, content in add:
            info.size = len(content)
            new.addfile(info, io.BytesIO(content))
    packed = subprocess.run(["zstd", "-qc"], input=out.getvalue(), stdout=subprocess.PIPE, check=True).stdout
    with open(copy, "wb") as stream:
        stream.write(packed)
    with manifest_of(copy) as manifest:
        manifest.update(sha256=hashlib.sha256(packed).hexdigest(), size_bytes=len(packed))


def entry(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([("{root}/../../evil", tarfile.REGTYPE, "")], "which leads out of the folder"),
        ([("/{root}/evil", tarfile.REGTYPE, "")], "which leads out of the folder"),
        ([("{outside}/evil", tarfile.REGTYPE, "")], "which none of the paths of its source covers"),
        (
            [("{root}/door", tarfile.SYMTYPE, "/{outside}"), ("{root}/door/evil", tarfile.REGTYPE, "")],
            "without the folder that it lies in",
        ),
        ([("{root}/door", tarfile.SYMTYPE, "/{outside}"), ("{root}/door", tarfile.DIRTYPE, "")], "twice"),
        ([("{root}/hard", tarfile.LNKTYPE, "{outside}/victim")], "which none of the paths of its source covers"),
        ([("{root}/hard", tarfile.LNKTYPE, "{root}/away")], "which is no file of it"),
        ([("{root}/hard", tarfile.LNKTYPE, "{root}/../../victim")], "which leads out of the folder"),
        ([("{root}/device", tarfile.CHRTYPE, "")], "neither file, folder nor link"),
        ([("{root}/pipe", tarfile.FIFOTYPE, "")], "neither file, folder nor link"),
        ([("{root}/.env", tarfile.REGTYPE, "")], "twice"),
    ],
)
def test_a_hostile_archive_reaches_nothing_outside(backup, one, source, root, tmp_path, entries, told):
    """Its checksum fits, and force is set: names and links are refused all the same."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("whole")
    (tmp_path / "victim").write_text("whole")
    names = {"root": str(root).lstrip("/"), "outside": str(outside).lstrip("/")}
    add = [
        (entry(name.format(**names), kind, link.format(**names)), b"evil" if kind == tarfile.REGTYPE else b"")
        for name, kind, link in entries
    ]
    forge(backup(source), lambda tar, info: None, add=add)
    before, around = shape(root), tree(tmp_path / "outside")
    outcome = one("settings", force=True)
    assert outcome["status"] == "critical"
    assert told in outcome["summary"]
    assert shape(root) == before
    assert tree(tmp_path / "outside") == around
    assert os.listdir(root.parent) == ["app"]


def test_an_archive_with_another_content_is_not_put_in_place(backup, one, source, root):
    copy = backup(source)
    with manifest_of(copy) as manifest:
        manifest["figures"]["sha256"] = "0" * 64
    spoil(root)
    before = shape(root)
    assert "the restored files differ from those of the dump" in one("settings")["summary"]
    assert shape(root) == before
    assert os.listdir(root.parent) == ["app"]


def test_killed_at_many_moments_each_path_is_whole(backup, one, in_child, tmp_path):
    """kill -9: each of two paths is the old or the new at any moment, and after the next run both are new, nothing left over."""
    folder = tmp_path / "apps"
    for name in ("one", "two"):
        (folder / name).mkdir(parents=True)
        for number in range(30):
            (folder / name / f"{number}").write_text("new" * 100)
    backup({"name": "apps", "engine": "files", "paths": [str(folder / "one"), str(folder / "two")]})
    options = {"name": "apps", "safety_backup": False, "keep_old": 1}
    took = in_child(60, **options)
    chance = random.Random(5)
    seen = []
    for number in range(60):
        for name in ("one", "two"):
            for each in range(30):
                (folder / name / f"{each}").write_text("old" * 100)
        before = set(os.listdir(folder))
        moment, until = took * (number + chance.random()) / 60, None
        if number % 3 == 0:
            moment, until = 60, functools.partial(kept_anew, folder, before)
        ended = in_child(moment, until, **options)
        took = ended or took
        contents = [{(folder / name / f"{each}").read_text() for each in range(30)} for name in ("one", "two")]
        assert all(found in ({"old" * 100}, {"new" * 100}) for found in contents), (number, contents)
        seen.append((ended is None, contents[0] == {"new" * 100}))
        if number % 10 == 9:
            assert one("apps", keep_old=1)["status"] == "ok"
            contents = [{(folder / name / f"{each}").read_text() for each in range(30)} for name in ("one", "two")]
            assert contents == [{"new" * 100}] * 2
            assert not [name for name in os.listdir(folder) if name.endswith(".partial")]
    assert {(True, False), (True, True)} <= set(seen)


def test_a_file_system_that_cannot_exchange_names(backup, one, source, root, monkeypatch):
    """Two renames then, and the journal between them."""
    from ansible_collections.sre.runbooks.plugins.module_utils._restore import _place

    monkeypatch.setattr(_place, "_exchange", lambda first, second: False)
    before = shape(root)
    backup(source)
    spoil(root)
    renames = []
    rename = os.rename

    def die(first, second, **more):
        renames.append(second)
        if len(renames) == 2:
            raise KeyboardInterrupt
        rename(first, second, **more)

    with monkeypatch.context() as patch:
        patch.setattr(
            _place, "replace", lambda swap, replace=_place.replace: (patch.setattr(os, "rename", die), replace(swap))[1]
        )
        patch.setattr(_place, "begun", interrupt)
        with pytest.raises(KeyboardInterrupt):
            one("settings", safety_backup=False)
    assert not root.exists(), "the moment between the two"
    outcome = one("settings", safety_backup=False)
    assert outcome["status"] == "ok", outcome
    assert "ended the swap of 1 paths" in outcome["summary"]
    assert shape(root) == before
    assert len([name for name in os.listdir(root.parent) if KEPT in name]) == 2


def test_when_one_path_cannot_be_exchanged_the_others_are_put_back(backup, one, tmp_path, monkeypatch):
    from ansible_collections.sre.runbooks.plugins.module_utils._restore import _place

    for name in ("a", "b"):
        (tmp_path / "etc" / name).mkdir(parents=True)
        (tmp_path / "etc" / name / "x").write_text("old")
    backup({"name": "two", "engine": "files", "paths": [str(tmp_path / "etc" / "a"), str(tmp_path / "etc" / "b")]})
    for name in ("a", "b"):
        (tmp_path / "etc" / name / "x").write_text("new")
    exchange = _place._exchange

    def busy(first, second):
        if second.endswith("/b"):
            raise OSError(16, "Device or resource busy", second)
        return exchange(first, second)

    monkeypatch.setattr(_place, "_exchange", busy)
    outcome = one("two", safety_backup=False)
    assert outcome["status"] == "critical"
    assert "Device or resource busy" in outcome["summary"]
    assert [(tmp_path / "etc" / name / "x").read_text() for name in ("a", "b")] == ["new", "new"]
    assert sorted(os.listdir(tmp_path / "etc")) == ["a", "b"]


def test_a_disk_that_is_full_changes_nothing(backup, small_disk, source, root, tmp_path, places):
    copy = backup(source)
    with manifest_of(copy) as manifest:
        manifest["figures"]["size_bytes"] = 1000  # so that it is found out by the writing
    volume = tmp_path / "volume"
    told = json.dumps({**places, "name": "settings", "to": str(volume), "force": True})
    lines = (
        small_disk(120000, volume, f'"$PYTHON" -c "$MODULE" "$TOLD"; ls -A {volume}', TOLD=told).strip().splitlines()
    )
    assert "No space left on device" in json.loads(lines[0])["msg"]
    assert lines[1:] == []


def interrupt(_swap):
    """What a signal does between two steps."""
    raise KeyboardInterrupt
