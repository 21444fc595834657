# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small real systems for the playbooks of the cadences: a database with old rows, logs, settings, packages, each host with its own."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..patching.conftest import CHECKOUT, Machine

PROGRAM = Path(sys.executable).with_name("ansible-playbook")
DAY = 86400


def window(begins: float, ends: float, **more):
    """A window that begins and ends so many seconds from now."""
    begin, end = (
        datetime.datetime.fromtimestamp(time.time() + each, datetime.UTC).isoformat(timespec="seconds")
        for each in (begins, ends)
    )
    return {"begin": begin, "end": end, **more}


# Made when the first test of the session is collected; hours may pass before those of this folder run.
OPEN = window(-3600, DAY)
CLOSED = window(DAY, 2 * DAY)


class System:
    """What one host has. Its Python leads apt and dpkg to its own folders; all else is in its folder too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.machine = Machine(folder / "machine")
        for name in ("logs", "app"):
            (folder / name).mkdir()
        self.database = folder / "app/app.db"
        with contextlib.closing(sqlite3.connect(self.database)) as opened:
            opened.execute("CREATE TABLE history (id INTEGER PRIMARY KEY, at TEXT, text TEXT)")
            opened.executemany(
                "INSERT INTO history (at, text) VALUES (?, ?)",
                [(f"20{'15' if each % 2 else '99'}-01-01T00:00:00", "x" * 500) for each in range(2000)],
            )
            opened.execute("CREATE TABLE junk AS SELECT * FROM history")
            opened.execute("DROP TABLE junk")
            opened.commit()
        (folder / "logs/app.log").write_text("2026-11-21 09:00:00 ERROR odd\n")
        (folder / "cache").touch()
        old = folder / "logs/app.log.1"
        old.write_text("old\n")
        os.utime(old, (time.time() - 40 * DAY,) * 2)
        (folder / "app/settings.ini").write_text("[main]\nlevel = 3\n")

    def python(self) -> str:
        path = self.folder / "python"
        words = " ".join(f"'{key}={value}'" for key, value in self.machine.environment.items())
        path.write_text(f'#!/bin/sh\nexec env {words} {sys.executable} "$@"\n')
        path.chmod(0o755)
        return str(path)

    def update(self) -> None:
        """A library that is installed, and a security update of it."""
        self.machine.build("base", "library", "1.0")
        self.machine.install("library")
        self.machine.build("security", "library", "1.1")
        self.machine.apt("update")

    def rows(self) -> int:
        with contextlib.closing(sqlite3.connect(self.database)) as opened:
            return int(opened.execute("SELECT count(*) FROM history").fetchone()[0])

    def unused(self) -> int:
        """Free pages of the database, which a vacuum gives back."""
        with contextlib.closing(sqlite3.connect(self.database)) as opened:
            return int(opened.execute("PRAGMA freelist_count").fetchone()[0])

    def copies(self) -> list[str]:
        """The manifests of the database's backups."""
        return sorted(path.name for path in (self.folder / "backups").rglob("app_*.manifest.json"))

    def variables(self, **more):
        folder = self.folder
        return {
            "ansible_connection": "local", "ansible_python_interpreter": self.python(),
            "runbooks_system": "SHOP", "runbooks_state_dir": f"{folder}/state", "backup_directory": f"{folder}/backups",
            "runbooks_checks_shop": [{"name": "database", "type": "sqlite", "path": str(self.database)}],
            "runbooks_databases_shop": [{"name": "app", "engine": "sqlite", "path": str(self.database)}],
            "runbooks_files_shop": [{"name": "settings", "paths": [f"{folder}/app/settings.ini"]}],
            "runbooks_logs_shop": [
                {"name": "old", "paths": [f"{folder}/logs"], "patterns": ["*.log.*"], "older_than": "30d", "action": "delete"}
            ],
            "runbooks_scan_sources_shop": [{"name": "app", "path": f"{folder}/logs/app.log"}],
            "runbooks_scan_rules_shop": [{"name": "errors", "pattern": "ERROR", "warning": "> 100", "per": "count"}],
            "runbooks_secrets_shop": [{"name": "settings", "paths": [f"{folder}/app"]}],
            "secret_scan_engine": "detect-secrets", "secret_scan_program": str(PROGRAM.with_name("detect-secrets")),
            # The clean-up of a cache, as a site has it.
            "runbooks_steps_shop": [
                {"name": "cache", "argv": ["rm", "-f", f"{folder}/cache"], "cadences": ["weekly"]},
                {"name": "review", "argv": ["true"], "cadences": ["monthly", "quarterly"]},
            ],
            "patching_free": "1MiB", "patching_checks_within": "0s",
            **more,
        }  # fmt: skip


@dataclasses.dataclass
class Ran:
    """A run: its exit status, what it printed, and the outcomes by host in its report."""

    rc: int
    output: str
    hosts: dict[str, list[dict]]

    def told(self, host: str, stage: str) -> list[dict]:
        return [each for each in self.hosts[host] if each["stage"] == stage]

    def rows(self, host: str) -> list[tuple[str, str]]:
        """Subject and status of whatever is not ok."""
        return [(each["subject"], each["status"]) for each in self.hosts[host] if each["status"] != "ok"]

    def recap(self, host: str) -> dict[str, int]:
        (line,) = re.findall(rf"^{host} +: (ok=.*)$", self.output, re.MULTILINE)
        return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", line)}


class Site:
    """An inventory and its controller's folders; runs playbooks of the collection."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hosts: dict[str, dict] = {}
        self.children: dict[str, dict] = {}

    def system(self, name: str, **more) -> System:
        made = System(self.folder / name)
        self.hosts[name] = made.variables(**more)
        return made

    def run(self, playbook: str, *arguments: str, **variables) -> Ran:
        inventory = {"all": {"hosts": self.hosts, "children": self.children}}
        (self.folder / "inventory.json").write_text(json.dumps(inventory))
        extra = {
            "runbooks_report_directory": f"{self.folder}/reports",
            "runbooks_history_url": f"sqlite:///{self.folder}/history.db",
            "report_fail_on": "never", "report_formats": ["table", "json"], **variables,
        }  # fmt: skip
        argv = [str(PROGRAM), playbook, "-i", f"{self.folder}/inventory.json", "-e", json.dumps(extra), *arguments]
        done = subprocess.run(
            argv, cwd=CHECKOUT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", "COLUMNS": "400"},
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, self._document(playbook.rpartition(".")[2]))

    def _document(self, name: str) -> dict[str, list[dict]]:
        path = self.folder / f"reports/{name}_latest.json"
        if not path.exists():
            return {}
        document = json.loads(path.read_text())
        return {host["name"]: host["outcomes"] for system in document["systems"] for host in system["hosts"]}


def tree(folder: Path) -> dict[str, str]:
    """Every file below with its digest."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def site(tmp_path):
    """An empty inventory."""
    return Site(tmp_path)
