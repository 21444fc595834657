# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the user wants of migration, read and checked before anything is looked at."""

from __future__ import annotations

import os
import re
import typing as t
from urllib.parse import unquote, urlsplit

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _catalog
from ansible_collections.sre.runbooks.plugins.module_utils._core import entries, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._database import _registry

DIRECTORY = "/var/backups/sre-runbooks"
PROJECT: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "directory": {"type": "path", "required": True},
    "command": {"type": "list", "elements": "str", "default": ["alembic"]},
    "environment": {"type": "dict", "default": {}},
    "environment_file": {"type": "path"},
    "url_variable": {"type": "str", "default": "DATABASE_URL"},
    "run_as": {"type": "str"},
    "target": {"type": "str", "default": "head"},
    "database": {"type": "str"},
    "rehearse": {"type": "bool", "default": True},
    "downgrade": {"type": "bool", "default": True},
    "verify": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "str", "default": "1h"},
    "lock_timeout": {"type": "str", "default": "30s"},
    "keep_backup": {"type": "str", "default": "7d"},
}
SPEC: dict[str, t.Any] = {
    "migrations": {"type": "list", "elements": "dict", "required": True, "options": PROJECT},
    "databases": {"type": "list", "elements": "dict", "default": []},
    "upgrade": {"type": "bool", "default": True},
    "backup_directory": {"type": "path", "default": DIRECTORY},
    "backup_level": {"type": "str", "choices": list(_catalog.LEVELS), "default": "restored"},
    "backup_max_age": {"type": "str", "default": "1h"},
    "encryption": {
        "type": "dict",
        "options": {"recipients": {"type": "list", "elements": "str"}, "identity": {"type": "path"}},
    },
    "scratch_directory": {"type": "path", "default": "/var/tmp"},  # noqa: S108 - the folder made in it has one owner
}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
VARIABLE = re.compile(r"[A-Za-z_]\w*")
TARGET = re.compile(r"[\w.]+")
# `NAME=value`, with `export` before it as shells want it; `#` begins a comment.
_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*")
_LARGEST_BYTES = 1 << 20
REHEARSED = ("sqlite", "postgresql")


class Plan(t.NamedTuple):
    """One project as the user wants it, in seconds; `item` is its database where it names one."""

    options: t.Mapping[str, t.Any]
    item: entries.Item | None
    seconds: float
    lock_seconds: float
    keep_seconds: float

    @property
    def name(self) -> str:
        """Names its state and its lock."""
        return str(self.options["name"])


class Settings(t.NamedTuple):
    """What holds for all projects; the age in seconds."""

    upgrade: bool
    directory: str
    level: str
    max_age: float
    identity: str | None
    scratch: str


def read(options: t.Mapping[str, t.Any]) -> tuple[list[Plan], Settings, set[str]]:
    """Read all options; return the projects, what holds for all, and the secrets."""
    items: list[entries.Item] = []
    secrets: set[str] = set()
    if options["databases"]:
        items, secrets = entries.read(options["databases"], "databases", _registry)
    if not options["migrations"]:
        raise InputError("migrations", options["migrations"], "names nothing", "Give at least one project.")
    plans: list[Plan] = []
    for index, project in enumerate(options["migrations"]):
        plan = _plan(f"migrations[{index}]", project, {item.name: item for item in items}, options["upgrade"])
        if any(plan.name == other.name for other in plans):
            raise InputError(f"migrations[{index}].name", plan.name, "is used twice", "Give each a name of its own.")
        plans.append(plan)
    settings = Settings(
        options["upgrade"],
        options["backup_directory"],
        options["backup_level"],
        units.duration(options["backup_max_age"], "backup_max_age"),
        (options["encryption"] or {}).get("identity"),
        options["scratch_directory"],
    )
    return plans, settings, secrets


def _plan(where: str, options: t.Mapping[str, t.Any], items: t.Mapping[str, entries.Item], upgrade: bool) -> Plan:
    if not NAME.fullmatch(options["name"]):
        raise InputError(
            f"{where}.name", options["name"], "is no name, for it stands in paths", "Use letters, digits, dots, dashes."
        )
    where = f"migrations.{options['name']}"
    if not options["command"]:
        raise InputError(f"{where}.command", options["command"], "is empty", "Write the words that start alembic.")
    for name in [*options["environment"], options["url_variable"]]:
        if not VARIABLE.fullmatch(str(name)):
            raise InputError(f"{where}.environment", name, "is no variable's name", "Use letters, digits, underscores.")
    if not TARGET.fullmatch(options["target"]):
        raise InputError(f"{where}.target", options["target"], "is no revision", "Use head, heads or a revision's id.")
    item = items.get(options["database"]) if options["database"] else None
    if upgrade and item is None:
        raise InputError(
            f"{where}.database",
            options["database"],
            "is no entry of databases",
            "Name the database, whose backup is the way back.",
        )
    if upgrade and options["rehearse"] and item is not None and item.engine_name not in REHEARSED:
        raise InputError(
            f"{where}.rehearse", True, f"is not possible with {item.engine_name}", "Set rehearse to false."
        )
    seconds, lock = (_time(f"{where}.{name}", options[name]) for name in ("timeout", "lock_timeout"))
    return Plan(options, item, seconds, lock, units.duration(options["keep_backup"], f"{where}.keep_backup"))


def _time(where: str, text: str) -> float:
    seconds = units.duration(text, where)
    if seconds <= 0:
        raise InputError(where, text, "is no time", "Give more than 0 seconds.")
    return seconds


def environment(plan: Plan) -> dict[str, str]:
    """The variables of the file, then those given, which win."""
    path = plan.options["environment_file"]
    found = {} if path is None else _from_file(path)
    found.update({str(name): str(value) for name, value in plan.options["environment"].items()})
    if plan.item is not None and plan.item.engine_name == "postgresql":
        # libpq's own way to say it, which drivers over libpq follow: a migration that waits for a lock makes all others wait.
        found.setdefault("PGOPTIONS", f"-c lock_timeout={int(plan.lock_seconds * 1000)}")
    return found


def _from_file(path: str) -> dict[str, str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            text = stream.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise RunbookError(
            f"environment_file: {path}: {error.strerror}. Name the application's file of variables."
        ) from error
    if len(text) > _LARGEST_BYTES:
        raise RunbookError(f"environment_file: {path} is larger than 1 MiB. Name a file of variables.")
    return parsed(text)


def parsed(text: str) -> dict[str, str]:
    """The variables of an environment file: in single quotes as they stand, in double quotes with backslashes, else to a comment."""
    found = {}
    for line in text.splitlines():
        match = _ASSIGNMENT.fullmatch(line)
        if match is None:
            continue
        value = match[2]
        quoted = re.match(r"'([^']*)'|\"((?:[^\"\\]|\\.)*)\"", value)
        if quoted is None:
            found[match[1]] = re.split(r"(?:^|\s)#", value, maxsplit=1)[0].strip()
        elif quoted[1] is not None:
            found[match[1]] = quoted[1]
        else:
            found[match[1]] = re.sub(r"\\(.)", lambda each: {"n": "\n"}.get(each[1], each[1]), quoted[2])
    return found


def secrets_of(variables: t.Mapping[str, str]) -> set[str]:
    """Values that must not be shown: those long enough to be one, and the passwords within addresses."""
    found = {value for value in variables.values() if len(value) >= 8}
    for value in variables.values():
        try:
            password = urlsplit(value).password if "://" in value else None
        except ValueError:
            continue
        if password and len(password) >= 4:
            found |= {password, unquote(password)}
    return found


def url(plan: Plan, variables: t.Mapping[str, str]) -> str | None:
    """The address of the database that the application uses, where a variable holds it."""
    return variables.get(plan.options["url_variable"])


def same_database(plan: Plan, variables: t.Mapping[str, str]) -> None:
    """Refuse when the address leads elsewhere than to the database whose backup is the way back."""
    given, item = url(plan, variables), plan.item
    if given is None or item is None:
        return
    parts = urlsplit(given)
    name = unquote(parts.path.lstrip("/"))
    if item.engine_name == "sqlite":
        # SQLAlchemy: three slashes begin a relative path, four an absolute one.
        path = os.path.join(plan.options["directory"], unquote(parts.path[1:]))
        if os.path.realpath(path) == os.path.realpath(item.source["path"]):
            return
        name, expected = path, item.source["path"]
    else:
        expected = item.source["database"]
        if name == expected:
            return
    raise RunbookError(
        f"{plan.options['url_variable']} leads to {name}, but the backup is one of {expected}. "
        "Name the database that is migrated."
    )
