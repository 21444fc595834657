# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.migration with real Alembic on SQLite and PostgreSQL: backup, rehearsal, upgrade, way back (D10, D11)."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from .conftest import mysql, postgresql

ALEMBIC = [sys.executable, "-m", "alembic"]
REVISION = '''
"""step"""
import os, pathlib, time
from alembic import op
import sqlalchemy as sa
revision, down_revision = "{name}", {down!r}
folder = pathlib.Path(__file__).parents[2]


def upgrade():
    {up}


def downgrade():
    {back}
'''
FIRST = (
    'op.create_table("tasks", sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.Text))',
    'op.drop_table("tasks")',
)
SECOND = ('op.add_column("tasks", sa.Column("owner", sa.Text))', 'op.drop_column("tasks", "owner")')
THIRD = ('op.create_index("tasks_owner", "tasks", ["owner"])', 'op.drop_index("tasks_owner")')


class Application:
    """A folder with Alembic's own set-up in it, for the database of its variable `DATABASE_URL`."""

    def __init__(self, folder, url):
        self.folder, self.url = folder, url
        self.source: dict[str, Any] = {}

    def set_up(self, template, *steps):
        shutil.copytree(template, self.folder)
        for number, step in enumerate(steps, start=1):
            self.revision(number, *step)

    def revision(self, number, up, back="pass"):
        text = REVISION.format(name=f"r{number}", down=f"r{number - 1}" if number else None, up=up, back=back)
        (self.folder / f"migrations/versions/r{number}.py").write_text(text)

    def alembic(self, *words):
        environment = {**os.environ, "DATABASE_URL": self.url, "PYTHONDONTWRITEBYTECODE": "1"}
        subprocess.run([*ALEMBIC, *words], cwd=self.folder, check=True, env=environment, capture_output=True)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("template") / "app"
    folder.mkdir()
    subprocess.run([*ALEMBIC, "init", "migrations"], cwd=folder, check=True, capture_output=True)
    script = folder / "migrations/env.py"
    line = "config = context.config"
    setting = 'config.set_main_option("sqlalchemy.url", os.environ["DATABASE_URL"].replace("%", "%%"))'
    script.write_text(script.read_text().replace(line, f"{line}\nimport os\n{setting}"))
    application = Application(folder, f"sqlite:///{folder}/first.db")
    application.revision(0, *FIRST)
    application.alembic("upgrade", "r0")
    return folder


@pytest.fixture
def store(tmp_path):
    return tmp_path / "backups"


@pytest.fixture
def lite(tmp_path, template):
    """A SQLite application at its first revision with two more to come, or with `steps` instead."""

    def go(*steps):
        path = tmp_path / "app.db"
        application = Application(tmp_path / "app", f"sqlite:///{path}")
        application.set_up(template, *(steps or (SECOND, THIRD)))
        shutil.copy(template / "first.db", path)
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("INSERT INTO tasks (text) VALUES ('kept')")
            database.commit()
        application.source = {"name": "app", "engine": "sqlite", "path": str(path)}
        return application

    return go


@pytest.fixture
def pg(tmp_path, template, postgresql_server, postgresql_database):
    """A PostgreSQL application whose user owns the database and may nothing else; backups are made by the superuser."""
    role, password = f"{postgresql_database}_app", "p@ss/word-0123456789"

    def go(*steps):
        postgresql_server.psql(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        postgresql_server.psql(f"ALTER DATABASE {postgresql_database} OWNER TO {role}")
        place = f"{role}:{quote(password, safe='')}@127.0.0.1:{postgresql_server.port}"
        application = Application(tmp_path / "app", f"postgresql+psycopg://{place}/{postgresql_database}")
        application.set_up(template, *(steps or (SECOND, THIRD)))
        application.alembic("upgrade", "r0")
        application.source = postgresql(postgresql_server, postgresql_database)
        return application

    yield go
    postgresql_server.psql(f"DROP DATABASE {postgresql_database} WITH (FORCE)")
    postgresql_server.psql(f"DROP ROLE IF EXISTS {role}")


@pytest.fixture
def backup(call, store):
    def go(application):
        result = call("backup", sources=[application.source], directory=str(store))
        assert result["status"] == "ok", result

    return go


@pytest.fixture
def arguments(store, tmp_path):
    def go(application, project=None, **options):
        given = {
            "name": "shop",
            "directory": str(application.folder),
            "command": ALEMBIC,
            "environment": {"DATABASE_URL": application.url, "DEBUG": "1"},
            "database": "app",
            "timeout": "60s",
            **(project or {}),
        }
        return {
            "migrations": [given],
            "databases": [application.source],
            "backup_directory": str(store),
            "scratch_directory": str(tmp_path),
            **options,
        }

    return go


@pytest.fixture
def migrate(call, arguments):
    """Run the module for one application and return its outcome with `changed` and `due` in it."""

    def go(application, project=None, **options):
        result = call("migration", **arguments(application, project, **options))
        assert "outcomes" in result, result
        (outcome,) = result["outcomes"]
        assert (outcome["stage"], outcome["subject"]) == ("migration", "alembic:shop")
        return {**outcome, "changed": result["changed"], "due": result["due"], "diff": result["diff"]}

    return go


def revision(application):
    """What the SQLite database says of itself: revision, columns, indexes, rows."""
    with contextlib.closing(sqlite3.connect(application.source["path"])) as database:
        (at,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
        columns = [row[1] for row in database.execute("PRAGMA table_info(tasks)")]
        indexes = [row[1] for row in database.execute("PRAGMA index_list(tasks)")]
        (rows,) = database.execute("SELECT count(*) FROM tasks").fetchone()
    return at, columns, indexes, rows


AT_FIRST = ("r0", ["id", "text"], [], 1)
AT_LAST = ("r2", ["id", "text", "owner"], ["tasks_owner"], 1)


def test_sqlite_backup_rehearsal_upgrade_and_a_second_run_changes_nothing(migrate, backup, lite, tmp_path):
    """D10, D11: the whole way."""
    application = lite()
    outcome = migrate(application)
    assert (outcome["status"], outcome["changed"]) == ("critical", False)
    assert "nothing was done: there is no backup of app proven as restored" in outcome["summary"]
    backup(application)
    outcome = migrate(application, _ansible_check_mode=True)
    assert (outcome["status"], outcome["changed"], outcome["due"]) == ("ok", True, ["app"])
    assert "2 of 3 migrations are not applied: r1, r2; would upgrade, with app_" in outcome["summary"]
    assert (outcome["diff"]["before"], outcome["diff"]["after"]) == ("shop: r0\n", "shop: r2\n")
    assert revision(application) == AT_FIRST
    before = sorted(os.listdir(tmp_path))
    outcome = migrate(application)
    assert (outcome["status"], outcome["changed"], outcome["due"]) == ("ok", True, []), outcome
    assert outcome["summary"].startswith("the database is at r2: 2 migrations applied in ")
    assert outcome["summary"].endswith("rehearsed and back")
    assert revision(application) == AT_LAST
    assert sorted(os.listdir(tmp_path)) == before
    outcome = migrate(application)
    assert (outcome["status"], outcome["changed"]) == ("ok", False)
    assert outcome["summary"] == "the database is at r2: nothing to do"


def test_it_only_tells_when_it_is_not_to_upgrade(migrate, lite):
    application = lite()
    outcome = migrate(application, {"database": None}, upgrade=False, databases=[])
    assert (outcome["status"], outcome["changed"], outcome["metrics"]) == ("warning", False, {"pending": 2})
    assert migrate(application, upgrade=False)["due"] == ["app"]
    assert migrate(application, {"target": "r0"}, upgrade=False)["status"] == "ok"
    assert revision(application) == AT_FIRST


def test_a_backup_that_is_too_old_is_none(migrate, backup, lite):
    application = lite()
    backup(application)
    time.sleep(1.1)
    outcome = migrate(application, backup_max_age="1s")
    assert (outcome["status"], outcome["changed"]) == ("critical", False)
    assert "more than 1.0 s (backup_max_age)" in outcome["summary"]
    assert revision(application) == AT_FIRST


def test_what_fails_in_the_rehearsal_never_reaches_the_database(migrate, backup, lite, tmp_path, state_dir):
    """D11."""
    application = lite(SECOND, ('op.execute("INSERT INTO missing VALUES (1)")',))
    backup(application)
    data = (tmp_path / "app.db").read_bytes()
    outcome = migrate(application)
    assert (outcome["status"], outcome["changed"]) == ("critical", False)
    assert "the rehearsal on a copy failed, the database is untouched: " in outcome["summary"]
    assert "no such table: missing" in outcome["summary"]
    assert (tmp_path / "app.db").read_bytes() == data
    assert not list(state_dir.glob("*.json"))
    assert not list(tmp_path.glob("sre_runbooks_rehearsal_*"))


def test_an_application_that_takes_its_database_from_elsewhere_is_not_rehearsed(migrate, backup, lite, tmp_path):
    """D11: the rehearsal would be on the real database."""
    application = lite()
    script = application.folder / "migrations/env.py"
    script.write_text(script.read_text().replace('os.environ["DATABASE_URL"]', repr(application.url)))
    backup(application)
    outcome = migrate(application)
    assert (outcome["status"], outcome["changed"]) == ("critical", False)
    assert "the application does not take its database from DATABASE_URL" in outcome["summary"]
    assert revision(application) == AT_FIRST


def test_what_is_migrated_must_be_what_was_backed_up(migrate, backup, lite, tmp_path):
    application = lite()
    backup(application)
    application.url = f"sqlite:///{tmp_path}/other.db"
    outcome = migrate(application)
    assert outcome["status"] == "critical"
    assert (
        f"DATABASE_URL leads to {tmp_path}/other.db, but the backup is one of {tmp_path}/app.db" in outcome["summary"]
    )


def test_when_its_proof_fails_it_goes_back_by_the_downgrade_that_was_rehearsed(migrate, backup, lite, state_dir):
    """D10: a way back."""
    application = lite()
    backup(application)
    outcome = migrate(application, {"verify": [sys.executable, "-c", "raise SystemExit('the shop is closed')"]})
    assert (outcome["status"], outcome["changed"]) == ("critical", True)
    assert "the upgrade failed: verify: " in outcome["summary"]
    assert "the shop is closed" in outcome["summary"]
    assert "it went back to r0, as it was before" in outcome["summary"]
    assert revision(application) == AT_FIRST
    assert "restore" not in outcome["details"]
    outcome = migrate(application, {"verify": [sys.executable, "-c", ""]})
    assert outcome["status"] == "ok", outcome
    assert revision(application) == AT_LAST


def test_half_a_migration_that_cannot_be_taken_back_names_the_copy_to_restore(migrate, backup, lite, tmp_path):
    """D10: SQLite's changes of the schema are not undone when a migration fails half way."""
    half = (
        'op.create_table("half", sa.Column("id", sa.Integer)); op.execute("COMMIT"); op.execute("INSERT INTO missing VALUES (1)")',
    )
    application = lite(SECOND, half)
    backup(application)
    data = (tmp_path / "app.db").read_bytes()
    outcome = migrate(application, {"rehearse": False})
    assert (outcome["status"], outcome["changed"]) == ("critical", True)
    assert "the way back failed too: other than before are table half. Restore " in outcome["summary"]
    restore = outcome["details"]["restore"]
    assert restore["name"] == "app"
    assert os.path.exists(restore["from"])
    outcome = migrate(application, {"rehearse": False})
    assert (outcome["status"], outcome["changed"]) == ("critical", False)
    assert f"Restore {restore['from']}" in outcome["summary"]
    (tmp_path / "app.db").write_bytes(data)
    application.revision(2, *THIRD)
    outcome = migrate(application, {"rehearse": False})
    assert (outcome["status"], outcome["changed"]) == ("ok", True)
    assert revision(application) == AT_LAST


def test_a_downgrade_that_does_not_lead_back_is_told_and_not_used(migrate, backup, lite):
    """D11."""
    application = lite(SECOND, (THIRD[0], "pass"))
    backup(application)
    outcome = migrate(application, {"verify": [sys.executable, "-c", "raise SystemExit(1)"]})
    assert outcome["status"] == "critical"
    assert outcome["details"]["rehearsed"]["back"] is False
    assert "the rehearsed downgrade did not lead back" in outcome["summary"]
    assert outcome["details"]["restore"]["name"] == "app"
    assert revision(application)[0] == "r2"


def test_variables_of_a_file_and_nothing_of_them_is_shown(migrate, backup, lite, tmp_path):
    application = lite()
    backup(application)
    application.revision(2, 'raise RuntimeError(os.environ["API_KEY"] + os.environ["DATABASE_URL"])')
    (tmp_path / "app.env").write_text(
        f'DATABASE_URL=\'{application.url}\'\nexport API_KEY="geheim-\\"0123456789" # key\n'
    )
    outcome = migrate(application, {"environment": {}, "environment_file": str(tmp_path / "app.env")})
    assert outcome["status"] == "critical"
    assert "RuntimeError: ********" in outcome["summary"]
    assert "geheim" not in str(outcome)


def test_heads_that_went_apart_and_a_revision_that_is_not_there(migrate, lite):
    application = lite()
    text = (application.folder / "migrations/versions/r1.py").read_text()
    (application.folder / "migrations/versions/x1.py").write_text(text.replace('"r1"', '"x1"'))
    outcome = migrate(application)
    assert outcome["status"] == "critical"
    assert "there are 2 heads" in outcome["summary"]
    outcome = migrate(application, {"target": "zz"})
    assert "target: zz is no revision of this project" in outcome["summary"]


def test_killed_in_the_middle_the_next_run_ends_it(started, migrate, backup, lite, arguments, tmp_path):
    """D10, kill -9: SQLite keeps what was done before, and the journal knows where it began."""
    waiting = (
        '(folder / "waiting").touch(); [time.sleep(0.02) for _ in range(1500) if (folder / "slow").exists()]; '
        + THIRD[0],
        THIRD[1],
    )
    application = lite(SECOND, waiting)
    backup(application)
    (application.folder / "slow").touch()
    given = arguments(application, {"rehearse": False})
    process = started("migration", **given)
    while not (application.folder / "waiting").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    # A second run at the same time is told so.
    outcome = migrate(application, {"rehearse": False})
    assert outcome["status"] == "warning"
    assert "another run holds this lock" in outcome["summary"]
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (application.folder / "slow").unlink()
    assert "an upgrade begun at " in migrate(application, upgrade=False)["summary"]
    outcome = migrate(application)
    assert (outcome["status"], outcome["changed"]) == ("ok", True), outcome
    assert revision(application) == AT_LAST


def test_killed_in_the_rehearsal_nothing_stays(started, migrate, backup, lite, arguments, tmp_path):
    waiting = (
        '(folder / "waiting").touch(); [time.sleep(0.02) for _ in range(1500) if (folder / "slow").exists()]; '
        + THIRD[0],
        THIRD[1],
    )
    application = lite(SECOND, waiting)
    backup(application)
    (application.folder / "slow").touch()
    process = started("migration", **arguments(application))
    while not (application.folder / "waiting").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert revision(application) == AT_FIRST
    assert len(list(tmp_path.glob("sre_runbooks_rehearsal_*"))) == 1
    (application.folder / "slow").unlink()
    assert migrate(application)["status"] == "ok"
    assert not list(tmp_path.glob("sre_runbooks_rehearsal_*"))
    assert revision(application) == AT_LAST


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


def scratch(server):
    return server.psql("SELECT count(*) FROM pg_database WHERE datname LIKE 'sre\\_runbooks\\_rehearsal%'")


def test_postgresql_backup_rehearsal_upgrade(migrate, backup, pg, postgresql_server, postgresql_database):
    """D10, D11 as an ordinary user of the application."""
    application = pg()
    backup(application)
    outcome = migrate(application)
    assert (outcome["status"], outcome["changed"]) == ("ok", True), outcome
    assert outcome["summary"].endswith("rehearsed and back")
    assert postgresql_server.psql("SELECT version_num FROM alembic_version", postgresql_database) == "r2"
    assert scratch(postgresql_server) == "0"
    assert migrate(application)["changed"] is False
    assert "p@ss" not in str(outcome)


def test_postgresql_takes_back_what_fails_half_way(migrate, backup, pg, postgresql_server, postgresql_database):
    """D10: there a migration is a transaction."""
    application = pg(SECOND, (THIRD[0] + '; op.execute("SELECT 1/0")',))
    backup(application)
    outcome = migrate(application)
    assert "the rehearsal on a copy failed, the database is untouched" in outcome["summary"]
    assert scratch(postgresql_server) == "0"
    outcome = migrate(application, {"rehearse": False})
    assert (outcome["status"], outcome["changed"]) == ("critical", False)
    assert "division by zero" in outcome["summary"]
    assert "the database is still at r0, as it was before" in outcome["summary"]


def test_postgresql_a_lock_is_not_waited_for_behind_which_all_others_wait(
    migrate, backup, pg, postgresql_server, postgresql_database
):
    """What counts is how long the server lets a statement wait: to start Alembic may take longer than that."""
    application = pg()
    backup(application)
    waits, ended = [], threading.Event()

    def watch():
        waiting = (
            "SELECT extract(epoch FROM clock_timestamp() - query_start)::float FROM pg_stat_activity "
            "WHERE datname = %s AND wait_event_type = 'Lock'"
        )
        with psycopg.connect(postgresql_server.url(), autocommit=True) as session:
            while not ended.is_set():
                waits.extend(seconds for (seconds,) in session.execute(waiting, (postgresql_database,)))
                time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    with psycopg.connect(postgresql_server.url(postgresql_database)) as blocker:
        blocker.execute("LOCK TABLE tasks IN ACCESS SHARE MODE")
        watcher.start()
        try:
            outcome = migrate(application, {"lock_timeout": "300ms", "rehearse": False})
        finally:
            ended.set()
            watcher.join()
    assert waits, "nothing waited"
    assert max(waits) < 15
    assert outcome["status"] == "critical"
    assert "lock timeout" in outcome["summary"]
    assert "the database is still at r0" in outcome["summary"]


# --- MariaDB ---------------------------------------------------------------------------------------------------------


def test_mysql_half_a_migration_names_the_copy_to_restore_and_a_whole_one_succeeds(
    migrate, call, tmp_path, template, store, mariadb_server, mariadb_database
):
    """D10: MariaDB takes no change of the schema back; it has no rehearsal."""
    place = f"{mariadb_server.user}:{quote(mariadb_server.password, safe='')}@127.0.0.1:{mariadb_server.port}"
    application = Application(tmp_path / "app", f"mysql+pymysql://{place}/{mariadb_database}")
    application.set_up(
        template,
        SECOND,
        ('op.create_table("half", sa.Column("id", sa.Integer)); op.execute("INSERT INTO missing VALUES (1)")',),
    )
    application.alembic("upgrade", "r0")
    application.source = mysql(mariadb_server, mariadb_database)
    done = call("backup", sources=[application.source], directory=str(store))
    assert done["status"] == "ok", done
    outcome = migrate(application, {"rehearse": False})
    assert (outcome["status"], outcome["changed"]) == ("critical", True)
    assert "other than before are " in outcome["summary"]
    assert "table half" in outcome["summary"]
    assert outcome["details"]["restore"]["name"] == "app"
    mariadb_server.sql("DROP TABLE half", mariadb_database)
    application.revision(2, 'op.create_index("tasks_id", "tasks", ["id"])', 'op.drop_index("tasks_id", "tasks")')
    outcome = migrate(application, {"rehearse": False})
    assert (outcome["status"], outcome["changed"]) == ("ok", True), outcome
    assert mariadb_server.sql("SELECT version_num FROM alembic_version", mariadb_database) == "r2"
    assert mariadb_server.password not in str(outcome)
