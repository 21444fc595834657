# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of the action C(sre.runbooks.incident), read: whatever is wrong with them is told before anything is written."""

from __future__ import annotations

import dataclasses
import datetime
import getpass
import hashlib
import os
import secrets
import socket
import typing as t
from collections.abc import Mapping, Sequence

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import STATUSES
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import duration
from ansible_collections.sre.runbooks.plugins.plugin_utils.collect import iso, run_started
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_escalation import Policy, read_policy
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_gather import (
    Play,
    evidence_events,
    gather,
    secretless,
    secretless_lines,
)
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_severity import Rules, read_rules
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_state import (
    DETECT_SECONDS,
    RESOLVE_SECONDS,
    Event,
    moment,
)
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_contacts import LEVELS, Contact, read_contacts
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import SUMMARY_LIMIT

NEEDS_ID = ("recorded", "note", "acknowledged", "escalated", "stable", "closed")


@dataclasses.dataclass(frozen=True)
class Told:
    """What became of telling one contact; `incident` empty: of any of the incidents that the task is about."""

    contact: str
    level: str
    status: str
    summary: str
    incident: str = ""


@dataclasses.dataclass(frozen=True)
class Request:
    """One call of the action. Whatever is random or told by a clock is in it, so that it can be carried out twice."""

    state: str
    ids: tuple[str, ...]
    type: str
    title: str
    link: str
    source: str
    started: str
    actor: str
    text: str
    severity: str
    rules: Rules
    stages: tuple[str, ...]
    stable_at: str
    evidence: tuple[Event, ...]
    told: tuple[Told, ...]
    contacts: tuple[Contact, ...]
    policy: Policy
    reopen_seconds: float
    quiet_seconds: float
    detect_seconds: float
    resolve_seconds: float
    force: bool
    play: Play
    now: datetime.datetime
    run: str
    nonce: str

    @property
    def at(self) -> str:
        return iso(self.now)

    def new_id(self, number: int) -> str:
        """Return the id of the incident that this call opens as its `number`th."""
        digest = hashlib.sha256(f"{self.nonce}:{number}".encode()).hexdigest()
        return f"INC-{self.now:%Y%m%d-%H%M%S}-{digest[:4]}"


def read(arguments: Mapping[str, t.Any], task_vars: Mapping[str, t.Any]) -> Request:
    """Read the arguments and what the hosts registered; raises InputError."""
    state = arguments["state"]
    stages = list(arguments["stages"]) or (["verify"] if state == "stable" and not arguments["force"] else [])
    _refuse(arguments)
    now = datetime.datetime.now(datetime.UTC)
    run = run_name()
    targets = _targets(arguments["targets"])
    return Request(
        state=state,
        ids=tuple(dict.fromkeys(map(str, arguments["incident_id"]))),
        type=str(arguments["type"]),
        title=secretless(arguments["title"], SUMMARY_LIMIT),
        link=secretless(arguments["link"], 1000),
        source=secretless(arguments["source"], 200),
        started=_time("started", arguments["started"], now),
        actor=secretless(arguments["actor"] or _somebody(task_vars), 200),
        text=secretless_lines(arguments["text"]),
        severity=arguments["severity"],
        rules=read_rules(arguments["severity_rules"]),
        stages=tuple(stages),
        stable_at=arguments["stable_at"],
        evidence=tuple(evidence_events(arguments["evidence"], iso(now), run)),
        told=_by_contact([_told(f"told[{number}]", each) for number, each in enumerate(arguments["told"])]),
        contacts=tuple(read_contacts(arguments["contacts"])),
        policy=read_policy(arguments["escalation"]),
        reopen_seconds=duration(arguments["reopen_within"], "reopen_within"),
        quiet_seconds=duration(arguments["quiet"], "quiet"),
        detect_seconds=targets["detect"],
        resolve_seconds=targets["resolve"],
        force=arguments["force"],
        play=gather(task_vars, stages, arguments["hosts"], arguments["systems"]),
        now=now,
        run=run,
        nonce=secrets.token_hex(8),
    )


def run_name() -> str:
    """Return the name of this run of ansible-playbook: the same in all its tasks, sorts by its start."""
    started = run_started()
    seed = f"{socket.gethostname()}:{os.getppid()}:{started.timestamp()}"
    return f"{started:%Y%m%dT%H%M%SZ}-{hashlib.sha256(seed.encode()).hexdigest()[:6]}"


def _refuse(arguments: Mapping[str, t.Any]) -> None:
    state, ids = arguments["state"], arguments["incident_id"]
    if state in NEEDS_ID and not ids:
        raise InputError(
            "incident_id", ids, f"names no incident, for the state {state}", "Give its id; the state watch lists them."
        )
    if state == "opened" and ids:
        raise InputError(
            "incident_id", ids, "is given, for the state opened", "Leave it out: type and system tell which one it is."
        )
    type_ = str(arguments["type"])
    if state == "opened" and (not type_ or not type_.replace("_", "").replace("-", "").isalnum()):
        raise InputError(
            "type", type_, "is no type of an incident", "Give the name of its runbook: letters, digits, _ and -."
        )
    if state == "note" and not arguments["text"].strip():
        raise InputError("text", "", "is empty, for the state note", "Say what there is to say.")
    if arguments["force"] and not arguments["text"].strip():
        raise InputError("text", "", "is empty, with force", "Say why it is done without proof.")


def _targets(raw: Mapping[str, t.Any]) -> dict[str, float]:
    found = {"detect": DETECT_SECONDS, "resolve": RESOLVE_SECONDS}
    for name, value in raw.items():
        if name not in found:
            raise InputError("targets", name, "is no target", "Use detect and resolve.")
        found[name] = duration(value, f"targets.{name}")
    return found


def _time(option: str, value: str, now: datetime.datetime) -> str:
    if not value:
        return ""
    try:
        found = moment(value)
    except ValueError:
        raise InputError(option, value, "is no time", "Write it as 2026-11-21T09:00:00Z.") from None
    # Clocks differ by a little: what is told from the future began now.
    return iso(min(found, now))


def _told(option: str, raw: Mapping[str, t.Any]) -> Told:
    contact = str(raw.get("contact") or raw.get("name") or "")
    status = raw.get("status", "ok")
    if not contact or "://" in contact:
        raise InputError(f"{option}.contact", "…", "is no name of a contact", "Give the contact's name.")
    if status not in STATUSES:
        raise InputError(f"{option}.status", status, "is no status", f"Use one of {', '.join(STATUSES)}.")
    level = str(raw.get("level") or "")
    # As sre.runbooks.notify returns it: a line for each address, with the key of the incident.
    incident = str(raw.get("incident") or str(raw.get("key") or "").removeprefix("incident:"))
    if level and level not in LEVELS:
        raise InputError(f"{option}.level", level, "is no level", f"Use one of {', '.join(LEVELS)}.")
    said = str(raw.get("summary") or raw.get("reason") or "")
    target = str(raw.get("target") or "")
    told = ": ".join(filter(None, (target, said or ("sent" if target and status == "ok" else ""))))
    return Told(contact, level, str(status), secretless(told, SUMMARY_LIMIT), incident)


def _by_contact(told: Sequence[Told]) -> tuple[Told, ...]:
    """Return one for each contact and incident: somebody who was reached at one of two addresses was told."""
    found: dict[tuple[str, str], Told] = {}
    for each in told:
        before = found.get((each.incident, each.contact))
        if before is not None:
            status = min(before.status, each.status, key=STATUSES.index)
            summary = "; ".join(filter(None, (before.summary, each.summary)))[:SUMMARY_LIMIT]
            each = dataclasses.replace(each, status=status, summary=summary, level=each.level or before.level)
        found[each.incident, each.contact] = each
    return tuple(found.values())


def _somebody(task_vars: Mapping[str, t.Any]) -> str:
    for name in ("awx_user_name", "tower_user_name"):
        if isinstance(task_vars.get(name), str) and task_vars[name]:
            return str(task_vars[name])
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def levels_of(contacts: Sequence[Contact]) -> dict[str, str]:
    """Return the level of each contact by name."""
    return {each.name: each.level for each in contacts}
