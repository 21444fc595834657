# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Statements to a PostgreSQL server with limits on locks and time, and what its errors mean to maintenance."""

from __future__ import annotations

import json
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import postgresql
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Completed
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration
from ansible_collections.sre.runbooks.plugins.module_utils._database._engine import (
    Damaged,
    Locked,
    Over,
    Source,
    Work,
)

QUERY_SECONDS = 60.0
# Of a client's end the server learns only when it looks; from PostgreSQL 14 on it can look while it works.
LOOKS_FOR_CLIENT = 140000
# SQLSTATEs (PostgreSQL documentation, appendix A): lock_not_available, query_canceled, data_corrupted and index_corrupted.
LOCK, CANCELED, DAMAGE = "55P03", "57014", ("XX001", "XX002")
# `VERBOSITY=verbose` writes the SQLSTATE before the message, and then more lines that begin with a word of their own.
_ERROR = re.compile(r"(?:ERROR|FATAL|PANIC|[^\s:]+):  ([0-9A-Z]{5}): (.*)")


class Failed(RunbookError):
    """A statement failed for another reason than a lock, time or damage; `code` is its SQLSTATE."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def rows(source: Source, sql: str, work: Work) -> list[t.Any]:
    """The lines of a query that gives one JSON value a row."""
    return [json.loads(line) for line in statement(source, sql, work).stdout.splitlines() if line]


def statement(
    source: Source,
    sql: str,
    work: Work,
    *,
    seconds: float | None = QUERY_SECONDS,
    server: int = 0,
    lock: bool = True,
    check: bool = True,
) -> Completed:
    """Run what stands in `sql`, one statement after the other, none in a transaction with another.

    With `check` the first error ends it; else all are run, and the errors stand in the output for errors.
    `seconds` is the limit of each statement and, where the run's time ends sooner, that; `server` its version number if
    known. Without `lock` a statement waits for locks as long as for anything else.
    """
    limit = min((each for each in (seconds, work.seconds()) if each is not None), default=None)
    environment = postgresql.environment()
    settings = {"search_path": "pg_catalog", "lock_timeout": str(int(work.lock_seconds * 1000)) if lock else "0"}
    settings["statement_timeout"] = "0" if limit is None else str(max(1, int(limit * 1000)))
    if server >= LOOKS_FOR_CLIENT:
        settings["client_connection_check_interval"] = "500"
    environment["PGOPTIONS"] = " ".join(f"-c {name}={value}" for name, value in settings.items())
    argv = [
        postgresql.client("psql", source), "--no-psqlrc", "--tuples-only", "--no-align", "--quiet",
        f"--set=ON_ERROR_STOP={int(check)}", "--set=VERBOSITY=verbose", *postgresql.arguments(source),
        f"--dbname={source['database']}", "--file=-",
    ]  # fmt: skip

    def talk(requests: t.IO[bytes], _answers: t.IO[bytes]) -> None:
        requests.write(sql.encode("utf-8", "surrogateescape") + b"\n")

    try:
        # A psql that cannot connect ends before it has read anything: it is its own words that tell why.
        return work.commands.converse(
            [argv], talk, target=postgresql.target(source), environment=environment,
            secrets=postgresql.secrets(source), timeout=None if limit is None else limit + 5,
        )  # fmt: skip
    except CommandFailed as error:
        raise _meaning(error, work) from error


def errors(text: str) -> list[tuple[str, str]]:
    """SQLSTATE and message of each error in what psql wrote."""
    return [(match[1], match[2]) for match in map(_ERROR.search, text.splitlines()) if match]


def _meaning(error: CommandFailed, work: Work) -> RunbookError:
    found = [each for each in errors(error.stderr) if not each[0].startswith(("00", "01"))]
    if error.rc in (124, 137):
        return Over("the time limit has passed")
    if not found:
        lines = [line.strip() for line in error.stderr.splitlines() if line.strip()]
        text = " / ".join(lines[-3:]) or str(error)
        return RunbookError(f"{text}. See that the server runs, and check host, port, user, password and run_as.")
    code, text = found[0]
    if code == LOCK:
        return Locked(f"locked by another session for {show_duration(work.lock_seconds)} (lock_timeout)")
    if code == CANCELED:
        return Over("the time limit has passed")
    if code in DAMAGE:
        return Damaged(f"{text}.")
    return Failed(code, f"{text} (SQLSTATE {code})")


def quoted(*names: str) -> str:
    """A qualified identifier, whatever is in it."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def literal(text: str) -> str:
    """A string, whatever is in it; backslashes mean nothing (standard_conforming_strings)."""
    return "'" + text.replace("'", "''") + "'"
