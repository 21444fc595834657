# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which tables are due: the rules of database_vacuum as pure functions (D6)."""

from __future__ import annotations

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._database import _mysql_vacuum, _postgresql_vacuum

SOURCE = {"full": False, "analyze": True, "minimum_free_percent": 10.0, "minimum_dead_percent": 5.0}
SERVER = {"freeze": 200_000_000, "block": 8192, "number": 150000, "directory": "/data"}
TABLE = {
    "schema": "public", "name": "t", "kind": "r", "size": 8 << 20, "pages": 1000, "rows": 10000, "live": 10000, "dead": 0,
    "changed": 0, "vacuumed": 100.0, "analyzed": 200.0, "age": 1000, "width": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("table", "source", "expected"),
    [
        ({}, {}, None),
        ({"dead": 527}, {}, ("VACUUM (ANALYZE)", "5 % dead rows")),
        ({"dead": 527}, {"analyze": False}, ("VACUUM", "5 % dead rows")),
        ({"dead": 527}, {"minimum_dead_percent": 5.1}, None),
        ({"dead": 500}, {}, None),
        ({"dead": 49, "live": 0}, {}, None),
        ({"dead": 50, "live": 0}, {}, ("VACUUM (ANALYZE)", "100 % dead rows")),
        ({"dead": None, "live": None, "changed": None, "analyzed": None}, {}, ("VACUUM (ANALYZE)", "never analysed")),
        ({"analyzed": None}, {"analyze": False}, None),
        ({"changed": 1049}, {}, None),
        ({"changed": 1050}, {}, ("VACUUM (ANALYZE)", "its statistics are old")),
        ({"age": 149_999_999}, {}, None),
        ({"age": 150_000_000}, {}, ("VACUUM (ANALYZE)", "old transaction ids")),
        ({"kind": "p", "analyzed": None}, {}, ("ANALYZE", "never analysed")),
        ({"width": 800}, {"full": True}, None),
        ({"width": 400}, {"full": True}, ("VACUUM FULL", "about 51 % of it is free")),
        ({"width": 400}, {}, None),
        ({"width": 400, "pages": 127, "rows": 10}, {"full": True}, None),
        ({"width": 400, "rows": -1}, {"full": True}, None),
    ],
)
def test_postgresql(table, source, expected):
    steps = _postgresql_vacuum.due({**TABLE, **table}, {**SOURCE, **source}, SERVER, {})
    assert [(step.action, step.reason) for step in steps] == ([] if expected is None else [expected])


def test_postgresql_a_table_written_anew_waits_until_it_has_grown():
    table, source = {**TABLE, "width": 400}, {**SOURCE, "full": True}
    assert not _postgresql_vacuum.due(table, source, SERVER, {"public.t": {"bytes": 8 << 20}})
    assert _postgresql_vacuum.due(table, source, SERVER, {"public.t": {"bytes": 7 << 20}})


@pytest.mark.parametrize(
    ("table", "memory", "full", "expected"),
    [
        ({}, {}, False, ("ANALYZE", "not yet analysed")),
        ({}, {"rows": 1000, "bytes": 10 << 20}, False, None),
        ({"rows": 1101}, {"rows": 1000, "bytes": 10 << 20}, False, ("ANALYZE", "its statistics are old")),
        ({"free": 4 << 20}, {"rows": 1000, "bytes": 10 << 20}, False, None),
        ({"free": 4 << 20}, {"rows": 1000, "bytes": 10 << 20}, True, ("OPTIMIZE", "29 % of it is free")),
        ({"free": 4 << 20}, {"rows": 1000, "bytes": 10 << 20, "free": 4 << 20}, True, None),
        ({"free": 1 << 20}, {"rows": 1000, "bytes": 10 << 20}, True, None),
        ({"free": 1 << 20, "bytes": 1 << 20}, {"rows": 1000, "bytes": 1 << 20}, True, None),
        ({"engine": "CONNECT"}, {}, False, None),
    ],
)
def test_mysql(table, memory, full, expected):
    table = {"name": "t", "engine": "InnoDB", "rows": 1000, "bytes": 10 << 20, "free": 0, **table}
    steps = _mysql_vacuum.due(table, {**SOURCE, "full": full}, {"t": memory} if memory else {})
    assert [(step.action, step.reason) for step in steps] == ([] if expected is None else [expected])
