# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All rules and measures over the blocks of one source, in one pass (L1 to L4).

Lines are searched for the texts that a rule needs, and only those that hold one by its expression. Where the texts say it
all, such as `ERROR|FATAL`, none is.
"""

from __future__ import annotations

import json
import re
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import pattern
from ansible_collections.sre.runbooks.plugins.module_utils._logs import _measures, _timestamps
from ansible_collections.sre.runbooks.plugins.module_utils._logs._rules import Measure, Pattern, Rule
from ansible_collections.sre.runbooks.plugins.module_utils._logs._shapes import Shapes
from ansible_collections.sre.runbooks.plugins.module_utils._logs._tally import Tally

FIELDS = {
    "level": ("level", "levelname", "severity", "lvl", "log.level", "PRIORITY"),
    "message": ("message", "msg", "event", "MESSAGE"),
    "timestamp": ("timestamp", "@timestamp", "time", "ts", "asctime", "datetime", "__REALTIME_TIMESTAMP"),
}
# The journal's numbers (syslog(3)) as the names that applications use.
PRIORITIES = dict(zip("01234567", ("EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG")))


class Job:
    """One rule or measure at work on one source: where to look, and what to do with a match."""

    def __init__(self, looked_for: Pattern, is_json: bool, journal: bool, tally: Tally) -> None:
        self.pattern = looked_for
        self.tally = tally
        self.field = looked_for.field if is_json else None
        self.required = looked_for.required_json if self.field else looked_for.required
        if journal and self.field == "level":  # there it is a number, and ERROR stands in no line
            self.required = None
        self.first: str | None = None
        self.last: str | None = None
        self.plain_count = False
        literals = self.required.literals if self.required else None
        self._literals = [each.decode("utf-8", "replace") for each in literals or ()]

    def counts_only(self) -> None:
        """Say that nothing but the number of lines is wanted: a line need not be searched where texts say it all."""
        exact = self.required is not None and self.required.exact and bool(self._literals)
        self.plain_count = exact and not self.pattern.exclude and not self.field

    def candidates(self, text: str, lines: t.Sequence[str]) -> t.Sequence[int]:
        """The numbers of the `lines` of `text` that may match."""
        if not self._literals:
            return range(len(lines))
        present = [literal for literal in self._literals if literal in text]
        found: list[int] = []
        for literal in present:
            found += [number for number, line in enumerate(lines) if literal in line]
        return sorted(set(found)) if len(present) > 1 else found


class Feed:
    """What looks at the lines of one source."""

    def __init__(
        self, source: str, is_json: bool, journal: bool, reader: _timestamps.Reader, watch: pattern.Watch,
        shapes: Shapes | None,
    ) -> None:  # fmt: skip
        self.source = source
        self.is_json = is_json
        self._journal = journal
        self._reader = reader
        self._watch = watch
        self._shapes = shapes
        self._jobs: list[tuple[Job, Rule | Measure, _measures.Sketch | None]] = []
        self._objects: dict[int, dict[str, t.Any]] = {}

    @property
    def filtered(self) -> list[Job]:
        """The jobs for which lines can be filtered."""
        return [job for job, _asked, _sketch in self._jobs if job.required is not None]

    @property
    def unfiltered(self) -> list[Job]:
        """The jobs that must see each line."""
        return [job for job, _asked, _sketch in self._jobs if job.required is None]

    def add_rule(self, rule: Rule, tally: Tally) -> Job:
        """Have `rule` counted in `tally`."""
        job = Job(rule.pattern, self.is_json, self._journal, tally)
        if rule.by is None and rule.within is None:
            job.counts_only()
        self._jobs.append((job, rule, None))
        return job

    def add_measure(self, measure: Measure, tally: Tally, sketch: _measures.Sketch) -> Job:
        """Have the values of `measure` put into `sketch`."""
        job = Job(measure.pattern, self.is_json, self._journal, tally)
        self._jobs.append((job, measure, sketch))
        return job

    def feed(self, block: bytes, jobs: t.Sequence[Job] | None = None) -> None:
        """Look at a block of whole lines, with the jobs given or all."""
        self._objects = {}
        text = block.decode("utf-8", "replace")
        lines = text.split("\n")
        lines.pop()
        shaped: set[int] = set()
        for job, asked, sketch in self._jobs:
            if job.tally.problem or (jobs is not None and job not in jobs):
                continue
            matched = job.candidates(text, lines)
            if not matched:
                continue
            if job.plain_count:
                job.tally.count += len(matched)
            else:
                self._watch.begin(job.pattern.option, job.pattern.expression.pattern)
                try:
                    matched = self._matching(lines, matched, job, asked, sketch)
                except pattern.TooSlow as error:
                    job.tally.problem = str(error)
                    continue
                finally:
                    self._watch.end()
            if matched:
                self._note(lines, matched, job)
                if self._shapes is not None and isinstance(asked, Rule):
                    shaped.update(matched)
        if shaped and self._shapes is not None:
            self._shapes.look(block, lines, shaped)

    def finish(self) -> None:
        """Read the times of the first and last lines that matched."""
        for job, _asked, _sketch in self._jobs:
            for line in (job.first, job.last):
                if line is not None:
                    job.tally.seen(self.when(line))

    def when(self, line: str | bytes) -> float | None:
        """The time of a line."""
        if not self.is_json:
            return self._reader.read(line)
        found = _load(line)
        if found:
            for value in _values(found, "timestamp"):
                when = self._reader.value(value)
                if when is not None:
                    return when
        return self._reader.read(line)

    def _matching(
        self, lines: t.Sequence[str], numbers: t.Sequence[int], job: Job, asked: Rule | Measure,
        sketch: _measures.Sketch | None,
    ) -> t.Sequence[int]:  # fmt: skip
        """Which of the lines match; they are counted."""
        search, exclude = job.pattern.expression.search, job.pattern.exclude
        simple = job.field is None and exclude is None
        if simple and isinstance(asked, Rule) and asked.by is None and asked.within is None:
            found = [number for number in numbers if search(lines[number])]
            job.tally.count += len(found)
            return found
        matched = []
        for number in numbers:
            line = lines[number]
            match = search(line) if job.field is None else self._in_field(number, line, job)
            if match is None or (exclude is not None and exclude.search(line)):
                continue
            matched.append(number)
            if isinstance(asked, Rule):
                group = (match[asked.by] or "(none)")[:200] if asked.by else None
                job.tally.add(group, self.when(line) if asked.within is not None else None)
            else:
                job.tally.count += 1
                if sketch is not None:
                    sketch.add_text(match["value"] or "", _measures.UNITS[asked.unit][1])
        return matched

    def _in_field(self, number: int, line: str, job: Job) -> re.Match[str] | None:
        if number not in self._objects:
            self._objects[number] = _load(line)
        for value in _values(self._objects[number], job.field or ""):
            return job.pattern.expression.search(value if isinstance(value, str) else json.dumps(value))
        return None

    def _note(self, lines: t.Sequence[str], matched: t.Sequence[int], job: Job) -> None:
        if job.first is None:
            job.first = lines[matched[0]]
        job.last = lines[matched[-1]]
        kept = job.tally.samples.maxlen or 0
        for number in matched[-kept:] if kept else ():
            job.tally.sample(self.source, lines[number])
        job.tally.by_source[self.source] = job.tally.by_source.get(self.source, 0) + len(matched)


def _load(line: str | bytes) -> dict[str, t.Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _values(found: t.Mapping[str, t.Any], field: str) -> t.Iterator[t.Any]:
    """What is there under a field or, for `level`, `message` and `timestamp`, one of the names that these have."""
    for name in dict.fromkeys([field, *FIELDS.get(field, ())]):
        if name == "PRIORITY" and str(found.get(name)) in PRIORITIES:
            yield PRIORITIES[str(found[name])]
            continue
        if name in found:
            yield found[name]
            continue
        value: t.Any = found
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            yield value


def looks_like_json(block: bytes) -> bool:
    """Whether the first lines of a log are JSON objects."""
    lines = [line for line in block[: 1 << 16].split(b"\n")[:-1][:5] if line.strip()]
    return bool(lines) and all(line.lstrip()[:1] == b"{" and _load(line) for line in lines)
