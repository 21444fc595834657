# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real Alembic migrations on a real SQLite database (H12, D10)."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ALEMBIC = [sys.executable, "-m", "alembic"]
SECRET = "geheim-0123456789"


class Application:
    """A folder with Alembic's own set-up in it, and the database that its `DATABASE_URL` names."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.database = folder / "app", folder / "app.db"
        self.environment = {"DATABASE_URL": f"sqlite:///{self.database}"}

    def set_up(self) -> None:
        self.folder.mkdir()
        self.alembic("init", "migrations")
        script = self.folder / "migrations/env.py"
        line = "config = context.config"
        script.write_text(
            script.read_text().replace(
                line, f'{line}\nimport os\nconfig.set_main_option("sqlalchemy.url", os.environ["DATABASE_URL"])'
            )
        )
        for name in ("a1", "b2", "c3"):
            self.revision(name)

    def alembic(self, *words: str) -> str:
        environment = {**os.environ, **self.environment, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [*ALEMBIC, *words], cwd=self.folder, check=True, text=True, env=environment, stdout=subprocess.PIPE
        )
        return done.stdout

    def revision(self, name: str, *words: str) -> str:
        self.alembic("revision", f"--rev-id={name}", f"--message=step {name}, (of) the -> way", *words)
        return name


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    made = Application(tmp_path_factory.mktemp("template"))
    made.set_up()
    return made.folder


@pytest.fixture
def application(tmp_path, template):
    made = Application(tmp_path)
    shutil.copytree(template, made.folder)
    return made


@pytest.fixture
def migrations(check, application):
    def go(**given):
        options = {
            "directory": str(application.folder),
            "command": ALEMBIC,
            "environment": application.environment,
            "timeout": "60s",
        }
        return check("migrations", **{**options, **given})

    return go


def test_all_are_applied(migrations, application):
    application.alembic("upgrade", "head")
    outcome = migrations()
    assert (outcome["status"], outcome["metrics"]) == ("ok", {"pending": 0})
    assert outcome["summary"] == "the database is at c3: all 3 migrations are applied"


@pytest.mark.parametrize(("at", "pending", "names"), [("b2", 1, ["c3"]), ("a1", 2, ["c3", "b2"])])
def test_some_are_pending(migrations, application, at, pending, names):
    application.alembic("upgrade", at)
    outcome = migrations()
    assert (outcome["status"], outcome["metrics"]) == ("critical", {"pending": pending})
    told = ", ".join(reversed(names))
    assert outcome["summary"].endswith(f"the database is at {at}, {pending} of 3 migrations are not applied: {told}")
    assert outcome["details"]["pending"] == names
    assert migrations(warning="> 0")["status"] == "warning"


def test_a_database_at_no_revision(migrations):
    outcome = migrations()
    assert (outcome["status"], outcome["metrics"]) == ("critical", {"pending": 3})
    assert "the database is at no revision, 3 of 3 migrations are not applied: a1, b2, c3" in outcome["summary"]


def test_heads_that_went_apart(migrations, application):
    application.alembic("upgrade", "head")
    application.revision("d4", "--head=b2", "--splice")
    outcome = migrations(critical="> 5")
    assert (outcome["status"], outcome["metrics"]) == ("warning", {"pending": 1})
    assert outcome["summary"].startswith("there are 2 heads (")
    application.alembic("upgrade", "heads")
    outcome = migrations()
    assert outcome["status"] == "ok"
    assert sorted(outcome["details"]["current"]) == ["c3", "d4"]
    application.alembic("merge", "--rev-id=e5", "heads")
    assert migrations()["details"]["pending"] == ["e5"]
    application.alembic("upgrade", "head")
    assert migrations()["summary"] == "the database is at e5: all 5 migrations are applied"


def test_branches_with_labels_and_dependencies(migrations, application):
    application.revision("d4", "--head=base", "--branch-label=side", "--depends-on=b2")
    application.alembic("upgrade", "d4")
    outcome = migrations()
    assert outcome["details"]["pending"] == ["c3"]
    application.alembic("upgrade", "heads")
    assert migrations()["status"] == "ok"


def test_a_database_that_is_newer_than_the_code_is_critical(migrations, application):
    application.alembic("upgrade", "head")
    (script,) = (application.folder / "migrations/versions").glob("c3_*.py")
    script.unlink()
    outcome = migrations()
    assert outcome["status"] == "critical"
    assert "Can't locate revision identified by 'c3'" in outcome["summary"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (f"postgresql+psycopg://me:{SECRET}@127.0.0.1:1/x", "Connection refused"),
        (f"sqlite:////nowhere/{SECRET}/x.db", "unable to open database file"),
    ],
)
def test_a_database_that_cannot_be_reached_is_critical(migrations, url, message):
    outcome = migrations(environment={"DATABASE_URL": url})
    assert outcome["status"] == "critical"
    assert message in outcome["summary"]
    assert SECRET not in str(outcome)


def test_a_database_that_hangs_is_critical_at_the_timeout(migrations, hanging):
    outcome = migrations(environment={"DATABASE_URL": f"postgresql+psycopg://me@127.0.0.1:{hanging}/x"}, timeout="3s")
    assert outcome["status"] == "critical"
    assert "did not end within 3 s" in outcome["summary"]


def test_a_damaged_database_is_critical(migrations, application):
    application.database.write_text("no database at all" * 100)
    outcome = migrations()
    assert outcome["status"] == "critical"
    assert "file is not a database" in outcome["summary"]


def test_a_folder_without_alembic_is_unknown(migrations, tmp_path):
    outcome = migrations(directory=str(tmp_path))
    assert outcome["status"] == "unknown"
    assert "alembic.ini" in outcome["summary"] or "script_location" in outcome["summary"]


def test_a_folder_that_is_missing_is_unknown(migrations):
    outcome = migrations(directory="/nowhere")
    assert (outcome["status"], outcome["summary"]) == (
        "unknown",
        "directory: /nowhere is no folder. Name the one that holds alembic.ini.",
    )


def test_without_alembic_it_is_unknown_by_package(migrations, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = migrations(command=["alembic"])
    assert outcome["status"] == "unknown"
    assert outcome["summary"].startswith("alembic is not installed on this host. Install the package alembic ")


def test_a_command_in_the_folder_itself(migrations, application):
    (application.folder / "bin").mkdir()
    (application.folder / "bin/alembic").symlink_to(Path(sys.executable).with_name("alembic"))
    application.alembic("upgrade", "head")
    assert migrations(command=["bin/alembic"])["status"] == "ok"


def test_looking_leaves_nothing_behind(migrations, application, monkeypatch):
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"):
        monkeypatch.delenv(name, raising=False)
    application.alembic("upgrade", "head")
    before = sorted(application.folder.rglob("*")), application.database.read_bytes()
    migrations()
    assert (sorted(application.folder.rglob("*")), application.database.read_bytes()) == before
    with sqlite3.connect(application.database) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("c3",)]
    connection.close()
