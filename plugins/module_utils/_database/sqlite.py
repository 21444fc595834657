# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SQLite: VACUUM of the file, ANALYZE of its tables, indexes in one short transaction each."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._database._sqlite_indexes import create, survey
from ansible_collections.sre.runbooks.plugins.module_utils._database._sqlite_vacuum import apply, examine, look

__all__ = ["OPTIONS", "apply", "check", "create", "examine", "look", "survey"]
OPTIONS: dict[str, t.Any] = {"path": {"type": "path", "required": True}}


def check(source: dict[str, t.Any], where: str) -> None:
    """Relative paths would depend on the folder that Ansible happens to start in."""
    if not os.path.isabs(source["path"]):
        raise InputError(f"{where}.path", source["path"], "is no absolute path", "Write it from the root on.")
