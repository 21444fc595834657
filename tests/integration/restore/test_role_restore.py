# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook sre.runbooks.restore and its role, run by ansible-playbook (D5, D11). Services are stopped and started in the lab."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ..backup.conftest import CHECKOUT, database, tree
from .conftest import flip


@pytest.fixture
def app(tmp_path):
    """A system of one database and its settings."""
    folder = tmp_path / "app"
    folder.mkdir()
    database(folder / "app.db")
    (folder / "app.env").write_text("LEVEL=old\n")
    return folder


@pytest.fixture
def sources(app, backup):
    """Both, backed up; then both are changed."""
    lite = {"name": "db", "engine": "sqlite", "path": str(app / "app.db"), "interval": "1h"}
    settings = {"name": "settings", "paths": [str(app / "app.env")]}
    found = {"runbooks_databases_x": [lite], "runbooks_files_x": [settings]}
    copies = [backup(lite, interval="0s"), backup({**settings, "engine": "files"})]
    with contextlib.closing(sqlite3.connect(app / "app.db")) as opened, opened as connection:
        connection.execute("DELETE FROM done")
    (app / "app.env").write_text("LEVEL=new\n")
    return found, copies


@pytest.fixture
def play(tmp_path, places, app):
    """Run a playbook of the collection on this host; return its exit status and what it printed."""

    def go(*arguments, playbook="sre.runbooks.restore", hosts=("here",), **variables):
        host = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "backup_directory": places["directory"],
            "runbooks_state_dir": places["state_dir"],
            "runbooks_system": "F11",
            "runbooks_history_url": f"sqlite:///{tmp_path}/history.db",
            "report_directory": str(tmp_path / "reports"),
            "runbooks_checks_x": [
                {"name": "database", "type": "sqlite", "path": str(app / "app.db"), "integrity": "full"}
            ],
            "restore_health_timeout": 1,
        }
        inventory = {"all": {"hosts": {name: {**host, **variables} for name in hosts}}}
        (tmp_path / "inventory.yml").write_text(yaml.safe_dump(inventory))
        done = subprocess.run(
            [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(tmp_path / "inventory.yml"), playbook, *arguments],
            cwd=CHECKOUT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return go


def restored(app):
    with contextlib.closing(sqlite3.connect(app / "app.db")) as opened:
        return opened.execute("SELECT count(*) FROM done").fetchone()[0] == 200, (
            app / "app.env"
        ).read_text() == "LEVEL=old\n"


def test_without_confirmation_it_is_a_dry_run(play, sources, app, tmp_path):
    variables, _copies = sources
    before = tree(app), tree(tmp_path / "backups")
    status, output = play(**variables)
    assert status == 0, output
    assert f"would restore {app}/app.db from db_" in output
    assert "changed=0" in output
    assert "Nothing was changed. To restore this, run again with -e restore_confirm=here" in output
    assert (tree(app), tree(tmp_path / "backups")) == before
    assert not (tmp_path / "history.db").exists(), "a dry run is no run of the history"


def test_a_confirmation_of_something_else_is_refused_before_anything(play, sources, app):
    variables, _copies = sources
    before = tree(app)
    status, output = play("-e", "restore_confirm=F11x", **variables)
    assert status != 0
    assert (
        "restore_confirm: 'F11x' is neither the host here nor its system F11. Nothing was done on any host."
        in " ".join(output.split())
    )
    assert "would restore" not in output
    assert tree(app) == before
    status, output = play("-e", "restore_confirm=here", hosts=("here", "there"), **variables)
    assert status != 0, "a confirmation of one host is none for two"
    assert tree(app) == before


def test_a_confirmed_run_restores_everything_and_reports(play, sources, app, tmp_path):
    """D5: configuration and data, health after, a report in the end."""
    variables, _copies = sources
    status, output = play("-e", "restore_confirm=f11", **variables)
    assert status == 0, output
    assert restored(app) == (True, True)
    assert "changed=1" in output
    page = next((tmp_path / "reports").rglob("*.html")).read_text()
    assert "sqlite:db" in page
    assert "files:settings" in page
    assert "restored from db_" in page
    assert (tmp_path / "history.db").exists()
    assert len([name for name in os.listdir(app) if ".before-restore-" in name]) == 2


def test_one_of_them_by_its_name_in_check_mode_and_for_real(play, sources, app):
    variables, _copies = sources
    names = ["-e", '{"restore_names": ["settings"], "restore_confirm": "yes"}']
    status, output = play("--check", *names, **variables)
    assert status == 0, output
    assert f"would restore {app}/app.env from settings_" in output
    assert "sqlite:db" not in output
    assert restored(app) == (False, False)
    status, output = play(*names, "--tags", "restore", **variables)
    assert status == 0, output
    assert restored(app) == (False, True)


def test_what_cannot_be_restored_is_found_before_a_service_is_stopped(play, sources, app):
    """The service does not exist: stopping it would fail with another message."""
    variables, copies = sources
    flip(copies[0])
    status, output = play("-e", "restore_confirm=yes", restore_services=["sre-runbooks-no-such-service"], **variables)
    assert status != 0
    assert "its SHA-256 is not that of what was written" in output
    assert "sre-runbooks-no-such-service" not in output
    assert restored(app) == (False, False), "the whole system or nothing of it, when that is known before"


def test_a_system_that_stays_sick_is_told(play, sources, app):
    variables, _copies = sources
    checks = [{"name": "gone", "type": "file", "path": str(app / "never"), "warning": "> 1d"}]
    status, output = play("-e", "restore_confirm=yes", runbooks_checks_y=checks, **variables)
    assert status != 0
    assert restored(app) == (True, True)
    assert "not everything is as it should be after this restore: after 1 s this is not well: file:gone" in " ".join(
        output.split()
    )
    assert "health" in output


def test_a_mistake_in_a_variable_is_told_before_anything(play, sources, app):
    variables, _copies = sources
    status, output = play("-e", "restore_confirm=yes", restore_keep_old="many", **variables)
    assert status != 0
    assert "Nothing was done, for the inventory cannot be used. Role restore: argument 'restore_keep_old'" in " ".join(
        output.split()
    )
    assert restored(app) == (False, False)
