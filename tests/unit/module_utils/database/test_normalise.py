# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stands in a report of slow statements: no value of any of them (D9)."""

from __future__ import annotations

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._database._normalise import LONGEST, normalised


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("SELECT * FROM t WHERE a = 'x' AND b = 12.5e3", "SELECT * FROM t WHERE a = ? AND b = ?"),
        ("SELECT 'it''s', E'a\\'b', N'x', B'01', X'ff', U&'\\0041'", "SELECT ?, …"),
        ("SELECT a1, t2.b3 FROM t2 WHERE c = $1", "SELECT a1, t2.b3 FROM t2 WHERE c = ?"),
        ("SELECT $$secret$$, $tag$ $$ secret $tag$ || x", "SELECT ?, … || x"),
        ("SELECT 1 -- secret\nFROM t /* secret\n */ WHERE x IN (1, 2,3)", "SELECT ? FROM t WHERE x IN (?, …)"),
        ('SELECT "Column 1" FROM "t""x"', 'SELECT "Column 1" FROM "t""x"'),
        ("SELECT `col 1` FROM `t``x` WHERE y = 0xFF", "SELECT `col 1` FROM `t``x` WHERE y = ?"),
        ("ALTER ROLE x PASSWORD 'cut off in the midd", "ALTER ROLE x PASSWORD ?"),
        ("SELECT $tag$cut off", "SELECT ?"),
        ("SELECT * FROM t WHERE größe > -3", "SELECT * FROM t WHERE größe > -?"),
        ("VALUES (1, 'a'), (2, 'b')", "VALUES (?, …), (?, …)"),
        ("SELECT x::int4, y->>'secret' FROM t", "SELECT x::int4, y->>? FROM t"),
    ],
)
def test_values_become_question_marks(sql, shown):
    assert normalised(sql) == shown


def test_mysql_has_strings_in_double_quotes():
    assert normalised('SELECT "sec\\"ret", "x" FROM t', "string") == "SELECT ?, … FROM t"


def test_a_long_statement_is_cut_off():
    assert len(normalised("SELECT " + ", ".join(f"column_{number}" for number in range(500)))) == LONGEST
