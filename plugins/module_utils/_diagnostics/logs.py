# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ends of log files, and of those that were rotated away from them since a time; symbolic links are not followed."""

from __future__ import annotations

import collections
import functools
import os
import stat
import time
import typing as t
import zlib

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._work import PIECE, NothingHere
from ansible_collections.sre.runbooks.plugins.module_utils._logs import _lines, _sources

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._settings import Settings
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._work import Work

COLLECTS = "the ends of the given log files, rotated ones too"
MOST = 200
MOST_PACKED = 16 << 20


def would(settings: Settings) -> list[str]:
    """The files that match now."""
    return [each.path for pattern in settings.logs for each in _chosen(pattern, settings)[0]][:MOST]


def collect(work: Work) -> None:
    """A file that may not be read keeps no other from it."""
    if not work.settings.logs:
        raise NothingHere("no logs were given")
    work.attempt([functools.partial(_pattern, work, pattern) for pattern in work.settings.logs])


def _pattern(work: Work, pattern: str) -> None:
    chosen, problems = _chosen(pattern, work.settings)
    work.attempt([functools.partial(_file, work, each) for each in chosen])
    if problems:
        raise RunbookError("; ".join(problems))


def _chosen(pattern: str, settings: Settings) -> tuple[list[_sources.File], list[str]]:
    """The files of a pattern, the newest first, and what speaks against others."""
    found, denied = _sources.files(pattern)
    problems = [*denied]
    usable = []
    for each in sorted(found, key=_age, reverse=True):
        if not each.live and each.mtime < time.time() - settings.since:
            continue
        # A link may lead anywhere; so may a folder on the way that somebody else can write to, but that is as the user wrote it.
        if os.path.islink(each.path):
            problems.append(f"{each.path}: is a symbolic link, and not followed")
        else:
            usable.append(each)
    if not found and not denied:
        problems.append(f"{pattern}: no file matches")
    return usable[:MOST], problems


def _age(file: _sources.File) -> tuple[bool, float]:
    return file.live, file.mtime


def _file(work: Work, file: _sources.File) -> None:
    limit = work.settings.limits.part
    with work.part(f"logs/{file.path}") as part:
        if file.packing:
            # The end of an archive is only known when all of it was read.
            part.note(f"unpacked from {file.packing}")
            part.blocks(_last(work, _lines.blocks(_lines.unpack(file.path, file.packing, work.commands)), limit, part))
            return
        descriptor = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as source:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                raise RunbookError(f"{file.path}: is no regular file")
            start = max(0, info.st_size - limit)
            if start:
                part.truncated()
                part.note(f"the last {limit} of {info.st_size} bytes")
            part.blocks(_lines.blocks(_read(source, start, info.st_size)))


def _read(source: t.Any, start: int, end: int) -> t.Iterator[bytes]:
    """The bytes from the first whole line after `start` on, as far as they were there when it began."""
    source.seek(start)
    first = start > 0
    while start < end and (chunk := source.read(min(PIECE, end - start))):
        start += len(chunk)
        if first:
            cut = chunk.find(b"\n") + 1
            first = False
            chunk = chunk[cut:] if cut else chunk
        if chunk:
            yield chunk


def _last(work: Work, blocks: t.Iterator[bytes], limit: int, part: t.Any) -> t.Iterator[bytes]:
    """The last `limit` bytes of a stream, held in memory packed."""
    held: collections.deque[tuple[int, bytes]] = collections.deque()
    size = packed_size = dropped = 0
    for block in blocks:
        work.left()
        held.append((len(block), zlib.compress(block, 1)))
        size += len(block)
        packed_size += len(held[-1][1])
        while size - held[0][0] > limit or packed_size > MOST_PACKED:
            length, packed = held.popleft()
            size, packed_size, dropped = size - length, packed_size - len(packed), dropped + length
    if dropped:
        part.truncated()
        part.note(f"the last {size} of {size + dropped} bytes")
    for _length, packed in held:
        yield zlib.decompress(packed)
