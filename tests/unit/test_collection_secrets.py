# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every secret option of every module has a canary in tests/integration/secrets/calls.py, or this fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from integration.secrets import calls, options

GIVEN = {module: set[options.Secret]() for module in options.MODULES}
for _module, _arguments in calls.calls(calls.NOWHERE):
    GIVEN[_module] |= set(options.filled(_arguments, calls.CANARY))


@pytest.mark.parametrize("module", options.MODULES)
def test_every_secret_option_of_a_module_has_a_canary(module: str) -> None:
    missing = options.secrets(module, calls.NOT_READ.get(module, ())) - GIVEN[module]
    assert not missing, (
        f"sre.runbooks.{module} takes secrets that tests/integration/secrets/calls.py does not give it. Add it, or them, to `calls`, "
        f"with values of `canary()`: {', '.join(sorted(f'{each.entry} {each.option}'.strip() for each in missing))}"
    )


def test_every_no_log_of_a_file_is_in_a_spec_that_is_looked_at() -> None:
    known = {each.option for module in options.MODULES for each in options.secrets(module)}
    assert {each for each in options.told_in_text() if each[1] not in known} == set()
    assert {"password", "headers", "body", "environment", "value", "values"} <= known
