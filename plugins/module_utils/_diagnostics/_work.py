# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a collector is given, and what it is.

A collector is a module beside this one with

  COLLECTS           one line for a person: what is in its parts
  collect(work)      writes its parts; whatever goes wrong is a RunbookError or an OSError and ends this collector only
and, where what it would read depends on the options,
  would(settings)    the names of what it would read, for check mode
and, for a database, what `_core/entries.py` asks of an engine: OPTIONS and check(source, where).

Collectors run in threads, in the time that `work.left` tells, and change nothing on the host.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._logs import _lines
from ansible_collections.sre.runbooks.plugins.module_utils._logs._stream import Stream

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
    from ansible_collections.sre.runbooks.plugins.module_utils._core.entries import Item
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._settings import Settings

PIECE = 1 << 16
_NAME = re.compile(r"[^A-Za-z0-9._@+=/-]")


class OutOfTime(RunbookError):
    """The collector's time is used up; what it wrote so far stays."""


class NothingHere(RunbookError):
    """What is to be collected does not exist on this host: no failure."""


class Writer:
    """Writes one part; the main thread takes the secrets out and keeps it."""

    def __init__(self, send: t.Callable[[str, t.Any], None]) -> None:
        self._send = send

    def text(self, text: str) -> None:
        """Whole lines of text."""
        raw = text.encode("utf-8", "surrogateescape")
        if raw and not raw.endswith(b"\n"):
            raw += b"\n"
        start = 0
        while start < len(raw):
            end = raw.rfind(b"\n", start, start + PIECE) + 1 or start + PIECE
            self._send("data", raw[start:end])
            start = end

    def rows(self, rows: t.Iterable[t.Mapping[str, t.Any]]) -> None:
        """One line of JSON each."""
        lines: list[str] = []
        for row in rows:
            lines.append(json.dumps(row, default=str, ensure_ascii=False))
            if len(lines) == 100:
                self.text("\n".join(lines))
                lines = []
        self.text("\n".join(lines))

    def json(self, value: t.Any) -> None:
        """A document that a person can read, too."""
        self.text(json.dumps(value, indent=1, default=str, ensure_ascii=False))

    def blocks(self, blocks: t.Iterable[bytes]) -> None:
        """Blocks of whole lines."""
        for block in blocks:
            self._send("data", block)

    def note(self, text: str) -> None:
        """What the reader of this part should know."""
        self._send("note", text)

    def truncated(self) -> None:
        """More was there than this part holds."""
        self._send("truncated", None)

    def problem(self, text: str) -> None:
        """Why this part is not what it should be."""
        self._send("problem", text)


class Work:
    """One collector's view: settings, commands, its time, its parts."""

    def __init__(
        self, name: str, settings: Settings, commands: Commands, seconds: float, send: t.Callable[..., None],
        hide: t.Callable[[str], str],
    ) -> None:  # fmt: skip
        self.name = name
        self.settings = settings
        self.commands = commands
        self.hide = hide
        self.began = time.monotonic()
        self._deadline = self.began + seconds
        self._send = send

    def left(self) -> float:
        """Seconds that this collector still has; OutOfTime when there are none."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise OutOfTime("its time was used up")
        return left

    def items(self) -> list[Item]:
        """The databases of the engine that is called as this collector."""
        return [item for item in self.settings.databases if item.engine_name == self.name]

    @contextlib.contextmanager
    def part(self, name: str) -> t.Iterator[Writer]:
        """Write the part `name`; an error that ends it is recorded with it, and passed on."""
        key = object()
        started = time.monotonic()

        def send(kind: str, value: t.Any) -> None:
            self.left()
            self._send(kind, self.name, key, value)

        self._send("part", self.name, key, safe_name(name))
        try:
            yield Writer(send)
        except (RunbookError, OSError) as error:
            self._send("problem", self.name, key, str(error))
            raise
        finally:
            self._send("ended", self.name, key, time.monotonic() - started)

    def program(self, part: str, argv: t.Sequence[str], accepted: t.Sequence[int] = ()) -> None:
        """The output of a program as a part of its own, streamed; it is ended when the time is used up."""
        with self.part(part) as writer:
            writer.blocks(self.output(argv, accepted))

    def output(self, argv: t.Sequence[str], accepted: t.Sequence[int] = ()) -> t.Iterator[bytes]:
        """What a program writes, as blocks of whole lines."""
        yield from _lines.blocks(Stream(self.commands, [list(argv)], timeout=self.left(), accepted=accepted))

    def attempt(self, actions: t.Iterable[t.Callable[[], None]]) -> None:
        """Do each; what failed is told at the end, so that it keeps none of the others from its turn."""
        problems: list[str] = []
        for action in actions:
            try:
                action()
            except OutOfTime:
                raise
            except NothingHere:
                continue
            except (RunbookError, OSError) as error:
                problems.append(str(error))
        if problems:
            raise RunbookError("; ".join(dict.fromkeys(problems)))


def safe_name(name: str) -> str:
    """A name in the bundle: below its folder, of plain letters."""
    parts = [part for part in _NAME.sub("_", name).split("/") if part not in ("", ".", "..")]
    return "/".join(part[-120:] for part in parts)[-240:].strip("/") or "part"
