# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The services whose users are reviewed, read and checked before any is asked."""

from __future__ import annotations

import json
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import units, web
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._keys._settings import long_ones, validated

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
PLACEHOLDERS = re.compile(r"\{([a-z_]+)\}")


def _request(method: str) -> dict[str, t.Any]:
    return {
        "type": "dict",
        "options": {
            "path": {"type": "str", "required": True},
            "method": {"type": "str", "default": method},
            "body": {"type": "dict", "no_log": True},
            "status": {"type": "list", "elements": "int", "default": [200, 201, 202, 204]},
        },
    }


USER: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "role": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "disabled"], "default": "present"},
    "attributes": {"type": "dict", "default": {}, "no_log": True},
}
SERVICE: dict[str, t.Any] = {
    **web.OPTIONS,
    "name": {"type": "str", "required": True},
    "timeout": {"type": "str", "default": "30s"},
    "list": {
        "type": "dict",
        "required": True,
        "options": {
            "path": {"type": "str", "required": True},
            "items": {"type": "str", "default": ""},
            "next": {"type": "str"},
            "id": {"type": "str", "default": "id"},
            "user": {"type": "str", "default": "username"},
            "role": {"type": "str", "default": "role"},
            "disabled": {"type": "str", "default": "disabled"},
            "last_login": {"type": "str", "default": "last_login_at"},
            "created": {"type": "str", "default": "created_at"},
        },
    },
    "create": _request("POST"),
    "role": _request("PUT"),
    "disable": _request("PUT"),
    "enable": _request("PUT"),
    "users": {"type": "list", "elements": "dict", "options": USER, "default": []},
    "unlisted": {"type": "str", "choices": ["report", "disable"], "default": "report"},
    "ignore": {"type": "list", "elements": "str", "default": []},
    "roles": {"type": "list", "elements": "str", "default": []},
    "admin_role": {"type": "str", "default": "ADMIN"},
    "admins": {"type": "int"},
    "acts_as": {"type": "str"},
    "idle": {"type": "str", "default": "90d"},
    "limits": {
        "type": "dict",
        "default": {},
        "options": {"users": {"type": "int", "default": 10}, "percent": {"type": "float", "default": 50}},
        "apply_defaults": True,
    },
    "failures": {
        "type": "dict",
        "default": {},
        "options": {
            "rules": {"type": "list", "elements": "str", "default": []},
            "warning": {"type": "int", "default": 10},
            "critical": {"type": "int", "default": 100},
        },
        "apply_defaults": True,
    },
}
SPEC: dict[str, t.Any] = {
    "services": {"type": "list", "elements": "dict", "required": True},
    "log_outcomes": {"type": "list", "elements": "dict", "default": []},
}


class Service(t.NamedTuple):
    """One service: its options as validated, times in seconds, and who is to be there, by name."""

    name: str
    options: dict[str, t.Any]
    users: dict[str, dict[str, t.Any]]

    @property
    def subject(self) -> str:
        """What its outcome is about."""
        return f"access:{self.name}"


def read(entries: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[list[Service], set[str]]:
    """Read the list `services`; return its entries and the secrets that stand in them."""
    found: list[Service] = []
    secrets: set[str] = set()
    for index, entry in enumerate(entries):
        name = entry.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InputError(
                f"services[{index}].name",
                name,
                "is no name",
                "Use up to 64 letters, digits, dots, dashes, underscores.",
            )
        if any(name == other.name for other in found):
            raise InputError(f"services[{index}].name", name, "is used twice", "Give each service a name of its own.")
        service, hidden = _service(name, entry, f"services.{name}")
        found.append(service)
        secrets |= hidden
    return found, secrets


def _service(name: str, entry: t.Mapping[str, t.Any], where: str) -> tuple[Service, set[str]]:
    options, secrets = validated(SERVICE, entry, where)
    web.refuse(options)
    options["timeout"] = units.duration(options["timeout"], f"{where}.timeout")
    options["idle"] = units.duration(options["idle"], f"{where}.idle")
    for part in ("list", "create", "role", "disable", "enable"):
        if options[part] is not None:
            _path(options, part, where)
    limits = options["limits"]
    for option, value in limits.items():
        if value < 0:
            raise InputError(f"{where}.limits.{option}", value, "is below 0", "Give 0 or more.")
    users = _users(options, where)
    _account(options, users, where)
    return Service(name, options, users), long_ones(secrets)


def _path(options: dict[str, t.Any], part: str, where: str) -> None:
    path = options[part]["path"]
    if not path.startswith("/"):
        raise InputError(f"{where}.{part}.path", path, "is no path", "Begin it with /; the address before it is url.")
    try:
        web.refuse({**options, "url": options["url"].rstrip("/") + PLACEHOLDERS.sub("0", path)})
    except InputError as error:
        raise InputError(f"{where}.{part}.path", path, "makes no address", str(error)) from error
    body = json.dumps(options[part].get("body"))
    if part in ("role", "disable", "enable") and not {"{id}", "{name}"} & {
        *re.findall(r"\{(?:id|name)\}", path + body)
    }:
        raise InputError(
            f"{where}.{part}.path", path, "does not say which user", "Write {id} or {name} where it belongs."
        )
    if part == "create" and "{name}" not in path + body:
        raise InputError(f"{where}.create.body", None, "does not say which user", "Write {name} where it belongs.")
    if part == "role" and "{role}" not in path + body:
        raise InputError(f"{where}.role.body", None, "does not say which role", "Write {role} where it belongs.")


def _users(options: dict[str, t.Any], where: str) -> dict[str, dict[str, t.Any]]:
    users: dict[str, dict[str, t.Any]] = {}
    for index, user in enumerate(options["users"]):
        place = f"{where}.users[{index}]"
        if not user["name"].strip() or user["name"] in users:
            raise InputError(f"{place}.name", user["name"], "is empty or used twice", "Give each user once.")
        if user["state"] == "present" and not user["role"]:
            raise InputError(f"{place}.role", user["role"], "is missing", "Name the role.")
        if options["roles"] and user["role"] and user["role"] not in options["roles"]:
            raise InputError(
                f"{place}.role", user["role"], "is no allowed role", f"Use one of {', '.join(options['roles'])}."
            )
        users[user["name"]] = user
    return users


def _account(options: dict[str, t.Any], users: t.Mapping[str, t.Mapping[str, t.Any]], where: str) -> None:
    """What may disable must know the account that it acts as, so as never to shut itself out."""
    acts_as = options["acts_as"]
    disables = options["unlisted"] == "disable" or any(user["state"] == "disabled" for user in users.values())
    if disables and options["disable"] is None:
        raise InputError(f"{where}.disable", None, "is missing", "Describe the request that disables a user.")
    if disables and acts_as is None:
        raise InputError(
            f"{where}.acts_as",
            None,
            "is missing",
            "Name the account whose token is in headers, '' when it is none of the users.",
        )
    if acts_as and acts_as in users and users[acts_as]["state"] == "disabled":
        raise InputError(
            f"{where}.users", acts_as, "is to be disabled, and is the account that this acts as", "Use another token."
        )
