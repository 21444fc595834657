# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The roll-call: which hosts and stages were expected, and what each of them answered.

Pure functions over plain data. Silence is a failure here: a host that could not be reached, a stage that failed or that
never ran is an outcome of its own, in the stage `roll_call`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import typing as t
from collections.abc import Collection, Iterable, Mapping, Sequence

from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import STATUSES, outcome, worst

ROLL_CALL = "roll_call"
SUMMARY_LIMIT = 500
"""Characters of a summary or message that are kept: it is one line for a person, the rest is in the task's output."""

Outcome = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class HostAnswer:
    """What one host contributed to a run. `answered` is false when it was unreachable or no stage ran on it."""

    name: str
    system: str
    answered: bool
    outcomes: list[Outcome]

    @property
    def status(self) -> str:
        return worst(each["status"] for each in self.outcomes)


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a playbook. Times are UTC in ISO 8601 with a final Z; `id` sorts by the time of the start."""

    id: str
    playbook: str
    started: str
    finished: str
    check_mode: bool
    version: str
    stages: list[str]
    hosts: list[HostAnswer]

    @property
    def status(self) -> str:
        return worst(host.status for host in self.hosts)


def expected_stages(stages: Sequence[str], run_tags: Collection[str], skip_tags: Collection[str]) -> list[str]:
    """Return those `stages` that C(--tags) and C(--skip-tags) leave; the tag of a stage is its name."""
    everything = {"all", "tagged"}
    wanted = [stage for stage in stages if not run_tags or everything & set(run_tags) or stage in run_tags]
    return [] if everything & set(skip_tags) else [stage for stage in wanted if stage not in skip_tags]


def call_host(name: str, system: str, stages: Sequence[str], registered: Mapping[str, t.Any]) -> HostAnswer:
    """Turn the results that `name` has registered (by stage, untemplated, any shape) into its outcomes.

    A host that was lost half-way keeps what its earlier stages found, and has one row for being lost: stages that were
    then left out have no row of their own.
    """
    lost = next((registered[stage] for stage in stages if _says(registered.get(stage), "unreachable")), None)
    outcomes: list[Outcome] = []
    if lost is not None:
        outcomes.append(_missing("host", f"unreachable: {_message(lost)}"))
    elif stages and not any(stage in registered for stage in stages):
        return HostAnswer(name, system, False, [_missing("host", f"never ran: no result of {', '.join(stages)}")])
    for stage in stages:
        if lost is None or _has_outcomes(registered.get(stage)) or _says(registered.get(stage), "failed"):
            outcomes.extend(call_stage(stage, registered.get(stage), stage in registered))
    return HostAnswer(name, system, lost is None, outcomes)


def call_stage(stage: str, result: t.Any, ran: bool = True) -> list[Outcome]:
    """Turn one registered result of a reachable host into outcomes; whatever is wrong with it is a finding."""
    if not ran:
        return [_missing(stage, "never ran: the play left this host before this stage")]
    if not isinstance(result, Mapping):
        return [_missing(stage, "returned something else than a result")]
    found = [_read(stage, each) for each in result["outcomes"]] if _has_outcomes(result) else []
    if _says(result, "failed"):
        return [_missing(stage, f"failed: {_message(result)}"), *found]
    if _says(result, "skipped") and not found:
        return [outcome(stage, stage, "skipped", f"skipped: {_skip_reason(result)}")]
    if not _has_outcomes(result):
        return [_missing(stage, "returned no outcomes")]
    return found


def plain(value: t.Any) -> t.Any:
    """Return `value` as plain JSON data that any database and browser take.

    Drops ansible-core's tags, replaces what is no Unicode text (bytes of undecodable file names) and NUL, and turns
    numbers that JSON does not know (NaN, infinity) into null.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_text(key): plain(each) for key, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return [plain(each) for each in value]
    return _text(value)


def _text(value: t.Any) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\N{REPLACEMENT CHARACTER}")


def one_line(text: t.Any) -> str:
    """Return `text` on one line of at most `SUMMARY_LIMIT` characters."""
    line = " ".join(_text(text).split())
    return line if len(line) <= SUMMARY_LIMIT else f"{line[: SUMMARY_LIMIT - 1]}…"


def _read(stage: str, raw: t.Any) -> Outcome:
    """Check one outcome of a module; a malformed one becomes a finding that shows what was returned."""
    if not isinstance(raw, Mapping) or raw.get("status") not in STATUSES or not isinstance(raw.get("subject"), str):
        return _missing(stage, f"returned a malformed outcome: {one_line(json.dumps(plain(raw)))[:120]}")
    metrics = raw.get("metrics") if isinstance(raw.get("metrics"), Mapping) else {}
    details = raw.get("details") if isinstance(raw.get("details"), Mapping) else {}
    result = outcome(
        one_line(raw["subject"]),
        one_line(raw.get("stage") or stage),
        str(raw["status"]),
        one_line(raw.get("summary") or ""),
        metrics={key: value for key, value in plain(metrics).items() if isinstance(value, (int, float))},
        details=plain(details),
        pending=raw.get("pending") is True,
    )
    if isinstance(raw.get("since"), str) and raw["since"]:
        result["since"] = one_line(raw["since"])
    return result


def _missing(subject: str, summary: str) -> Outcome:
    return outcome(subject, ROLL_CALL, "critical", one_line(summary))


def _says(result: t.Any, flag: str) -> bool:
    return isinstance(result, Mapping) and result.get(flag) is True


def _has_outcomes(result: t.Any) -> bool:
    return isinstance(result, Mapping) and isinstance(result.get("outcomes"), list)


def _message(result: Mapping[str, t.Any]) -> str:
    message = one_line(result.get("msg") or result.get("censored") or "no message")
    return message.removeprefix("Task failed: ")


def _skip_reason(result: Mapping[str, t.Any]) -> str:
    reason = one_line(result.get("msg") or result.get("skip_reason") or "no reason given")
    condition = result.get("false_condition")
    return f"{reason} ({one_line(condition)})" if condition is not None else reason
