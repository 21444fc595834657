# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The built artifact, installed where nothing of the checkout is: its playbooks are found by name."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from ansible_collections.sre.runbooks.tools import generate

BIN = Path(sys.executable).parent
PLAYBOOKS = sorted(path.stem for path in (generate.ROOT / "playbooks").glob("*.yml"))


def run(program: str, *arguments: str, cwd: Path, **settings: str) -> str:
    """Run a program of ansible-core without the checkout's settings; return its output, fail with it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHONPATH"))}
    done = subprocess.run(
        [str(BIN / program), *arguments], cwd=cwd, env={**env, **settings}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run("ansible-galaxy", "collection", "build", "--output-path", str(folder), cwd=generate.ROOT)
    return next(folder.glob("sre-runbooks-*.tar.gz"))


@pytest.fixture(scope="module")
def installed(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of its own in which the collection is installed, and nothing else."""
    folder = tmp_path_factory.mktemp("elsewhere")
    target = str(folder / "collections")
    run("ansible-galaxy", "collection", "install", "--offline", "-p", target, str(artifact), cwd=folder)
    (folder / "ansible.cfg").write_text("", encoding="utf-8")
    (folder / "inventory.yml").write_text("all: {hosts: {alpha: {ansible_connection: local}}}\n", encoding="utf-8")
    return folder


def test_the_artifact_holds_what_users_need_and_no_more(artifact: Path) -> None:
    with tarfile.open(artifact) as archive:
        names = archive.getnames()
    top = {name.split("/")[0] for name in names}
    assert {"LICENSE", "README.md", "meta", "playbooks", "plugins", "roles", "requirements.txt"} <= top
    assert not {name for name in names if name.startswith("tests/")} - {"tests/config.yml"}
    assert not {name for name in top if name.startswith(".")}
    assert not top & {"molecule", "tools", "Makefile", "conftest.py", "ansible.cfg"}
    assert not {name for name in names if "__pycache__" in name}
    # The report's pages are made from templates beside the code.
    assert {str(path.relative_to(generate.ROOT)) for path in (generate.ROOT / "plugins").rglob("*.j2")} <= set(names)


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_a_playbook_of_the_installed_collection_is_found_by_its_name(playbook: str, installed: Path) -> None:
    settings = {"ANSIBLE_COLLECTIONS_PATH": str(installed / "collections")}
    command = [f"sre.runbooks.{playbook}", "-i", "inventory.yml"]
    run("ansible-playbook", "--syntax-check", *command, cwd=installed, **settings)
    listed = run("ansible-playbook", "--list-tasks", *command, cwd=installed, **settings)
    assert "play #1" in listed
    assert " : " in listed, "the tasks of no role are listed"
