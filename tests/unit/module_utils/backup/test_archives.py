# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives that somebody tampered with, and files that change while they are read (D3, D4)."""

from __future__ import annotations

import io
import os
import tarfile

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.module_utils._backup import (
    _files_restore,
    _packing,
    _tree,
    _verify,
    sqlite,
)
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Mismatch, Work
from ansible_collections.sre.runbooks.plugins.module_utils._core import runbook
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError


@pytest.fixture
def work(tmp_path):
    with patch_module_args({}):
        module = runbook.build({})
    return Work(Commands(module.run_command), _packing.choose("zstd", None), str(tmp_path), "x", "token", "restored")


def archive(path, *members):
    """A tar archive of (name, type, linkname, content)."""
    with tarfile.open(path, "w") as tar:
        for name, kind, link, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, link, len(content)
            tar.addfile(info, io.BytesIO(content))
    return str(path)


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "a/../../escaped"])
def test_a_name_that_leads_out_of_the_scratch_folder_is_refused(work, tmp_path, name):
    path = archive(tmp_path / "x.tar", (name, tarfile.REGTYPE, "", b"evil"))
    with pytest.raises(Mismatch, match="leads out of the folder"):
        _files_restore.scan(path, str(tmp_path / "scratch"), work)
    assert not (tmp_path / "escaped").exists()
    assert not (tmp_path / "scratch").exists()


def test_nothing_is_written_through_a_link_of_the_archive(work, tmp_path):
    (tmp_path / "target").mkdir()
    path = archive(
        tmp_path / "x.tar",
        ("way", tarfile.SYMTYPE, str(tmp_path / "target"), b""),
        ("way/escaped", tarfile.REGTYPE, "", b"evil"),
    )
    assert _files_restore.scan(path, str(tmp_path / "scratch"), work).files == 1
    assert not list((tmp_path / "target").iterdir())


def test_an_archive_that_ends_early_is_told(work, tmp_path):
    path = archive(tmp_path / "x.tar", ("a", tarfile.REGTYPE, "", bytes(100_000)))
    os.truncate(path, 50_000)
    with pytest.raises(Mismatch, match="is no whole archive"):
        _files_restore.scan(path, None, work)


def test_a_copy_that_cannot_be_unpacked_is_told(work, tmp_path):
    path = tmp_path / "x.tar.zst"
    path.write_bytes(b"no zstd")
    with pytest.raises(Mismatch, match=r"x\.tar\.zst: (cannot be unpacked|is no whole archive)"):
        _files_restore.scan(str(path), None, work)


def test_a_file_that_shrinks_is_filled_up_and_told(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"12345")
    with path.open("rb", buffering=0) as stream:
        reader = _tree.Exactly(stream, 8)
        assert reader.read(8) == b"12345\0\0\0"
        assert reader.changed()


def test_a_file_that_grows_is_cut_and_told(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"12345")
    with path.open("rb", buffering=0) as stream:
        reader = _tree.Exactly(stream, 5)
        with path.open("ab") as more:
            more.write(b"678")
        assert reader.read() == b"12345"
        assert reader.read() == b""
        assert reader.changed()


def test_a_pipe_that_took_the_place_of_a_file_keeps_nobody_waiting(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x")
    (entry,) = _tree.walk([str(path)], lambda path: False)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(FileNotFoundError), _tree.opened(entry):
        pass


def test_a_link_that_took_the_place_of_a_file_is_not_followed(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x")
    (entry,) = _tree.walk([str(path)], lambda path: False)
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(FileNotFoundError), _tree.opened(entry):
        pass


def test_what_cannot_be_stored_removes_nothing_and_says_where(work, tmp_path):
    with pytest.raises(OSError, match="missing") as raised:
        _packing.store(
            work.commands, [["head", "-c", "50000000", "/dev/zero"], ["cat"]], str(tmp_path / "missing" / "x")
        )
    assert raised.value.filename == str(tmp_path / "missing" / "x")


def test_a_proof_that_fails_is_on_record_and_one_that_could_not_be_made_is_not(work, tmp_path):
    path = tmp_path / "x_20261120T090000Z.sqlite"
    path.write_bytes(b"not the database")
    document = {"sha256": "0" * 64, "size_bytes": 16, "figures": {}, "verifications": []}
    record = _verify.prove(sqlite, {"path": "/x"}, str(path), document, work)
    assert (record["level"], record["ok"]) == ("restored", False)
    assert "its SHA-256 is not that of what was written" in record["figures"]["problem"]
    assert document["verifications"] == [record]
    late = work._replace(deadline=0.0)
    with pytest.raises(RunbookError, match="time limit"):
        _verify.prove(sqlite, {"path": "/x"}, str(path), document, late, fresh=True)
    assert document["verifications"] == [record]
