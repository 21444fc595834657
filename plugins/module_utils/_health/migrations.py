# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Database migrations that are not applied, as Alembic tells."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Target, require
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation, TargetDown

METRICS = ("pending",)
OPTIONS: dict[str, t.Any] = {
    "directory": {"type": "path", "required": True},
    "command": {"type": "list", "elements": "str", "default": ["alembic"]},
    "environment": {"type": "dict", "default": {}, "no_log": True},
    "run_as": {"type": "str"},
}
DEFAULT_BOUNDS: dict[str, t.Any] = {"pending": {"critical": "> 0"}}
INHERENT = True
# Looking leaves no compiled files in the application's folders.
QUIET = {"PYTHONDONTWRITEBYTECODE": "1"}
# `a, b (dep) -> c (label) (head) (current) (mergepoint), message`, or `<base> -> a`: alembic.script.base.Script.cmd_format
LINE = re.compile(
    r"(?P<down><base>|[\w@+.-]+(?:, [\w@+.-]+)*)(?: \((?P<needs>[^)]*)\))? -> (?P<name>[\w.-]+)(?P<tags>(?: \([^)]*\))*)(?:, |$)"
)
# What Alembic says of mistakes in its own set-up; all else is the database.
SET_UP = (
    "No config file",
    "No 'script_location' key",
    "Path doesn't exist",
    "No such option",
    "unrecognized arguments",
)


class Revision(t.NamedTuple):
    """A migration: what must be applied before it, and whether it is a head or the database's current one."""

    before: tuple[str, ...]
    head: bool
    current: bool


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
    directory, program = options["directory"], options["command"][0]
    if not os.path.isdir(directory):
        raise RunbookError(f"directory: {directory} is no folder. Name the one that holds alembic.ini.")
    if "/" in program:
        program = os.path.join(directory, program)
    require(program)
    argv = ["env", f"--chdir={directory}", program, *options["command"][1:]]
    found = revisions(_alembic([*argv, "history", "--indicate-current"], options, host))
    if not any(revision.current for revision in found.values()):
        # The history is silent on a revision that the code does not know; this command fails.
        _alembic([*argv, "current"], options, host)
    return [judged(found, directory)]


def _alembic(argv: t.Sequence[str], options: t.Mapping[str, t.Any], host: Host) -> str:
    """What Alembic prints; its own set-up cannot be used (`RunbookError`), or the database cannot (`TargetDown`)."""
    result = host.commands.run(
        argv, target=Target(options["run_as"]), environment=QUIET, timeout=options["timeout"], check=False,
        secrets={name: str(value) for name, value in options["environment"].items()},
    )  # fmt: skip
    if result.rc == 0:
        return result.stdout
    # Alembic's own errors stand on its output.
    told = "\n".join(line for line in result.stdout.splitlines() if line.startswith("FAILED: "))
    error = CommandFailed("alembic", result.rc, told or result.stderr, options["timeout"])
    if any(words in told for words in SET_UP):
        raise RunbookError(f"{options['directory']}: {error}") from error
    raise TargetDown(f"{options['directory']}: {error}") from error


def revisions(text: str) -> dict[str, Revision]:
    """Read `alembic history --indicate-current`: a line for each revision; what a program of the user's prints is passed over."""
    found = {}
    for line in text.splitlines():
        match = LINE.match(line)
        if match is None:
            continue
        downs = [] if match["down"] == "<base>" else match["down"].split(", ")
        needs = match["needs"].split(", ") if match["needs"] else []
        tags = match["tags"]
        found[match["name"]] = Revision(
            (*downs, *needs), "(head)" in tags or "(effective head)" in tags, "(current)" in tags
        )
    return found


def pending(found: t.Mapping[str, Revision]) -> list[str]:
    """Revisions that the database has not, the newest first: all but its current ones and what is before those."""
    applied: set[str] = set()
    todo = [name for name, revision in found.items() if revision.current]
    while todo:
        name = todo.pop()
        if name in found and name not in applied:
            applied.add(name)
            todo.extend(found[name].before)
    return [name for name in found if name not in applied]


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
