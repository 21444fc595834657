# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Migrate projects one after the other; one that cannot be migrated keeps no other from it."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import alembic, lock
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import Busy, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import envelope, outcome
from ansible_collections.sre.runbooks.plugins.module_utils._migration import _settings
from ansible_collections.sre.runbooks.plugins.module_utils._migration._case import STAGE, Case, Result

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

__all__ = ["STAGE", "run"]


def run(
    plans: t.Sequence[_settings.Plan],
    settings: _settings.Settings,
    commands: Commands,
    state_dir: str,
    conceal: t.Callable[[set[str]], None],
    dry: bool,
) -> dict[str, t.Any]:
    """Return the envelope, with `due`: the databases of projects that are to be migrated. `conceal` gets secrets."""
    results = [_one(plan, settings, commands, state_dir, conceal, dry) for plan in plans]
    return envelope(
        [result.outcome for result in results],
        any(result.changed for result in results),
        due=sorted({result.due for result in results if result.due}),
        diff={
            "before": "".join(result.before for result in results),
            "after": "".join(result.after for result in results),
        },
    )


def _one(
    plan: _settings.Plan,
    settings: _settings.Settings,
    commands: Commands,
    state_dir: str,
    conceal: t.Callable[[set[str]], None],
    dry: bool,
) -> Result:
    try:
        variables = _settings.environment(plan)
        conceal(_settings.secrets_of(variables))
        options = plan.options
        project = alembic.Project(options["directory"], options["command"], variables, options["run_as"])
        case = Case(plan, settings, project, commands, state_dir)
        if dry or not settings.upgrade:
            return case.tell()
        with lock.hold(state_dir, case.document):
            return case.migrate()
    except Busy as error:
        return _plain(plan, "warning", f"not started: {error}", busy=True)
    except (RunbookError, OSError) as error:
        return _plain(plan, "critical", str(error))


def _plain(plan: _settings.Plan, status: str, text: str, **details: t.Any) -> Result:
    return Result(outcome(f"alembic:{plan.name}", STAGE, status, text, details=details))
