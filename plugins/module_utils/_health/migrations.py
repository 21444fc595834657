# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Database migrations that are not applied, as Alembic tells."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import alembic
from ansible_collections.sre.runbooks.plugins.module_utils._core.alembic import Revision, pending, revisions
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError, TargetDown
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation

__all__ = ["Revision", "judged", "observe", "pending", "refuse", "revisions"]
METRICS = ("pending",)
OPTIONS: dict[str, t.Any] = {
    "directory": {"type": "path", "required": True},
    "command": {"type": "list", "elements": "str", "default": ["alembic"]},
    "environment": {"type": "dict", "default": {}, "no_log": True},
    "run_as": {"type": "str"},
}
DEFAULT_BOUNDS: dict[str, t.Any] = {"pending": {"critical": "> 0"}}
INHERENT = True


def refuse(options: t.Mapping[str, t.Any]) -> None:
    """A command of at least one word, and variables that an environment can hold."""
    if not options["command"]:
        raise InputError(
            "command", options["command"], "is empty", "Write the words that start alembic, or leave it out."
        )
    for name in options["environment"]:
        if not re.fullmatch(r"[A-Za-z_]\w*", str(name)):
            raise InputError("environment", name, "is no variable's name", "Use letters, digits and underscores.")


def observe(options: t.Mapping[str, t.Any], host: Host) -> list[Observation]:
    """One call tells all revisions, and which of them the database is at."""
    directory = options["directory"]
    environment = {name: str(value) for name, value in options["environment"].items()}
    project = alembic.Project(directory, options["command"], environment, options["run_as"])
    try:
        found = alembic.observe(host.commands, project, options["timeout"])
    except alembic.Unsuccessful as error:
        raise TargetDown(str(error)) from error
    return [judged(found, directory)]


def judged(found: t.Mapping[str, Revision], directory: str) -> Observation:
    """Heads that went apart are a warning as long as they are not all applied: `alembic upgrade head` refuses them."""
    if not found:
        raise RunbookError(
            f"{directory}: alembic tells of no migration. Name the folder of the application's alembic.ini."
        )
    missing = pending(found)
    heads = [name for name, revision in found.items() if revision.head]
    current = [name for name, revision in found.items() if revision.current]
    details = {"current": current, "heads": heads, "pending": missing[:20]}
    at = f"the database is at {', '.join(current)}" if current else "the database is at no revision"
    if not missing:
        return Observation({"pending": 0}, f"{at}: all {len(found)} migrations are applied", details=details)
    shown = ", ".join(reversed(missing[-5:])) + (", …" if len(missing) > 5 else "")
    summary = f"{at}, {len(missing)} of {len(found)} migrations are not applied: {shown}"
    if len(heads) > 1:
        return Observation(
            {"pending": len(missing)}, f"there are {len(heads)} heads ({', '.join(heads)}): merge them; {summary}", "warning",
            details=details,
        )  # fmt: skip
    return Observation({"pending": len(missing)}, summary, details=details)
