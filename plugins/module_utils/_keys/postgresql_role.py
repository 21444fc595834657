# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Passwords of PostgreSQL (K3): two roles with the same rights take turns, so that the old password works on while the new one is brought.

The server gets no password but its SCRAM-SHA-256 verifier (RFC 5803), by psql's input: neither its log nor a process listing has more.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import postgresql, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._keys import _postgresql_rights, _turns
from ansible_collections.sre.runbooks.plugins.module_utils._keys._postgresql_rights import literal, quoted
from ansible_collections.sre.runbooks.plugins.module_utils._keys._provider import (
    Known,
    New,
    Options,
    Work,
    random_value,
)

ALTERNATING = True
OPTIONS: dict[str, t.Any] = {
    **postgresql.CONNECTION,
    **_turns.OPTIONS,
    "group": {"type": "str"},
    "expires_in": {"type": "str"},
}
ITERATIONS = 4096  # the server's own default (scram_iterations)
OLDEST = 100000  # the first version that knows such verifiers; an older one takes them for passwords
SETTINGS = "SET search_path = pg_catalog; SET standard_conforming_strings = on; SET client_min_messages = warning;\n"
END_SECONDS = 10.0
PAUSE = 0.1


def check(options: dict[str, t.Any], where: str) -> None:
    """Two roles, none of which is the one that changes them."""
    _turns.check(options, where)
    if "=" in options["database"] or "://" in options["database"]:
        raise InputError(f"{where}.database", options["database"], "is no name of a database", "Give the name alone.")
    if options["expires_in"] is not None:
        options["expires_in"] = units.duration(options["expires_in"], f"{where}.expires_in")


def observe(options: Options, work: Work) -> list[Known]:
    """The roles; one that may not log in is revoked."""
    found = _look(options, work)
    known = [
        Known(name, None, found[name]["until"], None, not found[name]["login"])
        for name in options["users"] if name in found
    ]  # fmt: skip
    return _turns.named(known, work.name)


def create(options: Options, work: Work) -> New:
    """Give the role that is not in use a new password and let it log in."""
    found = _look(options, work)
    user = _turns.chosen(options, work, {name: each["login"] for name, each in found.items()})
    if found[user]["login"] and found[user]["sessions"]:
        raise RunbookError(
            f"key {work.name}: {user} should be free, yet has {found[user]['sessions']} session(s) on the server. Nothing was changed. "
            "End them, or name the role that programs use: provider.adopt."
        )
    if options["same_rights"]:
        _same(options, work, found, user)
    value = random_value(options["bytes"])
    expires = None if options["expires_in"] is None else time.time() + options["expires_in"]
    until = "infinity" if expires is None else time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime(expires))
    secret = verifier(value, os.urandom(16))
    _ask(
        options,
        work,
        f"ALTER ROLE {quoted(user)} LOGIN PASSWORD {literal(secret)} VALID UNTIL {literal(until)};",
        secret,
    )
    return New(user, value, expires)


def revoke(options: Options, key: str, work: Work) -> None:
    """Let the role not log in, take its password away, and end its sessions."""
    _turns.guard(key, work)
    found = _look(options, work, key)
    if key not in found:
        return
    if found[key]["super"]:
        raise RunbookError(f"key {work.name}: {key} is a superuser, which is not disabled. Do it by hand.")
    if found[key]["login"]:
        _ask(options, work, f"ALTER ROLE {quoted(key)} NOLOGIN PASSWORD NULL;")
    ended = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = {literal(key)};"  # noqa: S608
    over = time.monotonic() + min(END_SECONDS, work.seconds())
    while _look(options, work, key)[key]["sessions"]:
        if time.monotonic() >= over:
            raise RunbookError(
                f"key {work.name}: {key} cannot log in any more, but sessions of it go on. End them (pg_terminate_backend)."
            )
        _ask(options, work, ended)
        time.sleep(PAUSE)


def verifier(password: str, salt: bytes) -> str:
    """What the server keeps of a password. It is of ASCII alone, for which SASLprep changes nothing."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    words = [base64.b64encode(each).decode() for each in (salt, stored, server)]
    return f"SCRAM-SHA-256${ITERATIONS}:{words[0]}${words[1]}:{words[2]}"


def _look(options: Options, work: Work, *more: str) -> dict[str, dict[str, t.Any]]:
    """What the server knows of the roles."""
    names = ", ".join(literal(name) for name in (*options["users"], *more))
    answer = _ask(options, work, _postgresql_rights.ROLES.format(names=names))
    document = json.loads(answer.splitlines()[-1])
    if document["version"] < OLDEST:
        raise RunbookError(f"key {work.name}: the server is older than PostgreSQL 10, which knows no SCRAM verifiers.")
    return {each["name"]: each for each in document["roles"]}


def _same(options: Options, work: Work, found: t.Mapping[str, t.Any], user: str) -> None:
    """Raise RunbookError where programs that change to `user` could do less, or more, than before."""
    other = next(name for name in options["users"] if name != user)
    if found[user]["super"] or found[other]["super"]:
        raise RunbookError(f"key {work.name}: a superuser is no role for programs. Use others.")
    rights = {}
    for name in (user, other):
        answer = _ask(options, work, _postgresql_rights.RIGHTS.format(name=literal(name)))
        rights[name] = _postgresql_rights.read(answer, name)
    member = f"member of {options['group']}"
    for name in (user, other):
        if options["group"] and not any(each.startswith(member) for each in rights[name]):
            raise RunbookError(
                f"key {work.name}: {name} is no member of {options['group']} (provider.group). Nothing was changed. Grant it."
            )
    _turns.compare(work, user, rights[user], other, rights[other])


def _ask(options: Options, work: Work, sql: str, secret: str = "") -> str:
    """Run statements that come by psql's input; `secret` is blotted out of whatever it says."""
    seconds = work.seconds()
    argv = [
        postgresql.client("psql", options), "--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--set=ON_ERROR_STOP=1",
        "--set=VERBOSITY=terse", *postgresql.arguments(options), f"--dbname={options['database']}", "--file=-",
    ]  # fmt: skip
    done = work.commands.run(
        argv, target=postgresql.target(options), timeout=seconds, data=SETTINGS + sql + "\n", check=False,
        environment={**postgresql.environment(seconds), "PGCLIENTENCODING": "UTF8"}, secrets=postgresql.secrets(options),
    )  # fmt: skip
    if done.rc != 0:
        _turns.failed(work, "psql", done, secret)
    return done.stdout
