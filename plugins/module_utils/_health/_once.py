# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks made by a module that changes something, to see whether the host is well before and after: nothing is remembered."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._health import _run
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Check, Host


def look(checks: t.Sequence[Check], host: Host, limits: _run.Limits) -> list[dict[str, t.Any]]:
    """The outcomes of `checks` as of now; a bound with `for` is pending."""
    host = host._replace(now=time.time())
    outcomes = []
    for check, seen in zip(checks, _run.observe(checks, host, limits)):
        if hasattr(check.family, "follow") and not isinstance(seen, RunbookError):
            # What can be told only after days of observations is not the matter now.
            seen, _memory = check.family.follow(check, seen, {}, host.now)
        outcomes += _run.judge(check, seen, {}, host.now)
    return outcomes
