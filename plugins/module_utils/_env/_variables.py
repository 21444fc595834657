# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All variables of one call, each with an outcome of its own."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import outcome
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._env import _write

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._env._settings import Settings, Variable

STAGE = "env_file"
_STARS = "********"
_DONE = {"present": "changed", "restored": "the previous value is back", "forgotten": "the previous value is gone"}
_WOULD = {"present": "would be changed", "restored": "would be restored", "forgotten": "the previous value would go"}
_NOTHING = {"present": "has this value", "restored": "nothing to restore", "forgotten": "nothing kept"}


def run(settings: Settings, check: bool) -> tuple[dict[str, t.Any], list[str]]:
    """Work on all variables; return the envelope and the errors."""
    outcomes: list[dict[str, t.Any]] = []
    errors: list[str] = []
    differences: list[dict[str, str]] = []
    for each in settings.variables:
        try:
            done = _one(each, settings, check)
        except RunbookError as error:
            errors.append(str(error))
            outcomes.append(outcome.outcome(each.subject, STAGE, "critical", str(error), details={"changed": False}))
            continue
        if done.changed:
            differences.append(_difference(each, settings.state))
        words = (_WOULD if check else _DONE) if done.changed else _NOTHING
        told = "; ".join([f"{each.path}: {each.variable}: {words[settings.state]}", *done.notes])
        status = "warning" if done.notes else "ok"
        outcomes.append(outcome.outcome(each.subject, STAGE, status, told, details={"changed": done.changed}))
    return outcome.envelope(outcomes, bool(differences), diff=differences), errors


def _one(each: Variable, settings: Settings, check: bool) -> _write.Change:
    where: dict[str, t.Any] = {"check": check, "state_dir": settings.state_dir}
    if settings.state == "restored":
        return _write.Change(_write.restore_previous(each.path, each.variable, each.kind, **where))
    if settings.state == "forgotten":
        return _write.Change(_write.forget_previous(each.path, each.variable, each.kind, **where))
    return _write.change(
        each.path, each.variable, each.value, each.kind, create=settings.create, backup=settings.backup, **where
    )


def _difference(each: Variable, state: str) -> dict[str, str]:
    """Which variable changes, never from what to what."""
    path = each.path + _write.PREVIOUS if state == "forgotten" else each.path
    after = (
        ""
        if state == "forgotten"
        else f"{each.variable}: {_STARS} ({'new' if state == 'present' else 'previous'} value)\n"
    )
    return {"before_header": path, "after_header": path, "before": f"{each.variable}: {_STARS}\n", "after": after}
