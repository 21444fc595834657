# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Python and npm packages: real pip-audit, pip and npm, that ask a server on loopback (K8)."""

from __future__ import annotations

import json
import os
import pwd
import sys
import venv
from pathlib import Path

import pytest

from .advisories import serving
from .conftest import ids

PROGRAM = str(Path(sys.executable).with_name("pip-audit"))
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def server():
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A virtual environment with a package that has a known vulnerability and one that has none."""
    folder = tmp_path_factory.mktemp("python") / "venv"
    venv.create(folder, with_pip=True, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name, version in (("Jinja2", "2.4.1"), ("harmless", "1.0")):
        place = packages / f"{name}-{version}.dist-info"
        place.mkdir()
        (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: not this\n")
        (place / "RECORD").write_text("")
        (place / "INSTALLER").write_text("pip\n")
    return folder


def python(server, **more):
    return {"program": PROGRAM, "service": "osv", "url": f"{server.url}/v1/query", **more}


def test_k8_a_vulnerable_package_of_an_environment(audit, server, environment):
    found = audit("python_packages", **python(server, environments=[str(environment)]))[str(environment)]
    assert found["status"] == "critical"
    assert ids(found) == ["CVE-2014-1402"]
    assert found["summary"].startswith("jinja2 2.4.1: CVE-2014-1402, fixed in 2.7.2; ")
    # pip, and setuptools on Pythons that bring it
    assert found["metrics"]["packages"] >= 3
    assert found["metrics"]["vulnerable"] == 1


def test_k8_versions_that_a_lock_file_pins(audit, server, tmp_path):
    lock = tmp_path / "requirements.txt"
    lock.write_text("# locked\njinja2==2.4.1 ; python_version > '3'\nharmless==1.0\n")
    found = audit("python_packages", **python(server, requirements=[str(lock)], vulnerable="warning"))[str(lock)]
    assert (found["status"], ids(found)) == ("warning", ["CVE-2014-1402"])
    assert found["metrics"]["packages"] == 2


def test_k8_outdated_packages_are_told_by_the_index(audit, server, environment):
    given = python(server, environments=[str(environment)], outdated=True, index_url=f"{server.url}/simple")
    found = audit("python_packages", **given)[str(environment)]
    assert found["details"]["outdated"]["harmless"] == "1.0 -> 9.9"
    assert found["metrics"]["outdated"] >= 2
    assert found["status"] == "critical", "for the vulnerability, not for the age"


def test_an_accepted_vulnerability_does_not_count_until_its_day(audit, server, environment):
    accepted = {"id": "CVE-2014-*", "reason": "no template is a user's", "until": "2999-12-31"}
    found = audit("python_packages", **python(server, environments=[str(environment)], accepted=[accepted]))
    (outcome,) = found.values()
    assert (outcome["status"], outcome["metrics"]["accepted"]) == ("ok", 1)
    assert outcome["details"]["accepted"] == [{"id": "CVE-2014-1402", "reason": "no template is a user's"}]
    accepted["until"] = "2020-01-31"
    found = audit("python_packages", **python(server, environments=[str(environment)], accepted=[accepted]))
    assert [each["status"] for each in found.values()] == ["critical"]


def test_a_database_that_is_not_reached_leaves_the_versions_and_says_so(audit, environment):
    given = {"program": PROGRAM, "service": "osv", "url": f"{NOWHERE}/v1/query", "environments": [str(environment)]}
    found = audit("python_packages", **given, outdated=True, index_url=f"{NOWHERE}/simple")[str(environment)]
    assert found["status"] == "unknown"
    assert "whether they are vulnerable is not known, their versions only: pip-audit ended" in found["summary"]
    assert "which packages are outdated is not known: the package index cannot be reached" in found["summary"]
    assert found["details"]["versions"]["Jinja2"] == "2.4.1"
    assert "vulnerable" not in found["metrics"]


def test_without_pip_audit_the_versions_are_told_with_the_remedy(audit, environment):
    found = audit("python_packages", program="pip-audit-that-is-not-here", environments=[str(environment)])
    (outcome,) = found.values()
    assert outcome["status"] == "unknown"
    assert "is not installed on this host. Install the package pip-audit" in outcome["summary"]
    assert outcome["details"]["versions"]["harmless"] == "1.0"


def test_code_of_an_environment_runs_as_its_owner(audit, server, tmp_path):
    """An environment's Python may be anything: what it does is done with its owner's rights."""
    owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "lib/python3.9/site-packages").mkdir(parents=True)
    told = tmp_path / "told"
    told.mkdir(mode=0o777)
    told.chmod(0o777)
    (folder / "bin/python").write_text(f"#!/bin/sh\nid -un >{told}/who\necho '[]'\n")
    (folder / "bin/python").chmod(0o755)
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o011)
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    audit("python_packages", **python(server, environments=[str(folder)], outdated=True))
    assert (told / "who").read_text().strip() == owner.pw_name


@pytest.fixture
def project(tmp_path):
    """An npm project whose lock file has vulnerable packages, one of them for development alone."""
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "package.json").write_text(
        json.dumps({"name": "web", "version": "1.0.0", "dependencies": {"lodash": "^4.17.0", "left-pad": "^1.0.0"},
                    "devDependencies": {"minimist": "^1.0.0"}})
    )  # fmt: skip
    locked = {"lodash": ("4.17.4", False), "left-pad": ("1.0.0", False), "minimist": ("1.2.0", True)}
    entries = {
        f"node_modules/{name}": {"version": version, **({"dev": True} if dev else {})}
        for name, (version, dev) in locked.items()
    }
    root = json.loads((folder / "package.json").read_text())
    (folder / "package-lock.json").write_text(
        json.dumps({"name": "web", "version": "1.0.0", "lockfileVersion": 3, "packages": {"": root, **entries}})
    )
    return folder


def test_k8_vulnerable_npm_packages_by_severity(audit, server, project):
    found = audit("node_packages", folders=[str(project)], registry=server.url, omit_dev=False)[str(project)]
    by_id = {each["id"]: each for each in found["details"]["findings"]}
    assert by_id["GHSA-jf85-cpcp-j695"]["status"] == "critical"
    assert by_id["GHSA-jf85-cpcp-j695"]["text"].startswith("lodash 4.17.4: GHSA-jf85-cpcp-j695 (critical), Prototype")
    assert by_id["GHSA-vh95-rmgr-6w4m"]["status"] == "warning"
    assert found["metrics"] == {"findings": 2, "accepted": 0, "packages": 3, "vulnerable": 2}
    found = audit("node_packages", folders=[str(project)], registry=server.url)[str(project)]
    assert ids(found) == ["GHSA-jf85-cpcp-j695"], "what is for development alone is left out"


def test_k8_outdated_npm_packages(audit, server, project):
    found = audit("node_packages", folders=[str(project)], registry=server.url, outdated=True)[str(project)]
    assert found["details"]["outdated"]["lodash"] == "4.17.4 -> 4.17.21"
    assert found["details"]["outdated"]["left-pad"] == "1.0.0 -> 1.3.0"


def test_a_registry_that_is_not_reached_leaves_the_versions_and_says_so(audit, project):
    found = audit("node_packages", folders=[str(project)], registry=NOWHERE, timeout="60s")[str(project)]
    assert found["status"] == "unknown"
    assert (
        "whether they are vulnerable is not known, their versions only: npm audit ended with status 1"
        in found["summary"]
    )
    assert found["details"]["versions"] == {"lodash": "4.17.4", "left-pad": "1.0.0"}


def test_a_project_without_lock_and_one_that_is_broken_are_unknown(audit, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b/package-lock.json").write_text("{")
    found = audit("node_packages", folders=[str(tmp_path / "?")], registry=NOWHERE)
    assert [each["status"] for each in found.values()] == ["unknown", "unknown"]
    assert "it has no package-lock.json" in found[str(tmp_path / "a")]["summary"]
    assert "cannot be read" in found[str(tmp_path / "b")]["summary"]
