# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exports on the disk: written whole or not at all, packed by zstd, and read back line by line."""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _packing
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

PIECE = 1 << 18
# One thread: an export waits for the database, and threads cost memory.
PACK = {"zstd": ["zstd", "-3", "-q", "-c"], "none": ["cat"]}
EXTENSION = {"zstd": ".zst", "none": ""}


class Written(t.NamedTuple):
    """`sha256` of the file on the disk, `content_sha256` and `content_bytes` of what was packed, `rows` in it."""

    sha256: str
    content_sha256: str
    content_bytes: int
    rows: int


class Feed:
    """Encodes text, counts and sums it up, and passes it on."""

    def __init__(self, write: t.Callable[[bytes], t.Any], encoding: str = "utf-8") -> None:
        self._write = write
        self.encoding = encoding
        self._encoder = codecs.getincrementalencoder(encoding)()
        self.digest = hashlib.sha256()
        self.bytes = 0

    def __call__(self, text: str) -> None:
        """Write `text`; RunbookError for what the encoding lacks."""
        try:
            data = self._encoder.encode(text)
        except UnicodeEncodeError as error:
            character = error.object[error.start]
            raise RunbookError(
                f"encoding: {self.encoding} has no {character!r} (U+{ord(character):04X}), which stands in the data. Use utf-8."
            ) from error
        self.digest.update(data)
        self.bytes += len(data)
        self._write(data)


def write(
    commands: Commands,
    partial: str,
    compression: str,
    encoding: str,
    fill: t.Callable[[Feed], int],
    timeout: float | None,
) -> Written:
    """Make the file `partial`, which `fill` writes to and returns the number of rows; nothing stays after an error.

    Errors of `fill` that are none of the pipe's come out as they are.
    """
    found: dict[str, t.Any] = {}

    def feed(pipe: t.IO[bytes]) -> None:
        target = Feed(pipe.write, encoding)
        found["rows"] = fill(target)
        found["feed"] = target

    with contextlib.suppress(FileNotFoundError):
        os.unlink(partial)
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    try:
        digest = _packing.store(commands, [PACK[compression]], partial, feed, timeout=timeout)
        if "feed" not in found:
            raise RunbookError(f"{partial}: the program that packs it ended early.")
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
        raise
    made = found["feed"]
    return Written(digest, made.digest.hexdigest(), made.bytes, found["rows"])


def read(
    commands: Commands,
    path: str,
    body: t.Callable[[t.Iterator[str]], None],
    seen: t.Callable[[bytes], None] | None = None,
    timeout: float | None = None,
) -> None:
    """Call `body` with an UTF-8 file as it was before packing, see `split`; `seen` gets its bytes. All of it is read."""

    def talk(_requests: t.IO[bytes], output: t.IO[bytes]) -> None:
        texts = split(iter(lambda: output.read(PIECE), b""), seen)
        body(texts)
        for _text in texts:
            pass

    commands.converse(_packing.unpack(path), talk, timeout=timeout)


def pieces(commands: Commands, path: str, body: t.Callable[[t.Iterator[bytes]], None], timeout: float | None) -> None:
    """Call `body` with the bytes of a file as it was before packing; what it does not take is not read."""

    def talk(_requests: t.IO[bytes], output: t.IO[bytes]) -> None:
        body(iter(lambda: output.read(PIECE), b""))

    commands.converse(_packing.unpack(path), talk, timeout=timeout)


def content(commands: Commands, path: str, seen: t.Callable[[bytes], None], timeout: float | None) -> None:
    """Show the bytes of a file as it was before packing."""

    def talk(_requests: t.IO[bytes], output: t.IO[bytes]) -> None:
        for piece in iter(lambda: output.read(PIECE), b""):
            seen(piece)

    commands.converse(_packing.unpack(path), talk, timeout=timeout)


def split(pieces: t.Iterable[bytes], seen: t.Callable[[bytes], None] | None = None) -> t.Iterator[str]:
    """An UTF-8 text that comes in pieces, cut at ends of lines: some lines at a time, as one text that ends with a line feed."""
    rest: list[bytes] = []
    for piece in pieces:
        if seen is not None:
            seen(piece)
        head, found, tail = piece.rpartition(b"\n")
        if not found:
            rest.append(tail)
            continue
        rest.append(head + found)
        yield b"".join(rest).decode("utf-8")
        rest = [tail] if tail else []
    if rest:
        yield b"".join(rest).decode("utf-8") + "\n"


__all__ = ["EXTENSION", "Feed", "Written", "content", "pieces", "read", "split", "write"]
