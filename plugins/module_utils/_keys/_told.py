# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the stages on the host that makes keys are asked, and what they say."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import outcome

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._keys._evidence import Reports
    from ansible_collections.sre.runbooks.plugins.module_utils._keys._settings import Key

STAGE = "keys"


class Told(t.NamedTuple):
    """What a stage says of one key: its outcome, the facts that other hosts go by, whether something changed, a new value."""

    status: str
    summary: str
    facts: dict[str, t.Any]
    changed: bool = False
    value: str | None = None
    metrics: dict[str, float] | None = None


class Asked(t.NamedTuple):
    """What the run asks for."""

    run: str
    force: frozenset[str]
    compromised: frozenset[str]
    limit: int
    check: bool
    reports: Reports
    deadline: float


def outcome_of(key: Key, told: Told) -> dict[str, t.Any]:
    """The outcome of one key."""
    details = (
        {"current": told.facts["current"]["fingerprint"]}
        if (told.facts.get("current") or {}).get("fingerprint")
        else {}
    )
    return outcome.outcome(key.subject, STAGE, told.status, told.summary, metrics=told.metrics, details=details)
