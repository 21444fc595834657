# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calendar buckets are those of `restic forget`: the table beside this file was written by the real program (D2)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _plan
from ansible_collections.sre.runbooks.plugins.module_utils._backup._catalog import Copy

TABLE = json.loads(Path(__file__).with_name("restic_forget.json").read_text())


@pytest.mark.parametrize("case", TABLE["cases"], ids=[str(case["policy"]) for case in TABLE["cases"]])
def test_what_is_kept_is_what_restic_keeps(case):
    copies = [
        Copy("x", "sqlite", f"/b/x/{each}", f"/b/x/{each}.json", float(each), 1, "restored", False)
        for each in TABLE["moments"]
    ]
    decisions = _plan.retention(copies, _plan.Policy(**case["policy"]), "restored", TABLE["moments"][-1])
    assert sorted(int(each.copy.created) for each in decisions if each.keep) == case["kept"]
    assert 0 < len(case["kept"]) < len(copies)
