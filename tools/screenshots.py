# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the pictures of docs/report.md anew: the pages of the sample documents, as Chromium shows them."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".work" / "collections"))

from ansible_collections.sre.runbooks.plugins.plugin_utils.output import write_reports  # noqa: E402

DOCUMENTS = ROOT / "tests" / "unit" / "report_documents"
IMAGES = ROOT / "docs" / "images"
# Picture: page, width and height in pixels, colours.
PICTURES = {
    "report_executive": ("monthly_latest_executive.html", 1280, 1120, "light"),
    "report_technical": ("weekly_latest.html", 1280, 1120, "dark"),
    "report_phone": ("weekly_latest_executive.html", 375, 1120, "light"),
    "report_index": ("index.html", 1280, 760, "light"),
}


def reports(folder: Path) -> None:
    """Write the pages of the sample documents, and an index over them and the runs before them."""
    documents = [json.loads((DOCUMENTS / f"{name}.json").read_text("utf-8")) for name in ("weekly", "monthly")]
    runs: list[dict[str, Any]] = []
    for document in documents:
        run, calls = document["run"], document["roll_call"]
        common = {"playbook": run["playbook"], "hosts": calls["expected"], "answered": calls["answered"]}
        runs += [{**point, **common, "id": point["run"]} for point in document["history"][:-1]]
        runs.append({**common, **document["counts"], **run, "status": document["status"]})
    runs.sort(key=lambda run: str(run["started"]), reverse=True)
    for document in documents:
        write_reports(document, str(folder), ["html", "markdown", "json", "csv"], runs=lambda: (runs, len(runs)))


def main() -> int:
    """Write the pictures into docs/images/."""
    program = shutil.which("chromium")
    if program is None:
        print("The program chromium is missing: tools/packages installs it.", file=sys.stderr)
        return 1
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        reports(Path(name))
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        for picture, (page, width, height, colours) in PICTURES.items():
            window = browser.new_page(
                viewport={"width": width, "height": height}, color_scheme="dark" if colours == "dark" else "light"
            )
            window.goto((Path(name) / page).as_uri())
            window.screenshot(path=IMAGES / f"{picture}.png")
            print(f"docs/images/{picture}.png")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
