# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A scan: each source read once for all rules and measures, then judged (L1 to L4, L6, K6)."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import lock, pattern, state
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._logs import (
    _cursor,
    _lines,
    _measures,
    _outcomes,
    _sources,
    _timestamps,
    _window,
)
from ansible_collections.sre.runbooks.plugins.module_utils._logs._feed import Feed, looks_like_json
from ansible_collections.sre.runbooks.plugins.module_utils._logs._options import Options
from ansible_collections.sre.runbooks.plugins.module_utils._logs._origin import Origin, Since
from ansible_collections.sre.runbooks.plugins.module_utils._logs._shapes import Shapes
from ansible_collections.sre.runbooks.plugins.module_utils._logs._stream import Span
from ansible_collections.sre.runbooks.plugins.module_utils._logs._tally import Tally

STATE = "log_scan"


def run(options: Options, commands: Commands, state_dir: str, check_mode: bool) -> dict[str, t.Any]:
    """Scan and return the envelope. What the host remembers is saved at the very end: a run that was killed is as none."""
    if check_mode:
        return Scan(options, commands, state.load(state_dir, STATE)).run()
    with lock.hold(state_dir, STATE):
        scan = Scan(options, commands, state.load(state_dir, STATE))
        result = scan.run()
        state.save(state_dir, STATE, scan.memory)
    return result


class Scan:
    """One scan. `memory` is what the host remembers: cursors and shapes by source, and since when bounds are passed."""

    def __init__(self, options: Options, commands: Commands, memory: dict[str, t.Any]) -> None:
        self.memory = memory
        self._options = options
        self._commands = commands
        self._now = time.time()
        self._deadline = time.monotonic() + options.timeout
        self._cursors: dict[str, t.Any] = memory.get("cursors", {})
        self._shapes: dict[str, dict[str, float]] = memory.get("shapes", {})
        self.tallies = [Tally(options.samples, each.within) for each in options.rules]
        self.measured = [(Tally(options.samples), _measures.Sketch()) for _each in options.measures]

    def run(self) -> dict[str, t.Any]:
        """Read all sources and judge."""
        results = []
        with pattern.Watch() as watch:
            for source in self._options.sources:
                results.append(Reading(self, source, watch).run())
        held: dict[str, float] = dict(self.memory.get("held", {}))
        judged = _outcomes.Judge(self._options, results, held, self._now)
        envelope = judged.envelope(self.tallies, self.measured)
        self.memory = {
            "cursors": self._cursors,
            "shapes": self._shapes,
            "held": judged.still_asked(),
        }
        return envelope


class Reading:
    """The reading of one source."""

    def __init__(self, scan: Scan, source: _sources.Source, watch: pattern.Watch) -> None:
        self._scan = scan
        self._source = source
        self._watch = watch
        self._options = scan._options
        self._commands = scan._commands
        self._since = scan._now - self._options.window
        self._feeds: dict[bool, Feed] = {}
        wanted = self._options.shapes != "off"
        self._shapes = Shapes(scan._shapes.get(source.name), scan._now) if wanted else None
        self._reader = _timestamps.Reader(scan._now, source.timestamp, source.zone)
        rules = [each for each in self._options.rules if each.sources is None or source.name in each.sources]
        self._counted = any(each.per == "ratio" for each in rules)
        self.result = _outcomes.SourceResult(source)
        self.result.elapsed = None if self._options.cursor else self._options.window
        # Under another path or unit a name is another source, with a first run of its own.
        self._key = f"{source.name} {source.path or source.unit or source.container}"

    def run(self) -> _outcomes.SourceResult:
        """Read it; what went wrong is in the result."""
        try:
            if self._source.path:
                self._path()
            else:
                self._program()
        except (RunbookError, OSError) as error:
            self.result.problems.append(_told(error))
        for feed in self._feeds.values():
            feed.finish()
        if self._shapes is not None:
            self.result.shapes = self._shapes
            self._scan._shapes[self._source.name] = self._shapes.known
        return self.result

    def _path(self) -> None:
        files, denied = _sources.files(str(self._source.path))
        self.result.problems += [f"cannot be read: {each}" for each in denied]
        self.result.files = len(files)
        self.result.size = sum(each.size for each in files)
        if not files and not denied:
            self.result.problems.append(f"{self._source.path} matches no file")
        if self._options.cursor:
            self._from_cursor(files)
        else:
            for file in files:
                if file.mtime >= self._since:
                    self._file(file, 0, file.size, self._since)

    def _from_cursor(self, files: t.Sequence[_sources.File]) -> None:
        entries = self._remembered()
        planned = _cursor.plan(files, entries, self._scan._now, self._commands, self._options.from_start)
        self.result.first_run = entries is None and not self._options.from_start
        self.result.lost = planned.lost
        for part in planned.parts:
            if part.end < 0 or part.end > part.start:
                self._file(part.file, part.start, part.end, None)
        self._remember([part.entry for part in planned.parts])

    def _remembered(self) -> t.Any:
        """What the last run with a cursor remembered of this very source; None when there was none."""
        found = self._scan._cursors.get(self._key, {})
        if found:
            self.result.elapsed = max(1.0, self._scan._now - found["scanned"])
        return found.get("cursor")

    def _remember(self, cursor: t.Any) -> None:
        self._scan._cursors[self._key] = {"scanned": self._scan._now, "cursor": cursor}

    def _file(self, file: _sources.File, start: int, end: int, since: float | None) -> None:
        """Read one file; one that is damaged or gone is noted, and the others are read all the same."""
        try:
            if file.packing:
                self._packed(file, start, since)
            else:
                self._plain(file, start, end, since)
        except _lines.CutShort as error:
            self.result.warnings.append(str(error))
        except FileNotFoundError:
            if self._options.cursor:
                raise RunbookError(f"{file.path}: moved while the logs were read; the next run will read it") from None
            self.result.warnings.append(f"{file.path}: gone while the logs were read")

    def _plain(self, file: _sources.File, start: int, end: int, since: float | None) -> None:
        descriptor = _opened(file)
        try:
            # By its descriptor: a rotation meanwhile changes what the name means.
            path = f"/proc/self/fd/{descriptor}"
            feed = self._feed(os.pread(descriptor, 1 << 16, 0))
            if since is not None:
                found = _window.first_offset(descriptor, end, since, feed.when)
                self.result.unstamped += found is None
                start = found or 0
            if start < end:
                self._span(Span(path, start, end), feed)
        finally:
            os.close(descriptor)

    def _span(self, span: Span, feed: Feed) -> None:
        self.result.read += span.end - span.start
        counting = _lines.start_count(span, self._commands) if self._counted else None
        filtered, unfiltered = feed.filtered, feed.unfiltered
        if filtered:
            expression = "|".join(dict.fromkeys(job.required.expression for job in filtered if job.required))
            for block in _lines.candidates(span, expression, self._commands, self._options.timeout):
                self._tick()
                feed.feed(block, filtered)
        if unfiltered:
            for block in _lines.blocks(_lines.read(span)):
                self._tick()
                feed.feed(block, unfiltered)
        if counting is not None:
            self.result.lines += counting()

    def _packed(self, file: _sources.File, start: int, since: float | None) -> None:
        chunks: t.Iterable[bytes] = _lines.unpack(file.path, file.packing, self._commands)
        self._blocks(_lines.blocks(_lines.skip(chunks, start) if start else chunks), since)

    def _program(self) -> None:
        cursor = self._options.cursor
        mark = self._remembered() if cursor else None
        first = cursor and mark is None and not self._options.from_start
        since = Since(0.0 if cursor else self._since, mark, first, cursor)
        origin = Origin(self._source, since, self._commands, self._options.timeout)
        self.result.first_run = first
        self._blocks(origin.blocks(), None)
        if cursor and origin.mark:
            self._remember(origin.mark)

    def _blocks(self, blocks: t.Iterator[bytes], since: float | None) -> None:
        first = next(blocks, None)
        if first is None:
            return
        feed = self._feed(first)
        joined = itertools.chain([first], blocks)
        for block in joined if since is None else _window.younger(joined, since, feed.when):
            self._tick()
            feed.feed(block)
            self.result.read += len(block)
            self.result.lines += block.count(b"\n") if self._counted else 0

    def _feed(self, block: bytes) -> Feed:
        """What looks at lines such as those of `block`."""
        wanted = self._source.format
        is_json = wanted == "json" or (wanted == "auto" and looks_like_json(block))
        if is_json not in self._feeds:
            feed = Feed(self._source.name, is_json, bool(self._source.unit), self._reader, self._watch, self._shapes)
            for rule, tally in zip(self._options.rules, self._scan.tallies):
                if self._asked(rule.sources) and (is_json or not rule.pattern.field):
                    feed.add_rule(rule, tally)
            for measure, (tally, sketch) in zip(self._options.measures, self._scan.measured):
                if self._asked(measure.sources) and (is_json or not measure.pattern.field):
                    feed.add_measure(measure, tally, sketch)
            self._feeds[is_json] = feed
            self.result.formats.add("json" if is_json else "plain")
        return self._feeds[is_json]

    def _asked(self, names: frozenset[str] | None) -> bool:
        return names is None or self._source.name in names

    def _tick(self) -> None:
        if time.monotonic() > self._scan._deadline:
            raise RunbookError(f"not read to its end within the {self._options.timeout:g} s of option timeout")


def _opened(file: _sources.File) -> int:
    """A descriptor of the very file, which may have been renamed since it was looked at; FileNotFoundError when it is gone."""
    for path in itertools.chain([file.path], _of_inode(file)):
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            if os.fstat(descriptor).st_ino == file.inode:
                return descriptor
            os.close(descriptor)
    raise FileNotFoundError(file.path)


def _of_inode(file: _sources.File) -> t.Iterator[str]:
    with os.scandir(os.path.dirname(file.path)) as entries:
        for entry in entries:
            if entry.inode() == file.inode:
                yield entry.path


def _told(error: RunbookError | OSError) -> str:
    if isinstance(error, OSError):
        return f"cannot be read: {error.filename or 'the source'}: {error.strerror or error}"
    return str(error)
