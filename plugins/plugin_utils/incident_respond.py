# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the action C(sre.runbooks.incident) does to an incident, state by state, through a ledger."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import STATUSES
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_escalation import Due, next_level
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_gather import (
    LOOKING,
    events_of,
    evidence_events,
    for_incident,
    secretless,
)
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_request import Request, levels_of
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_severity import Evidence, severity
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_state import (
    Event,
    Incident,
    fold,
    seconds,
    worse,
)
from ansible_collections.sre.runbooks.plugins.plugin_utils.incidents import Ledger
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import SUMMARY_LIMIT, one_line


class Handled(t.NamedTuple):
    """An incident after a call, what is due, and how the call met it: `opened`, `resumed`, `reopened` or nothing."""

    incident: Incident
    due: Due
    met: str = ""
    refused: str = ""


class Responder:
    """Carries out one request. Made anew for each ledger that it is carried out with."""

    def __init__(self, request: Request, ledger: Ledger, dry: bool = False) -> None:
        self._asked = request
        self._ledger = ledger
        self._dry = dry
        self._count = 0

    def work(self) -> list[Handled]:
        """Do what is asked and return the incidents it is about; raises InputError for one that is not there."""
        if self._asked.state == "opened":
            handled = [self._open(number, system) for number, system in enumerate(sorted(self._asked.play.systems))]
        elif self._asked.state == "watch" and not self._asked.ids:
            handled = [self._watch(incident) for incident in self._ledger.unfinished()]
        else:
            states: dict[str, t.Callable[[Incident], Handled | Incident]] = {
                "recorded": self._record, "note": self._note, "acknowledged": self._acknowledge, "escalated": self._escalate,
                "stable": self._stabilise, "closed": self._close, "watch": self._watch,
            }  # fmt: skip
            found = [self._find(id_) for id_ in self._asked.ids]
            handled = [_handled(states[self._asked.state](incident)) for incident in found]
        return [self._finish(each) for each in handled]

    # --- States --------------------------------------------------------------------------------------------------------

    def _open(self, number: int, system: str) -> Handled:
        asked, key_of = self._asked, f"{self._asked.type}:{system}"
        hosts = asked.play.systems[system]
        before = self._ledger.latest(key_of)
        about = {"type": asked.type, "system": system, "hosts": hosts, "run": asked.run}
        if before is not None and before.state == "open":
            event = self._event("alert", f"alarm again{self._by()}: it is the same incident", details=about)
            return Handled(self._add(before, event), Due("", (), ()), "resumed")
        if before is not None and (before.state == "stable" or self._closed_lately(before)):
            event = self._event("reopened", f"alarm again{self._by()} while it was {before.state}", details=about)
            return Handled(self._add(before, event), Due("", (), ()), "reopened")
        id_ = asked.new_id(number)
        about.update(
            {name: value for name, value in (("title", asked.title), ("link", asked.link), ("source", asked.source),
                                             ("started", asked.started)) if value}
        )  # fmt: skip
        event = Event(asked.at, "opened", asked.title or f"{asked.type} on {system}{self._by()}", f"{id_}:opened",
                      actor=asked.actor, details=about, run=asked.run)  # fmt: skip
        return Handled(self._ledger.append(id_, [event]), Due("", (), ()), "opened")

    def _closed_lately(self, incident: Incident) -> bool:
        since = seconds(incident.closed, self._asked.at)
        return since is not None and since <= self._asked.reopen_seconds

    def _record(self, incident: Incident) -> Incident:
        """Take in what the hosts answered; what was stable and is bad again is reopened."""
        asked = self._asked
        answers = [asked.play.answers[name] for name in self._hosts(incident) if name in asked.play.answers]
        told = [event for answer in answers for event in events_of(answer, asked.at, asked.run, incident.id)]
        sick = sorted(
            {
                event.host
                for event in told
                if event.kind == "stage" and event.stage == "verify" and event.status == "critical"
            }
        )
        if incident.state == "stable" and sick:
            incident = self._add(incident, self._event("reopened", f"no longer well: {', '.join(sick)}"))
        bundles = [each for answer in answers for each in answer.bundles]
        files = [*asked.evidence, *evidence_events(bundles, asked.at, asked.run)]
        incident = self._add(incident, *told, *for_incident(files, incident.id))
        return self._assess(incident)

    def _assess(self, incident: Incident) -> Incident:
        asked = self._asked
        hosts = asked.play.evidence(self._hosts(incident))
        if not hosts:
            return incident
        size = asked.play.sizes.get(incident.system, 0)
        level, why = severity(Evidence(hosts, size), asked.rules)
        if not incident.assessed or worse(level, incident.severity):
            return self._add(incident, self._event("severity", why, subject=level))
        return incident

    def _note(self, incident: Incident) -> Incident:
        return self._add(incident, self._event("note", one_line(self._asked.text), details={"text": self._asked.text}))

    def _acknowledge(self, incident: Incident) -> Incident:
        if incident.state == "closed":
            raise InputError("incident_id", incident.id, "is closed", "Open incidents are acknowledged.")
        said = one_line(self._asked.text) or f"{self._asked.actor} answers for it"
        return self._add(incident, self._event("acknowledged", said))

    def _escalate(self, incident: Incident) -> Incident | Handled:
        asked = self._asked
        told = [each for each in asked.told if each.incident in ("", incident.id)]
        if asked.told:
            levels = levels_of(asked.contacts)
            due = {each["contact"]: each["level"] for each in incident.told}
            for each in told:
                level = each.level or levels.get(each.contact) or due.get(each.contact, "")
                summary = each.summary or ("was told" if each.status == "ok" else "could not be told")
                details = {"level": level, "severity": incident.severity}
                incident = self._add(
                    incident, self._event("told", summary, subject=each.contact, status=each.status, details=details)
                )
            return incident
        if incident.state != "open":
            raise InputError("incident_id", incident.id, f"is {incident.state}", "Open incidents are escalated.")
        due_now = next_level(incident, asked.contacts, asked.policy, asked.now, forced=True)
        if not due_now.reached:
            return Handled(incident, due_now, refused="there is no further level to escalate to")
        return self._reach(incident, due_now, asked_for=True)

    def _stabilise(self, incident: Incident) -> Incident | Handled:
        asked = self._asked
        incident = self._record(incident)
        unwell = "" if asked.force else self._unwell(incident)
        if incident.state == "closed" or unwell:
            return Handled(incident, Due("", (), ()), refused=unwell or "it is closed")
        if asked.force:
            return self._add(
                incident, self._event("stable", f"without proof: {one_line(asked.text)}", details={"verified": False})
            )
        said = f"{', '.join(asked.stages)} found every host well"
        return self._add(incident, self._event("stable", said, status="ok", details={"verified": True}))

    def _unwell(self, incident: Incident) -> str:
        """Return what is missing to the proof that every host of `incident` is well, of this time that it is open."""
        allowed = STATUSES[: STATUSES.index(self._asked.stable_at) + 1]
        problems = []
        proofs = [stage for stage in self._asked.stages if stage in LOOKING] or self._asked.stages
        for host in incident.hosts:
            stages = incident.progress.get(host, {})
            for stage in proofs:
                said = stages.get(stage)
                changed = max((each["at"] for name, each in stages.items() if name == "stabilise"), default="")
                counts = (said or {}).get("counts", {})
                if said is None or said["at"] < changed:
                    problems.append(f"{host} was not looked at by {stage}")
                elif said["status"] not in allowed or not counts.get("ok", 0) + counts.get("warning", 0):
                    problems.append(f"{stage} of {host} is {said['status']}")
        if not incident.hosts:
            return "it has no hosts"
        more = f", and {len(problems) - 5} more" if len(problems) > 5 else ""
        return "; ".join(problems[:5]) + more

    def _close(self, incident: Incident) -> Incident:
        asked = self._asked
        if incident.state == "open" and not asked.force:
            raise InputError(
                "incident_id", incident.id, "is open: nothing has shown that it is well",
                "Run its playbook until it is stable, or give force and say why in text.",
            )  # fmt: skip
        return self._add(incident, self._event("closed", one_line(asked.text) or "closed"))

    def _watch(self, incident: Incident) -> Handled:
        asked = self._asked
        if asked.stages:
            incident = self._record(incident)
        waited = seconds(incident.opened, asked.at) or 0.0
        if incident.state == "open" and not incident.assessed and waited > asked.detect_seconds:
            why = f"the run that opened it has not said how bad it is for {show_duration(waited)}"
            incident = self._add(incident, self._event("severity", why, subject="P2"))
        quiet = seconds(incident.stable, asked.at)
        if incident.state == "stable" and incident.verified and quiet is not None and quiet >= asked.quiet_seconds:
            said = f"verified, and quiet for {show_duration(quiet)}"
            incident = self._add(incident, self._event("closed", said))
        return Handled(incident, Due("", (), ()))

    # --- What they share -----------------------------------------------------------------------------------------------

    def _finish(self, handled: Handled) -> Handled:
        """Set the severity that a person gave, and escalate what is due; without contacts nobody can be."""
        incident, asked = handled.incident, self._asked
        if asked.severity and incident.state != "closed" and asked.severity != incident.severity:
            said = f"set by {asked.actor}" + (f": {one_line(asked.text)}" if asked.text else "")
            incident = self._add(incident, self._event("severity", said, subject=asked.severity))
        if not asked.contacts:
            return handled._replace(incident=incident)
        due = next_level(incident, asked.contacts, asked.policy, asked.now)
        if due.reached:
            incident = self._reach(incident, due)
        return handled._replace(incident=incident, due=due)

    def _reach(self, incident: Incident, due: Due, asked_for: bool = False) -> Incident:
        for level, why in due.reached:
            why = one_line(self._asked.text) or why if asked_for else why
            details = {"asked": True} if asked_for else {}
            incident = self._add(incident, self._event("escalated", why, subject=level, details=details))
        return incident

    def _find(self, id_: str) -> Incident:
        found = self._ledger.find(id_)
        if found is not None:
            return found
        if self._dry or self._ledger.partial:
            return fold(None, self._event("note", "nothing else is known of it here"), id_)
        raise InputError(
            "incident_id", id_, "is no incident of this history", "The state watch lists those that are not closed."
        )

    def _hosts(self, incident: Incident) -> Sequence[str]:
        """Return the hosts of the play that `incident` concerns."""
        systems = self._asked.play.systems
        if not incident.system:
            return [name for names in systems.values() for name in names]
        return systems.get(incident.system, [])

    def _by(self) -> str:
        return f" from {self._asked.source}" if self._asked.source else ""

    def _event(self, kind: str, summary: str, **more: t.Any) -> Event:
        self._count += 1
        token = f"{self._asked.nonce}:{self._count}"
        said = secretless(summary, SUMMARY_LIMIT)
        return Event(self._asked.at, kind, said, token, actor=self._asked.actor, run=self._asked.run, **more)

    def _add(self, incident: Incident, *events: Event) -> Incident:
        return self._ledger.append(incident.id, events) if events else incident


def _handled(result: Handled | Incident) -> Handled:
    return result if isinstance(result, Handled) else Handled(result, Due("", (), ()))
