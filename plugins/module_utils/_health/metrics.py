# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exposition pages (Prometheus, OpenMetrics): the page can be scraped, and figures picked from it."""

from __future__ import annotations

import math
import re
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import web
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, TargetDown
from ansible_collections.sre.runbooks.plugins.module_utils._core.units import show_duration
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import (
    METRIC_NAME,
    Host,
    Observation,
)

METRICS = ("response_seconds",)
OPTIONS: dict[str, t.Any] = {**web.OPTIONS, "samples": {"type": "dict", "default": {}}}
DEFAULT_BOUNDS: dict[str, t.Any] = {}
INHERENT = True
# Samples of one selector that are looked at; a selector of more has forgotten a label.
MATCH_LIMIT = 100
LINE_LIMIT = 2**20
ACCEPT = {"Accept": "text/plain;version=0.0.4,*/*;q=0.1"}
_NAME = r"[A-Za-z_:][A-Za-z0-9_:]*"
_LABEL = r'\s*([A-Za-z_][A-Za-z0-9_]*)\s*(!?=)\s*"((?:[^"\\]|\\.)*)"\s*'
_SELECTOR = re.compile(rf"({_NAME})\s*(?:\{{((?:{_LABEL},)*(?:{_LABEL})?)\}})?")
_SAMPLE = re.compile(rf"(?:\{{((?:{_LABEL},)*(?:{_LABEL})?)\}})?[ \t]+(\S+)")
_LABELS = re.compile(_LABEL)
_ANY_SAMPLE = re.compile(rb"^[A-Za-z_:][A-Za-z0-9_:]*(?:\{[^\n]*\})?[ \t]+[-+]?(?:[0-9.]|NaN|Inf)", re.MULTILINE)


class Selector(t.NamedTuple):
    """Samples called `metric` whose labels are (`=`) or are not (`!=`) these; a label that is missing is empty."""

    metric: str
    labels: tuple[tuple[str, str, str], ...]

    def needles(self) -> list[bytes]:
        """What stands in every line that this takes; most of a long page is not worth a closer look."""
        return [_escaped(value) for _name, how, value in self.labels if how == "=" and value]

    def takes(self, labels: t.Mapping[str, str]) -> bool:
        return all((labels.get(name, "") == value) == (how == "=") for name, how, value in self.labels)


class Sample(t.NamedTuple):
    """One line of the page."""

    labels: dict[str, str]
    value: float

    def shown(self) -> str:
        """Its labels as on the page, in a fixed order."""
        return "{" + ",".join(f'{name}="{value}"' for name, value in sorted(self.labels.items())) + "}"


def names(options: t.Mapping[str, t.Any]) -> list[str]:
    """The samples as the user calls them come first."""
    return [*map(str, options["samples"]), *METRICS]


def refuse(options: t.Mapping[str, t.Any]) -> None:
    """Selectors are read before anything is asked for."""
    web.refuse(options)
    for name, text in options["samples"].items():
        if not re.fullmatch(METRIC_NAME, str(name)) or name in METRICS:
            raise InputError("samples", name, "is no name for a metric", "Use letters, digits and underscores.")
        selector(str(text), f"samples.{name}")


def selector(text: str, option: str) -> Selector:
    """Read `name{label="value",other!="value"}`."""
    match = _SELECTOR.fullmatch(text.strip())
    if match is None:
        raise InputError(option, text, "is no selector", 'Write name or name{label="value",other!="value"}.')
    return Selector(match[1], tuple((name, how, _plain(value)) for name, how, value in _LABELS.findall(match[2] or "")))


def observe(options: t.Mapping[str, t.Any], _host: Host) -> list[Observation]:
    """Read the page once. Samples that are alone under their name are one observation, the others one each."""
    wanted = {str(name): selector(str(text), "samples") for name, text in options["samples"].items()}
    started = time.monotonic()
    with web.ask(options, started + options["timeout"], headers=ACCEPT) as answer:
        if answer.status != 200:
            raise TargetDown(f"{web.shown(options['url'])}: status is {answer.status}, expected 200")
        any_sample, found = read(answer.pieces(), wanted)
    if not any_sample:
        raise TargetDown(f"{web.shown(options['url'])}: the answer holds no sample, it is no page of metrics")
    seconds = round(time.monotonic() - started, 6)
    return observations(found, seconds)


def read(pieces: t.Iterable[bytes], wanted: t.Mapping[str, Selector]) -> tuple[bool, dict[str, list[Sample]]]:
    """Whether a page that comes in pieces has any sample, and those wanted; at most one piece and one line are kept.

    Lines that can be meant are found by one expression in a whole piece: most of a large page is never split into lines.
    """
    by_metric: dict[bytes, list[tuple[Selector, list[bytes], list[Sample]]]] = {}
    found: dict[str, list[Sample]] = {name: [] for name in wanted}
    for name, each in wanted.items():
        by_metric.setdefault(each.metric.encode(), []).append((each, each.needles(), found[name]))
    # With a new line and a name in front, the search for lines runs at the speed of a search for text.
    lines = re.compile(rb"\n(" + b"|".join(map(re.escape, by_metric)) + rb")([{ \t][^\n]*)") if by_metric else None
    any_sample = False
    for block in _blocks(pieces):
        any_sample = any_sample or _ANY_SAMPLE.search(block) is not None
        for metric, line in lines.findall(b"\n" + block) if lines else ():
            meant = [
                (each, samples)
                for each, needles, samples in by_metric[metric]
                if len(samples) <= MATCH_LIMIT and all(needle in line for needle in needles)
            ]
            if meant:
                _sort(line.decode("utf-8", "replace"), meant)
    return any_sample, found


def _blocks(pieces: t.Iterable[bytes]) -> t.Iterator[bytes]:
    """Whole lines."""
    rest = b""
    for piece in pieces:
        end = piece.rfind(b"\n") + 1
        if end:
            yield rest + piece[:end]
            rest = piece[end:]
        else:
            rest += piece
        if len(rest) > LINE_LIMIT:
            raise web.NoHttp(f"a line of the page is longer than {LINE_LIMIT} bytes")
    yield rest


def _sort(line: str, meant: t.Iterable[tuple[Selector, list[Sample]]]) -> None:
    """Read what follows a metric's name, and put it to every selector that takes it."""
    match = _SAMPLE.match(line)
    if match is None:
        return
    labels = {name: _plain(value) for name, _how, value in _LABELS.findall(match[1] or "")}
    try:
        value = float(match[match.re.groups])
    except ValueError:
        return
    for each, samples in meant:
        if each.takes(labels):
            samples.append(Sample(labels, value))


def _escaped(value: str) -> bytes:
    """A label's value as it stands on a page."""
    return b'"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").encode() + b'"'


def _plain(value: str) -> str:
    """A label's value without its escapes."""
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], value)


def observations(found: t.Mapping[str, list[Sample]], seconds: float) -> list[Observation]:
    """What was found; a name that selects nothing, or no number, is unknown, whether it has bounds or not."""
    metrics: dict[str, float] = {"response_seconds": seconds}
    missing: list[str] = []
    single = [name for name, samples in found.items() if len(samples) < 2]
    several: list[Observation] = []
    for name, samples in found.items():
        if name not in single:
            several.extend(_one_each(name, samples))
        elif samples and math.isfinite(samples[0].value):
            metrics[name] = samples[0].value
        else:
            missing.append(f"{name} is {samples[0].value}" if samples else f"{name} selects no sample")
    summary = "; ".join([*missing, f"the page was read in {show_duration(seconds)}"])
    status = "unknown" if missing else "ok"
    return [Observation(metrics, summary, status, about={*single, *METRICS}), *several]


def _one_each(name: str, samples: t.Sequence[Sample]) -> list[Observation]:
    seen = []
    for sample in samples[:MATCH_LIMIT]:
        target = f"{name}{sample.shown()}"
        if math.isfinite(sample.value):
            seen.append(Observation({name: sample.value}, f"{target} is {sample.value:g}", target=target, about={name}))
        else:
            seen.append(Observation({}, f"{target} is {sample.value}", "unknown", target, about=()))
    if len(samples) > MATCH_LIMIT:
        text = f"{name} selects more than {MATCH_LIMIT} samples, the others were not looked at. Name more labels."
        seen.append(Observation({}, text, "unknown", f"{name} (others)", about=()))
    return seen
