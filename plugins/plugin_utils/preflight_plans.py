# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the controller knows of a host's plans (windows, schedules, steps, KPIs, contacts), as plain data that the module preflight judges.

The host has neither the inventory nor python-dateutil, so that occurrences are counted here. Nothing here is secret: of a contact only
its name and what it wants to hear go to the host, of a step not its environment.
"""

from __future__ import annotations

import datetime
import functools
import itertools
import typing as t
import zoneinfo
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import yaml
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._steps import _settings
from ansible_collections.sre.runbooks.plugins.plugin_utils import (
    incident_escalation,
    kpis,
    notify_contacts,
    schedule,
    window,
)

PLAYBOOKS, ROLES = (Path(__file__).resolve().parents[2] / name for name in ("playbooks", "roles"))
COLLECTION = "sre.runbooks."
DAYS = 100
"""How far ahead is looked: a first Friday comes three times, a quarter once."""
MOST = 2500
"""So many occurrences of a schedule at most are compared with others: hourly for as long."""
TOLD = 60
"""So many occurrences are held against windows; what comes once a year has one."""
CADENCES = ("weekly", "monthly", "quarterly")
_IMPORTS = ("ansible.builtin.import_role", "ansible.builtin.include_role")

Broken = dict[str, str]


def plans(
    given: Mapping[str, t.Any], host: str, groups: Mapping[str, Sequence[str]], moment: float
) -> dict[str, t.Any]:
    """Return the plans of `host`. `given` holds windows, schedules, needs, gated, steps, kpis, contacts, escalation, system; all may be missing.

    What cannot be read is in `broken`, and keeps nothing else from being looked at.
    """
    broken: list[Broken] = []
    windows = _each(given.get("windows"), "runbooks_windows", "window", broken, schedule.read_windows)
    found = _each(given.get("schedules"), "runbooks_schedules", "schedule", broken, schedule.read_schedules)
    read: list[schedule.Schedule] = [one[0] for _entry, one in found]
    _twice(read, broken)
    hosts = _hosts(read, groups, broken)
    ours = [each for each in read if each.enabled and host in hosts[each.name]]
    entries = [entry for entry, _one in windows]
    settings = _settings_of(given, entries, broken)
    return {
        "broken": broken,
        "windows": [_window(entry, one[0], moment) for entry, one in windows],
        "schedules": [_schedule(each, entries, settings, moment) for each in ours],
        "collisions": list(_collisions(ours, moment)),
        "scheduled": bool(read),
        # Each is said once, by the first host of the inventory.
        "for_nobody": [name for name, chosen in hosts.items() if not chosen] if host == _first(groups) else [],
        "ungated": _ungated(entries, settings),
        "run_every": _apart(ours, moment, {"backup"}),
        "drill_period": _apart(ours, moment, {"backup_verify", "disaster_drill"}),
        "kpis": _kpis(given, broken),
        "stages": sorted(path.name for path in ROLES.iterdir()),
        "alone": len(groups.get("all") or []) == 1,
        "steps": _steps(given.get("steps") or [], broken),
        **_people(given, broken),
    }


# --- Reading, entry by entry ---


def _each(
    entries: t.Any, option: str, kind: str, broken: list[Broken], read: t.Callable[..., list[t.Any]]
) -> list[tuple[Mapping[str, t.Any], list[t.Any]]]:
    """Read each entry by itself, so that a broken one hides no other."""
    found = []
    for number, entry in enumerate(entries or []):
        try:
            found.append((entry, read([entry], option)))
        except InputError as error:
            text = str(error).replace(f"{option}[0]", f"{option}[{number}]")
            name = entry.get("name") if isinstance(entry, Mapping) else None
            broken.append({"subject": f"{kind}:{name or number}", "problem": text})
    return found


def _twice(read: Sequence[schedule.Schedule], broken: list[Broken]) -> None:
    names = [each.name for each in read]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problem = f"{names.count(name)} schedules have this name. Give each a name of its own."
        broken.append({"subject": f"schedule:{name}", "problem": problem})


def _settings_of(given: Mapping[str, t.Any], entries: Sequence[t.Any], broken: list[Broken]) -> window.Settings:
    try:
        return window.read(entries, "", given.get("needs"), given.get("gated"))
    except InputError as error:
        broken.append({"subject": "windows", "problem": str(error)})
        return window.read(entries, "")


def _steps(entries: Sequence[t.Any], broken: list[Broken]) -> list[dict[str, t.Any]]:
    found: list[dict[str, t.Any]] = []
    for number, entry in enumerate(entries):
        name = str(entry.get("name", number)) if isinstance(entry, Mapping) else str(number)
        try:
            if not isinstance(entry, Mapping):
                raise InputError(f"steps[{number}]", entry, "is no step", "Give {name: …, argv: […], cadences: […]}.")
            read = _settings.read({"steps": [entry], "cadence": None, "stop_on": "never", "timeout": "1h"}).steps[0]
            if any(read.name == other["name"] for other in found):
                raise InputError("name", read.name, "is used twice", "Give each step a name of its own.")
        except RunbookError as error:
            broken.append({"subject": f"step:{name}", "problem": str(error).replace("steps[0] ", f"steps[{number}] ")})
            continue
        found.append(
            {
                "name": read.name, "program": read.argv[0], "chdir": read.chdir, "run_as": read.run_as, "seconds": read.timeout,
                "cadences": list(entry["cadences"]),
            }
        )  # fmt: skip
    return found


def _kpis(given: Mapping[str, t.Any], broken: list[Broken]) -> list[dict[str, t.Any]]:
    """The site's own KPIs of the host's system; those that come with the collection take what there is."""
    read = _each(given.get("kpis"), "runbooks_kpis", "kpi", broken, kpis.read_kpis)
    return [
        {
            "name": kpi.name,
            "sources": [
                {
                    "stage": each.stage, "subjects": list(each.subjects), "metrics": list(each.metrics), "incidents": each.incidents,
                    "shown": each.shown,
                }
                for each in kpi.sources
            ],
        }
        for _entry, (kpi,) in read
        if kpi.holds_for(str(given.get("system") or ""))
    ]  # fmt: skip


def _people(given: Mapping[str, t.Any], broken: list[Broken]) -> dict[str, t.Any]:
    """Contacts without their URLs, and the levels of the escalation with the severities that reach each."""
    contacts, levels = [], []
    try:
        contacts = [
            {
                "name": each.name, "level": each.level, "for": sorted(each.wants), "kinds": sorted(each.kinds), "tags": sorted(each.tags),
                "critical": each.minds("critical"),
                "severities": [one for one in incident_escalation.RESPONSE if each.minds(one)],
            }
            for each in notify_contacts.read_contacts(given.get("contacts") or [])
        ]  # fmt: skip
        if given.get("escalation"):
            if not isinstance(given["escalation"], Mapping):
                raise InputError("escalation", given["escalation"], "is no dictionary", "Give response and levels.")
            policy = incident_escalation.read_policy(given["escalation"])
            levels = [{"name": each.name, "severities": list(each.severities)} for each in policy.levels]
    except InputError as error:
        broken.append({"subject": "contacts", "problem": str(error)})
    return {"contacts": contacts, "levels": levels, "system": str(given.get("system") or "")}


# --- Playbooks, as they are written ---


@functools.cache
def parts(playbook: str) -> tuple[tuple[str, str], ...] | None:
    """The roles of a playbook of this collection with the tag of each; None for a playbook of somebody else's."""
    name = playbook.removeprefix(COLLECTION)
    if "." in name or "/" in name:
        return None
    path = PLAYBOOKS / f"{name}.yml"
    if not path.is_file():
        return ()
    found: list[tuple[str, str]] = []
    for play in yaml.safe_load(path.read_text(encoding="utf-8")):
        for task in _tasks(play.get("tasks") or []):
            for module in _IMPORTS:
                role = task[module]["name"].removeprefix(COLLECTION) if module in task else None
                if role:
                    found += [(role, tag) for tag in _list(task.get("tags")) or [role]]
    return tuple(found)


def _tasks(tasks: Iterable[Mapping[str, t.Any]]) -> Iterator[Mapping[str, t.Any]]:
    for task in tasks:
        yield task
        for part in ("block", "rescue", "always"):
            yield from _tasks(task.get(part) or [])


def _list(value: t.Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def _roles(each: schedule.Schedule) -> set[str]:
    """The roles that a schedule's run calls, with its tags."""
    return {
        role
        for role, tag in parts(each.playbook) or []
        if (not each.tags or {tag, "all"} & {*each.tags}) and tag not in each.skip_tags and tag != "always"
    }


# --- Which hosts, and when ---


def _hosts(
    read: Sequence[schedule.Schedule], groups: Mapping[str, Sequence[str]], broken: list[Broken]
) -> dict[str, set[str]]:
    """The hosts of each schedule by its name, as ansible-playbook would choose them."""
    manager = InventoryManager(DataLoader(), parse=False)
    for group, hosts in groups.items():
        manager.add_group(group)
        for host in hosts:
            manager.add_host(host, group=group)
    found = {}
    for each in read:
        try:
            found[each.name] = {host.name for host in manager.get_hosts(each.hosts)}
        except (AnsibleError, LookupError) as error:  # the latter for a pattern such as "all:&"
            broken.append({"subject": f"schedule:{each.name}", "problem": f"hosts: {each.hosts}: {error}"})
            found[each.name] = {""}
    return found


def _first(groups: Mapping[str, Sequence[str]]) -> str:
    return next(iter(groups.get("all") or [""]))


def _starts(each: schedule.Schedule, moment: float) -> list[float]:
    """When it runs in the time that is looked at; what comes less often has its next occurrence."""
    last = moment + DAYS * 86400
    found = itertools.islice(each.rule.moments(moment), MOST)
    return list(itertools.takewhile(last.__gt__, found)) or each.upcoming(moment, 1)


def _schedule(
    each: schedule.Schedule, entries: Sequence[Mapping[str, t.Any]], settings: window.Settings, moment: float
) -> dict[str, t.Any]:
    """A schedule with the seconds that are left of a window at each of its starts, None for one that is outside."""
    name = each.playbook.removeprefix(COLLECTION)
    known = parts(each.playbook)
    roles = _roles(each)
    windows = schedule.read_windows(list(entries), "runbooks_windows", name)
    starts = _starts(each, moment)
    left = []
    for start in starts[:TOLD]:
        found = schedule.state(windows, start)
        left.append(found.until - start if found.until is not None else None)
    return {
        "name": each.name,
        "playbook": name,
        "known": known is None or bool(known),
        "roles": sorted(roles),
        "strange_tags": sorted({*each.tags, *each.skip_tags} - {tag for _role, tag in known} - {"all", "always"}) if known else [],
        "gated": {role: settings.needs[role] for role in dict.fromkeys(role for role, _tag in known or []) if role in roles & {*settings.gated}},
        "windows": len(windows),
        "starts": [_show(start, each.zone) for start in starts[:TOLD]],
        "left": left,
    }  # fmt: skip


def _window(entry: Mapping[str, t.Any], read: schedule.Window, moment: float) -> dict[str, t.Any]:
    """A window with how long its next openings last; none means that it never comes again."""
    opens = [*schedule.stretches([read], moment, moment + DAYS * 86400)][:TOLD]
    later = schedule.state([read], moment).next if not opens else None
    if later is not None:
        opens = schedule.stretches([read], later, later + 2 * 86400)
    return {"label": window.label(entry), "for": sorted(read.playbooks), "lasts": [end - begin for begin, end in opens]}


def _collisions(ours: Sequence[schedule.Schedule], moment: float) -> Iterator[dict[str, t.Any]]:
    starts = {each.name: set(_starts(each, moment)) for each in ours}
    for one, other in itertools.combinations(ours, 2):
        both = starts[one.name] & starts[other.name]
        if both:
            yield {"name": one.name, "other": other.name, "times": len(both), "first": _show(min(both), one.zone)}


def _ungated(entries: Sequence[t.Any], settings: window.Settings) -> dict[str, list[str]]:
    """Cadences for which the host has no window, with the stages that would keep one."""
    found = {}
    for playbook in CADENCES:
        roles = dict.fromkeys(role for role, _tag in parts(playbook) or [] if role in settings.gated)
        if roles and not schedule.read_windows(list(entries), "runbooks_windows", playbook):
            found[playbook] = list(roles)
    return found


def _apart(ours: Sequence[schedule.Schedule], moment: float, roles: set[str]) -> str | None:
    """The longest time between two runs that call one of the roles, as a duration; None without two."""
    calling = [each for each in ours if _roles(each) & roles]
    starts = sorted({start for each in calling for start in [*_starts(each, moment), *each.upcoming(moment, 2)]})
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    return f"{int(max(gaps))}s" if gaps else None


def _show(moment: float, zone: str) -> str:
    return f"{datetime.datetime.fromtimestamp(moment, zoneinfo.ZoneInfo(zone)):%a %Y-%m-%d %H:%M} {zone}"
