# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the providers with two users that take turns share: which of them is in use, and whether both may do the same."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._keys._provider import MINIMUM_BYTES, Known, Options, Work

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Completed

OPTIONS: dict[str, t.Any] = {
    "users": {"type": "list", "elements": "str", "required": True},
    "bytes": {"type": "int", "default": MINIMUM_BYTES},
    "same_rights": {"type": "bool", "default": True},
}
SHOWN = 3


def check(options: t.Mapping[str, t.Any], where: str) -> None:
    """Two users, and neither of them the one that changes them."""
    users = options["users"]
    if len(users) != 2 or len(set(users)) != 2 or not all(users):
        raise InputError(
            f"{where}.users", users, "are not two users", "Name the two that take turns, as in [app_a, app_b]."
        )
    if options["user"] in users:
        raise InputError(
            f"{where}.user",
            options["user"],
            "would change its own password",
            "Connect as another user that may change both.",
        )
    if options["bytes"] < MINIMUM_BYTES:
        raise InputError(f"{where}.bytes", options["bytes"], "can be guessed", f"Give at least {MINIMUM_BYTES}.")


def idle(options: Options, current: str | None) -> list[str]:
    """The user that no program uses; none where that is not known."""
    users = list(options["users"])
    return [user for user in users if user != current] if current in users else []


def named(known: t.Sequence[Known], name: str) -> list[Known]:
    """Where one user alone can log in, it is the one in use: it gets the key's name for its label."""
    alive = [each for each in known if not each.revoked]
    return [each._replace(label=name) if alive == [each] else each for each in known]


def chosen(options: Options, work: Work, alive: t.Mapping[str, bool]) -> str:
    """The user that gets a new password; `alive` says of those that there are whether they can log in."""
    missing = [user for user in options["users"] if user not in alive]
    if missing:
        raise RunbookError(
            f"key {work.name}: there is no user {missing[0]} (provider.users). Nothing was changed. Create it with the rights of the other."
        )
    free = idle(options, work.current)
    if free:
        return free[0]
    if any(alive.values()):
        raise RunbookError(
            f"key {work.name}: which of {' and '.join(options['users'])} programs use is not known. Nothing was changed. "
            "Name it: provider.adopt."
        )
    return str(options["users"][0])


def guard(key: str, work: Work) -> None:
    """Whatever else went wrong, the user in use is not touched."""
    if key == work.current:
        raise RunbookError(f"key {work.name}: {key} is in use and not revoked. Correct provider.adopt.")


def compare(work: Work, user: str, has: set[str], other: str, had: set[str]) -> None:
    """Raise RunbookError where the two users have not the same rights."""
    told = [f"{user} lacks: {each}" for each in sorted(had - has)] + [
        f"{other} lacks: {each}" for each in sorted(has - had)
    ]
    if told:
        more = f" (and {len(told) - SHOWN} more)" if len(told) > SHOWN else ""
        raise RunbookError(
            f"key {work.name}: programs that change from one user to the other would not have the same rights: {'; '.join(told[:SHOWN])}{more}. "
            "Nothing was changed. Give rights to a group that both are in, or set provider.same_rights: false."
        )


def failed(work: Work, program: str, done: Completed, secret: str = "") -> t.NoReturn:
    """Say why the server did not do it."""
    text = done.stderr.replace(secret, "********") if secret else done.stderr
    error = CommandFailed(program, done.rc, text, work.seconds())
    raise RunbookError(f"key {work.name}: {error}")
