# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What lies in a backup folder, read from the manifests; nothing is changed here.

A copy is `<directory>/<name>/<name>_<UTC yyyymmddThhmmssZ>.<ext>` with `<that>.manifest.json` beside it. A data file
without a manifest is no copy, whatever is in it.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import stat
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _shape
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

LEVELS = ("checksum", "archive", "restored")
MANIFEST = ".manifest.json"
# A file of this name beside a copy keeps it for ever; what stands in it is for people.
PIN = ".pin"
PARTIAL = ".partial"
FORMAT = 1
# How the problem of a copy begins that a verification found; it was told when it was found.
REFUTED = "failed its verification"
# Far more than the figures of a hundred thousand tables take. A file that is larger was not written by a backup.
_MANIFEST_BYTES = 16 << 20
_STAMP = "%Y%m%dT%H%M%SZ"


class Copy(t.NamedTuple):
    """One backup: `created` in seconds since the epoch, `level` the best verification that passed.

    `failed` says that something speaks against it: a verification that no later one of at least its level refuted, or a
    manifest that is not this file's; `problem` says what. `pinned` keeps it whatever the policy says.
    """

    name: str
    engine: str
    path: str
    manifest_path: str
    created: float
    size_bytes: int
    level: str | None
    failed: bool
    problem: str | None = None
    pinned: bool = False

    def good(self, level: str) -> bool:
        """Whether it is proven at `level` or better and nothing later spoke against it."""
        return not self.failed and self.level is not None and LEVELS.index(self.level) >= LEVELS.index(level)


class Folder(t.NamedTuple):
    """What lies in `<directory>/<name>`: copies (newest first), `partials` of killed runs, data files that lack a manifest.

    `missing` are data files that are gone while their manifest is still there: nothing here deletes in that order.
    """

    copies: list[Copy]
    partials: list[str]
    leftovers: list[str]
    missing: tuple[str, ...] = ()


def copies(directory: str, names: t.Sequence[str] | None = None) -> list[Copy]:
    """All copies in `directory`, newest first; those of `names` alone when given. A missing folder holds none."""
    if names is None:
        names = folders(directory)
    found = [copy for name in sorted(set(names)) for copy in folder(directory, name).copies]
    return sorted(found, key=lambda copy: copy.created, reverse=True)


def folders(directory: str) -> list[str]:
    """The names of all folders in `directory`; those of other things than copies begin with a dot."""
    return [
        entry.name
        for entry in _entries(directory)
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
    ]


def folder(directory: str, name: str) -> Folder:
    """Read `<directory>/<name>`. Symbolic links and names of any other pattern are not ours and not listed."""
    path = os.path.join(directory, name)
    if os.path.islink(path):
        return Folder([], [], [])
    pattern = re.compile(re.escape(name) + r"_(\d{8}T\d{6}Z)((?:\.[a-z0-9]+)+)")
    entries = _entries(path)
    partials = [entry.path for entry in entries if entry.name.startswith(f".{name}_") and entry.name.endswith(PARTIAL)]
    files = {entry.name: entry for entry in entries if entry.is_file(follow_symlinks=False)}
    pins = {entry.name for entry in entries if entry.name.endswith(PIN)}
    found, leftovers = [], []
    for file_name, entry in files.items():
        match = pattern.fullmatch(file_name)
        created = _seconds(match[1]) if match and not file_name.endswith((MANIFEST, PIN)) else None
        if created is None:
            continue
        if file_name + MANIFEST not in files:
            leftovers.append(entry.path)
            continue
        copy = _copy(name, entry, created)
        if copy is not None:
            found.append(copy._replace(pinned=file_name + PIN in pins))
    found.sort(key=lambda copy: copy.created, reverse=True)
    missing = [
        os.path.join(path, data)
        for data in (each[: -len(MANIFEST)] for each in files if each.endswith(MANIFEST))
        if data not in files and pattern.fullmatch(data) and not data.endswith(MANIFEST)
    ]
    return Folder(found, sorted(partials), sorted(leftovers), tuple(sorted(missing)))


def manifest(copy: Copy) -> dict[str, t.Any]:
    """The manifest of `copy` as written."""
    document = _read(copy.manifest_path)
    if document is None:
        raise RunbookError(f"{copy.manifest_path}: is no manifest of a backup. Restore or remove it and its copy.")
    return document


def stamp(seconds: float) -> str:
    """The time stamp in a copy's name."""
    return time.strftime(_STAMP, time.gmtime(seconds))


def _seconds(text: str) -> float | None:
    """Seconds since the epoch of `yyyymmddThhmmssZ`. time.strptime would import its module in the thread of a check."""
    form = f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[9:11]}:{text[11:13]}:{text[13:15]}+00:00"
    try:
        return datetime.datetime.fromisoformat(form).timestamp()
    except ValueError:
        return None


def _entries(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise RunbookError(
            f"{path}: cannot read this folder of backups: {error.strerror}. Give access to it."
        ) from error


def _read(path: str) -> dict[str, t.Any] | None:
    try:
        with open(path, encoding="utf-8") as stream:
            if os.fstat(stream.fileno()).st_size > _MANIFEST_BYTES:
                return None
            document = json.load(stream)
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) and document.get("format") == FORMAT else None


def _copy(name: str, entry: os.DirEntry[str], created: float) -> Copy | None:
    """A copy whose manifest cannot be read, or whose size is not the one on record, counts as failed."""
    path = entry.path + MANIFEST
    try:
        info = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(info.st_mode):
        return None
    document = _read(path)
    if document is None and not os.path.lexists(path):
        # A backup removes what is past its retention meanwhile: the manifest goes first.
        return None
    if document is None:
        return Copy(name, "unknown", entry.path, path, created, info.st_size, None, True, "its manifest cannot be read")
    problem = _shape.problem(document, name, entry.name)
    if problem:
        engine = document.get("engine") if isinstance(document.get("engine"), str) else "unknown"
        return Copy(name, str(engine), entry.path, path, created, info.st_size, None, True, problem)
    level, problem = _verdict(document["verifications"])
    if document["size_bytes"] != info.st_size:
        problem = f"it has {info.st_size} bytes, {document['size_bytes']} were written"
    return Copy(name, document["engine"], entry.path, path, created, info.st_size, level, problem is not None, problem)


def _verdict(verifications: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[str | None, str | None]:
    """The best level that was passed, and what the newest failure says that nothing of its level or better refuted."""
    best, problem = -1, None
    for record in reversed(verifications):
        known = record["level"] in LEVELS
        if record["ok"]:
            best = max(best, LEVELS.index(record["level"]) if known else -1)
        # A level of a later release: nothing that is known here can refute it.
        elif problem is None and (LEVELS.index(record["level"]) if known else len(LEVELS)) > best:
            said = record.get("figures", {}).get("problem", "no reason is on record")
            problem = f"{REFUTED} as {record['level']} on {record['time']}: {said}"
    return (LEVELS[best] if best >= 0 else None), problem
