# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A folder of reports as users have it, and a real browser that looks at it: Debian's Chromium, one for all tests."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import importlib.resources
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome
from ansible_collections.sre.runbooks.plugins.plugin_utils import output
from ansible_collections.sre.runbooks.plugins.plugin_utils.history import History
from ansible_collections.sre.runbooks.plugins.plugin_utils.model import from_history, from_run
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import HostAnswer, Run

DOCUMENTS = Path(__file__).parents[2] / "unit" / "report_documents"
PHONE, DESK = (375, 812), (1440, 900)
HOSTILE = "</b></style><script>window.taken=1</script><img src=x onerror='window.taken=2'>{{ 7*7 }}"
LONG = "a" * 500
RIGHT_TO_LEFT = "القرص ممتلئ \u202eevil\u202d 🔥👩‍💻"
HOSTS = 1000
ALL_RULES = "runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']"

# Element by element: what is wider than the screen, unless it is there for screen readers alone.
OVERFLOW = """() => [...document.querySelectorAll('body *')].filter(each => {
  const box = each.getBoundingClientRect();
  if (!box.width || !box.height || each.closest('.hidden, .skip, thead, fieldset input')) return false;
  return box.right > document.documentElement.clientWidth + 0.5 || box.left < -0.5;
}).map(each => each.tagName + '.' + each.getAttribute('class') + ' ' + each.textContent.slice(0, 60))"""

# axe knows no text in SVG: letters need 4.5, marks 3 against the first background behind them.
CHARTS = """() => {
  const channel = part => { part /= 255; return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4; };
  const light = parts => 0.2126 * channel(parts[0]) + 0.7152 * channel(parts[1]) + 0.0722 * channel(parts[2]);
  const colour = text => text.match(/[0-9.]+/g).map(Number);
  const behind = each => {
    for (; each; each = each.parentElement) {
      const found = colour(getComputedStyle(each).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found;
    }
  };
  return [...document.querySelectorAll('svg text, svg rect:not(.background), svg polyline, svg circle, svg .series path')]
    .map(each => {
      const style = getComputedStyle(each), back = behind(each.closest('svg').parentElement);
      const paint = style.fill === 'none' ? style.stroke : style.fill;
      const own = colour(paint).slice(0, 3).map((part, at) => part * style.opacity + back[at] * (1 - style.opacity));
      const [low, high] = [light(own), light(back)].sort((a, b) => a - b);
      return [each.tagName + ' ' + each.getAttribute('class') + ' ' + paint, (high + 0.05) / (low + 0.05)];
    })
    .filter(([name, ratio]) => ratio < (name.startsWith('text') ? 4.5 : 3));
}"""


Scheme = Literal["light", "dark"]


@dataclasses.dataclass
class Seen:
    """A page in a tab, with what the browser said about it and asked for."""

    page: Page
    complaints: list[str] = dataclasses.field(default_factory=list)
    requests: list[str] = dataclasses.field(default_factory=list)

    def overflowing(self) -> list[str]:
        width: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return [*self.page.evaluate(OVERFLOW), *([f"the page, by {width} pixels"] if width > 0 else [])]

    def faint(self) -> list[str]:
        """Return letters and marks of charts that stand out too little from what is behind them."""
        return [str(each) for each in self.page.evaluate(CHARTS)]

    def violations(self, rules: str = ALL_RULES) -> list[str]:
        """Return the rules of accessibility that the page breaks, each with the first element that does."""
        self.page.evaluate(importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8"))
        found: dict[str, Any] = self.page.evaluate(f"() => axe.run(document, {{resultTypes: ['violations'], {rules}}})")
        return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found["violations"]]


class Looker:
    """Opens pages of a folder in a browser, in a window that is kept for each look."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self.browser, self.folder = browser, folder
        self.windows: dict[tuple[tuple[int, int], str], BrowserContext] = {}

    @contextlib.contextmanager
    def at(self, name: str, size: tuple[int, int] = DESK, scheme: Scheme = "light") -> Iterator[Seen]:
        if (size, scheme) not in self.windows:
            self.windows[size, scheme] = self.browser.new_context(
                viewport={"width": size[0], "height": size[1]}, color_scheme=scheme
            )
        seen = Seen(self.windows[size, scheme].new_page())
        seen.page.on("console", lambda message: seen.complaints.append(message.text))
        seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        seen.page.on("request", lambda request: seen.requests.append(request.url))
        try:
            seen.page.goto((self.folder / name).as_uri())
            yield seen
        finally:
            seen.page.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("the program chromium is missing: install the package chromium")
    # Chromium's own sandbox refuses root; the pages are this folder's.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reports of five runs that the history holds: weekly, monthly, two daily, and one of hostile words."""
    root = tmp_path_factory.mktemp("pages")
    history = History(f"sqlite:///{root}/history.db")
    documents = [json.loads((DOCUMENTS / f"{name}.json").read_text("utf-8")) for name in ("weekly", "monthly")]
    # One id would be the same run; in the history they are rows of the index.
    documents[1]["run"]["id"] = "20261120T160000Z-3f2a9d"
    for document in documents:
        run = document["run"]
        hosts = [
            HostAnswer(host["name"], system["name"], host["answered"], host["outcomes"])
            for system in document["systems"]
            for host in system["hosts"]
        ]
        history.record(
            Run(run["id"], run["playbook"], run["started"], run["finished"], False, "0.1.0", run["stages"], hosts)
        )
    for day in (19, 20):
        history.record(daily(day))
    documents += [from_history(history, history.find("", "daily")), hostile(documents[0])]
    for document in documents:
        output.write_reports(
            document, str(root / "reports"), ["html", "json", "markdown", "csv"], runs=lambda: history.newest(100)
        )
    return root / "reports"


@pytest.fixture(scope="session")
def looker(browser: Browser, folder: Path) -> Looker:
    return Looker(browser, folder)


@pytest.fixture(scope="session")
def fleet(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Looker:
    """The pages of a thousand hosts, of which every tenth has a finding."""
    folder = tmp_path_factory.mktemp("fleet")
    hosts = [
        HostAnswer(
            f"host{number:04}.example.org",
            ("F11", "MCP", "ABS", "GHO")[number % 4],
            True,
            [
                outcome(f"check:{check}", "health", "warning" if (number + check) % 200 == 0 else "ok", "used 61 %")
                for check in range(20)
            ],
        )
        for number in range(HOSTS)
    ]
    output.write_reports(from_run(_run(21, "daily", hosts)), str(folder), ["html"])
    return Looker(browser, folder)


def daily(day: int) -> Run:
    """A day's run: a disk that fills, a host that does not answer, and on the first day a database without a copy."""
    hosts = [
        HostAnswer(
            "abs-app1.example.org",
            "ABS",
            True,
            [
                outcome("disk:/", "health", "warning", f"used {70 + day} %", metrics={"used_percent": 70 + day}),
                outcome("cpu", "health", "ok", "12 % used", metrics={"cpu_percent": 12.0}),
                outcome("postgresql:abs", "backup", "ok" if day > 19 else "critical", "141.2 MiB in 5.4 s"),
            ],
        ),
        HostAnswer(
            "mcp-db1.example.org", "MCP", False, [outcome("host", "roll_call", "critical", "unreachable: refused")]
        ),
        HostAnswer("mcp-app1.example.org", "MCP", True, [outcome("cpu", "health", "ok", "4 % used")]),
    ]
    return _run(day, "daily", hosts)


def _run(day: int, playbook: str, hosts: list[HostAnswer]) -> Run:
    started, finished = f"2026-11-{day}T09:00:00Z", f"2026-11-{day}T09:01:23Z"
    return Run(f"202611{day}T090000Z-abcdef", playbook, started, finished, False, "0.1.0", ["health", "backup"], hosts)


def hostile(document: dict[str, Any]) -> dict[str, Any]:
    """A document in which whatever hosts and inventories say is markup, far too long, or from right to left."""
    fixed = {"status", "unit", "direction", "state", "started", "since", "schema", "target", "playbook", "severity"}
    words = [HOSTILE, LONG, RIGHT_TO_LEFT]

    def worse(value: Any, name: str, number: int) -> Any:
        if isinstance(value, dict):
            return {key: worse(each, key, number) for key, each in value.items()}
        if isinstance(value, list):
            return [worse(each, name, number + at) for at, each in enumerate(value)]
        if not isinstance(value, str) or name in fixed:
            return value
        return f"{value} {words[number % 3]}"

    result: dict[str, Any] = copy.deepcopy(document)
    for name in ("systems", "kpis", "trends", "issues", "capacity", "incidents", "actions", "plan", "summary"):
        result[name] = worse(result[name], name, 0)
    for name in ("recommendations", "achievements", "costs", "resolved", "notifications", "roll_call"):
        result[name] = worse(result[name], name, 1)
    # Dates are a program's.
    for entry, true in zip(result["capacity"], document["capacity"], strict=True):
        entry["runs_out"] = true["runs_out"]
    result["run"].update(id="20261120T170000Z-3f2a9e", playbook="hostile")
    return result
