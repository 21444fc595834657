# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the files that follow from other files: registries, role READMEs, action group, index in docs/reference.md.

``generate.py`` writes what is out of date and names it; ``generate.py --check`` writes nothing and
exits 1 when something is out of date. Each file is rendered by a template in ``tools/templates/``.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = Path(__file__).resolve().parent / "templates"

# Folders of plugins/module_utils in which every file not beginning with "_" is an entry found by its name.
REGISTRIES = (
    "_health",
    "_backup",
    "_preflight",
    "_restore",
    "_database",
    "_tables",
    "_keys",
    "_diagnostics",
    "_stabilise",
    "_audit",
    "_maintenance",
    "_scaling",
)

# Ansible's markup, and the Markdown for what stands in its brackets.
MARKUP = (
    (re.compile(r"\b(?:C|V|O|RV|E|M)\(([^()]+)\)"), r"`\1`"),
    (re.compile(r"\bP\(([^()#]+)#\w+\)"), r"`\1`"),
    (re.compile(r"\bB\(([^()]+)\)"), r"**\1**"),
    (re.compile(r"\bI\(([^()]+)\)"), r"*\1*"),
    (re.compile(r"\bL\(([^(),]+),\s*([^()]+)\)"), r"[\1](\2)"),
    (re.compile(r"\bU\(([^()]+)\)"), r"<\1>"),
)


def markdown(text: str | Iterable[str] | None) -> str:
    """Return a description, one string or several, as one line of Markdown."""
    joined = " ".join([text] if isinstance(text, str) else text or [])
    for pattern, replacement in MARKUP:
        joined = pattern.sub(replacement, joined)
    return " ".join(joined.split())


def cell(text: str) -> str:
    """Return text that cannot end its cell of a Markdown table."""
    return text.replace("|", r"\|")


def environment() -> jinja2.Environment:
    """Return the template environment; an undefined name in a template is an error."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Python and Markdown, no HTML
    )
    made.filters.update(markdown=markdown, cell=cell)
    return made


def load_yaml(path: Path) -> Any:
    """Return the content of a YAML file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


# --- Registries ---


def registry_entries(folder: Path) -> list[str]:
    """Return the sorted names of the files in `folder` that do not begin with "_"."""
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def registries(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield (path, content) of each registry whose folder exists."""
    template = environment().get_template("registry.py.j2")
    for package in REGISTRIES:
        folder = root / "plugins" / "module_utils" / package
        if folder.is_dir():
            yield folder / "_registry.py", template.render(package=package, names=registry_entries(folder))


# --- Roles ---


def default_text(option: Mapping[str, Any]) -> str:
    """Return an option's default as one writes it in YAML, or an empty string."""
    if "default" not in option:
        return ""
    if isinstance(option["default"], str) and option["default"]:
        return option["default"]
    dumped = yaml.safe_dump(option["default"], default_flow_style=True, width=10**6, sort_keys=False)
    return dumped.removesuffix("\n").removesuffix("\n...")


def option_rows(options: Mapping[str, Any], prefix: str = "") -> Iterator[dict[str, Any]]:
    """Yield a row for each option and each of its suboptions, named `option.suboption` or `option[].suboption`."""
    for name, option in options.items():
        kind = option.get("type", "str")
        elements = option.get("elements")
        yield {
            "name": prefix + name,
            "type": f"{kind} of {elements}" if elements else kind,
            "default": default_text(option),
            "required": option.get("required", False),
            "choices": [str(choice) for choice in option.get("choices", [])],
            "description": option.get("description"),
        }
        if "options" in option:
            yield from option_rows(option["options"], f"{prefix}{name}{'[]' if elements else ''}.")


def mentions(node: Any, key: str) -> set[str]:
    """Return every value of `key` anywhere in a YAML document, as strings."""
    if isinstance(node, list):
        return set().union(*(mentions(item, key) for item in node)) if node else set()
    if not isinstance(node, dict):
        return set()
    found = set().union(*(mentions(value, key) for value in node.values())) if node else set()
    if key in node:
        value = node[key]
        found |= {str(each) for each in (value if isinstance(value, list) else [value])}
    return found


def role_entries(play: Mapping[str, Any]) -> Iterator[tuple[str, set[str]]]:
    """Yield each role that a play lists or imports, without the collection's name, with the tags that select it."""
    for entry in play.get("roles", []):
        listed = entry if isinstance(entry, dict) else {"role": entry}
        yield str(listed.get("role", listed.get("name"))).removeprefix("sre.runbooks."), mentions(listed, "tags")
    for task in play.get("tasks", []):
        imported = task.get("ansible.builtin.import_role") or task.get("ansible.builtin.include_role")
        if imported:
            yield imported["name"].removeprefix("sre.runbooks."), mentions(task, "tags")


def playbooks_of(root: Path, role: str) -> dict[str, set[str]]:
    """Return the playbooks with the role, by name, each with the tags that select it there."""
    names: dict[str, set[str]] = {}
    for path in sorted((root / "playbooks").glob("*.yml")):
        for play in load_yaml(path) or []:
            for name, tags in role_entries(play):
                if name == role:
                    names.setdefault(path.stem, set()).update(tags - {"always", "never"})
    return names


def role_readmes(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield (path, content) of the README of each role that has an argument specification."""
    template = environment().get_template("role_readme.md.j2")
    for path in sorted((root / "roles").glob("*/meta/argument_specs.yml")):
        folder = path.parent.parent
        tasks = [load_yaml(file) for file in sorted((folder / "tasks").glob("*.yml"))]
        yield (
            folder / "README.md",
            template.render(
                role=folder.name,
                entry=load_yaml(path)["argument_specs"]["main"],
                rows=list(option_rows(load_yaml(path)["argument_specs"]["main"].get("options", {}))),
                playbooks=playbooks_of(root, folder.name),
                tags=sorted(mentions(tasks, "tags") - {"always", "never"}),
                become=bool(mentions(tasks, "become") - {"False"}),
            ),
        )


# --- Action group ---


def action_group(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield meta/runtime.yml with every module in the action group `all`, the last key of that file."""
    path = root / "meta" / "runtime.yml"
    head, separator, _group = path.read_text(encoding="utf-8").partition("action_groups:\n  all:")
    names = registry_entries(root / "plugins" / "modules")
    yield path, head + separator + "".join(f"\n    - {name}" for name in names) + "\n"


# --- Index ---


def documentation(path: Path) -> dict[str, Any]:
    """Return the DOCUMENTATION of a plugin: a string in Python, or the file of the same name that ends in .yml."""
    beside = path.with_suffix(".yml")
    if beside.exists():
        return dict(load_yaml(beside)["DOCUMENTATION"])
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "DOCUMENTATION":
            return dict(yaml.safe_load(ast.literal_eval(node.value)))
    raise ValueError(f"{path}: has no DOCUMENTATION")


def playbook_summary(path: Path) -> str:
    """Return the sentence with which a playbook begins: its leading comment up to the first full stop."""
    lines = (line for line in path.read_text(encoding="utf-8").splitlines() if line != "---")
    comment: list[str] = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# "))
    return re.split(r"(?<=\.)\s", " ".join(comment))[0]


def entries(root: Path) -> dict[str, dict[str, str]]:
    """Return what the collection offers: {kind: {name: one line}}."""
    found = {"Playbooks": {path.stem: playbook_summary(path) for path in sorted((root / "playbooks").glob("*.yml"))}}
    found["Roles"] = {
        path.parent.parent.name: load_yaml(path)["argument_specs"]["main"]["short_description"]
        for path in sorted((root / "roles").glob("*/meta/argument_specs.yml"))
    }
    kinds = {"modules": "Modules", "filter": "Filters", "test": "Tests"}
    for folder, title in kinds.items():
        paths = sorted((root / "plugins" / folder).glob("*.py"))
        found[title] = {p.stem: documentation(p)["short_description"] for p in paths if not p.stem.startswith("_")}
    return {title: names for title, names in found.items() if names}


def reference(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield (path, content) of the index."""
    yield root / "docs" / "reference.md", environment().get_template("reference.md.j2").render(entries=entries(root))


def generated(root: Path = ROOT) -> dict[Path, str]:
    """Return every generated file's path and the content that it should have."""
    return {**dict(registries(root)), **dict(role_readmes(root)), **dict(action_group(root)), **dict(reference(root))}


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
