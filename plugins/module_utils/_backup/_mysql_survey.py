# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the engine mysql must know before a dump: versions, tables that no snapshot covers, and what the user may not see."""

from __future__ import annotations

import contextlib
import fnmatch
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Source, Work
from ansible_collections.sre.runbooks.plugins.module_utils._core import mysql
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, RunbookError

QUERY_SECONDS = 60.0
SERVER = """
SELECT @@version AS version, (SELECT count(*) FROM information_schema.events WHERE event_schema = database()) AS events,
  coalesce(sum(data_length + index_length), 0) AS size_bytes,
  (SELECT default_character_set_name FROM information_schema.schemata WHERE schema_name = database()) AS charset,
  (SELECT default_collation_name FROM information_schema.schemata WHERE schema_name = database()) AS collation_name
  FROM information_schema.tables WHERE table_schema = database();
"""
_TABLES = """
SELECT t.table_name AS name, t.table_type AS type, coalesce(t.engine, '') AS engine, coalesce(e.transactions, '') AS transactional
  FROM information_schema.tables t LEFT JOIN information_schema.engines e ON e.engine = t.engine
  WHERE t.table_schema = database();
"""
# Errors of a query for an account that is in the table and that the server does not use.
PASSED_OVER = {"1133", "1141", "1396"}
ERROR = re.compile(r"^ERROR (\d+)", re.MULTILINE)
# A row of these lies elsewhere, or nowhere: neither dump reads it, nor does a lock help.
_NO_ROWS = {"MRG_MYISAM", "MRG_ISAM", "FEDERATED", "BLACKHOLE", "CONNECT", "OQGRAPH", "SPHINX", "SPIDER"}
_GRANT = re.compile(r"GRANT (?P<what>.+?) ON (?:TABLE )?(?P<where>\*\.\*|`(?:[^`]|``)*`\.(?:\*|`proc`)) TO ", re.DOTALL)
# What stays invisible without a privilege, and so is missing in the dump without a word.
_SEEN_BY = {"SELECT": "tables", "TRIGGER": "triggers", "EVENT": "events"}
_ROUTINES = {"SHOW CREATE ROUTINE", "SHOW_ROUTINE", "EXECUTE", "ALTER ROUTINE", "CREATE ROUTINE"}


class Version(t.NamedTuple):
    """A version of MariaDB or MySQL; a series is what each of them calls a release: 10.11, 11.4, 8.0."""

    mariadb: bool
    text: str

    @property
    def series(self) -> tuple[int, ...]:
        """The first two numbers."""
        return tuple(int(part) for part in self.text.split(".")[:2])

    @property
    def maker(self) -> str:
        """For a person."""
        return "MariaDB" if self.mariadb else "MySQL"


class Survey(t.NamedTuple):
    """`excluded` and `unprotected` (rows that no snapshot covers) are names of tables; `history` is there when a table has one."""

    excluded: list[str]
    unprotected: list[str]
    history: bool
    events: bool
    hidden: list[str]


def version(text: str) -> Version:
    """Out of `SELECT @@version`, or of what a client says to `--version`; RunbookError when there is none in it.

    MariaDB's clients have a version of their own ("Ver 10.19 Distrib 10.11.6-MariaDB", "from 11.4.2-MariaDB, client 15.2").
    """
    found = re.search(r"(?:Distrib|from) (\d+\.\d+\.\d+)", text) or re.search(r"(\d+\.\d+\.\d+)", text)
    if found is None:
        raise RunbookError(f"{text.strip()!r} names no version. Install mariadb-client, or MySQL's own client.")
    return Version("mariadb" in text.lower(), found[1])


def suitable(client: Version, server: Version) -> str | None:
    """What to know of a dump of `server` by `client`; RunbookError when it would lack something without a word."""
    if server.mariadb and not client.mariadb:
        raise RunbookError(
            f"mysqldump of MySQL {client.text} knows neither sequences nor the history of tables, which MariaDB has. "
            "Install the package mariadb-client."
        )
    if client.mariadb == server.mariadb and client.series < server.series:
        raise RunbookError(
            f"the dump program of {client.maker} {client.text} is older than the server ({server.text}) and does not know "
            f"all that it has. Install the client of {server.maker} {'.'.join(map(str, server.series))}."
        )
    if client.mariadb != server.mariadb:
        return f"mariadb-dump {client.text} is not the own program of MySQL {server.text}: only verify: restored tells whether its copy can be restored"
    return None


def survey(source: Source, server: t.Mapping[str, str], work: Work) -> Survey:
    """Look at the database that is to be dumped; `server` is what the query SERVER gave."""
    tables = ask(source, _TABLES, work)
    excluded = [row["name"] for row in tables if matches(row["name"], source["exclude"])]
    kept = [row for row in tables if row["name"] not in set(excluded)]
    if not kept:
        raise RunbookError(
            f"database {source['database']}: there is no table that this user may read and `exclude` leaves. "
            "Correct database, user or exclude, or take the source out."
        )
    unprotected = [
        row["name"]
        for row in kept
        if row["type"] != "VIEW" and row["transactional"] != "YES" and row["engine"].upper() not in _NO_ROWS
    ]
    hidden = invisible([next(iter(row.values())) for row in ask(source, "SHOW GRANTS;", work)], source["database"])
    return Survey(
        excluded, unprotected, any(row["type"] == "SYSTEM VERSIONED" for row in kept), server["events"] != "0", hidden
    )


def invisible(grants: t.Sequence[str], database: str) -> list[str]:
    """Kinds of objects of which the user may have none shown, by the lines of SHOW GRANTS."""
    held: set[str] = set()
    for line in grants:
        found = _GRANT.match(line)
        if found is None:
            if " ON " not in line and not line.startswith("GRANT PROXY"):
                # A role: MySQL does not say what comes with it.
                return []
            continue
        what = {re.sub(r" \(.*", "", each).strip().upper() for each in found["what"].split(",")}
        schema, _dot, table = found["where"].rpartition(".")
        if found["where"] == "*.*" or (table == "*" and _like(schema[1:-1].replace("``", "`"), database)):
            held |= what
            if found["where"] == "*.*" and what & {"SELECT", "ALL PRIVILEGES"}:
                held.add("SHOW_ROUTINE")
        elif schema == "`mysql`" and what & {"SELECT", "ALL PRIVILEGES"}:
            held.add("SHOW_ROUTINE")
    if "ALL PRIVILEGES" in held:
        return []
    return [kind for name, kind in _SEEN_BY.items() if name not in held] + ([] if held & _ROUTINES else ["routines"])


def ask(source: Source, sql: str, work: Work, **connection: t.Any) -> list[dict[str, str]]:
    """The rows of one query, limited in time; `connection` replaces options of the source."""
    limit = min(each for each in (QUERY_SECONDS, work.seconds()) if each is not None)
    return mysql.rows(answer({**source, **connection}, mysql.limited(sql, limit), work, limit))


def answer(source: Source, sql: str, work: Work, limit: float | None, *options: str) -> str:
    """What the client prints for these statements, untouched: the command gateway blots out the password, which may be part of a name or number."""
    database = [f"--database={source['database']}"] if source.get("database") else []
    argv = [*client(source), *database, *options]
    found: list[bytes] = []

    def talk(requests: t.IO[bytes], answers: t.IO[bytes]) -> None:
        with contextlib.suppress(BrokenPipeError):
            requests.write(sql.encode())
            requests.close()
        found.append(answers.read())

    try:
        work.commands.converse([argv], talk, **place(source), timeout=limit)
    except CommandFailed as error:
        if "--force" not in options or error.rc != 1 or set(ERROR.findall(error.stderr)) - PASSED_OVER:
            raise
    return found[0].decode(errors="replace") if found else ""


def client(source: Source) -> list[str]:
    """The client that executes what it reads.

    `--binary-mode` leaves it no commands of its own, such as those for a shell. Without `--comments` it takes comments out of
    the bodies of routines, and breaks those of triggers, which stand in a comment themselves.
    """
    return [
        *mysql.client("mariadb", source), *mysql.arguments(source), "--batch", "--binary-mode", "--comments",
        "--default-character-set=utf8mb4", f"--connect-timeout={mysql.CONNECT_SECONDS}",
    ]  # fmt: skip


def place(source: Source) -> dict[str, t.Any]:
    """Where, as whom and with which secrets a client runs, for the command gateway."""
    return {"target": mysql.target(source), "secrets": mysql.secrets(source)}


def matches(name: str, patterns: t.Sequence[str]) -> bool:
    """Whether one of the shell patterns fits the whole name."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _like(pattern: str, name: str) -> bool:
    """In a grant on a database `_` and `%` stand for others, unless a backslash is before them."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    words = {"%": ".*", "_": "."}
    return re.fullmatch("".join(words.get(part) or re.escape(part[-1]) for part in parts), name, re.DOTALL) is not None
