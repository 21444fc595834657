# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Passwords of MariaDB and MySQL (K3): two users with the same rights take turns, so that the old password works on while the new one is brought.

MariaDB gets no password but what it keeps of it, by the client's input. MySQL gets the password, for it takes no such value from
another; it writes none to its logs.
"""

from __future__ import annotations

import hashlib
import re
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import mysql
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._keys import _turns
from ansible_collections.sre.runbooks.plugins.module_utils._keys._provider import (
    Known,
    New,
    Options,
    Work,
    random_value,
)
from ansible_collections.sre.runbooks.plugins.module_utils._keys._times import seconds

ALTERNATING = True
OPTIONS: dict[str, t.Any] = {
    **mysql.CONNECTION,
    **_turns.OPTIONS,
    "account_host": {"type": "str", "default": "%"},
}
# What is kept of a password that these plugins check is made of 32 random bytes: nobody finds those again.
NATIVE = "mysql_native_password"
MARIADB_PLUGINS = ("", NATIVE)
MYSQL_PLUGINS = ("caching_sha2_password", "sha256_password", NATIVE)
LOGS_PASSWORDS_NOT = (5, 7)
END_SECONDS = 10.0
PAUSE = 0.1
ACCOUNTS = """SELECT User AS name, JSON_VALUE(Priv, '$.plugin') AS plugin, JSON_VALUE(Priv, '$.password_last_changed') AS changed,
  COALESCE(JSON_VALUE(Priv, '$.account_locked'), 0) AS locked, JSON_EXISTS(Priv, '$.auth_or') AS more
  FROM mysql.global_priv WHERE Host = {host} AND User IN ({names});"""
MYSQL_ACCOUNTS = """SELECT User AS name, plugin, UNIX_TIMESTAMP(password_last_changed) AS changed, account_locked = 'Y' AS locked, 0 AS more
  FROM mysql.user WHERE Host = {host} AND User IN ({names});"""
# Without PROCESS the list of sessions is that of one's own.
_SEES = re.compile(r"GRANT (?:ALL PRIVILEGES|(?:.*, )?PROCESS(?:, .*)?) ON \*\.\* TO ")
SESSIONS = "SELECT ID AS id FROM information_schema.PROCESSLIST WHERE USER = {name};"
_IDENTIFIED = re.compile(r" IDENTIFIED (?:BY PASSWORD|VIA|WITH) .*?(?= REQUIRE| WITH (?:GRANT|MAX_)|$)")


def check(options: dict[str, t.Any], where: str) -> None:
    """Two users, none of which is the one that changes them."""
    _turns.check(options, where)


def observe(options: Options, work: Work) -> list[Known]:
    """The users; one whose account is locked is revoked."""
    found = _look(options, work)
    known = [
        Known(name, seconds(found[name]["changed"]), None, None, found[name]["locked"] not in ("0", "NULL"))
        for name in options["users"] if name in found
    ]  # fmt: skip
    return _turns.named(known, work.name)


def create(options: Options, work: Work) -> New:
    """Give the user that is not in use a new password and unlock its account."""
    found = _look(options, work)
    alive = {name: each["locked"] in ("0", "NULL") for name, each in found.items()}
    user = _turns.chosen(options, work, alive)
    sessions = _sessions(options, work, user)
    if alive[user] and sessions:
        raise RunbookError(
            f"key {work.name}: {user} should be free, yet has {len(sessions)} session(s) on the server. Nothing was changed. "
            "End them, or name the user that programs use: provider.adopt."
        )
    if options["same_rights"]:
        other = next(name for name in options["users"] if name != user)
        _turns.compare(work, user, _rights(options, work, user), other, _rights(options, work, other))
    value = random_value(options["bytes"])
    _set(options, work, user, found[user], value, "ACCOUNT UNLOCK")
    return New(user, value)


def revoke(options: Options, key: str, work: Work) -> None:
    """Lock the account, give it a password that nobody knows, and end its sessions."""
    _turns.guard(key, work)
    found = _look(options, work, key).get(key)
    if found is None:
        return
    if found["locked"] in ("0", "NULL"):
        _set(options, work, key, found, random_value(), "ACCOUNT LOCK")
    over = time.monotonic() + min(END_SECONDS, work.seconds())
    while True:
        sessions = _sessions(options, work, key)
        if not sessions:
            return
        if time.monotonic() >= over:
            raise RunbookError(f"key {work.name}: {key} is locked, but sessions of it go on. End them (KILL).")
        for session in sessions:
            # One that has ended meanwhile is no error; one that may not be ended is seen again.
            _ask(options, work, f"KILL CONNECTION {session};", check=False)
        time.sleep(PAUSE)


def native(password: str) -> str:
    """What mysql_native_password keeps of a password."""
    once = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return "*" + hashlib.sha1(once, usedforsecurity=False).hexdigest().upper()


def _set(
    options: Options,
    work: Work,
    user: str,
    account: t.Mapping[str, str],
    value: str,
    lock: t.Literal["ACCOUNT LOCK", "ACCOUNT UNLOCK"],
) -> None:
    """Change password and lock in one statement, so that no password is alive for a moment only."""
    plugin = "" if account["plugin"] == "NULL" else account["plugin"]
    mariadb = _mariadb(options, work)
    if plugin not in (MARIADB_PLUGINS if mariadb else MYSQL_PLUGINS) or account["more"] not in ("0", "NULL"):
        raise RunbookError(
            f"key {work.name}: {user} does not log in by a password alone ({plugin or 'several ways'}). Nothing was changed. "
            f"Give it one: ALTER USER … IDENTIFIED VIA {NATIVE}."
        )
    name, kept = _account(options, user), native(value)
    how = f"VIA {NATIVE} USING {literal(kept)}" if mariadb else f"WITH {plugin} BY {literal(value)}"
    _ask(options, work, f"ALTER USER {name} IDENTIFIED {how} {lock};", secret=kept if mariadb else value)


def _look(options: Options, work: Work, *more: str) -> dict[str, dict[str, str]]:
    names = ", ".join(literal(name) for name in (*options["users"], *more))
    sql = ACCOUNTS if _mariadb(options, work) else MYSQL_ACCOUNTS
    rows = mysql.rows(_ask(options, work, sql.format(host=literal(options["account_host"]), names=names)))
    return {row["name"]: row for row in rows}


def _mariadb(options: Options, work: Work) -> bool:
    """Whether the server is MariaDB; RunbookError where it is one that would write passwords to its logs."""
    (row,) = mysql.rows(_ask(options, work, "SELECT VERSION() AS version;"))
    version = row["version"]
    number = tuple(int(each) for each in re.findall(r"\d+", version)[:2])
    if "MariaDB" in version and number >= (10, 4):
        return True
    if "MariaDB" in version or number < LOGS_PASSWORDS_NOT:
        raise RunbookError(
            f"key {work.name}: {version} cannot lock accounts. MariaDB 10.4, MySQL 5.7 or newer is needed."
        )
    return False


def _rights(options: Options, work: Work, user: str) -> set[str]:
    """What SHOW GRANTS says, told alike for every user, without what it says of passwords."""
    account = _account(options, user)
    shown = f"`{user.replace('`', '``')}`@`{options['account_host'].replace('`', '``')}`"
    # The name of this column is not quoted, whatever is in the user's.
    lines = _ask(options, work, f"SHOW GRANTS FOR {account};", names=False).split("\n")
    told = {_IDENTIFIED.sub("", mysql.unescaped(line)).replace(shown, "it") for line in lines if line}
    return {
        each.replace("GRANT ", "", 1).rpartition(" TO it")[0] + each.rpartition(" TO it")[2] or each for each in told
    }


def _sessions(options: Options, work: Work, user: str) -> list[str]:
    """The ids of the sessions that a user has."""
    if not any(map(_SEES.match, _ask(options, work, "SHOW GRANTS;", names=False).split("\n"))):
        raise RunbookError(
            f"key {work.name}: sessions of other users are not seen without the right PROCESS. Nothing was changed. Grant it to "
            f"{options['user'] or 'the user that connects'}."
        )
    return [row["id"] for row in mysql.rows(_ask(options, work, SESSIONS.format(name=literal(user))))]


def _account(options: Options, user: str) -> str:
    return f"{quoted(user)}@{quoted(options['account_host'])}"


def quoted(name: str) -> str:
    """An identifier, whatever is in it."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """A string, whatever is in it and whatever the server takes a backslash for."""
    return "'" + text.replace("'", "''") + "'"


def _ask(options: Options, work: Work, sql: str, *, secret: str = "", check: bool = True, names: bool = True) -> str:
    """Run statements that come by the client's input; `secret` is blotted out of whatever it says."""
    left = work.seconds()
    database = [f"--database={options['database']}"] if options["database"] else []
    argv = [
        *mysql.client("mariadb", options), *mysql.arguments(options), *database, "--batch", "--unbuffered",
        "--default-character-set=utf8mb4", f"--connect-timeout={mysql.CONNECT_SECONDS}",
        *([] if names else ["--skip-column-names"]),
    ]  # fmt: skip
    done = work.commands.run(
        argv, target=mysql.target(options), secrets=mysql.secrets(options), timeout=left, check=False,
        data="SET sql_mode = 'NO_BACKSLASH_ESCAPES';\n" + sql + "\n",
    )  # fmt: skip
    if done.rc != 0 and check:
        _turns.failed(work, "mariadb", done, secret)
    return done.stdout
