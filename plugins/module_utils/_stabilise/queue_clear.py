# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clear a queue: a list, stream or sorted set of Redis is put aside under another name for a while, or a request to the service."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._stabilise import _call
from ansible_collections.sre.runbooks.plugins.module_utils._stabilise._action import Look, Options, Work

OPTIONS: dict[str, t.Any] = {**_call.ONE_OF, "key": {"type": "str"}, "keep": {"type": "str", "default": "24h"}}
LIMIT = "1/h"
_LENGTH = {"list": "LLEN", "stream": "XLEN", "zset": "ZCARD", "set": "SCARD"}


def check(options: dict[str, t.Any], where: str) -> None:
    """The queue's key, and how long what was in it is kept."""
    _call.check(options, where)
    if options["redis"] and not options["key"]:
        raise InputError(f"{where}.key", options["key"], "names no queue", "Give the key that holds it.")
    options["keep"] = units.duration(options["keep"], f"{where}.keep")
    if options["keep"] < 1:
        raise InputError(f"{where}.keep", options["keep"], "keeps nothing", "Give at least 1s.")


def target(options: Options) -> str:
    """The queue."""
    return f"{_call.place(options)} {options['key'] or ''}".strip()


def look(options: Options, work: Work) -> Look:
    """How much waits there."""
    if options["http"]:
        return Look({}, f"clear the queue by {options['http']['method']} {_call.place(options)}")
    key = _call.quoted(options["key"])
    (kind,) = _call.ask_redis(options["redis"], [f"TYPE {key}"], work)
    if kind == "none":
        return Look({"waiting": 0, "aside": ""}, f"do nothing: the queue {options['key']} is empty")
    if kind not in _LENGTH:
        raise RunbookError(f"{options['key']} of {_call.place(options)} is a {kind}, no queue. Correct key.")
    (count,) = _call.ask_redis(options["redis"], [f"{_LENGTH[kind]} {key}"], work)
    aside = f"{options['key']}:cleared:{int(time.time())}"
    return Look(
        {"waiting": int(count), "aside": aside},
        f"put {count} waiting entries of {options['key']} aside for {units.show_duration(options['keep'])}",
    )


def apply(options: Options, before: Options, work: Work) -> str:
    """Rename, in one step; the server removes it when its time is over."""
    if options["http"]:
        return f"cleared the queue: {_call.request(options['http'], work)}"
    if not before["aside"]:
        return f"the queue {options['key']} was empty"
    key, aside = _call.quoted(options["key"]), _call.quoted(before["aside"])
    script = (
        "if redis.call('EXISTS', KEYS[1]) == 1 and redis.call('RENAMENX', KEYS[1], KEYS[2]) == 0 then return 0 end "
        "redis.call('EXPIRE', KEYS[2], ARGV[1]) return 1"
    )
    (answer,) = _call.ask_redis(
        options["redis"], [f"EVAL {_call.quoted(script)} 2 {key} {aside} {int(options['keep'])}"], work
    )
    if answer != "1":
        return f"was cleared by the run before, as {before['aside']}; what came since stays"
    return f"cleared {options['key']}: {before['waiting']} entries are kept as {before['aside']}"


def undo(options: Options, before: Options, work: Work) -> str:
    """Put back what was put aside, when nothing new has come."""
    if options["http"] or not before.get("aside"):
        return "nothing was put aside"
    aside, key = _call.quoted(before["aside"]), _call.quoted(options["key"])
    script = (
        "if redis.call('RENAMENX', KEYS[1], KEYS[2]) == 0 then return 0 end redis.call('PERSIST', KEYS[2]) return 1"
    )
    (answer,) = _call.ask_redis(options["redis"], [f"EVAL {_call.quoted(script)} 2 {aside} {key}"], work)
    if answer != "1":
        raise RunbookError(f"new entries have come to {options['key']}; the old ones are kept as {before['aside']}")
    return f"{before['waiting']} entries are in {options['key']} again"
