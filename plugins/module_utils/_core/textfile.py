# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Metrics for node_exporter's textfile collector, in Prometheus' text format 0.0.4; their names are in docs/metrics.md."""

from __future__ import annotations

import os
import re
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import files
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import STATUSES

PREFIX = "sre_runbooks_"
# A metric's name may come from the user (`values` of an http check); these are the collection's own, whichever file they stand in.
_HELP = {
    "status": "Status of an outcome: 0 ok, 1 skipped, 2 unknown, 3 warning, 4 critical.",
    "last_run_timestamp_seconds": "When this stage last ended on this host.",
}
_CONTROLLER = ("run_", "incident_")
# To Prometheus these ends say that a metric is no gauge.
_KINDS = ("count", "sum", "bucket", "total")

Samples = dict[str, dict[str, str]]
"""Values as text, by labels as text, by metric."""


def render(stage: str, outcomes: t.Sequence[t.Mapping[str, t.Any]], now: float) -> str:
    """The metrics of one call of a module. The status is the rank in `STATUSES` (0 is ok, 4 is critical).

    A series stands once, for node_exporter refuses to give out two of a kind, be they in one file or in two: of two outcomes
    of a subject the worse one counts, and a call's outcomes of another stage than its own carry both names.
    """
    samples: Samples = {f"{PREFIX}last_run_timestamp_seconds": {labels(stage=stage): f"{now:.3f}"}}
    ranks: dict[str, int] = {}
    for each in outcomes:
        theirs = each["stage"] if each["stage"] == stage else f"{stage}_{each['stage']}"
        series = labels(stage=theirs, subject=each["subject"])
        ranks[series] = max(ranks.get(series, 0), STATUSES.index(each["status"]))
        for name, value in each["metrics"].items():
            samples.setdefault(_metric(name), {})[series] = number(value)
    if ranks:
        samples[f"{PREFIX}status"] = {series: str(rank) for series, rank in ranks.items()}
    return exposition(samples, {f"{PREFIX}{name}": text for name, text in _HELP.items()})


def exposition(samples: Samples, texts: t.Mapping[str, str]) -> str:
    """Return `samples` as a page of gauges; `texts` are the help by metric, which has to be the same in all files."""
    lines = []
    for metric, values in sorted(samples.items()):
        text = texts.get(metric) or f"Figure {metric[len(PREFIX) :]} of an outcome."
        lines += [f"# HELP {metric} {text}", f"# TYPE {metric} gauge"]
        lines.extend(f"{metric}{series} {value}" for series, value in values.items())
    return "\n".join(lines) + "\n"


def labels(**pairs: str) -> str:
    """Return `pairs` as the labels of a series."""
    inside = ",".join(f'{name}="{_escape(value)}"' for name, value in pairs.items())
    return f"{{{inside}}}"


def number(value: float) -> str:
    """Return `value` with all its digits."""
    return f"{float(value):.17g}"


def write(textfile_dir: str, stage: str, outcomes: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    """Replace the file of `stage`; node_exporter runs as another user, so all may read it."""
    publish(textfile_dir, f"{PREFIX}{stage}.prom", render(stage, outcomes, time.time()))


def publish(textfile_dir: str, name: str, text: str) -> None:
    """Replace the file `name`."""
    if not os.path.isdir(textfile_dir):
        raise InputError(
            "textfile_dir", textfile_dir, "is no folder", "Name node_exporter's textfile folder, or leave it out."
        )
    files.write(os.path.join(textfile_dir, name), text.encode("utf-8", "replace"), mode=0o644)


def _metric(name: str) -> str:
    own = name in _HELP or name.startswith(_CONTROLLER) or name.rpartition("_")[2] in _KINDS
    return PREFIX + re.sub(r"[^a-zA-Z0-9_]", "_", f"{name}_value" if own else name)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
