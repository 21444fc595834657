# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Playbooks run by ansible-runner as AWX runs them: the project of awx/project, the collection from its artifact, a history in PostgreSQL (C8).

There is no home directory; what is written lies in a temporary folder. Hosts are reached by local connections.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.sre.runbooks.plugins.plugin_utils.history import History
from ansible_collections.sre.runbooks.tests.integration.conftest import PostgresqlServer

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
HOSTS = ("shop1.example.org", "shop2.example.org")


def run(*command: str, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a program without any setting of Ansible or of Python from around."""
    plain = {
        name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON", "RUNNER_"))
    }
    environment = {**plain, "PATH": f"{BIN}:{os.environ['PATH']}", **settings}
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@dataclass
class Job:
    """A job as AWX sees it: what ansible-runner left in its artifacts."""

    artifacts: Path

    @property
    def rc(self) -> int:
        return int((self.artifacts / "rc").read_text(encoding="utf-8"))

    @property
    def status(self) -> str:
        return (self.artifacts / "status").read_text(encoding="utf-8")

    @property
    def events(self) -> list[dict[str, Any]]:
        read = (json.loads(path.read_text(encoding="utf-8")) for path in (self.artifacts / "job_events").glob("*.json"))
        return sorted(read, key=lambda event: int(event["counter"]))

    @property
    def stats(self) -> dict[str, dict[str, int]]:
        return next(event["event_data"] for event in self.events if event["event"] == "playbook_on_stats")

    def holds(self, text: str) -> list[str]:
        return [
            str(path)
            for path in self.artifacts.rglob("*")
            if path.is_file() and text in path.read_text(encoding="utf-8")
        ]


@dataclass
class Controller:
    """A private data directory, as AWX fills one for each job."""

    folder: Path
    history: str
    marker: Path

    def job(self, playbook: str, ident: str, **variables: Any) -> Job:
        scratch = self.folder / "tmp"
        extra = {
            "runbooks_history_url": self.history,
            "runbooks_report_directory": str(scratch / "reports"),
            "runbooks_hosts": "all",
            **variables,
        }
        (self.folder / "env" / "extravars").write_text(yaml.safe_dump(extra), encoding="utf-8")
        done = run(
            "ansible-runner", "run", str(self.folder), "-p", f"playbooks/{playbook}.yml", "-i", ident, "-q",
            cwd=scratch, HOME="/dev/null/none", TMPDIR=str(scratch),
        )  # fmt: skip
        artifacts = self.folder / "artifacts" / ident
        assert (artifacts / "rc").exists(), done.stdout + done.stderr
        return Job(artifacts)

    def digest(self) -> str:
        """Of all that a job has no business to change."""
        files = sorted(
            path
            for name in ("project", "collections", "inventory")
            for path in (self.folder / name).rglob("*")
            if path.is_file()
        )
        return hashlib.sha256(b"".join(str(path).encode() + path.read_bytes() for path in files)).hexdigest()


def inventory(folder: Path, marker: Path) -> dict[str, Any]:
    state = folder / "hosts"
    host = {"runbooks_state_dir": f"{state}/{{{{ inventory_hostname }}}}", "ansible_remote_tmp": f"{state}/tmp"}
    return {
        "all": {
            "vars": {
                "ansible_connection": "local",
                "ansible_python_interpreter": sys.executable,
                "runbooks_system": "SHOP",
                "backup_directory": f"{state}/{{{{ inventory_hostname }}}}/backups",
                "backup_compression": {"algorithm": "gzip"},
                "runbooks_checks_base": [
                    {
                        "name": "marker",
                        "type": "file",
                        "path": str(marker),
                        "metrics": {"size_bytes": {"critical": "> 100 B"}},
                    }
                ],
                # These hosts are the machine of the tests: nothing of it is touched. Two bolts, for either might be forgotten.
                "runbooks_windows": [{"begin": "2020-01-01T00:00:00Z", "end": "2020-01-01T01:00:00Z"}],
                "patching_updates": "none",
                "runbooks_files_base": [{"name": "settings", "engine": "files", "paths": [str(folder / "data")]}],
            },
            "hosts": dict.fromkeys(HOSTS, host),
        }
    }


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory, postgresql_server: PostgresqlServer) -> Controller:
    folder = tmp_path_factory.mktemp("runner")
    marker = folder / "data" / "marker"
    for name in ("env", "inventory", "tmp", "data", "dist"):
        (folder / name).mkdir()
    marker.write_text("fine\n", encoding="utf-8")
    shutil.copytree(ROOT / "awx" / "project", folder / "project")
    built = run("ansible-galaxy", "collection", "build", "--output-path", str(folder / "dist"), cwd=ROOT)
    assert built.returncode == 0, built.stderr
    artifact = next((folder / "dist").glob("*.tar.gz"))
    installed = run(
        "ansible-galaxy",
        "collection",
        "install",
        "--offline",
        "-p",
        str(folder / "collections"),
        str(artifact),
        cwd=folder,
    )
    assert installed.returncode == 0, installed.stderr
    settings = {
        "ANSIBLE_COLLECTIONS_PATH": str(folder / "collections"),
        "ANSIBLE_HOME": str(folder / "tmp" / "ansible"),
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True",
        "ANSIBLE_RETRY_FILES_ENABLED": "False",
        "PYTHONDONTWRITEBYTECODE": "1",
        "JOB_ID": "17",
    }
    (folder / "env" / "envvars").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (folder / "inventory" / "hosts.yml").write_text(yaml.safe_dump(inventory(folder, marker)), encoding="utf-8")
    history = postgresql_server.url(postgresql_server.create_database("runner"))
    return Controller(folder, history, marker)


@pytest.fixture(scope="module")
def daily(controller: Controller) -> Job:
    before = controller.digest()
    job = controller.job("daily", "daily")
    assert controller.digest() == before, "the job wrote into its project, collections or inventory"
    return job


def runs(controller: Controller) -> list[dict[str, Any]]:
    """The runs of the history, the newest first."""
    return History(controller.history).newest(10)[0]


def test_c8_daily_succeeds_and_its_record_is_in_postgresql(controller: Controller, daily: Job) -> None:
    assert (daily.rc, daily.status) == (0, "successful"), (daily.artifacts / "stdout").read_text(encoding="utf-8")[
        -3000:
    ]
    assert set(daily.stats["ok"]) == set(HOSTS)
    assert not daily.stats["failures"]
    assert not daily.stats["dark"]
    assert len(runs(controller)) == 1
    assert list((controller.folder / "tmp" / "reports").rglob("*.html"))


def test_secrets_are_in_no_artifact(controller: Controller, daily: Job, postgresql_server: PostgresqlServer) -> None:
    assert controller.history.count(postgresql_server.password) == 1
    assert daily.holds(postgresql_server.password) == []


@pytest.fixture(scope="module")
def critical(controller: Controller, daily: Job) -> Iterator[None]:
    """A check of both hosts is critical."""
    assert daily.rc == 0
    controller.marker.write_text("x" * 1000, encoding="utf-8")
    yield
    controller.marker.write_text("fine\n", encoding="utf-8")


@pytest.mark.usefixtures("critical")
def test_c8_what_is_critical_fails_the_job(controller: Controller) -> None:
    job = controller.job("daily", "critical")
    assert (job.rc, job.status) == (2, "failed")
    assert sum(job.stats["failures"].values()) == 1
    failed = [event["event_data"]["task"] for event in job.events if event["event"] == "runner_on_failed"]
    assert failed == ["Report the run, and let its status decide the exit status"]


@pytest.mark.usefixtures("critical")
def test_c8_weekly_succeeds_where_no_finding_is_to_fail_it(controller: Controller) -> None:
    before = controller.digest()
    job = controller.job("weekly", "weekly", report_fail_on="never")
    assert (job.rc, job.status) == (0, "successful"), (job.artifacts / "stdout").read_text(encoding="utf-8")[-3000:]
    assert set(job.stats["ok"]) == set(HOSTS)
    assert controller.digest() == before
    begun = {event["event_data"].get("task") for event in job.events if event["event"] == "runner_on_ok"}
    assert "Ask whether updates may be installed now" in begun
    assert "Patch the host" not in begun, "outside the window"
