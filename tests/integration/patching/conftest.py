# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.patching called in this process; a host of its own for apt and dpkg: their folders, and repositories made here.

apt and dpkg are the real ones. They are led to the folders by their own variables (APT_CONFIG, DPKG_ROOT, DPKG_ADMINDIR), so that
nothing of this machine is touched and no rights are needed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.module_utils._core import replaced
from ansible_collections.sre.runbooks.plugins.module_utils._health import packages
from ansible_collections.sre.runbooks.plugins.modules import patching

CHECKOUT = Path(__file__).resolve().parents[3]
MODULE = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sre.runbooks.plugins.modules import patching
with patch_module_args(json.loads(sys.argv[1])):
    patching.main()
"""


class Machine:
    """A root folder in which dpkg installs, and a repository for `base` and `security` each."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "root"
        for name in (
            "etc/apt/apt.conf.d", "etc/apt/preferences.d", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial",
            "var/lib/dpkg/updates", "var/lib/dpkg/info", "var/log/apt",
        ):  # fmt: skip
            (self.root / name).mkdir(parents=True)
        self.admin = self.root / "var/lib/dpkg"
        (self.admin / "status").touch()
        (self.admin / "available").touch()
        config = folder / "apt.conf"
        config.write_text(
            f'Dir "{self.root}"; Dir::State::status "{self.admin}/status"; Dir::Log "{self.root}/var/log/apt";\n'
            'APT::Sandbox::User ""; APT::Architecture "amd64"; APT::Architectures { "amd64"; };\n'
        )
        self.environment = {
            "APT_CONFIG": str(config), "DPKG_ROOT": str(self.root), "DPKG_ADMINDIR": str(self.admin),
            "DPKG_FORCE": "not-root,script-chrootless,bad-path,downgrade,unsafe-io",
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
        }  # fmt: skip
        for label in ("base", "security"):
            (folder / label).mkdir()

    def build(
        self, where, name, version, *, files=None, conffiles=(), preinst="", postinst="", depends="", size=1, more=()
    ):
        """Build a package, put it into the repository `where`, and make its index anew."""
        built = self.folder / f"build-{name}-{version}"
        (built / "DEBIAN").mkdir(parents=True)
        fields = [f"Package: {name}", f"Version: {version}", "Architecture: all", "Maintainer: x <x@localhost>"]
        fields += [f"Installed-Size: {size}", *([f"Depends: {depends}"] if depends else []), *more, "Description: x"]
        (built / "DEBIAN/control").write_text("\n".join(fields) + "\n")
        for path, content in (files or {f"opt/{name}/version": version}).items():
            (built / path).parent.mkdir(parents=True, exist_ok=True)
            (built / path).write_bytes(content if isinstance(content, bytes) else content.encode())
        if conffiles:
            (built / "DEBIAN/conffiles").write_text("".join(f"/{each}\n" for each in conffiles))
        for script, text in (("preinst", preinst), ("postinst", postinst)):
            if text:
                (built / "DEBIAN" / script).write_text("#!/bin/sh\nset -e\n" + textwrap.dedent(text))
                (built / "DEBIAN" / script).chmod(0o755)
        place = self.folder / where
        argv = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", built, place / f"{name}_{version}.deb"]
        subprocess.run(argv, check=True, capture_output=True)
        index = subprocess.run(["apt-ftparchive", "packages", "."], cwd=place, check=True, capture_output=True).stdout
        (place / "Packages").write_bytes(index)
        label, suite = ("Debian-Security", "stable-security") if where == "security" else ("Debian", "stable")
        options = [f"APT::FTPArchive::Release::{key}={value}" for key, value in
                   {"Origin": "Debian", "Label": label, "Suite": suite, "Version": "12"}.items()]  # fmt: skip
        argv = ["apt-ftparchive", *[part for each in options for part in ("-o", each)], "release", "."]
        (place / "Release").write_bytes(subprocess.run(argv, cwd=place, check=True, capture_output=True).stdout)
        sources = [f"deb [trusted=yes] copy:{self.folder / each} ./" for each in ("base", "security")
                   if (self.folder / each / "Release").exists()]  # fmt: skip
        (self.root / "etc/apt/sources.list").write_text("\n".join(sources) + "\n")

    def apt(self, *words, check=True):
        """Run apt-get on this machine."""
        argv = ["apt-get", "-q", *words]
        environment = {**os.environ, **self.environment, "DEBIAN_FRONTEND": "noninteractive"}
        return subprocess.run(argv, env=environment, check=check, capture_output=True, text=True)

    def install(self, *names):
        """Install packages as somebody would before."""
        self.apt("update")
        self.apt("-y", "install", *names)

    def version(self, name):
        """What is installed whole of a package, by dpkg."""
        argv = ["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Version}", name]
        told = subprocess.run(argv, env={**os.environ, **self.environment}, capture_output=True, text=True, check=False)
        return told.stdout.removeprefix("installed ") if told.stdout.startswith("installed ") else told.stdout

    def path(self, name):
        """A file of this machine."""
        return self.root / name


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Programs of other tests that run what was replaced, and a reboot that this machine waits for, are no findings here."""
    everything = replaced.processes

    def ours():
        return [each for each in everything() if any(file.startswith(f"{tmp_path}/") for file in each.files)]

    monkeypatch.setattr(replaced, "processes", ours)
    monkeypatch.setattr(packages, "REBOOT_FILES", ())
    monkeypatch.setattr(packages, "KERNELS", f"{tmp_path}/vmlinuz-*")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with `tool` 1.0 and `library` 1.0, a security update of the library and an ordinary one of the tool."""
    made = Machine(tmp_path / "machine")
    made.build("base", "library", "1.0")
    made.build("base", "tool", "1.0", depends="library")
    made.install("tool")
    made.build("base", "tool", "1.1", depends="library")
    made.build("security", "library", "1.0+deb12u1")
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def run(capsys, tmp_path):
    """Patch, by default now and whatever the window says, and return the module's result."""

    def go(**options):
        given = {
            "now": True, "free": "1MiB", "lock_timeout": "20s", "checks_within": "2s", "state_dir": str(tmp_path / "state"),
            **options,
        }  # fmt: skip
        with patch_module_args(given), pytest.raises(SystemExit):
            patching.main()
        return json.loads(capsys.readouterr().out)

    return go


@pytest.fixture
def process(tmp_path):
    """Start the module as a process of its own group, which a test may kill; what it says is in its standard output."""

    def go(**options):
        given = json.dumps({"now": True, "free": "1MiB", "state_dir": str(tmp_path / "state"), **options})
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / ".work/collections")}
        argv = [sys.executable, "-c", MODULE, given]
        return subprocess.Popen(argv, env=environment, start_new_session=True, stdout=subprocess.PIPE, text=True)

    return go


def by_subject(result):
    """The outcomes by their subjects."""
    assert "outcomes" in result, result
    return {each["subject"]: each for each in result["outcomes"]}
