# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the user wants restored, read and checked before anything is looked at or changed."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _catalog
from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._restore import _choose

# What may differ from one restore of a call to the next.
EACH: dict[str, t.Any] = {
    "from": {"type": "str", "default": _choose.LATEST},
    "to": {"type": "str"},
    "connection": {"type": "dict"},
    "level": {"type": "str", "choices": list(_catalog.LEVELS)},
    "force": {"type": "bool", "default": False},
    "disconnect": {"type": "bool", "default": False},
    "privileges": {"type": "bool", "default": True},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "mode": {"type": "str"},
}
SPEC: dict[str, t.Any] = {
    "name": {"type": "str"},
    "restores": {"type": "list", "elements": "dict"},
    "directory": {"type": "path", "default": "/var/backups/sre-runbooks"},
    **EACH,
    "safety_backup": {"type": "bool", "default": True},
    "encryption": {"type": "dict", "options": {"identity": {"type": "path", "required": True}}},
    "keep_old": {"type": "int"},
    "limits": {"type": "dict", "options": {"bytes": {"type": "str"}, "seconds": {"type": "str"}}},
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MODE = re.compile(r"0?[0-7]{3,4}")


class Request(t.NamedTuple):
    """One restore. `options` are the engine's, over those of the manifest; `access` holds owner, group and mode if given."""

    name: str
    wish: _choose.Wish
    to: str | None
    options: dict[str, t.Any]
    engine: str | None
    level: str | None
    force: bool
    disconnect: bool
    privileges: bool
    access: dict[str, str]


class Settings(t.NamedTuple):
    """What holds for all restores of a call; sizes in bytes, durations in seconds, None for no limit."""

    directory: str
    safety_backup: bool
    identity: str | None
    keep_old: int | None
    limit_bytes: int | None
    limit_seconds: float | None


def settings(options: t.Mapping[str, t.Any]) -> Settings:
    """Read everything but the restores."""
    limits = options["limits"] or {}
    identity = (options["encryption"] or {}).get("identity")
    if identity is not None and not os.path.isfile(identity):
        raise InputError(
            "encryption.identity", identity, "is no file", "Name the file with the secret key on this host."
        )
    directory = options["directory"]
    if not os.path.isabs(directory):
        raise InputError("directory", directory, "is no absolute path", "Write it from the root on.")
    keep = options["keep_old"]
    if keep is not None and keep < 1:
        raise InputError(
            "keep_old", keep, "would let go of what this restore replaces", "Give 1 or more, or leave it out."
        )
    seconds = None if limits.get("seconds") is None else units.duration(limits["seconds"], "limits.seconds")
    if seconds == 0:
        raise InputError("limits.seconds", limits["seconds"], "is no time", "Give more than 0 seconds.")
    return Settings(
        os.path.normpath(directory),
        options["safety_backup"],
        identity,
        keep,
        None if limits.get("bytes") is None else units.size(limits["bytes"], "limits.bytes"),
        seconds,
    )


def requests(options: t.Mapping[str, t.Any], shared: t.Container[str]) -> list[Request]:
    """The restores, in their order.

    An entry of `restores` may be a source of the module backup as it is: what is none of the options of a restore is the
    engine's, but for what is in `shared`, which says how copies are made.
    """
    if options["restores"] is None:
        return [_request(dict(options), "", {})]
    if not options["restores"]:
        raise InputError("restores", options["restores"], "names nothing", "Give at least one entry.")
    found: list[Request] = []
    for index, entry in enumerate(options["restores"]):
        own = {key: entry[key] for key in EACH if entry.get(key) is not None}
        rest = {
            key: value
            for key, value in entry.items()
            if key not in EACH and key not in ("name", "engine") and key not in shared
        }
        given = {**{key: options[key] for key in EACH}, **own, "name": entry.get("name"), "engine": entry.get("engine")}
        request = _request(given, f"restores[{index}].", rest)
        if any(request.name == other.name for other in found):
            raise InputError(f"restores[{index}].name", request.name, "is named twice", "Restore it once.")
        found.append(request)
    return found


def _request(given: dict[str, t.Any], where: str, rest: dict[str, t.Any]) -> Request:
    name = given["name"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(f"{where}name", name, "is no name of a source", "Write it as the backup's sources do.")
    if given["level"] is not None and given["level"] not in _catalog.LEVELS:
        raise InputError(f"{where}level", given["level"], "is no level", f"Use one of {', '.join(_catalog.LEVELS)}.")
    if given["to"] is not None and not given["to"]:
        raise InputError(f"{where}to", given["to"], "names no target", "Give one, or leave it out.")
    connection = given["connection"] or {}
    if not isinstance(connection, dict):
        raise InputError(f"{where}connection", "(a value)", "is no dictionary", "Write the engine's options in it.")
    mode = given["mode"]
    if mode is not None and not _MODE.fullmatch(str(mode)):
        raise InputError(f"{where}mode", mode, "is no mode", "Write it in octal and in quotes, as in '0640'.")
    return Request(
        name,
        _choose.wish(str(given["from"]), f"{where}from"),
        given["to"],
        {**rest, **connection},
        given.get("engine"),
        given["level"],
        _truth(given, "force", where),
        _truth(given, "disconnect", where),
        _truth(given, "privileges", where),
        {key: str(given[key]) for key in ("owner", "group", "mode") if given[key] is not None},
    )


def _truth(given: t.Mapping[str, t.Any], key: str, where: str) -> bool:
    value = given[key]
    if not isinstance(value, bool):
        raise InputError(f"{where}{key}", value, "is neither true nor false", "Write true or false without quotes.")
    return value
