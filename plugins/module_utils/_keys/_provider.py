# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a provider of keys is.

A provider is a module beside this one with
  OPTIONS                   argument spec of what stands under `provider` besides `type`, `host` and `adopt`; secrets are `no_log`
  check(options, where)     raises InputError for options that cannot be used and fills in what depends on others; reads nothing of the host
  observe(options, work)    -> list[Known]: the keys that there are, as far as the provider can tell
  create(options, work)     -> New: makes one key more, which is valid at once, and leaves all others as they are
  revoke(options, id, work) makes that one key worthless; one that is revoked already, or gone, is no error
All of them raise RunbookError with its remedy. Values stand in no message, argument vector, label or id.

What makes it safe to be killed at any moment:
  - `work.label` is new for every creation and noted in the journal before `create` is called. A provider that keeps a name or comment with
    each key puts the label there and gives it back in `Known.label`: so a key whose id never got back to us is found and revoked.
  - With alternating users (`ALTERNATING = True`) the id is the user. `create` gives the user that is not in use (`work.current` is the one in
    use) a new password. Before that the caller revokes what that user was, and sees to it that no consumer holds that. A password
    that a killed `create` left is known to nobody; the next `create` replaces it.
  - `revoke` makes dead for certain: after it has returned, a call with the key is refused, or RunbookError is raised.
"""

from __future__ import annotations

import hashlib
import secrets
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

Options = t.Mapping[str, t.Any]
MINIMUM_BYTES = 32  # of randomness in a key (K1)
VALUE_LIMIT = 8192


class Known(t.NamedTuple):
    """A key that is there. Times are seconds since 1970; None where the provider cannot tell.

    `label` is the label that `create` was called with, or the name that the key was given by somebody else.
    """

    id: str
    created: float | None = None
    expires: float | None = None
    fingerprint: str | None = None
    revoked: bool = False
    label: str | None = None


class New(t.NamedTuple):
    """A key just made: its id, by which it is revoked, its value, which nobody sees, and when it ends by itself."""

    id: str
    value: str
    expires: float | None = None


class Work(t.NamedTuple):
    """What a provider may use.

    `name` is the key's name in the inventory, `label` the text for this creation (letters, digits, dots, dashes, underscores),
    `current` the id of the key in use, None when it is not known; `deadline` is a time of the monotonic clock.
    """

    commands: Commands
    name: str
    label: str
    current: str | None
    deadline: float

    def seconds(self) -> float:
        """The time that is left; RunbookError when there is none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise RunbookError(f"key {self.name}: the time limit (timeout) has passed. Raise it.")
        return left


def fingerprint(name: str, value: str) -> str:
    """All that is ever shown of the value of the key `name`."""
    return hashlib.sha256(f"{name}:{value}".encode()).hexdigest()[:12]


def usable(value: t.Any) -> bool:
    """Whether something may be taken for a key: one line of printable text."""
    return isinstance(value, str) and 0 < len(value) <= VALUE_LIMIT and value.isprintable() and value.strip() == value


def random_value(length: int = MINIMUM_BYTES) -> str:
    """A value of `length` random bytes, safe in URLs, environment files and connection strings without any quoting.

    It begins with a letter or digit: what begins with a dash would be taken for an option somewhere.
    """
    while True:
        value = secrets.token_urlsafe(length)
        if value[0].isalnum():
            return value
