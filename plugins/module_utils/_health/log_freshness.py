# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long ago a log had a line that tells of success: found from the log's end."""

from __future__ import annotations

import json
import os
import re
import time
import typing as t
from stat import S_ISREG

from ansible_collections.sre.runbooks.plugins.module_utils._core import pattern, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host, Observation
from ansible_collections.sre.runbooks.plugins.module_utils._health.file import matching
from ansible_collections.sre.runbooks.plugins.module_utils._logs import _timestamps

METRICS = ("age_seconds",)
OPTIONS: dict[str, t.Any] = {
    "path": {"type": "path"},
    "unit": {"type": "str"},
    "pattern": {"type": "str", "default": "."},
    "timestamp": {"type": "str"},
    "zone": {"type": "str", "default": "local"},
    "limit": {"type": "raw", "default": "64 MiB"},
}
DEFAULT_BOUNDS: dict[str, t.Any] = {}
INHERENT = False
BLOCK_BYTES = 2**18
# Of a longer line the beginning is looked at.
LINE_BYTES = 2**16
# Lines of a journal that are looked at; it is asked for whole ones, each of at most 4 KiB.
JOURNAL_LINES = 5000
# A line that is further ahead tells of a wrong clock.
AHEAD_SECONDS = 300.0
MATCH_SECONDS = 1.0
COMPRESSED = (".gz", ".bz2", ".xz", ".zst")


class Found(t.NamedTuple):
    """The newest matching line's time (None: there is none), and since when there is none for sure."""

    when: float | None
    since: float | None = None
    whole: bool = True


def refuse(options: dict[str, t.Any]) -> None:
    """A path or a unit, an expression, a format of time stamps that can be read, a size."""
    if bool(options["path"]) == bool(options["unit"]):
        raise InputError("path", options["path"], "must be given when unit is not", "Give exactly one of the two.")
    if options["unit"] and not re.fullmatch(r"[\w:.@\\-]+", options["unit"]):
        raise InputError(
            "unit", options["unit"], "is no unit's name", "Write the unit's whole name, without wildcards."
        )
    pattern.compiled(options["pattern"], "pattern")
    _timestamps.Reader(0.0, options["timestamp"], options["zone"])
    options["limit"] = units.size(options["limit"], "limit")


def programs(options: t.Mapping[str, t.Any]) -> list[str]:
    """What it runs on the host."""
    return ["journalctl"] if options["unit"] else []


def observe(options: t.Mapping[str, t.Any], host: Host) -> list[Observation]:
    """Look for the newest matching line; what could not be looked at in time makes the answer unknown, not good."""
    deadline = time.monotonic() + options["timeout"]
    if options["unit"]:
        found, where = _journal(options, host), options["unit"]
    else:
        paths = _newest_first(options["path"])
        if not paths:
            return [Observation({}, f"{options['path']} matches no file", "critical")]
        found, where = _files(paths, options, host, deadline), options["path"]
    return [judged(found, where, host.now)]


def judged(found: Found, where: str, now: float) -> Observation:
    """Without a match the age is at least that of the oldest line looked at."""
    if found.when is not None:
        age = max(0.0, round(now - found.when, 3))
        return Observation({"age_seconds": age}, f"{where}: the last matching line is {units.show_duration(age)} old")
    if found.whole:
        return Observation({}, f"{where}: no line matches", "critical")
    metrics, text = {}, ""
    if found.since is not None:
        metrics["age_seconds"] = max(0.0, round(now - found.since, 3))
        text = f", which goes back {units.show_duration(metrics['age_seconds'])}"
    problem = f"{where}: no line matches in the part that was looked at{text}. Raise limit or timeout to look at more"
    return Observation(metrics, problem, "unknown")


def _newest_first(path: str) -> list[tuple[float, str]]:
    """Time of change and path of each file that can hold lines; archives that are compressed are old."""
    found = []
    for each in matching(path):
        try:
            stat = os.stat(each)
        except FileNotFoundError:
            continue
        if S_ISREG(stat.st_mode) and not each.endswith(COMPRESSED):
            found.append((stat.st_mtime, each))
    return sorted(found, reverse=True)


def _files(paths: t.Sequence[tuple[float, str]], options: t.Mapping[str, t.Any], host: Host, deadline: float) -> Found:
    """The newest match in any of the files; one that was changed before a match that is known cannot hold a newer one."""
    best, left = Found(None), options["limit"]
    for changed, path in paths:
        if best.when is not None and changed <= best.when:
            break
        search = Search(path, changed, options, host, deadline)
        try:
            found = search.run(left)
        except FileNotFoundError:  # rotated away since it was listed
            continue
        left -= search.looked_at
        if found.when is not None:
            best = found if best.when is None or found.when > best.when else best
        elif best.when is None:
            best = Found(None, found.since or best.since, found.whole)
            if not found.whole:
                break
    return best


class Search:
    """Looks through one file from its end, a block at a time."""

    def __init__(self, path: str, changed: float, options: t.Mapping[str, t.Any], host: Host, deadline: float) -> None:
        self.path, self.changed, self.host, self.deadline = path, changed, host, deadline
        self.expression = pattern.compiled(options["pattern"], "pattern")
        self.reader = _timestamps.Reader(host.now, options["timestamp"], options["zone"])
        self.looked_at = 0
        self.oldest: float | None = None
        # A line that matches and has no stamp has that of the line before it that has one.
        self.wanted = False
        self.at_end = True

    def run(self, limit: int) -> Found:
        """Look at the last `limit` bytes."""
        with open(self.path, "rb") as stream:
            end = position = stream.seek(0, os.SEEK_END)
            begun = b""
            while position > 0:
                if end - position >= limit or time.monotonic() > self.deadline:
                    return self._ended(False)
                size = min(BLOCK_BYTES, position)
                position -= size
                stream.seek(position)
                block = stream.read(size)
                self.looked_at += size
                # The first line of the block may begin in the one before it.
                head, newline, rest = block.partition(b"\n")
                if position == 0:
                    lines = block + begun
                elif newline:
                    lines = rest + begun
                else:
                    begun = (block + begun)[:LINE_BYTES]
                    continue
                begun = head[:LINE_BYTES]
                when = self._look(lines)
                if when is not None:
                    return Found(when)
        return self._ended(True)

    def _ended(self, whole: bool) -> Found:
        if self.wanted:
            raise RunbookError(
                f"{self.path}: lines that match have no time stamp that is known. Say how they are written, by timestamp."
            )
        return Found(None, self.oldest, whole)

    def _look(self, lines: bytes) -> float | None:
        """The time of the last line in `lines` that matches. The main thread can end an expression that takes for ever."""
        texts = [line[:LINE_BYTES].decode("utf-8", "replace").rstrip("\r") for line in lines.split(b"\n")]
        if not texts[-1]:
            texts.pop()
        place = len(texts)
        while place:
            if not self.wanted:
                upto = place
                place = self.host.aside(lambda: self._last_match(texts, upto))  # noqa: B023  it is called at once
                if place < 0:
                    break
                self.wanted = True
            else:
                place -= 1
            when = self._stamp(texts[place], place == len(texts) - 1)
            if when is not None:
                self.wanted = False
                if when <= self.host.now + AHEAD_SECONDS:
                    return when
        self.at_end = False
        self._remember(texts)
        return None

    def _last_match(self, texts: t.Sequence[str], upto: int) -> int:
        """The place of the last text before `upto` that matches, or -1."""
        with pattern.Watch(MATCH_SECONDS) as watch:
            for place in range(upto - 1, -1, -1):
                watch.begin("pattern", self.expression.pattern)
                if self.expression.search(texts[place]):
                    watch.end()
                    return place
            watch.end()
        return -1

    def _stamp(self, text: str, last: bool) -> float | None:
        """When a line was written; of the file's last line the file itself tells, where the line does not."""
        when = self.reader.read(text)
        return self.changed if when is None and last and self.at_end else when

    def _remember(self, texts: t.Sequence[str]) -> None:
        """The oldest time looked at: that of the first line in the block that has a stamp."""
        for text in texts[:100]:
            when = self.reader.read(text)
            if when is not None:
                self.oldest = when if self.oldest is None else min(self.oldest, when)
                return


def _journal(options: t.Mapping[str, t.Any], host: Host) -> Found:
    """The newest entry of a unit that matches, among its last ones."""
    argv = [
        "journalctl", f"--unit={options['unit']}", "--output=json", "--output-fields=MESSAGE", "--reverse", "--no-pager",
        f"--lines={JOURNAL_LINES if options['pattern'] != OPTIONS['pattern']['default'] else 1}",
    ]  # fmt: skip
    entries = parse_journal(host.commands.run(argv, timeout=options["timeout"]).stdout)
    expression = pattern.compiled(options["pattern"], "pattern")
    when = host.aside(lambda: _first(expression, entries, host.now + AHEAD_SECONDS))
    oldest = entries[-1][0] if entries else None
    return Found(when, oldest, len(entries) < JOURNAL_LINES)


def _first(expression: re.Pattern[str], entries: t.Sequence[tuple[float, str]], latest: float) -> float | None:
    with pattern.Watch(MATCH_SECONDS) as watch:
        for when, text in entries:
            watch.begin("pattern", expression.pattern)
            if expression.search(text) and when <= latest:
                watch.end()
                return when
        watch.end()
    return None


def parse_journal(text: str) -> list[tuple[float, str]]:
    """Time and message of each entry; a message that is no text is a list of bytes, one that is too long is null."""
    entries = []
    for line in text.splitlines():
        entry = json.loads(line)
        message = entry.get("MESSAGE")
        if isinstance(message, list):
            message = bytes(each for each in message if isinstance(each, int)).decode("utf-8", "replace")
        entries.append((int(entry["__REALTIME_TIMESTAMP"]) / 1e6, str(message or "")))
    return entries
