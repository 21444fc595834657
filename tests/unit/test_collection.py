# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for the collection as a whole: nothing undocumented, untested, out of date or left out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.sre.runbooks.plugins.module_utils._core import argspec
from ansible_collections.sre.runbooks.tools import generate

ROOT = generate.ROOT
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py") if not path.stem.startswith("_"))
ROLES = sorted(path.name for path in (ROOT / "roles").glob("*") if path.is_dir())
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
ENTRIES = [
    (package, name)
    for package in generate.REGISTRIES
    for name in generate.registry_entries(ROOT / "plugins/module_utils" / package)
]
# An option of a fragment and one of an argument spec are the same when these are.
OPTION_KEYS = ("type", "elements", "required", "default", "choices", "aliases", "no_log")


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def tracked(*patterns: str) -> list[Path]:
    """Return the files of the checkout that git tracks or would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return [path for name in os.fsdecode(listed.stdout).split("\0") if name and (path := ROOT / name).is_file()]


@pytest.fixture(scope="module")
def test_texts() -> str:
    """Names and texts of everything that runs the collection in a test; this file and its like name nothing themselves."""
    files = tracked("tests/unit/*", "tests/integration/*", "molecule/*")
    return "\n".join(
        f"\n{path.name}\n{path.read_text(encoding='utf-8')}"
        for path in files
        if path.suffix in (".py", ".yml", ".yaml") and not path.name.startswith("test_collection")
    )


@pytest.fixture(scope="module")
def documentation() -> dict[str, Any]:
    """Every module's documentation as ansible-doc gives it, fragments included."""
    command = [str(Path(sys.executable).parent / "ansible-doc"), "--json", "--type", "module"]
    names = [f"sre.runbooks.{name}" for name in MODULES]
    done = subprocess.run([*command, *names], cwd=ROOT, check=True, capture_output=True, text=True)
    return {name.removeprefix("sre.runbooks."): found for name, found in json.loads(done.stdout).items()}


# --- Everything has a test -------------------------------------------------------------------------------------------
# The convention: a test names what it tests as a user writes it, `sre.runbooks.<name>`, or is called `test_<name>.py`, or
# has the module or action in its list NAMES.


@pytest.mark.parametrize("name", [*MODULES, *ROLES, *PLAYBOOKS])
def test_every_module_role_and_playbook_is_named_by_a_test(name: str, test_texts: str) -> None:
    named = re.search(rf"\bsre\.runbooks\.{name}\b(?!/)|\nNAMES = \([^)]*\"{name}\"", test_texts)
    assert named or f"\ntest_{name}.py\n" in test_texts, (
        f"no file below tests/unit, tests/integration or molecule names sre.runbooks.{name}"
    )


@pytest.mark.parametrize(("package", "name"), ENTRIES)
def test_every_check_type_and_engine_is_named_by_a_test(package: str, name: str, test_texts: str) -> None:
    assert re.search(rf"""["']{name}["']|(type|engine): {name}\b|{package} import [^\n]*\b{name}\b""", test_texts), (
        f"no test uses {name} of {package}"
    )


# --- Modules ---------------------------------------------------------------------------------------------------------


def test_the_action_group_lists_every_module() -> None:
    assert load("meta/runtime.yml")["action_groups"]["all"] == MODULES


@pytest.mark.parametrize("name", MODULES)
def test_every_module_is_documented(name: str, documentation: dict[str, Any]) -> None:
    found = documentation[name]
    assert found["examples"].strip()
    if not (ROOT / "plugins/action" / f"{name}.py").exists():  # those speak for a run, not for a host
        assert {"status", "outcomes"} <= found["return"].keys()
    assert {"check_mode", "diff_mode", "platform", "action_group"} <= found["doc"]["attributes"].keys()
    assert found["doc"]["attributes"]["action_group"]["membership"] == ["sre.runbooks.all"]
    assert found["doc"]["version_added"]


def shape(options: dict[str, Any]) -> dict[str, Any]:
    """Return what an argument spec and its documentation must agree on."""
    return {
        name: {
            **{key: option[key] for key in OPTION_KEYS if option.get(key) not in (None, False, [])},
            **({"options": shape(option["options"])} if option.get("options") else {}),
        }
        for name, option in options.items()
    }


SPECS = sorted(name for name, value in vars(argspec).items() if name.isupper() and isinstance(value, dict))


@pytest.mark.parametrize("name", SPECS)
def test_every_part_of_an_argument_spec_has_its_documentation_fragment(name: str) -> None:
    fragment = __import__(
        f"ansible_collections.sre.runbooks.plugins.doc_fragments.{name.lower()}", fromlist=["ModuleDocFragment"]
    ).ModuleDocFragment
    documented = yaml.safe_load(fragment.DOCUMENTATION)["options"]
    described = shape(documented)
    specified = shape(getattr(argspec, name))
    for option in specified.values():
        option.pop("no_log", None)
    assert described == specified


# --- Roles -----------------------------------------------------------------------------------------------------------


def is_expression(value: Any) -> bool:
    return isinstance(value, str) and "{{" in value


@pytest.mark.parametrize("role", ROLES)
def test_the_defaults_of_a_role_are_those_of_its_argument_specification(role: str) -> None:
    options = load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"].get("options", {})
    path = ROOT / "roles" / role / "defaults" / "main.yml"
    defaults = (load(f"roles/{role}/defaults/main.yml") or {}) if path.exists() else {}
    specified = {name: option["default"] for name, option in options.items() if "default" in option}
    # antsibull-docs refuses an expression as the default of a list or a dictionary: there the description tells it.
    told = {
        name: value
        for name, value in defaults.items()
        if is_expression(value) and options.get(name, {}).get("type") in ("list", "dict") and name not in specified
    }
    assert {**specified, **told} == defaults
    assert options.keys() - defaults.keys() == {name for name, option in options.items() if option.get("required")}


@pytest.mark.parametrize("role", ROLES)
def test_the_options_of_a_role_carry_its_prefix(role: str) -> None:
    entry = load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"]
    assert entry["short_description"]
    assert entry["description"]
    for name, option in entry.get("options", {}).items():
        assert name.startswith(f"{role}_")
        assert option["description"]


# --- Generated files -------------------------------------------------------------------------------------------------


def test_the_generated_files_are_current() -> None:
    stale = [str(path.relative_to(ROOT)) for path in generate.outdated()]
    assert not stale, "run `make docs`"


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_a_readme_with_its_options(role: str) -> None:
    readme = (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")
    for name in load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"].get("options", {}):
        assert f"`{name}`" in readme


# --- Nothing is exempted ---------------------------------------------------------------------------------------------


def test_no_check_is_switched_off() -> None:
    assert not tracked("tests/sanity/ignore*")
    assert not {"skip_list", "warn_list", "enable_list"} & load(".ansible-lint").keys()
    yaml_files = tracked("*.yml", "*.yaml")
    assert yaml_files
    for path in yaml_files:
        assert "noqa" not in path.read_text(encoding="utf-8"), path
    for path in tracked("tests/*.py", "molecule/*.py"):
        if path.name != "test_collection_tools.py":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"mark\.(skip|xfail)|pytest\.(skip|xfail|importorskip)\(", text), path


# --- Metadata --------------------------------------------------------------------------------------------------------


def test_the_version_is_the_newest_of_the_change_log_or_has_fragments() -> None:
    version = load("galaxy.yml")["version"]
    releases = load("changelogs/changelog.yaml")["releases"]
    if version not in releases:
        assert tracked("changelogs/fragments/*.yml"), f"{version} is not released and has no fragment"


def test_the_supported_ansible_core_is_said_alike() -> None:
    oldest = load("meta/runtime.yml")["requires_ansible"].removesuffix(".0")
    assert oldest == ">=2.19"
    assert f"ansible-core{oldest}" in (ROOT / "requirements-run.txt").read_text(encoding="utf-8")


def test_every_row_of_the_systems_has_a_test_that_shows_it() -> None:
    systems, rows = ((ROOT / f"docs/{name}.md").read_text(encoding="utf-8") for name in ("systems", "rows"))
    wanted = set(re.findall(r"^\| ([HLDKIRC]\d+) \|", systems, re.MULTILINE))
    assert len(wanted) == 62
    shown = {row for ids in re.findall(r"^\| ([^|]+) \|[^|]+\| `", rows, re.MULTILINE) for row in ids.split(", ")}
    assert wanted - shown == set()


@pytest.mark.parametrize("name", ["rows", "faults"])
def test_the_pages_of_rows_and_faults_name_tests_that_are_there(name):
    page = (ROOT / f"docs/{name}.md").read_text(encoding="utf-8")
    for path, _colons, function in (entry.partition("::") for entry in re.findall(r"`([^`\s]+\.py[^`\s]*)`", page)):
        text = (ROOT / path).read_text(encoding="utf-8")
        assert not function or re.search(rf"^ *def {function}\(", text, re.MULTILINE), f"{path} has no {function}"
