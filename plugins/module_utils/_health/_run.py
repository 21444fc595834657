# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make all checks of a host at once and turn what they saw into outcomes."""

from __future__ import annotations

import queue
import threading
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import state, threshold, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import envelope, outcome, worst
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Check, Host, Observation, TargetDown

STAGE = "health"
STATE = "health"


class Limits(t.NamedTuple):
    """How many checks are made at a time, and the seconds that all of them together have."""

    workers: int
    timeout: float


def run(checks: t.Sequence[Check], host: Host, limits: Limits, state_dir: str, dry: bool) -> dict[str, t.Any]:
    """Make `checks` and return the envelope.

    With `dry` the times that bounds with `for` need are read, but not kept.
    """
    remembered = state.load(state_dir, STATE).get("held", {})
    held = dict(remembered)
    outcomes = []
    for check, seen in zip(checks, observe(checks, host, limits)):
        outcomes.extend(judge(check, seen, held, host.now))
    held = _still_asked(held, checks)
    if held != remembered and not dry:
        state.save(state_dir, STATE, {"held": held})
    return envelope(outcomes)


def observe(checks: t.Sequence[Check], host: Host, limits: Limits) -> list[list[Observation] | RunbookError]:
    """Observe concurrently; a check that does not answer in time is left behind in its thread, as an error here.

    Threads are daemons, so that one that hangs (in a name look-up, on a dead network file system) cannot keep the
    module from ending.
    """
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, list[Observation] | BaseException]] = queue.SimpleQueue()
    for index in range(len(checks)):
        todo.put(index)

    def work() -> None:
        while True:
            try:
                index = todo.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((index, checks[index].family.observe(checks[index].options, host)))
            except BaseException as error:  # handed to the main thread, which raises what it does not know
                done.put((index, error))

    for _number in range(min(limits.workers, len(checks))):
        threading.Thread(target=work, daemon=True).start()
    deadline = time.monotonic() + limits.timeout
    silent = RunbookError(
        f"no answer within the {limits.timeout:g} s that all checks of this host have (option timeout)"
    )
    results: list[list[Observation] | RunbookError] = [silent] * len(checks)
    for _number in checks:
        try:
            index, seen = done.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        results[index] = _known(seen)
    return results


def _known(seen: list[Observation] | BaseException) -> list[Observation] | RunbookError:
    """Errors of the operating system are findings of a check; any other exception is a defect and is raised."""
    if isinstance(seen, OSError):
        return RunbookError(f"{seen.filename or 'the host'}: {seen.strerror or seen}")
    if isinstance(seen, BaseException) and not isinstance(seen, RunbookError):
        raise seen
    return seen


def judge(
    check: Check, seen: list[Observation] | RunbookError, held: dict[str, float], now: float
) -> list[dict[str, t.Any]]:
    """Turn what one check saw into outcomes; `held` is brought up to date."""
    if isinstance(seen, RunbookError):
        status = "critical" if isinstance(seen, TargetDown) else "unknown"
        return [outcome(check.subject(), STAGE, status, str(seen), details={"check": check.name, "type": check.type})]
    return [_judge_one(check, each, held, now) for each in seen]


def _judge_one(check: Check, seen: Observation, held: dict[str, float], now: float) -> dict[str, t.Any]:
    subject = check.subject(seen.target)
    statuses = [seen.status]
    findings: dict[str, list[str]] = {}
    pending = False
    for metric, bounds in check.bounds.items():
        value = seen.metrics.get(metric)
        if value is None:
            verdict = threshold.Verdict("unknown" if any(bounds.values()) else "ok", [], False)
            text = f"{metric} is not known here"
        else:
            verdict = threshold.judge(value, bounds, f"{subject}/{metric}", held, now)
            text = f"{metric} is {units.show(metric, value)}, bound {' and '.join(verdict.reasons)}"
        statuses.append(verdict.status)
        pending = pending or verdict.pending
        if verdict.status != "ok":
            findings.setdefault(verdict.status, []).append(text)
    status = worst(statuses)
    texts = [text for level in ("critical", "warning", "unknown") for text in findings.get(level, ())]
    parts = [seen.summary, *texts] if seen.status != "ok" else [*texts, seen.summary]
    details = {"check": check.name, "type": check.type, **seen.details}
    return outcome(
        subject,
        STAGE,
        status,
        "; ".join(parts),
        metrics=seen.metrics,
        details=details,
        pending=pending and status == "ok",
    )


def _still_asked(held: dict[str, float], checks: t.Sequence[Check]) -> dict[str, float]:
    """Forget the times of bounds that no check has any more."""
    texts = {
        bound.text for check in checks for levels in check.bounds.values() for each in levels.values() for bound in each
    }
    subjects = tuple(check.subject() for check in checks)
    return {key: since for key, since in held.items() if key.rpartition("/")[2] in texts and key.startswith(subjects)}
