# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Redis: the server's RDB file is replaced while the server is stopped, for it writes its own over it when it stops.

The copy is loaded into a scratch server first. A server that keeps an append-only file would load that one and never look
at the RDB file, so that is refused with the way round it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _packing
from ansible_collections.sre.runbooks.plugins.module_utils._backup import redis as backup
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Mismatch
from ansible_collections.sre.runbooks.plugins.module_utils._core import _psutil, files, redis
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._restore import _access, _place
from ansible_collections.sre.runbooks.plugins.module_utils._restore._engine import Job, Look

# What an append-only server of release 7, and of those before, has beside its RDB file.
_APPEND_ONLY = ("appendonlydir", "appendonly.aof")
_SERVERS = ("redis-server", "valkey-server", "keydb-server")
_ANSWER_SECONDS = 5.0


def aim(source: dict[str, t.Any], to: str | None) -> dict[str, t.Any]:
    """Restore into the file `to`; by default the one that stands in the manifest."""
    if to is not None and not os.path.isabs(to):
        raise InputError("to", to, "is no absolute path", "Write the path of the server's RDB file from the root on.")
    if to is None and source["container"]:
        raise InputError(
            "container",
            source["container"],
            "has files that this host does not reach by their names",
            "Name the RDB file in the container's volume with to, and stop the container.",
        )
    return {**source, "file": to}


def target(source: t.Mapping[str, t.Any]) -> str:
    """The file, where it was given; else the server."""
    return str(source["file"] or redis.place(source))


def look(job: Job) -> Look:
    """The file can be replaced; the server is stopped and keeps no append-only file."""
    path = _path(job)
    folder = os.path.dirname(path)
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
        raise RunbookError(f"{folder}: cannot be written to. Run as a user who may, or name another file with to.")
    _access.wanted(job)
    beside = [name for name in _APPEND_ONLY if os.path.lexists(os.path.join(folder, name))]
    if beside or (job.manifest["figures"].get("appendonly") == "yes" and not job.force):
        what = f"{folder}/{beside[0]}" if beside else "by the word of the copy"
        raise RunbookError(
            f"the server keeps an append-only file ({what}), which it would load in place of {path}. Stop it, set appendonly no, move "
            "the append-only files away, restore with force, start it; CONFIG SET appendonly yes then writes a new one."
        )
    needed = int(job.manifest["figures"].get("used_memory_bytes") or job.manifest["size_bytes"])
    room = ((folder, shutil.disk_usage(folder).free, needed),)
    users = tuple(_servers(job, folder))
    if not os.path.lexists(path):
        return Look(False, users=users, room=room)
    info = os.stat(path)
    if not stat.S_ISREG(info.st_mode):
        raise RunbookError(f"{path} is no regular file. Name the RDB file in to, or move this away.")
    shape = {"size_bytes": info.st_size, "modified": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(info.st_mtime))}
    return Look(True, info.st_size, users, room, shape=shape)


def safety(job: Job) -> None:
    """A server that is stopped cannot be asked for a copy; the file that it wrote at its end is what is kept."""


def recover(job: Job) -> list[str]:
    """Take away what was being built; end a swap that had begun."""
    found = job.journal.read()
    swap = found.get("swap")
    done = []
    if swap is not None and _place.begun(swap):
        _place.replace(swap)
        done.append(f"ended the swap of {swap['target']}")
    done += [f"removed {path}" for path in found.get("new", []) if _place.remove(path)]
    job.journal.clear()
    return done


def taken(job: Job) -> bool:
    """Whether an old one is kept under this job's stamp already."""
    return os.path.lexists(_place.kept_name(_path(job), job.stamp))


def build(job: Job) -> dict[str, t.Any]:
    """Load the copy into a scratch server and compare; then unpack it beside the server's file."""
    path = _path(job)
    new = _new(job)
    work = job.work._replace(folder=os.path.dirname(path))
    job.journal.write({"new": [new, work.scratch("restore")]})
    problem = None
    try:
        figures = backup.restore(job.source, job.path, job.manifest["figures"], work)
    except Mismatch as error:
        if not job.force:
            raise
        figures, problem = {}, str(error)
    _packing.unpack_to(work.commands, work.unpack(job.path), new, work.seconds())
    _access.give(new, path, job)
    return {**figures, **({"problem": problem} if problem else {})}


def swap(job: Job) -> list[str]:
    """Exchange the two files, if the server is still stopped."""
    path = _path(job)
    running = _servers(job, os.path.dirname(path))
    if running:
        raise RunbookError(f"{path}: {', '.join(running)} was started meanwhile. Stop it, and run again.")
    kept = _place.kept_name(path, job.stamp)
    change = _place.entry(_new(job), path, kept)
    job.journal.write({"new": [_new(job)], "swap": change})
    return [kept] if _place.replace(change) else []


def discard(job: Job) -> None:
    """Take away what was being built."""
    recover(job)


def prune(job: Job, keep: int) -> list[str]:
    """Remove all but the newest `keep` old ones."""
    gone = _place.kept_ones(_path(job))[keep:]
    for path in gone:
        _place.remove(path)
    return gone


def _path(job: Job) -> str:
    path = job.source["file"] or job.manifest["figures"].get("file")
    if not path:
        raise RunbookError(f"{job.path}: does not say where its server keeps its file. Name the RDB file with to.")
    return os.path.realpath(str(path))


def _new(job: Job) -> str:
    folder, name = os.path.split(_path(job))
    return os.path.join(folder, f".{name}.restore-{job.token}{files.PARTIAL}")


def _servers(job: Job, folder: str) -> list[str]:
    """Servers that would write over the file: one in this folder, and the one that answers where the original does.

    A restore into another file than the original's has nothing to do with who answers there.
    """
    psutil, found = _psutil.get(), []
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error, OSError):
            if process.info["name"] in _SERVERS and os.path.realpath(f"/proc/{process.pid}/cwd") == os.path.realpath(
                folder
            ):
                found.append(f"{process.info['name']} (process {process.pid})")
    original = job.manifest["figures"].get("file")
    if not found and job.source["file"] in (None, original) and _answers(job):
        found.append(f"the server at {redis.place(job.source)}")
    return found


def _answers(job: Job) -> bool:
    try:
        done = redis.query(job.work.commands, job.source, "PING\n", _ANSWER_SECONDS)
    except CommandFailed:
        return False
    return bool(done.stdout.strip()) and "Could not connect" not in done.stdout + done.stderr
