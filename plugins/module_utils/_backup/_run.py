# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Back up all sources of a host, one after the other: each uses all processors by itself.

Observe and plan per source; in check mode that is all. A source that cannot be backed up is a `critical` outcome and
keeps no other from its backup.
"""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import (
    _apply,
    _catalog,
    _offsite,
    _plan,
    _recovery,
    _verify,
    _work,
)
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Work
from ansible_collections.sre.runbooks.plugins.module_utils._backup._settings import STAGE, Item, Job, Settings
from ansible_collections.sre.runbooks.plugins.module_utils._core import files, lock
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import Busy, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import envelope, outcome
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_size


def run(jobs: t.Sequence[Job], commands: Commands, dry: bool) -> dict[str, t.Any]:
    """Return the envelope with a diff of the files; RunbookError when the folder cannot be used at all."""
    directory = jobs[0].settings.directory
    _usable(directory, dry)
    # Programs that a pipeline starts make files too; none of them is for other users.
    umask = os.umask(0o077)
    try:
        results = [_one(job, commands, dry) for job in jobs]
        brought = [job for job, result in zip(jobs, results) if result.brought]
        checks = _offsite.checks(brought, lambda job: _work_of(job, commands))
    finally:
        os.umask(umask)
    for job, result in zip(jobs, results):
        with contextlib.suppress(RunbookError):
            _recovery.annotate(result.outcome, directory, job.item.name, job.settings.level, time.time())
    return envelope(
        [*(result.outcome for result in results), *checks],
        any(result.changed for result in results),
        diff={
            "before_header": directory,
            "after_header": directory,
            "before": "".join(f"{name}\n" for result in results for name in result.before),
            "after": "".join(f"{name}\n" for result in results for name in result.after),
        },
    )


class Result(t.NamedTuple):
    """What became of one source; `before` and `after` are the names of its copies."""

    outcome: dict[str, t.Any]
    changed: bool = False
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    brought: bool = False


def _one(job: Job, commands: Commands, dry: bool) -> Result:
    """The copy in the folder, then that in the repository."""
    work = _work_of(job, commands)
    result = _local(job, work, dry)
    if dry:
        return result._replace(outcome=_offsite.would(job, work, result.outcome, time.time()))
    told, brought = _offsite.keep(job, work, result.outcome, time.time())
    return result._replace(outcome=told, changed=result.changed or brought, brought=brought)


def _work_of(job: Job, commands: Commands) -> Work:
    """What the engine may use, with the time limit beginning now."""
    item, settings = job
    folder = os.path.join(settings.directory, item.name)
    deadline = None if settings.limit_seconds is None else time.monotonic() + settings.limit_seconds
    return Work(commands, settings.packing, folder, item.name, _work.token(folder), settings.level, deadline)


def _local(job: Job, work: Work, dry: bool) -> Result:
    item, settings = job
    swept: list[str] = []
    folder = work.folder
    try:
        if os.path.islink(folder):
            raise RunbookError(
                f"{folder} is a symbolic link to {os.readlink(folder)}. Make it a folder, or set directory."
            )
        found = _catalog.folder(settings.directory, item.name)
        plan = _due(settings, found)
        damage, damaged = _damage(found, plan)
        if dry:
            return _would(job, work, found, plan._replace(due=True, reason=damage) if damage else plan)
        if not plan.due and not damage and not found.partials:
            return _nothing(job, found, plan, swept)
        with lock.hold(os.path.join(settings.directory, _work.LOCKS), item.name):
            if damage and damaged is not None:
                _verify.condemn(damaged, damage)
            found = _catalog.folder(settings.directory, item.name)
            plan = _due(settings, found)
            swept += _apply.sweep(found, settings.level)
            if not plan.due and not damage:
                return _nothing(job, found, plan, swept)
            before = _names(found.copies)
            made = _apply.make(job, work, found, damage)
            swept += made.swept
            if damage:
                made = made._replace(status="critical", summary=f"{damage}; made anew: {made.summary}")
            after = _names(_catalog.folder(settings.directory, item.name).copies)
            return Result(
                _outcome(item, made.status, made.summary, made.metrics, made.details, swept, found), True, before, after
            )
    except Busy as error:
        return Result(outcome(item.subject, STAGE, "warning", f"not started: {error}", details={"busy": True}))
    except (RunbookError, OSError) as error:
        return _failed(item, settings, error, swept)


def _damage(found: _catalog.Folder, plan: _plan.Due) -> tuple[str | None, _catalog.Copy | None]:
    """What happened to the newest copy since it was made, and the copy if its manifest has to tell that from now on.

    One that was cut, or whose manifest was edited, is no copy any more by itself; for other bytes it has to be read.
    """
    newest = next((copy for copy in found.copies if copy.created <= time.time()), None)
    if newest is not None and newest.problem and not newest.problem.startswith(_catalog.REFUTED):
        return f"{newest.path}: {newest.problem}", None
    if plan.due or plan.newest is None:
        return None, None
    return _verify.damage(plan.newest), plan.newest


def _would(job: Job, work: Work, found: _catalog.Folder, plan: _plan.Due) -> Result:
    """What a run would do; the source is looked at as a run would look at it."""
    item, settings = job
    if not plan.due:
        return _nothing(job, found, plan, [])
    before = _names(found.copies)
    preflight = item.engine.preflight(item.source, work)
    _apply.feasible(settings, preflight, found, work)
    now = time.time()
    path = _apply.path_of(job, now)
    size = _plan.expected_size(preflight.source_bytes, found.copies, now)
    new = _catalog.Copy(item.name, item.engine_name, path, path + _catalog.MANIFEST, now, size, settings.level, False)
    gone = [
        each.copy
        for each in _plan.retention([new, *found.copies], settings.policy, settings.level, now)
        if not each.keep
    ]
    text = f"would make a backup of up to {show_size(preflight.source_bytes)}: {plan.reason}"
    if gone:
        text += f"; retention would delete {len(gone)}"
    details = {"would": "back up", "path": path, "delete": list(_names(gone)), "versions": preflight.versions}
    after = tuple(name for name in _names([new, *found.copies]) if name not in _names(gone))
    return Result(_outcome(item, "ok", text, _metrics(found, plan), details, [], found), True, before, after)


def _nothing(job: Job, found: _catalog.Folder, plan: _plan.Due, swept: list[str]) -> Result:
    item, settings = job
    newest = plan.newest
    names = _names(found.copies)
    if newest is None:
        raise ValueError("a source that is not due has a good copy")
    earlier = [copy for copy in found.copies if copy.created < newest.created]
    odd = _plan.odd_size(newest.size_bytes, earlier, settings.minimum_size, settings.shrink_limit, time.time())
    text = f"nothing to do: {plan.reason}; {show_size(newest.size_bytes)}, verified as {newest.level}"
    details = {"path": newest.path, "level": newest.level}
    if odd:
        text += f"; {odd}"
    result = _outcome(item, "warning" if odd else "ok", text, _metrics(found, plan), details, swept, found)
    return Result(result, bool(swept), names, names)


def _failed(item: Item, settings: Settings, error: RunbookError | OSError, swept: list[str]) -> Result:
    found = _catalog.Folder([], [], [])
    with contextlib.suppress(RunbookError):
        found = _catalog.folder(settings.directory, item.name)
    plan = _due(settings, found)
    text = f"no backup could be made of {item.name}: {_reason(error, settings.directory)}"
    if plan.newest is None:
        text += f" There is no backup verified as {settings.level}."
    names = _names(found.copies)
    return Result(_outcome(item, "critical", text, _metrics(found, plan), {}, swept, found), bool(swept), names, names)


def _reason(error: RunbookError | OSError, directory: str) -> str:
    if isinstance(error, OSError) and not isinstance(error, RunbookError):
        error_text = f"{error.filename or directory}: {error.strerror or error}."
    else:
        error_text = str(error)
    if any(sign in error_text for sign in ("No space left on device", "disk is full")):
        error_text += f" Make room in {directory}; the older copies are untouched."
    return error_text


def _outcome(
    item: Item,
    status: str,
    summary: str,
    metrics: t.Mapping[str, float],
    details: t.Mapping[str, t.Any],
    swept: t.Sequence[str],
    found: _catalog.Folder,
) -> dict[str, t.Any]:
    """Add what holds for every source: what was swept, data files without a manifest, copies from the future."""
    more = dict(details)
    if swept:
        more["swept"] = list(swept)
        summary += f"; removed {len(swept)} left by a run that was killed"
    left = [os.path.basename(path) for path in found.leftovers if path not in swept]
    if left:
        more["without_manifest"] = left
        summary += f"; {len(left)} without a manifest, which is no backup"
    future = [os.path.basename(copy.path) for copy in found.copies if copy.created > time.time()]
    if future:
        more["future"] = future
        summary += f"; {len(future)} with a time stamp in the future count for nothing"
        status = "warning" if status == "ok" else status
    return outcome(item.subject, STAGE, status, summary, metrics=metrics, details=more)


def _metrics(found: _catalog.Folder, plan: _plan.Due) -> dict[str, float]:
    metrics: dict[str, float] = {"copies": len(found.copies)}
    if plan.newest is not None:
        metrics["size_bytes"] = plan.newest.size_bytes
        metrics["age_seconds"] = round(time.time() - plan.newest.created, 3)
    return metrics


def _due(settings: Settings, found: _catalog.Folder) -> _plan.Due:
    return _plan.due(found.copies, settings.interval, settings.level, time.time())


def _names(copies: t.Iterable[_catalog.Copy]) -> tuple[str, ...]:
    return tuple(f"{copy.name}/{os.path.basename(copy.path)}" for copy in sorted(copies, key=lambda copy: copy.path))


def _usable(directory: str, dry: bool) -> None:
    """The folder of all backups can be written to, or could be made."""
    existing = directory
    while not os.path.lexists(existing) and existing != "/":
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        raise RunbookError(f"directory: {existing} is no folder. Remove it, or choose another directory.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise RunbookError(
            f"directory: {existing} cannot be written to. Run as a user who may, or choose another directory."
        )
    if not dry:
        files.make_directory(directory)
