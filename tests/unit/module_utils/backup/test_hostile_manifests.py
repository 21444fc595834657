# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A manifest edited by hand is a failed copy and stops nobody (D4)."""

from __future__ import annotations

import json
import os

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _catalog, _manifest, _shape

NAME = "x_20261120T090000Z.sqlite.zst"


@pytest.fixture
def document(tmp_path):
    """A sound manifest."""
    facts = {"name": "x", "engine": "sqlite", "size_bytes": 5, "sha256": "0" * 64, "source": {"path": "/x"}}
    made = _manifest.build(NAME, 0, {**facts, "figures": {"tables": {"t": 1}, "objects": 1}})
    made["verifications"] = [_manifest.verification("checksum", True, 0.1, {})]
    return made


@pytest.fixture
def catalogued(tmp_path):
    """The copy as the catalog sees it with `text` as its manifest."""

    def go(text):
        folder = tmp_path / "x"
        folder.mkdir(exist_ok=True)
        (folder / NAME).write_bytes(b"12345")
        (folder / f"{NAME}.manifest.json").write_bytes(text if isinstance(text, bytes) else text.encode())
        (copy,) = _catalog.copies(str(tmp_path))
        return copy

    return go


def test_a_sound_manifest_is_believed(catalogued, document):
    copy = catalogued(json.dumps(document))
    assert (copy.failed, copy.problem, copy.level) == (False, None, "checksum")
    del document["source"]  # as the first releases wrote it
    document["figures"]["objects"] = {"views": 2}
    assert not catalogued(json.dumps(document)).failed


RECORD = {"level": "restored", "ok": True, "time": "2026-11-20T09:00:00Z", "duration_seconds": 1, "figures": {}}


@pytest.mark.parametrize(
    "change",
    [
        {"file": "y_20261120T090000Z.sqlite.zst"}, {"file": "../../etc/passwd"}, {"file": 7}, {"file": None},
        {"name": "y"}, {"name": ["x"]}, {"engine": None}, {"engine": ["sqlite"]}, {"engine": {"a": 1}},
        {"size_bytes": "5"}, {"size_bytes": -5}, {"size_bytes": True}, {"size_bytes": None}, {"size_bytes": 5.0},
        {"sha256": None}, {"sha256": "0" * 63}, {"sha256": "Z" * 64}, {"sha256": 0}, {"sha256": []},
        {"source": None}, {"source": "/x"}, {"source": [1]}, {"figures": None}, {"figures": []}, {"figures": 3},
        {"figures": {"tables": []}}, {"figures": {"tables": {"t": "1"}}}, {"figures": {"tables": None}},
        {"figures": {"tables": {"t": -1}}}, {"figures": {"objects": "many"}}, {"figures": {"objects": {"views": None}}},
        {"verifications": None}, {"verifications": 5}, {"verifications": {"level": "restored"}}, {"verifications": "x"},
        {"verifications": [1]}, {"verifications": [[]]}, {"verifications": [{}]}, {"verifications": [None]},
        {"verifications": [{**RECORD, "level": ["restored"]}]}, {"verifications": [{**RECORD, "ok": "yes"}]},
        {"verifications": [{**RECORD, "ok": 1}]}, {"verifications": [{**RECORD, "time": "yesterday"}]},
        {"verifications": [{**RECORD, "time": 1795165200}]}, {"verifications": [{**RECORD, "time": "2026-11-20T09:00:00"}]},
        {"verifications": [{**RECORD, "figures": "fine"}]}, {"verifications": [{**RECORD, "duration_seconds": "1 s"}]},
        {"verifications": [{**RECORD, "duration_seconds": float("nan")}]}, {"verifications": [{**RECORD, "duration_seconds": -1}]},
        {"verifications": [{**RECORD, "duration_seconds": float("inf")}]},
        {"format": 2}, {"format": "1"}, {"format": None},
    ],
    ids=repr,
)  # fmt: skip
def test_a_wrong_value_is_a_failed_copy_that_says_why(catalogued, document, change):
    copy = catalogued(json.dumps({**document, **change}))
    assert (copy.failed, copy.level) == (True, None)
    assert "manifest" in copy.problem
    assert not copy.good("checksum")


@pytest.mark.parametrize(
    "key", ["format", "file", "name", "engine", "size_bytes", "sha256", "figures", "verifications"]
)
def test_a_missing_key_is_a_failed_copy(catalogued, document, key):
    del document[key]
    assert catalogued(json.dumps(document)).failed


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", "7", '"x"', "NaN", "[" * 100000, '{"a":' * 100000, b"\xff\xfe\x00", b"\0" * 100, "{}"],
    ids=["nothing", "cut", "null", "list", "number", "text", "nan", "deep list", "deep", "bytes", "zeros", "empty"],
)
def test_what_is_no_manifest_at_all_is_a_failed_copy(catalogued, text):
    copy = catalogued(text)
    assert (copy.failed, copy.level, copy.engine) == (True, None, "unknown")


def test_a_manifest_whose_data_file_is_gone_is_seen(catalogued, document, tmp_path):
    copy = catalogued(json.dumps(document))
    os.unlink(copy.path)
    found = _catalog.folder(str(tmp_path), "x")
    assert (found.copies, found.missing) == ([], (copy.path,))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1970-01-01T00:01:00Z", 60.0), ("1970-01-01T00:01:00+00:00", 60.0), ("1970-01-01T00:01:00", None), (None, None)],
)
def test_times_are_read_with_their_zone_alone(text, seconds):
    assert _shape.seconds(text) == seconds
