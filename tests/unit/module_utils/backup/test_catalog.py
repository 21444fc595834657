# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Backups as they lie in a folder (D2, H9)."""

from __future__ import annotations

import json
import os

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _catalog, _manifest
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

STAMP = "20261120T090000Z"


@pytest.fixture
def make(tmp_path):
    """Put a copy into the folder and return its path."""

    def go(name="x", stamp=STAMP, verifications=(("checksum", True),), **changes):
        path = tmp_path / name / f"{name}_{stamp}.sqlite.zst"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"12345")
        facts = {"name": name, "engine": "sqlite", "size_bytes": 5, "sha256": "0" * 64, "figures": {"tables": {"t": 1}}}
        document = _manifest.build(str(path), 0, facts)
        document["verifications"] = [_manifest.verification(level, ok, 0, {}) for level, ok in verifications]
        _manifest.write(str(path), {**document, **changes})
        return path

    return go


def test_a_copy_is_read_with_its_time_size_and_level(make, tmp_path):
    path = make()
    (copy,) = _catalog.copies(str(tmp_path))
    assert copy == _catalog.Copy("x", "sqlite", str(path), f"{path}.manifest.json", 1795165200.0, 5, "checksum", False)


@pytest.mark.parametrize(
    ("verifications", "level", "failed"),
    [
        ([], None, False),
        ([("checksum", True), ("restored", True)], "restored", False),
        ([("restored", True), ("checksum", True)], "restored", False),
        ([("restored", True), ("checksum", False)], "restored", True),
        ([("checksum", False), ("archive", True)], "archive", False),
        # A lower proof that passes refutes nothing.
        ([("restored", True), ("restored", False), ("checksum", True)], "restored", True),
        ([("restored", False), ("restored", True)], "restored", False),
        ([("archive", True), ("unheard of", False)], "archive", True),
        ([("unheard of", False), ("checksum", True)], "checksum", True),
        ([("unheard of", True)], None, False),
    ],
)
def test_the_best_level_passed_and_the_newest_verdict(make, tmp_path, verifications, level, failed):
    make(verifications=verifications)
    (copy,) = _catalog.copies(str(tmp_path))
    assert (copy.level, copy.failed) == (level, failed)


@pytest.mark.parametrize("changes", [{"size_bytes": 6}, {"file": "another"}, {"format": 99}])
def test_a_copy_that_is_not_what_its_manifest_says_failed(make, tmp_path, changes):
    make(**changes)
    assert [copy.failed for copy in _catalog.copies(str(tmp_path))] == [True]


def test_a_manifest_that_is_no_json_is_a_failed_copy(make, tmp_path):
    path = make()
    path.with_name(path.name + ".manifest.json").write_text("{")
    (copy,) = _catalog.copies(str(tmp_path))
    assert copy.failed
    with pytest.raises(RunbookError, match=r"manifest\.json: is no manifest of a backup"):
        _catalog.manifest(copy)


def test_newest_first_and_by_name(make, tmp_path):
    old, other, new = make(stamp="20250101T000000Z"), make("y", "20260101T000000Z"), make()
    assert [copy.path for copy in _catalog.copies(str(tmp_path))] == [str(new), str(other), str(old)]
    assert [copy.path for copy in _catalog.copies(str(tmp_path), ["y", "nothing"])] == [str(other)]


def test_a_folder_that_is_missing_holds_nothing(tmp_path):
    assert _catalog.copies(str(tmp_path / "missing")) == []
    assert _catalog.copies(str(tmp_path / "missing"), ["x"]) == []


@pytest.mark.parametrize(
    "name",
    [
        "x.sqlite.zst",
        "x_20261120T090000.sqlite",
        "x_20261340T090000Z.sqlite",
        "y_20261120T090000Z.sqlite",
        "x_20261120T090000Z",
    ],
)
def test_other_names_are_not_ours(tmp_path, name):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / name).touch()
    assert _catalog.folder(str(tmp_path), "x") == ([], [], [], ())


def test_partials_and_files_without_a_manifest_are_told_apart(make, tmp_path):
    path = make()
    left = path.with_name("x_20200101T000000Z.sqlite.zst")
    partial = path.with_name(f".{path.name}.12.partial")
    scratch = path.with_name(".x_restore.12.partial")
    left.touch()
    partial.touch()
    scratch.mkdir()
    found = _catalog.folder(str(tmp_path), "x")
    assert [copy.path for copy in found.copies] == [str(path)]
    assert found.partials == sorted([str(partial), str(scratch)])
    assert found.leftovers == [str(left)]


def test_symbolic_links_are_not_followed(make, tmp_path):
    path = make()
    link = path.with_name("x_20200101T000000Z.sqlite.zst")
    link.symlink_to(path)
    os.link(f"{path}.manifest.json", f"{link}.manifest.json")
    (tmp_path / "y").symlink_to(tmp_path / "x")
    assert [copy.path for copy in _catalog.copies(str(tmp_path))] == [str(path)]
    assert _catalog.copies(str(tmp_path), ["y"]) == []


def test_manifests_are_json_with_a_private_mode(make, tmp_path):
    path = make()
    manifest = path.with_name(path.name + ".manifest.json")
    assert manifest.stat().st_mode & 0o777 == 0o600
    assert json.loads(manifest.read_text())["file"] == path.name


@pytest.mark.parametrize("ends", [[".manifest.json"], [".manifest.json", ""]])
def test_a_copy_that_is_removed_while_the_folder_is_read_is_none(make, tmp_path, monkeypatch, ends):
    """H9: a check at the moment of a backup's clean-up would tell of a broken copy."""
    kept, old = make(stamp="20261121T090000Z"), make()
    real = _catalog._entries

    def read(path):
        entries = real(path)
        for end in ends:
            os.unlink(f"{old}{end}")
        return entries

    monkeypatch.setattr(_catalog, "_entries", read)
    assert [copy.path for copy in _catalog.folder(str(tmp_path), "x").copies] == [str(kept)]
