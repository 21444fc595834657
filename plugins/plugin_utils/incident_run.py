# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action C(sre.runbooks.incident) from its arguments to its result; it opens no connection to any host."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import envelope, outcome
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_draft import write_drafts
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_request import Request, read
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_respond import Handled, Responder
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_state import Event, Incident, moment, timings
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_table import colour_of, in_order, render
from ansible_collections.sre.runbooks.plugins.plugin_utils.incidents import Incidents, Kept
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import Outcome
from ansible_collections.sre.runbooks.plugins.plugin_utils.run_metrics import write_incidents
from ansible_collections.sre.runbooks.plugins.plugin_utils.table import Line

STAGE = "incident"


def run(
    arguments: Mapping[str, t.Any], task_vars: Mapping[str, t.Any], dry: bool
) -> tuple[dict[str, t.Any], list[Line]]:
    """Carry out one call; return its result without C(changed), and the lines for the terminal. Raises RunbookError."""
    store = Incidents(arguments["history_url"], arguments["spool"])
    request = read(arguments, task_vars)
    kept = store.run(lambda ledger: Responder(request, ledger, dry).work(), dry)
    wanted = [name for name in arguments["formats"] if name != "table"]
    paths: dict[str, dict[str, str]] = {}
    trouble: list[str] = []
    if not dry and wanted:
        for each in kept.value:
            if _is_drafted(each, request):
                found, problem = _draft(store, each.incident, request, wanted, arguments["directory"])
                paths[each.incident.id] = found
                trouble += [problem] if problem else []
    outcomes = [outcome("incident:draft", STAGE, "warning", problem) for problem in trouble]
    if arguments["textfile_dir"] and not dry:
        outcomes += _told_prometheus(store, arguments["textfile_dir"], request)
    lines: list[Line] = []
    if request.state == "watch" and "table" in arguments["formats"]:
        shown = kept.value if request.ids else []
        incidents = [each.incident for each in shown] or store.run(lambda ledger: ledger.recent(), True).value
        lines = render(incidents, request.at, arguments["width"], request.detect_seconds, request.resolve_seconds)
    return _result(kept, request, paths, outcomes, dry), lines


def _is_drafted(handled: Handled, request: Request) -> bool:
    """Whether people want to read of it now: it is over, was to be, or something was added after it was over."""
    return request.state in ("stable", "closed") or (request.state != "opened" and handled.incident.state != "open")


def _draft(
    store: Incidents, incident: Incident, request: Request, formats: Sequence[str], directory: str
) -> tuple[dict[str, str], str]:
    """Write the drafts of `incident`; return their paths by format, and what went wrong."""
    events = store.run(lambda ledger: ledger.events(incident.id)).value
    written = write_drafts(incident, events, formats, directory, (request.detect_seconds, request.resolve_seconds))
    new = [
        Event(request.at, "postmortem", f"draft written: {path}", f"{incident.id}:{path}:{digest}", actor=request.actor, subject=path,
              details={"path": path, "sha256": digest}, run=request.run)
        for path, digest in written.digests.items()
        if incident.drafts.get(path) != digest
    ]  # fmt: skip
    if new:
        store.run(lambda ledger: ledger.append(incident.id, new))
    return written.paths, written.trouble


def _told_prometheus(store: Incidents, directory: str, request: Request) -> list[Outcome]:
    """Write how many incidents are not closed; return what went wrong. A store that cannot be used tells nothing of the others."""
    try:
        kept = store.run(lambda ledger: None if ledger.partial else ledger.unfinished())
        if kept.value is not None:
            write_incidents(str(Path(directory).expanduser()), kept.value, moment(request.at))
    except RunbookError as error:
        return [outcome("incident:metrics", STAGE, "warning", str(error))]
    return []


def _result(
    kept: Kept[list[Handled]], request: Request, paths: Mapping[str, dict[str, str]], more: Sequence[Outcome], dry: bool
) -> dict[str, t.Any]:
    by_id = {each.incident.id: each for each in kept.value}
    ordered = [by_id[incident.id] for incident in in_order(each.incident for each in by_id.values())]
    incidents = [_shown(each, request, paths.get(each.incident.id, {})) for each in ordered]
    outcomes = [_outcome(each, request) for each in ordered]
    if kept.trouble or kept.refused:
        outcomes.append(_store_outcome(kept))
    outcomes += more
    return envelope(
        outcomes,
        ids=[each["id"] for each in incidents],
        incident=incidents[0] if incidents else {},
        incidents=incidents,
        to_tell=[{"incident": each["id"], **who} for each in incidents for who in each["to_tell"]],
        stored="nowhere" if dry else kept.where,
    )


def _shown(handled: Handled, request: Request, paths: Mapping[str, str]) -> dict[str, t.Any]:
    """Return an incident as the result has it, and as the role that notifies takes it."""
    incident, due = handled.incident, handled.due
    to_tell = [{"contact": contact, "level": level} for contact, level in due.to_tell]
    names = (
        "id", "type", "system", "title", "link", "source", "severity", "why", "state", "verified", "started", "detected", "acknowledged",
        "acknowledged_by", "stable", "closed", "alerts", "progress",
    )  # fmt: skip
    return {
        **{name: getattr(incident, name) for name in names},
        "hosts": list(incident.hosts),
        "assessed": incident.assessed,
        "summary": _summary(incident),
        "level": due.level or next(reversed(incident.levels), ""),
        "to_tell": to_tell,
        "untried": [each for each in to_tell if each["contact"] not in {one["contact"] for one in incident.told}],
        "next_level": due.next_level,
        "next_at": due.next_at,
        "told": list(incident.told),
        "opened_now": handled.met == "opened",
        "resumed": handled.met == "resumed",
        "reopened": handled.met == "reopened",
        "refused": handled.refused,
        "timings": timings(incident, request.detect_seconds, request.resolve_seconds),
        "paths": dict(paths),
    }


def _summary(incident: Incident) -> str:
    about = f"{incident.title or incident.type} on {incident.system}"
    return f"{about}: {incident.why}" if incident.assessed else about


def _outcome(handled: Handled, request: Request) -> dict[str, t.Any]:
    incident = handled.incident
    found = timings(incident, request.detect_seconds, request.resolve_seconds)
    metrics = {f"time_to_{name}_seconds": found[f"{name}_seconds"] for name in ("detect", "resolve")}
    severity = incident.severity if incident.assessed else "not assessed"
    text = f"{incident.id} is {incident.state}, {severity}: {_summary(incident)}"
    if handled.refused:
        text = f"{incident.id} stays {incident.state}, {severity}: {handled.refused}"
    details = {"incident": incident.id, "severity": incident.severity, "state": incident.state, "met": handled.met}
    return outcome(f"incident:{incident.key}", STAGE, colour_of(incident), text, metrics=metrics, details=details)


def _store_outcome(kept: Kept[t.Any]) -> dict[str, t.Any]:
    if kept.where == "store":
        text = f"{kept.refused} lines of the spool could not be taken in; they lie beside it"
        return outcome("incident:store", STAGE, "warning", text)
    told = {"spool": "what happens is kept in the spool until the next run", "nowhere": "what happens is kept nowhere"}[
        kept.where
    ]
    return outcome(
        "incident:store", STAGE, "critical" if kept.where == "nowhere" else "warning", f"{told}: {kept.trouble}"
    )
