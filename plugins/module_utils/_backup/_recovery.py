# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recovery: how much would be lost (the age of the newest good copy), and how long it would take (the last measured restore)."""

from __future__ import annotations

import contextlib
import math
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _catalog, _manifest, _shape
from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration

KEYS = ("recovery_time", "recovery_point")
SPEC: dict[str, t.Any] = {
    "type": "dict",
    "options": {**{key: {"type": "str"} for key in KEYS}, "names": {"type": "dict"}},
}


class Target(t.NamedTuple):
    """What was promised for a name, in seconds; None without a promise."""

    time_seconds: float | None = None
    point_seconds: float | None = None


class Targets(t.NamedTuple):
    """The promise for all names, and those for some."""

    general: Target
    names: dict[str, Target]

    def of(self, name: str, general: bool) -> Target:
        """The target of `name`; that for all names stands in for what is not given, if `general`."""
        own = self.names.get(name, Target())
        rest = self.general if general else Target()
        return Target(
            rest.time_seconds if own.time_seconds is None else own.time_seconds,
            rest.point_seconds if own.point_seconds is None else own.point_seconds,
        )


class Recovery(t.NamedTuple):
    """The newest good copy, and the last measured restore of any copy that is still good; None where there is none."""

    copy: _catalog.Copy | None
    point_seconds: float | None
    proven: str | None
    time_seconds: float | None
    measured: str | None


def targets(options: t.Mapping[str, t.Any] | None) -> Targets:
    """Read the option `targets`."""
    options = options or {}
    names = options.get("names") or {}
    found = {}
    for name, target in names.items():
        where = f"targets.names.{name}"
        if not isinstance(target, dict):
            raise InputError(where, target, "is no target", f"Give {' and '.join(KEYS)}, as in recovery_time: 1h.")
        for key in target:
            if key not in KEYS:
                raise InputError(f"{where}.{key}", target[key], "is no target", f"Give {' and '.join(KEYS)}.")
        found[name] = _target(target, where)
    return Targets(_target(options, "targets"), found)


def essence(document: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What verification and recovery need to know of a manifest: its figures may name a hundred thousand tables."""
    return {key: document[key] for key in ("size_bytes", "source_bytes", "verifications") if key in document}


def documents(copies: t.Iterable[_catalog.Copy]) -> list[tuple[_catalog.Copy, dict[str, t.Any]]]:
    """The copies against which nothing speaks, with the essence of their manifests; without those just being deleted."""
    found = []
    for copy in copies:
        if not copy.failed:
            with contextlib.suppress(RunbookError):
                found.append((copy, essence(_catalog.manifest(copy))))
    return found


def measure(found: t.Sequence[tuple[_catalog.Copy, t.Mapping[str, t.Any]]], level: str, now: float) -> Recovery:
    """Look at the copies with their manifests; those of the future and those that failed count for nothing."""
    good = sorted(
        ((copy, document) for copy, document in found if copy.good(level) and copy.created <= now),
        key=lambda pair: pair[0].created,
        reverse=True,
    )
    if not good:
        return Recovery(None, None, None, None, None)
    copy, document = good[0]
    restores = [pair for _copy, each in good for pair in _restores(each, now)]
    moment, seconds = max(restores, default=(None, None))
    return Recovery(
        copy,
        round(now - copy.created, 3),
        _proven(document, copy.level),
        seconds,
        None if moment is None else _manifest.timestamp(moment),
    )


def passed(recovery: Recovery, target: Target) -> list[str]:
    """The targets that are not met, each as a clause. A promise that nothing shows is not met."""
    found = []
    if target.time_seconds is not None:
        if recovery.time_seconds is None:
            found.append(f"no restore was measured, the target for recovery is {show_duration(target.time_seconds)}")
        elif recovery.time_seconds > target.time_seconds:
            found.append(
                f"a restore takes {show_duration(recovery.time_seconds)}, the target is {show_duration(target.time_seconds)}"
            )
    if target.point_seconds is not None:
        if recovery.point_seconds is None:
            found.append(f"there is no good copy, one younger than {show_duration(target.point_seconds)} is the target")
        elif recovery.point_seconds > target.point_seconds:
            found.append(
                f"the newest good copy is {show_duration(recovery.point_seconds)} old, "
                f"the target is {show_duration(target.point_seconds)}"
            )
    return found


def metrics(recovery: Recovery) -> dict[str, float]:
    """`recovery_time_seconds` and `recovery_point_seconds`, as far as known."""
    known = {"recovery_time_seconds": recovery.time_seconds, "recovery_point_seconds": recovery.point_seconds}
    return {name: value for name, value in known.items() if value is not None}


def details(recovery: Recovery, target: Target) -> dict[str, t.Any]:
    """What a report shows of it, under `recovery`."""
    copy = recovery.copy
    shown = {
        "path": copy and copy.path,
        "created": copy and _manifest.timestamp(copy.created),
        "level": copy and copy.level,
        "proven": recovery.proven,
        "measured": recovery.measured,
        "target_time_seconds": target.time_seconds,
        "target_point_seconds": target.point_seconds,
        "passed": passed(recovery, target),
    }
    return {"recovery": {name: value for name, value in shown.items() if value not in (None, [])}}


def annotate(outcome: dict[str, t.Any], directory: str, name: str, level: str, now: float) -> None:
    """Add to the outcome of a backup what the copies that lie there now promise."""
    copies = _catalog.folder(directory, name).copies
    recovery = measure(documents(copies), level, now)
    outcome["metrics"].update(metrics(recovery))
    outcome["details"].update(details(recovery, Target()))


def _target(options: t.Mapping[str, t.Any], where: str) -> Target:
    values = [None if options.get(key) is None else units.duration(options[key], f"{where}.{key}") for key in KEYS]
    return Target(*values)


def _restores(document: t.Mapping[str, t.Any], now: float) -> t.Iterator[tuple[float, float]]:
    """When the copy was restored for proof, and how long that took; with the comparison where nothing else is on record."""
    for record in document["verifications"]:
        moment = _shape.seconds(record["time"])
        if record["ok"] and record["level"] == "restored" and moment is not None and moment <= now:
            seconds = record.get("figures", {}).get("restore_seconds", record.get("duration_seconds"))
            if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and math.isfinite(seconds):
                yield moment, float(seconds)


def _proven(document: t.Mapping[str, t.Any], level: str | None) -> str | None:
    times = [record["time"] for record in document["verifications"] if record["ok"] and record["level"] == level]
    return times[-1] if times else None
