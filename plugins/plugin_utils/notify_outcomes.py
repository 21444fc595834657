# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run says of its messages: an outcome for each contact, the status page and the store."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome

STAGE = "notify"
PENDING_SECONDS = 7 * 86400.0
"""How long a message waits for its service before it is given up: older, it would only mislead."""

Outcome = dict[str, t.Any]


def of_contact(
    name: str, told: Sequence[Outcome], missed: Sequence[Outcome], wrong: Sequence[str], given_up: int, sent: bool
) -> Outcome:
    """Return the outcome of the contact `name`: messages told and missed, addresses that are wrong, messages given up.

    `sent` is False in check mode, where nothing was sent.
    """
    metrics = {"messages_sent": len(told) if sent else 0, "messages_failed": len(missed)}
    lines = ("target", "event", "key", "title", "status", "reason")
    details = {"messages": [{each: line[each] for each in lines} for line in (*told, *missed)]}
    status, summary = "ok", "nothing new to tell"
    if wrong:
        status = "critical"
        summary = f"cannot be told of anything by {', '.join(wrong)}; mend its URL in runbooks_contacts"
    elif missed:
        reasons = ", ".join(dict.fromkeys(f"{line['target']} {line['reason']}" for line in missed))
        status = "warning"
        summary = f"{len(missed)} of {len(missed) + len(told)} messages did not get through: {reasons}; tried again in the next run"
    elif given_up:
        status = "warning"
        summary = f"{given_up} messages given up: no service took them for {PENDING_SECONDS / 86400:.0f} days"
    elif told:
        titles = "; ".join(f"{line['target']}: {line['title']}" for line in told)
        summary = f"{'told by' if sent else 'would tell by'} {titles}"[:500]
    return outcome(name, STAGE, status, summary, metrics=metrics, details=details)


def of_page(name: str, says: str, problems: Sequence[str], sent: bool) -> Outcome:
    """Return the outcome of the status page called `name`."""
    if problems:
        return outcome(name, STAGE, "warning", f"is not up to date: {'; '.join(problems)}")
    return outcome(name, STAGE, "ok", f"{'says' if sent else 'would say'} {says}")


def of_store(problem: str) -> Outcome:
    """Return the outcome of a store that did not keep what was told."""
    return outcome("history", STAGE, "warning", f"what was told could not be remembered, and is told again: {problem}")


def of_failure(error: RunbookError) -> Outcome:
    """Return the outcome of notifications that could not be made at all."""
    return outcome("contacts", STAGE, "critical", f"nobody was told: {error}")
