# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook sre.runbooks.disaster_drill: a system from its copies onto an empty place (D4, D11, C4)."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ..backup.conftest import CHECKOUT, database, tree


@pytest.fixture
def role(postgresql_server):
    name = f"app_{secrets.token_hex(4)}"
    postgresql_server.psql(f"CREATE ROLE {name} LOGIN")
    yield name
    postgresql_server.psql(f"DROP ROLE IF EXISTS {name}")


@pytest.fixture
def system(tmp_path, backup, postgresql_server, role):
    """A system of settings, a SQLite and a PostgreSQL database with its role; its copies; then all of it is gone."""
    server = postgresql_server
    name = f"drill_{secrets.token_hex(4)}"
    place = {"engine": "postgresql", "host": str(server.socket_dir), "port": server.port, "user": server.user}
    folder = tmp_path / "opt" / "app"
    folder.mkdir(parents=True)
    (folder / ".env").write_text("A=1\n")
    database(folder / "app.db")
    server.psql(f"CREATE DATABASE {name} OWNER {role}")
    server.psql(
        f"CREATE TABLE numbers (n int); ALTER TABLE numbers OWNER TO {role}; INSERT INTO numbers SELECT generate_series(1, 1000)",
        name,
    )
    databases = [
        {"name": "main", "database": name, **place},
        {"name": "roles", "globals": True, **place},
        {"name": "lite", "engine": "sqlite", "path": str(folder / "app.db")},
    ]
    files = [{"name": "settings", "paths": [str(folder / ".env")]}]
    for source in [*databases, {**files[0], "engine": "files"}]:
        backup(source)
    server.psql(f"DROP DATABASE {name}")
    server.psql(f"DROP ROLE {role}")
    shutil.rmtree(folder)
    yield {"runbooks_databases_app": databases, "runbooks_files_app": files, "runbooks_system": "APP"}, folder, name
    for each in server.psql(f"SELECT datname FROM pg_database WHERE datname LIKE '{name}%'").splitlines():
        server.psql(f'DROP DATABASE "{each}"')


@pytest.fixture
def drill(tmp_path, places, system):
    """Hold the drill for a host that nobody can connect with; return exit status and output."""
    variables, folder, _name = system
    checks = [
        {"name": "database", "type": "sqlite", "path": str(folder / "app.db"), "integrity": "full"},
        {"name": "copies", "type": "backup", "directory": "/nonexistent", "warning": "> 1d"},
    ]
    spare = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "runbooks_state_dir": places["state_dir"],
        "runbooks_history_url": f"sqlite:///{tmp_path}/history.db",
        "report_directory": str(tmp_path / "reports"),
        "disaster_drill_health_timeout": 1,
    }
    origin = {"ansible_host": "127.0.0.1", "ansible_port": 1, "runbooks_checks_app": checks, **variables}

    def go(*arguments, **more):
        inventory = {
            "all": {"hosts": {"origin": origin}, "children": {"drill": {"hosts": {"spare": {**spare, **more}}}}}
        }
        (tmp_path / "inventory.yml").write_text(yaml.safe_dump(inventory))
        argv = ["-i", str(tmp_path / "inventory.yml"), "sre.runbooks.disaster_drill", "-e", "drill_for=origin"]
        argv += ["-e", f"drill_source={places['directory']}", *arguments]
        done = subprocess.run(
            [str(Path(sys.executable).parent / "ansible-playbook"), *argv],
            cwd=CHECKOUT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return go


def test_everything_comes_back_on_an_empty_host_and_the_times_are_told(drill, system, postgresql_server, tmp_path):
    """D11, C4: settings, roles, two databases; nothing else than the copies was at hand."""
    _variables, folder, name = system
    status, output = drill("--check")
    assert status == 0, output
    assert not folder.exists()
    status, output = drill("-e", "disaster_drill_seconds=0")
    assert status == 0, output
    assert "disaster_drill: WARNING" in output, "past its target"
    assert (folder / ".env").read_text() == "A=1\n"
    with contextlib.closing(sqlite3.connect(folder / "app.db")) as opened:
        assert opened.execute("SELECT count(*) FROM done").fetchone() == (200,)
    assert postgresql_server.psql("SELECT count(*) FROM numbers", name) == "1000"
    assert postgresql_server.psql("SELECT tableowner FROM pg_tables WHERE tablename = 'numbers'", name).startswith(
        "app_"
    )
    said = " ".join(output.split())
    assert "restored and healthy after" in said
    assert "4 restores in" in said
    assert "(target 0 s)" in said
    page = next((tmp_path / "reports").rglob("*.html")).read_text()
    assert "drill:APP" in page
    assert "disaster_drill" in page
    assert "postgresql:main" in page


def test_a_host_that_is_not_empty_is_refused_and_a_sick_system_is_critical(drill, system):
    _variables, folder, _name = system
    folder.mkdir()
    (folder / ".env").write_text("somebody's\n")
    before = tree(folder)
    status, output = drill()
    assert status != 0
    assert f"spare is not empty, {folder}/.env is there. Nothing was changed." in " ".join(output.split())
    assert tree(folder) == before
    checks = [{"name": "gone", "type": "file", "path": "/nonexistent/file", "warning": "> 1d"}]
    status, output = drill(disaster_drill_replace=True, disaster_drill_checks=checks)
    assert status != 0
    assert "not everything is as it should be after this restore" in output
    assert "NOT well: file:gone after" in " ".join(output.split())


def test_a_drill_on_the_original_host_is_refused(drill, system):
    status, output = drill("-e", "drill_for=spare")
    assert status != 0
    assert "is the host that the drill would run on" in output
