# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make a bundle, or keep the baseline: observe, pack, clean up."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import lock, state
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import Busy, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import envelope, outcome
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics import (
    _baseline,
    _bundle,
    _registry,
    _summary,
)
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._crew import Crew
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._redact import Redactor
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._settings import STAGE, Settings
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._spool import Part, Spool

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._summary import Collected

SUBJECT = "diagnostics:bundle"
BASELINE = "diagnostics:baseline"
# Less is no bundle: below it, nothing is made.
LEAST = 1 << 18
# With less room than this all parts wait in memory, and the bundle is that small.
IN_MEMORY = 8 << 20
WAIT_SECONDS = 5.0
SHOWN = 20


def run(settings: Settings, commands: Commands, dry: bool) -> dict[str, t.Any]:
    """Return the envelope."""
    if settings.baseline == "save":
        return _keep_baseline(settings, commands, dry)
    _bundle.usable(settings.directory, dry)
    if dry:
        return _would(settings)
    umask = os.umask(0o077)
    try:
        with lock.hold(settings.directory, "diagnostics", WAIT_SECONDS):
            return _make(settings, commands)
    except Busy as error:
        return envelope([outcome(SUBJECT, STAGE, "unknown", f"no bundle was made: {error}")])
    finally:
        os.umask(umask)


def _keep_baseline(settings: Settings, commands: Commands, dry: bool) -> dict[str, t.Any]:
    if settings.health != "ok":
        text = f"the last healthy baseline stays: health is {settings.health}"
        return envelope([outcome(BASELINE, STAGE, "skipped", text)])
    facts = _baseline.gather(settings.paths, commands, time.time())
    if not dry:
        state.save(settings.state_dir, _baseline.NAME, facts)
    figures = {
        f"{name}_known": len(facts[name]) for name in ("processes", "services", "packages", "files") if name in facts
    }
    text = ", ".join(f"{value} {name.partition('_')[0]}" for name, value in figures.items())
    return envelope([outcome(BASELINE, STAGE, "ok", f"{'would be' if dry else 'is'} kept: {text}", metrics=figures)])


def _would(settings: Settings) -> dict[str, t.Any]:
    """What would be collected, for check mode."""
    collectors = {name: _registry.load(name) for name in settings.collect}
    details = {
        name: collector.would(settings) if hasattr(collector, "would") else collector.COLLECTS
        for name, collector in collectors.items()
    }
    text = f"would collect {', '.join(settings.collect)} into {settings.directory}, at most {show_size(settings.limits.bytes)}"
    gone = (
        _bundle.old(settings.directory, settings.keep - 1)
        if os.path.isdir(settings.directory) and settings.keep > 1
        else []
    )
    return envelope([outcome(SUBJECT, STAGE, "ok", text, details={"collect": details, "deleted": gone})], changed=True)


def _make(settings: Settings, commands: Commands) -> dict[str, t.Any]:
    started, now = time.monotonic(), time.time()
    _bundle.sweep(settings.directory)
    redactor = Redactor(settings.secrets, settings.redact)

    def left() -> int:
        return _bundle.room(settings.directory, settings.limits.reserve)

    room = left()
    if room < LEAST:
        text = (
            f"no bundle was made: {settings.directory} has {show_size(max(0, room + settings.limits.reserve))} free, of which limits.reserve keeps "
            f"{show_size(settings.limits.reserve)}. Make room, lower limits.reserve, or name another directory"
        )
        return envelope([outcome(SUBJECT, STAGE, "critical", text)])
    spool, small = _spool(settings, room, left)
    try:
        crew = Crew(settings, commands, redactor, spool)
        collected = crew.run()
        facts = _baseline.gather(settings.paths, commands, now)
        return _pack(settings, commands, redactor, spool, collected, facts, (started, now), small, left)
    except _bundle.NoRoom as error:
        return envelope([outcome(SUBJECT, STAGE, "critical", redactor.text(f"no bundle was made: {error}"))])
    finally:
        spool.close()


def _spool(settings: Settings, room: int, left: t.Callable[[], int]) -> tuple[Spool, bool]:
    """What waits on the disk is there twice until the bundle is packed."""
    wanted = settings.limits.bytes + (settings.sos.bytes if "sos" in settings.collect else 0)
    if room // 2 >= min(wanted, IN_MEMORY):
        limit = min(wanted, room // 2)
        return Spool(_bundle.spool_file(settings.directory), limit, left), limit < wanted
    return Spool(None, min(wanted, room - LEAST // 2, IN_MEMORY)), True


def _pack(
    settings: Settings, commands: Commands, redactor: Redactor, spool: Spool, collected: list[Collected], facts: dict[str, t.Any],
    times: tuple[float, float], small: bool, left: t.Callable[[], int],
) -> dict[str, t.Any]:  # fmt: skip
    started, now = times
    differences, told = _differences(settings, facts)
    collected = [each._replace(reason=redactor.text(each.reason)) for each in collected]
    parts = sorted(spool.parts, key=_name)
    for part in parts:
        _finish(part, spool, redactor)
    head = {
        "incident": settings.incident,
        "created": _summary.utc(now),
        "since_seconds": settings.since,
        "room_was_short": small,
    }
    if differences is not None:
        document = {"baseline": told, **redactor.everything(differences)}
    packing = "zst" if shutil.which("zstd") else "gz"
    top = _bundle.name(settings.incident, now, settings.directory, packing)
    path = os.path.join(settings.directory, f"{top}.tar.{packing}")
    lines = None if differences is None else _baseline.lines(differences)
    first = [
        ("summary.md", redactor.whole(_summary.page(head, facts, lines, told, collected, parts))),
        ("manifest.json", _summary.manifest(head, collected, parts, redactor.count)),
    ]
    if differences is not None:
        first.append(("differences.json", _json(document)))
    files = [_bundle.File(name, len(data), _once(data)) for name, data in first]
    files += [_bundle.File(part.name, part.size, functools.partial(spool.read, part)) for part in parts]
    digest = _bundle.write(path, top, files, now, commands, left)
    gone = _bundle.old(settings.directory, settings.keep)
    for each in gone:
        os.unlink(each)
    size = os.stat(path).st_size
    bundle = {
        "path": path,
        "size_bytes": size,
        "sha256": digest,
        "created": head["created"],
        "incident": settings.incident,
    }
    outcomes = _outcomes(settings, bundle, collected, parts, time.monotonic() - started, small)
    if lines:
        outcomes[0]["details"]["differences"] = [redactor.text(each) for each in lines[: _baseline.SHOWN]]
    return envelope(outcomes, True, bundle=bundle, deleted=gone, differences=None if differences is None else document)


def _differences(settings: Settings, facts: dict[str, t.Any]) -> tuple[dict[str, t.Any] | None, str]:
    """What is different, and since when or why it is not known."""
    if settings.baseline == "none":
        return None, "It was not asked for."
    try:
        before = state.load(settings.state_dir, _baseline.NAME)
    except RunbookError as error:
        return None, str(error)
    if before.get("version") != _baseline.VERSION:
        return None, "No baseline was kept on this host while it was healthy."
    return _baseline.compare(before, facts), _summary.utc(before["time"])


def _finish(part: Part, spool: Spool, redactor: Redactor) -> None:
    """Size and sum of a part as the bundle holds it."""
    digest = hashlib.sha256()
    size = 0
    # Secrets that were learned after it was read are taken out now.
    spool.rewrite(part, redactor.final)
    for block in spool.read(part):
        digest.update(block)
        size += len(block)
    part.size, part.sha256 = size, digest.hexdigest()
    part.problem, part.note = redactor.text(part.problem), redactor.text(part.note)
    part.name = redactor.text(part.name)


def _once(data: bytes) -> t.Callable[[], t.Iterator[bytes]]:
    return lambda: iter((data,))


def _json(document: t.Mapping[str, t.Any]) -> bytes:
    return json.dumps(document, indent=1, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _outcomes(
    settings: Settings,
    bundle: t.Mapping[str, t.Any],
    collected: t.Sequence[Collected],
    parts: t.Sequence[Part],
    seconds: float,
    small: bool,
) -> list[dict[str, t.Any]]:
    """One for the bundle, one for each collector that could not do its work."""
    cut = [part.name for part in parts if part.truncated]
    told = [f"{len(parts)} files, {show_size(bundle['size_bytes'])} in {show_duration(seconds)}: {bundle['path']}"]
    if cut:
        told.append(f"{len(cut)} of them without their oldest lines")
    if small:
        told.append("smaller than limits.bytes, for the disk has no more room")
    metrics = {
        "size_bytes": bundle["size_bytes"],
        "content_bytes": sum(part.size for part in parts),
        "duration_seconds": round(seconds, 3),
        "parts": len(parts),
        "truncated": len(cut),
    }
    skipped = {each.name: each.reason for each in collected if each.status == "skipped"}
    details: dict[str, t.Any] = {
        "path": bundle["path"],
        "sha256": bundle["sha256"],
        "skipped": skipped,
        "truncated": cut[:SHOWN],
    }
    found = [outcome(SUBJECT, STAGE, "warning" if small else "ok", "; ".join(told), metrics=metrics, details=details)]
    for each in collected:
        if each.status in ("failed", "timed_out"):
            what = "did not end in its time" if each.status == "timed_out" else "failed"
            text = f"{what}: {each.reason}. The bundle has what it wrote until then"
            found.append(
                outcome(f"{STAGE}:{each.name}", STAGE, "unknown", text, details={"seconds": round(each.seconds, 3)})
            )
    return found


def _name(part: Part) -> str:
    return part.name
