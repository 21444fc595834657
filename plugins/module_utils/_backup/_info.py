# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What backups there are, and how well each is proven; nothing is changed."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _catalog, _manifest
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import envelope, outcome
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size

STAGE = "backup_info"


def info(directory: str, names: t.Sequence[str] | None, now: float) -> dict[str, t.Any]:
    """The envelope with `copies`, newest first. A name asked for without a copy is `critical`, a folder without any too."""
    if names is not None and not names:
        raise InputError("names", list(names), "names nothing", "Name sources, or leave the option out for all.")
    found = _catalog.copies(directory, names)
    wanted = sorted({copy.name for copy in found} if names is None else set(names))
    outcomes = [_outcome(directory, name, [copy for copy in found if copy.name == name], now) for name in wanted]
    if not wanted:
        outcomes = [outcome(f"backups:{directory}", STAGE, "critical", f"{directory} holds no backup")]
    return envelope(outcomes, copies=[_shown(copy, now) for copy in found])


def _outcome(directory: str, name: str, copies: t.Sequence[_catalog.Copy], now: float) -> dict[str, t.Any]:
    total = sum(copy.size_bytes for copy in copies)
    metrics: dict[str, float] = {"copies": len(copies), "total_bytes": total}
    usable = [copy for copy in copies if copy.created <= now and not copy.failed and copy.level]
    left = [os.path.basename(path) for path in _catalog.folder(directory, name).leftovers]
    details: dict[str, t.Any] = {"without_manifest": left} if left else {}
    if not usable:
        subject = f"{copies[0].engine}:{name}" if copies else f"backup:{name}"
        text = f"none of the {len(copies)} copies is good" if copies else "there is no backup"
        return outcome(subject, STAGE, "critical", text, metrics=metrics, details=details)
    newest = usable[0]
    metrics.update(age_seconds=round(now - newest.created, 3), size_bytes=newest.size_bytes)
    text = (
        f"{len(copies)} copies, {show_size(total)}; the newest good one is {show_duration(metrics['age_seconds'])} old, "
        f"{show_size(newest.size_bytes)}, verified as {newest.level}"
    )
    bad = sum(copy.failed for copy in copies)
    if bad:
        text += f"; {bad} failed the verification"
    details["level"] = newest.level
    return outcome(f"{newest.engine}:{name}", STAGE, "warning" if bad else "ok", text, metrics=metrics, details=details)


def _shown(copy: _catalog.Copy, now: float) -> dict[str, t.Any]:
    return {**copy._asdict(), "created": _manifest.timestamp(copy.created), "age_seconds": round(now - copy.created, 3)}
