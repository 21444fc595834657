# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report's pages (R1, R2, R3, R5): charts, the two views, the index over all runs. The browser's word is in tests/integration/pages."""

from __future__ import annotations

import datetime
import html.parser
import itertools
import json
import stat
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome
from ansible_collections.sre.runbooks.plugins.plugin_utils import output, page, page_charts, page_figures
from ansible_collections.sre.runbooks.plugins.plugin_utils.history import History
from ansible_collections.sre.runbooks.plugins.plugin_utils.model import from_run
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import HostAnswer, Run

DOCUMENTS = Path(__file__).parents[1] / "report_documents"
START = datetime.datetime(2026, 11, 1, 9, tzinfo=datetime.UTC)
POINTS = [(START + datetime.timedelta(days=day), 80.0 + day) for day in range(20)]


def drawn(markup):
    """The chart's elements by class of their series."""
    root = ET.fromstring(str(markup))
    assert root.get("role") == "img"
    assert not {each.tag for each in root.iter()} & {"script", "style", "defs", "desc", "image", "a", "foreignObject"}
    # pygal draws a series' line first and its dots in a layer above all lines.
    groups = [each for each in root.iter("g") if each.get("class", "").startswith("series")]
    return root, {each.get("class"): each for each in reversed(groups)}


def test_a_line_has_its_points_its_target_and_what_lies_ahead():
    ahead = [(START + datetime.timedelta(days=40), 120.0)]
    chart = page_charts.line(POINTS, lambda value: f"{value:.0f} %", 'disk <b> "x"', 100.0, ahead)
    root, series = drawn(chart)
    assert root.get("aria-label") == 'disk <b> "x"'
    assert {"series history", "series ahead", "series target"} <= set(series)
    titles = [each.text for each in root.iter("title")]
    assert titles[0] == "2026-11-01 09:00: 80 %"
    assert len(titles) == len(POINTS)
    labels = [each.text for each in root.iter("text")]
    assert labels == ["80 %", "100 %", "120 %", "01 Nov", "21 Nov", "11 Dec"]
    assert len(chart) < 6000


def test_a_line_of_too_many_points_is_thinned_and_ends_where_it_ends():
    many = [(START + datetime.timedelta(hours=hour), float(hour)) for hour in range(1000)]
    _root, series = drawn(page_charts.line(many, str, "many"))
    path = next(series["series history"].iter("path")).get("d")
    assert 40 < path.count(" ") <= 2 * page_charts.POINTS
    assert page_charts._thinned(many)[-1] == many[-1]


@pytest.mark.parametrize("values", [[5.0] * 4, [0.0] * 4, [-3.0, -1.0], [1e18, 2e18], [1e-9, 2e-9]])
def test_a_line_of_any_values_is_drawn(values):
    points = [(START + datetime.timedelta(days=day), value) for day, value in enumerate(values)]
    root, _series = drawn(page_charts.line(points, "{:.3g}".format, "x"))
    assert len(list(root.iter("circle"))) == len(values)


def test_no_chart_of_one_point():
    assert page_charts.line(POINTS[:1], str, "x") == ""
    assert page_charts.columns([], ("critical",), "x") == ""


def test_columns_are_piled_up_in_their_order():
    runs = [{"started": f"2026-11-{day:02}T09:00:00Z", "critical": day, "warning": 1} for day in range(1, 6)]
    root, series = drawn(page_charts.columns(runs, ("critical", "warning"), "findings"))
    assert set(series) >= {"series critical", "series warning"}
    assert next(root.iter("title")).text == "2026-11-01: 1 critical"
    tops = [
        min(float(each.get("y")) for each in series[f"series {kind}"].iter("rect")) for kind in ("critical", "warning")
    ]
    assert tops[0] > tops[1]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (99.96, "percent", "99.96 %"),
        (100, "percent", "100 %"),
        (-2000.0, "percent", "-2,000 %"),
        (0.121, "seconds", "121 ms"),
        (0, "seconds", "0 s"),
        (12701, "seconds", "3.53 h"),
        (9448060123, "bytes", "8.8 GiB"),
        (1240, "per_minute", "1,240/min"),
        (0.43, "per_day", "0.43/day"),
        (None, "percent", "\N{EN DASH}"),
        (float("inf"), "bytes", "inf"),
    ],
)
def test_figures_are_shown_in_their_unit(value, unit, text):
    assert page_figures.show(value, unit) == text


@pytest.mark.parametrize(
    ("target", "unit", "text", "value"),
    [
        ("< 0.2", "seconds", "< 200 ms", 0.2),
        (">= 1", "per_day", ">= 1/day", 1.0),
        ("> 99.9", "percent", "> 99.9 %", 99.9),
        (None, "", "\N{EN DASH}", None),
        ("soon", "", "soon", None),
    ],
)
def test_targets_are_shown_in_the_unit_of_their_figure(target, unit, text, value):
    assert (page_figures.target(target, unit), page_figures.target_value(target)) == (text, value)


def test_no_time_of_a_host_is_longer_than_a_time():
    assert page_figures.moment("2026-11-21T09:00:59Z") == "2026-11-21 09:00"
    assert len(page_figures.moment("x" * 500)) == page_figures.LONGEST_MOMENT + 1


class Seen(html.parser.HTMLParser):
    """Headings with their level, and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[list] = []
        self.open = ""
        self.text = ""

    def handle_starttag(self, tag, _attributes):
        if tag in ("h1", "h2", "h3", "h4"):
            self.open = tag
            self.headings.append([int(tag[1]), ""])

    def handle_endtag(self, tag):
        if tag == self.open:
            self.open = ""

    def handle_data(self, data):
        self.text += data
        if self.open:
            self.headings[-1][1] += data


def seen(document, view):
    parser = Seen()
    parser.feed("".join(page.render_page(document, view)))
    return parser


def period(name):
    return json.loads((DOCUMENTS / f"{name}.json").read_text("utf-8"))


@pytest.mark.parametrize("name", ["weekly", "monthly"])
def test_the_views_have_their_sections_in_order(name):
    executive, technical = seen(period(name), "executive"), seen(period(name), "technical")
    titles = [text.split("  ")[0].strip() for level, text in executive.headings if level == 2]
    for wanted in (
        "Summary",
        "Systems",
        "KPIs",
        "Top issues",
        "Action items",
        "Achievements and improvements",
        "Capacity",
        "Incidents",
        "Recovery",
        "Budget",
        "What comes next",
    ):
        assert any(title.startswith(wanted) for title in titles), wanted
    # Hosts that are well are none of the executive's business; of a sick one its name and its trouble are.
    assert "141.2 MiB in 5.4 s" not in executive.text
    assert "141.2 MiB in 5.4 s" in technical.text
    for parser in (executive, technical):
        levels = [level for level, _text in parser.headings]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))


def test_a_budget_that_is_overspent_says_so():
    text = " ".join(seen(period("weekly"), "executive").text.split())
    assert "Error budget: overspent, 3.53 h of 10.1 min spent" in text
    assert "Error budget: 60 % left, 4.03 min of 10.1 min spent" in text


def test_without_pygal_the_pages_are_whole_and_say_what_is_missing(monkeypatch):
    # The package is missing where importing it failed; what follows is what users get then.
    monkeypatch.setattr(page_charts, "PYGAL_MISSING", ImportError("No module named 'pygal'"))
    page.environment.cache_clear()
    try:
        content = "".join(page.render_page(period("weekly"), "executive"))
    finally:
        page.environment.cache_clear()
    assert 'class="chart"' not in content
    assert "99.96 %" in content
    assert "the Python package pygal is missing on the controller" in content


def run(day, playbook="daily", status="ok"):
    started = f"2026-11-{day:02}T09:00:00Z"
    hosts = [HostAnswer("a", "F11", True, [outcome("cpu", "health", status, "said")])]
    return Run(f"202611{day:02}T090000Z-abcdef", playbook, started, started, False, "0.1.0", ["health"], hosts)


def test_the_index_is_written_with_every_report_and_bounded(tmp_path, monkeypatch):
    history = History(f"sqlite:///{tmp_path}/history.db")
    for day in range(1, 10):
        history.record(run(day, "a <b>& 'c'" if day == 9 else "daily"))
    folder = tmp_path / "reports"
    paths = output.write_reports(
        from_run(run(8)), str(folder), ["html", "csv"], ["executive"], lambda: history.newest(5)
    )
    assert sorted(paths) == ["csv", "csv_recovery", "executive", "index"]
    assert stat.S_IMODE(Path(paths["index"]).stat().st_mode) == 0o640
    content = Path(paths["index"]).read_text("utf-8")
    assert content.count("<tr class=") == 5
    assert "5 runs, the newest; 4 older are in the history alone" in content
    assert "<b>& 'c'" not in content
    assert content.index("2026-11-09") < content.index("2026-11-08")
    assert '<a href="daily_20261108T090000Z-abcdef_executive.html">executive' in content
    # The page leads to what was made, and to nothing else.
    links = [part.split('"')[0] for part in Path(paths["executive"]).read_text("utf-8").split('href="')[1:]]
    assert links == ["#main", "index.html", "daily_20261108T090000Z-abcdef_outcomes.csv"]


def test_no_index_without_pages(tmp_path):
    output.write_reports(from_run(run(8)), str(tmp_path), ["json"], runs=lambda: ([], 0))
    assert not (tmp_path / "index.html").exists()
