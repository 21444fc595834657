# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What `alembic history --indicate-current` prints, read by pure functions (H12)."""

from __future__ import annotations

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._health import migrations

# A merge of two branches, one of which needs the other; the application prints a line of its own.
HISTORY = """loading settings -> production
c3, d4 -> e5 (head) (mergepoint), merge
b2 -> c3 (current), add -> column (head), really
a1 (b2) -> d4, (of) side
a1 -> b2, b
<base> -> a1 (label) (branchpoint), a
"""


def test_revisions():
    found = migrations.revisions(HISTORY)
    assert list(found) == ["e5", "c3", "d4", "b2", "a1"]
    assert found["e5"] == migrations.Revision(("c3", "d4"), True, False)
    assert found["c3"] == migrations.Revision(("b2",), False, True)
    assert found["d4"] == migrations.Revision(("a1", "b2"), False, False)
    assert found["a1"] == migrations.Revision((), False, False)


@pytest.mark.parametrize(
    ("current", "missing"),
    [([], ["c", "b", "a"]), (["a"], ["c", "b"]), (["c"], []), (["b"], ["c"]), (["a", "b"], ["c"])],
)
def test_pending(current, missing):
    before = {"c": ("b",), "b": ("a",), "a": ()}
    found = {name: migrations.Revision(downs, name == "c", name in current) for name, downs in before.items()}
    assert migrations.pending(found) == missing


def test_a_revision_whose_script_is_gone_ends_no_walk():
    assert migrations.pending({"c": migrations.Revision(("gone",), True, True)}) == []


def test_no_migrations_at_all_are_no_good_news():
    with pytest.raises(RunbookError, match="alembic tells of no migration"):
        migrations.judged({}, "/srv/app")
