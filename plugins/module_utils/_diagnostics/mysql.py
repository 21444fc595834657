# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""MariaDB and MySQL: sessions, transactions, who blocks whom, settings that are no defaults, sizes, slow statements. No value of a statement is kept."""

from __future__ import annotations

import functools
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import mysql
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._database._normalise import normalised
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics import _databases

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.entries import Item
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._settings import Settings
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._work import Work

COLLECTS = "sessions, transactions, blocking chains, settings, sizes, slow statements"
OPTIONS: dict[str, t.Any] = mysql.CONNECTION
# The same question for both servers where their tables differ: the first that the server knows is used.
QUERIES: dict[str, tuple[str, ...]] = {
    "server": ("SELECT version() AS version, @@hostname AS host, @@read_only AS read_only, @@max_connections AS max_connections",),
    "status": ("SHOW GLOBAL STATUS",),
    "sessions": (("SELECT id, user, host, db, command, time, state, info AS query FROM information_schema.processlist "
                 "WHERE id <> connection_id() ORDER BY time DESC LIMIT 500"),),
    "transactions": (("SELECT trx_id, trx_state, trx_started, trx_mysql_thread_id AS thread, timestampdiff(SECOND, trx_started, now()) AS seconds, "
                     "trx_rows_locked, trx_rows_modified, trx_isolation_level, trx_query AS query FROM information_schema.innodb_trx LIMIT 500"),),
    "waits": (
        ("SELECT w.requesting_trx_id, r.trx_mysql_thread_id AS waiting, b.trx_mysql_thread_id AS blocking, l.lock_table, l.lock_mode "
         "FROM information_schema.innodb_lock_waits w JOIN information_schema.innodb_trx r ON r.trx_id = w.requesting_trx_id "
         "JOIN information_schema.innodb_trx b ON b.trx_id = w.blocking_trx_id "
         "LEFT JOIN information_schema.innodb_locks l ON l.lock_id = w.requested_lock_id LIMIT 500"),
        ("SELECT w.requesting_engine_transaction_id, r.trx_mysql_thread_id AS waiting, b.trx_mysql_thread_id AS blocking "
         "FROM performance_schema.data_lock_waits w JOIN information_schema.innodb_trx r ON r.trx_id = w.requesting_engine_transaction_id "
         "JOIN information_schema.innodb_trx b ON b.trx_id = w.blocking_engine_transaction_id LIMIT 500"),
    ),
    "settings": (
        ("SELECT variable_name, global_value, global_value_origin, default_value FROM information_schema.system_variables "
         "WHERE global_value_origin <> 'COMPILE-TIME' OR NOT global_value <=> default_value"),
        "SELECT variable_name, variable_source, variable_path FROM performance_schema.variables_info WHERE variable_source <> 'COMPILED'",
    ),
    "tables": (("SELECT table_schema AS `schema`, table_name AS name, engine, table_rows, data_length + index_length AS size_bytes, data_free "
                "FROM information_schema.tables WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('mysql', 'sys', 'performance_schema', "
                "'information_schema') ORDER BY 5 DESC LIMIT 500"),),
    "statements": (("SELECT schema_name, digest_text AS query, count_star, round(sum_timer_wait / 1e9) AS total_ms, round(avg_timer_wait / 1e9, 2) AS mean_ms, "
                    "sum_rows_examined, sum_no_index_used FROM performance_schema.events_statements_summary_by_digest ORDER BY sum_timer_wait DESC LIMIT 50"),),
    "replication": ("SHOW REPLICA STATUS", "SHOW SLAVE STATUS"),
}  # fmt: skip
_UNKNOWN = ("1109", "1146", "1064", "1054")


def check(source: dict[str, t.Any], where: str) -> None:
    """Sessions and sizes are those of the server: no database has to be named."""


def would(settings: Settings) -> list[str]:
    """The databases."""
    return _databases.names("mysql", settings)


def collect(work: Work) -> None:
    """Every server by itself."""
    _databases.each(work, _one)


def _one(work: Work, item: Item) -> None:
    answers = _databases.sections(
        work, item, {name: functools.partial(_rows, work, item, sql) for name, sql in QUERIES.items()}
    )
    sessions = {int(row["id"]): row for row in answers.get("sessions", ())}
    waits: dict[int, list[int]] = {}
    for row in answers.get("waits", ()):
        waits.setdefault(int(row["waiting"]), []).append(int(row["blocking"]))
    with work.part(f"mysql/{item.name}/blocking.txt") as part:
        part.text(
            "\n".join(_databases.chains(waits, functools.partial(_told, sessions)))
            or "nobody waits for a lock of InnoDB"
        )


def _rows(work: Work, item: Item, asked: t.Sequence[str]) -> list[dict[str, t.Any]]:
    source = {**item.source, "database": None}
    problem: RunbookError | None = None
    for sql in asked:
        try:
            text = mysql.query(work.commands, source, f"{sql};", min(_databases.SECONDS, work.left())).stdout
        except RunbookError as error:
            problem = error
            if not any(code in str(error) for code in _UNKNOWN):
                raise
            continue
        return [_row(row) for row in mysql.rows(text)]
    raise problem or RunbookError("nothing was asked")


def _row(row: dict[str, str]) -> dict[str, t.Any]:
    """Names of columns are the server's matter: some write them in capitals."""
    found: dict[str, t.Any] = {name.lower(): value for name, value in row.items()}
    if found.get("query"):
        found["query"] = None if found["query"] == "NULL" else normalised(found["query"], "string")
    return found


def _told(sessions: t.Mapping[int, t.Mapping[str, t.Any]], thread: int) -> str:
    row = sessions.get(thread)
    if row is None:
        return f"thread {thread}"
    return f"thread {thread} {row['user']}@{row['host']} {row['db']} ({row['command']}, {row['time']} s, {row['state']}): {row['query']}"
