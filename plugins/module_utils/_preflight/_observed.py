# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What several kinds of proof look at, looked at once: every check made, every backup source asked."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _restic_client, _work
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._health import _run

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Preflight, Work
    from ansible_collections.sre.runbooks.plugins.module_utils._backup._restic import Repository
    from ansible_collections.sre.runbooks.plugins.module_utils._backup._settings import Job
    from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Check, Host, Observation
    from ansible_collections.sre.runbooks.plugins.module_utils._preflight._inventory import Inventory

WORKERS = 16
SOURCE_SECONDS = 30.0
# What they look at is made by the stages themselves, so that a new host has none of it.
NOT_YET = ("backup",)


def checks(inventory: Inventory, host: Host) -> list[tuple[Check, list[Observation] | RunbookError]]:
    """Each check with what it saw, or why it saw nothing; nothing is judged and nothing is kept."""
    if "checks" not in inventory.cache:
        wanted = [each for each in inventory.checks if each.type not in NOT_YET]
        limits = _run.limits(WORKERS, inventory.health_timeout)
        inventory.cache["checks"] = list(zip(wanted, _run.observe(wanted, host, limits) if wanted else []))
    found: list[tuple[Check, list[Observation] | RunbookError]] = inventory.cache["checks"]
    return found


def sources(inventory: Inventory, host: Host) -> list[tuple[Job, Preflight | RunbookError]]:
    """Each backup source with what its engine says of it before a backup, or why there can be none."""
    if "sources" not in inventory.cache:
        inventory.cache["sources"] = [(job, _source(job, host)) for job in inventory.jobs]
    found: list[tuple[Job, Preflight | RunbookError]] = inventory.cache["sources"]
    return found


def repositories(inventory: Inventory, host: Host) -> list[tuple[Repository, RunbookError | None]]:
    """Each restic repository that copies are to be brought to, with why it cannot be used."""
    if "repositories" not in inventory.cache:
        jobs = {job.settings.restic: job for job in inventory.jobs if job.settings.restic is not None}
        inventory.cache["repositories"] = [(each, _repository(each, job, host)) for each, job in jobs.items()]
    found: list[tuple[Repository, RunbookError | None]] = inventory.cache["repositories"]
    return found


def _repository(repository: Repository, job: Job, host: Host) -> RunbookError | None:
    try:
        _restic_client.look(repository, _task(job, host))
    except RunbookError as error:
        return error
    return None


def _task(job: Job, host: Host) -> Work:
    """What an engine is given for a source, with a time limit of its own."""
    item, settings = job
    deadline = time.monotonic() + min(SOURCE_SECONDS, settings.limit_seconds or SOURCE_SECONDS)
    work = _work.reader(
        host.commands, settings.directory, item.name, settings.level, deadline=deadline, identity=settings.identity
    )
    return work._replace(packing=settings.packing)


def _source(job: Job, host: Host) -> Preflight | RunbookError:
    item = job.item
    try:
        answer: Preflight = item.engine.preflight(item.source, _task(job, host))
        return answer
    except RunbookError as error:
        return error
    except OSError as error:
        return RunbookError(f"{error.filename or item.name}: {error.strerror or error}")
