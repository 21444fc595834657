# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Statements to a MariaDB or MySQL server with limits on locks and time, and what its errors mean to maintenance."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import mysql
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration
from ansible_collections.sre.runbooks.plugins.module_utils._database._engine import Locked, Over, Source, Work

QUERY_SECONDS = 60.0
FOREVER_SECONDS = 30 * 86400.0
# ER_LOCK_WAIT_TIMEOUT; ER_STATEMENT_TIMEOUT of MariaDB, ER_QUERY_TIMEOUT of MySQL.
LOCK, TIME = (1205,), (1969, 3024)
_ERROR = re.compile(r"ERROR (\d+) \(\w+\)(?: at line \d+)?: (.*)")


class Failed(RunbookError):
    """A statement failed for another reason than a lock or time; `code` is the server's number of it."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def rows(source: Source, sql: str, work: Work, seconds: float | None = QUERY_SECONDS) -> list[dict[str, str]]:
    """The rows of one statement by column; NULL is the text `NULL`. `seconds` None: as long as the run has time."""
    limit = min((each for each in (seconds, work.seconds()) if each is not None), default=FOREVER_SECONDS)
    # Whole seconds; MariaDB takes 0, MySQL at least 1.
    wait = max(1, round(work.lock_seconds))
    settings = f"SET SESSION lock_wait_timeout={wait}, SESSION innodb_lock_wait_timeout={wait}; SET NAMES utf8mb4;"
    try:
        return mysql.rows(mysql.query(work.commands, source, f"{settings} {sql};", limit).stdout)
    except CommandFailed as error:
        raise _meaning(error, work) from error


def _meaning(error: CommandFailed, work: Work) -> RunbookError:
    match = _ERROR.search(error.stderr)
    if error.rc in (124, 137):
        return Over("the time limit has passed")
    if match is None:
        return error
    code = int(match[1])
    if code in LOCK:
        return locked(work)
    if code in TIME:
        return Over("the time limit has passed")
    return Failed(code, f"{match[2]} (error {code})")


def locked(work: Work) -> Locked:
    """The error of a lock that did not come in time."""
    return Locked(f"locked by another session for {show_duration(work.lock_seconds)} (lock_timeout)")


def quoted(*names: str) -> str:
    """A qualified identifier, whatever is in it."""
    return ".".join("`" + name.replace("`", "``") + "`" for name in names)


def literal(text: str) -> str:
    """A string as hexadecimal digits: no mode of the server reads anything else into it."""
    return f"CONVERT(0x{text.encode().hex()} USING utf8mb4)" if text else "''"


def number(row: t.Mapping[str, str], column: str) -> int:
    """A count; 0 for NULL."""
    value = row[column]
    return 0 if value == "NULL" else int(float(value))
