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

_PREFIX = "sre_runbooks_"
# A metric's name may come from the user (`values` of an http check); these two are the collection's own.
_OWN = ("status", "last_run_timestamp_seconds")


def render(stage: str, outcomes: t.Sequence[t.Mapping[str, t.Any]], now: float) -> str:
    """The metrics of one stage. The status is the rank in `STATUSES` (0 is ok, 4 is critical).

    A series stands once, for node_exporter refuses a file in which one stands twice.
    """
    samples: dict[str, dict[str, str]] = {
        f"{_PREFIX}last_run_timestamp_seconds": {f'{{stage="{stage}"}}': f"{now:.3f}"}
    }
    for each in outcomes:
        labels = f'{{stage="{_escape(each["stage"])}",subject="{_escape(each["subject"])}"}}'
        samples.setdefault(f"{_PREFIX}status", {})[labels] = str(STATUSES.index(each["status"]))
        for name, value in each["metrics"].items():
            samples.setdefault(_metric(name), {})[labels] = f"{float(value):.17g}"
    lines = []
    for metric, values in sorted(samples.items()):
        lines.append(f"# TYPE {metric} gauge")
        lines.extend(f"{metric}{labels} {value}" for labels, value in values.items())
    return "\n".join(lines) + "\n"


def _metric(name: str) -> str:
    return _PREFIX + re.sub(r"[^a-zA-Z0-9_]", "_", f"{name}_value" if name in _OWN else name)


def write(textfile_dir: str, stage: str, outcomes: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    """Replace the file of `stage`; node_exporter runs as another user, so all may read it."""
    if not os.path.isdir(textfile_dir):
        raise InputError(
            "textfile_dir", textfile_dir, "is no folder", "Name node_exporter's textfile folder, or leave it out."
        )
    path = os.path.join(textfile_dir, f"sre_runbooks_{stage}.prom")
    files.write(path, render(stage, outcomes, time.time()).encode("utf-8", "replace"), mode=0o644)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
