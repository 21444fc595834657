# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the site of the documentation into `.work/site/html`: every Markdown page as it lies in the checkout, and every plugin and role.

The pages are laid out as in the checkout, so that their links hold here as they do where the repository is read. A warning of
Sphinx, and a link within the site that leads nowhere, fail the build. Nothing is fetched.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SITE = ROOT / ".work" / "site"
SOURCE, HTML, CACHE = SITE / "source", SITE / "html", SITE / "cache"
# What git holds, or will: pages, and the pictures in them.
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md", "docs/*.png", "docs/*.svg", "docs/*.jpg")


def pages() -> list[Path]:
    """Return the pages and pictures by their names within the checkout."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *PAGES]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return [Path(line) for line in done.stdout.splitlines() if (ROOT / line).is_file()]


def lay_out() -> None:
    """Copy the pages; those that have not changed keep their dates, so that Sphinx reads only what is new."""
    wanted = {SOURCE / name: ROOT / name for name in pages()} | {SOURCE / "index.md": HERE / "index.md"}
    for target in SOURCE.rglob("*"):
        if target.is_file() and target not in wanted and SOURCE / "collection" not in target.parents:
            target.unlink()
    for target, origin in wanted.items():
        if not target.is_file() or target.read_bytes() != origin.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(origin, target)


def plugins() -> None:
    """Write the pages of all plugins and roles."""
    folder = SOURCE / "collection"
    folder.mkdir(parents=True, exist_ok=True)
    # antsibull-docs writes only where nobody else may.
    folder.chmod(0o700)
    subprocess.run(
        ["antsibull-docs", "--config-file", str(HERE / "antsibull-docs.cfg"), "collection", "--use-current", "--squash-hierarchy",
         "--cleanup", "everything", "--fail-on-error", "--dest-dir", str(folder), "sre.runbooks"],
        cwd=ROOT, check=True,
    )  # fmt: skip


def render() -> None:
    """Run Sphinx. It reads only what has changed, but a page that comes or goes changes what the links of others lead to."""
    names = "\n".join(sorted(str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*") if path.is_file()))
    known = SITE / "pages"
    if not known.is_file() or known.read_text(encoding="utf-8") != names:
        forget()
        known.write_text(names, encoding="utf-8")
    command = ["sphinx-build", "-q", "-W", "--keep-going", "-b", "html", "-c", str(HERE), "-d", str(CACHE)]
    subprocess.run([*command, str(SOURCE), str(HTML)], cwd=ROOT, check=True)


def forget() -> None:
    """Let the next build begin anew: a warning is told only when its page is read."""
    for folder in (CACHE, HTML):
        shutil.rmtree(folder, ignore_errors=True)


class Page(HTMLParser):
    """The anchors of a page, and where its links lead."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors = {"", "top"}
        self.links: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value and tag != "link":
                self.links.append(value)


def broken_links() -> Iterator[str]:
    """Yield each link within the site that leads to no file, or to no anchor of its page."""
    read = {path: Page(path) for path in sorted(HTML.rglob("*.html"))}
    for path, page in read.items():
        for link in dict.fromkeys(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                yield f"{path.relative_to(HTML)}: {link} leads nowhere"
            elif target in read and unquote(parts.fragment) not in read[target].anchors:
                yield f"{path.relative_to(HTML)}: {link} has no such anchor"


def main() -> int:
    """Build; return 1 when something is wrong."""
    SITE.mkdir(parents=True, exist_ok=True)
    try:
        lay_out()
        plugins()
        render()
    except subprocess.CalledProcessError as error:
        print(f"{Path(error.cmd[0]).name} failed", file=sys.stderr)
        forget()
        return 1
    broken = list(broken_links())
    print("\n".join([*broken, f"{len(broken)} broken links"] if broken else [f"{HTML / 'index.html'}"]))
    if broken:
        forget()
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
