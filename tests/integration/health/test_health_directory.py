# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Folders: size, number, age of the newest; links, other file systems, what cannot be read (H2, H9, L6)."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder(tmp_path):
    """Three files of 1000 bytes, 1, 2 and 3 hours old, and a small one of another kind."""
    root = tmp_path / "folder"
    for number, name in enumerate(["a.log", "b.log", "deep/er/c.log"]):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1000)
        os.utime(path, (time.time() - 3600 * (number + 1),) * 2)
    (root / "readme.txt").write_text("new")
    return root


def test_what_is_in_a_folder(check, folder):
    outcome = check(
        "directory", path=str(folder), warning="> 1 MiB", metrics={"newest_age_seconds": {"warning": "> 1h"}}
    )
    metrics = outcome["metrics"]
    assert (outcome["status"], metrics["size_bytes"], metrics["files"]) == ("ok", 3003, 4)
    assert 0 <= metrics["newest_age_seconds"] < 600
    assert outcome["summary"].startswith(f"{folder}: 4 files, 2.9 KiB, the newest is ")


def test_bounds(check, folder):
    assert check("directory", path=str(folder), warning="> 1 kB", critical="> 3 kB")["status"] == "critical"
    outcome = check("directory", path=str(folder), metrics={"files": {"warning": "> 3"}})
    assert outcome["summary"].startswith("files is 4, bound > 3; ")


def test_patterns_are_of_names_at_any_depth(check, folder):
    outcome = check(
        "directory", path=str(folder), patterns=["*.log", "*.gz"], metrics={"newest_age_seconds": {"warning": "> 59m"}}
    )
    assert (outcome["status"], outcome["metrics"]["files"]) == ("warning", 3)
    assert outcome["metrics"]["newest_age_seconds"] == pytest.approx(3600, abs=120)


def test_links_are_not_followed_but_the_folder_itself_may_be_one(check, folder, tmp_path):
    (folder / "circle").symlink_to(folder)
    (folder / "elsewhere").symlink_to("/usr")
    (folder / "one").symlink_to(folder / "a.log")
    os.mkfifo(folder / "pipe")
    link = tmp_path / "link"
    link.symlink_to(folder)
    for path in (folder, link):
        assert check("directory", path=str(path), warning="> 1 GiB")["metrics"]["files"] == 4


def test_another_file_system_does_not_count(run_in_namespace, folder):
    lines = f"mkdir {folder}/mounted && mount -t tmpfs none {folder}/mounted && touch {folder}/mounted/x"
    (outcome,) = run_in_namespace(lines, {"name": "x", "type": "directory", "path": str(folder), "warning": "> 1 GiB"})
    assert (outcome["status"], outcome["metrics"]["files"]) == ("ok", 4)


def test_what_cannot_be_read_is_unknown_unless_the_rest_is_too_much(run_in_namespace, tmp_path):
    root = tmp_path / "folder"
    (root / "closed").mkdir(parents=True)
    (root / "a").write_bytes(b"x" * 100)
    (root / "closed").chmod(0)
    entry = {"type": "directory", "path": str(root)}
    check = {"name": "few", **entry, "warning": "> 1 MB"}, {"name": "many", **entry, "critical": "> 50 B"}
    # root may read everything; without its capabilities it is like anybody else
    few, many = run_in_namespace(
        f'chmod 755 {tmp_path}; set -- setpriv --bounding-set=-all --inh-caps=-all "$@"; exec "$@"', *check
    )
    assert (few["status"], many["status"]) == ("unknown", "critical")
    assert few["summary"].startswith(
        f"1 folders or files in it cannot be read, the first is {root}/closed: Permission denied; "
    )


@pytest.mark.parametrize("name", ["gone", "a.log/x", "a.log"])
def test_a_folder_that_is_none_is_critical(check, folder, name):
    outcome = check("directory", path=str(folder / name), warning="> 1 MB")
    assert outcome["status"] == "critical"
    assert outcome["summary"].startswith(f"{folder / name}")


def test_an_empty_folder_has_no_newest_file(check, tmp_path):
    (tmp_path / "empty").mkdir()
    given = {"path": str(tmp_path / "empty")}
    assert check("directory", **given, metrics={"files": {"warning": "> 5"}})["status"] == "ok"
    outcome = check("directory", **given, metrics={"newest_age_seconds": {"warning": "> 1h"}})
    assert outcome["status"] == "unknown"
    assert outcome["summary"].startswith("newest_age_seconds is not known here; ")


def test_folders_deeper_than_descriptors_and_recursion_go(check, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    here = os.open(tmp_path, os.O_RDONLY)
    levels = 900
    for _level in range(levels):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=inner))
        os.close(here)
        here = inner
    os.close(here)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    try:
        outcome = check("directory", path=str(tmp_path / "d"), warning="> 1 MB", timeout="60s")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert (outcome["status"], outcome["metrics"]["files"]) == ("ok", levels)


def test_a_folder_too_large_for_its_time_is_unknown(check, tmp_path):
    for number in range(2000):
        (tmp_path / str(number)).touch()
    outcome = check("directory", path=str(tmp_path), warning="> 1 MB", timeout="0.001ms")
    assert outcome["status"] == "unknown"
    assert outcome["summary"].startswith(f"{tmp_path}: not walked to its end within 1e-06 s, ")


def test_memory_does_not_grow_with_the_folder(tmp_path):
    """B9: a folder of 100,000 names costs no more memory than one of 100."""
    source = """
import os, re, sys, types
from ansible_collections.sre.runbooks.plugins.module_utils._health import directory
def peak():
    # Of this program alone: ru_maxrss begins with what the parent had.
    with open("/proc/self/status") as status:
        return int(re.search(r"VmHWM:\\s*(\\d+)", status.read())[1])
def measure(path):
    seen = directory.observe({"path": path, "patterns": ["*.log"], "timeout": 120.0}, types.SimpleNamespace(now=0.0))
    return int(seen[0].metrics["files"]), peak()
print(*measure(sys.argv[1]), *measure(sys.argv[2]))
"""
    for name, count in (("few", 100), ("many", 30_000)):
        (tmp_path / name).mkdir()
        for number in range(count):
            os.close(os.open(tmp_path / name / f"a-name-of-some-length-{number}.log", os.O_CREAT | os.O_WRONLY))
    done = subprocess.run(
        [sys.executable, "-c", source, tmp_path / "few", tmp_path / "many"],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / ".work/collections")},
        check=True,
        capture_output=True,
        text=True,
    )
    few, before, many, after = map(int, done.stdout.split())
    assert (few, many) == (100, 30_000)
    assert after - before < 2048  # KiB
