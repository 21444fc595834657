# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report as Markdown and as tables for spreadsheets (R1, R2, R3): whole, bounded, nothing of hosts believed."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome
from ansible_collections.sre.runbooks.plugins.plugin_utils.markdown import LIMIT, render_markdown, text
from ansible_collections.sre.runbooks.plugins.plugin_utils.model import from_run
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import HostAnswer, Run
from ansible_collections.sre.runbooks.plugins.plugin_utils.spreadsheet import tables

DOCUMENTS = Path(__file__).parents[1] / "report_documents"


def period(name="weekly"):
    return json.loads((DOCUMENTS / f"{name}.json").read_text("utf-8"))


def one(*outcomes):
    started = "2026-11-21T09:00:00Z"
    hosts = [HostAnswer("a.example.org", "F11", True, list(outcomes))]
    return from_run(Run("20261121T090000Z-abcdef", "daily", started, started, False, "0.1.0", ["health"], hosts))


def rendered(document):
    return MarkdownIt("commonmark").enable("table").render("".join(render_markdown(document)))


def rows(document, section):
    lines = dict(tables(document))[section]
    content = "".join(lines)
    assert content.startswith("\ufeff")
    assert content.count("\r\n") == content.count("\n")
    return list(csv.DictReader(io.StringIO(content.removeprefix("\ufeff"), newline="")))


def test_markdown_tells_a_period_from_what_matters_most():
    page = rendered(period())
    wanted = [
        "<h1>🔴 weekly: critical</h1>",
        "3 of 4 hosts answered",
        "<h2>KPIs</h2>",
        "<td>overspent</td>",
        "<h2>Issues</h2>",
        "<td>came back, 3 runs</td>",
        "<h2>Action items</h2>",
        "<h2>Capacity</h2>",
        "<td>2026-12-10, in 20 days</td>",
        "<h2>Incidents</h2>",
        "<h2>Trends</h2>",
        "<h2>What comes next</h2>",
    ]
    places = [page.index(each) for each in wanted]
    assert places == sorted(places)


def test_markdown_of_a_run_without_a_period_has_its_findings():
    page = rendered(one(outcome("disk:/", "health", "warning", "used 88 %"), outcome("cpu", "health", "ok", "fine")))
    assert "<td>disk:/: used 88 %</td>" in page
    assert "fine" not in page


@pytest.mark.parametrize(
    "said",
    [
        "<b>bold</b>",
        "<!-- away",
        "&lt;b&gt;",
        "[here](http://evil.example)",
        "![](http://evil.example/x)",
        "`code`",
        "**bold**",
        "_soft_",
        "~~gone~~",
        "a | b | c",
        "back\\slash",
        "# heading",
        "- item",
        "> quote",
        "1. one",
        "12) twelve",
        "+ plus",
        "```",
    ],
)
def test_what_hosts_say_stays_text_in_markdown(said):
    # Read from the page as a person sees it: the same words, in one cell, without a tag of their own.
    document = one(outcome("s", "health", "critical", said))
    document["summary"] = [said]
    page = rendered(document)
    seen = page.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").replace("\u2060", "")
    assert f"<td>s: {said}</td>" in seen
    assert f"<li>{said}</li>" in seen
    assert page.count("<h1>") == 1
    assert not {"<b>", "<a ", "<img", "<code>bold", "<strong>", "<em>", "<blockquote>", "<ol>"} & set(page.split())


def test_nobody_is_mentioned_and_no_address_or_ticket_is_made():
    assert text("@channel ops@example.org http://evil.example www.evil.example #12") == (
        "@\u2060channel ops@\u2060example.org http:\u2060//evil.example www.\u2060evil.example #\u206012"
    )
    assert text("a\x1b[2J\r\nb\u202ec") == "a \\[2J b c"


def test_markdown_fits_into_a_ticket():
    document = one(*(outcome(f"check:{number}", "health", "warning", "x" * 5000) for number in range(500)))
    assert "And 480 more." in "".join(render_markdown(document))
    worst = period()
    for name in ("kpis", "issues", "actions", "trends", "plan"):
        worst[name] = [dict(worst[name][0], why="y" * 900, what="z" * 900, title="t" * 900, summary="s" * 900)] * 99
    content = "".join(render_markdown(worst))
    assert len(content) <= LIMIT + 100
    assert "the report's page has it" in content


def test_each_section_is_a_table_of_its_own():
    document = period()
    assert [name for name, _lines in tables(document)] == [
        "outcomes",
        "recovery",
        "kpis",
        "trends",
        "issues",
        "capacity",
        "incidents",
        "actions",
        "costs",
    ]
    assert len(rows(document, "kpis")) == len(document["kpis"])
    first = rows(document, "actions")[0]
    assert (first["priority"], first["host"], first["due"]) == ("1", "gho-old1.example.org", "")
    assert rows(document, "kpis")[0]["met"] == "yes"
    metrics = [row for row in rows(document, "outcomes") if row["subject"] == "disk:/"]
    assert [(row["metric"], row["value"]) for row in metrics] == [
        ("used_percent", "88.1"),
        ("free_bytes", "5153960755"),
    ]
    # What has no metric is there too.
    assert [row["metric"] for row in rows(document, "outcomes") if row["stage"] == "roll_call"] == [""]
    assert [name for name, _lines in tables(one())] == ["outcomes", "recovery"]


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", " =", "\t=", "\r\n=", "\uff1d", "'=", '"='])
def test_what_hosts_say_is_no_formula(begin):
    formula = f'{begin}HYPERLINK("http://evil.example","x")'
    document = one(outcome(formula, "health", "critical", f"fine;{formula}", metrics={"used": -5.5}))
    (row,) = rows(document, "outcomes")
    assert row["subject"].startswith("'")
    assert ";'" in row["summary"]
    assert (row["metric"], row["value"]) == ("used", "-5.5")


def test_a_cell_keeps_its_words_and_no_line_breaks():
    (row,) = rows(one(outcome("a,b", "health", "ok", 'say "hi"\nthere \x00;-)')), "outcomes")
    assert (row["subject"], row["summary"]) == ("a,b", 'say "hi" there  ;\'-)')
