# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL: VACUUM (ANALYZE) table by table, indexes made CONCURRENTLY, slow statements from pg_stat_statements."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import postgresql
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._database._postgresql_indexes import create, survey
from ansible_collections.sre.runbooks.plugins.module_utils._database._postgresql_vacuum import apply, examine, look

__all__ = ["OPTIONS", "apply", "check", "create", "examine", "look", "survey"]
OPTIONS: dict[str, t.Any] = {**postgresql.CONNECTION, "database": {"type": "str"}}


def check(source: dict[str, t.Any], where: str) -> None:
    """The database is called as the entry, unless told. libpq takes a name with `=` or `://` for a connection string."""
    database = source["database"] = source["name"] if source["database"] is None else source["database"]
    if not database or "=" in database or "://" in database:
        raise InputError(
            f"{where}.database",
            database,
            "is no name of a database",
            "Give the name alone; host, port and user are options.",
        )
