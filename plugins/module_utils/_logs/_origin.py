# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines of programs: units of the journal and containers, for a window or since the last run (L4)."""

from __future__ import annotations

import re
import shutil
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands, require
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._logs import _lines, _timestamps
from ansible_collections.sre.runbooks.plugins.module_utils._logs._sources import Source
from ansible_collections.sre.runbooks.plugins.module_utils._logs._stream import Stream

_CURSOR = b"-- cursor: "
_MERGED = 'exec "$@" 2>&1'
_STAMP = re.compile(rb"^\S+ ", re.MULTILINE)


class Since(t.NamedTuple):
    """From where on: a time in seconds, or the mark of the last run; `only_mark` asks for nothing but a new mark."""

    when: float
    mark: str | None
    only_mark: bool
    keep_mark: bool


class Origin:
    """The lines of one unit or container. `mark` is where the next run goes on, once all lines were read."""

    def __init__(self, source: Source, since: Since, commands: Commands, timeout: float) -> None:
        self.mark = since.mark
        self.lines = 0
        self._source = source
        self._since = since
        self._commands = commands
        self._timeout = timeout

    def blocks(self) -> t.Iterator[bytes]:
        """Blocks of whole lines. Raises `RunbookError` when the journal or the runtime does not answer or knows no such thing."""
        return self._unit() if self._source.unit else self._container()

    def _unit(self) -> t.Iterator[bytes]:
        unit, since = str(self._source.unit), self._since
        form = "json" if self._source.format == "json" else "short-iso"
        argv = ["journalctl", "--no-pager", "--quiet", "--unit", unit, "--output", form]
        require("journalctl")
        if since.only_mark:
            argv += ["--lines=0"]
        elif since.mark:
            argv += [f"--after-cursor={since.mark}"]
        elif since.when:
            argv += [f"--since=@{int(since.when)}"]
        if since.keep_mark:
            argv += ["--show-cursor"]
        for block in _lines.blocks(Stream(self._commands, [argv], timeout=self._timeout)):
            if since.keep_mark and _CURSOR in block[-400:]:
                block, _mark, mark = block.rpartition(_CURSOR)
                self.mark = mark.decode("ascii", "replace").strip()
            self.lines += block.count(b"\n")
            if block:
                yield block
        if not self.lines:
            self._known(unit)

    def _known(self, unit: str) -> None:
        """A unit that never said a word is most likely a wrong name, or its journal may not be read."""
        argv = ["journalctl", "--no-pager", "--quiet", "--unit", unit, "--lines=1", "--output=cat"]
        done = self._commands.run(argv, timeout=self._timeout)
        if not done.stdout.strip():
            raise RunbookError(f"unit {unit}: the journal has nothing of it, or may not be read by this user")

    def _container(self) -> t.Iterator[bytes]:
        name, since = str(self._source.container), self._since
        runtime = "podman" if shutil.which("podman") else "docker"
        require(runtime)
        self._commands.run(
            [runtime, "container", "inspect", "--format", "{{.State.Status}}", name], timeout=self._timeout
        )
        begin = float(since.mark) if since.mark else since.when
        if since.only_mark:
            self.mark = repr(time.time())
            return
        shown = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begin))
        argv = ["bash", "-c", _MERGED, "logs", runtime, "logs", "--timestamps", f"--since={shown}", name]
        reader = _timestamps.Reader(time.time(), "iso8601")
        newest = begin
        for block in _lines.blocks(Stream(self._commands, [argv], timeout=self._timeout)):
            kept = []
            for line in block.split(b"\n")[:-1]:
                when = reader.read(line)
                if when is None or when > begin or not since.mark:
                    kept.append(line)
                newest = max(newest, when or newest)
            if kept:
                self.lines += len(kept)
                joined = b"\n".join(kept) + b"\n"
                bare = _STAMP.sub(b"", joined)
                yield bare if bare.lstrip()[:1] == b"{" else joined
        if since.keep_mark:
            self.mark = repr(newest)
