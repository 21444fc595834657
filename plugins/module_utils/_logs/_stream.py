# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a program writes, piece by piece, while something else feeds it: made in threads, read in the main one (B4, B9)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import threading
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, RunbookError

CHUNK = 1 << 18
_AHEAD = 8
_F_SETPIPE_SZ = 1031
_PIPE = 1 << 20


class Span(t.NamedTuple):
    """The bytes of a file from `start` up to `end`."""

    path: str
    start: int
    end: int


class Stream:
    """The output of a pipeline in chunks of up to `CHUNK` bytes; what it writes further ahead than `_AHEAD` of them waits.

    `span` is fed to its input. Statuses other than those of `accepted` raise `CommandFailed` after the last chunk.
    """

    def __init__(
        self, commands: Commands, stages: t.Sequence[t.Sequence[str]], span: Span | None = None,
        timeout: float | None = None, accepted: t.Sequence[int] = (),
    ) -> None:  # fmt: skip
        self._commands = commands
        self._stages = stages
        self._span = span
        self._timeout = timeout
        self._accepted = accepted
        self._chunks: queue.Queue[bytes | RunbookError | OSError | None] = queue.Queue(_AHEAD)
        self._stopped = threading.Event()
        threading.Thread(target=self._work, daemon=True).start()

    def __iter__(self) -> t.Iterator[bytes]:
        try:
            while (chunk := self._chunks.get()) is not None:
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk
        finally:
            self.close()

    def close(self) -> None:
        """End the program if it still runs."""
        self._stopped.set()

    def _work(self) -> None:
        end: RunbookError | OSError | None = None
        try:
            self._commands.converse(self._stages, self._talk, environment={"LC_ALL": "C"}, timeout=self._timeout)
        except CommandFailed as error:
            end = None if error.rc in self._accepted else error
        except (RunbookError, OSError) as error:
            end = error
        if end is not None:
            self._put(end)
        self._put(None)

    def _talk(self, stdin: t.IO[bytes], stdout: t.IO[bytes]) -> None:
        feeder = None
        if self._span is not None:
            feeder = threading.Thread(target=feed, args=(self._span, stdin), daemon=True)
            feeder.start()
        else:
            stdin.close()
        with contextlib.suppress(OSError):
            fcntl.fcntl(stdout.fileno(), _F_SETPIPE_SZ, _PIPE)
        while chunk := _read(stdout.fileno()):
            if not self._put(chunk):
                raise RunbookError("ended, for nobody reads it any more")
        if feeder is not None:
            feeder.join()

    def _put(self, item: bytes | RunbookError | OSError | None) -> bool:
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._chunks.put(item, timeout=0.5)
                return True
        return False


def _read(descriptor: int) -> bytes:
    """As much as comes up to `CHUNK`: programs write in pieces of some KiB, each of which would cost as much as a large one."""
    pieces = []
    size = 0
    while size < CHUNK and (piece := os.read(descriptor, CHUNK - size)):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


def feed(span: Span, pipe: t.IO[bytes]) -> None:
    """Move a part of a file into a pipe without a copy. A file that has become shorter meanwhile ends early."""
    position = span.start
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe.fileno(), _F_SETPIPE_SZ, _PIPE)
    try:
        with open(span.path, "rb", buffering=0) as source:
            while position < span.end:
                moved = _move(source.fileno(), pipe.fileno(), position, min(_PIPE, span.end - position))
                if not moved:
                    break
                position += moved
    except OSError:  # the reader has ended, which its own status tells
        pass
    finally:
        with contextlib.suppress(OSError):
            pipe.close()


def _move(source: int, pipe: int, position: int, count: int) -> int:
    splice = getattr(os, "splice", None)  # Python 3.10
    if splice is not None:
        return int(splice(source, pipe, count, position))
    return os.sendfile(pipe, source, position, count)
