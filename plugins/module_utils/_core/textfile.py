# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Metrics for node_exporter's textfile collector, in Prometheus' text format 0.0.4."""

from __future__ import annotations

import os
import re
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import files
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import STATUSES


def render(stage: str, outcomes: t.Sequence[t.Mapping[str, t.Any]], now: float) -> str:
    """The metrics of one stage. The status is the rank in `STATUSES` (0 is ok, 4 is critical)."""
    samples: dict[str, list[str]] = {"sre_runbooks_last_run_timestamp_seconds": [f'{{stage="{stage}"}} {now:.3f}']}
    for each in outcomes:
        labels = f'{{stage="{_escape(each["stage"])}",subject="{_escape(each["subject"])}"}}'
        samples.setdefault("sre_runbooks_status", []).append(f"{labels} {STATUSES.index(each['status'])}")
        for name, value in each["metrics"].items():
            metric = "sre_runbooks_" + re.sub(r"[^a-zA-Z0-9_]", "_", name)
            samples.setdefault(metric, []).append(f"{labels} {float(value):.17g}")
    lines = []
    for metric, values in sorted(samples.items()):
        lines.append(f"# TYPE {metric} gauge")
        lines.extend(f"{metric}{value}" for value in values)
    return "\n".join(lines) + "\n"


def write(textfile_dir: str, stage: str, outcomes: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    """Replace the file of `stage`; node_exporter runs as another user, so all may read it."""
    if not os.path.isdir(textfile_dir):
        raise InputError(
            "textfile_dir", textfile_dir, "is no folder", "Name node_exporter's textfile folder, or leave it out."
        )
    path = os.path.join(textfile_dir, f"sre_runbooks_{stage}.prom")
    files.write(path, render(stage, outcomes, time.time()).encode(), mode=0o644)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
