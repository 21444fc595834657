# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restore one thing after the other: choose and prove the copy, look, back up what is there, build beside, swap.

Check mode ends after the look. A restore that cannot be made is a `critical` outcome and fails the task, but keeps no
other of the same call from being made.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import time
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _catalog, _verify, _work
from ansible_collections.sre.runbooks.plugins.module_utils._backup import _registry as _backups
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Mismatch
from ansible_collections.sre.runbooks.plugins.module_utils._core import lock
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import envelope, outcome
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration, show_size
from ansible_collections.sre.runbooks.plugins.module_utils._restore import _choose, _registry, _safety, _told
from ansible_collections.sre.runbooks.plugins.module_utils._restore._engine import Job, Journal
from ansible_collections.sre.runbooks.plugins.module_utils._restore._settings import Request, Settings

if t.TYPE_CHECKING:
    from types import ModuleType

STAGE = _told.STAGE
LOCKS = "locks"
# A new database needs a little more than the data: its logs, the file system's own.
ROOM = 1.05


class Host(t.NamedTuple):
    """What a run may use: `hide` takes secrets that must not be shown, `promised` holds what a dry run would have brought."""

    commands: Commands
    state_dir: str
    dry: bool
    hide: t.Callable[[set[str]], None]
    promised: set[str]


def run(settings: Settings, requests: t.Sequence[Request], host: Host) -> dict[str, t.Any]:
    """Return the envelope; with `failed` and `msg` when something could not be restored."""
    umask = os.umask(0o077)
    try:
        results = [_one(settings, request, host) for request in requests]
    finally:
        os.umask(umask)
    failed = [each.outcome["summary"] for each in results if each.outcome["status"] == "critical"]
    more: dict[str, t.Any] = {"failed": True, "msg": " / ".join(failed)} if failed else {}
    return envelope(
        [each.outcome for each in results],
        any(each.changed for each in results),
        diff={"before": "".join(each.before for each in results), "after": "".join(each.after for each in results)},
        **more,
    )


def _one(settings: Settings, request: Request, host: Host) -> _told.Result:
    subject = f"{request.engine or 'restore'}:{request.name}"
    done: list[str] = []
    try:
        copy, manifest = _choose.choose(
            settings.directory, request.name, request.wish, request.level, request.force, time.time()
        )
        subject = f"{copy.engine}:{request.name}"
        engine, job = _job(settings, request, host, copy, manifest)
        if host.dry:
            plan = _plan(settings, request, host, engine, job, copy)
            host.promised.update(plan.look.brings)
            return _told.would(settings, plan)
        key = f"{STAGE}_{job.token}"
        with lock.hold(os.path.join(host.state_dir, LOCKS), key), _held(os.path.dirname(job.path), request.name):
            done += engine.recover(job)
            return _restore(settings, _plan(settings, request, host, engine, job, copy), done)
    except (RunbookError, OSError) as error:
        text = f"{request.name} was not restored: {_told.reason(error)}"
        if done:
            text += f" Before that: {'; '.join(done)}."
        return _told.Result(
            outcome(subject, STAGE, "critical", text, details={"recovered": done} if done else {}), bool(done)
        )


@contextlib.contextmanager
def _held(folder: str, name: str) -> t.Iterator[None]:
    """Keep backups of the same name from beginning, whose retention may let go of the copy."""
    directory = os.path.join(os.path.dirname(folder), _work.LOCKS)
    if not os.access(os.path.dirname(folder), os.W_OK):
        # A folder of backups that can only be read, such as a mounted one: nobody deletes there.
        yield
        return
    with lock.hold(directory, name):
        yield


def _job(
    settings: Settings, request: Request, host: Host, copy: _catalog.Copy, manifest: dict[str, t.Any]
) -> tuple[ModuleType, Job]:
    if copy.engine not in _registry.NAMES:
        raise RunbookError(
            f"{copy.path}: copies of the engine {copy.engine} cannot be restored by this release, only those of "
            f"{', '.join(_registry.NAMES)}."
        )
    if request.engine not in (None, copy.engine):
        raise RunbookError(f"{copy.path}: is a copy of the engine {copy.engine}, not {request.engine}. Correct engine.")
    engine = _registry.load(copy.engine)
    source = engine.aim(_source(request, manifest, copy, host), request.to)
    token = hashlib.sha256(f"{platform.node()}:{copy.engine}:{engine.target(source)}".encode()).hexdigest()[:12]
    deadline = None if settings.limit_seconds is None else time.monotonic() + settings.limit_seconds
    folder = os.path.dirname(copy.path)
    work = _work.reader(
        host.commands, os.path.dirname(folder), request.name, "restored", deadline=deadline, identity=settings.identity
    )
    journal = Journal(host.state_dir, f"{copy.engine}_{token}")
    return engine, Job(
        request.name, source, copy.path, manifest, work, journal, token, _catalog.stamp(time.time()), request.to,
        request.disconnect, request.privileges, request.force, request.access, host.promised,
    )  # fmt: skip


def _source(request: Request, manifest: dict[str, t.Any], copy: _catalog.Copy, host: Host) -> dict[str, t.Any]:
    """The options of the source as the manifest has them, under those of the request."""
    backup = _backups.load(copy.engine)
    unknown = request.options.keys() - backup.OPTIONS.keys()
    if unknown:
        raise InputError(
            "connection",
            ", ".join(sorted(map(str, unknown))),
            f"is no option of the engine {copy.engine}",
            f"Use {', '.join(backup.OPTIONS)}.",
        )
    given = {**{key: value for key, value in manifest["source"].items() if key in backup.OPTIONS}, **request.options}
    named = {"name": {"type": "str"}, "engine": {"type": "str"}}
    validated = ArgumentSpecValidator({**named, **backup.OPTIONS}).validate({**given, "name": request.name})
    host.hide(set(validated._no_log_values))
    if validated.error_messages:
        raise RunbookError(f"connection: {'; '.join(validated.error_messages)}")
    source = dict(validated.validated_parameters)
    backup.check(source, "connection")
    return source


def _plan(
    settings: Settings, request: Request, host: Host, engine: ModuleType, job: Job, copy: _catalog.Copy
) -> _told.Plan:
    """Compare the checksum, look at the target; RunbookError when it cannot be restored."""
    problem = copy.problem if copy.failed else None
    try:
        _verify.checksum(job.path, job.manifest["sha256"], job.manifest["size_bytes"])
    except Mismatch as error:
        problem = str(error)
        if not host.dry and not copy.failed and os.access(os.path.dirname(job.path), os.W_OK):
            _verify.condemn(copy, problem)
        if not request.force:
            raise RunbookError(f"{problem}. Choose an older copy with from, or set force to try this one.") from error
    if settings.limit_bytes is not None and int(job.manifest.get("source_bytes") or 0) > settings.limit_bytes:
        raise RunbookError(
            f"{job.name} had {show_size(job.manifest['source_bytes'])}, limits.bytes is {show_size(settings.limit_bytes)}. "
            "Raise the limit."
        )
    look = engine.look(job)
    for place, free, needed in look.room:
        if needed * ROOM > free:
            raise RunbookError(
                f"{place}: up to {show_size(needed * ROOM)} are needed beside what is there, {show_size(free)} are free. "
                "Make room, or restore elsewhere with to."
            )
    return _told.Plan(engine, copy.engine, job, copy, max(0.0, time.time() - copy.created), look, problem)


def _restore(settings: Settings, plan: _told.Plan, recovered: list[str]) -> _told.Result:
    engine, job, look = plan.engine, plan.job, plan.look
    started = time.monotonic()
    if look.users and not job.disconnect:
        raise RunbookError(
            f"{engine.target(job.source)} is in use by {', '.join(look.users)}. Stop them (restore_services of the role), "
            "or set disconnect where the engine has it."
        )
    warnings = [*([plan.problem] if plan.problem else []), *look.warnings]
    safety: dict[str, t.Any] = {}
    if look.exists and settings.safety_backup:
        safety = _safe(settings, plan, warnings)
    safe = time.monotonic()
    try:
        figures = engine.build(job)
        later = 0
        while engine.taken(job):
            # Two restores within a second: the order of the names stays that of the restores.
            later += 1
            job = job._replace(stamp=_catalog.stamp(time.time() + later))
        built = time.monotonic()
        kept = engine.swap(job)
    except BaseException:
        with contextlib.suppress(RunbookError, OSError):
            engine.discard(job)
        raise
    ended = time.monotonic()
    job.journal.clear()
    pruned = engine.prune(job, settings.keep_old) if settings.keep_old is not None else []
    warnings += [figures["problem"]] if "problem" in figures else []
    warnings += figures.pop("warnings", [])
    seconds = time.monotonic() - started
    text = f"restored from {_told.copy_text(plan)} in {show_duration(seconds)}{_told.numbers(figures)}"
    text += f"; the old is kept as {kept[0]}" if kept else ""
    text += f" and {len(kept) - 1} more" if kept[1:] else ""
    text += f"; {len(pruned)} older ones removed" if pruned else ""
    text += "".join(f"; {each}" for each in (*warnings, *recovered))
    metrics = {
        **_told.metrics(plan),
        "duration_seconds": round(seconds, 3),
        "safety_seconds": round(safe - started, 3),
        "restore_seconds": round(built - safe, 3),
        "swap_seconds": round(ended - built, 3),
    }
    details = {
        "target": engine.target(job.source), **_told.facts(plan), "figures": figures, "kept": kept, "pruned": pruned,
        "safety_backup": safety.get("path"), "recovered": recovered,
    }  # fmt: skip
    status = "warning" if warnings else "ok"
    return _told.Result(
        outcome(f"{plan.engine_name}:{job.name}", STAGE, status, text, metrics=metrics, details=details),
        True,
        *_told.diff(plan),
    )


def _safe(settings: Settings, plan: _told.Plan, warnings: list[str]) -> dict[str, t.Any]:
    """Back up what is there. Where that fails because it is broken, its own files are what is kept of it."""
    job = plan.job
    safety = getattr(plan.engine, "safety", None)
    options = safety(job) if safety else job.source
    if options is None:
        return {}
    known = _backups.load(plan.engine_name).OPTIONS
    source = {
        **{key: value for key, value in options.items() if value is not None and key in known},
        "name": job.name, "engine": plan.engine_name,
    }  # fmt: skip
    try:
        recipients = _recipients(job, settings)
        made = _safety.make(settings.directory, source, job.work.seconds(), recipients, job.work.commands)
    except RunbookError as error:
        damage = getattr(plan.engine, "damage", None)
        broken = damage(job.source) if damage else None
        if broken is None:
            raise RunbookError(
                f"the safety backup failed, and nothing was changed: {error} Repair that, or set safety_backup to false: "
                "what is replaced is kept under another name in any case."
            ) from error
        warnings.append(
            f"what was there is damaged ({broken}) and could not be backed up; its files are kept as they are"
        )
        return {}
    return t.cast("dict[str, t.Any]", made["details"])


def _recipients(job: Job, settings: Settings) -> list[str]:
    """A copy that is encrypted gets a safety copy that the same key can read."""
    if not job.manifest["file"].endswith(".age") or settings.identity is None:
        return []
    done = job.work.commands.run(["age-keygen", "-y", settings.identity], timeout=60)
    return done.stdout.split()
