# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an engine is given to read: copies in a closed folder, cut into pieces, as UTF-8 text (K4).

A file is opened once, by us, and no link, pipe or device is: what is unreadable, binary or too large is known for certain.
Engines drop in silence what is no UTF-8, and need seconds for a line of a megabyte; archives of logs they do not read at all.
"""

from __future__ import annotations

import bisect
import bz2
import codecs
import contextlib
import gzip
import hashlib
import lzma
import os
import shutil
import stat
import tempfile
import typing as t
import zlib

from ansible_collections.sre.runbooks.plugins.module_utils._core import files
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._logs._stream import Span, Stream

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
    from ansible_collections.sre.runbooks.plugins.module_utils._secrets._walk import File

PIECE = 1 << 20
BATCH = 8 << 20
MOST_PIECES = 400
_LINE = 4096
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - what is made there is a folder of our own, by mkdtemp
_PACKED: dict[str, t.Any] = {".gz": gzip.GzipFile, ".bz2": bz2.BZ2File, ".xz": lzma.LZMAFile}
# What the standard library of hosts does not unpack, a program does: it is what log_cleanup packs with.
_ZSTD = ".zst"
NOT_UNPACKED = (".lz4", ".zip", ".7z")
# Languages that put texts in quotes; all else may say `password=…` without.
_QUOTING = frozenset({
    ".py", ".pyi", ".js", ".mjs", ".cjs", ".ts", ".tsx", ".jsx", ".vue", ".go", ".java", ".kt", ".scala", ".c", ".h", ".cc", ".cpp", ".hpp", ".cs",
    ".php", ".rb", ".rs", ".swift", ".m", ".pl", ".pm", ".lua", ".r", ".tf", ".html", ".htm", ".xml", ".xsl", ".xsd", ".css", ".scss", ".less", ".md",
    ".rst", ".json", ".sql", ".j2", ".tcl", ".el", ".vim",
})  # fmt: skip
_YAML = frozenset((".yml", ".yaml"))


class Skipped(Exception):
    """A file that is not looked at; `expected` when that needs no telling file by file."""

    def __init__(self, reason: str, expected: bool = False) -> None:
        super().__init__(reason)
        self.expected = expected


class Vanished(Exception):
    """A file that was there a moment ago."""


class Piece(t.NamedTuple):
    """A part of a file that stands in the staging folder as `name`.

    `first` is the number of its first line, less one; `continued` holds the numbers of staged lines that go on with the one before.
    """

    name: str
    file: File
    first: int
    continued: list[int]

    def line(self, staged: int) -> int:
        """The file's line number of a staged one."""
        return self.first + staged - bisect.bisect_right(self.continued, staged)


class Staging:
    """The folder of one run: in memory where the host has a file system there, so that no secret reaches the disk."""

    def __init__(self, state_dir: str, sweep: bool, commands: Commands) -> None:
        self._commands = commands
        mark = hashlib.sha256(os.fsencode(os.path.abspath(state_dir))).hexdigest()[:12]
        self._prefix = f"sre-runbooks-{mark}-"
        self._parent = _SHARED_MEMORY if _usable(_SHARED_MEMORY) else state_dir
        if sweep:
            self._sweep()
        files.make_directory(self._parent)
        try:
            self.folder = tempfile.mkdtemp(prefix=self._prefix, dir=self._parent)
        except OSError as error:
            raise RunbookError(
                f"{self._parent}: cannot create a folder: {error.strerror}. Make room or give access, then run again."
            ) from error
        # What an engine is to look at now, and what waits while it looks at less.
        self.batch = os.path.join(self.folder, "batch")
        self._aside = os.path.join(self.folder, "aside")
        for each in (self.batch, self._aside):
            os.mkdir(each, 0o700)
        self.pieces: list[Piece] = []
        self.size = 0

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *_ignored: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _sweep(self) -> None:
        """Folders of killed runs; the caller holds the lock, so that none is in use."""
        with contextlib.suppress(OSError), os.scandir(self._parent) as entries:
            for entry in entries:
                if entry.name.startswith(self._prefix) and entry.stat(follow_symlinks=False).st_uid == os.geteuid():
                    shutil.rmtree(entry.path, ignore_errors=True)

    @property
    def full(self) -> bool:
        """Whether it is time to look at what is there."""
        return self.size >= BATCH or len(self.pieces) >= MOST_PIECES

    def path(self, name: str) -> str:
        """Where a piece stands."""
        return os.path.join(self.batch, name)

    @contextlib.contextmanager
    def only(self, pieces: t.Sequence[Piece], all_of: t.Sequence[Piece]) -> t.Iterator[None]:
        """Leave but `pieces` of `all_of` in the batch while the block runs."""
        others = [each.name for each in all_of if each not in pieces]
        for name in others:
            os.rename(self.path(name), os.path.join(self._aside, name))
        try:
            yield
        finally:
            for name in others:
                os.rename(os.path.join(self._aside, name), self.path(name))

    def clear(self) -> None:
        """Remove all pieces."""
        for piece in self.pieces:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path(piece.name))
        self.pieces.clear()
        self.size = 0

    def write(self, name: str, text: str) -> None:
        """Write a file of the folder; RunbookError where there is no room."""
        try:
            descriptor = os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(text.encode("utf-8", "replace"))
        except OSError as error:
            raise RunbookError(
                f"{self._parent}: cannot write: {error.strerror}. Make room or give access, then run again."
            ) from error

    def add(self, file: File, limit: int) -> t.Iterator[tuple[Piece, str]]:
        """Copy `file`, of which at most `limit` bytes are read, piece by piece; each with its text.

        Raises Skipped and Vanished. The caller looks at what is there, and clears it, whenever `full`.
        """
        suffix = os.path.splitext(file.path)[1].lower()
        if suffix in NOT_UNPACKED:
            raise Skipped(f"is packed as {suffix[1:]}, which is not unpacked here")
        with _opened(file) as raw:
            stream = self._unpacked(raw, suffix)
            ending = _ending(file.path, suffix)
            first = 0
            for number, text in enumerate(_texts(stream, limit)):
                staged, continued = _wrapped(text)
                piece = Piece(f"{len(self.pieces)}-{number}{ending}", file, first, continued)
                self.write(piece.name, staged)
                self.pieces.append(piece)
                self.size += len(staged)
                yield piece, staged
                first += text.count("\n")

    def _unpacked(self, raw: t.IO[bytes], suffix: str) -> t.Any:
        """Something to read the content from."""
        if suffix == _ZSTD:
            if shutil.which("zstd") is None:
                raise Skipped("is packed as zst, and zstd is not installed here. Install the package zstd")
            return _Zstd(raw, self._commands)
        if suffix == ".gz":
            return gzip.GzipFile(fileobj=raw)
        return _PACKED[suffix](raw) if suffix in _PACKED else raw


class _Zstd:
    """Reads the content of an archive that is open already, by the program zstd."""

    def __init__(self, raw: t.IO[bytes], commands: Commands) -> None:
        # By its descriptor: what has the path's name may be another file by now.
        span = Span(f"/proc/self/fd/{raw.fileno()}", 0, os.fstat(raw.fileno()).st_size)
        self._chunks = iter(Stream(commands, [["zstd", "-dcq"]], span))

    def read(self, _size: int) -> bytes:
        """The next bytes, of the size of a chunk; none at the end."""
        try:
            return next(self._chunks, b"")
        except RunbookError as error:
            raise EOFError from error


def _usable(folder: str) -> bool:
    try:
        with open("/proc/mounts", encoding="utf-8", errors="replace") as stream:
            mounted = any(line.split()[1:3] == [folder, "tmpfs"] for line in stream)
    except OSError:
        return False
    return mounted and os.access(folder, os.W_OK | os.X_OK) and _room(folder) > 4 * BATCH


def _room(folder: str) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


@contextlib.contextmanager
def _opened(file: File) -> t.Iterator[t.IO[bytes]]:
    try:
        descriptor = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise Vanished from error
    except OSError as error:
        raise Skipped(error.strerror or "cannot be opened") from error
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Vanished
        yield stream


def _ending(path: str, suffix: str) -> str:
    """What a piece's name ends with, by which engines know how texts are written in it."""
    if suffix in _PACKED or suffix == _ZSTD:
        suffix = os.path.splitext(os.path.splitext(path)[0])[1].lower()
    return ".yaml" if suffix in _YAML else suffix if suffix in _QUOTING else ".conf"


def _texts(stream: t.IO[bytes], limit: int) -> t.Iterator[str]:
    """The content as texts of about PIECE characters that end with a line; Skipped for what is no text or too large."""
    try:
        head = stream.read(PIECE)
        decoder = codecs.getincrementaldecoder(_encoding(head))("replace")
        total, rest = 0, ""
        while head:
            total += len(head)
            if total > limit:
                raise Skipped("is larger than limits.file_size")
            rest += decoder.decode(head)
            end = rest.rfind("\n") + 1
            # A line without an end is cut: who reads it counts one line too many, but memory is bounded.
            if not end and len(rest) >= 4 * PIECE:
                end = len(rest)
            if end:
                yield rest[:end]
                rest = rest[end:]
            head = stream.read(PIECE)
        rest += decoder.decode(b"", True)
        if rest:
            yield rest
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise Skipped("is a damaged archive") from error
    except OSError as error:
        raise Skipped(error.strerror or "is a damaged archive") from error


def _encoding(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in head[:8192]:
        raise Skipped("is binary", expected=True)
    return "utf-8"


def _wrapped(text: str) -> tuple[str, list[int]]:
    """Break lines longer than _LINE, with an overlap so that nothing is cut in two; which staged lines go on with the one before."""
    # Engines take more characters for ends of lines than \n.
    text = text.translate(_NO_ENDS)
    if len(text) < _LINE:
        return text, []
    lines: list[str] = []
    continued: list[int] = []
    for line in text.split("\n"):
        lines.append(line[:_LINE])
        for start in range(_LINE - 256, max(0, len(line) - 256), _LINE - 256):
            if start + 256 >= len(line):
                break
            lines.append(line[start : start + _LINE])
            continued.append(len(lines))
    return "\n".join(lines), continued


_NO_ENDS = dict.fromkeys(map(ord, "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"), " ")
