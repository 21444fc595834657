# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a scan found, as outcomes: one for each source, rule and measure (L1 to L3, L6, K6)."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import outcome, threshold, units
from ansible_collections.sre.runbooks.plugins.module_utils._logs import _measures
from ansible_collections.sre.runbooks.plugins.module_utils._logs._options import Options
from ansible_collections.sre.runbooks.plugins.module_utils._logs._redact import redact
from ansible_collections.sre.runbooks.plugins.module_utils._logs._rules import Bounds, Measure, Rule
from ansible_collections.sre.runbooks.plugins.module_utils._logs._shapes import Shapes
from ansible_collections.sre.runbooks.plugins.module_utils._logs._sources import Source
from ansible_collections.sre.runbooks.plugins.module_utils._logs._tally import Tally

STAGE = "log_scan"
SHOWN = 400
_TOLD = 5
_MOST_HELD = 5000
Outcome = dict[str, t.Any]


class SourceResult:
    """What reading one source came to. Sizes in bytes; `lines` only where a rule asks for a ratio.

    `elapsed` are the seconds that its lines are of; None for a first run with a cursor.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.files = 0
        self.size = 0
        self.read = 0
        self.lines = 0
        self.unstamped = 0
        self.formats: set[str] = set()
        self.first_run = False
        self.elapsed: float | None = None
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.lost: list[str] = []
        self.shapes: Shapes | None = None


class Judge:
    """Compares what was found with the bounds. `held` is since when bounds with `for` are passed; it is brought up to date."""

    def __init__(
        self,
        options: Options,
        results: t.Sequence[SourceResult],
        held: dict[str, float],
        now: float,
    ) -> None:
        self._options = options
        self._results = results
        self._held = held
        self._now = now
        self._asked: set[str] = set()
        self._judged: set[str] = set()

    def envelope(
        self, tallies: t.Sequence[Tally], measured: t.Sequence[tuple[Tally, _measures.Sketch]]
    ) -> dict[str, t.Any]:
        """The module's result."""
        outcomes = [self._source(each) for each in self._results]
        outcomes += [self._rule(rule, tally) for rule, tally in zip(self._options.rules, tallies)]
        outcomes += [self._measure(each, *found) for each, found in zip(self._options.measures, measured)]
        return outcome.envelope(outcomes)

    def still_asked(self) -> dict[str, float]:
        """`held` without bounds that this call's rules have no more; what other calls on this host asked for stays."""
        mine = tuple(f"{subject}/" for subject in self._asked)
        kept = [(key, since) for key, since in self._held.items() if key in self._judged or not key.startswith(mine)]
        return dict(kept[-_MOST_HELD:])

    def _source(self, result: SourceResult) -> Outcome:
        source = result.source
        metrics: dict[str, float] = {"read_bytes": result.read}
        parts = []
        if source.path:
            metrics = {"size_bytes": result.size, "files": result.files, **metrics}
            parts.append(f"{result.files} files, {units.show_size(result.size)}, read {units.show_size(result.read)}")
        else:
            parts.append(f"read {units.show_size(result.read)}")
        status = "warning" if result.warnings or result.lost else "ok"
        if result.problems:
            status = "unknown"
        if result.first_run:
            parts.append("first run: the next one reads what is written from now on")
        if result.unstamped:
            parts.append(f"{result.unstamped} files without time stamps were read as a whole")
        if result.lost:
            lost = ", ".join(result.lost[:_TOLD])
            parts.append(f"lines may be missing, for these were cut or removed since the last run: {lost}")
        shapes = result.shapes
        examples: list[str] = []
        if shapes is not None:
            metrics["new_shapes"] = shapes.new
            examples = [self._show(each) for each in shapes.examples]
            if shapes.full:
                parts.append("has too many shapes of lines to tell new ones")
            elif shapes.new:
                parts.append(f"{shapes.new} new shapes of lines")
                status = outcome.worst([status, "warning"]) if self._options.shapes == "warning" else status
        verdict = self._judge(f"source:{source.name}", "size_bytes", metrics.get("size_bytes"), source.bounds)
        texts = [*result.problems[:_TOLD], *result.warnings[:_TOLD], *verdict.reasons, *parts]
        # Names of files need not be UTF-8.
        texts = [each.encode("utf-8", "replace").decode() for each in texts]
        details: dict[str, t.Any] = {"source": source.name, "formats": sorted(result.formats)}
        if examples:
            details["new_shapes"] = examples
        return outcome.outcome(
            f"source:{source.name}", STAGE, outcome.worst([status, verdict.status]), "; ".join(texts), metrics=metrics,
            details=details, pending=verdict.pending,
        )  # fmt: skip

    def _rule(self, rule: Rule, tally: Tally) -> Outcome:
        subject = f"rule:{rule.name}"
        metrics = self._figures(rule, tally)
        details: dict[str, t.Any] = {"rule": rule.name, "per": rule.per}
        details.update({key: value for key, value in (("meaning", rule.meaning), ("remedy", rule.remedy)) if value})
        details.update(self._seen(tally))
        if rule.by:
            details["by"] = rule.by
            details["top"] = {self._show(name): count for name, count in tally.top()}
            details["lossy"] = tally.lossy
        blind = self._blind(rule.sources, bool(rule.pattern.field))
        verdict = self._judge(subject, rule.main, metrics.get(rule.main), rule.bounds)
        status = verdict.status
        problem = tally.problem or blind
        if problem:
            status = outcome.worst([status, "unknown"])
        texts = [*([problem] if problem else []), *verdict.reasons, self._summary(rule, tally, metrics)]
        if rule.meaning and tally.count:
            texts.append(f"meaning: {rule.meaning}")
        if rule.remedy and status not in ("ok", "skipped"):
            texts.append(f"remedy: {rule.remedy}")
        return outcome.outcome(
            subject, STAGE, status, "; ".join(texts), metrics=metrics, details=details,
            pending=verdict.pending and status == "ok",
        )  # fmt: skip

    def _figures(self, rule: Rule, tally: Tally) -> dict[str, float]:
        metrics: dict[str, float] = {"matches": tally.count}
        elapsed = self._elapsed(rule)
        if elapsed:
            metrics["matches_per_minute"] = round(tally.count / (elapsed / 60), 6)
        if rule.per == "ratio":
            lines = sum(each.lines for each in self._results if self._of(rule.sources, each))
            metrics["lines"] = lines
            metrics["ratio_percent"] = round(100 * tally.count / lines, 6) if lines else 0.0
        if rule.by:
            metrics["groups"] = len(tally.groups)
            metrics["top_matches"] = tally.top()[0][1] if tally.groups else 0
        if rule.within is not None:
            metrics["burst_matches"] = tally.burst()[1]
        return metrics

    def _summary(self, rule: Rule, tally: Tally, metrics: t.Mapping[str, float]) -> str:
        elapsed = self._elapsed(rule)
        period = f" in {units.show_duration(elapsed)}" if elapsed else ""
        parts = [f"{tally.count} matching lines{period}"]
        if rule.per == "ratio":
            parts.append(f"{metrics['ratio_percent']:.3g} % of {metrics['lines']:.0f} lines")
        elif rule.per == "rate" and "matches_per_minute" in metrics:
            parts.append(f"{metrics['matches_per_minute']:.3g} a minute")
        if tally.groups:
            name, count = tally.top()[0]
            parts.append(f"most by {rule.by} {self._show(name)}: {count}")
        if rule.within is not None and tally.count:
            name, count = tally.burst()
            whose = f" by {self._show(name)}" if name else ""
            parts.append(f"at most {count}{whose} within {units.show_duration(rule.within)}")
            if tally.unstamped:
                parts.append(f"{tally.unstamped} lines without a time stamp")
        if tally.times:
            parts.append(f"the last at {stamp(tally.times[-1])}")
        return ", ".join(parts)

    def _elapsed(self, rule: Rule) -> float | None:
        """The seconds that the lines of a rule are of: the longest of its sources."""
        known = [each.elapsed for each in self._results if self._of(rule.sources, each) and each.elapsed]
        return max(known, default=None)

    def _measure(self, measure: Measure, tally: Tally, sketch: _measures.Sketch) -> Outcome:
        subject = f"measure:{measure.name}"
        figures = sketch.statistics()
        metrics = _measures.metrics(figures, measure.unit)
        verdicts = [
            self._judge(subject, _measures.metric(name, measure.unit), metrics.get(_measures.metric(name, measure.unit)), each)
            for name, each in measure.bounds.items()
        ]  # fmt: skip
        problem = tally.problem or self._blind(measure.sources, bool(measure.pattern.field))
        status = outcome.worst([*(each.status for each in verdicts), *(["unknown"] if problem else []), "ok"])
        shown = [f"{name} {units.show(metric, metrics[metric])}" for name in figures if name != "count"
                 for metric in [_measures.metric(name, measure.unit)]]  # fmt: skip
        texts = [*([problem] if problem else []), *(reason for each in verdicts for reason in each.reasons)]
        texts.append(f"{sketch.count} values" + (f": {', '.join(shown)}" if shown else ""))
        if sketch.unreadable:
            texts.append(f"{sketch.unreadable} were no numbers")
        if measure.remedy and status != "ok":
            texts.append(f"remedy: {measure.remedy}")
        details = {"measure": measure.name, "exact": sketch.exact, **self._seen(tally)}
        if measure.remedy:
            details["remedy"] = measure.remedy
        pending = any(each.pending for each in verdicts) and status == "ok"
        return outcome.outcome(
            subject, STAGE, status, "; ".join(texts), metrics=metrics, details=details, pending=pending
        )

    def _judge(self, subject: str, metric: str, value: float | None, bounds: Bounds) -> threshold.Verdict:
        """Compare one figure; the reasons are sentences. A figure that is not there yet passes no bound."""
        self._asked.add(subject)
        self._judged |= {f"{subject}/{metric}/{level}/{bound.text}" for level in bounds for bound in bounds[level]}
        if value is None:
            return threshold.Verdict("ok", [], False)
        found = threshold.judge(value, bounds, f"{subject}/{metric}", self._held, self._now)
        if found.status == "ok":
            return threshold.Verdict("ok", [], found.pending)
        reason = f"{metric} is {units.show(metric, value)}, bound {' and '.join(found.reasons)}"
        return threshold.Verdict(found.status, [reason], found.pending)

    def _seen(self, tally: Tally) -> dict[str, t.Any]:
        seen: dict[str, t.Any] = {}
        if tally.times:
            seen = {"first": stamp(tally.times[0]), "last": stamp(tally.times[-1])}
        if len(tally.by_source) > 1:
            seen["sources"] = dict(tally.by_source)
        if tally.samples:
            seen["samples"] = [f"{source}: {self._show(text)}" for source, text in tally.samples]
        return seen

    def _blind(self, names: frozenset[str] | None, with_field: bool) -> str:
        """Why nothing can be said: none of the sources could be read, or none of those read has JSON lines."""
        mine = [each for each in self._results if self._of(names, each)]
        if mine and all(each.problems for each in mine):
            return f"no source could be read: {', '.join(each.source.name for each in mine[:_TOLD])}"
        formats = {name for each in mine for name in each.formats}
        if with_field and formats and "json" not in formats:
            return "none of its sources has JSON lines, which a field needs"
        return ""

    def _of(self, names: frozenset[str] | None, result: SourceResult) -> bool:
        return names is None or result.source.name in names

    def _show(self, text: str) -> str:
        return redact(text, SHOWN, self._options.redact_emails)


def stamp(when: float) -> str:
    """Seconds since the epoch as UTC in ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))
