# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks sre.runbooks.database_maintenance and sre.runbooks.migration, run by ansible-playbook (D6, D7, D9, D10, D11)."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .conftest import CHECKOUT, sqlite_file
from .test_migration import ALEMBIC, AT_FIRST, AT_LAST, lite, revision, template

__all__ = ["lite", "template"]


@pytest.fixture
def play(tmp_path):
    """Run a playbook with variables; return its output and the outcomes that the report has of it."""

    def go(name, *arguments, rc=0, **variables):
        host = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "runbooks_state_dir": str(tmp_path / "state"),
            "runbooks_history_url": f"sqlite:///{tmp_path}/history.db",
            "runbooks_report_directory": str(tmp_path / "reports"),
            "report_formats": ["json"],
            "migration_backup_directory": str(tmp_path / "backups"),
            "migration_scratch_directory": str(tmp_path),
            "database_maintenance_archive_directory": str(tmp_path / "archive"),
        }
        (tmp_path / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": {"here": {**host, **variables}}}}))
        program = str(Path(sys.executable).parent / "ansible-playbook")
        done = subprocess.run(
            [program, "-i", str(tmp_path / "inventory.yml"), f"sre.runbooks.{name}", *arguments],
            cwd=CHECKOUT,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == rc, done.stdout + done.stderr
        reports = sorted((tmp_path / "reports").rglob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        report = json.loads(reports[-1].read_text()) if reports else {}
        return done.stdout + done.stderr, report

    return go


def outcomes(report):
    hosts = [host for system in report["systems"] for host in system["hosts"]]
    return sorted((each["subject"], each["stage"], each["status"]) for host in hosts for each in host["outcomes"])


def test_maintenance_of_all_databases_and_a_second_run_changes_nothing(play, tmp_path):
    """D6, D7, D9 in one run, with lists of the inventory."""
    path = sqlite_file(tmp_path / "app.db")
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE old (id INTEGER PRIMARY KEY, at TEXT)")
        database.execute("INSERT INTO old (at) VALUES ('2020-01-01T00:00:00Z'), ('2999-01-01T00:00:00Z')")
        database.commit()
    variables = {
        "runbooks_databases_x": [
            {"name": "app", "engine": "sqlite", "path": str(path), "retention": {"keep_daily": 3}},
            {"name": "cache", "engine": "redis"},
            {"name": "cluster", "engine": "postgresql", "globals": True},
        ],
        "runbooks_indexes_x": [{"database": "app", "table": "gone", "columns": ["text"]}],
        "runbooks_archives_x": [{"name": "app", "engine": "sqlite", "path": str(path), "table": "old", "column": "at"}],
    }
    output, report = play("database_maintenance", "--check", **variables)
    assert "changed=0" not in output
    assert not (tmp_path / "state").exists()
    output, report = play("database_maintenance", **variables)
    assert sorted(each[1:] for each in outcomes(report)) == [("archive", "ok"), ("indexes", "ok"), ("vacuum", "ok")]
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT at FROM old").fetchall() == [("2999-01-01T00:00:00Z",)]
        assert database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'idx_gone_text'").fetchone() == (1,)
    output, report = play("database_maintenance", **variables)
    assert "changed=0" in output
    assert sorted(each[1:] for each in outcomes(report)) == [("archive", "ok"), ("indexes", "ok"), ("vacuum", "ok")]


def test_only_some_stages_and_a_mistake_that_is_told(play, tmp_path):
    path = sqlite_file(tmp_path / "app.db")
    databases = [{"name": "app", "engine": "sqlite", "path": str(path)}]
    wrong = [{"database": "none", "table": "gone", "columns": ["text"]}]
    variables = {"runbooks_databases_x": databases, "runbooks_indexes_x": wrong}
    output, report = play("database_maintenance", rc=2, **variables)
    assert "indexes[0].database: 'none' is no database of this call" in output
    assert ("sqlite:app", "vacuum", "ok") in outcomes(report)
    assert ("database_maintenance", "roll_call", "critical") in outcomes(report)
    _output, report = play("database_maintenance", database_maintenance_stages=["vacuum"], **variables)
    assert outcomes(report) == [("sqlite:app", "vacuum", "ok")]


def test_without_databases_there_is_nothing_to_do(play):
    _output, report = play("database_maintenance")
    assert outcomes(report) == [("database_maintenance", "database_maintenance", "skipped")]


def test_migration_makes_its_backup_rehearses_and_upgrades(play, lite, tmp_path):
    """D10, D11: one call when there is nothing to do, a backup only when there is."""
    application = lite()
    project = {
        "name": "shop",
        "directory": str(application.folder),
        "command": ALEMBIC,
        "environment": {"DATABASE_URL": application.url},
        "database": "app",
    }
    variables = {"runbooks_databases_x": [application.source], "runbooks_migrations_x": [project]}
    _output, report = play("migration", migration_upgrade=False, **variables)
    assert outcomes(report) == [("alembic:shop", "migration", "warning")]
    assert not (tmp_path / "backups").exists()
    assert revision(application) == AT_FIRST
    output, report = play("migration", **variables)
    assert outcomes(report) == [("alembic:shop", "migration", "ok")]
    assert revision(application) == AT_LAST
    assert len(list((tmp_path / "backups/app").glob("*.pin"))) == 1
    output, report = play("migration", **variables)
    assert "changed=0" in output
    assert len(list((tmp_path / "backups/app").glob("*.manifest.json"))) == 1
