# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ansible-builder on the installed artifact and on execution-environment.yml: what the image gets is what the controller needs (C8).

The build context is made for real. An image is not: that needs its base image.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.sre.runbooks.tests.integration.runner.test_runner import ROOT, run

DEFINITION = yaml.safe_load((ROOT / "execution-environment.yml").read_text(encoding="utf-8"))


def lines(path: Path) -> list[str]:
    """The requirements of a file, without comments."""
    plain = (re.sub(r"\s*#.*", "", line).strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in plain if line and not line.startswith("-r")]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifact")
    built = run("ansible-galaxy", "collection", "build", "--output-path", str(folder), cwd=ROOT)
    assert built.returncode == 0, built.stderr
    return next(folder.glob("*.tar.gz"))


def created(folder: Path, definition: dict[str, Any]) -> Path:
    """The build context that ansible-builder makes of a definition."""
    path = folder / "execution-environment.yml"
    path.write_text(yaml.safe_dump(definition), encoding="utf-8")
    done = run(
        "ansible-builder", "create", "-f", str(path), "-c", str(folder / "context"), cwd=folder, HOME=str(folder)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "context"


def test_c8_what_the_controller_needs_is_read_from_the_installed_artifact(artifact: Path, tmp_path: Path) -> None:
    installed = run(
        "ansible-galaxy", "collection", "install", "--offline", "-p", str(tmp_path), str(artifact), cwd=tmp_path
    )
    assert installed.returncode == 0, installed.stderr
    pip, bindep = tmp_path / "pip.txt", tmp_path / "bindep.txt"
    done = run(
        "ansible-builder", "introspect", str(tmp_path), "--write-pip", str(pip), "--write-bindep", str(bindep), cwd=tmp_path, HOME=str(tmp_path)
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found, wanted = {re.split(r"[<>=\[ ]", line)[0].lower() for line in lines(pip)}, lines(ROOT / "requirements.txt")
    assert {re.split(r"[<>=\[ ]", line)[0].lower() for line in wanted} <= found
    assert any(line.startswith("openssh-clients [platform:rpm") for line in lines(bindep))


def test_c8_the_context_of_the_image(tmp_path: Path) -> None:
    context = created(tmp_path, DEFINITION)
    containerfile = (context / "Containerfile").read_text(encoding="utf-8")
    assert DEFINITION["images"]["base_image"]["name"] in containerfile
    assert "ansible-core>=2.19,<2.22" in containerfile
    galaxy = yaml.safe_load((context / "_build" / "requirements.yml").read_text(encoding="utf-8"))
    assert [each["name"] for each in galaxy["collections"]] == ["sre.runbooks"]


def test_c8_the_context_with_an_artifact_of_our_own(artifact: Path, tmp_path: Path) -> None:
    own = {
        **DEFINITION,
        "dependencies": {
            **DEFINITION["dependencies"],
            "galaxy": {"collections": [{"name": f"configs/{artifact.name}", "type": "file"}]},
        },
        "additional_build_files": [{"src": str(artifact), "dest": "configs"}],
    }
    context = created(tmp_path, own)
    assert (context / "_build" / "configs" / artifact.name).read_bytes() == artifact.read_bytes()
    galaxy = yaml.safe_load((context / "_build" / "requirements.yml").read_text(encoding="utf-8"))
    assert galaxy["collections"] == [{"name": f"configs/{artifact.name}", "type": "file"}]


def test_the_image_has_the_ansible_core_that_is_tested() -> None:
    core = DEFINITION["dependencies"]["ansible_core"]["package_pip"]
    assert core in lines(ROOT / "requirements-run.txt")


def test_bindep_names_packages_by_platform() -> None:
    assert all(re.fullmatch(r"[a-z-]+ \[platform:(rpm|dpkg)\]", line) for line in lines(ROOT / "bindep.txt"))
