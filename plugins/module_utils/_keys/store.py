# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys in a table that a service reads: their hash, owner, role, permissions, times and state (K1)."""

from __future__ import annotations

import hashlib
import json
import re
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import postgresql, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._keys._provider import (
    MINIMUM_BYTES,
    Known,
    New,
    Options,
    Work,
    random_value,
)
from ansible_collections.sre.runbooks.plugins.module_utils._keys._times import seconds
from ansible_collections.sre.runbooks.plugins.module_utils._tables import _engine, _registry

# What a column holds: its usual name. An empty name says that the table has none.
COLUMNS = {
    "id": "id", "hash": "key_hash", "label": "name", "owner": "owner", "role": "role", "permissions": "",
    "created": "created_at", "expires": "expires_at", "revoked": "revoked_at", "state": "",
}  # fmt: skip
NEEDED = ("id", "hash", "label", "created")
HASHES = ("sha256", "sha384", "sha512")
OPTIONS: dict[str, t.Any] = {
    "engine": {"type": "str", "choices": list(_registry.NAMES), "required": True},
    "path": {"type": "path"},
    **postgresql.CONNECTION,
    "database": {"type": "str"},
    "socket": {"type": "path"},
    "table": {"type": "str", "default": "api_keys"},
    "schema": {"type": "str"},
    "columns": {"type": "dict", "options": {name: {"type": "str"} for name in COLUMNS}},
    "hash": {"type": "str", "choices": list(HASHES), "default": "sha256"},
    "prefix": {"type": "str", "default": ""},
    "bytes": {"type": "int", "default": MINIMUM_BYTES},
    "owner": {"type": "str"},
    "role": {"type": "str"},
    "permissions": {"type": "list", "elements": "str"},
    "expires_in": {"type": "str", "default": "180d"},
    "times": {"type": "str", "choices": ["text", "epoch"], "default": "text"},
}
_PREFIX = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9_.-]{0,31})?")
LOCK_SECONDS = 15.0


def check(options: dict[str, t.Any], where: str) -> None:
    """The engine's own options, the columns, enough randomness."""
    if options["bytes"] < MINIMUM_BYTES:
        raise InputError(f"{where}.bytes", options["bytes"], "can be guessed", f"Give at least {MINIMUM_BYTES}.")
    if not _PREFIX.fullmatch(options["prefix"]):
        raise InputError(
            f"{where}.prefix", options["prefix"], "is no prefix", "Use up to 32 letters, digits, dots, dashes, underscores."
        )  # fmt: skip
    options["expires_in"] = units.duration(options["expires_in"], f"{where}.expires_in")
    given = {name: column for name, column in (options["columns"] or {}).items() if column is not None}
    options["columns"] = {**COLUMNS, **given}
    columns = options["columns"]
    for name in NEEDED:
        if not columns[name]:
            raise InputError(f"{where}.columns.{name}", "", "is needed", "Name the column that holds it.")
    if not columns["revoked"] and not columns["state"]:
        raise InputError(
            f"{where}.columns", given, "names no column that tells a revoked key", "Name revoked or state."
        )
    for name in ("owner", "role", "permissions"):
        if options[name] and not columns[name]:
            raise InputError(f"{where}.{name}", options[name], "has no column", f"Name it: columns.{name}.")
    engine = _registry.load(options["engine"])
    if options["engine"] == "sqlite" and not options["path"]:
        raise InputError(f"{where}.path", options["path"], "is missing", "Name the database file.")
    if options["engine"] != "sqlite" and not options["database"]:
        raise InputError(f"{where}.database", options["database"], "is missing", "Name the database.")
    engine.check(options, where)


def observe(options: Options, work: Work) -> list[Known]:
    """All keys of the table."""
    columns = options["columns"]
    names = [name for name in ("id", "label", "created", "expires", "revoked", "state") if columns[name]]

    def look(session: _engine.Session) -> list[Known]:
        kinds = [_engine.Column(columns[name], "text") for name in names]
        wanted = ", ".join(session.expression(kind) for kind in kinds)
        sql = f"SELECT {wanted} FROM {_table(session, options)}"
        return [_known(dict(zip(names, row))) for batch in session.rows(sql, kinds) for row in batch]

    return _connected(options, work, look, read_only=True)


def create(options: Options, work: Work) -> New:
    """Insert a key; only its hash gets to the database."""
    value = options["prefix"] + random_value(options["bytes"])
    columns, now = options["columns"], time.time()
    expires = now + options["expires_in"]
    held: dict[str, t.Any] = {
        "hash": hashlib.new(options["hash"], value.encode()).hexdigest(),
        "label": work.label,
        "owner": options["owner"] or work.name,
        "role": options["role"],
        "permissions": None if options["permissions"] is None else json.dumps(options["permissions"]),
        "created": _moment(now, options),
        "expires": _moment(expires, options),
        "state": "active",
    }
    names = [name for name, each in held.items() if columns[name] and each is not None]

    def insert(session: _engine.Session) -> str:
        table = _table(session, options)
        wanted = ", ".join(session.quote(columns[name]) for name in names)
        values = ", ".join(_literal(session, held[name]) for name in names)
        session.run(f"INSERT INTO {table} ({wanted}) VALUES ({values})")
        return _id(session, options, held["hash"])

    return New(_connected(options, work, insert), value, expires)


def revoke(options: Options, key: str, work: Work) -> None:
    """Mark a key as revoked; that moment stays which it was marked at first."""
    columns = options["columns"]

    def mark(session: _engine.Session) -> None:
        where = f"CAST({session.quote(columns['id'])} AS {_text_type(options)}) = {_literal(session, key)}"
        if columns["revoked"]:
            column = session.quote(columns["revoked"])
            moment = _literal(session, _moment(time.time(), options))
            session.run(f"UPDATE {_table(session, options)} SET {column} = {moment} WHERE {where} AND {column} IS NULL")
        if columns["state"]:
            column = session.quote(columns["state"])
            session.run(f"UPDATE {_table(session, options)} SET {column} = 'revoked' WHERE {where}")

    _connected(options, work, mark)
    if any(each.id == key and not each.revoked for each in observe(options, work)):
        raise RunbookError(
            f"key {work.name}: {key} is still active in {options['table']}. Look for triggers of that table."
        )


Result = t.TypeVar("Result")


def _connected(
    options: Options, work: Work, body: t.Callable[[_engine.Session], Result], read_only: bool = False
) -> Result:
    engine = _registry.load(options["engine"])
    place = _engine.Work(work.commands, work.deadline, min(LOCK_SECONDS, work.seconds()))
    return t.cast("Result", engine.connect({**options, "name": work.name}, place, body, read_only=read_only))


def _table(session: _engine.Session, options: Options) -> str:
    name = session.quote(options["table"])
    return f"{session.quote(options['schema'])}.{name}" if options["schema"] else name


def _text_type(options: Options) -> str:
    return "CHAR" if options["engine"] == "mysql" else "TEXT"


def _literal(session: _engine.Session, value: t.Any) -> str:
    return session.literal(value, "number" if isinstance(value, (int, float)) else "text")


def _id(session: _engine.Session, options: Options, digest: str) -> str:
    column = _engine.Column(options["columns"]["id"], "text")
    found = [
        row
        for batch in session.rows(
            f"SELECT {session.expression(column)} FROM {_table(session, options)} "
            f"WHERE {session.quote(options['columns']['hash'])} = {_literal(session, digest)}",
            [column],
        )
        for row in batch
    ]
    return str(found[0][0])


def _moment(moment: float, options: Options) -> str | float:
    if options["times"] == "epoch":
        return int(moment)
    whole = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(moment))
    return f"{whole}.{int(moment % 1 * 1e6):06d}"


def _known(row: t.Mapping[str, t.Any]) -> Known:
    state = row.get("state")
    revoked = bool(row.get("revoked")) or (state is not None and str(state).lower() != "active")
    label = row.get("label")
    return Known(
        str(row["id"]),
        seconds(row.get("created")),
        seconds(row.get("expires")),
        None,
        revoked,
        None if label is None else str(label),
    )
