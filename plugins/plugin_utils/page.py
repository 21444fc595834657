# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report as one HTML page that needs nothing else: no script, no request, everything from hosts escaped."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator, Sequence
from pathlib import Path

import jinja2

from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import STATUSES
from ansible_collections.sre.runbooks.plugins.plugin_utils.model import Document, hosts_of
from ansible_collections.sre.runbooks.plugins.plugin_utils.table import age

TEMPLATE = "report.html.j2"
SPARK_WIDTH, SPARK_HEIGHT = 120, 28
_BAR_HEIGHTS = {"ok": 7, "skipped": 7, "unknown": 13, "warning": 18, "critical": 24}
"""The strip's bars: height says what the colour says, for who cannot tell the colours apart."""


def render_page(document: Document) -> Iterator[str]:
    """Yield the page in parts, so that the whole of it never stands in memory."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    stream = environment.get_template(TEMPLATE).stream(
        document=document,
        attention=_attention(document),
        statuses=list(reversed(STATUSES)),
        bar_heights=_BAR_HEIGHTS,
        spark=spark,
        figure=figure,
        moment=moment,
        duration=duration,
        age=lambda since: age(since, document["run"]["started"]),
    )
    stream.enable_buffering(200)
    yield from stream


def _attention(document: Document) -> list[Document]:
    """Every bad outcome of the run with its system and host, the worst first, the new before the old."""
    rows = [
        {**each, "system": system["name"], "host": host["name"]}
        for system, host in hosts_of(document)
        for each in host["outcomes"]
        if each["status"] not in ("ok", "skipped")
    ]
    return sorted(rows, key=lambda row: (-STATUSES.index(row["status"]), not row["new"]))


def spark(points: Sequence[Document]) -> Document:
    """Return the line of a metric's history in a box of SPARK_WIDTH by SPARK_HEIGHT: its points, its last point, its range."""
    values = [float(point["value"]) for point in points]
    low, high = min(values), max(values)
    spread = (high - low) or 1.0
    step = (SPARK_WIDTH - 6) / max(1, len(values) - 1)
    middle = high == low
    places = [
        (3 + number * step, SPARK_HEIGHT / 2 if middle else 3 + (high - value) / spread * (SPARK_HEIGHT - 6))
        for number, value in enumerate(values)
    ]
    return {
        "width": SPARK_WIDTH,
        "height": SPARK_HEIGHT,
        "line": " ".join(f"{x:.1f},{y:.1f}" for x, y in places),
        "x": f"{places[-1][0]:.1f}",
        "y": f"{places[-1][1]:.1f}",
        "low": low,
        "high": high,
        "last": values[-1],
    }


def figure(metric: str, value: float) -> str:
    """Return `value` as a person reads it; the unit is the suffix of the metric's name, as in Prometheus."""
    if metric.endswith("_bytes"):
        for unit in ("B", "KiB", "MiB", "GiB"):
            if abs(value) < 1024:
                return f"{value:.3g} {unit}" if abs(value) < 1000 else f"{value:.0f} {unit}"
            value /= 1024
        return f"{value:.3g} TiB" if abs(value) < 1000 else f"{value:.0f} TiB"
    if metric.endswith("_seconds"):
        return duration(value)
    text = f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"
    return f"{text} %" if metric.endswith("_percent") else text


def duration(seconds: float) -> str:
    """Return `seconds` in the unit that makes a small number of it."""
    if abs(seconds) < 1:
        return f"{seconds * 1000:.3g} ms"
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def moment(text: t.Any) -> str:
    """Return an ISO time as date and time to the minute, UTC; anything else as it is."""
    value = str(text)
    return f"{value[:10]} {value[11:16]}" if len(value) == 20 and value[10] == "T" and value.endswith("Z") else value
