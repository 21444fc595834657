# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Updates of a Debian host whose packages and repositories are made here, and read by the real apt (K8, H12)."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

DAY = 86400


class Apt:
    """A dpkg database with packages installed, and two repositories of newer ones: the base, and security."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "root"
        for name in (
            "etc/apt/apt.conf.d",
            "etc/apt/preferences.d",
            "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial",
            "var/lib/dpkg",
        ):
            (self.root / name).mkdir(parents=True)
        self.status = self.root / "var/lib/dpkg/status"
        self.status.touch()
        self.lists = self.root / "var/lib/apt/lists"
        self.config = folder / "apt.conf"
        self.config.write_text(
            f'Dir "{self.root}"; Dir::State::status "{self.status}"; APT::Sandbox::User ""; APT::Architecture "amd64";\n'
            'APT::Architectures { "amd64"; };\n'
        )

    def install(self, name: str, version: str) -> None:
        with self.status.open("a") as stream:
            stream.write(
                f"Package: {name}\nStatus: install ok installed\nMaintainer: x <x@localhost>\nArchitecture: all\n"
                f"Version: {version}\nDescription: x\n\n"
            )

    def offer(self, repository: str, label: str, suite: str, **packages: str) -> None:
        place = self.folder / repository
        place.mkdir()
        index = ""
        for name, version in packages.items():
            built = self.folder / f"{name}-build"
            (built / "DEBIAN").mkdir(parents=True, exist_ok=True)
            fields = (
                f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: x <x@localhost>\nDescription: x\n"
            )
            (built / "DEBIAN/control").write_text(fields)
            deb = place / f"{name}.deb"
            subprocess.run(["dpkg-deb", "--build", built, deb], check=True, capture_output=True)
            data = deb.read_bytes()
            index += (
                f"{fields}Filename: ./{deb.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n\n"
            )
        (place / "Packages").write_text(index)
        digest = hashlib.sha256(index.encode()).hexdigest()
        (place / "Release").write_text(
            f"Origin: Debian\nLabel: {label}\nSuite: {suite}\nVersion: 12\nDate: Sat, 21 Nov 2026 00:00:00 UTC\n"
            f"SHA256:\n {digest} {len(index)} Packages\n"
        )
        with (self.root / "etc/apt/sources.list").open("a") as stream:
            stream.write(f"deb [trusted=yes] copy:{place} ./\n")

    def update(self) -> None:
        subprocess.run(
            ["apt-get", "update"], check=True, capture_output=True, env={**os.environ, "APT_CONFIG": str(self.config)}
        )


@pytest.fixture
def apt(tmp_path, monkeypatch):
    (tmp_path / "apt").mkdir()
    made = Apt(tmp_path / "apt")
    monkeypatch.setenv("APT_CONFIG", str(made.config))
    return made


@pytest.fixture
def usual(apt):
    for name in ("alpha", "beta", "gamma"):
        apt.install(name, "1.0")
    apt.offer("base", "Debian", "stable", alpha="1.1", beta="1.0", delta="2.0")
    apt.offer("security", "Debian-Security", "stable-security", gamma="1.0+deb12u1")
    apt.update()
    return apt


BOUNDS = {"warning": "> 0", "metrics": {"updates": {"warning": "> 10"}}, "timeout": "60s"}


def test_updates_and_those_for_security(check, usual):
    outcome = check("packages", **BOUNDS)
    assert outcome["status"] == "warning"
    assert (outcome["metrics"]["security_updates"], outcome["metrics"]["updates"]) == (1, 2)
    assert outcome["summary"].startswith("security_updates is 1, bound > 0; 2 updates, 1 of them for security (gamma)")


def test_a_host_that_is_up_to_date(check, apt):
    apt.install("alpha", "1.1")
    apt.offer("base", "Debian", "stable", alpha="1.1")
    apt.update()
    outcome = check("packages", **BOUNDS)
    assert (outcome["status"], outcome["metrics"]["updates"]) == ("ok", 0)
    assert outcome["summary"].startswith("0 updates, 0 of them for security")


def test_looking_changes_nothing_and_fetches_nothing(check, usual):
    def state():
        return {
            path: path.stat().st_mtime_ns
            for path in usual.root.rglob("*")
            if path.is_file() and "cache" not in path.parts
        }

    before = state()
    shutil.rmtree(usual.folder / "base")
    shutil.rmtree(usual.folder / "security")
    assert check("packages", **BOUNDS)["metrics"]["updates"] == 2
    assert state() == before


def test_lists_that_nobody_has_fetched_for_long_are_a_warning(check, usual):
    then = usual.status.stat().st_mtime - 8 * DAY
    for path in (usual.lists, usual.lists / "partial"):
        os.utime(path, (then, then))
    outcome = check("packages", warning="> 10", timeout="60s")
    assert outcome["status"] == "warning"
    assert outcome["summary"].startswith(
        "the package lists are 8.0 d old, so that newer updates are not known; 2 updates"
    )


def test_a_host_whose_lists_were_never_fetched_is_unknown(check, apt):
    outcome = check("packages", **BOUNDS)
    assert outcome["status"] == "unknown"
    assert outcome["summary"] == f"{apt.lists}: there are no package lists. Run apt-get update on the host, daily."


def test_sources_that_are_damaged_are_unknown_with_apt_s_words(check, usual):
    (usual.root / "etc/apt/sources.list").write_text("nonsense\n")
    outcome = check("packages", **BOUNDS)
    assert outcome["status"] == "unknown"
    assert "apt-get ended with status 100: E: " in outcome["summary"]


@pytest.mark.parametrize(("file", "required"), [("touch /run/reboot-required", 1), (":", 0)])
def test_a_reboot_that_a_package_asked_for(run_in_namespace, usual, file, required):
    check = {"name": "x", "type": "packages", "metrics": {"reboot_required": {"warning": "> 0"}}, "timeout": "60s"}
    (outcome,) = run_in_namespace(f"mount -t tmpfs none /run; mount -t tmpfs none /boot; {file}", check)
    assert outcome["metrics"]["reboot_required"] == required
    assert outcome["status"] == ("warning" if required else "ok")
    assert ("a reboot is required" in outcome["summary"]) == bool(required)


def test_the_host_itself(check):
    """Whatever this machine has: figures, or no lists."""
    outcome = check("packages", warning="> 100000", timeout="60s")
    if outcome["status"] == "unknown":
        assert "there are no package lists" in outcome["summary"]
    else:
        assert 0 <= outcome["metrics"]["security_updates"] <= outcome["metrics"]["updates"]
    json.dumps(outcome)
