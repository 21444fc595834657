# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""MariaDB and MySQL: CHECK, ANALYZE and, when asked for, OPTIMIZE of tables; indexes made in place without a lock."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import mysql
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._database._mysql_indexes import create, survey
from ansible_collections.sre.runbooks.plugins.module_utils._database._mysql_vacuum import apply, examine, look

__all__ = ["OPTIONS", "apply", "check", "create", "examine", "look", "survey"]
OPTIONS: dict[str, t.Any] = dict(mysql.CONNECTION)


def check(source: dict[str, t.Any], where: str) -> None:
    """The database is called as the entry, unless told."""
    source["database"] = source["name"] if source["database"] is None else source["database"]
    if not source["database"]:
        raise InputError(f"{where}.database", source["database"], "is no name of a database", "Give its name.")
