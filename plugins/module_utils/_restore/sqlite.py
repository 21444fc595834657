# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SQLite: unpacked beside the database, checked, and exchanged with it while nobody has it open.

What stands in the old one's write-ahead log is brought home first, so that at no moment a log lies beside a database
that it does not belong to: SQLite would replay it (SQLite documentation, "How To Corrupt An SQLite Database File", 1.3, 1.4).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _packing
from ansible_collections.sre.runbooks.plugins.module_utils._backup import sqlite as backup
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Mismatch
from ansible_collections.sre.runbooks.plugins.module_utils._core import files
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._restore import _access, _place, _users
from ansible_collections.sre.runbooks.plugins.module_utils._restore._engine import Job, Look

SIDES = ("-wal", "-shm", "-journal")
SETTLE_SECONDS = 5.0


def aim(source: dict[str, t.Any], to: str | None) -> dict[str, t.Any]:
    """Restore to the path `to`; a symbolic link stays, and what it leads to is replaced."""
    path = source["path"] if to is None else to
    if not os.path.isabs(path):
        raise InputError("to", path, "is no absolute path", "Write it from the root on.")
    return {**source, "path": os.path.realpath(path)}


def target(source: t.Mapping[str, t.Any]) -> str:
    """The path of the database file."""
    return str(source["path"])


def look(job: Job) -> Look:
    """The target is a regular file or nothing, its folder can be written to, and who has it open."""
    path = job.source["path"]
    folder = _existing(os.path.dirname(path))
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
        raise RunbookError(f"{folder}: cannot be written to. Run as a user who may, or restore elsewhere with to.")
    _access.wanted(job)
    warnings = [] if folder == os.path.dirname(path) else [f"the folder {os.path.dirname(path)} is missing and is made"]
    needed = max(int(job.manifest.get("source_bytes") or 0), int(job.manifest["size_bytes"]))
    room = ((folder, shutil.disk_usage(folder).free, needed),)
    if not os.path.lexists(path):
        return Look(False, room=room, warnings=tuple(warnings))
    info = os.stat(path)
    if not stat.S_ISREG(info.st_mode):
        raise RunbookError(f"{path} is no regular file. Name the database file in to, or move this away.")
    if info.st_uid != os.geteuid() != 0:
        raise RunbookError(
            f"{path} belongs to another user, whose file nobody but root can make. Run as root or as them."
        )
    users = _users.of([path, *_sides(path)])
    if users.hidden and os.geteuid() != 0:
        warnings.append(f"{users.hidden} processes of other users could not be looked at; one may have it open")
    shape = {"size_bytes": info.st_size, "modified": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(info.st_mtime))}
    return Look(True, info.st_size, users.names, room, tuple(warnings), shape)


def recover(job: Job) -> list[str]:
    """Take away what was being built; end a swap that had begun."""
    found = job.journal.read()
    swap = found.get("swap")
    done = []
    if swap is not None:
        sides = found["sides"]
        if _place.begun(swap) and (os.path.lexists(swap["new"]) or os.path.lexists(swap["target"])):
            _move(sides)
            _place.replace(swap)
            done.append(f"ended the swap of {swap['target']}")
        else:
            _move([(there, here) for here, there in sides])
    new = found.get("new")
    if new is not None and any([_place.remove(new), *[_place.remove(new + side) for side in SIDES]]):
        done.append(f"removed {new}")
    job.journal.clear()
    return done


def taken(job: Job) -> bool:
    """Whether an old one is kept under this job's stamp already."""
    return os.path.lexists(_place.kept_name(job.source["path"], job.stamp))


def build(job: Job) -> dict[str, t.Any]:
    """Unpack beside the target, check and compare."""
    path = job.source["path"]
    new = _new(job)
    job.journal.write({"new": new})
    _make_folder(os.path.dirname(path), job)
    started = time.monotonic()
    _packing.unpack_to(job.work.commands, job.work.unpack(job.path), new, job.work.seconds())
    seconds = time.monotonic() - started
    problem = None
    try:
        figures = backup.compare(new, job.path, job.manifest["figures"])
    except Mismatch as error:
        if not job.force:
            raise
        figures, problem = {}, str(error)
    _access.give(new, path, job)
    return {**figures, "restore_seconds": round(seconds, 3), **({"problem": problem} if problem else {})}


def swap(job: Job) -> list[str]:
    """Bring the old one's log home, then exchange the two."""
    path = job.source["path"]
    kept = _place.kept_name(path, job.stamp)
    new = _new(job)
    if os.path.lexists(path):
        _settle(path)
        users = _users.of([path, *_sides(path)])
        if users.names:
            raise RunbookError(f"{path} was opened meanwhile by {', '.join(users.names)}. Stop them, and run again.")
    sides = [(path + side, kept + side) for side in SIDES if os.path.lexists(path + side)]
    change = _place.entry(new, path, kept)
    job.journal.write({"new": new, "swap": change, "sides": sides})
    _move(sides)
    return [kept] if _place.replace(change) else []


def discard(job: Job) -> None:
    """Take away what was being built."""
    recover(job)


def prune(job: Job, keep: int) -> list[str]:
    """Remove all but the newest `keep` old ones, with what lies beside them."""
    gone = []
    for path in _place.kept_ones(job.source["path"])[keep:]:
        for each in (*[path + side for side in SIDES], path):
            _place.remove(each)
        gone.append(path)
    return gone


def damage(source: t.Mapping[str, t.Any]) -> str | None:
    """Why the current database cannot be read; None when it can."""
    try:
        with contextlib.closing(sqlite3.connect(source["path"], timeout=SETTLE_SECONDS)) as database:
            lines = [row[0] for row in database.execute("PRAGMA quick_check(1)")]
    except sqlite3.Error as error:
        return str(error)
    return None if lines == ["ok"] else lines[0]


def _new(job: Job) -> str:
    folder, name = os.path.split(job.source["path"])
    return os.path.join(folder, f".{name}.restore-{job.token}{files.PARTIAL}")


def _sides(path: str) -> list[str]:
    return [path + side for side in SIDES]


def _settle(path: str) -> None:
    """Leave nothing in the log of the old database. A damaged one is kept as it is, with its log beside it."""
    with (
        contextlib.suppress(sqlite3.DatabaseError),
        contextlib.closing(sqlite3.connect(path, timeout=SETTLE_SECONDS, isolation_level=None)) as database,
    ):
        database.execute("BEGIN IMMEDIATE")
        database.execute("COMMIT")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def _move(pairs: t.Iterable[t.Sequence[str]]) -> None:
    """Rename each first to its second; what was renamed before is left."""
    for here, there in pairs:
        if os.path.lexists(here) and not os.path.lexists(there):
            os.rename(here, there)


def _existing(folder: str) -> str:
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    return folder


def _make_folder(folder: str, job: Job) -> None:
    """Make missing folders. They belong to the file's owner, for SQLite keeps its log beside the database."""
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    user, group, _mode = _access.wanted(job)
    for each in reversed(missing):
        os.mkdir(each, 0o750)
        if (user, group) != (-1, -1):
            os.chown(each, user, group)
