# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a stage may begin on a host: in one of its maintenance windows, and early enough in it (C5).

On the controller alone. Windows are read by schedule.py; here is decided, and said so that a record can hold it.
"""

from __future__ import annotations

import datetime
import typing as t
import zoneinfo
from collections.abc import Collection, Iterable, Mapping, Sequence

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import duration, show_duration
from ansible_collections.sre.runbooks.plugins.plugin_utils import schedule

NEEDS: dict[str, str] = {
    "backup": "30m",
    "backup_verify": "30m",
    "database_maintenance": "30m",
    "key_rotation": "15m",
    "log_cleanup": "5m",
    "patching": "30m",
    "service_restart": "15m",
    "site_steps": "15m",
}
"""The stages that have a gate, with the time that must be left when one begins."""

GATED = ("database_maintenance", "key_rotation", "patching", "service_restart")
"""Stages that keep windows unless `runbooks_gated_stages` says otherwise: they lock tables, restart services, change what programs hold."""

SKEW = 3600
"""Seconds by which the clock of a host may be behind the controller's where a role asks for the window once more."""


class Settings(t.NamedTuple):
    """What the inventory says of a host: windows as written and as read, seconds by stage, and which stages keep them."""

    entries: list[Mapping[str, t.Any]]
    windows: list[schedule.Window]
    needs: dict[str, float]
    gated: tuple[str, ...]
    now: bool


def of_variables(names: Iterable[str], prefix: str) -> list[str]:
    """Return of `names` the variable `prefix` and those that begin with it and an underscore, in their order."""
    return sorted(name for name in names if name == prefix or name.startswith(f"{prefix}_"))


def of_inventory(
    templar: t.Any, variables: Mapping[str, t.Any], playbook: str, given: Mapping[str, t.Any] | None = None
) -> Settings:
    """Read what the `variables` of a host say for `playbook`; an option that `given` has comes before the variable."""
    given = given or {}

    def said(option: str, variable: str) -> t.Any:
        if given.get(option) is not None:
            return given[option]
        return templar.template(variables[variable]) if variable in variables else None

    entries = given.get("windows")
    if entries is None:
        entries = []
        for name in of_variables(variables, "runbooks_windows"):
            found = templar.template(variables[name])
            if not isinstance(found, list):
                raise InputError(name, found, "is no list of windows", "Write it as a list.")
            entries += found
    now = said("now", "runbooks_now")
    try:
        now = boolean(now or False)
    except TypeError:
        raise InputError("runbooks_now", now, "is neither true nor false", "Write -e runbooks_now=true.") from None
    return read(entries, playbook, said("needs", "runbooks_stage_needs"), said("gated", "runbooks_gated_stages"), now)


def read(
    entries: Sequence[t.Any], playbook: str, needs: t.Any = None, gated: t.Any = None, now: bool = False
) -> Settings:
    """Check everything; InputError names the variable, its value and the remedy.

    `entries` are all windows of the host, those for other playbooks too; `needs` are merged over `NEEDS`.
    """
    windows = schedule.read_windows(entries, "runbooks_windows", playbook)
    return Settings(
        [each for each in entries if schedule.read_windows([each], "runbooks_windows", playbook)],
        windows,
        _needs({} if needs is None else needs),
        _gated(GATED if gated is None else gated),
        now,
    )


def _needs(given: t.Any) -> dict[str, float]:
    if not isinstance(given, Mapping):
        raise InputError("runbooks_stage_needs", given, "is no dictionary", "Write it as {patching: 45m}.")
    for stage in given:
        _known(stage, "runbooks_stage_needs")
    merged = {**NEEDS, **given}
    return {stage: duration(text, f"runbooks_stage_needs.{stage}") for stage, text in merged.items()}


def _gated(given: t.Any) -> tuple[str, ...]:
    if not isinstance(given, Sequence) or isinstance(given, (str, bytes)):
        raise InputError("runbooks_gated_stages", given, "is no list", "Write it as [patching, service_restart].")
    for stage in given:
        _known(stage, "runbooks_gated_stages")
    return tuple(given)


def _known(stage: t.Any, option: str) -> None:
    if stage not in NEEDS:
        raise InputError(option, stage, "is no stage that can keep a window", f"Use some of {', '.join(NEEDS)}.")


def idle(stage: str, inputs: Collection[str], names: Iterable[str]) -> dict[str, t.Any] | None:
    """The answer for a host that has none of the variables that the stage works on; None where it has one, or none is named.

    `inputs` are names of variables; one that ends with an underscore is the beginning of names.
    """
    found = any(name == each or (each.endswith("_") and name.startswith(each)) for name in names for each in inputs)
    if not inputs or found:
        return None
    wanted = " or ".join(f"{each}*" if each.endswith("_") else each for each in inputs)
    told = outcome(stage, stage, "skipped", f"nothing to do here: the inventory has no {wanted} for this host")
    return answer(False, [told])


def ask(stage: str, settings: Settings, moment: float) -> dict[str, t.Any]:
    """Return whether `stage` may begin at `moment` (seconds since the epoch), and what the record is told of that."""
    if stage not in settings.gated:
        return answer(True, [])
    if not settings.windows:
        # Silence is no permission: whoever runs a playbook for the first time has not asked for updates and restarts at noon.
        if settings.now:
            return answer(True, [])
        why = "not begun: no maintenance window is defined for this host. Define runbooks_windows, or run with -e runbooks_now=true"
        return answer(False, [outcome(stage, stage, "skipped", why)])
    found = schedule.state(settings.windows, moment)
    left = None if found.until is None else found.until - moment
    needs = settings.needs[stage]
    details = {"needs_seconds": needs, "left_seconds": left if found.open else None, "next": _iso(found.next)}
    if found.open and (left is None or needs <= left):
        return answer(True, [], [] if found.until is None else [(moment - SKEW, found.until)])
    why = f"{_why(stage, settings, found, moment, needs)}; {_next(settings, found, moment)}"
    if settings.now:
        told = outcome("window", stage, "ok", f"begun all the same, by runbooks_now: {why}", details=details)
        return answer(True, [told])
    return answer(False, [outcome(stage, stage, "skipped", f"not begun: {why}", details=details)])


def answer(
    begin: bool, outcomes: list[dict[str, t.Any]], window: Sequence[tuple[float, float]] = ()
) -> dict[str, t.Any]:
    """The gate's result. `window` is what is left of an open one, as a window that M(sre.runbooks.patching) takes."""
    stretches = [{"begin": _iso(first), "end": _iso(last)} for first, last in window]
    return {"begin": begin, "window": stretches, "outcomes": outcomes}


def _why(stage: str, settings: Settings, found: schedule.State, moment: float, needs: float) -> str:
    names = [label(each) for each in settings.entries]
    if found.until is None:
        return f"no maintenance window is open ({', '.join(names)})"
    here = [label(each) for each in settings.entries if _state(each, moment).open]
    ends = show_duration(found.until - moment)
    return f"{stage} needs {show_duration(needs)}, and the maintenance window {' and '.join(here)} ends in {ends}"


def _next(settings: Settings, found: schedule.State, moment: float) -> str:
    if found.next is None:
        return "no other one opens"
    for each in settings.entries:
        if _state(each, moment).next == found.next:
            return f"the next one opens {_show(found.next, each)}"
    return f"the next one opens {_iso(found.next)}"


def _state(entry: Mapping[str, t.Any], moment: float) -> schedule.State:
    """That of one window by itself; windows that meet are one, and have no edge between them."""
    return schedule.state(schedule.read_windows([entry], "runbooks_windows"), moment)


def label(entry: Mapping[str, t.Any]) -> str:
    """A window as its author wrote it, on one line."""
    if "at" in entry:
        text = f"{entry['at']} {entry.get('zone', '')}"
    elif "begin" in entry:
        text = f"{entry['begin']} to {entry['end']}"
    else:
        days = entry.get("rule") or entry.get("days") or "daily"
        days = days if isinstance(days, str) else ", ".join(map(str, days))
        text = f"{days} {entry.get('start', '')}-{entry.get('end', '')} {entry.get('zone', '')}"
    name = entry.get("name")
    return f"{name}: {text.strip()}" if name else text.strip()


def _show(moment: float, entry: Mapping[str, t.Any]) -> str:
    """By the clocks of the window's zone."""
    if "zone" not in entry:
        return _iso(moment) or ""
    zone = str(entry["zone"])
    return f"{datetime.datetime.fromtimestamp(moment, zoneinfo.ZoneInfo(zone)):%a %Y-%m-%d %H:%M} {zone}"


def _iso(moment: float | None) -> str | None:
    return None if moment is None else f"{datetime.datetime.fromtimestamp(moment, datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"
