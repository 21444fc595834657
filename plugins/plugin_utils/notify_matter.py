# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What there is to tell: the problems of a run by system, or an incident, and how they differ from what was told (I6)."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import typing as t
from collections.abc import Collection, Iterator, Mapping

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.plugin_utils.history import BAD, keys
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_contacts import RANKS, Contact
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import ROLL_CALL, Run, one_line

NO_SYSTEM = "no system"
SEVERITIES = ("P1", "P2", "P3", "P4")
STATES = ("open", "stable", "closed")
_PART = "\t"


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that is wrong. `why` and `link` are what the check itself knows, and may be empty."""

    host: str
    stage: str
    subject: str
    status: str
    summary: str
    since: str
    why: str = ""
    link: str = ""


@dataclasses.dataclass(frozen=True)
class Matter:
    """What belongs into one message: its stable `key` is the same in every run, and with every service.

    `problems` by id; `state` is `open`, `acknowledged` or `stable`. `covers` tells whether this run looked at an id: what
    it did not look at (C(--limit), C(--tags)) is neither new nor over.
    """

    key: str
    kind: str
    id: str
    system: str
    started: str
    tags: frozenset[str]
    problems: Mapping[str, Problem]
    covers: t.Callable[[str], bool]
    state: str = "open"
    why: str = ""
    link: str = ""
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def incident(self) -> bool:
        return self.kind == "incident"

    def minded(self, contact: Contact) -> dict[str, Problem]:
        """Return the problems that are bad enough for `contact`."""
        return {name: each for name, each in self.problems.items() if contact.minds(each.status)}


def of_run(run: Run, stages: Collection[str], inventory: Collection[str], about: Mapping[str, t.Any]) -> list[Matter]:
    """Return one matter for each system of `run`.

    `stages` are those of the playbook with all its tags, `inventory` all hosts that there are, `about` says by system why it
    matters and where its runbook is.
    """
    found: dict[str, dict[str, Problem]] = collections.defaultdict(dict)
    for host in run.hosts:
        problems = found[host.system or NO_SYSTEM]
        for key, each in keys(host):
            if each["status"] in BAD:
                details = each["details"]
                problems[_PART.join(map(str, key))] = Problem(
                    host.name, each["stage"], each["subject"], each["status"], each["summary"], each.get("since") or run.started,
                    *(one_line(next(filter(None, map(details.get, names)), "")) for names in (("why", "meaning"), ("link", "runbook"))),
                )  # fmt: skip
    covers = _Covers(run, stages, inventory)
    return [
        Matter(
            f"{run.playbook}:{system}", run.playbook, run.id, system, run.started, frozenset({system}), problems, covers,
            why=_about(about, system, "why"), link=_about(about, system, "link"),
        )
        for system, problems in sorted(found.items())
    ]  # fmt: skip


def _about(about: Mapping[str, t.Any], system: str, name: str) -> str:
    told = about.get(system)
    return str(told.get(name) or "") if isinstance(told, Mapping) else ""


class _Covers:
    """Tells whether a run looked at a problem: its host and stage answered, or it cannot be there any more."""

    def __init__(self, run: Run, stages: Collection[str], inventory: Collection[str]) -> None:
        self._inventory = frozenset(inventory)
        self._looked_at = {(host.name, each["stage"]) for host in run.hosts for each in host.outcomes}
        self._looked_at |= {(host.name, ROLL_CALL) for host in run.hosts}
        # A host that answered everything: a stage that it no longer has takes its problems along.
        whole = set(run.stages) >= set(stages)
        self._whole = {
            host.name
            for host in run.hosts
            if whole and host.answered and not any(each["stage"] == ROLL_CALL for each in host.outcomes)
        }

    def __call__(self, problem: str) -> bool:
        host, stage = problem.split(_PART)[:2]
        return host in self._whole or (host, stage) in self._looked_at or host not in self._inventory


def of_incident(raw: Mapping[str, t.Any]) -> Matter:
    """Return the matter of an incident: a mapping with at least `id`, `type` and `severity`. Raises InputError."""
    for name in ("id", "type", "severity"):
        if not raw.get(name):
            raise InputError("incident", name, "is missing", "Give the incident as sre.runbooks.incident returns it.")
    severity, state = str(raw["severity"]), str(raw.get("state") or "open")
    if severity not in SEVERITIES:
        raise InputError("incident.severity", severity, "is no severity", f"Use one of {', '.join(SEVERITIES)}.")
    if state not in STATES:
        raise InputError("incident.state", state, "is no state of an incident", f"Use one of {', '.join(STATES)}.")
    hosts = raw.get("hosts") or []
    hosts = [hosts] if isinstance(hosts, str) else [str(each) for each in hosts]
    system, started = str(raw.get("system") or NO_SYSTEM), str(raw.get("started") or "")
    problem = Problem(
        ", ".join(hosts), "incident", str(raw["type"]), severity, one_line(raw.get("summary") or raw.get("title") or raw["type"]), started
    )  # fmt: skip
    metadata = raw.get("metadata") if isinstance(raw.get("metadata"), Mapping) else {}
    if state == "open" and raw.get("acknowledged"):
        state = "acknowledged"
    return Matter(
        f"incident:{raw['id']}", "incident", str(raw["id"]), system, started, frozenset({system, str(raw["type"])}),
        {} if state == "closed" else {"incident": problem}, _always, state,
        one_line(raw.get("why") or ""), str(raw.get("link") or ""),
        {"type": str(raw["type"]), "severity": severity, "hosts": ", ".join(hosts),
         **{str(key): one_line(value) for key, value in t.cast("Mapping[str, t.Any]", metadata).items()}},
    )  # fmt: skip


def _always(_problem: str) -> bool:
    return True


@dataclasses.dataclass(frozen=True)
class Step:
    """What a target is to be sent now (`event`, empty for nothing), and what it will know after that."""

    event: str
    told: dict[str, str]
    fresh: frozenset[str] = frozenset()
    over: frozenset[str] = frozenset()


def step(
    matter: Matter,
    contact: Contact,
    row: Mapping[str, t.Any],
    now: datetime.datetime,
    remind_after: float,
    forced: bool = False,
) -> Step:
    """Compare what is wrong with what `row` says this target was told.

    Told anew is what is new or worse, what goes on after `remind_after` seconds (0: never), an incident's change of state, and
    the end of what was opened; `forced` is an escalation.
    """
    told: dict[str, str] = row.get("told") or {}
    opened = bool(row.get("opened")) and not row.get("resolved")
    known = {name: status for name, status in told.items() if name != "state"} if opened else {}
    minded = matter.minded(contact) if not forced else dict(matter.problems)
    # An incident that fell below what the contact minds is not over: it is told when it is.
    if matter.incident and opened and matter.problems and not minded:
        minded = dict(matter.problems)
    current = {name: status for name, status in known.items() if not matter.covers(name)}
    current.update((name, each.status) for name, each in minded.items())
    fresh = frozenset(name for name, status in current.items() if RANKS[status] > RANKS.get(known.get(name, ""), 0))
    over = frozenset(known) - frozenset(current)
    after = {**current, "state": matter.state}
    if not current:
        return Step("resolve" if opened else "", {}, fresh, over)
    if forced:
        return Step("escalate", after, fresh, over)
    if not opened:
        return Step("trigger" if fresh else "", after if fresh else {}, fresh, over)
    if fresh or (told.get("state") == "stable" and matter.state == "open"):
        # Also what was thought to be stable and is not.
        return Step("trigger", after, fresh, over)
    if matter.state != told.get("state", "open") and matter.state != "open":
        return Step({"acknowledged": "acknowledge"}.get(matter.state, matter.state), after, fresh, over)
    if remind_after and matter.state == "open" and _seconds_since(str(row.get("sent") or ""), now) >= remind_after:
        return Step("remind", after, fresh, over)
    return Step("", after, fresh, over)


def _seconds_since(moment: str, now: datetime.datetime) -> float:
    try:
        return (now - datetime.datetime.fromisoformat(moment)).total_seconds()
    except ValueError:
        return 0.0


def worst(statuses: Collection[str]) -> str:
    """Return the worst of statuses or severities; `ok` for none."""
    return max(statuses, key=RANKS.__getitem__, default="ok")


def problems_of(matter: Matter, names: Collection[str]) -> Iterator[Problem]:
    """Yield the problems `names` of `matter`, the worst first; those that this run did not look at are not among them."""
    found = [matter.problems[name] for name in sorted(names) if name in matter.problems]
    yield from sorted(found, key=lambda each: -RANKS[each.status])
