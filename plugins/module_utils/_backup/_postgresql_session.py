# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the engine postgresql talks to a server: single queries, a session that is kept open, the versions of both sides."""

from __future__ import annotations

import re
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Source, Work
from ansible_collections.sre.runbooks.plugins.module_utils._core import postgresql
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, RunbookError

QUERY_SECONDS = 60.0
_PSQL = ["--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--set=ON_ERROR_STOP=1"]
_END = b"-- end of answer"


def psql(source: Source, database: str | None = None) -> list[str]:
    """The program psql on a database of the source's server, its own by default; rows come as lines, an error ends it."""
    name = database or source["database"]
    return [postgresql.client("psql", source), *_PSQL, *postgresql.arguments(source), f"--dbname={name}"]


def place(source: Source, options: str = "") -> dict[str, t.Any]:
    """Where the client programs run and with which environment; `options` are settings of their sessions."""
    environment = postgresql.environment()
    if options:
        environment["PGOPTIONS"] = options
    return {
        "target": postgresql.target(source),
        "environment": environment,
        "secrets": postgresql.secrets(source),
    }


def query(
    source: Source, sql: str, work: Work, database: str | None = None, limit: float | None = QUERY_SECONDS
) -> str:
    """Run statements within `limit` seconds and the source's deadline; rows come back as lines."""
    limit = min((each for each in (limit, work.seconds()) if each is not None), default=None)

    def talk(requests: t.IO[bytes], _answers: t.IO[bytes]) -> None:
        # A psql that ended at once, for it could not connect, tells why; that it reads no more tells nothing.
        requests.write(sql.encode())
        requests.flush()

    return work.commands.converse([psql(source, database)], talk, **place(source), timeout=limit).stdout.rstrip("\n")


def rows(source: Source, sql: str, work: Work, database: str | None = None) -> list[str]:
    """The lines that a query gives, untouched: `query` blots out the password, which may be part of a name too."""
    lines: list[str] = []

    def talk(requests: t.IO[bytes], answers: t.IO[bytes]) -> None:
        ask(requests, sql)
        lines.extend(answer(answers) or ())

    work.commands.converse([psql(source, database)], talk, **place(source), timeout=work.seconds())
    return lines


def first_query(source: Source, sql: str, work: Work) -> str:
    """The query that finds out whether the server can be reached at all; the error says what to look at."""
    try:
        return query(source, sql, work)
    except CommandFailed as error:
        raise RunbookError(
            f"database {source['database']}: {error}. See that the server runs, and check database, host, port, user, "
            "password and run_as of this source."
        ) from error


def query_past_deadline(source: Source, sql: str, work: Work) -> str:
    """For what has to be cleaned up though the source's time has passed."""
    return query(source, sql, work._replace(deadline=time.monotonic() + QUERY_SECONDS))


def ask(requests: t.IO[bytes], sql: str) -> None:
    """Send statements to an open session; their rows are read with `answer`."""
    requests.write(sql.encode() + b"\n\\echo " + _END + b"\n")
    requests.flush()


def answer(answers: t.IO[bytes]) -> list[str] | None:
    """The lines up to the end mark; None when the session ended before."""
    lines: list[str] = []
    for line in iter(answers.readline, b""):
        if line.rstrip(b"\n") == _END:
            return lines
        lines.append(line.rstrip(b"\n").decode())
    return None


def client_version(source: Source, program: str, server: t.Mapping[str, t.Any], work: Work) -> str:
    """The version of `program`; RunbookError when it is too old for the server (`number` and `version` of it)."""
    done = work.commands.run(
        [postgresql.client(program, source), "--version"], target=postgresql.target(source), timeout=QUERY_SECONDS
    )
    match = re.search(r"(\d+(?:\.\d+)*)", done.stdout)
    if match is None:
        raise RunbookError(
            f"{program} --version says {done.stdout.strip()!r}, which names no version. Install postgresql-client."
        )
    wanted = needed_client(match[1], server["number"])
    if wanted is not None:
        raise RunbookError(
            f"{program} {match[1]} cannot dump a server of version {server['version']}. "
            f"Install the package postgresql-client-{wanted}."
        )
    return match[1]


def needed_client(client: str, server: int) -> str | None:
    """The major version that the client lacks to dump the server, whose `server_version_num` is given; None when it can.

    Before PostgreSQL 10 the first two numbers were the major version.
    """
    numbers = [int(part) for part in client.split(".")]
    if server >= 100000:
        return str(server // 10000) if numbers[0] < server // 10000 else None
    major = [server // 10000, server // 100 % 100]
    return f"{major[0]}.{major[1]}" if numbers[:2] < major else None
