# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parts of argument specs joined."""

from __future__ import annotations

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core import argspec


def test_merge_joins_and_leaves_its_parts_alone():
    first, second = {"a": {"type": "str"}}, {"b": {"type": "int"}}
    assert argspec.merge(first, second) == {"a": {"type": "str"}, "b": {"type": "int"}}
    assert first == {"a": {"type": "str"}}


def test_an_option_that_stands_twice_is_a_mistake():
    with pytest.raises(ValueError, match=r"^options defined twice: state_dir$"):
        argspec.merge(argspec.COMMON, {"state_dir": {"type": "str"}})
