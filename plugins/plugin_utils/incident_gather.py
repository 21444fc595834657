# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run knows of an incident: the hosts by system, and what they registered for its stages, as events."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import typing as t
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from ansible_collections.sre.runbooks.plugins.module_utils._core import files
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import STATUSES, worst
from ansible_collections.sre.runbooks.plugins.module_utils._logs._redact import redact
from ansible_collections.sre.runbooks.plugins.plugin_utils.collect import registered_by, system_of
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_state import Event, moment
from ansible_collections.sre.runbooks.plugins.plugin_utils.model import NO_SYSTEM
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import (
    ROLL_CALL,
    SUMMARY_LIMIT,
    HostAnswer,
    Outcome,
    call_host,
    call_stage,
    expected_stages,
    one_line,
    plain,
)

LOOKING = ("detect", "health", "log_scan", "verify")
"""Stages that look: what they find is evidence of the severity, and what they find well is only counted."""

FIRST = ("detect", "health", "log_scan")
"""Stages whose findings can say when an incident began."""

DETAILS_LIMIT = 8000
TEXT_LIMIT = 4000


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one host answered: outcomes by stage, the rows of a host that was lost, the files of it that were fetched."""

    host: str
    stages: dict[str, list[Outcome]]
    lost: tuple[Outcome, ...] = ()
    bundles: tuple[Mapping[str, t.Any], ...] = ()


@dataclasses.dataclass(frozen=True)
class Play:
    """The hosts of the play by system, how many hosts each system has in the inventory, and what the hosts answered."""

    systems: dict[str, list[str]]
    sizes: dict[str, int]
    answers: dict[str, Answer]

    def evidence(self, hosts: Collection[str]) -> list[HostAnswer]:
        """Return what those of `hosts` that were looked at answered in the stages that look."""
        found = []
        for name in hosts:
            answer = self.answers.get(name)
            if answer is not None:
                looked = [each for stage, rows in answer.stages.items() if stage in LOOKING for each in rows]
                if looked or answer.lost:
                    found.append(HostAnswer(name, "", not answer.lost, [*answer.lost, *looked]))
        return found


def gather(
    task_vars: Mapping[str, t.Any], stages: Sequence[str], hosts: Collection[str] = (), systems: Collection[str] = ()
) -> Play:
    """Return what is known of the hosts of the play, or of those of `hosts` and `systems`; raises InputError."""
    hostvars = task_vars["hostvars"]
    playing = [str(name) for name in task_vars["ansible_play_hosts_all"]]
    for name in hosts:
        if name not in playing:
            raise InputError(
                "hosts", name, "is no host of this play", "Name hosts of the play, or none for all of them."
            )
    expected = expected_stages(
        stages, task_vars.get("ansible_run_tags") or (), task_vars.get("ansible_skip_tags") or ()
    )
    # What stabilise verified at its end is looked at too.
    wanted = [*expected, "verify"] if "stabilise" in expected and "verify" not in expected else expected
    by_system: dict[str, list[str]] = collections.defaultdict(list)
    sizes: collections.Counter[str] = collections.Counter()
    for name in dict.fromkeys([*playing, *(str(each) for each in hostvars)]):
        system = system_of(hostvars, name) or NO_SYSTEM
        sizes[system] += 1
        if name in playing and (not hosts or name in hosts) and (not systems or system in systems):
            by_system[system].append(name)
    for system in systems:
        if system not in by_system:
            known = ", ".join(sorted(sizes))
            raise InputError(
                "systems", system, "has no host in this play", f"The systems of this inventory are {known}."
            )
    chosen = [name for names in by_system.values() for name in names]
    answers = {}
    for name in chosen if expected else ():
        registered = _with_proofs(registered_by(hostvars, name, [*expected, "stabilise"]))
        answers[name] = _answer(name, {stage: each for stage, each in registered.items() if stage in wanted}, wanted)
    return Play(dict(by_system), dict(sizes), answers)


def _answer(name: str, registered: Mapping[str, t.Any], stages: Sequence[str]) -> Answer:
    whole = call_host(name, "", stages, registered)
    lost = tuple(each for each in whole.outcomes if each["stage"] == ROLL_CALL and each["subject"] == "host")
    found: dict[str, list[Outcome]] = {}
    bundles = []
    for stage in stages:
        result = registered.get(stage)
        if isinstance(result, Mapping) and result.get("unreachable") is True:
            found[stage] = list(lost)
        elif stage in registered or not lost:
            found[stage] = call_stage(stage, result, stage in registered)
        bundle = result.get("bundle") if isinstance(result, Mapping) else None
        if isinstance(bundle, Mapping) and isinstance(bundle.get("fetched"), str):
            text = found[stage][0]["summary"] if found.get(stage) else ""
            bundles.append({"host": name, "path": bundle["fetched"], "sha256": bundle.get("sha256"), "text": text})
    return Answer(name, found, lost, tuple(bundles))


def _with_proofs(registered: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return results by stage; where there is none of its own, the stage verify is what stabilise has verified."""
    found = dict(registered)
    done = found.get("stabilise")
    if isinstance(done, Mapping) and isinstance(done.get("outcomes"), list) and not done.get("failed"):
        proofs = [each for each in done["outcomes"] if isinstance(each, Mapping) and each.get("stage") == "verify"]
        if proofs and "verify" not in found:
            found["verify"] = {"outcomes": proofs}
            found["stabilise"] = {**done, "outcomes": [each for each in done["outcomes"] if each not in proofs]}
    return found


def events_of(answer: Answer, at: str, run: str, incident: str) -> Iterator[Event]:
    """Yield the events of what one host answered: its findings and actions, and one for each stage.

    Told twice by the same run they have the same token, so that they are kept once.
    """
    for stage, rows in answer.stages.items():
        seen: collections.Counter[str] = collections.Counter()
        for each in rows:
            ordinal = seen[each["subject"]]
            seen[each["subject"]] += 1
            if stage in LOOKING and each["status"] == "ok":
                continue
            event = Event(
                _when(each, at), "outcome", secretless(each["summary"], SUMMARY_LIMIT), "", host=answer.host, stage=stage,
                subject=secretless(each["subject"], SUMMARY_LIMIT), status=each["status"], details=_details(each), run=run,
            )  # fmt: skip
            yield _tokened(event, incident, str(ordinal))
        yield _tokened(_stage_event(answer.host, stage, rows, at, run), incident, "")
    if answer.lost and not any(answer.lost[0] in rows for rows in answer.stages.values()):
        summary = secretless(answer.lost[0]["summary"], SUMMARY_LIMIT)
        event = Event(
            at, "outcome", summary, "", host=answer.host, stage=ROLL_CALL, subject="host", status="critical", run=run
        )
        yield _tokened(event, incident, "")


def _when(each: Outcome, at: str) -> str:
    """Return when an action was begun, where it says so: what a run records at its end happened before."""
    said = each["details"].get("at")
    try:
        begun = f"{moment(said):%Y-%m-%dT%H:%M:%SZ}" if isinstance(said, str) else at
    except ValueError:
        return at
    return min(begun, at)


def _stage_event(host: str, stage: str, rows: Sequence[Outcome], at: str, run: str) -> Event:
    counts = {name: sum(each["status"] == name for each in rows) for name in STATUSES}
    details: dict[str, t.Any] = {"counts": {name: count for name, count in counts.items() if count}}
    if stage in FIRST and (since := _began(rows, at)):
        details["since"] = since
    told = ", ".join(f"{count} {name}" for name, count in reversed(details["counts"].items())) or "nothing"
    return Event(at, "stage", f"{stage}: {told}", "", host=host, stage=stage, status=worst(each["status"] for each in rows),
                 details=details, run=run)  # fmt: skip


def _began(rows: Sequence[Outcome], at: str) -> str:
    """Return since when what is worst has been so; nothing where no check knows."""
    for status in ("critical", "warning"):
        known = [str(each["since"]) for each in rows if each["status"] == status and each.get("since")]
        if known:
            return min(known) if min(known) <= at else ""
    return ""


def _tokened(event: Event, incident: str, ordinal: str) -> Event:
    parts = (
        incident,
        event.run,
        event.kind,
        event.host,
        event.stage,
        event.subject,
        ordinal,
        event.status,
        event.summary,
    )
    return dataclasses.replace(event, token=hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32])


def _details(each: Outcome) -> dict[str, t.Any]:
    found = {name: value for name in ("details", "metrics") if (value := secretless_data(plain(each.get(name) or {})))}
    if each.get("since"):
        found["since"] = each["since"]
    if len(json.dumps(found)) > DETAILS_LIMIT:
        return {"left_out": f"more than {DETAILS_LIMIT} characters"}
    return found


def secretless(text: t.Any, limit: int = TEXT_LIMIT) -> str:
    """Return `text` on one line without what has the shape of a secret."""
    return redact(one_line(text), limit)


def secretless_lines(text: str) -> str:
    """Return the lines of `text` without what has the shape of a secret, at most TEXT_LIMIT characters."""
    return "\n".join(redact(line, 1000) for line in str(plain(text)).splitlines())[:TEXT_LIMIT]


def secretless_data(value: t.Any) -> t.Any:
    """Return JSON data whose texts have lost what has the shape of a secret, also where a name tells it."""
    if isinstance(value, Mapping):
        # A value is looked at together with its name: `password: x` is no secret by the shape of x.
        return {
            name: redact(f"{name}: {each}", TEXT_LIMIT).partition(": ")[2]
            if isinstance(each, str)
            else secretless_data(each)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [secretless_data(each) for each in value]
    return redact(value, TEXT_LIMIT) if isinstance(value, str) else value


def evidence_events(entries: Sequence[Mapping[str, t.Any]], at: str, run: str) -> list[Event]:
    """Return an event for each file of the option `evidence`, with the checksum that it has now; raises InputError."""
    return [_evidence(f"evidence[{number}]", each, at, run) for number, each in enumerate(entries)]


def _evidence(option: str, entry: Mapping[str, t.Any], at: str, run: str) -> Event:
    for name in entry:
        if name not in ("host", "path", "sha256", "text"):
            raise InputError(option, name, "is no option of it", "Use host, path, sha256 and text.")
    if not entry.get("path") or not isinstance(entry["path"], str):
        raise InputError(f"{option}.path", entry.get("path"), "is no path", "Give the file's path on the controller.")
    path, given = Path(entry["path"]).expanduser().absolute(), str(entry.get("sha256") or "")
    details: dict[str, t.Any] = {"path": str(path), "sha256": given}
    status, problem = "ok", ""
    try:
        found = files.sha256(str(path))
        details.update(sha256=found, size_bytes=path.stat().st_size)
        if given and found != given:
            status, problem = "critical", f"its checksum is not the {given} that was told; "
    except (OSError, RunbookError):
        status, problem = "unknown", "cannot be read; "
    summary = f"{problem}{entry.get('text') or path.name}"
    event = Event(at, "evidence", secretless(summary, SUMMARY_LIMIT), "", host=str(entry.get("host") or ""), subject=str(path),
                  status=status, details=details, run=run)  # fmt: skip
    # The same file told in two ways is one piece of evidence.
    token = _tokened(dataclasses.replace(event, summary=""), "", str(details["sha256"])).token
    return dataclasses.replace(event, token=token)


def for_incident(events: Sequence[Event], incident: str) -> list[Event]:
    """Return `events` as events of `incident`: what concerns two incidents is told in both."""
    return [dataclasses.replace(each, token=f"{incident}:{each.token}") for each in events]
