# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How Alembic is called and what it tells of migrations: shared by health checks and the module migration."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Target, require
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, RunbookError

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

# Looking leaves no compiled files in the application's folders.
QUIET = {"PYTHONDONTWRITEBYTECODE": "1"}
# `a, b (dep) -> c (label) (head) (current) (mergepoint), message`, or `<base> -> a`: alembic.script.base.Script.cmd_format
LINE = re.compile(
    r"(?P<down><base>|[\w@+.-]+(?:, [\w@+.-]+)*)(?: \((?P<needs>[^)]*)\))? -> (?P<name>[\w.-]+)(?P<tags>(?: \([^)]*\))*)(?:, |$)"
)
# What Alembic says of mistakes in its own set-up; all else is the database or a migration.
SET_UP = (
    "No config file",
    "No 'script_location' key",
    "Path doesn't exist",
    "No such option",
    "unrecognized arguments",
)
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*\.?[A-Za-z_]\w*: ")
# A shorter value of a variable, such as `1`, is no secret, and would be blotted out of everything that is read.
SECRET_LENGTH = 8


class Unsuccessful(RunbookError):
    """Alembic ran, but the database or a migration did not let it do what it was asked."""


class Revision(t.NamedTuple):
    """A migration: what must be applied before it, and whether it is a head or the database's current one."""

    before: tuple[str, ...]
    head: bool
    current: bool


class Project(t.NamedTuple):
    """An application's migrations: the folder of alembic.ini, the words that start alembic, and its variables."""

    directory: str
    command: t.Sequence[str]
    environment: t.Mapping[str, str]
    run_as: str | None


def call(commands: Commands, project: Project, words: t.Sequence[str], timeout: float | None) -> str:
    """What Alembic prints; `Unsuccessful` when the database is the reason, another RunbookError when its set-up is."""
    directory, program = project.directory, project.command[0]
    if not os.path.isdir(directory):
        raise RunbookError(f"directory: {directory} is no folder. Name the one that holds alembic.ini.")
    if "/" in program:
        program = os.path.join(directory, program)
    require(program)
    hidden = {name: value for name, value in project.environment.items() if len(value) >= SECRET_LENGTH}
    plain = {name: value for name, value in project.environment.items() if name not in hidden}
    result = commands.run(
        ["env", f"--chdir={directory}", program, *project.command[1:], *words], target=Target(project.run_as),
        environment={**QUIET, **plain}, secrets=hidden, timeout=timeout, check=False,
    )  # fmt: skip
    if result.rc == 0:
        return result.stdout
    # Alembic's own errors stand on its output.
    told = "\n".join(line for line in result.stdout.splitlines() if line.startswith("FAILED: "))
    error = CommandFailed("alembic", result.rc, told or _problem(result.stderr), timeout)
    if any(text in told for text in SET_UP):
        raise RunbookError(f"{directory}: {error}") from error
    raise Unsuccessful(f"{directory}: {error}") from error


def _problem(text: str) -> str:
    """Of a traceback the line that names the exception: the last that is neither indented nor an addition of SQLAlchemy's."""
    lines = [line for line in text.splitlines() if _EXCEPTION.match(line)]
    return lines[-1] if lines else text


def observe(commands: Commands, project: Project, timeout: float | None) -> dict[str, Revision]:
    """All revisions, and which of them the database is at, the newest first."""
    found = revisions(call(commands, project, ["history", "--indicate-current"], timeout))
    if not any(revision.current for revision in found.values()):
        # The history is silent on a revision that the code does not know; this command fails.
        call(commands, project, ["current"], timeout)
    return found


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


def current(found: t.Mapping[str, Revision]) -> list[str]:
    """The revisions that the database is at, by name."""
    return sorted(name for name, revision in found.items() if revision.current)


def heads(found: t.Mapping[str, Revision]) -> list[str]:
    """The revisions that nothing follows."""
    return [name for name, revision in found.items() if revision.head]


def pending(found: t.Mapping[str, Revision], target: t.Sequence[str] | None = None) -> list[str]:
    """Revisions that the database has not, the newest first, of all or of those that lead to `target`."""
    applied = _with_all_before(found, current(found))
    wanted = found if target is None else _with_all_before(found, target)
    return [name for name in found if name in wanted and name not in applied]


def _with_all_before(found: t.Mapping[str, Revision], names: t.Iterable[str]) -> set[str]:
    seen: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name in found and name not in seen:
            seen.add(name)
            todo.extend(found[name].before)
    return seen
