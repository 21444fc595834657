# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The charts of the report's pages: SVG that pygal lays out, coloured by the page's own style sheet.

pygal's scripts, style sheets and fonts are left out: the page runs nothing and requests nothing, is light or dark with
its reader's screen, and each chart is some kB. The strips and sparks of rows are no charts of pygal's (see page.py):
a report has thousands of them, and each of pygal's takes some milliseconds.
"""

from __future__ import annotations

import datetime
import re
import typing as t
from collections.abc import Callable, Mapping, Sequence

import markupsafe

try:
    import pygal
    from pygal.etree import etree
    from pygal.style import Style
except ImportError as error:
    PYGAL_MISSING: ImportError | None = error
else:
    PYGAL_MISSING = None

WIDTH, HEIGHT = 340, 130
"""Pixels at which a chart's letters have the size of the page's small letters."""

POINTS = 90
"""More points than this are thinned out: nobody sees more in so many pixels."""

_FONT_SIZE = 11
_LONG_NUMBER = re.compile(r"-?[0-9]+\.[0-9]+")
_TAGS = ("defs", "desc", "title", "script", "style")
_CLASSES = {"background", "tooltip", "text-overlay", "titles"}
"""What of pygal's drawings the pages have no use for."""

DAY: t.Final = datetime.timedelta(days=1)
Points = Sequence[tuple[datetime.datetime, float]]


def line(
    points: Points, show: Callable[[float], str], label: str, target: float | None = None, ahead: Points = ()
) -> markupsafe.Markup:
    """Return the line of `points` over time, with the line of `target` and, dashed, what lies `ahead`.

    `show` writes a value as a person reads it; `label` says in words what the chart shows. Empty without pygal, and for
    fewer than two points.
    """
    if PYGAL_MISSING is not None or len(points) < 2:
        return markupsafe.Markup()
    points = _thinned(points)
    ahead = [points[-1], *ahead] if ahead else []
    everything = [*points, *ahead]
    values = [value for _moment, value in everything] + ([] if target is None else [target])
    chart = pygal.DateTimeLine(
        **_settings(), show_dots=len(points) <= 31, dots_size=2, range=_range(values), include_x_axis=False
    )
    first, last = everything[0][0], everything[-1][0]
    chart.x_labels = _moments(first, last)
    chart.x_value_formatter = lambda moment: f"{moment:%d %b}" if last - first >= DAY else f"{moment:%H:%M}"
    chart.y_labels = _scale(values)
    chart.value_formatter = show
    chart.add("history", list(points))
    if ahead:
        chart.add("ahead", ahead, show_dots=False)
    if target is not None:
        chart.add("target", [(first, target), (last, target)], show_dots=False)
    names = [f"{moment:%Y-%m-%d %H:%M}: {show(value)}" for moment, value in points]
    return _markup(
        chart, label, ["history", *(["ahead"] if ahead else []), *(["target"] if target is not None else [])], names
    )


def columns(runs: Sequence[Mapping[str, t.Any]], kinds: Sequence[str], label: str) -> markupsafe.Markup:
    """Return a column for each of `runs`, made of its numbers of `kinds`, the first at the bottom.

    A run has `started` (ISO 8601) and a number for each kind.
    """
    if PYGAL_MISSING is not None or len(runs) < 2:
        return markupsafe.Markup()
    chart = pygal.StackedBar(**_settings(), spacing=1)
    days = [str(run["started"])[:10] for run in runs]
    chart.x_labels = days
    chart.x_labels_major = [days[0], days[-1]]
    highest = max(sum(run[kind] for kind in kinds) for run in runs)
    chart.y_labels = [0, max(1, highest)] if highest < 4 else [0, highest // 2, highest]
    chart.show_minor_x_labels = False
    chart.value_formatter = lambda number: f"{number:.0f}"
    for kind in kinds:
        chart.add(kind, [run[kind] for run in runs])
    names = [f"{day}: {run[kind]} {kind}" for kind in kinds for day, run in zip(days, runs, strict=True)]
    return _markup(chart, label, list(kinds), names)


def _settings() -> dict[str, t.Any]:
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "margin": 4,
        "margin_right": 14,
        "show_legend": False,
        "truncate_label": -1,
        "js": [],
        "css": [],
        "no_prefix": True,
        "style": Style(label_font_size=_FONT_SIZE, major_label_font_size=_FONT_SIZE, font_family="sans-serif"),
    }


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the scale: a line that never moves lies in the middle, no line on the edge."""
    low, high = min(values), max(values)
    room = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    return (max(0.0, low - room) if low >= 0 else low - room), high + room


def _scale(values: Sequence[float]) -> list[float]:
    """Return what is written at the scale: the lowest and the highest value, and the middle where they differ."""
    low, high = min(values), max(values)
    return [low] if low == high else [low, (low + high) / 2, high]


def _moments(first: datetime.datetime, last: datetime.datetime) -> list[datetime.datetime]:
    return [first, first + (last - first) / 2, last]


def _thinned(points: Points) -> Points:
    """Return at most POINTS of `points`, evenly chosen, the last one always."""
    step = -(-len(points) // POINTS)
    return list(reversed(list(reversed(points))[::step]))


def _markup(chart: t.Any, label: str, series: Sequence[str], names: Sequence[str]) -> markupsafe.Markup:
    """Return what of pygal's SVG is a drawing: no scripts, styles, comments; the series by name, the points told by titles."""
    root = chart.render_tree()
    for parent in list(root.iter()):
        for child in list(parent):
            if not isinstance(child.tag, str) or _tag(child) in _TAGS or _CLASSES & set(child.get("class", "").split()):
                parent.remove(child)
    waiting = iter(names)
    for each in root.iter():
        words = each.get("class", "").split()
        if "series" in words:
            number = next(int(word[6:]) for word in words if word.startswith("serie-"))
            each.set("class", f"series {series[number]}")
        elif words[-1:] == ["dots"] or "bar" in words:
            etree.SubElement(each, "title").text = next(waiting, "")
        elif "reactive" in words or not words:
            each.attrib.pop("class", None)
        _shorten(each)
    for name in ("id", "xmlns"):
        root.attrib.pop(name, None)
    root.set("class", "chart")
    root.set("role", "img")
    root.set("aria-label", label)
    # Made of elements, whose text is escaped.
    return markupsafe.Markup(etree.tostring(root, encoding="unicode"))  # noqa: S704


def _shorten(element: t.Any) -> None:
    """Round the coordinates of `element`: a tenth of a pixel is as exact as a screen."""
    for name in ("d", "x", "y", "cx", "cy", "r", "width", "height", "transform"):
        if name in element.attrib:
            element.set(name, _LONG_NUMBER.sub(_rounded, element.get(name)))


def _rounded(found: re.Match[str]) -> str:
    return f"{float(found[0]):.1f}".removesuffix(".0")


def _tag(element: t.Any) -> str:
    return str(element.tag).rpartition("}")[2]
