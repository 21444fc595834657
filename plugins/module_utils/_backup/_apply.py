# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The only writer in a backup folder: sweep, make, prove, delete. The caller holds the lock of the name.

Killed at any moment, nothing good is lost: data is written under a temporary name, synced and compared before it gets
its own, the manifest makes it a copy, and what is deleted gets a temporary name first.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import (
    _catalog,
    _encryption,
    _engine,
    _manifest,
    _plan,
    _verify,
)
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Dump, Preflight, Work
from ansible_collections.sre.runbooks.plugins.module_utils._backup._settings import Item, Job, Settings
from ansible_collections.sre.runbooks.plugins.module_utils._core import files
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import require
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size

# A data file without a manifest may be one that somebody is just copying here.
LEFTOVER_SECONDS = 86400.0
PROVEN = {"checksum": "checksum compared", "archive": "archive read", "restored": "restored and compared"}
_SHOWN = ("tables", "rows", "files", "keys", "users", "roles")


class Made(t.NamedTuple):
    """What an outcome needs to know of a new copy."""

    status: str
    summary: str
    metrics: dict[str, float]
    details: dict[str, t.Any]
    swept: list[str]


def sweep(found: _catalog.Folder, level: str) -> list[str]:
    """Remove what killed runs left; return the paths."""
    now = time.time()
    swept = []
    for path in found.partials:
        _remove(path)
        swept.append(path)
    good = max((copy.created for copy in found.copies if copy.good(level) and copy.created <= now), default=0.0)
    for path in found.leftovers:
        changed = os.lstat(path).st_mtime
        if changed < min(now - LEFTOVER_SECONDS, good):
            os.unlink(path)
            swept.append(path)
    return swept


def make(job: Job, work: Work, found: _catalog.Folder, obstacle: str | None = None) -> Made:
    """Make a copy, prove it, let go of what retention does not keep; of nothing with an `obstacle`."""
    settings = job.settings
    preflight = job.item.engine.preflight(job.item.source, work)
    feasible(settings, preflight, found, work)
    swept = job.item.engine.sweep(job.item.source, work)
    with _encryption.provable(work, settings.identity) as able:
        new = _new(job, able, preflight)
    odd = _plan.odd_size(
        new.document["size_bytes"], found.copies, settings.minimum_size, settings.shrink_limit, time.time()
    )
    kept, deleted, frozen = _retain(job, obstacle or new.problem or odd)
    return _report(settings, new, odd, kept, deleted, frozen)._replace(swept=swept)


class _New(t.NamedTuple):
    """A copy that was made: its manifest, the seconds for dump and proof, and why it could not be proven."""

    path: str
    created: float
    document: dict[str, t.Any]
    verify_seconds: float
    problem: str | None


def _new(job: Job, work: Work, preflight: Preflight) -> _New:
    """Dump, compare what is on the disk, write the manifest, prove."""
    item, settings = job
    started = time.monotonic()
    path, created = _free_path(job)
    dump, compared = _write(item, path, work)
    facts = {
        "name": item.name,
        "engine": item.engine_name,
        "source": _manifest.public(item.source, item.engine.OPTIONS),
        "size_bytes": os.stat(path).st_size,
        "source_bytes": preflight.source_bytes,
        "sha256": dump.sha256,
        "versions": preflight.versions,
        "compression": {"algorithm": settings.packing.algorithm, "level": settings.packing.level},
        "figures": dump.figures,
        "warnings": list(dump.warnings),
        "duration_seconds": round(time.monotonic() - started, 3),
    }
    if settings.packing.recipients:
        facts["encryption"] = _encryption.recorded(settings.packing.recipients, work.level, settings.identity)
    document = _manifest.build(path, created, facts)
    document["verifications"].append(_manifest.verification("checksum", True, compared, {}))
    try:
        _manifest.write(path, document)
    except RunbookError:
        # A full disk would otherwise get fuller by a data file that is no backup, run after run.
        os.unlink(path)
        raise
    verified = time.monotonic()
    problem = _prove(item, path, document, work)
    return _New(path, created, document, round(time.monotonic() - verified + compared, 3), problem)


def _report(
    settings: Settings,
    new: _New,
    odd: str | None,
    kept: dict[str, str],
    deleted: dict[str, str],
    frozen: str | None,
) -> Made:
    """What a person reads of a new copy."""
    document = new.document
    figures: dict[str, t.Any] = document["verifications"][-1]["figures"]
    parts = [f"{show_size(document['size_bytes'])} in {show_duration(document['duration_seconds'])}"]
    parts[0] += (
        f", NOT proven as {settings.level}: {new.problem}" if new.problem else f", {_proof(settings.level, figures)}"
    )
    how = document.get("encryption", {}).get("proof")
    parts += ["encrypted" + (f", {how}" if how and not new.problem else "")] if settings.packing.recipients else []
    parts += [f"{odd}; nothing is deleted"] if odd else []
    parts += [*document["warnings"], *([f"{len(deleted)} old deleted"] if deleted else [])]
    metrics = {
        "duration_seconds": document["duration_seconds"],
        "verify_seconds": new.verify_seconds,
        "size_bytes": document["size_bytes"],
        "copies": len(kept),
        "age_seconds": round(max(0.0, time.time() - new.created), 3),
    }
    details = {
        "path": new.path,
        "level": "checksum" if new.problem else settings.level,
        "proof": {**figures, "encryption": how} if how else figures,
        "versions": document["versions"],
        "kept": kept,
        "deleted": deleted,
    }
    if frozen:
        details["frozen"] = frozen
    status = "critical" if new.problem else "warning" if odd or document["warnings"] else "ok"
    return Made(status, "; ".join(parts), metrics, details, [])


def _free_path(job: Job) -> tuple[str, float]:
    """The path of a copy made now, and the time in it; a second copy within a second has to wait."""
    while True:
        created = time.time()
        path = path_of(job, created)
        if not os.path.lexists(path):
            return path, created
        time.sleep(0.1)


def path_of(job: Job, created: float) -> str:
    """The path of the copy made at `created`."""
    settings, item = job.settings, job.item
    name = f"{item.name}_{_catalog.stamp(created)}{_engine.extension(item.engine, item.source)}{settings.packing.extension}"
    return os.path.join(settings.directory, item.name, name)


def feasible(settings: Settings, preflight: Preflight, found: _catalog.Folder, work: Work) -> None:
    """RunbookError when a program is missing, or the copy would pass the limit or not fit; nothing has been written by then."""
    for stage in settings.packing.pack():
        require(stage[0])
    if settings.limit_bytes is not None and preflight.source_bytes > settings.limit_bytes:
        raise RunbookError(
            f"the source has {show_size(preflight.source_bytes)}, limits.bytes is {show_size(settings.limit_bytes)}. "
            "Raise the limit, or exclude something."
        )
    folder = work.folder
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    free = shutil.disk_usage(folder).free
    needed = preflight.scratch_bytes + _plan.expected_size(preflight.source_bytes, found.copies, time.time())
    if needed > free:
        raise RunbookError(
            f"{work.folder}: up to {show_size(needed)} are needed, {show_size(free)} are free. "
            "Make room, or set directory to a larger file system."
        )


def _write(item: Item, path: str, work: Work) -> tuple[Dump, float]:
    """Dump to a temporary name; compare what is on the disk with what was written, then publish. Also the seconds of that."""
    partial = files.partial_name(path)
    files.make_directory(work.folder)
    try:
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        dump = item.engine.dump(item.source, partial, work)
        started = time.monotonic()
        _sync(partial)
        _verify.checksum(partial, dump.sha256, os.stat(partial).st_size)
        files.publish(partial, path)
        return dump, time.monotonic() - started
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)


def _prove(item: Item, path: str, document: dict[str, t.Any], work: Work) -> str | None:
    """Climb to the level asked for; return why it was not reached."""
    if work.level == "checksum":
        return None
    try:
        record = _verify.prove(item.engine, item.source, path, document, work, fresh=True)
    except (RunbookError, OSError) as error:
        return str(error)
    return None if record["ok"] else record["figures"]["problem"]


def _retain(job: Job, obstacle: str | None) -> tuple[dict[str, str], dict[str, str], str | None]:
    """Apply retention, unless there is an obstacle; kept and deleted files with their reasons, and why nothing is deleted."""
    settings = job.settings
    copies = _catalog.folder(settings.directory, job.item.name).copies
    decisions = _plan.retention(copies, settings.policy, settings.level, time.time())
    if obstacle:
        return {os.path.basename(each.copy.path): "frozen" for each in decisions}, {}, obstacle
    kept, deleted = {}, {}
    for each in decisions:
        name = os.path.basename(each.copy.path)
        if each.keep:
            kept[name] = each.reason
        elif os.path.lexists(each.copy.path + _catalog.PIN):
            # Somebody pinned it a moment ago.
            kept[name] = "pinned"
        else:
            _delete(each.copy)
            deleted[name] = each.reason
    return kept, deleted, None


def _delete(copy: _catalog.Copy) -> None:
    """The manifest goes first, so that half a deletion is no copy; both get temporary names, which the next run sweeps."""
    doomed = []
    for path in (copy.manifest_path, copy.path):
        partial = files.partial_name(path)
        os.rename(path, partial)
        doomed.append(partial)
    files.fsync_directory(os.path.dirname(copy.path))
    for path in doomed:
        os.unlink(path)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _proof(level: str, figures: t.Mapping[str, t.Any]) -> str:
    numbers = [f"{figures[key]:,} {key}".replace(",", " ") for key in _SHOWN if isinstance(figures.get(key), int)]
    return PROVEN[level] + (f": {', '.join(numbers)}" if numbers else "")
