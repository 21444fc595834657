# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One HTTP request of an action, and Redis as actions use it."""

from __future__ import annotations

import json
import re
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import redis, units, web
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._stabilise._action import Work

REDIS: dict[str, t.Any] = {**redis.CONNECTION, "database": {"type": "int", "default": 0}}
HTTP: dict[str, t.Any] = {
    **web.OPTIONS,
    "method": {"type": "str", "default": "POST"},
    "body": {"type": "dict", "no_log": True},
    "status": {"type": "list", "elements": "int", "default": [200, 201, 202, 204]},
    "timeout": {"type": "str", "default": "30s"},
}
ONE_OF: dict[str, t.Any] = {"redis": {"type": "dict", "options": REDIS}, "http": {"type": "dict", "options": HTTP}}
BODY_BYTES = 1 << 20
QUERY_SECONDS = 30.0


def check(options: dict[str, t.Any], where: str) -> None:
    """Exactly one of redis and http."""
    if bool(options["redis"]) == bool(options["http"]):
        raise InputError(
            f"{where}", [name for name in ONE_OF if options[name]], "is no place to act at", "Give redis or http."
        )
    if options["http"]:
        try:
            web.refuse(options["http"])
        except InputError as error:
            raise RunbookError(f"{where}.http.{error}") from error
        options["http"]["timeout"] = units.duration(options["http"]["timeout"], f"{where}.http.timeout")


def place(options: t.Mapping[str, t.Any]) -> str:
    """Where it is done, for a person and for the limit."""
    if options["http"]:
        return web.shown(options["http"]["url"])
    return f"Redis {redis.place(options['redis'])}, database {options['redis']['database']}"


def request(options: t.Mapping[str, t.Any], work: Work) -> str:
    """Make the request; RunbookError for a status that is not among those that mean success."""
    seconds = work.seconds(options["timeout"])
    body = None if options["body"] is None else json.dumps(options["body"]).encode()
    headers = {"Content-Type": "application/json"} if body is not None else {}
    deadline = time.monotonic() + seconds
    with web.ask(options, deadline, method=options["method"], body=body, headers=headers) as answer:
        answer.body(BODY_BYTES, "the answer is too large")
        if answer.status not in options["status"]:
            raise RunbookError(f"{options['method']} {web.shown(options['url'])}: status {answer.status}")
        return f"{options['method']} {web.shown(options['url'])}: status {answer.status}"


def ask_redis(connection: t.Mapping[str, t.Any], lines: t.Sequence[str], work: Work) -> list[str]:
    """Send commands; return their answers, one line each."""
    text = "".join(f"{line}\n" for line in [f"SELECT {connection['database']}", *lines])
    result = redis.query(work.commands, connection, text, work.seconds(QUERY_SECONDS))
    answers = result.stdout.splitlines()
    if not answers or answers[0] != "OK":
        raise RunbookError(f"Redis {redis.place(connection)}: {redis.problem(result)}")
    # An error begins with its kind in capitals; no answer to what is asked here does.
    bad = [line for line in answers if re.match(r"[A-Z]{2,} ", line)]
    if bad:
        raise RunbookError(f"Redis {redis.place(connection)}: {bad[0]}")
    return answers[1:]


def quoted(text: str) -> str:
    """A word of redis-cli's input: every byte that is not plain is written as its number, so nothing ends the word."""
    return (
        '"'
        + "".join(
            chr(byte) if 0x20 < byte < 0x7F and byte not in b'"\\' else f"\\x{byte:02x}" for byte in text.encode()
        )
        + '"'
    )
