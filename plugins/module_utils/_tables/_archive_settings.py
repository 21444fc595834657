# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to be archived, read and checked before anything is looked at."""

from __future__ import annotations

import hashlib
import os
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import entries, state, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._tables import _registry

DIRECTORY = "/var/backups/sre-runbooks/archive"
TIMES = ("auto", "timestamp", "date", "epoch", "epoch_ms", "text")
# What a table may say for itself; a database, then the module's options, say it for those that do not.
LIMITS: dict[str, t.Any] = {
    "rows": {"type": "int"}, "bytes": {"type": "str"}, "seconds": {"type": "str"}, "percent": {"type": "float"},
}  # fmt: skip
TABLE: dict[str, t.Any] = {
    "table": {"type": "str"},
    "schema": {"type": "str"},
    "column": {"type": "str"},
    "column_type": {"type": "str", "choices": list(TIMES)},
    "older_than": {"type": "str"},
    "where": {"type": "str"},
    "batch": {"type": "int"},
    "format": {"type": "str", "choices": ["csv", "jsonl"]},
    "limits": {"type": "dict", "options": LIMITS},
    "pause": {"type": "str"},
    "foreign_keys": {"type": "str", "choices": ["refuse", "unreferenced", "cascade"]},
    "lock_timeout": {"type": "str"},
    "keep_exports": {"type": "str"},
}
SPEC: dict[str, t.Any] = {
    "databases": {"type": "list", "elements": "dict", "required": True},
    "directory": {"type": "path", "default": DIRECTORY},
    **TABLE,
}
SHARED: dict[str, t.Any] = {**TABLE, "tables": {"type": "list", "elements": "dict", "options": TABLE}}
DEFAULTS = {
    "column_type": "auto", "batch": 1000, "format": "csv", "pause": "0s", "foreign_keys": "refuse", "lock_timeout": "10s",
}  # fmt: skip
# A clock that is wrong would let everything be old.
PERCENT = 90.0


class Limits(t.NamedTuple):
    """What one table may cost in a run; None for no limit."""

    rows: int | None
    bytes: int | None
    seconds: float | None
    percent: float


class Task(t.NamedTuple):
    """One table to archive; times in seconds."""

    item: entries.Item
    table: str
    schema: str | None
    column: str
    column_type: str
    age: float
    where: str | None
    batch: int
    format: str
    limits: Limits
    pause: float
    foreign_keys: str
    lock_seconds: float
    keep_seconds: float | None

    @property
    def subject(self) -> str:
        """What its outcome is about."""
        return f"{self.item.subject}.{self.slug}"

    @property
    def slug(self) -> str:
        """The table's name as it may stand in paths; what had to be replaced is told by a sum of the whole name."""
        name = self.table if self.schema is None else f"{self.schema}.{self.table}"
        plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:80].lstrip(".-")
        return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


class Settings(t.NamedTuple):
    """Where exports and journals lie, and what is archived."""

    directory: str
    state_dir: str
    tasks: tuple[Task, ...]


def read(params: t.Mapping[str, t.Any]) -> tuple[Settings, set[str]]:
    """Read the module's options; return them and the secrets that stand in them."""
    directory = params["directory"]
    if not os.path.isabs(directory) or os.path.normpath(directory) == "/":
        raise InputError(
            "directory", directory, "is no place for exports", "Name a folder of its own, from the root on."
        )
    items, secrets = entries.read(params["databases"], "databases", _registry, SHARED)
    tasks: list[Task] = []
    for item in items:
        for index, own in enumerate(item.source.get("tables") or [{}]):
            where = f"databases.{item.name}" + (f".tables[{index}]" if item.source.get("tables") else "")
            task = _task(item, where, (own, item.source, params))
            if any((task.subject) == other.subject for other in tasks):
                raise InputError(f"{where}.table", task.table, "is named twice", "Name each table once.")
            tasks.append(task)
    return Settings(os.path.normpath(directory), state.directory(params["state_dir"]), tuple(tasks)), secrets


def _task(item: entries.Item, where: str, levels: t.Sequence[t.Mapping[str, t.Any]]) -> Task:
    given = {key: _first(levels, key) for key in TABLE}
    for key in ("table", "column", "older_than"):
        if not given[key]:
            raise InputError(f"{where}.{key}", given[key], "is missing", "Give it here, or for all at the top.")
    if "\0" in given["table"] + given["column"] + (given["where"] or ""):
        raise InputError(f"{where}.table", given["table"], "holds a null byte", "No name has one.")
    age = units.duration(given["older_than"], f"{where}.older_than")
    if age <= 0:
        raise InputError(f"{where}.older_than", given["older_than"], "is no age", "Give one such as 90d.")
    if not 1 <= given["batch"] <= 100_000:
        raise InputError(f"{where}.batch", given["batch"], "is no size of a batch", "Give 1 to 100000 rows.")
    keep = given["keep_exports"]
    return Task(
        item, given["table"], given["schema"], given["column"], given["column_type"], age, given["where"],
        given["batch"], given["format"], _limits(given["limits"] or {}, f"{where}.limits"),
        units.duration(given["pause"], f"{where}.pause"), given["foreign_keys"],
        units.duration(given["lock_timeout"], f"{where}.lock_timeout"),
        None if keep is None else units.duration(keep, f"{where}.keep_exports"),
    )  # fmt: skip


def _first(levels: t.Sequence[t.Mapping[str, t.Any]], key: str) -> t.Any:
    return next((level[key] for level in levels if level.get(key) is not None), DEFAULTS.get(key))


def _limits(given: t.Mapping[str, t.Any], where: str) -> Limits:
    rows, percent, seconds = given.get("rows"), given.get("percent"), given.get("seconds")
    if rows is not None and rows < 1:
        raise InputError(f"{where}.rows", rows, "is no limit", "Give 1 or more, or leave it out.")
    if percent is not None and not 0 < percent <= 100:
        raise InputError(f"{where}.percent", percent, "is no share", "Give more than 0, up to 100.")
    return Limits(
        rows,
        None if given.get("bytes") is None else units.size(given["bytes"], f"{where}.bytes"),
        None if seconds is None else units.duration(seconds, f"{where}.seconds"),
        PERCENT if percent is None else percent,
    )
