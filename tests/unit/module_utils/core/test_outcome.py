# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The envelope and its roll-up."""

from __future__ import annotations

import itertools

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import STATUSES, envelope, outcome, worst


def test_the_order_of_the_statuses():
    assert STATUSES == ("ok", "skipped", "unknown", "warning", "critical")


@pytest.mark.parametrize(("first", "second"), list(itertools.product(STATUSES, repeat=2)))
def test_the_worst_wins_in_any_order(first, second):
    wins = STATUSES[max(STATUSES.index(first), STATUSES.index(second))]
    assert worst([first, second]) == worst([second, first]) == wins


def test_nothing_looked_at_is_skipped_not_ok():
    assert worst([]) == "skipped"
    assert envelope([]) == {"changed": False, "status": "skipped", "outcomes": []}


def test_envelope():
    outcomes = [outcome("disk:/", "health", "ok", "x"), outcome("cpu", "health", "warning", "y")]
    result = envelope(outcomes, changed=True, freed_bytes=5)
    assert result == {"changed": True, "status": "warning", "outcomes": outcomes, "freed_bytes": 5}


def test_an_outcome_has_one_line_of_summary_and_only_known_metrics():
    made = outcome("a:b", "health", "ok", " two\nlines \t here ", metrics={"x": 1, "y": None}, details={"k": "v"})
    assert made == {
        "subject": "a:b",
        "stage": "health",
        "status": "ok",
        "summary": "two lines here",
        "metrics": {"x": 1},
        "details": {"k": "v"},
    }
    assert outcome("a", "health", "ok", "x", pending=True)["pending"] is True


def test_a_status_of_another_name_is_a_mistake():
    with pytest.raises(ValueError, match="'fine' is none of ok, skipped"):
        outcome("a", "health", "fine", "x")
