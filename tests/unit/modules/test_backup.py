# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.backup and sre.runbooks.backup_info: bad input fails before anything is changed and names the thing."""

from __future__ import annotations

import json
import os

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.modules import backup, backup_info


@pytest.fixture
def call(capsys):
    def go(module, **options):
        with patch_module_args(options), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return go


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sources": [{"name": "x", "engine": "oracle"}]}, ["sources.x.engine", "'oracle'", "Use one of"]),
        ({"sources": [{"name": "x", "engine": "sqlite", "file": "/x"}]}, ["sources.x", "file", "path"]),
        ({"sources": []}, ["sources", "at least one"]),
        ({"verify": "trusted"}, ["verify", "trusted", "checksum, archive, restored"]),
        ({"retention": {}}, ["retention", "keeps nothing"]),
        ({"retention": {"keep_fortnightly": 2}}, ["retention.keep_fortnightly"]),
        ({"interval": "often"}, ["interval", "'often'"]),
        ({"levels": "restored"}, ["levels"]),
    ],
)
def test_bad_input_fails_and_changes_nothing(call, tmp_path, changes, words):
    (tmp_path / "data").write_text("x")
    good = {
        "sources": [{"name": "x", "engine": "files", "paths": [str(tmp_path / "data")]}],
        "directory": str(tmp_path / "b"),
    }
    result = call(backup, **{**good, **changes})
    assert result["failed"] is True
    for word in words:
        assert word in result["msg"]
    assert [each.name for each in tmp_path.iterdir()] == ["data"]


def test_a_folder_that_cannot_be_used_fails(call, tmp_path):
    (tmp_path / "file").write_text("x")
    source = {"name": "x", "engine": "files", "paths": [str(tmp_path)]}
    for check_mode in (True, False):
        result = call(backup, sources=[source], directory=str(tmp_path / "file" / "b"), _ansible_check_mode=check_mode)
        assert result["failed"] is True
        assert f"directory: {tmp_path}/file is no folder" in result["msg"]


def test_passwords_are_in_no_result(call, tmp_path):
    source = {"name": "x", "engine": "postgresql", "host": "127.0.0.1", "port": 1, "password": "the-secret"}
    results = [
        call(backup, sources=[source], directory=str(tmp_path)),
        call(backup, sources=[{**source, "unknown": 1}], directory=str(tmp_path)),
        call(backup, sources=[source], directory=str(tmp_path), retention={}),
    ]
    assert [result.get("failed", False) for result in results] == [False, True, True]
    assert "the-secret" not in json.dumps(results)


def test_info_of_a_folder_without_backups_is_critical(call, tmp_path):
    result = call(backup_info, directory=str(tmp_path))
    assert (result["status"], result["changed"], result["copies"]) == ("critical", False, [])
    assert "holds no backup" in result["outcomes"][0]["summary"]


def test_info_names_what_has_no_copy(call, tmp_path):
    result = call(backup_info, directory=str(tmp_path), names=["x"])
    assert [(each["subject"], each["status"]) for each in result["outcomes"]] == [("backup:x", "critical")]
    assert call(backup_info, directory=str(tmp_path), names=[])["failed"] is True


def test_info_lists_copies(call, tmp_path):
    (tmp_path / "data").write_text("x")
    source = {"name": "x", "engine": "files", "paths": [str(tmp_path / "data")]}
    call(backup, sources=[source], directory=str(tmp_path / "b"))
    umask = os.umask(0)
    os.umask(umask)
    assert umask != 0o077, "the module sets it back"
    result = call(backup_info, directory=str(tmp_path / "b"))
    (copy,) = result["copies"]
    assert (copy["name"], copy["engine"], copy["level"], copy["failed"]) == ("x", "files", "restored", False)
    (outcome,) = result["outcomes"]
    assert (outcome["subject"], outcome["stage"], outcome["status"]) == ("files:x", "backup_info", "ok")
    recovery = {"recovery_time_seconds", "recovery_point_seconds"}
    assert {"age_seconds", "size_bytes", "copies", "total_bytes", *recovery} == outcome["metrics"].keys()
