# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SQLite: files, header, settings, tables, who has the file open and who holds a lock. The database is not written to, and not locked."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import typing as t
import urllib.parse

from ansible_collections.sre.runbooks.plugins.module_utils._core import sqlite
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics import _databases

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.entries import Item
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._settings import Settings
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._work import Work

COLLECTS = "files, settings, tables, locks and their holders"
OPTIONS: dict[str, t.Any] = {"path": {"type": "path", "required": True}}
_PRAGMAS = ("page_count", "page_size", "freelist_count", "auto_vacuum", "encoding", "user_version", "application_id")


def check(source: dict[str, t.Any], where: str) -> None:
    """Relative paths would depend on the folder that Ansible happens to start in."""
    if not os.path.isabs(source["path"]):
        raise InputError(f"{where}.path", source["path"], "is no absolute path", "Write it from the root on.")


def would(settings: Settings) -> list[str]:
    """The files."""
    return [item.source["path"] for item in settings.databases if item.engine_name == "sqlite"]


def collect(work: Work) -> None:
    """Every file by itself."""
    _databases.each(work, _one)


def _one(work: Work, item: Item) -> None:
    path = item.source["path"]
    try:
        info = os.stat(path)
    except OSError as error:
        raise RunbookError(f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(info.st_mode):
        raise RunbookError(f"{path}: is no regular file")
    with work.part(f"sqlite/{item.name}/database.json") as part:
        part.json(
            {"path": path, "files": _files(path), "locks": _locks(path), "open": _holders(path, work), **_inside(path)}
        )


def _files(path: str) -> dict[str, t.Any]:
    found = {}
    for ending in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(OSError):
            info = os.stat(path + ending)
            found[os.path.basename(path) + ending] = {
                "size_bytes": info.st_size, "modified": info.st_mtime, "mode": stat.filemode(info.st_mode), "owner": info.st_uid,
            }  # fmt: skip
    return found


def _inside(path: str) -> dict[str, t.Any]:
    """What the file says of itself, as it lies on the disk: `immutable` takes no lock and makes no file beside it."""
    uri = f"file:{urllib.parse.quote(os.path.realpath(path))}?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=1, isolation_level=None)) as database:
            found: dict[str, t.Any] = {name: database.execute(f"PRAGMA {name}").fetchone()[0] for name in _PRAGMAS}
            tables = database.execute(
                "SELECT type, name, tbl_name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' LIMIT 500"
            )
            found["objects"] = [list(row) for row in tables.fetchall()]
            found["wal"] = sqlite.in_wal_mode(path)
            return found
    except (sqlite3.Error, OSError) as error:
        return {"error": str(error)}


def _locks(path: str) -> list[str]:
    """The kernel's locks on the file and its companions (proc_locks(5))."""
    inodes = {}
    for ending in ("", "-wal", "-shm"):
        with contextlib.suppress(OSError):
            inodes[str(os.stat(path + ending).st_ino)] = os.path.basename(path) + ending
    told = []
    with contextlib.suppress(OSError), open("/proc/locks", encoding="ascii", errors="replace") as stream:
        for line in stream:
            words = line.split()
            place = next((word for word in words if word.count(":") == 2), "")
            name = inodes.get(place.rpartition(":")[2])
            if name:
                told.append(f"{name}: {' '.join(words[1:])}")
    return told


def _holders(path: str, work: Work) -> list[dict[str, t.Any]]:
    """Processes that have it open; those of other users only root sees."""
    wanted = os.path.realpath(path)
    found = []
    for pid in sorted((name for name in os.listdir("/proc") if name.isdigit()), key=int):
        work.left()
        with contextlib.suppress(OSError):
            folder = f"/proc/{pid}/fd"
            if any(os.readlink(f"{folder}/{each}") == wanted for each in os.listdir(folder)):
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as stream:
                    found.append({"pid": int(pid), "name": stream.read().strip()})
    return found
