# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make all checks of a host at once and turn what they saw into outcomes."""

from __future__ import annotations

import queue
import sys
import threading
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import state, threshold, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError, TargetDown
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import envelope, outcome, worst
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Check, Host, Observation

STAGE = "health"
STATE = "health"
SWITCH_SECONDS = 0.0005
# Each thread has memory of its own, so there are few until nothing comes from them for so long; then twice as many, up to `workers`.
FIRST_THREADS = 2
STALLED_SECONDS = 0.01
# A header's value may be `1`; blotting that would take the figures out of every sentence.
SHORTEST_SECRET = 4
# What was kept for a check that nobody has made for so long is forgotten; until then a call with other checks leaves it.
FORGOTTEN_SECONDS = 7 * 86400.0
# Writing the state costs more than a check, so the time of the last call is kept no finer than this.
ASKED_SECONDS = 86400.0


class Limits(t.NamedTuple):
    """How many checks are made at a time, and the seconds that all of them together have."""

    workers: int
    timeout: float


def limits(workers: int, timeout: float) -> Limits:
    """Read the options of these names."""
    if workers < 1:
        raise InputError("workers", workers, "is too few", "Give 1 or more.")
    if not timeout > 0:
        raise InputError("timeout", timeout, "is no time", "Give more than 0 seconds.")
    return Limits(workers, timeout)


def run(checks: t.Sequence[Check], host: Host, limits: Limits, state_dir: str, dry: bool) -> dict[str, t.Any]:
    """Make `checks` and return the envelope.

    With `dry` the times that bounds with `for` need are read, but not kept; nor is what families follow over time.
    """
    remembered = _remembered(state_dir)
    held, trend = dict(remembered["held"]), dict(remembered["trend"])
    outcomes = []
    for check, seen in zip(checks, observe(checks, host, limits)):
        if hasattr(check.family, "follow") and not isinstance(seen, RunbookError):
            try:
                seen, trend[check.type] = check.family.follow(check, seen, trend.get(check.type, {}), host.now)
            except (TypeError, ValueError, LookupError) as error:
                raise state.unreadable(state_dir, STATE, f"trend of {check.type}: {error}") from error
        outcomes.extend(judge(check, seen, held, host.now))
    held, asked = _still_asked(held, remembered["asked"], checks, outcomes, host.now)
    kept = {"held": held, "asked": asked, "trend": {kind: memory for kind, memory in trend.items() if memory}}
    if kept != remembered and not dry:
        state.save(state_dir, STATE, kept)
    return envelope(outcomes)


def conceal(result: dict[str, t.Any], secrets: t.Collection[str]) -> dict[str, t.Any]:
    """Blot `secrets` out of what a person reads.

    Subjects, statuses and figures stay: a password such as `postgres` or `1` would make another thing of them.
    """
    for each in result["outcomes"]:
        for secret in secrets:
            if len(secret) >= SHORTEST_SECRET:
                each["summary"] = each["summary"].replace(secret, "********")
    return result


def _remembered(state_dir: str) -> dict[str, dict[str, t.Any]]:
    """What earlier runs left.

    `held`: the time for each bound with `for` since which every observation was past it; `asked`: when a check with that
    bound was last made, to the day; `trend`: by check type, what its family follows over time.
    """
    document = state.load(state_dir, STATE)
    known = {part: document.get(part, {}) for part in ("held", "asked", "trend")}
    for part in ("held", "asked"):
        if not isinstance(known[part], dict) or not all(isinstance(at, (int, float)) for at in known[part].values()):
            raise state.unreadable(state_dir, STATE, f"{part} is no dictionary of times")
    if not isinstance(known["trend"], dict) or not all(isinstance(each, dict) for each in known["trend"].values()):
        raise state.unreadable(state_dir, STATE, "trend is no dictionary of dictionaries")
    return known


def observe(checks: t.Sequence[Check], host: Host, limits: Limits) -> list[list[Observation] | RunbookError]:
    """Observe concurrently; a check that does not answer in time is left behind in its thread, as an error here.

    Threads are daemons, so that one that hangs (in a name look-up, on a dead network file system) cannot keep the
    module from ending.
    """
    todo: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[t.Any, t.Any]] = queue.SimpleQueue()
    jobs = _jobs(checks)
    for job in jobs:
        todo.put(job)

    helped = host._replace(aside=lambda call: _aside(done, call))

    def work() -> None:
        while True:
            try:
                job = todo.get_nowait()
            except queue.Empty:
                return
            try:
                seen: t.Sequence[list[Observation] | Exception] = _seen([checks[index] for index in job], helped)
            except Exception as error:  # noqa: BLE001  one check must not take with it what the others saw
                seen = [error] * len(job)
            for answer in zip(job, seen):
                done.put(answer)

    # Times are measured beside threads that compute; waiting 5 ms for each of them would count as the server's slowness.
    sys.setswitchinterval(SWITCH_SECONDS)
    crew = _Crew(work, min(limits.workers, len(jobs)))
    silent = RunbookError(
        f"no answer within the {limits.timeout:g} s that all checks of this host have (option timeout)"
    )
    results: list[list[Observation] | RunbookError] = [silent] * len(checks)
    _collect(done, results, time.monotonic() + limits.timeout, crew)
    return results


class _Crew:
    """The threads that do `work`, at most `most` of them."""

    def __init__(self, work: t.Callable[[], None], most: int) -> None:
        self._work = work
        self._most = most
        self._count = 0
        self.add(FIRST_THREADS)

    def add(self, number: int = 0) -> None:
        """Start `number` more threads; by default as many as there are."""
        for _each in range(min(number or self._count, self._most - self._count)):
            threading.Thread(target=self._work, daemon=True).start()
            self._count += 1

    @property
    def whole(self) -> bool:
        """Whether no more can be started."""
        return self._count >= self._most


def _jobs(checks: t.Sequence[Check]) -> list[list[int]]:
    """The checks by number, those together that their family makes together and that have the same time limit.

    Those that measure over a time come first: the others are made meanwhile.
    """
    jobs: dict[t.Any, list[int]] = {}
    for index, check in enumerate(checks):
        together = hasattr(check.family, "observe_all")
        jobs.setdefault((check.type, check.timeout) if together else index, []).append(index)
    return sorted(jobs.values(), key=lambda job: not hasattr(checks[job[0]].family, "MEASURES_OVER_TIME"))


def _seen(checks: t.Sequence[Check], host: Host) -> list[list[Observation]]:
    """What the family of `checks` observes for each of them."""
    family = checks[0].family
    if hasattr(family, "observe_all"):
        together: list[list[Observation]] = family.observe_all([check.options for check in checks], host)
        return together
    return [family.observe(check.options, host) for check in checks]


def _collect(
    done: queue.SimpleQueue[tuple[t.Any, t.Any]],
    results: list[list[Observation] | RunbookError],
    deadline: float,
    crew: _Crew,
) -> None:
    """Put what the threads saw into `results` until all have spoken; meanwhile do what they ask the main thread to do."""
    missing = len(results)
    while missing:
        left = max(0.0, deadline - time.monotonic())
        try:
            index, seen = done.get(timeout=left if crew.whole else min(left, STALLED_SECONDS))
        except queue.Empty:
            if crew.whole or not left:
                return
            crew.add()
            continue
        if callable(index):
            if time.monotonic() < deadline:
                seen.put(_called(index))
            continue
        results[index] = _known(seen)
        missing -= 1


def _aside(done: queue.SimpleQueue[tuple[t.Any, t.Any]], call: t.Callable[[], t.Any]) -> t.Any:
    """Hand `call` from a check's thread to the main thread, and wait for what it gives."""
    reply: queue.SimpleQueue[tuple[t.Any, Exception | None]] = queue.SimpleQueue()
    done.put((call, reply))
    answer, error = reply.get()
    if error is not None:
        raise error
    return answer


def _called(call: t.Callable[[], t.Any]) -> tuple[t.Any, Exception | None]:
    """What a check's thread asked the main thread to do; its error belongs to that check."""
    try:
        return call(), None
    except Exception as error:  # noqa: BLE001  raised again in the thread that asked
        return None, error


def _known(seen: list[Observation] | Exception) -> list[Observation] | RunbookError:
    """An exception means that this one check could not be made; what the others saw is not lost by it."""
    if isinstance(seen, OSError):
        return RunbookError(f"{seen.filename or 'the host'}: {seen.strerror or seen}")
    if isinstance(seen, Exception) and not isinstance(seen, RunbookError):
        return RunbookError(f"the check ended by an error that it does not know: {type(seen).__name__}: {seen}")
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
        if seen.about is not None and metric not in seen.about:
            continue
        value = seen.metrics.get(metric)
        if value is None and metric in seen.later:
            verdict = threshold.Verdict("ok", [], any(bounds.values()))
            text = ""
        elif value is None:
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
    # What could not be measured is worth a word only where nothing worse was: a dead process has no memory.
    levels = ("unknown",) if status == "unknown" else ("critical", "warning")
    texts = [text for level in levels for text in findings.get(level, ())]
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


def _still_asked(
    held: dict[str, float],
    asked: t.Mapping[str, float],
    checks: t.Sequence[Check],
    outcomes: t.Sequence[t.Mapping[str, t.Any]],
    now: float,
) -> tuple[dict[str, float], dict[str, float]]:
    """Forget the times of bounds that a check of this call has no more, and those that no call has asked for in a week.

    The other checks of this host may be made by another call: their times stay.
    """
    if not held:
        return {}, {}
    texts = {
        bound.text for check in checks for levels in check.bounds.values() for each in levels.values() for bound in each
    }
    ours = tuple(f"{check.subject()}{end}" for check in checks for end in ":/")
    judged = tuple(f"{each['subject']}/" for each in outcomes)
    times: dict[str, float] = {}
    for key in held:
        if key.startswith(ours) and key.rpartition("/")[2] not in texts:
            continue
        last = min(asked.get(key, now), now)
        if key.startswith(judged) and now - last > ASKED_SECONDS:
            last = now
        if now - last <= FORGOTTEN_SECONDS:
            times[key] = last
    return {key: held[key] for key in times}, times
