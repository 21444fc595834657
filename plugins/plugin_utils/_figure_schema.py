# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The history store's tables of figures: what the hosts of a system measured in a run, put together when it is recorded.

A report of a quarter reads these, a few hundred rows a run, and not the outcomes of a thousand hosts.
"""

from __future__ import annotations

import contextlib
import typing as t

# _schema.py says what is missing without it.
with contextlib.suppress(ImportError):
    import sqlalchemy as sa

IS_BAD = "status IN ('unknown', 'warning', 'critical')"
"""The condition of the index of bad outcomes; a query that has it, word for word, uses the index."""

COUNTS = ("ok", "skipped", "unknown", "warning", "critical")


def tables(metadata: sa.MetaData) -> tuple[sa.Table, sa.Table]:
    """Return `run_figures` (what a metric's values were) and `run_statuses` (how many outcomes had which status)."""
    figures = sa.Table(
        "run_figures",
        metadata,
        *_keys("metric"),
        # The first metric of its outcomes, the one that a person asks for.
        sa.Column("main", sa.Boolean, nullable=False),
        sa.Column("observations", sa.Integer, nullable=False),
        sa.Column("total", sa.Double, nullable=False),
        sa.Column("spread", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    statuses = sa.Table(
        "run_statuses",
        metadata,
        *_keys(),
        *(sa.Column(name, sa.Integer, nullable=False) for name in COUNTS),
        sqlite_with_rowid=False,
    )
    return figures, statuses


def _keys(*more: str) -> list[sa.Column[t.Any]]:
    return [
        sa.Column("run", sa.Integer, sa.ForeignKey("runs.number"), primary_key=True),
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("system", "stage", "subject", *more)),
    ]


def create(connection: sa.Connection, figures: sa.Table, statuses: sa.Table) -> None:
    """Make the tables, and an index of the few outcomes that are bad, in which issues are found."""
    figures.metadata.create_all(connection, tables=[figures, statuses])
    # With these columns it answers by itself, without the table.
    columns = "run, host, stage, subject, ordinal, system"
    connection.exec_driver_sql(f"CREATE INDEX outcomes_bad ON outcomes ({columns}) WHERE {IS_BAD}")
