# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""KPIs as data (R4): those that come with the collection and a site's own, read before anything is measured."""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import re
import typing as t
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from ansible_collections.sre.runbooks.plugins.module_utils._core import threshold, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import STATUSES

FILE = Path(__file__).resolve().parents[2] / "roles/report/files/kpis.yml"
UNITS = ("percent", "seconds", "bytes", "per_minute", "per_day", "")
INCIDENTS = ("detect_seconds", "resolve_seconds")
OF_METRIC = ("mean", "p50", "p95", "p99", "min", "max", "last", "sum", "increase", "positive", "failures")
OF_STATUS = ("time", "share")
OF_INCIDENTS = ("mean", "p50", "p95", "max")
_KEYS = ("name", "title", "unit", "target", "budget", "from", "systems", "enabled")
_SOURCE_KEYS = ("stage", "subject", "metric", "status", "statistic", "scale", "offset", "per", "over")
_INCIDENT_KEYS = ("incidents", "statistic")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a KPI's figures come from, and what is made of them.

    `incidents` names a time of incidents; else the outcomes of `stage` whose subject one of the globs `subjects` takes:
    the share of those that are one of `good`, or a `statistic` of the first of `metrics`. The value is multiplied by
    `scale`, added to `offset`, divided by the periods of `per` seconds (0: by none), or by that of the metric `over`.
    """

    statistic: str
    stage: str = ""
    subjects: tuple[str, ...] = ("*",)
    metrics: tuple[str, ...] = ()
    good: frozenset[str] = frozenset()
    incidents: str = ""
    scale: float = 1.0
    offset: float = 0.0
    per: float = 0.0
    over: str = ""

    def takes(self, subject: str) -> bool:
        """Whether the outcomes of `subject` count."""
        return any(fnmatch.fnmatchcase(subject, glob) for glob in self.subjects)

    @property
    def shown(self) -> str:
        """What it is, for a person."""
        if self.incidents:
            return f"incidents {self.incidents}"
        subjects = "" if self.subjects == ("*",) else f" {', '.join(self.subjects)}"
        return f"{self.stage}{subjects} {' or '.join(self.metrics) if self.metrics else 'status'}"


@dataclasses.dataclass(frozen=True)
class Kpi:
    """A KPI: its target (None: it is only shown), whether there is a budget to spend, and its sources, the best first."""

    name: str
    title: str
    unit: str
    target: threshold.Bound | None
    budget: bool
    sources: tuple[Source, ...]
    systems: tuple[str, ...] = ("*",)
    enabled: bool = True

    def holds_for(self, system: str) -> bool:
        """Whether it is measured for `system`."""
        return self.enabled and any(fnmatch.fnmatchcase(system, glob) for glob in self.systems)

    @property
    def target_text(self) -> str:
        """The target in the base unit, as `< 0.2`; empty where there is none."""
        return f"{self.target.comparison} {self.target.limit:.10g}" if self.target else ""


@functools.cache
def shipped() -> tuple[Kpi, ...]:
    """Return the KPIs that come with the collection."""
    return tuple(read_kpis(yaml.safe_load(FILE.read_text(encoding="utf-8")), str(FILE)))


def merged(own: Sequence[Kpi]) -> list[Kpi]:
    """Return the shipped KPIs with those of the site: one of the same name takes the other's place, the last wins."""
    found = {kpi.name: kpi for kpi in shipped()}
    found.update({kpi.name: kpi for kpi in own})
    return [kpi for kpi in found.values() if kpi.enabled]


def read_kpis(raw: t.Any, option: str = "kpis") -> list[Kpi]:
    """Read a list of definitions; raises InputError with option, value and remedy."""
    if not isinstance(raw, (list, tuple)):
        raise InputError(option, raw, "is no list", "Write it as [{name: …, target: '> 99', from: [ … ]}].")
    return [_kpi(each, f"{option}[{number}]") for number, each in enumerate(raw)]


def _kpi(raw: t.Any, option: str) -> Kpi:
    _known(raw, _KEYS, option, "KPI")
    name = raw.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(f"{option}.name", name, "is no name", "Use lower-case letters, digits and underscores.")
    option = f"{option} ({name})"
    enabled, budget = raw.get("enabled", True), raw.get("budget", False)
    for key, value in (("enabled", enabled), ("budget", budget)):
        if not isinstance(value, bool):
            raise InputError(f"{option}.{key}", value, "is neither true nor false", "Write true or false.")
    unit = raw.get("unit", "")
    if unit not in UNITS:
        raise InputError(f"{option}.unit", unit, "is no unit", f"Use one of {', '.join(filter(None, UNITS))}, or none.")
    sources = raw.get("from", [])
    sources = [sources] if isinstance(sources, Mapping) else sources
    if not isinstance(sources, (list, tuple)) or (enabled and not sources):
        remedy = "Write it as {stage: health, subject: ['http:api'], metric: response_seconds, statistic: p95}."
        raise InputError(f"{option}.from", sources, "is no source of figures", remedy)
    return Kpi(
        name, str(raw.get("title") or name.replace("_", " ").capitalize()), unit, _target(raw.get("target"), f"{option}.target"), budget,
        tuple(_source(each, f"{option}.from[{number}]") for number, each in enumerate(sources)),
        _texts(raw.get("systems", "*"), f"{option}.systems"), enabled,
    )  # fmt: skip


def _target(raw: t.Any, option: str) -> threshold.Bound | None:
    bounds = threshold.parse(raw or None, option)
    if not bounds:
        return None
    if len(bounds) > 1 or bounds[0].seconds or bounds[0].comparison in ("==", "!="):
        raise InputError(
            option, raw, "is no target", 'Write one comparison without "for", such as "> 99.9" or "< 200ms".'
        )
    return bounds[0]


def _source(raw: t.Any, option: str) -> Source:
    if isinstance(raw, Mapping) and "incidents" in raw:
        _known(raw, _INCIDENT_KEYS, option, "source of incidents")
        _among(raw["incidents"], INCIDENTS, f"{option}.incidents")
        return Source(
            _among(raw.get("statistic", "mean"), OF_INCIDENTS, f"{option}.statistic"), incidents=raw["incidents"]
        )
    _known(raw, _SOURCE_KEYS, option, "source")
    if not isinstance(raw.get("stage"), str) or not raw["stage"]:
        raise InputError(f"{option}.stage", raw.get("stage"), "is no stage", "Name the stage, such as health.")
    if ("metric" in raw) == ("status" in raw):
        raise InputError(option, dict(raw), "has not exactly one of metric and status", "Give one of the two.")
    if "status" in raw:
        good = _texts(raw["status"], f"{option}.status")
        for each in good:
            _among(each, STATUSES, f"{option}.status")
        statistic = _among(raw.get("statistic", "time"), OF_STATUS, f"{option}.statistic")
    else:
        good = ()
        statistic = _among(raw.get("statistic", "mean"), OF_METRIC, f"{option}.statistic")
    return Source(
        statistic, raw["stage"], _texts(raw.get("subject", "*"), f"{option}.subject"),
        _texts(raw["metric"], f"{option}.metric") if "metric" in raw else (), frozenset(good), "",
        _number(raw.get("scale", 1), f"{option}.scale"), _number(raw.get("offset", 0), f"{option}.offset"),
        units.duration(raw["per"], f"{option}.per") if "per" in raw else 0.0,
        _texts(raw["over"], f"{option}.over")[0] if "over" in raw else "",
    )  # fmt: skip


def _known(raw: t.Any, keys: Sequence[str], option: str, what: str) -> None:
    if not isinstance(raw, Mapping):
        raise InputError(option, raw, f"is no {what}", "Write it as a dictionary.")
    strange = sorted(str(key) for key in raw if key not in keys)
    if strange:
        raise InputError(option, strange[0], f"is no option of a {what}", f"Use some of {', '.join(keys)}.")


def _among(value: t.Any, choices: Sequence[str], option: str) -> str:
    if value not in choices:
        raise InputError(option, value, "is not known", f"Use one of {', '.join(choices)}.")
    return str(value)


def _texts(raw: t.Any, option: str) -> tuple[str, ...]:
    texts = (raw,) if isinstance(raw, str) else raw
    if not isinstance(texts, (list, tuple)) or not texts or not all(isinstance(each, str) and each for each in texts):
        raise InputError(option, raw, "is no text and no list of texts", "Write it as 'http:*' or ['http:api', …].")
    return tuple(map(str, texts))


def _number(raw: t.Any, option: str) -> float:
    if isinstance(raw, bool) or not isinstance(raw, (int, float)):
        raise InputError(option, raw, "is no number", "Write a number, such as 100.")
    return float(raw)
