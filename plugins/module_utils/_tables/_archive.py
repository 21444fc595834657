# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archive old rows: export, verify, delete, in this order, whatever interrupts it.

A journal in the state folder names the export before it is begun. An export counts when its manifest is there; until
then nothing has been deleted, and the next run begins anew. From then on each run verifies the export and goes on
deleting what it holds: rows that are gone are left out, rows that have changed stay.
"""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import files, lock, state
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import Busy, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import envelope, outcome
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size
from ansible_collections.sre.runbooks.plugins.module_utils._tables import (
    _archive_delete,
    _archive_export,
    _archive_plan,
)
from ansible_collections.sre.runbooks.plugins.module_utils._tables._archive_export import Manifest
from ansible_collections.sre.runbooks.plugins.module_utils._tables._archive_plan import Plan
from ansible_collections.sre.runbooks.plugins.module_utils._tables._archive_settings import Settings, Task
from ansible_collections.sre.runbooks.plugins.module_utils._tables._engine import Work

STAGE = "archive"


class Result(t.NamedTuple):
    """What became of one table; `before` and `after` describe its rows."""

    outcome: dict[str, t.Any]
    changed: bool = False
    before: str = ""
    after: str = ""


def run(settings: Settings, commands: Commands, dry: bool) -> dict[str, t.Any]:
    """Return the envelope; a table that cannot be archived keeps no other from it."""
    umask = os.umask(0o077)
    try:
        results = [_one(settings, task, commands, dry) for task in settings.tasks]
    finally:
        os.umask(umask)
    return envelope(
        [result.outcome for result in results],
        any(result.changed for result in results),
        diff={"before": "".join(each.before for each in results), "after": "".join(each.after for each in results)},
    )


def _one(settings: Settings, task: Task, commands: Commands, dry: bool) -> Result:
    seconds = task.limits.seconds
    work = Work(commands, None if seconds is None else time.monotonic() + seconds, task.lock_seconds)
    try:
        if dry:
            return _would(settings, task, work)
        with lock.hold(os.path.join(settings.state_dir, "locks"), f"archive_{task.item.name}_{task.slug}"):
            return _archive(settings, task, work)
    except Busy as error:
        return Result(outcome(task.subject, STAGE, "warning", f"not started: {error}", details={"busy": True}))
    except (RunbookError, OSError) as error:
        text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
        return Result(outcome(task.subject, STAGE, "critical", f"not archived: {text}"))


def journal_name(task: Task) -> str:
    """The name of the task's document in the state folder."""
    return f"archive_{task.item.name}_{task.slug}"


def _pending(settings: Settings, task: Task) -> tuple[dict[str, t.Any], Manifest | None]:
    """The journal of a run that did not end, and its export when that was finished."""
    journal = state.load(settings.state_dir, journal_name(task))
    path = journal.get("path")
    if not journal:
        return {}, None
    counts = [journal.get(key, 0) for key in ("position", "deleted", "gone", "changed")]
    if not isinstance(path, str) or not all(isinstance(each, int) for each in counts):
        raise state.unreadable(settings.state_dir, journal_name(task), "it is no journal of an archive")
    return journal, _archive_export.load(path)


def _would(settings: Settings, task: Task, work: Work) -> Result:
    """What a run would do."""
    journal, manifest = _pending(settings, task)
    if manifest is not None:
        left = manifest.rows - int(journal.get("position", 0))
        text = f"would verify {manifest.path} and go on to delete {left} rows that are in it"
        return Result(outcome(task.subject, STAGE, "ok", text, details={"path": manifest.path}), True)
    plan = _archive_plan.look(task, work)
    problem = plan.refusal(task)
    if problem:
        return Result(outcome(task.subject, STAGE, "critical", f"would be refused: {problem}", details=plan.details()))
    if not plan.rows:
        return _nothing(task, plan, 0)
    text = f"would export {plan.text()}, verify the export, then delete them in batches of {task.batch}"
    before = f"{task.subject}: {plan.total} rows\n"
    after = f"{task.subject}: {plan.total - plan.rows} rows\n"
    result = outcome(task.subject, STAGE, "ok", text, metrics=plan.metrics(), details=plan.details())
    return Result(result, True, before, after)


def _nothing(task: Task, plan: Plan, retired: int) -> Result:
    text = f"nothing to do: none of {plan.total} rows is older than {plan.cutoff_text}"
    if retired:
        text += f"; {retired} exports are past keep_exports and were removed"
    result = outcome(task.subject, STAGE, "ok", text, metrics=plan.metrics(), details=plan.details())
    return Result(result, bool(retired))


def _archive(settings: Settings, task: Task, work: Work) -> Result:
    started = time.monotonic()
    folder = os.path.join(settings.directory, task.item.name)
    journal, manifest = _pending(settings, task)
    retired = _archive_export.retire(folder, task, journal.get("path"))
    if manifest is None:
        _archive_export.sweep(folder, task)
        plan, manifest = _archive_export.export(settings, task, work, journal_name(task))
        problem = plan.refusal(task)
        if problem:
            text = f"refused: {problem}. Nothing was exported or deleted."
            return Result(outcome(task.subject, STAGE, "critical", text, details=plan.details()), bool(retired))
        if manifest is None:
            return _nothing(task, plan, retired)
        journal = {"path": manifest.path, "position": 0}
    _archive_export.verify(manifest, work)
    progress = _archive_delete.delete(task, work, manifest, journal, settings.state_dir, journal_name(task))
    if not progress.stopped:
        _archive_export.finish(manifest, progress.details())
        _forget(settings, task)
    return _done(task, manifest, progress, time.monotonic() - started)


def _forget(settings: Settings, task: Task) -> None:
    os.unlink(os.path.join(settings.state_dir, f"{journal_name(task)}.json"))
    files.fsync_directory(settings.state_dir)


def _done(task: Task, manifest: Manifest, progress: _archive_delete.Progress, seconds: float) -> Result:
    size = os.path.getsize(manifest.path)
    text = f"{progress.deleted} of {manifest.rows} exported rows deleted, {show_size(size)} in {manifest.path}"
    if progress.gone:
        text += f"; {progress.gone} were gone already"
    if progress.changed:
        text += f"; {progress.changed} have changed since their export and stay"
    if progress.stopped:
        text += f"; {progress.stopped}: {manifest.rows - progress.position} are left for the next run"
    status = "warning" if progress.changed or progress.stopped else "ok"
    metrics = {
        "rows": manifest.rows, "deleted": progress.deleted, "changed": progress.changed, "size_bytes": size,
        "duration_seconds": round(seconds, 3),
    }  # fmt: skip
    details = {
        "path": manifest.path, "sha256": manifest.document["sha256"], "cutoff": manifest.document["cutoff"],
        **progress.details(),
    }  # fmt: skip
    summary = f"{text}, in {show_duration(seconds)}"
    before = f"{task.subject}: {progress.deleted} rows before {manifest.document['cutoff']}\n"
    return Result(outcome(task.subject, STAGE, status, summary, metrics=metrics, details=details), True, before, "")
