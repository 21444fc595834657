# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines of files, archives and programs as blocks of whole lines, whatever their length and content (B4, B9, faults).

A line is kept up to `LONGEST` bytes, so a file without a line end needs no more memory than any other.
"""

from __future__ import annotations

import os
import shutil
import typing as t
import zlib

from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands, require
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._logs._stream import CHUNK, Span, Stream

LONGEST = 1 << 16
_PROGRAMS = {"xz": ("xz", "-dc"), "zst": ("zstd", "-dcq")}
_SEGMENT = 1 << 24
_WORTH_A_PROGRAM = 1 << 22
_SAMPLE_EVERY = 1 << 22
_SAMPLES = 16


class CutShort(RunbookError):
    """An archive ends before its end, or is damaged."""


def blocks(chunks: t.Iterable[bytes], whole: bool = True) -> t.Iterator[bytes]:
    """Join `chunks` to blocks of whole lines, each with its line end; with `whole` a last line without one too."""
    rest = b""
    skipping = False
    for chunk in chunks:
        if skipping:
            end = chunk.find(b"\n")
            if end < 0:
                continue
            chunk = chunk[end:]
            skipping = False
        cut = chunk.rfind(b"\n") + 1
        if cut:
            block = rest + chunk[:cut] if rest else chunk[:cut]
            yield block if b"\r" not in block else block.replace(b"\r\n", b"\n")
            rest = chunk[cut:]
        else:
            rest += chunk
        if len(rest) > LONGEST:
            rest, skipping = rest[:LONGEST], True
    if rest and whole:
        yield rest.rstrip(b"\r") + b"\n"


def read(span: Span) -> t.Iterator[bytes]:
    """The bytes of a part of a file; less where it was cut meanwhile."""
    position = span.start
    with open(span.path, "rb", buffering=0) as source:
        while position < span.end:
            chunk = os.pread(source.fileno(), min(CHUNK, span.end - position), position)
            if not chunk:
                return
            yield chunk
            position += len(chunk)


def unpack(path: str, packing: str, commands: Commands) -> t.Iterator[bytes]:
    """The content of an archive; `CutShort` after what could be read."""
    if packing in _PROGRAMS:
        program, option = _PROGRAMS[packing]
        require(program)
        try:
            yield from Stream(commands, [[program, option, "--", path]])
        except RunbookError as error:
            raise CutShort(f"{path}: the archive is damaged or cut short: {error}") from error
        return
    try:
        if packing == "gz":
            yield from _gunzip(path)
        else:
            yield from _bunzip(path)
    except (EOFError, zlib.error, ValueError) as error:
        raise CutShort(f"{path}: the archive is damaged or cut short: {error}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise CutShort(f"{path}: the archive is damaged or cut short: {error}") from error


def _gunzip(path: str) -> t.Iterator[bytes]:
    """Without the module gzip, which gives nothing of a block that is cut."""
    packed = b""
    unpacker = zlib.decompressobj(31)
    with open(path, "rb", buffering=0) as source:
        while True:
            packed = packed or source.read(CHUNK)
            if unpacker.eof:
                packed = packed.lstrip(b"\0")  # padding is allowed between and after members
                if not packed:
                    if not (packed := source.read(CHUNK)):
                        return
                    continue
                unpacker = zlib.decompressobj(31)
            if not packed:
                raise EOFError("no end mark")
            chunk = unpacker.decompress(packed, CHUNK)
            packed = unpacker.unconsumed_tail or unpacker.unused_data
            if chunk:
                yield chunk


def _bunzip(path: str) -> t.Iterator[bytes]:
    import bz2

    with bz2.open(path) as source:
        while chunk := source.read1(CHUNK):
            yield chunk


def skip(chunks: t.Iterable[bytes], count: int) -> t.Iterator[bytes]:
    """`chunks` without their first `count` bytes."""
    for chunk in chunks:
        if count >= len(chunk):
            count -= len(chunk)
            continue
        yield chunk[count:]
        count = 0


def candidates(span: Span, expression: str, commands: Commands, timeout: float | None = None) -> t.Iterator[bytes]:
    """The lines of `span` that `rg` or `grep -E` finds `expression` in, as blocks; two parts at a time.

    Where that would not be faster all lines come: in small files, in those with lines that grep would need much memory
    for, and where most lines match (the caller looks at each line anyhow).
    """
    if span.end - span.start < _WORTH_A_PROGRAM or long_lines(span) or _dense(span, expression):
        yield from blocks(read(span))
        return
    argv = [*_searcher(expression), "-e", os.fsdecode(expression.encode("latin-1"))]
    waiting: list[Stream] = []
    try:
        for part in _parts(span):
            waiting.append(Stream(commands, [argv], part, timeout, accepted=(1,)))
            if len(waiting) == 2:
                yield from blocks(waiting.pop(0))
        while waiting:
            yield from blocks(waiting.pop(0))
    finally:
        for stream in waiting:
            stream.close()


def _searcher(expression: str) -> list[str]:
    """ripgrep where it is, for it takes a part of grep's time; it reads our expressions alike, if they are ASCII."""
    if expression.isascii() and shutil.which("rg"):
        return ["rg", "--no-config", "--text", "--encoding=none", "--no-unicode", "--no-line-number", "--color=never"]
    return ["grep", "-a", "-E"]


def start_count(span: Span, commands: Commands) -> t.Callable[[], int]:
    """Begin to count the lines of `span`; what comes back waits for the number."""
    if span.end - span.start < _WORTH_A_PROGRAM:
        return lambda: sum(chunk.count(b"\n") for chunk in read(span))
    if span.start:
        fed = Stream(commands, [["wc", "-l"]], span)
        return lambda: int(b"".join(fed))
    # A file read by its name costs half of one that is fed; what was written to it since is taken off.
    path = span.path.replace("/proc/self/", f"/proc/{os.getpid()}/", 1)
    stream = Stream(commands, [["wc", "-l", path]])
    return lambda: int(b"".join(stream).split()[0]) - _newer(span)


def _newer(span: Span) -> int:
    """The lines that a file has behind `span`."""
    size = os.stat(span.path).st_size
    return sum(chunk.count(b"\n") for chunk in read(Span(span.path, span.end, size)))


def _parts(span: Span) -> t.Iterator[Span]:
    """`span` in parts that end where a line does."""
    start = span.start
    size = max(_SEGMENT, -(-(span.end - span.start) // 8))
    with open(span.path, "rb", buffering=0) as source:
        while start < span.end:
            end = min(start + size, span.end)
            if end < span.end:
                end = min(span.end, _line_end(source.fileno(), end, span.end))
            yield Span(span.path, start, end)
            start = end


def _line_end(descriptor: int, position: int, limit: int) -> int:
    """Where the line at `position` ends (after its line end)."""
    while position < limit:
        chunk = os.pread(descriptor, CHUNK, position)
        found = chunk.find(b"\n")
        if found >= 0:
            return position + found + 1
        if not chunk:
            break
        position += len(chunk)
    return limit


def long_lines(span: Span) -> bool:
    """Whether a line of more than some `_SAMPLE_EVERY` bytes is there: none can hide between two samples."""
    with open(span.path, "rb", buffering=0) as source:
        for position in range(span.start, span.end, _SAMPLE_EVERY):
            if b"\n" in os.pread(source.fileno(), 4096, position):
                continue
            if b"\n" not in os.pread(source.fileno(), LONGEST, position) and span.end - position > LONGEST:
                return True
    return False


def _dense(span: Span, expression: str) -> bool:
    """Whether more than a third of the lines match, by a few samples."""
    import re

    matcher = re.compile(expression.encode("latin-1"))
    lines = found = 0
    step = max(1, (span.end - span.start) // _SAMPLES)
    with open(span.path, "rb", buffering=0) as source:
        for position in range(span.start, span.end, step):
            sample = os.pread(source.fileno(), 8192, position).split(b"\n")[1:-1]
            lines += len(sample)
            found += sum(matcher.search(line) is not None for line in sample)
    return found * 3 > lines
