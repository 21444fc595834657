# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files and folders: each path of the copy is unpacked beside the one that is there, and the two exchange their names."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import tarfile
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _tree
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Mismatch
from ansible_collections.sre.runbooks.plugins.module_utils._core import files
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._restore import _place, _unpack
from ansible_collections.sre.runbooks.plugins.module_utils._restore._engine import Job, Look

_PIECE = 1 << 20


def aim(source: dict[str, t.Any], to: str | None) -> dict[str, t.Any]:
    """Restore below the folder `to` in place of the root of the file system."""
    if to is not None and not os.path.isabs(to):
        raise InputError("to", to, "is no absolute path", "Name a folder, from the root on.")
    return {**source, "paths": [_below(to, path) for path in source["paths"]]}


def target(source: t.Mapping[str, t.Any]) -> str:
    """The paths that are replaced."""
    return ", ".join(_tree.printable(path) for path in sorted(source["paths"]))


def look(job: Job) -> Look:
    """What is there of the paths, and whether something can be put in their place."""
    roots = _roots(job)
    present = [path for path in roots.values() if os.path.lexists(path)]
    folders = {_existing(os.path.dirname(path)) for path in roots.values()}
    for folder in folders:
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
            raise RunbookError(f"{folder}: cannot be written to. Run as a user who may, or restore elsewhere with to.")
    for path in present:
        if os.path.ismount(path):
            raise RunbookError(
                f"{path} is a mount point, which cannot be renamed. Restore elsewhere with to, and copy."
            )
    warnings = []
    if os.geteuid() != 0:
        warnings.append("owners and groups are not restored, for that needs root")
    left_out = job.manifest["source"].get("exclude") or []
    if left_out and any(os.path.isdir(path) for path in present):
        warnings.append(
            f"what the copy leaves out ({', '.join(left_out[:3])}{', …' if len(left_out) > 3 else ''}) is in the kept ones only"
        )
    room: tuple[tuple[str, int, int], ...] = ()
    if len({os.stat(folder).st_dev for folder in folders}) == 1:
        folder = min(folders)
        room = ((folder, shutil.disk_usage(folder).free, int(job.manifest["figures"].get("size_bytes") or 0)),)
    shape = {"paths": len(roots), "present": len(present)}
    return Look(bool(present), room=room, warnings=tuple(warnings), shape=shape)


def safety(job: Job) -> dict[str, t.Any]:
    """What is backed up before it is replaced: all of it."""
    return {"paths": [path for path in _roots(job).values() if os.path.lexists(path)], "exclude": []}


def recover(job: Job) -> list[str]:
    """Take away what was being built; end a swap that had begun."""
    found = job.journal.read()
    swaps = found.get("swaps", [])
    done = []
    if any(_place.begun(swap) for swap in swaps):
        for swap in swaps:
            _place.replace(swap)
        done.append(f"ended the swap of {len(swaps)} paths")
    done += [f"removed {path}" for path in found.get("new", []) if _place.remove(path)]
    for folder in found.get("made", []):
        # One in which something lies by now stays.
        with contextlib.suppress(OSError):
            os.rmdir(folder)
    job.journal.clear()
    return done


def taken(job: Job) -> bool:
    """Whether an old one is kept under this job's stamp already."""
    return any(os.path.lexists(_place.kept_name(path, job.stamp)) for path in _roots(job).values())


def build(job: Job) -> dict[str, t.Any]:
    """Unpack every path beside the one that is there; compare names, kinds, modes and contents with those of the dump."""
    roots = _roots(job)
    news = {name: _new(path, job) for name, path in roots.items()}
    made = _missing({os.path.dirname(path) for path in roots.values()})
    job.journal.write({"new": list(news.values()), "made": made[::-1]})
    for folder in made:
        os.mkdir(folder, 0o755)
    started = time.monotonic()
    unpacking = _unpack.Unpacking(news)

    def talk(_input: t.IO[bytes], archive: t.IO[bytes]) -> None:
        try:
            with tarfile.open(fileobj=archive, mode="r|", bufsize=_PIECE, errors="surrogateescape") as tar:
                for info in tar:
                    job.work.seconds()
                    unpacking.add(tar, info)
                    tar.members = []  # type: ignore[attr-defined]
        except (tarfile.TarError, EOFError) as error:
            raise Mismatch(f"{job.path}: is no whole archive: {error}") from error

    with unpacking:
        try:
            job.work.commands.converse(job.work.unpack(job.path), talk, timeout=job.work.seconds())
        except CommandFailed as error:
            raise Mismatch(f"{job.path}: cannot be unpacked: {error}") from error
        unpacking.finish()
    problem = _difference(job, unpacking.figures())
    shown = unpacking.shown()
    return {
        **shown,
        "restore_seconds": round(time.monotonic() - started, 3),
        **({"problem": problem} if problem else {}),
        **({"warnings": unpacking.warnings()} if unpacking.warnings() else {}),
    }


def swap(job: Job) -> list[str]:
    """Exchange one path after the other; when one cannot be, those before it are exchanged back."""
    roots = _roots(job)
    news = {name: _new(path, job) for name, path in roots.items()}
    swaps = [
        _place.entry(news[name], path, _place.kept_name(path, job.stamp))
        for name, path in roots.items()
        if os.path.lexists(news[name])
    ]
    job.journal.write({"new": list(news.values()), "swaps": swaps})
    done: list[dict[str, t.Any]] = []
    kept = []
    try:
        for each in swaps:
            done.append(each)
            if _place.replace(each):
                kept.append(each["kept"])
    except OSError:
        for each in reversed(done):
            _place.undo(each)
        job.journal.write({"new": list(news.values())})
        raise
    return kept


def discard(job: Job) -> None:
    """Take away what was being built."""
    recover(job)


def prune(job: Job, keep: int) -> list[str]:
    """Remove all but the newest `keep` old ones of each path."""
    gone = [path for root in _roots(job).values() for path in _place.kept_ones(root)[keep:]]
    for path in gone:
        _place.remove(path)
    return gone


def _difference(job: Job, found: t.Mapping[str, t.Any]) -> str | None:
    wanted = job.manifest["figures"]
    if found == wanted:
        return None
    text = f"{job.path}: the restored files differ from those of the dump: {found} instead of {wanted}"
    if not job.force:
        raise Mismatch(text)
    return text


def _roots(job: Job) -> dict[str, str]:
    """Where each path of the archive goes, by its name there: its outermost entries."""
    paths = [os.path.normpath(path) for path in job.manifest["source"]["paths"]]
    if any(glob.has_magic(path) for path in paths):
        names = _outermost_entries(job)
    else:
        names = [path.lstrip("/") for path in _outermost(paths)]
    return {name: _below(job.to, "/" + name) for name in names}


def _outermost(paths: t.Iterable[str]) -> list[str]:
    kept: list[str] = []
    for path in sorted(set(paths)):
        if not any(path.startswith(each + "/") for each in kept):
            kept.append(path)
    return kept


def _outermost_entries(job: Job) -> list[str]:
    """The archive's own word on what the patterns matched. Read once: its checksum was compared."""
    found: dict[str, None] = {}

    def talk(_input: t.IO[bytes], archive: t.IO[bytes]) -> None:
        try:
            with tarfile.open(fileobj=archive, mode="r|", bufsize=_PIECE, errors="surrogateescape") as tar:
                for info in tar:
                    job.work.seconds()
                    parts = info.name.split("/")
                    if not any("/".join(parts[:number]) in found for number in range(1, len(parts) + 1)):
                        found[info.name] = None
                    tar.members = []  # type: ignore[attr-defined]
        except (tarfile.TarError, EOFError) as error:
            raise Mismatch(f"{job.path}: is no whole archive: {error}") from error

    known = _ENTRIES.get(job.path)
    if known is None:
        job.work.commands.converse(job.work.unpack(job.path), talk, timeout=job.work.seconds())
        known = _ENTRIES[job.path] = list(found)
        for name in known:
            _unpack.refuse_escapes(name)
    return known


# By the path of a copy; a process restores a few at most.
_ENTRIES: dict[str, list[str]] = {}


def _below(folder: str | None, path: str) -> str:
    return os.path.normpath(path) if folder is None else os.path.normpath(f"{folder}/{path}")


def _new(path: str, job: Job) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.restore-{job.token}{files.PARTIAL}")


def _existing(folder: str) -> str:
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    return folder


def _missing(folders: t.Iterable[str]) -> list[str]:
    """Folders that have to be made, outermost first."""
    missing = set()
    for folder in folders:
        while not os.path.lexists(folder):
            missing.add(folder)
            folder = os.path.dirname(folder)
    return sorted(missing)
