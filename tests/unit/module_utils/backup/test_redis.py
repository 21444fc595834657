# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the engine redis decides without a server: where a file ends in the stream, and what speaks against a copy (D1, D4)."""

from __future__ import annotations

import io

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _redis_scratch, redis
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Mismatch
from ansible_collections.sre.runbooks.plugins.module_utils._core import redis as connection
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

MARK = b"0123456789abcdef0123456789abcdef01234567"


def pour(text):
    sink, checker = io.BytesIO(), io.BytesIO()
    whole = redis._pour(io.BytesIO(text), sink, checker)
    assert checker.getvalue() == sink.getvalue()
    return sink.getvalue(), whole


@pytest.mark.parametrize("size", [0, 30, 55, 100, redis._PIECE - 20, redis._PIECE, 2 * redis._PIECE + 30])
@pytest.mark.parametrize("mark", [b"", MARK])
def test_the_mark_of_a_stream_is_no_part_of_the_file(size, mark):
    content = b"REDIS0010" + b"7" * size + b"\xff" + b"12345678"
    assert pour(content + mark) == (content, True)


@pytest.mark.parametrize("text", [b"REDIS0010" + b"x" * 100, b"REDIS0010" + b"x" * 100 + MARK])
def test_a_stream_without_the_end_of_the_file_is_not_whole(text):
    assert pour(text) == (text.removesuffix(MARK), False)


@pytest.mark.parametrize(("dataset", "size"), [("400", 400), ("18446744073709551000", 1000), ("", 1000), (None, 1000)])
def test_an_overhead_larger_than_the_memory_is_no_need_for_room(dataset, size):
    """D1: as a server tells it right after its start."""
    told = {"used_memory": "1000"} if dataset is None else {"used_memory": "1000", "used_memory_dataset": dataset}
    assert connection.dataset_bytes(told) == size


def test_nothing_is_not_whole():
    assert pour(b"") == (b"", False)


def test_what_is_no_such_file_is_refused():
    with pytest.raises(RunbookError, match="gives no RDB file"):
        pour(b"NOAUTH Authentication required.")


def test_keys_by_database():
    info = {
        "db0": "keys=12,expires=1,avg_ttl=0",
        "db11": "keys=3,expires=0,avg_ttl=0",
        "dbsize": "1",
        "redis_version": "7",
    }
    assert _redis_scratch.keyspace(info) == {"0": 12, "11": 3}


@pytest.mark.parametrize(
    "text",
    [
        "Can't handle RDB format version 12",
        "The RDB file contains module data I can't load",
        "Out Of Memory allocating",
    ],
)
def test_what_the_programs_of_the_host_cannot_read_is_no_evidence(text):
    found = _redis_scratch.verdict("/x", text)
    assert not isinstance(found, Mismatch)
    assert "Install those of the server's release" in str(found)


def test_a_wrong_checksum_is_evidence():
    assert isinstance(
        _redis_scratch.verdict("/x", "Wrong RDB checksum expected: (1) but got (2). Aborting now."), Mismatch
    )


def test_more_memory_than_there_is_is_refused_before_anything_starts():
    with pytest.raises(RunbookError, match="Set verify: archive"):
        _redis_scratch._enough_memory(1 << 60)
