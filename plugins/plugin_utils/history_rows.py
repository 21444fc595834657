# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rows of the history store: a run as it is written, what is known of each subject's status, and a row read back."""

from __future__ import annotations

import collections
import itertools
import json
import typing as t
from collections.abc import Iterable, Iterator, Sequence

from ansible_collections.sre.runbooks.plugins.plugin_utils._schema import COUNTS, SQLALCHEMY_MISSING, schema
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import ROLL_CALL, HostAnswer, Outcome, Run

if SQLALCHEMY_MISSING is None:
    import sqlalchemy as sa
    from sqlalchemy.dialects import postgresql, sqlite

BAD = ("unknown", "warning", "critical")
BATCH = 500
"""Hosts read or rows written with one statement: below SQLite's limit of parameters, small beside the memory bound."""

SubjectKey = tuple[str, str, str, int]
"""Host, stage, subject, ordinal."""


def keys(host: HostAnswer) -> Iterator[tuple[SubjectKey, Outcome]]:
    """Yield the outcomes of `host` with the key of each; the ordinal counts repetitions of a subject."""
    seen: collections.Counter[tuple[str, str]] = collections.Counter()
    for each in host.outcomes:
        name = (each["stage"], each["subject"])
        yield (host.name, *name, seen[name]), each
        seen[name] += 1


def set_since(connection: sa.Connection, run: Run, number: int, hosts: Sequence[HostAnswer]) -> None:
    """Set `since` in the outcomes of `hosts` and bring `current_status` up to date."""
    table = schema().current
    before: dict[SubjectKey, tuple[str, str]] = {}
    query = sa.select(table.c.host, table.c.stage, table.c.subject, table.c.ordinal, table.c.status, table.c.since)
    for row in connection.execute(query.where(table.c.host.in_([host.name for host in hosts]))):
        before[tuple(row[:4])] = (row.status, row.since)
    now: dict[SubjectKey, Outcome] = {}
    for host in hosts:
        for key, each in keys(host):
            status, since = before.get(key, ("", ""))
            each["since"] = each.get("since") or (since if status == each["status"] else run.started)
            now[key] = each
    # A subject that its stage no longer names is over: should it come back, it begins anew.
    looked_at = {key[:2] for key in now} | {(host.name, ROLL_CALL) for host in hosts}
    gone = [key for key in before if key not in now and key[:2] in looked_at]
    if gone:
        columns = ("host", "stage", "subject", "ordinal")
        connection.execute(
            table.delete().where(*(table.c[name] == sa.bindparam(f"gone_{name}") for name in columns)),
            [{f"gone_{name}": value for name, value in zip(columns, key, strict=True)} for key in gone],
        )
    if now:
        rows = [
            {
                "host": key[0],
                "stage": key[1],
                "subject": key[2],
                "ordinal": key[3],
                "run": number,
                "status": each["status"],
                "since": each["since"],
            }
            for key, each in now.items()
        ]
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        insert = dialect.insert(table)
        upsert = insert.on_conflict_do_update(
            index_elements=["host", "stage", "subject", "ordinal"],
            set_={name: insert.excluded[name] for name in ("run", "status", "since")},
        )
        connection.execute(upsert, rows)


def run_row(run: Run) -> dict[str, t.Any]:
    """Return the row of `runs`, whose number the database gives."""
    return {
        "id": run.id,
        "playbook": run.playbook,
        "started": run.started,
        "finished": run.finished,
        "check_mode": run.check_mode,
        "status": run.status,
        "version": run.version,
        "stages": json.dumps(run.stages),
        "hosts": len(run.hosts),
        "answered": sum(host.answered for host in run.hosts),
        **count(each for host in run.hosts for each in host.outcomes),
    }


def host_row(number: int, host: HostAnswer) -> dict[str, t.Any]:
    """Return the row of `host_runs`."""
    return {
        "run": number,
        "host": host.name,
        "system": host.system,
        "status": host.status,
        "answered": host.answered,
        **count(host.outcomes),
    }


def outcome_rows(number: int, hosts: Iterable[HostAnswer]) -> Iterator[dict[str, t.Any]]:
    """Yield the rows of `outcomes`."""
    for host in hosts:
        for key, each in keys(host):
            yield {
                "run": number, "host": host.name, "stage": key[1], "subject": key[2], "ordinal": key[3], "system": host.system,
                "status": each["status"], "summary": each["summary"], "since": each["since"], "pending": each.get("pending", False),
                "metrics": json.dumps(each["metrics"]), "details": json.dumps(each["details"]),
            }  # fmt: skip


def read_outcome(row: t.Any) -> Outcome:
    """Return the outcome that a row of `outcomes` holds."""
    result = {
        "subject": row.subject,
        "stage": row.stage,
        "status": row.status,
        "summary": row.summary,
        "metrics": json.loads(row.metrics),
        "since": row.since,
        "details": json.loads(row.details),
    }
    return {**result, "pending": True} if row.pending else result


def count(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Count `outcomes` by status; every status has a figure."""
    found = collections.Counter(each["status"] for each in outcomes)
    return {name: found[name] for name in COUNTS}


def batches(values: Iterable[t.Any]) -> Iterator[list[t.Any]]:
    """Yield `values` in lists of at most BATCH."""
    iterator = iter(values)
    while batch := list(itertools.islice(iterator, BATCH)):
        yield batch
