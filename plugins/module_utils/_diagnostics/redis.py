# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Redis: figures, clients, slow commands without their arguments, settings without its passwords."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import redis
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics import _databases

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.entries import Item
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._settings import Settings
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._work import Work

COLLECTS = "INFO, clients, slow commands, settings"
OPTIONS: dict[str, t.Any] = redis.CONNECTION
SECRETS = ("requirepass", "masterauth", "masteruser", "tls-key-file-pass", "tls-client-key-file-pass")
# Keys may be names of people: of a command its name, its key's beginning and the number of its arguments tell enough.
_KEY_SHOWN = 32


def check(source: dict[str, t.Any], where: str) -> None:
    """A port is one."""
    if not 0 < source["port"] < 65536:
        raise InputError(f"{where}.port", source["port"], "is no port", "Give one from 1 to 65535, or a socket.")


def would(settings: Settings) -> list[str]:
    """The servers."""
    return _databases.names("redis", settings)


def collect(work: Work) -> None:
    """Every server by itself."""
    _databases.each(work, _one)


def _one(work: Work, item: Item) -> None:
    text = _answer(work, item, "INFO everything")
    version = redis.info(text).get("redis_version") or redis.info(text).get("valkey_version") or ""
    if not version:
        raise RunbookError(redis.problem(redis.query(work.commands, item.source, "PING\n", _seconds(work))))
    with work.part(f"redis/{item.name}/info.txt") as part:
        part.text(text.replace("\r", ""))
    for name, command in {"clients": "CLIENT LIST", "memory": "MEMORY DOCTOR", "latency": "LATENCY DOCTOR"}.items():
        with work.part(f"redis/{item.name}/{name}.txt") as part:
            part.text(_answer(work, item, command))
    with work.part(f"redis/{item.name}/settings.txt") as part:
        part.text("\n".join(_settings(_answer(work, item, "CONFIG GET *"), work, item)))
    with work.part(f"redis/{item.name}/slow.jsonl") as part:
        if int(version.partition(".")[0]) < 7:
            part.note("slow commands are read from version 7 on")
        else:
            part.rows(_slow(work, item))


def _seconds(work: Work) -> float:
    return min(_databases.SECONDS, work.left())


def _answer(work: Work, item: Item, command: str) -> str:
    return redis.query(work.commands, item.source, f"{command}\n", _seconds(work)).stdout


def _settings(text: str, work: Work, item: Item) -> list[str]:
    lines = text.split("\n")
    told = []
    for name, value in zip(lines[::2], lines[1::2]):
        if name in SECRETS and value:
            # Our own password is blotted out of all that a program says.
            value = work.hide(item.source["password"] if value.strip("*") == "" and item.source["password"] else value)
        told.append(f"{name} {value}")
    return told


def _slow(work: Work, item: Item) -> list[dict[str, t.Any]]:
    argv = [*redis.client(item.source), "--json"]
    done = work.commands.run(
        argv,
        secrets=redis.secrets(item.source),
        timeout=_seconds(work),
        target=redis.target(item.source),
        data="SLOWLOG GET 100\n",
    )
    try:
        entries = json.loads(done.stdout)
    except ValueError as error:
        raise RunbookError(f"SLOWLOG: {redis.problem(done)}") from error
    if not isinstance(entries, list):
        raise RunbookError(f"SLOWLOG: {entries}")
    return [
        {
            "when": each[1],
            "microseconds": each[2],
            "command": each[3][0],
            "key": str(each[3][1])[:_KEY_SHOWN] if len(each[3]) > 1 and each[3][0].upper() not in ("AUTH", "CONFIG", "HELLO", "ACL", "EVAL") else None,
            "arguments": len(each[3]) - 1,
            "client": each[4] if len(each) > 4 else None,
        }
        for each in entries
    ]  # fmt: skip
