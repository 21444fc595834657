# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report's pages in a real browser: R1, R2, R3, R5."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import expect

COLOURS = "runOnly: {type: 'rule', values: ['color-contrast', 'link-in-text-block']}"
PHONE, DESK = (375, 812), (1440, 900)
WEEKLY, MONTHLY = "weekly_20261120T150000Z-3f2a9c", "monthly_20261120T160000Z-3f2a9d"
DAILY, HOSTILE = "daily_20261120T090000Z-abcdef", "hostile_20261120T170000Z-3f2a9e"
PAGES = [
    "index.html",
    *(f"{stem}{view}.html" for stem in (DAILY, WEEKLY, MONTHLY, HOSTILE) for view in ("", "_executive")),
]
LOOKS = [(PHONE, "light"), (PHONE, "dark"), (DESK, "light"), (DESK, "dark")]
OPEN_ALL = "document.querySelectorAll('details').forEach(each => each.open = true)"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_phone_and_desk_and_is_readable_in_light_and_dark(name, looker):
    for size, scheme in LOOKS:
        with looker.at(name, size, scheme) as seen:
            seen.page.evaluate(OPEN_ALL)
            assert seen.overflowing() == []
            # What is not of colours is asked once of each page.
            if (size, scheme) == (PHONE, "dark"):
                assert seen.violations() == []
            if (size, scheme) == (DESK, "light"):
                assert seen.violations(COLOURS) == []
            assert seen.faint() == []
            assert seen.page.evaluate("window.taken") is None
            assert seen.complaints == []
            assert seen.requests == [(looker.folder / name).as_uri()]


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name, looker):
    with looker.at(name) as seen:
        links = seen.page.eval_on_selector_all("a", "all => all.map(each => each.href)")
        anchors = set(seen.page.eval_on_selector_all("[id]", "all => all.map(each => each.id)"))
    assert len(links) > 4
    for link in links:
        parts = urlsplit(link)
        path = Path(unquote(parts.path))
        assert parts.scheme == "file"
        assert path.parent == looker.folder
        assert path.is_file(), link
        if parts.fragment:
            assert (path.name, parts.fragment in anchors) == (name, True), link


def test_the_views_and_the_index_lead_to_one_another(looker):
    with looker.at("index.html", PHONE) as seen:
        page = seen.page
        page.get_by_role("link", name="technical of weekly, the latest").click()
        # A click waits for the new page to begin, not for its title to be read.
        expect(page).to_have_title(re.compile("^CRITICAL: weekly"))
        page.get_by_role("link", name="Executive view").click()
        assert page.get_by_role("heading", level=1).inner_text().split() == ["Weekly", "report", "critical"]
        page.get_by_role("link", name="Technical view").click()
        page.get_by_role("link", name="All reports").click()
        expect(page).to_have_title("Reports of sre.runbooks")


def test_the_index_has_the_newest_first_and_filters_by_playbook_and_status(looker):
    with looker.at("index.html") as seen:
        rows = seen.page.locator("#runs tbody tr")
        assert [text.split()[0] for text in rows.all_inner_texts()] == ["critical"] * 4
        assert rows.locator("time").all_inner_texts() == [
            "2026-11-20 09:00",
            "2026-11-19 09:00",
            "2026-11-20 15:00",
            "2026-11-20 15:00",
        ]
        # A run that has no files in this folder is told, without links.
        assert [each.locator("a").count() for each in rows.all()] == [5, 0, 5, 5]

        def shown() -> list[str]:
            return [row.locator("td").nth(1).inner_text() for row in rows.all() if row.is_visible()]

        assert shown() == ["daily", "daily", "monthly", "weekly"]
        seen.page.locator("label", has_text="weekly").click()
        assert shown() == ["weekly"]
        # By the keyboard: the choice is a group of radio buttons.
        seen.page.keyboard.press("ArrowUp")
        assert shown() == ["monthly"]
        seen.page.locator("label[for=playbook-0]").click()
        seen.page.locator("label", has_text="critical").click()
        assert shown() == ["daily", "daily", "monthly", "weekly"]


def test_a_finding_leads_to_its_host(looker):
    with looker.at(f"{WEEKLY}.html", PHONE) as seen:
        seen.page.locator("#attention a").first.click()
        host = seen.page.locator("details:target")
        assert host.locator("h3").inner_text() == "gho-api1.example.org"
        assert host.bounding_box()["y"] < PHONE[1]
        host.locator("summary").click()
        assert host.get_by_text("141.2 MiB in 5.4 s").is_visible()


def test_charts_are_told_in_words_and_their_points_by_date(looker):
    with looker.at(f"{MONTHLY}_executive.html") as seen:
        charts = seen.page.locator("svg.chart")
        assert charts.count() >= 6
        for chart in charts.all():
            assert chart.get_attribute("role") == "img"
            assert len(chart.get_attribute("aria-label")) > 20
        titles = charts.first.locator("title").all_text_contents()
        assert titles[0] == "2026-10-22 09:00: 100 %"
        # The line goes where the figures go: up on the screen is more.
        places = charts.first.locator("circle").evaluate_all("all => all.map(each => each.getBoundingClientRect().y)")
        assert places[0] < places[-1]


@pytest.mark.parametrize("name", [f"{WEEKLY}.html", f"{MONTHLY}_executive.html"])
def test_on_paper_everything_is_there_and_fits(name, looker):
    # A4 between the margins, at 96 dots an inch; a dark screen prints on white paper all the same.
    with looker.at(name, (703, 1000), "dark") as seen:
        seen.page.emulate_media(media="print", color_scheme="dark")
        assert seen.overflowing() == []
        assert not seen.page.locator("nav").first.is_visible()
        assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert seen.page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        for row in seen.page.locator("details tbody tr").all():
            assert row.bounding_box()["height"] > 8
        paper = seen.page.pdf(format="A4", prefer_css_page_size=True)
        assert paper.startswith(b"%PDF")
        assert 1 < paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page ") + paper.count(b"/Type /Page/") < 12


def test_what_hosts_say_is_shown_as_it_is(looker):
    with looker.at(f"{HOSTILE}.html") as seen:
        text = seen.page.locator("body").inner_text()
        assert "</b></style><script>window.taken=1</script><img src=x" in text
        assert "{{ 7*7 }}" in text
        assert "a" * 500 in text
        # Words from right to left, even with marks that turn what follows around, stay within their cell.
        cell = seen.page.locator("#attention .finding", has_text="القرص").first
        assert cell.locator("b").first.evaluate("each => getComputedStyle(each).unicodeBidi") == "isolate"


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_a_thousand_hosts_fit_and_none_is_left_out(size, fleet):
    name = "daily_20261121T090000Z-abcdef"
    with fleet.at(f"{name}.html", size) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") == size[0]
        assert seen.page.locator("details.host").count() == 1000
        assert seen.page.locator("#attention .finding").count() == 100
        assert seen.complaints == []
    with fleet.at(f"{name}_executive.html", size) as seen:
        assert seen.overflowing() == []
        assert seen.page.locator("#issues .finding").count() == 10
        assert seen.page.get_by_text("And 90 more in the technical view.").is_visible()
