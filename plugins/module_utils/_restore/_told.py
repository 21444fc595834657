# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person is told of a restore, before and after."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size

if t.TYPE_CHECKING:
    from types import ModuleType

    from ansible_collections.sre.runbooks.plugins.module_utils._backup._catalog import Copy
    from ansible_collections.sre.runbooks.plugins.module_utils._restore._engine import Job, Look
    from ansible_collections.sre.runbooks.plugins.module_utils._restore._settings import Settings

STAGE = "restore"
_SHOWN = ("tables", "rows", "files", "keys", "roles")


class Result(t.NamedTuple):
    """What became of one restore; `before` and `after` are lines of the diff."""

    outcome: dict[str, t.Any]
    changed: bool = False
    before: str = ""
    after: str = ""


class Plan(t.NamedTuple):
    """A restore that may be made: what is there, the copy and how old it is."""

    engine: ModuleType
    engine_name: str
    job: Job
    copy: Copy
    age: float
    look: Look
    problem: str | None


def would(settings: Settings, plan: Plan) -> Result:
    """What a run would do, and how long it should take."""
    job, look = plan.job, plan.look
    expected = _expected(job.manifest)
    target = plan.engine.target(job.source)
    text = f"would restore {target} from {copy_text(plan)}"
    if expected is not None:
        text += f", in about {show_duration(expected)}"
    if look.exists:
        text += f"; the old one ({show_size(look.size_bytes)}) is kept" if look.size_bytes else "; the old one is kept"
        text += ", after a safety backup of it" if settings.safety_backup else ", without a safety backup"
    else:
        text += "; nothing is there now"
    status = "warning" if plan.problem or look.warnings else "ok"
    if look.users and not job.disconnect:
        status = "warning"
        text += f"; it would be refused while it is in use by {', '.join(look.users)}"
    elif look.users:
        text += f"; it would disconnect {', '.join(look.users)}"
    pending = job.journal.read()
    if pending:
        text += "; a restore that was killed would be cleaned up first"
    for warning in (plan.problem, *look.warnings):
        text += f"; {warning}" if warning else ""
    details = {
        "would": "restore", "target": target, **facts(plan), "users": list(look.users),
        "exists": look.exists, "safety_backup": settings.safety_backup and look.exists,
        "expected_seconds": expected, "room": [list(each) for each in look.room],
    }  # fmt: skip
    result = outcome(f"{plan.engine_name}:{job.name}", STAGE, status, text, metrics=metrics(plan), details=details)
    return Result(result, True, *diff(plan))


def _expected(manifest: t.Mapping[str, t.Any]) -> float | None:
    """Seconds that the newest proof by a restore took; None when there was none."""
    for record in reversed(manifest["verifications"]):
        seconds = record.get("figures", {}).get("restore_seconds") if record.get("ok") else None
        if isinstance(seconds, (int, float)):
            return float(seconds)
    return None


def copy_text(plan: Plan) -> str:
    proof = f"proven as {plan.copy.level}" if plan.copy.level else "never proven"
    return f"{os.path.basename(plan.copy.path)} ({show_duration(plan.age)} old, {proof}, {show_size(plan.copy.size_bytes)})"


def facts(plan: Plan) -> dict[str, t.Any]:
    return {"path": plan.copy.path, "created": plan.job.manifest["created"], "level": plan.copy.level}


def metrics(plan: Plan) -> dict[str, float]:
    return {"age_seconds": round(plan.age, 3), "size_bytes": plan.copy.size_bytes}


def numbers(figures: t.Mapping[str, t.Any]) -> str:
    numbers = [f"{figures[key]:,} {key}".replace(",", " ") for key in _SHOWN if isinstance(figures.get(key), int)]
    return f": {', '.join(numbers)}" if numbers else ""


def diff(plan: Plan) -> tuple[str, str]:
    target = plan.engine.target(plan.job.source)
    shape = ", ".join(f"{key} {value}" for key, value in plan.look.shape.items())
    before = f"{target}: {shape or ('is there' if plan.look.exists else 'nothing')}\n"
    return before, f"{target}: the copy {os.path.basename(plan.copy.path)} of {plan.job.manifest['created']}\n"


def reason(error: RunbookError | OSError) -> str:
    if isinstance(error, RunbookError):
        text = str(error)
    else:
        text = f"{error.filename}: {error.strerror or error}." if error.filename else f"{error.strerror or error}."
    if any(sign in text for sign in ("No space left on device", "disk is full")):
        text += " Make room there; what was there before is untouched."
    return text
