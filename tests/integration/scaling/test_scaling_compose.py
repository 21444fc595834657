# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module sre.runbooks.scaling on containers that podman-compose really makes (C6)."""

from __future__ import annotations

import json
import secrets
import shutil
import sys
import tarfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lab.systemd_hosts import CHECKOUT, in_lab

IMAGE = "localhost/sre-runbooks-scaling:1"
MODULE = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sre.runbooks.plugins.modules import scaling
with patch_module_args(json.loads(sys.argv[1])):
    scaling.main()
"""
# Networks, pods and limits are not what is looked at, and need more of the machine than this.
COMPOSE = [
    str(Path(sys.executable).with_name("podman-compose")),
    "--in-pod=false",
    "--podman-run-args=--cgroups=disabled",
]
SERVICE = {
    "image": IMAGE,
    "command": ["sleep", "600"],
    "network_mode": "none",
    "ulimits": {"nofile": 1000, "nproc": 1000},
}


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    busybox = shutil.which("busybox")
    assert busybox, "the program busybox is missing: install the package busybox-static"
    archive = tmp_path_factory.mktemp("image") / "root.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(busybox, "bin/busybox")
        for name in ("sh", "sleep"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    in_lab("podman", "import", "--quiet", str(archive), IMAGE)


@pytest.fixture
def project(image, tmp_path):
    """A project of two services, of which one is scaled; it is gone after the test."""
    name = f"p{secrets.token_hex(4)}"
    file = tmp_path / "compose.yml"
    file.write_text(json.dumps({"services": {"api": SERVICE, "db": SERVICE}}))
    yield Project(name, file, tmp_path)
    left = in_lab("podman", "ps", "--all", "--quiet", f"--filter=label=io.podman.compose.project={name}").stdout.split()
    if left:
        in_lab("podman", "rm", "--force", "--time=0", *left)


class Project:
    """What `project` gives."""

    def __init__(self, name, file, folder):
        self.name, self.file, self.folder = name, file, folder

    def scale(self, queue, **options):
        """Call the module while this many wait in the queue; return its outcome."""
        (self.folder / "load").write_text(f"fine | queue_depth={queue}")
        target = {
            "name": "api", "kind": "compose", "project": self.name, "service": "api", "files": [str(self.file)], "command": COMPOSE, "maximum": 3,
            "measures": [{"name": "load", "type": "command", "argv": ["cat", str(self.folder / "load")]}],
            "up": {"queue_depth": "> 10"}, "down": {"queue_depth": "== 0"}, "cooldown_up": "0s", "cooldown_down": "0s", "stop_within": "1s", **options,
        }  # fmt: skip
        given = json.dumps({"targets": [target], "act": True, "state_dir": str(self.folder / "state")})
        done = in_lab(sys.executable, "-c", MODULE, given, check=False, PYTHONPATH=str(CHECKOUT / ".work/collections"))
        assert done.returncode == 0, done.stdout + done.stderr
        (outcome,) = json.loads(done.stdout)["outcomes"]
        return outcome

    def containers(self):
        """The names of those that run, without the project's, and their ids."""
        argv = [
            "podman",
            "ps",
            "--format",
            "{{.Names}} {{.ID}}",
            f"--filter=label=io.podman.compose.project={self.name}",
        ]
        return dict(sorted(line.removeprefix(f"{self.name}_").split() for line in in_lab(*argv).stdout.splitlines()))


def test_c6_containers_of_a_service_come_and_go(project):
    """What runs is not made anew, the other service is not touched, a gap is filled without passing the number wanted."""
    outcome = project.scale(5)
    assert (outcome["status"], outcome["summary"]) == ("ok", "now run 1 instead of 0: at least 1 have to run")
    first = project.containers()
    assert list(first) == ["api_1"]
    assert project.scale(20)["summary"] == "now run 2 instead of 1: queue_depth is 20, bound > 10"
    assert project.scale(20)["metrics"]["instances"] == 3
    seen = project.containers()
    assert (list(seen), seen["api_1"]) == (["api_1", "api_2", "api_3"], first["api_1"])
    assert project.scale(20)["status"] == "warning"
    in_lab("podman", "rm", "--force", "--time=0", seen["api_2"])
    assert project.scale(20)["metrics"]["instances"] == 3
    assert project.containers()["api_3"] == seen["api_3"]
    assert project.scale(0)["summary"] == "now run 2 instead of 3: queue_depth is 0, bound == 0"
    assert list(project.containers()) == ["api_1", "api_2"]


def test_c6_what_compose_cannot_do_is_critical_and_counted(project):
    project.file.write_text("services: {")
    outcome = project.scale(5)
    assert outcome["status"] == "critical"
    assert outcome["summary"].startswith(
        "0 run, and not 1 instead of 0: at least 1 have to run: podman-compose ended with status 1"
    )
