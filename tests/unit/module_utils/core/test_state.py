# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host remembers between runs."""

from __future__ import annotations

import os

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core import state
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError


def test_what_was_never_saved_is_empty_and_what_was_comes_back(tmp_path):
    folder = tmp_path / "not/yet/there"
    assert state.load(str(folder), "health") == {}
    state.save(str(folder), "health", {"held": {"größe/> 1": 5.5}})
    assert state.load(str(folder), "health") == {"held": {"größe/> 1": 5.5}}
    assert (folder / "health.json").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("content", [b"", b'{"held": ', b"\xff\xfe", b"[1]", b'"text"', b"null"])
def test_a_corrupt_document_is_named_with_the_remedy_and_left_as_it_is(tmp_path, content):
    path = tmp_path / "health.json"
    path.write_bytes(content)
    with pytest.raises(RunbookError) as caught:
        state.load(str(tmp_path), "health")
    assert str(caught.value).startswith(f"{path}: cannot read the state of earlier runs: ")
    assert str(caught.value).endswith("Repair or remove this file.")
    assert path.read_bytes() == content


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunbookError, match=f"^{tmp_path}/file/state: cannot create this folder: Not a directory"):
        state.save(f"{tmp_path}/file/state", "health", {})


def test_the_folder_is_the_option_or_that_of_the_user(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert state.directory("/srv/state") == "/srv/state"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert state.directory(None) == "/var/lib/sre-runbooks"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert state.directory(None) == "/home/somebody/.local/state/sre-runbooks"
