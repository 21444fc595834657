# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Indexes that must exist are made; what is conspicuous is told, with a remedy; slow statements are judged by bounds."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import lock
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import Busy, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import envelope, outcome
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration
from ansible_collections.sre.runbooks.plugins.module_utils._database._engine import (
    Absent,
    Damaged,
    Finding,
    Index,
    Locked,
    Over,
    Query,
    Source,
    State,
    Survey,
    Work,
)

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
    from ansible_collections.sre.runbooks.plugins.module_utils._core.entries import Item
    from ansible_collections.sre.runbooks.plugins.module_utils._database._indexes_settings import Settings

STAGE = "indexes"
# Of each kind a result names so many.
NAMED = 20
MISSING = ("missing", "broken", "building")


class Result(t.NamedTuple):
    """What became of one database; `plan` are the lines of the diff."""

    outcomes: list[dict[str, t.Any]]
    changed: bool = False
    plan: tuple[str, ...] = ()


def run(settings: Settings, items: t.Sequence[Item], commands: Commands, state_dir: str, dry: bool) -> dict[str, t.Any]:
    """Return the envelope, with the indexes that are made as its diff."""
    results = [_one(settings, item, commands, state_dir, dry) for item in items]
    return envelope(
        [each for result in results for each in result.outcomes],
        any(result.changed for result in results),
        diff={"before": "", "after": "".join(f"{line}\n" for result in results for line in result.plan)},
    )


def _one(settings: Settings, item: Item, commands: Commands, state_dir: str, dry: bool) -> Result:
    work = Work(commands, settings.lock_seconds, time.monotonic() + settings.seconds, dry=dry)
    try:
        if dry:
            return _tend(settings, item, work)
        with lock.hold(state_dir, f"{STAGE}-{item.engine_name}-{item.name}"):
            return _tend(settings, item, work)
    except Busy as error:
        return Result([outcome(item.subject, STAGE, "warning", f"not started: {error}", details={"busy": True})])
    except Absent as error:
        return Result([outcome(item.subject, STAGE, "skipped", str(error))])
    except (Locked, Over) as error:
        return Result([outcome(item.subject, STAGE, "warning", f"not looked at: {error}")])
    except Damaged as error:
        return Result(
            [outcome(item.subject, STAGE, "critical", f"damaged: {error} Restore a good copy, or repair it.")]
        )
    except (RunbookError, OSError) as error:
        return Result([outcome(item.subject, STAGE, "critical", f"could not be looked at: {error}")])


def _tend(settings: Settings, item: Item, work: Work) -> Result:
    wanted = settings.wanted[item.name]
    survey: Survey = item.engine.survey(item.source, wanted, settings.limits, work)
    made, problems = _make(item, wanted, survey, work)
    findings = [each for each in survey.findings if _told(each, settings)]
    plan = tuple(f"{item.subject}: {text}" for text in made)
    about = _about_indexes(item, wanted, survey, made, problems, findings, work.dry)
    return Result([about, *_about_queries(item, survey, settings)], bool(made), plan)


def _make(item: Item, wanted: t.Sequence[Index], survey: Survey, work: Work) -> tuple[list[str], list[tuple[str, str]]]:
    """Make what is missing. One that cannot be made keeps no other from it."""
    made: list[str] = []
    problems: list[tuple[str, str]] = []
    for index, state in zip(wanted, survey.states):
        if state.kind == "different":
            problems.append(("warning", f"{index.name} is there, but {state.text}: drop it, or correct its definition"))
        elif state.kind == "impossible":
            problems.append(("critical", f"{index.name}: {state.text}"))
        elif state.kind in MISSING:
            try:
                text = (
                    f"would be {'made anew' if state.kind == 'broken' else 'made'}"
                    if work.dry
                    else _create(item, index, state, work)
                )
                made.append(f"{_shown(index)} {text}")
            except (Locked, Over) as error:
                problems.append(("warning", f"{index.name}: {error}"))
            except (RunbookError, OSError) as error:
                problems.append(("critical", str(error)))
    return made, problems


def _create(item: Item, index: Index, state: State, work: Work) -> str:
    started = time.monotonic()
    source: Source = item.source
    text = item.engine.create(source, index, state, work)
    return f"{text} in {show_duration(time.monotonic() - started)}"


def _shown(index: Index) -> str:
    table = f"{index.schema}.{index.table}" if index.schema else index.table
    return f"{index.name} on {table} ({', '.join(index.columns)})"


def _told(finding: Finding, settings: Settings) -> bool:
    """Not what nobody asked for, and not what somebody has looked at: `ignore` names the target or its beginning."""
    words = finding.target.split(" ")[0]
    return finding.kind in settings.report and not {finding.target, words} & set(settings.ignore)


def _about_indexes(
    item: Item,
    wanted: t.Sequence[Index],
    survey: Survey,
    made: t.Sequence[str],
    problems: t.Sequence[tuple[str, str]],
    findings: t.Sequence[Finding],
    dry: bool,
) -> dict[str, t.Any]:
    status = "ok"
    if problems or findings:
        status = "critical" if any(level == "critical" for level, _text in problems) else "warning"
    there = sum(state.kind == "present" for state in survey.states)
    parts = [f"{there + (0 if dry else len(made))} of {len(wanted)} wanted indexes are there"] if wanted else []
    parts += [*made[:3], *([f"{len(made) - 3} more {'to make' if dry else 'made'}"] if len(made) > 3 else [])]
    parts += [text for _level, text in problems[:3]]
    kinds: dict[str, list[str]] = {}
    for finding in findings:
        kinds.setdefault(finding.kind, []).append(finding.target)
    for kind, targets in kinds.items():
        parts.append(
            f"{len(targets)} {kind.replace('_', ' ')}: {', '.join(targets[:3])}{', …' if len(targets) > 3 else ''}"
        )
    metrics = {
        **survey.metrics,
        "wanted": len(wanted),
        "missing": sum(state.kind in (*MISSING, "impossible") for state in survey.states) - (0 if dry else len(made)),
        "findings": len(findings),
    }
    details: dict[str, t.Any] = {"made": list(made[:NAMED])}
    if problems:
        details["problems"] = [text for _level, text in problems[:NAMED]]
    if findings:
        details["findings"] = [each._asdict() for each in findings[:NAMED]]
    return outcome(
        item.subject, STAGE, status, "; ".join(parts) or "nothing is conspicuous", metrics=metrics, details=details
    )


def _about_queries(item: Item, survey: Survey, settings: Settings) -> list[dict[str, t.Any]]:
    """One outcome for all statements; none where the engine has no such record at all."""
    subject = f"{item.subject}:queries"
    if survey.queries is None and not survey.told:
        return []
    if survey.queries is None:
        return [outcome(subject, STAGE, "skipped", f"no statements to judge: {survey.told}")]
    status, slow = "ok", []
    for query in survey.queries:
        passed = [
            level
            for level, bounds in settings.bounds.items()
            if any(bound.passed(query.mean_seconds) for bound in bounds)
        ]
        if passed:
            slow.append(query)
            status = "critical" if "critical" in passed or status == "critical" else "warning"
    slowest = survey.queries[0].mean_seconds if survey.queries else 0.0
    metrics = {"statements": len(survey.queries), "slow": len(slow), "slowest_seconds": round(slowest, 6)}
    text = f"{len(slow)} kinds of statements are slow" if slow else "no statement is slow"
    text += "".join(f"; {_line(query)}" for query in slow[:2])
    details = {"queries": [_row(query) for query in (slow or survey.queries)[:NAMED]]}
    return [outcome(subject, STAGE, status, text, metrics=metrics, details=details)]


def _line(query: Query) -> str:
    shown = query.text if len(query.text) <= 80 else f"{query.text[:79]}…"
    return f"{show_duration(query.mean_seconds)} mean of {query.calls}: {shown}"


def _row(query: Query) -> dict[str, t.Any]:
    return {
        "query": query.text,
        "calls": query.calls,
        "mean_seconds": round(query.mean_seconds, 6),
        "total_seconds": round(query.total_seconds, 6),
    }
