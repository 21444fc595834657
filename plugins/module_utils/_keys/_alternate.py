# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Providers with two users that take turns: a new password is given to the one that no program uses.

What would lock programs out is a new password for the user that they use, or one too early for the user that they used before.
So the journal and the files of the consumers must say the same of which user is in use, and the other one must be over.
"""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._keys import _times

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._keys._steps import Steps


def does(provider: t.Any) -> bool:
    """Whether it is such a provider."""
    return bool(getattr(provider, "ALTERNATING", False))


def waits(steps: Steps) -> str:
    """Why the other user must not get a new password; empty when it may. Nothing is changed."""
    nameless = steps.heard.nameless()
    if nameless:
        return f"{nameless}. The user changes with its password: give the consumer user_variable, or a template with {{id}}"
    users, current = steps.heard.users(), (steps.entry.get("current") or {}).get("id")
    if current is not None and users - {current}:
        return (
            f"programs use {' and '.join(sorted(users))}, while {current} is known to be in use. "
            "Correct provider.adopt, or the consumers' files"
        )
    previous = steps.entry.get("previous") or []
    held = steps.heard.held() & {each.get("fingerprint") for each in previous}
    if held:
        return f"{', '.join(sorted(held))}, an earlier key, is still in a consumer's file"
    early = [each["revoke_at"] for each in previous if each["revoke_at"] > steps.journal.now]
    if early and steps.key.name not in steps.asked.compromised:
        return f"the other user's overlap ends at {_times.show(max(early))} (key_rotation_compromised ends it now)"
    return ""


def settle(steps: Steps) -> bool:
    """End what the other user still is: its sessions, its earlier password. Whether there was something to end."""
    previous = list(steps.entry.get("previous") or [])
    for each in previous:
        steps.revoke_previous(each)
    return bool(previous)
