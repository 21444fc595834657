# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One project: a proven backup first, a rehearsal on a copy of it, the upgrade, its proof, and on failure the way back.

What a run has begun stands in a journal in the state folder until the database is at one end or the other, so that a run
after a kill knows where the database was, what it looked like, and which copy is the way back.
"""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _catalog
from ansible_collections.sre.runbooks.plugins.module_utils._core import alembic
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Target
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration
from ansible_collections.sre.runbooks.plugins.module_utils._migration import _rehearse, _schema, _settings
from ansible_collections.sre.runbooks.plugins.module_utils._migration._journal import Journal

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

STAGE = "migration"
NAMED = 20


class Result(t.NamedTuple):
    """What became of one project; `due` is the database that a backup is needed of, `before` and `after` its revisions."""

    outcome: dict[str, t.Any]
    changed: bool = False
    due: str | None = None
    before: str = ""
    after: str = ""


class Failure(RunbookError):
    """The upgrade or its proof failed: there is a way back to go."""


class Case:
    """One project on its way."""

    def __init__(
        self,
        plan: _settings.Plan,
        settings: _settings.Settings,
        project: alembic.Project,
        commands: Commands,
        state_dir: str,
    ) -> None:
        self.plan = plan
        self.settings = settings
        self.project = project
        self.commands = commands
        self.state_dir = state_dir
        self.document = f"{STAGE}-{plan.name}"

    def tell(self) -> Result:
        """What a run finds, and in check mode what it would do."""
        found = self._observe()
        todo = self._todo(found)
        journal = self._journal().entry
        if not todo:
            return self._nothing(found, journal)
        text = f"{_at(found)}, {len(todo)} of {len(found)} migrations are not applied: {_named(todo)}"
        details = self._details(found, todo)
        due = None if self.plan.item is None else self.plan.item.name
        if not self.settings.upgrade:
            text += _interrupted(journal)
            return Result(self._outcome("warning", text, {"pending": len(todo)}, details), False, due)
        copy, why = self._copy(journal)
        text += "; would upgrade, " + (f"with {os.path.basename(copy.path)} as the way back" if copy else f"but {why}")
        status = "ok" if copy else "warning"
        outcome_ = self._outcome(status, text, {"pending": len(todo)}, details)
        return Result(outcome_, True, due, *self._ends(found, todo))

    def migrate(self) -> Result:
        """Upgrade, or tell why not; whatever fails on the way leads back."""
        found = self._observe()
        todo = self._todo(found)
        journal = self._journal()
        if not todo:
            result = self._nothing(found, journal.entry)
            journal.end(self.plan.keep_seconds)
            return result
        _settings.same_database(self.plan, self.project.environment)
        copy, why = self._copy(journal.entry)
        if copy is None:
            text = f"{_at(found)}, {len(todo)} migrations are not applied, and nothing was done: {why}"
            return Result(self._outcome("critical", text, {"pending": len(todo)}, self._details(found, todo)))
        schema = self._schema()
        rehearsed = None
        if journal.entry:
            self._half_way(journal, found, schema)
        else:
            rehearsed = self._rehearse(copy, found) if self.plan.options["rehearse"] else None
            journal.begin(alembic.current(found), copy.path, schema)
        return self._upgrade(found, todo, journal, rehearsed)

    def _upgrade(
        self,
        found: t.Mapping[str, alembic.Revision],
        todo: list[str],
        journal: Journal,
        rehearsed: _rehearse.Rehearsed | None,
    ) -> Result:
        started = time.monotonic()
        metrics = {"pending": 0.0, "applied": float(len(todo))}
        details = {**self._details(found, todo), "copy": journal.entry["copy"]}
        if rehearsed is not None:
            metrics["rehearsal_seconds"] = round(rehearsed.seconds, 3)
            details["rehearsed"] = {
                "back": rehearsed.back,
                **({"problem": rehearsed.problem} if rehearsed.problem else {}),
            }
        try:
            self._call("upgrade", self.plan.options["target"])
            after = self._proof()
        except RunbookError as error:
            return self._way_back(journal, error, rehearsed, details)
        seconds = time.monotonic() - started
        journal.end(self.plan.keep_seconds)
        metrics["duration_seconds"] = round(seconds, 3)
        details["current"] = alembic.current(after)
        text = f"{_at(after)}: {len(todo)} migrations applied in {show_duration(seconds)}"
        if rehearsed is not None:
            back = "and back" if rehearsed.back else f"but not back ({rehearsed.problem}), which leaves the backup"
            text += f", rehearsed {back}"
        return Result(self._outcome("ok", text, metrics, details), True, None, *self._ends(found, todo))

    def _proof(self) -> dict[str, alembic.Revision]:
        """The database is where it should be, and the user's own command is content."""
        after = self._observe()
        left = self._todo(after)
        if left:
            raise Failure(f"after the upgrade {len(left)} migrations are still not applied: {_named(left)}")
        argv = self.plan.options["verify"]
        if argv:
            environment = self.project.environment
            try:
                self.commands.run(
                    ["env", f"--chdir={self.project.directory}", *argv], target=Target(self.project.run_as),
                    secrets=environment, timeout=self.plan.seconds,
                )  # fmt: skip
            except CommandFailed as error:
                raise Failure(f"verify: {error}") from error
        return after

    def _way_back(
        self,
        journal: Journal,
        error: RunbookError,
        rehearsed: _rehearse.Rehearsed | None,
        details: dict[str, t.Any],
    ) -> Result:
        """Downgrade where that leads to what was there before; else name the copy that does."""
        origin = list(journal.entry["from"])
        moved, problem = False, ""
        try:
            now = alembic.current(self._observe())
            moved = now != origin
            if moved:
                self._downgrade(origin, rehearsed)
                now = alembic.current(self._observe())
            problem = "" if now == origin else f"the database is at {', '.join(now) or 'no revision'}"
            changed = _schema.differences(journal.entry["schema"], self._schema())
            if changed and not problem:
                problem = f"other than before are {', '.join(changed[:3])}"
        except RunbookError as further:
            problem = str(further)
        place = ", ".join(origin) or "no revision"
        if not problem:
            journal.end(self.plan.keep_seconds)
            text = f"the upgrade failed: {error}; {'it went back to' if moved else 'the database is still at'} {place}, as it was before"
            return Result(self._outcome("critical", text, {}, details), moved)
        journal.fail(str(error))
        name = self.plan.item.name if self.plan.item else self.plan.name
        details["restore"] = {"name": name, "from": journal.entry["copy"]}
        text = (
            f"the upgrade failed: {error}; the way back failed too: {problem}. Restore {journal.entry['copy']} with "
            f"sre.runbooks.restore (name: {name}, from: that path)"
        )
        return Result(self._outcome("critical", text, {}, details), True)

    def _downgrade(self, origin: list[str], rehearsed: _rehearse.Rehearsed | None) -> None:
        if not self.plan.options["downgrade"]:
            raise RunbookError("downgrades are not wanted")
        if rehearsed is not None and not rehearsed.back:
            raise RunbookError(f"the rehearsed downgrade did not lead back: {rehearsed.problem}")
        if len(origin) > 1:
            raise RunbookError(f"the database was at several revisions: {', '.join(origin)}")
        self._call("downgrade", origin[0] if origin else "base")

    def _half_way(self, journal: Journal, found: t.Mapping[str, alembic.Revision], schema: dict[str, str]) -> None:
        """A way back that failed once is not tried again over and over: somebody has to restore first."""
        entry = journal.entry
        if not entry.get("failed"):
            return
        restored = alembic.current(found) == entry["from"] and not _schema.differences(entry["schema"], schema)
        if not restored:
            raise RunbookError(
                f"the upgrade begun at {entry['begun']} failed half way ({entry['failed']}). Restore {entry['copy']}; "
                f"or put the database in order and remove {journal.path}"
            )

    def _rehearse(self, copy: _catalog.Copy, found: t.Mapping[str, alembic.Revision]) -> _rehearse.Rehearsed:
        words = (self.plan.options["target"], alembic.current(found))
        try:
            return _rehearse.rehearse(self.plan, self.settings, self.project, copy, self.commands, words)
        except alembic.Unsuccessful as error:
            raise RunbookError(f"the rehearsal on a copy failed, the database is untouched: {error}") from error
        except RunbookError as error:
            raise RunbookError(f"it could not be rehearsed, the database is untouched: {error}") from error

    def _nothing(self, found: t.Mapping[str, alembic.Revision], journal: t.Mapping[str, t.Any]) -> Result:
        text = f"{_at(found)}: nothing to do"
        if journal:
            text += f"; the upgrade begun at {journal['begun']} has come to its end"
        return Result(self._outcome("ok", text, {"pending": 0}, self._details(found, [])))

    def _todo(self, found: t.Mapping[str, alembic.Revision]) -> list[str]:
        """Migrations that lead to the target; heads that went apart have to be merged, or all be wanted."""
        if not found:
            raise RunbookError(
                f"{self.project.directory}: alembic tells of no migration. Name the folder of the application's alembic.ini."
            )
        target = self.plan.options["target"]
        heads = alembic.heads(found)
        if target in ("head", "heads"):
            if target == "head" and len(heads) > 1:
                raise RunbookError(
                    f"there are {len(heads)} heads ({', '.join(heads)}). Merge them, or set target to heads."
                )
            return alembic.pending(found, heads)
        if target not in found:
            raise RunbookError(f"target: {target} is no revision of this project. Use head, heads or one of its ids.")
        return alembic.pending(found, [target])

    def _copy(self, journal: t.Mapping[str, t.Any]) -> tuple[_catalog.Copy | None, str]:
        """The way back: the copy from before an upgrade that a kill cut off, else the newest that is proven and young."""
        item = self.plan.item
        if item is None:
            return None, "no database is named whose backup would be the way back"
        copies = _catalog.folder(self.settings.directory, item.name).copies
        if journal:
            for copy in copies:
                if copy.path == journal["copy"]:
                    return copy, ""
            return None, f"{journal['copy']}, the way back of the upgrade begun at {journal['begun']}, is gone"
        now = time.time()
        good = [copy for copy in copies if copy.good(self.settings.level) and copy.created <= now]
        if not good:
            return (
                None,
                f"there is no backup of {item.name} proven as {self.settings.level} in {self.settings.directory}",
            )
        newest = max(good, key=lambda copy: copy.created)
        age = now - newest.created
        if age > self.settings.max_age:
            limit = show_duration(self.settings.max_age)
            return (
                None,
                f"the newest proven backup of {item.name} is {show_duration(age)} old, more than {limit} (backup_max_age)",
            )
        return newest, ""

    def _observe(self) -> dict[str, alembic.Revision]:
        return alembic.observe(self.commands, self.project, self.plan.seconds)

    def _call(self, *words: str) -> None:
        alembic.call(self.commands, self.project, words, self.plan.seconds)

    def _schema(self) -> dict[str, str]:
        return {} if self.plan.item is None else _schema.read(self.commands, self.plan.item)

    def _journal(self) -> Journal:
        return Journal(self.state_dir, self.document)

    def _outcome(
        self, status: str, text: str, metrics: t.Mapping[str, float], details: t.Mapping[str, t.Any]
    ) -> dict[str, t.Any]:
        return outcome(f"alembic:{self.plan.name}", STAGE, status, text, metrics=metrics, details=details)

    def _details(self, found: t.Mapping[str, alembic.Revision], todo: t.Sequence[str]) -> dict[str, t.Any]:
        return {
            "current": alembic.current(found),
            "heads": alembic.heads(found),
            "pending": list(reversed(todo))[:NAMED],
        }

    def _ends(self, found: t.Mapping[str, alembic.Revision], todo: t.Sequence[str]) -> tuple[str, str]:
        before = ", ".join(alembic.current(found)) or "no revision"
        return f"{self.plan.name}: {before}\n", f"{self.plan.name}: {todo[0]}\n"


def _at(found: t.Mapping[str, alembic.Revision]) -> str:
    return f"the database is at {', '.join(alembic.current(found)) or 'no revision'}"


def _named(todo: t.Sequence[str]) -> str:
    """The next five, in the order in which they are applied."""
    return ", ".join(list(reversed(todo))[:5]) + (", …" if len(todo) > 5 else "")


def _interrupted(journal: t.Mapping[str, t.Any]) -> str:
    return f"; an upgrade begun at {journal['begun']} did not come to its end" if journal else ""
