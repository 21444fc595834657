# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real calls with a key: it is proven by one that is accepted, and proven dead by one that is refused."""

from __future__ import annotations

import time
import typing as t
from urllib.parse import unquote, urlsplit

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.sre.runbooks.plugins.module_utils._core import mysql, postgresql, units, web
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import (
    CommandFailed,
    InputError,
    RunbookError,
    TargetDown,
)

HTTP: dict[str, t.Any] = {
    **web.OPTIONS,
    "method": {"type": "str", "default": "GET"},
    "header": {"type": "str", "default": "Authorization"},
    "prefix": {"type": "str"},
    "status": {"type": "list", "elements": "int", "default": [200]},
    "refused": {"type": "list", "elements": "int", "default": [401, 403]},
}
COMMAND: dict[str, t.Any] = {
    "argv": {"type": "list", "elements": "str", "required": True},
    "environment": {"type": "str", "default": "SRE_RUNBOOKS_KEY"},
    "run_as": {"type": "str"},
    "refused": {"type": "list", "elements": "int", "default": [1]},
}
USED_BY: dict[str, t.Any] = {
    **web.OPTIONS,
    "method": {"type": "str", "default": "GET"},
    "status": {"type": "list", "elements": "int", "default": [200]},
}
SHARED: dict[str, t.Any] = {
    "type": {"type": "str", "required": True},
    "timeout": {"type": "str", "default": "10s"},
    "within": {"type": "str", "default": "30s"},
    "used_by": {"type": "dict", "options": USED_BY},
}
TYPES: dict[str, dict[str, t.Any]] = {
    "http": HTTP,
    "postgresql": postgresql.CONNECTION,
    "mysql": mysql.CONNECTION,
    "command": COMMAND,
}
PAUSE = 0.25
USER_VARIABLE = "SRE_RUNBOOKS_USER"
# What servers say of a wrong password or a user who may not log in.
REFUSALS = (
    "authentication failed",
    "access denied",
    "not permitted to log in",
    "does not exist",
    "account is locked",
    "password has expired",
)


class Refused(RunbookError):
    """The service does not accept the key."""


class Verify(t.NamedTuple):
    """How a key is proven; `timeout` of one call and `within` of all tries, in seconds."""

    kind: str
    options: dict[str, t.Any]
    timeout: float
    within: float


def read(given: t.Mapping[str, t.Any] | None, where: str) -> tuple[Verify | None, set[str]]:
    """Read `verify`; return it and the secrets that stand in it."""
    if given is None:
        return None, set()
    kind = given.get("type")
    if kind not in TYPES:
        raise InputError(f"{where}.type", kind, "is no kind of call", f"Use one of {', '.join(TYPES)}.")
    result = ArgumentSpecValidator({**SHARED, **TYPES[kind]}).validate(given)
    if result.error_messages:
        raise RunbookError(f"{where}: {'; '.join(result.error_messages)}")
    options = result.validated_parameters
    if kind == "http":
        if options["prefix"] is None:
            options["prefix"] = "Bearer " if options["header"].lower() == "authorization" else ""
        web.refuse(options)
    if options["used_by"]:
        web.refuse(options["used_by"])
    if kind == "command" and not options["argv"]:
        raise InputError(f"{where}.argv", [], "names no program", "Give the program and its arguments.")
    timeout = units.duration(options["timeout"], f"{where}.timeout")
    return Verify(kind, options, timeout, units.duration(options["within"], f"{where}.within")), set(
        result._no_log_values
    )


def prove(verify: Verify, value: str, commands: Commands, user: str | None = None, url: str = "") -> None:
    """Make calls until one is accepted; RunbookError when none is in time. The service may still be starting."""
    deadline = time.monotonic() + verify.within
    while True:
        try:
            call(verify, value, commands, user, url)
            if verify.options["used_by"]:
                _used(verify)
            return
        except RunbookError:
            if time.monotonic() + PAUSE >= deadline:
                raise
        time.sleep(PAUSE)


def call(verify: Verify, value: str, commands: Commands, user: str | None = None, url: str = "") -> None:
    """One call with the key: `Refused` when the service says no to it, RunbookError when it says nothing of use.

    `user` is who the key belongs to, and `url` the connection string that both are in, where the consumer's file tells.
    """
    try:
        if verify.kind == "http":
            _http(verify, value)
        elif verify.kind == "command":
            _command(verify, value, commands, user)
        else:
            ask = postgresql.query if verify.kind == "postgresql" else mysql.query
            ask(commands, _connection(verify, value, user, url), "SELECT 1;", verify.timeout)
    except CommandFailed as error:
        text = error.stderr.lower()
        dead = (
            error.rc in verify.options["refused"]
            if verify.kind == "command"
            else any(each in text for each in REFUSALS)
        )
        raise (Refused if dead else RunbookError)(_clean(str(error), value)) from None


def _clean(text: str, value: str) -> str:
    return text.replace(value, "********") if value else text


def _http(verify: Verify, value: str) -> None:
    options = {**verify.options, "timeout": verify.timeout}
    given = {options["header"]: options["prefix"] + value}
    with web.ask(
        {**options, "headers": {**options["headers"], **given}},
        time.monotonic() + verify.timeout,
        method=options["method"],
        stop=(301, 302, 303, 307, 308),
    ) as answer:
        status = answer.status
    if status in options["status"]:
        return
    told = f"{options['method']} {web.shown(options['url'])} answered {status}, expected {' or '.join(map(str, options['status']))}"
    raise (Refused if status in options["refused"] else RunbookError)(told)


def _used(verify: Verify) -> None:
    """Ask the service itself: its answer is good only when its own calls with the key are."""
    options = {**verify.options["used_by"], "timeout": verify.timeout}
    with web.ask(options, time.monotonic() + verify.timeout, method=options["method"]) as answer:
        if answer.status not in options["status"]:
            raise TargetDown(f"the service does not use it: {web.shown(options['url'])} answered {answer.status}")


def _connection(verify: Verify, value: str, user: str | None, url: str) -> dict[str, t.Any]:
    """What a connection string (`scheme://user:password@host:port/database`) says goes first, be it the key or what it is in."""
    address = url or (value if user is None and "://" in value else "")
    told: dict[str, t.Any] = {} if address == value else {"user": user, "password": value}
    if address:
        try:
            parts = urlsplit(address)
            said = {
                "user": parts.username and unquote(parts.username), "password": unquote(parts.password or ""),
                "host": parts.hostname, "port": parts.port, "database": unquote(parts.path.lstrip("/")),
            }  # fmt: skip
        except ValueError:
            # urlsplit tells the address in its message.
            raise RunbookError(
                "the connection string has no single host and port. Prove it by verify.type command."
            ) from None
        told = {**said, **{name: each for name, each in told.items() if each}}
    return {**verify.options, **{name: each for name, each in told.items() if each}}


def _command(verify: Verify, value: str, commands: Commands, user: str | None) -> None:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Target

    options = verify.options
    commands.run(
        options["argv"],
        target=Target(options["run_as"]),
        secrets={options["environment"]: value},
        environment={USER_VARIABLE: user} if user else None,
        timeout=verify.timeout,
    )
