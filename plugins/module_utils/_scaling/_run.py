# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Look at each target, say how many instances are wanted and why, and, when told to, start or stop them."""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import lock, state
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import envelope, outcome
from ansible_collections.sre.runbooks.plugins.module_utils._health import _check
from ansible_collections.sre.runbooks.plugins.module_utils._health import _run as _health
from ansible_collections.sre.runbooks.plugins.module_utils._scaling import _rules
from ansible_collections.sre.runbooks.plugins.module_utils._scaling._target import Work

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
    from ansible_collections.sre.runbooks.plugins.module_utils._scaling._settings import Settings, Target

STAGE = "scaling"
STATE = "scaling"
LIMITS = _health.Limits(workers=8, timeout=60.0)
# A target that nobody has looked at for so long is forgotten.
FORGOTTEN_SECONDS = 7 * 86400.0


class Scaling:
    """One call on one host. `dry` says what would be done, and keeps nothing."""

    def __init__(self, settings: Settings, commands: Commands, state_dir: str, dry: bool) -> None:
        self._settings = settings
        self._commands = commands
        self._state_dir = state_dir
        self._dry = dry
        self._work = Work(commands, time.monotonic() + settings.timeout)
        self._memory = _remembered(state_dir)
        self._changed = False
        self._plan: list[str] = []

    def run(self) -> dict[str, t.Any]:
        """Return the envelope; one outcome for each target."""
        outcomes = [self._one(target) for target in self._settings.targets]
        after = "".join(f"{line}\n" for line in self._plan)
        return envelope(outcomes, self._changed, diff={"before": "", "after": after})

    def _one(self, target: Target) -> dict[str, t.Any]:
        figures, unseen = self._figures(target)
        metrics: dict[str, float] = {
            metric.replace(".", "_").replace(" ", "_"): max(values) for metric, values in figures.seen.items() if values
        }
        try:
            running = target.kind.running(target.options, self._work)
        except RunbookError as error:
            return self._told(target, "unknown", f"its instances cannot be counted: {error}{unseen}", metrics)
        memory, now = self._recall(target), time.time()
        advice = _rules.advise(figures, target.rules, len(running), target.bounds, memory, now, target.gap)
        self._keep(target, memory._replace(seen=now))
        metrics = {
            "instances": len(running), "wanted": advice.wanted, "minimum": target.bounds.least, "maximum": target.bounds.most, **metrics,
        }  # fmt: skip
        change = advice.wanted - len(running)
        if not change:
            return self._told(
                target, _holds(advice), f"{len(running)} run: {advice.why}{unseen}", metrics, advice.pending
            )
        text = f"{advice.wanted} instead of {len(running)}: {advice.why}{unseen}"
        self._plan.append(f"{target.name}: {text}")
        if not self._settings.act:
            return self._told(target, "warning" if change > 0 else "ok", f"recommended are {text}", metrics)
        if self._dry:
            self._changed = True
            return self._told(target, "ok", f"would run {text}", metrics)
        return self._act(target, running, advice, memory, text, metrics)

    def _told(
        self, target: Target, status: str, text: str, metrics: t.Mapping[str, float], pending: bool = False
    ) -> dict[str, t.Any]:
        details = {"minimum": target.bounds.least, "maximum": target.bounds.most, "act": self._settings.act}
        return outcome(
            target.subject, STAGE, status, text, metrics=metrics, details=details, pending=pending and status == "ok"
        )

    def _act(
        self,
        target: Target,
        running: list[int],
        advice: _rules.Advice,
        memory: _rules.Memory,
        text: str,
        metrics: dict[str, float],
    ) -> dict[str, t.Any]:
        """Keep that something is begun, then do it: a run that is killed rests as well, and the next one counts what is there."""
        began = time.time()
        self._keep(target, memory._replace(seen=began, acted=began))
        self._changed = True
        change = advice.wanted - len(running)
        problem = ""
        try:
            if change > 0:
                target.kind.more(target.options, self._work, running, change)
            else:
                target.kind.fewer(target.options, self._work, running, -change)
        except RunbookError as error:
            problem = f": {error}"
        try:
            now = len(target.kind.running(target.options, self._work))
        except RunbookError as error:
            return self._told(
                target,
                "critical",
                f"were to run {text}; failed{problem}; how many run cannot be told: {error}",
                metrics,
            )
        metrics = {**metrics, "instances": now, "duration_seconds": round(time.time() - began, 3)}
        if problem or now != advice.wanted:
            return self._told(target, "critical", f"{now} run, and not {text}{problem}", metrics)
        return self._told(target, "ok", f"now run {text}", metrics)

    # --- Looking ---

    def _figures(self, target: Target) -> tuple[_rules.Figures, str]:
        """What was seen of each metric of a rule, and why some of it was not, or is in doubt."""
        host = _check.Host(self._commands, time.time())
        seen = _health.observe(target.measures, host, LIMITS)
        figures: dict[str, list[float] | None] = {}
        doubtful = set()
        problems = []
        for metric, (number, name) in target.sources.items():
            found = seen[number]
            if isinstance(found, RunbookError):
                figures[metric] = None
                problems.append(f"{target.measures[number].subject()}: {found}")
                continue
            figures[metric] = [each.metrics[name] for each in found if name in each.metrics] or None
            bad = [each for each in found if each.status != "ok"]
            if bad:
                doubtful.add(metric)
            problems += [f"{target.measures[number].subject(each.target)}: {each.summary}" for each in bad]
        why = f" ({'; '.join(dict.fromkeys(problems))})" if problems else ""
        return _rules.Figures(figures, doubtful), why

    # --- What is remembered ---

    def _recall(self, target: Target) -> _rules.Memory:
        """A time in the future, kept before the clock was set back, counts as now."""
        known = self._memory.get(target.name, {})
        acted = known.get("acted")
        rules = {
            f"{way}/{metric}/critical/{bound.text}"
            for way, rules in target.rules.items()
            for metric, bound in rules.items()
        }
        held = {key: at for key, at in known.get("held", {}).items() if key in rules}
        return _rules.Memory(held, known.get("seen"), None if acted is None else min(acted, time.time()))

    def _keep(self, target: Target, memory: _rules.Memory) -> None:
        if self._dry:
            return
        self._memory[target.name] = memory._asdict()
        now = time.time()
        kept = {
            name: known for name, known in self._memory.items() if now - (known.get("seen") or now) < FORGOTTEN_SECONDS
        }
        state.save(self._state_dir, STATE, {"targets": kept})


def _holds(advice: _rules.Advice) -> str:
    if not advice.known:
        return "unknown"
    return "warning" if advice.limited else "ok"


def _remembered(state_dir: str) -> dict[str, dict[str, t.Any]]:
    known = state.load(state_dir, STATE).get("targets", {})
    if not isinstance(known, dict) or not all(isinstance(each, dict) for each in known.values()):
        raise state.unreadable(state_dir, STATE, "targets is no dictionary of dictionaries")
    for each in known.values():
        times = [
            each.get("seen"),
            each.get("acted"),
            *(each["held"].values() if isinstance(each.get("held"), dict) else [""]),
        ]
        if not all(at is None or isinstance(at, (int, float)) for at in times):
            raise state.unreadable(state_dir, STATE, "targets holds what are no times")
    return known


def run(settings: Settings, commands: Commands, state_dir: str, dry: bool) -> dict[str, t.Any]:
    """Scale this host; two runs at a time would both add to what they counted."""
    if dry:
        return Scaling(settings, commands, state_dir, dry).run()
    with lock.hold(os.path.join(state_dir, "locks"), STAGE, settings.timeout):
        return Scaling(settings, commands, state_dir, dry).run()
