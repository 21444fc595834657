# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Maintain the databases of a host one after the other, the one that has waited longest first.

Observe, plan, apply: `look` tells the steps that are due, integrity is checked before the first of them, each step is
whole by itself, so that a run that is killed or out of its budget loses nothing and the next one goes on.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import lock, state
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import Busy, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import envelope, outcome
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size
from ansible_collections.sre.runbooks.plugins.module_utils._database._engine import (
    Absent,
    Damaged,
    Done,
    Examined,
    Locked,
    Over,
    Step,
    View,
    Work,
)

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
    from ansible_collections.sre.runbooks.plugins.module_utils._core.entries import Item
    from ansible_collections.sre.runbooks.plugins.module_utils._database._settings import Settings

STAGE = "vacuum"
# Of a database with thousands of tables a result names so many.
NAMED = 50
# What a step shows may be a reason for another one, such as statistics that tell how much of a table is free.
ROUNDS = 2


class Budget:
    """What is left for all databases of the run."""

    def __init__(self, settings: Settings) -> None:
        self.deadline = None if settings.seconds is None else time.monotonic() + settings.seconds
        self._bytes = settings.bytes
        self.spent = 0

    def ended(self) -> bool:
        """Whether the time is used up."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def allows(self, size: int) -> bool:
        """Whether a step over `size` bytes fits into what is left."""
        return not self.ended() and (self._bytes is None or self.spent + size <= self._bytes)


class Report:
    """What was done to one database, or in check mode would be."""

    def __init__(self) -> None:
        self.done: list[Step] = []
        self.left: list[Step] = []
        self.problems: list[tuple[str, str]] = []
        self.changed = False
        self._seen: set[tuple[str, str]] = set()

    def news(self, steps: t.Iterable[Step]) -> list[Step]:
        """Those that were not there before, whatever became of them."""
        found = [step for step in steps if (step.target, step.action) not in self._seen]
        self._seen.update((step.target, step.action) for step in found)
        return found


class Result(t.NamedTuple):
    """What became of one database; `plan` are the lines of the diff."""

    outcome: dict[str, t.Any]
    changed: bool = False
    plan: tuple[str, ...] = ()


def run(settings: Settings, items: t.Sequence[Item], commands: Commands, state_dir: str, dry: bool) -> dict[str, t.Any]:
    """Return the envelope, in the order of `items`, with the steps as its diff."""
    budget = Budget(settings)
    waited = sorted(items, key=lambda item: _memory(state_dir, item).get("finished", 0.0))
    results = {item.name: _one(item, commands, state_dir, budget, dry) for item in waited}
    ordered = [results[item.name] for item in items]
    return envelope(
        [each.outcome for each in ordered],
        any(each.changed for each in ordered),
        diff={"before": "", "after": "".join(f"{line}\n" for each in ordered for line in each.plan)},
    )


def _memory(state_dir: str, item: Item) -> dict[str, t.Any]:
    return state.load(state_dir, _document(item))


def _document(item: Item) -> str:
    return f"{STAGE}-{item.engine_name}-{item.name}"


def _one(item: Item, commands: Commands, state_dir: str, budget: Budget, dry: bool) -> Result:
    if budget.ended():
        text = "not looked at: the time limit (budget.seconds) has passed; the next run begins with it"
        return Result(outcome(item.subject, STAGE, "warning", text, details={"left": True}))
    try:
        if dry:
            return _would(item, commands, state_dir, budget)
        with lock.hold(state_dir, _document(item)):
            return _maintain(item, commands, state_dir, budget)
    except Busy as error:
        return Result(outcome(item.subject, STAGE, "warning", f"not started: {error}", details={"busy": True}))
    except Absent as error:
        return Result(outcome(item.subject, STAGE, "skipped", str(error)))
    except Damaged as error:
        text = f"damaged, and left untouched: {error} Restore a good copy, or repair it."
        return Result(outcome(item.subject, STAGE, "critical", text, details={"damaged": True}))
    except (Locked, Over) as error:
        return Result(outcome(item.subject, STAGE, "warning", f"not maintained: {error}", details={"left": True}))
    except (RunbookError, OSError) as error:
        return Result(outcome(item.subject, STAGE, "critical", f"could not be maintained: {error}"))


def _work(item: Item, commands: Commands, budget: Budget, memory: t.Mapping[str, t.Any]) -> Work:
    return Work(commands, item.source["lock_seconds"], budget.deadline, memory.get("targets") or {})


def _half(work: Work) -> Work:
    """Looking for damage may take half of the time that is left; else it could keep the work from being done for ever."""
    if work.deadline is None:
        return work
    now = time.monotonic()
    return work._replace(deadline=now + (work.deadline - now) / 2)


def _would(item: Item, commands: Commands, state_dir: str, budget: Budget) -> Result:
    """What a run would do; damage would only be found by that run."""
    work = _work(item, commands, budget, _memory(state_dir, item))._replace(dry=True)
    view = item.engine.look(item.source, work)
    report = Report()
    for step in view.steps:
        fits = budget.allows(step.bytes)
        (report.done if fits else report.left).append(step)
        budget.spent += step.bytes if fits else 0
    report.changed = bool(report.done)
    text = f"{show_size(view.size_bytes)}; " + (f"would {_told(report.done)}" if report.done else "nothing to do")
    return _result(item, view, report, text, {})


def _maintain(item: Item, commands: Commands, state_dir: str, budget: Budget) -> Result:
    started = time.monotonic()
    memory = _memory(state_dir, item)
    work = _work(item, commands, budget, memory)
    before = item.engine.look(item.source, work)
    examined = Examined("")
    if item.source["integrity"] != "none":
        examined = item.engine.examine(item.source, before, _half(work))
    checked = time.monotonic()
    report, after = Report(), before
    if not examined.whole:
        report.problems.append(("warning", "integrity was not checked in all of it: half of the time is for that"))
    for _round in range(ROUNDS):
        if not _apply(item, report.news(after.steps), work, budget, memory, state_dir, report):
            break
        work = work._replace(memory=memory.get("targets") or {})
        after = item.engine.look(item.source, work._replace(deadline=None))
    done = {(step.target, step.action) for step in report.done}
    again = sum((step.target, step.action) in done for step in after.steps)
    if again and report.changed:
        why = f": {after.hold}" if after.hold else ""
        report.problems.append(("warning", f"{again} of them still as before{why}"))
    if not report.left and not report.problems:
        memory["finished"] = time.time()
        state.save(state_dir, _document(item), memory)
    metrics = {
        "duration_seconds": round(time.monotonic() - started, 3),
        **({"integrity_seconds": round(checked - started, 3)} if examined.text else {}),
        "size_before_bytes": before.size_bytes,
    }
    text = _sizes(before, after) + "; " + (_told(report.done) if report.done else "nothing to do")
    text += f" in {show_duration(metrics['duration_seconds'])}"
    if examined.text:
        text += f"; {examined.text}"
    return _result(item, after, report, text, metrics)


def _apply(
    item: Item,
    steps: t.Sequence[Step],
    work: Work,
    budget: Budget,
    memory: dict[str, t.Any],
    state_dir: str,
    report: Report,
) -> bool:
    """Do the steps that fit, one by one; return whether anything changed. One that fails keeps no other from being done."""
    changed = False
    for number, step in enumerate(steps):
        if not budget.allows(step.bytes):
            report.left.append(step)
            continue
        try:
            result: Done = item.engine.apply(item.source, step, work)
        except Over:
            report.left.append(step)
            continue
        except Damaged as error:
            report.problems.append(("critical", f"{step.target}: damaged: {error}"))
            report.left += steps[number:]
            break
        except Locked as error:
            report.problems.append(("warning", f"{step.target}: {error}"))
            continue
        except (RunbookError, OSError) as error:
            report.problems.append(("critical", f"{step.target}: {error}"))
            continue
        budget.spent += step.bytes
        report.done.append(step)
        changed = changed or result.changed
        if result.warning:
            report.problems.append(("warning", f"{step.target}: {result.warning}"))
        if result.memory is not None:
            memory.setdefault("targets", {})[step.target] = dict(result.memory)
            state.save(state_dir, _document(item), memory)
    report.changed = report.changed or changed
    return changed


def _result(item: Item, after: View, report: Report, text: str, metrics: t.Mapping[str, float]) -> Result:
    status = "warning" if report.left or report.problems or after.notes else "ok"
    if any(level == "critical" for level, _text in report.problems):
        status = "critical"
    if report.left:
        text += f"; the budget leaves {len(report.left)} for the next run"
    for _level, problem in report.problems[:3]:
        text += f"; {problem}"
    if len(report.problems) > 3:
        text += f"; {len(report.problems) - 3} more problems"
    text += "".join(f"; {note}" for note in after.notes)
    details: dict[str, t.Any] = {"steps": [_shown(step) for step in report.done[:NAMED]], **after.details}
    if report.left:
        details["left"] = [_shown(step) for step in report.left[:NAMED]]
    if report.problems:
        details["problems"] = [problem for _level, problem in report.problems[:NAMED]]
    figures = {
        "size_bytes": after.size_bytes,
        **after.metrics,
        **metrics,
        "steps": len(report.done),
        "steps_left": len(report.left),
    }
    plan = tuple(f"{item.subject}: {_line(step)}" for step in report.done)
    return Result(outcome(item.subject, STAGE, status, text, metrics=figures, details=details), report.changed, plan)


def _sizes(before: View, after: View) -> str:
    return f"{show_size(before.size_bytes)} -> {show_size(after.size_bytes)}"


def _told(steps: t.Sequence[Step]) -> str:
    """`VACUUM of 3, ANALYZE of 2`, in the order in which the actions first come."""
    counts: dict[str, int] = {}
    for step in steps:
        counts[step.action] = counts.get(step.action, 0) + 1
    if len(steps) == 1:
        return f"{steps[0].action} of {steps[0].target} ({steps[0].reason})"
    return ", ".join(f"{action} of {count}" for action, count in counts.items())


def _line(step: Step) -> str:
    return f"{step.action} {step.target} ({step.reason}, {show_size(step.bytes)})"


def _shown(step: Step) -> dict[str, t.Any]:
    return {"target": step.target, "action": step.action, "reason": step.reason, "bytes": step.bytes}
