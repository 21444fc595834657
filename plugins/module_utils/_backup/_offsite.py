# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The part of a backup that leaves the host: after the copy in the folder, whatever became of that, and never instead of it."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _catalog, _plan, _restic, _work
from ansible_collections.sre.runbooks.plugins.module_utils._backup._settings import STAGE, Job
from ansible_collections.sre.runbooks.plugins.module_utils._core import lock
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import Busy, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome, worst
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration

if t.TYPE_CHECKING:
    from types import ModuleType

    from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Work


def keep(job: Job, work: Work, local: dict[str, t.Any], now: float) -> tuple[dict[str, t.Any], bool]:
    """Bring the newest proven copy to the repository, if it lacks it; the outcome `local` with that added, and whether it was.

    A copy that is good here and missing there is `critical`: whoever set a repository counts on it.
    """
    item, settings = job
    repository = settings.restic
    if repository is None or local["details"].get("busy"):
        return local, False
    try:
        if not _restic.lacks(repository, _newest(job, now)):
            return local, False
        client = _client()
        with lock.hold(os.path.join(settings.directory, _work.LOCKS), item.name):
            found = _catalog.folder(settings.directory, item.name)
            newest = _newest(job, now)
            if newest is None or not _restic.lacks(repository, newest):
                return local, False
            # Without a decision about the copies here there is none about those there.
            frozen = "frozen" in local["details"] or "kept" not in local["details"]
            pins = {copy.path for copy in found.copies if copy.pinned}
            kept = client.keep(repository, newest, pins, settings.policy, frozen, work)
    except Busy as error:
        return _joined(local, "warning", f"not brought to the restic repository: {error}", {}), False
    except (RunbookError, OSError) as error:
        details = {"repository": repository.shown, "problem": str(error)}
        return _joined(local, "critical", f"NOT in the restic repository {repository.shown}: {error}", details), False
    text = f"in the restic repository {repository.shown} after {show_duration(kept.seconds)}"
    text += f", {len(kept.forgotten)} old forgotten there" if kept.forgotten else ""
    text += f", where old ones could not be removed: {kept.problem}" if kept.problem else ""
    done = {"repository": repository.shown, "snapshot": kept.snapshot, "forgotten": kept.forgotten}
    added = _joined(local, "critical" if kept.problem else "ok", text, done)
    return {**added, "metrics": {**added["metrics"], "restic_seconds": kept.seconds}}, True


def would(job: Job, work: Work, local: dict[str, t.Any], now: float) -> dict[str, t.Any]:
    """What `keep` would do after a run that would end as `local` says; the repository is looked at."""
    repository = job.settings.restic
    if repository is None or not ("would" in local["details"] or _restic.lacks(repository, _newest(job, now))):
        return local
    try:
        word = _client().look(repository, work)
    except RunbookError as error:
        return _joined(local, "critical", f"the restic repository {repository.shown} cannot be used: {error}", {})
    text = f"would be brought to the restic repository {repository.shown}" + (f", which {word}" if word else "")
    return _joined(local, "ok", text, {"repository": repository.shown})


def checks(jobs: t.Iterable[Job], works: t.Callable[[Job], Work]) -> list[dict[str, t.Any]]:
    """Check each repository of `jobs` once; an outcome for each."""
    found = {job.settings.restic.shown: job for job in jobs if job.settings.restic and job.settings.restic.check}
    return [_check(name, job, works(job)) for name, job in found.items()]


def _check(name: str, job: Job, work: Work) -> dict[str, t.Any]:
    repository = t.cast("_restic.Repository", job.settings.restic)
    try:
        return outcome(f"restic:{name}", STAGE, "ok", _client().check(repository, work))
    except RunbookError as error:
        return outcome(f"restic:{name}", STAGE, "critical", str(error))


def _client() -> ModuleType:
    """Few hosts have a repository; the others need not load what works with it."""
    from ansible_collections.sre.runbooks.plugins.module_utils._backup import _restic_client

    return _restic_client


def _newest(job: Job, now: float) -> _catalog.Copy | None:
    copies = _catalog.folder(job.settings.directory, job.item.name).copies
    return _plan.due(copies, None, job.settings.level, now).newest


def _joined(local: dict[str, t.Any], status: str, text: str, details: dict[str, t.Any]) -> dict[str, t.Any]:
    """The outcome with what is said of the repository; its status is the worse of both."""
    text = " ".join(text.split())
    more = {**local["details"], **({"restic": details} if details else {})}
    summary = f"{local['summary']}; {text}"
    return {**local, "status": worst([local["status"], status]), "summary": summary, "details": more}
