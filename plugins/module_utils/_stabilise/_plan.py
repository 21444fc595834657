# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a runbook to what is to be done on one host: its own checks are put where the runbook says which kind it wants.

A runbook names no unit, address or database. Where it has a list of checks, an entry `{use: {types, names, metrics, at}}` stands for those
checks of the host whose type is one of `types`, whose name fits one of `names` (patterns), or that judge one of `metrics`. `at: warning` makes
a warning as bad as what is critical. Where an action says `with: cache`, the options under `cache` of the host's remedies are added to it.
What a host has no check or remedy for is left out there, and told.
"""

from __future__ import annotations

import typing as t
from fnmatch import fnmatchcase

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError

Entry = t.Mapping[str, t.Any]

KEYS = frozenset({"name", "title", "why", "link", "detect", "collect", "stabilise", "verify", "severity", "escalate"})
DETECT_KEYS = frozenset({"checks", "log_rules", "window"})
VERIFY_KEYS = frozenset({"checks"})
USE_KEYS = frozenset({"types", "names", "metrics", "at"})
LEVELS = ("warning", "critical")
DEFAULT_WINDOW = "15m"
RESTART = "service_restart"


def choose(kind: str, runbooks: t.Sequence[Entry]) -> Entry:
    """Return the runbook for incidents of `kind`. Raises InputError."""
    own = [each for each in runbooks if each.get("name") == kind]
    if len(own) > 1:
        raise InputError("runbooks_incidents", kind, "is the name of two runbooks", "Give each a name of its own.")
    if not own:
        known = ", ".join(sorted(str(each.get("name")) for each in runbooks))
        remedy = f"Use one of {known}, or add one to a list runbooks_incidents_*."
        raise InputError("incident_type", kind, "is no runbook", remedy)
    return own[0]


def refuse(runbook: Entry, option: str = "runbooks_incidents") -> None:
    """Raise InputError for a runbook that cannot be followed: unknown parts, nothing to verify, an action without a guard."""
    where = f"{option}.{runbook.get('name', 'no name')}"
    _known(runbook, KEYS, where)
    _known(runbook.get("detect") or {}, DETECT_KEYS, f"{where}.detect")
    _known(runbook.get("verify") or {}, VERIFY_KEYS, f"{where}.verify")
    for part in ("title", "why"):
        if not isinstance(runbook.get(part), str) or not runbook[part].strip():
            raise InputError(f"{where}.{part}", runbook.get(part), "says nothing", "Write one line for a person.")
    for part in ("detect", "verify"):
        if not (runbook.get(part) or {}).get("checks"):
            raise InputError(
                f"{where}.{part}.checks", [], "names no check, so that nobody sees what is the matter", "Give at least one."
            )  # fmt: skip
        for entry in runbook[part]["checks"]:
            _refuse_check(entry, f"{where}.{part}.checks")
    for action in runbook.get("stabilise") or ():
        _refuse_action(action, f"{where}.stabilise ({action.get('name', 'no name')})")


def _refuse_action(action: Entry, where: str) -> None:
    if not action.get("name") or not action.get("action"):
        raise InputError(where, dict(action), "has no name or no action", "Give both.")
    guard = action.get("guard") or {}
    if not isinstance(guard, dict) or not (
        guard.get("healthy") or guard.get("sick") or str(guard.get("always") or "").strip()
    ):
        raise InputError(
            f"{where}.guard", action.get("guard"), "guards nothing",
            "Give checks under healthy or sick, or say under always why the action can do no harm.",
        )  # fmt: skip
    for part in ("healthy", "sick"):
        for entry in guard.get(part) or ():
            _refuse_check(entry, f"{where}.guard.{part}")


def _refuse_check(entry: Entry, where: str) -> None:
    use = entry.get("use")
    if use is None:
        if not entry.get("type"):
            raise InputError(where, dict(entry), "is no check", "Give use, or a check with name and type.")
        return
    if not isinstance(use, dict) or set(entry) != {"use"}:
        raise InputError(where, dict(entry), "mixes use with something else", "Write {use: {types: […]}} alone.")
    _known(use, USE_KEYS, f"{where}.use")
    if not any(use.get(part) for part in ("types", "names", "metrics")):
        raise InputError(f"{where}.use", dict(use), "chooses nothing", "Give types, names or metrics.")
    if use.get("at", "critical") not in LEVELS:
        raise InputError(f"{where}.use.at", use["at"], "is no level", f"Use one of {', '.join(LEVELS)}.")


def _known(part: Entry, keys: frozenset[str], where: str) -> None:
    strange = sorted(set(part) - keys)
    if strange:
        raise InputError(where, strange[0], "is not known here", f"Use {', '.join(sorted(keys))}.")


def plan(runbooks: t.Sequence[Entry], kind: str, checks: t.Sequence[Entry], remedies: Entry) -> dict[str, t.Any]:
    """What is to be done on one host.

    Returns `name`, `title`, `why`, `link`; `detect` (checks), `log_rules` and `window`; `collect`; `stabilise` (actions of the
    module stabilise); `verify` (checks); `services`; `severity`, `escalate`; and `left_out`, sentences. Raises InputError.
    """
    runbook = choose(kind, runbooks)
    refuse(runbook)
    left_out: list[str] = []
    detect = runbook["detect"]
    return {
        "name": kind,
        "title": runbook["title"],
        "why": runbook["why"],
        "link": runbook.get("link") or "",
        "detect": expand(detect["checks"], checks),
        "log_rules": list(detect.get("log_rules") or ()),
        "window": detect.get("window") or DEFAULT_WINDOW,
        "collect": dict(runbook.get("collect") or {}),
        "stabilise": list(_actions(runbook.get("stabilise") or (), checks, remedies, left_out)),
        "verify": expand(runbook["verify"]["checks"], checks),
        "services": services(checks, remedies),
        "severity": dict(runbook.get("severity") or {}),
        "escalate": dict(runbook.get("escalate") or {}),
        "left_out": left_out,
    }


def _actions(
    actions: t.Iterable[Entry], checks: t.Sequence[Entry], remedies: Entry, left_out: list[str]
) -> t.Iterable[Entry]:
    for action in actions:
        wanted = action.get("with")
        remedy = remedies.get(wanted) if wanted else None
        if wanted and not remedy:
            left_out.append(f"{action['name']}: this host has no {wanted} among runbooks_remedies")
            continue
        own = {**(remedy or {}), **{key: value for key, value in action.items() if key not in ("with", "guard")}}
        if own["action"] == RESTART and not own.get("units") and not services(checks, remedies):
            left_out.append(f"{action['name']}: neither runbooks_remedies nor a check of this host names a unit")
            continue
        guard = {**action["guard"]}
        for part in ("healthy", "sick"):
            if part in guard:
                guard[part] = expand(guard[part], checks)
        if action["guard"].get("sick") and not guard["sick"]:
            left_out.append(f"{action['name']}: this host has no check that its guard could go by")
            continue
        if not any(guard.values()):
            guard["always"] = "this host has none of the checks that its guard wants to be well"
        yield {**own, "guard": guard}


def services(checks: t.Sequence[Entry], remedies: Entry) -> list[str]:
    """The units of the system in the order in which they start: as the site says, else those that its checks look at."""
    if remedies.get("services"):
        return list(remedies["services"])
    found = [unit for check in checks if check.get("type") == "service" for unit in check.get("units") or ()]
    return list(dict.fromkeys(found))


def expand(entries: t.Iterable[Entry], checks: t.Sequence[Entry]) -> list[dict[str, t.Any]]:
    """Return the checks that `entries` stand for, each once."""
    found: dict[tuple[t.Any, t.Any], dict[str, t.Any]] = {}
    for entry in entries:
        use = entry.get("use")
        if use is None:
            found.setdefault((entry.get("type"), entry.get("name")), dict(entry))
            continue
        for check in checks:
            if _chosen(check, use):
                wanted = _worse(check, use) if use.get("at") == "warning" else dict(check)
                found.setdefault((check.get("type"), check.get("name")), wanted)
    return list(found.values())


def _chosen(check: Entry, use: Entry) -> bool:
    judged = set(check.get("metrics") or ()) | set(check.get("values") or ())
    return _meant(check, use) or any(metric in judged for metric in use.get("metrics") or ())


def _meant(check: Entry, use: Entry) -> bool:
    """Whether all of the check is meant, and not some of its metrics alone."""
    return check.get("type") in (use.get("types") or ()) or any(
        fnmatchcase(str(check.get("name")), pattern) for pattern in use.get("names") or ()
    )


def _worse(check: Entry, use: Entry) -> dict[str, t.Any]:
    """The check with each bound of a warning that is meant as a bound of what is critical.

    Of a check that is there for its metrics no others are: a Redis that answers late does not run out of memory.
    """
    whole = _meant(check, use)
    made = {**check, **(_levels(check) if whole else {})}
    if check.get("metrics"):
        made["metrics"] = {
            metric: _levels(levels) if whole or metric in use["metrics"] else dict(levels)
            for metric, levels in check["metrics"].items()
        }
    return made


def _levels(levels: Entry) -> dict[str, t.Any]:
    bounds = [
        bound
        for level in LEVELS
        for bound in (levels[level] if isinstance(levels.get(level), list) else [levels.get(level)])
        if bound is not None
    ]
    return {"critical": bounds} if bounds else {}
