# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the files that follow from other files: registries, role READMEs, the index of modules.

``generate.py`` writes what is out of date and names it; ``generate.py --check`` writes nothing and
exits 1 when something is out of date. Each file is rendered by a template in ``tools/templates/``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import jinja2

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = Path(__file__).resolve().parent / "templates"

# Folders of plugins/module_utils in which every file not beginning with "_" is an entry found by its name.
REGISTRIES = ("_health", "_backup")


def environment() -> jinja2.Environment:
    """Return the template environment; an undefined name in a template is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Python and Markdown, no HTML
    )


def registry_entries(folder: Path) -> list[str]:
    """Return the sorted names of the modules in `folder` that its registry offers."""
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def registries(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield (path, content) of each registry whose folder exists."""
    template = environment().get_template("registry.py.j2")
    for package in REGISTRIES:
        folder = root / "plugins" / "module_utils" / package
        if folder.is_dir():
            yield folder / "_registry.py", template.render(package=package, names=registry_entries(folder))


def generated(root: Path = ROOT) -> dict[Path, str]:
    """Return every generated file's path and the content that it should have."""
    return dict(registries(root))


def outdated(root: Path = ROOT) -> dict[Path, str]:
    """Return those of the generated files whose content on disk differs."""
    return {
        path: content
        for path, content in generated(root).items()
        if not path.exists() or path.read_text(encoding="utf-8") != content
    }


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is out of date")
    arguments = parser.parse_args(argv)
    stale = outdated()
    for path, content in stale.items():
        print(f"{'out of date' if arguments.check else 'written'}: {path.relative_to(ROOT)}")
        if not arguments.check:
            path.write_text(content, encoding="utf-8")
    return 1 if arguments.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
