# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The workflows of the hosted CI: they call what the Makefile has, over the supported versions, with no more rights than they need.

Their schema, and what is unsafe in them, is looked at by tools/lint.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from ansible_collections.sre.runbooks.tools import generate

FOLDER = generate.ROOT / ".github" / "workflows"
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.yml"))}
WORKFLOWS: dict[str, dict[str, Any]] = {name: yaml.safe_load(text) for name, text in TEXTS.items()}
STEPS = [
    (name, job, step)
    for name, workflow in WORKFLOWS.items()
    for job, content in workflow["jobs"].items()
    for step in content["steps"]
]


def test_every_command_of_make_is_one_that_the_makefile_has() -> None:
    makefile = (generate.ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    called = {target for _file, _job, step in STEPS for target in re.findall(r"\bmake ([a-z-]+)", step.get("run", ""))}
    assert called <= targets
    assert {"lint", "unit", "sanity", "demo", "integration", "molecule", "artifact"} <= called


@pytest.mark.parametrize(("name", "job", "step"), STEPS)
def test_what_others_wrote_is_pinned_to_a_commit(name: str, job: str, step: dict[str, Any]) -> None:
    assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step.get("uses", f"actions/x@{'0' * 40}")), f"{name}: {job}"


def test_the_versions_are_the_supported_ones() -> None:
    matrix = WORKFLOWS["ci.yml"]["jobs"]["versions"]["strategy"]["matrix"]["include"]
    assert [(each["core"], each["python"]) for each in matrix] == [("2.19", "3.11"), ("2.20", "3.12"), ("2.21", "3.13")]
    required = (generate.ROOT / "requirements-run.txt").read_text(encoding="utf-8")
    assert "ansible-core>=2.19,<2.22" in required


def test_rights_are_the_least_and_one_secret_is_named() -> None:
    assert WORKFLOWS["ci.yml"]["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in WORKFLOWS["ci.yml"]["jobs"].values())
    assert WORKFLOWS["release.yml"]["permissions"] == {}
    rights = {name: job["permissions"] for name, job in WORKFLOWS["release.yml"]["jobs"].items()}
    assert rights == {"artifact": {"contents": "read"}, "release": {"contents": "write"}}
    assert set(re.findall(r"secrets\.(\w+)", "".join(TEXTS.values()))) == {"GALAXY_API_KEY"}
    assert all("concurrency" in workflow for workflow in WORKFLOWS.values())


def test_a_release_is_made_of_a_tag_alone() -> None:
    # YAML 1.1 reads the key `on` as true.
    triggers: dict[Any, Any] = dict(WORKFLOWS["release.yml"])
    assert triggers[True] == {"push": {"tags": ["v*"]}}
    assert "cache" not in TEXTS["release.yml"].replace("without any cache", "")
