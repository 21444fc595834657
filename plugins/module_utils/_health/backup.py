# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Backups as the manifests beside them tell: there is a good one, and it is young enough."""

from __future__ import annotations

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _catalog
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import TargetDown
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation

METRICS = ("age_seconds", "size_bytes")
OPTIONS: dict[str, t.Any] = {
    "directory": {"type": "path", "default": "/var/backups/sre-runbooks"},
    "names": {"type": "list", "elements": "str"},
    "level": {"type": "str", "choices": list(_catalog.LEVELS), "default": "restored"},
}
DEFAULT_BOUNDS: dict[str, t.Any] = {}
INHERENT = True


def observe(options: t.Mapping[str, t.Any], host: Host) -> list[Observation]:
    """For each of `names` (default: every name in the folder) the newest copy verified at `level` or better."""
    copies = _catalog.copies(options["directory"], options["names"])
    names = options["names"] or sorted({copy.name for copy in copies})
    if not names:
        raise TargetDown(f"{options['directory']} holds no backup")
    return [_newest(name, [copy for copy in copies if copy.name == name], options["level"], host.now) for name in names]


def _newest(name: str, copies: t.Sequence[_catalog.Copy], level: str, now: float) -> Observation:
    """A copy from the future (the clock was set back) does not count."""
    rank = _catalog.LEVELS.index(level)
    good = [
        copy
        for copy in copies
        if not copy.failed and copy.level and _catalog.LEVELS.index(copy.level) >= rank and copy.created <= now
    ]
    if not good:
        problem = (
            f"none of the {len(copies)} backups of {name} is verified as {level}"
            if copies
            else f"there is no backup of {name}"
        )
        return Observation({}, problem, "critical", name)
    newest = max(good, key=lambda copy: copy.created)
    metrics = {"age_seconds": round(now - newest.created, 3), "size_bytes": newest.size_bytes}
    age, size = show_duration(metrics["age_seconds"]), show_size(newest.size_bytes)
    return Observation(metrics, f"{name}: {size}, {age} old, verified as {newest.level}", target=name)
