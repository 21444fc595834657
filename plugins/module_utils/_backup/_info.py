# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What backups there are, how well each is proven, and which databases have none; nothing is changed."""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import (
    _catalog,
    _manifest,
    _proofs_settings,
    _recovery,
    _settings,
)
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import envelope, outcome, worst
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

STAGE = "backup_info"
SPEC: dict[str, t.Any] = {
    "directory": {"type": "path", "default": _settings.DIRECTORY},
    "names": {"type": "list", "elements": "str"},
    "level": {"type": "str", "choices": list(_catalog.LEVELS), "default": "checksum"},
    "targets": _recovery.SPEC,
    "sources": {"type": "list", "elements": "dict"},
    "search": {"type": "list", "elements": "path", "default": []},
}


class Settings(t.NamedTuple):
    """All options of the module; `given` the names of the sources, `entries` the sources as written, None when not given."""

    directory: str
    names: tuple[str, ...] | None
    level: str
    targets: _recovery.Targets
    given: frozenset[str]
    entries: tuple[t.Mapping[str, t.Any], ...] | None
    search: tuple[str, ...]


def settings(options: t.Mapping[str, t.Any]) -> tuple[Settings, set[str]]:
    """Read all options; return them and the secrets that stand in the sources."""
    items, secrets = _settings.items(options["sources"]) if options["sources"] else ([], set())
    entries = None if options["sources"] is None else tuple(options["sources"])
    found = Settings(
        _proofs_settings.place(options["directory"]),
        _proofs_settings.chosen(options["names"]),
        options["level"],
        _recovery.targets(options["targets"]),
        frozenset(item.name for item in items),
        entries,
        tuple(options["search"] or ()),
    )
    return found, secrets


def info(settings: Settings, commands: Commands) -> dict[str, t.Any]:
    """The envelope with `copies`, newest first. A name asked for without a copy is `critical`, a folder without any too."""
    now = time.time()
    folders = {name: _catalog.folder(settings.directory, name) for name in _names(settings)}
    outcomes = [_outcome(settings, name, found, now) for name, found in folders.items()]
    if not outcomes:
        text = f"{settings.directory} holds no backup"
        outcomes = [outcome(f"backups:{settings.directory}", STAGE, "critical", text)]
    copies = [copy for found in folders.values() for copy in found.copies]
    copies.sort(key=lambda copy: copy.created, reverse=True)
    return envelope([*outcomes, *_uncovered(settings, commands)], copies=[_shown(copy, now) for copy in copies])


def _names(settings: Settings) -> list[str]:
    if settings.names is not None:
        return sorted(settings.names)
    there = [name for name in _catalog.folders(settings.directory) if any(_catalog.folder(settings.directory, name))]
    return sorted({*there, *settings.given, *settings.targets.names})


def _outcome(settings: Settings, name: str, found: _catalog.Folder, now: float) -> dict[str, t.Any]:
    copies = found.copies
    recovery = _recovery.measure(_recovery.documents(copies), settings.level, now)
    target = settings.targets.of(name, settings.entries is None or name in settings.given)
    total = sum(copy.size_bytes for copy in copies)
    metrics: dict[str, float] = {**_recovery.metrics(recovery), "copies": len(copies), "total_bytes": total}
    details = {
        "without_manifest": [os.path.basename(path) for path in found.leftovers],
        "missing": [os.path.basename(path) for path in found.missing],
        "failed": {os.path.basename(copy.path): copy.problem for copy in copies if copy.failed},
    }
    shown: dict[str, t.Any] = {key: value for key, value in details.items() if value}
    statuses, text = ["ok"], []
    if found.missing:
        statuses.append("critical")
        text.append(
            f"{len(found.missing)} data files are gone beside their manifests: {', '.join(list(details['missing'])[:3])}"
        )
    newest = recovery.copy
    if newest is None:
        statuses.append("critical")
        text.append(f"none of the {len(copies)} copies is good" if copies else "there is no backup")
    else:
        metrics.update(age_seconds=round(now - newest.created, 3), size_bytes=newest.size_bytes)
        shown["level"] = newest.level
        text.append(
            f"{len(copies)} copies, {show_size(total)}; the newest good one is {show_duration(now - newest.created)} old, "
            f"{show_size(newest.size_bytes)}, verified as {newest.level}"
        )
        if recovery.time_seconds is not None:
            text.append(f"a restore takes {show_duration(recovery.time_seconds)}")
        bad = sum(copy.failed for copy in copies)
        passed = _recovery.passed(recovery, target)
        statuses += ["warning"] if bad or passed else []
        text += [*([f"{bad} failed the verification"] if bad else []), *passed]
    subject = f"{(newest or copies[0]).engine}:{name}" if copies else f"backup:{name}"
    shown.update(_recovery.details(recovery, target))
    return outcome(subject, STAGE, worst(statuses), "; ".join(text), metrics=metrics, details=shown)


def _uncovered(settings: Settings, commands: Commands) -> list[dict[str, t.Any]]:
    """An outcome for each database of the host that no source covers, where sources are given."""
    if settings.entries is None:
        return []
    # Only who asks for it pays for compiling it.
    from ansible_collections.sre.runbooks.plugins.module_utils._preflight import databases

    found = databases.found(commands, settings.entries, settings.search, skip=[settings.directory])
    return [
        outcome(
            finding.subject,
            STAGE,
            finding.status,
            finding.summary,
            details={**finding.details, "remedy": finding.remedy},
        )
        for finding in databases.uncovered(found, settings.entries)
    ]


def _shown(copy: _catalog.Copy, now: float) -> dict[str, t.Any]:
    return {**copy._asdict(), "created": _manifest.timestamp(copy.created), "age_seconds": round(now - copy.created, 3)}
