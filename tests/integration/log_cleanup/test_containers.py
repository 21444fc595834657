# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What containers take of the disk, and pruning it when asked, with the machine's own podman (L6)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import make_old, policy

ROOT = Path(__file__).parents[3]
MODULE = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sre.runbooks.plugins.modules import log_cleanup
with patch_module_args(json.loads(sys.argv[1])):
    log_cleanup.main()
"""


@pytest.fixture
def store(tmp_path):
    """Environment of a store of images of its own: nobody else's images are touched."""
    configuration = tmp_path / "storage.conf"
    configuration.write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/graph"\nrunroot = "{tmp_path}/run"\n', encoding="utf-8"
    )
    return {
        **os.environ, "CONTAINERS_STORAGE_CONF": str(configuration), "PYTHONPATH": str(ROOT / ".work/collections"),
    }  # fmt: skip


@pytest.fixture
def podman(store):
    """Run podman in the store, where podman can run (tests/lab/enter)."""

    def go(*arguments, data=None):
        argv = [str(ROOT / "tests/lab/enter"), "podman", *arguments]
        return subprocess.run(argv, env=store, check=True, input=data, capture_output=True).stdout.decode().strip()

    return go


@pytest.fixture
def clean(store, tmp_path):
    """Run the module beside the store."""

    def go(*policies, check_mode=False, **options):
        given = {
            "policies": list(policies),
            "state_dir": str(tmp_path / "state"),
            "_ansible_check_mode": check_mode,
            **options,
        }
        argv = [str(ROOT / "tests/lab/enter"), sys.executable, "-c", MODULE, json.dumps(given)]
        done = subprocess.run(argv, env=store, check=False, capture_output=True, text=True, timeout=300)
        return json.loads(done.stdout)

    return go


@pytest.fixture
def images(podman, tmp_path):
    """Two images of half a mebibyte, one of them with a container that wrote a log."""
    for name in ("unused", "used"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "content").write_bytes(os.urandom(1 << 19))
        tar = subprocess.run(["tar", "-C", str(folder), "-c", "."], check=True, capture_output=True).stdout
        podman("import", "-", f"localhost/{name}:1", data=tar)
    container = podman("create", "--name", "worker", "--log-driver", "k8s-file", "localhost/used:1", "/content")
    path = Path(podman("inspect", "--format", "{{.HostConfig.LogConfig.Path}}", container))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * 12345)
    return lambda: sorted(podman("images", "--format", "{{.Repository}}").split())


def test_disk_use_is_told_and_nothing_is_pruned_unasked(clean, images):
    result = clean(containers={"runtime": "podman"})
    assert (result["changed"], result["status"]) == (False, "ok")
    (outcome,) = result["outcomes"]
    assert (outcome["subject"], outcome["stage"]) == ("containers:podman", "log_cleanup")
    metrics = outcome["metrics"]
    assert metrics["images_bytes"] > 1 << 20
    assert 1 << 19 <= metrics["images_unused_bytes"] < 1 << 20
    assert (metrics["logs_bytes"], metrics["freed_bytes"]) == (12345, 0)
    assert outcome["details"]["logs"] == [{"container": "worker", "bytes": 12345}]
    assert images() == ["localhost/unused", "localhost/used"]


def test_check_mode_age_and_limits_keep_the_images_and_pruning_takes_the_unused_one(clean, images, tmp_path):
    both = ["localhost/unused", "localhost/used"]
    wish = {"runtime": "podman", "prune": ["images", "build_cache"]}
    planned = clean(containers=wish, check_mode=True)
    assert planned["changed"]
    assert "would prune unused images and build cache" in planned["outcomes"][0]["summary"]
    assert images() == both

    aged = clean(containers={**wish, "older_than": "1d"})
    assert (aged["changed"], aged["status"], images()) == (False, "ok", both)

    log = make_old(tmp_path / "a.log.1", 40)
    refused = clean(policy(tmp_path), containers=wish, limits={"bytes": "100kB"})
    assert (refused["changed"], refused["status"], images()) == (False, "critical", both)
    assert "limits.bytes" in refused["outcomes"][1]["summary"]
    assert refused["outcomes"][1]["details"]["plan"]["bytes"] >= 1 << 19
    assert log.exists()

    pruned = clean(containers=wish)
    assert (pruned["changed"], pruned["status"], images()) == (True, "ok", ["localhost/used"])
    assert pruned["outcomes"][0]["metrics"]["freed_bytes"] >= 1 << 19
    assert "freed" in pruned["outcomes"][0]["summary"]
    assert clean(containers=wish)["changed"] is False


def test_a_runtime_that_does_not_answer_is_unknown_and_logs_are_cleaned_all_the_same(clean, tmp_path, store):
    log = make_old(tmp_path / "a.log.1", 40)
    store["DOCKER_HOST"] = f"unix://{tmp_path}/no-such.sock"
    result = clean(policy(tmp_path), containers={"runtime": "docker"})
    assert [each["status"] for each in result["outcomes"]] == ["ok", "unknown"]
    assert "docker" in result["outcomes"][1]["summary"]
    assert not log.exists()


def test_bad_input_is_named(clean):
    assert "containers.older_than" in clean(containers={"older_than": "soon"})["msg"]
    assert "prune" in clean(containers={"prune": ["everything"]})["msg"]
