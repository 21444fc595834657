# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is new in a source's files since the last run, without losing or doubling a line (L1, L4).

Of each file is remembered how far it was read, with a fingerprint of its first bytes and of those before that place. A file is
found again by its inode and these, or by these alone: under another name, copied before it was truncated, packed. Semantics as
those of check_logfiles.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._logs import _lines, _window
from ansible_collections.sre.runbooks.plugins.module_utils._logs._sources import File

_PRINT = 1024
_STILL_WRITTEN = 60.0
_NOTHING = -1
Entry = dict[str, t.Any]


class Part(t.NamedTuple):
    """What to read of a file: `start` up to `end`, in a packed one of its content; nothing when `end` is not past `start`.

    An `end` of -1 is the end of the content. `entry` is what to remember afterwards.
    """

    file: File
    start: int
    end: int
    entry: Entry


class Plan(t.NamedTuple):
    """What is new, and what was lost: files that are gone with what was written to them since the last run."""

    parts: list[Part]
    lost: list[str]


def plan(
    files: t.Sequence[File], entries: t.Sequence[Entry] | None, now: float, commands: Commands, from_start: bool
) -> Plan:
    """Compare the files with what is remembered (`entries`, None at the first run)."""
    if entries is None:
        return Plan([_part(each, 0 if from_start else None, now, commands) for each in files], [])
    left = list(entries)
    before = max((each["read"] for each in entries), default=0.0)
    starts: dict[str, int | None] = {}
    for file in files:
        entry = next((each for each in left if (each["device"], each["inode"]) == (file.device, file.inode)), None)
        if entry is not None and _known(file, entry, commands) is not None:
            left.remove(entry)
            starts[file.path] = None if entry["packed"] else entry["offset"]
    for file in files:
        if file.path in starts:
            continue
        start = _moved(file, entries, left, commands)
        # Packed before the last run: what it was packed from was read then, under whatever name.
        old = file.packing and start is None and file.mtime < before
        starts[file.path] = None if old or start == _NOTHING else start or 0
    lost = [each["path"] for each in left if each["live"] and each["offset"]]
    return Plan([_part(each, starts[each.path], now, commands) for each in files], lost)


def _moved(file: File, entries: t.Sequence[Entry], left: list[Entry], commands: Commands) -> int | None:
    """Where to go on in a file that has another inode than it had, or is a copy; None when nothing of it was read.

    `_NOTHING` is for a copy of a file that is there too, such as the one that copytruncate is about to cut.
    """
    for entry in [*left, *(each for each in entries if each not in left)]:
        if entry["base"] != file.base or not entry["offset"]:
            continue
        start = _known(file, entry, commands)
        if start is None:
            continue
        if entry not in left:  # a copy of a file that is there too
            return _NOTHING
        left.remove(entry)
        return start
    return None


def _known(file: File, entry: Entry, commands: Commands) -> int | None:
    """How far `file` was read if it is the one that `entry` tells of. A copy shorter than that has nothing new."""
    if file.packing:
        if entry["packed"] and (entry["inode"], entry["size"], entry["mtime"]) == (file.inode, file.size, file.mtime):
            return int(entry["offset"])
        with contextlib.suppress(RunbookError, OSError):
            return _known_packed(file, entry, commands)
        return None
    if entry["packed"]:
        return None
    offset = int(entry["offset"])
    with contextlib.suppress(OSError), open(file.path, "rb", buffering=0) as source:
        same_head = _mark(os.pread(source.fileno(), min(_PRINT, offset), 0)) == entry["head"]
        if file.size < offset:
            copy = (file.device, file.inode) != (entry["device"], entry["inode"]) and file.size >= min(_PRINT, offset)
            return file.size if copy and same_head and file.size else None
        count = min(_PRINT, offset)
        if same_head and _mark(os.pread(source.fileno(), count, offset - count)) == entry["tail"]:
            return offset
    return None


def _known_packed(file: File, entry: Entry, commands: Commands) -> int | None:
    if entry["packed"]:
        return None
    offset, count = int(entry["offset"]), min(_PRINT, int(entry["offset"]))
    position, head, tail = 0, b"", b""
    for chunk in _lines.unpack(file.path, file.packing, commands):
        if len(head) < count:
            head += chunk[: count - len(head)]
            if len(head) == count and _mark(head) != entry["head"]:
                return None
        reach = min(len(chunk), offset - position)
        tail = (tail + chunk[:reach])[-count:] if count else b""
        position += reach
        if position == offset:
            return offset if _mark(tail) == entry["tail"] and _mark(head) == entry["head"] else None
    return None


def _part(file: File, start: int | None, now: float, commands: Commands) -> Part:
    """What to read of `file` from `start` on; nothing when it is None, but it is remembered as read."""
    entry: Entry = {
        "path": file.path, "base": file.base, "inode": file.inode, "device": file.device, "size": file.size,
        "mtime": file.mtime, "live": file.live, "packed": bool(file.packing), "read": now, "offset": 0, "head": "", "tail": "",
    }  # fmt: skip
    if file.packing:
        return Part(file, start or 0, 0 if start is None else -1, entry)
    with open(file.path, "rb", buffering=0) as source:
        descriptor = source.fileno()
        size = min(os.fstat(descriptor).st_size, file.size)
        done = not file.live and now - file.mtime > _STILL_WRITTEN
        end = size if done else _window.last_line_end(descriptor, min(start or 0, size), size)
        count = min(_PRINT, end)
        entry["offset"] = end
        entry["head"] = _mark(os.pread(descriptor, count, 0))
        entry["tail"] = _mark(os.pread(descriptor, count, end - count))
    return Part(file, end if start is None else min(start, end), end, entry)


def _mark(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
