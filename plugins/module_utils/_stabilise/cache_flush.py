# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Empty a cache: a Redis database whole, or its keys that fit a pattern, or by a request to the service."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._stabilise import _call
from ansible_collections.sre.runbooks.plugins.module_utils._stabilise._action import Look, Options, Work

OPTIONS: dict[str, t.Any] = {
    **_call.ONE_OF,
    "patterns": {"type": "list", "elements": "str", "default": []},
    "everything": {"type": "bool", "default": False},
}
LIMIT = "2/h"
# Removed in the server, so many keys a call: a script that takes longer would keep all other clients waiting.
BATCH = 1000
_REMOVE = (
    "local got = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3]) "
    "if #got[2] > 0 then redis.call('UNLINK', unpack(got[2])) end return got[1] .. ' ' .. #got[2]"
)


def check(options: dict[str, t.Any], where: str) -> None:
    """A cache is emptied whole only when that was asked for: the database may hold more than a cache."""
    _call.check(options, where)
    if options["redis"] and bool(options["patterns"]) == options["everything"]:
        raise InputError(
            f"{where}.patterns", options["patterns"], "does not say which keys belong to the cache",
            "Give patterns such as cache:*, or everything: true for the whole database.",
        )  # fmt: skip


def target(options: Options) -> str:
    """The place."""
    return _call.place(options)


def look(options: Options, work: Work) -> Look:
    """How many keys the database holds."""
    if options["http"]:
        return Look({}, f"flush the cache by {options['http']['method']} {_call.place(options)}")
    (count,) = _call.ask_redis(options["redis"], ["DBSIZE"], work)
    what = "all keys" if options["everything"] else f"the keys that fit {', '.join(options['patterns'])}"
    return Look({"keys": int(count)}, f"remove {what} of {count} from {_call.place(options)}")


def apply(options: Options, before: Options, work: Work) -> str:
    """Remove the keys; memory is freed in the background."""
    if options["http"]:
        return f"flushed the cache: {_call.request(options['http'], work)}"
    if options["everything"]:
        _call.ask_redis(options["redis"], ["FLUSHDB ASYNC"], work)
        return f"flushed {_call.place(options)}: {before.get('keys', 'all')} keys"
    count = sum(_removed(options["redis"], pattern, work) for pattern in options["patterns"])
    return f"removed {count} keys from {_call.place(options)}"


def _removed(connection: Options, pattern: str, work: Work) -> int:
    cursor, count = "0", 0
    while True:
        line = f"EVAL {_call.quoted(_REMOVE)} 0 {cursor} {_call.quoted(pattern)} {BATCH}"
        (answer,) = _call.ask_redis(connection, [line], work)
        cursor, _space, number = answer.partition(" ")
        count += int(number)
        if cursor == "0":
            return count
