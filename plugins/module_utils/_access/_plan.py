# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to be changed so that the users are as the inventory says, in an order in which nobody is shut out, and what forbids it."""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._access._api import Account
    from ansible_collections.sre.runbooks.plugins.module_utils._access._settings import Service


class Change(t.NamedTuple):
    """One request: `what` is that of the option; `role` the one that the user has then."""

    what: str
    user: str
    role: str
    why: str

    def shown(self) -> str:
        """For people."""
        return f"{self.what} {self.user}" + (f" as {self.role}" if self.what in ("create", "role") else "")


def changes(service: Service, found: t.Mapping[str, Account]) -> list[Change]:
    """All changes, in their order."""
    planned: list[Change] = []
    for name, user in service.users.items():
        account = found.get(name)
        if user["state"] == "disabled":
            if account is not None and not account.disabled:
                planned.append(Change("disable", name, account.role, "is to be disabled"))
            continue
        if account is None:
            planned.append(Change("create", name, user["role"], "is not there"))
            continue
        if account.disabled:
            planned.append(Change("enable", name, account.role, "is disabled, and is to be present"))
        if account.role != user["role"]:
            planned.append(
                Change("role", name, user["role"], f"has the role {account.role}, and is to have {user['role']}")
            )
    if service.options["unlisted"] == "disable":
        planned += [
            Change("disable", account.name, account.role, "is not in the inventory")
            for account in unlisted(service, found)
            if account.name != service.options["acts_as"]
        ]
    return sorted(planned, key=lambda each: _rank(each, found, service.options["admin_role"]))


def _rank(change: Change, found: t.Mapping[str, Account], admin: str) -> int:
    """Who is to come, or to get more, goes before whoever is to lose something: a new ADMIN is there before the last one goes.

    A disabled user gets the role before being enabled, so as not to have the one of old for a moment.
    """
    if change.what == "role":
        account = found.get(change.user)
        if account is not None and account.disabled:
            return 1
        return 3 if change.role == admin else 4
    return {"create": 0, "enable": 2, "disable": 5}[change.what]


def unlisted(service: Service, found: t.Mapping[str, Account]) -> list[Account]:
    """Enabled users that the inventory does not name."""
    known = {*service.users, *service.options["ignore"]}
    return [account for name, account in sorted(found.items()) if name not in known and not account.disabled]


def admins(service: Service, found: t.Mapping[str, Account]) -> set[str]:
    """The enabled users with the role that may do everything."""
    return {name for name, each in found.items() if each.role == service.options["admin_role"] and not each.disabled}


def refusal(service: Service, found: t.Mapping[str, Account], planned: t.Sequence[Change]) -> str:
    """Why nothing of the plan may be done; empty when it may."""
    options = service.options
    acts_as, admin = options["acts_as"], options["admin_role"]
    if planned and acts_as and acts_as not in found:
        return f"the list does not hold {acts_as}, the account that this acts as: it is not whole, or acts_as is wrong"
    if any(
        each.user == acts_as and (each.what == "disable" or (each.what == "role" and each.role != admin))
        for each in planned
    ):
        return f"{acts_as} is the account that this acts as. Use another token"
    left = admins(service, found)
    had = bool(left)
    for each in planned:
        if each.what == "disable" or (each.what == "role" and each.role != admin):
            left.discard(each.user)
        elif each.role == admin and (each.what != "role" or not _disabled(found, each.user, planned)):
            left.add(each.user)
    if had and not left:
        return f"no {admin} would be left. Name one in users"
    limits = options["limits"]
    if len(planned) > limits["users"]:
        return f"{len(planned)} changes, more than limits.users, {limits['users']}"
    touched = {each.user for each in planned if each.what in ("disable", "role")}
    share = 100.0 * len(touched) / max(1, len(found))
    if len(touched) > 1 and share > limits["percent"]:
        return f"{share:.0f} % of the accounts would be changed, more than limits.percent, {limits['percent']:g}"
    return ""


def _disabled(found: t.Mapping[str, Account], name: str, planned: t.Sequence[Change]) -> bool:
    account = found.get(name)
    enabled = any(each.what == "enable" and each.user == name for each in planned)
    return account is not None and account.disabled and not enabled


def done(change: Change, found: t.Mapping[str, Account]) -> bool:
    """Whether the service lists the user as the change would have it."""
    account = found.get(change.user)
    if account is None:
        return False
    if change.what == "disable":
        return account.disabled
    return (change.what == "enable" or account.role == change.role) and (change.what == "role" or not account.disabled)


def lines(service: Service, found: t.Mapping[str, Account], planned: t.Sequence[Change] = ()) -> str:
    """The users for a difference: `name: ROLE` or `name: ROLE (disabled)`; with `planned`, as they would be."""
    state = {name: (each.role, each.disabled) for name, each in found.items()}
    for change in planned:
        role, disabled = state.get(change.user, (change.role, False))
        state[change.user] = (
            change.role if change.what in ("create", "role") else role,
            change.what == "disable" or (disabled and change.what == "role"),
        )
    return "".join(
        f"{service.name}/{name}: {role}{' (disabled)' if disabled else ''}\n"
        for name, (role, disabled) in sorted(state.items())
    )
