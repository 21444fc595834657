# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The history store on real SQLite and real PostgreSQL, and what can go wrong with either (C1, R4)."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time

import pytest
import sqlalchemy

from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome
from ansible_collections.sre.runbooks.plugins.plugin_utils._engine import HistoryError
from ansible_collections.sre.runbooks.plugins.plugin_utils.history import History
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import HostAnswer, Run

# A recorder in a process of its own: URL, hosts, day. It says when the transaction is open, so that it can be killed there.
RECORDER = """
import sys
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome
from ansible_collections.sre.runbooks.plugins.plugin_utils import history
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import HostAnswer, Run
url, hosts, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
migrate = history.migrate
def announced(connection):
    migrate(connection)
    print("open", flush=True)
history.migrate = announced
answers = [HostAnswer(f"{name}-{n}", "F11", True, [outcome(f"s{k}", "health", "ok", "x" * 80) for k in range(20)]) for n in range(hosts)]
history.History(url).record(Run(name, "daily", "2026-11-21T09:00:00Z", "2026-11-21T09:01:00Z", False, "0.1.0", ["health"], answers))
print("done", flush=True)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """An empty store of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state/history.db"
    server = request.getfixturevalue("postgresql_server")
    return server.url(request.getfixturevalue("postgresql_database"))


def make_run(day, outcomes, playbook="daily", hosts=("alpha",)):
    started = f"2026-11-{day:02d}T09:00:00Z"
    answers = [HostAnswer(name, "F11", True, [dict(each) for each in outcomes]) for name in hosts]
    return Run(f"202611{day:02d}T090000Z-{playbook}", playbook, started, started, False, "0.1.0", ["health"], answers)


def record(history, day, status, **options):
    """Record one run with the subject disk in `status`; return its `since` as read back."""
    run = make_run(
        day,
        [outcome("disk", "health", status, f"day {day}", metrics={"used_percent": day}, details={"at": "ü/\\"})],
        **options,
    )
    history.record(run)
    (found,) = history.load(history.find(run.id)).hosts[0].outcomes
    return found["since"]


def start_recorder(url, hosts, name):
    return subprocess.Popen([sys.executable, "-c", RECORDER, url, str(hosts), name], stdout=subprocess.PIPE, text=True)


def test_a_run_comes_back_as_it_was_recorded(url):
    history = History(url)
    outcomes = [
        outcome(
            "disk",
            "health",
            "critical",
            "97 %",
            metrics={"z_percent": 97.5, "a_bytes": 10**13},
            details={"a": [1, {"b": None}]},
        ),
        outcome("disk", "health", "ok", "the same subject again", pending=True),
        outcome("ü\N{REPLACEMENT CHARACTER}'\"; DROP TABLE runs; --", "backup", "ok", "x"),
    ]
    run = make_run(21, outcomes, hosts=("alpha", "beta"))
    run.hosts.append(HostAnswer("gamma", "", False, [outcome("host", "roll_call", "critical", "unreachable")]))
    history.record(run)
    back = history.load(history.find())
    assert back == Run(
        run.id,
        run.playbook,
        run.started,
        run.finished,
        False,
        "0.1.0",
        ["health"],
        [
            HostAnswer(
                host.name,
                host.system,
                host.answered,
                sorted(host.outcomes, key=lambda each: (each["stage"], each["subject"])),
            )
            for host in run.hosts
        ],
    )
    assert list(back.hosts[0].outcomes[1]["metrics"]) == ["z_percent", "a_bytes"]
    assert history.find().columns["hosts"] == 3
    assert history.find().columns["answered"] == 2


def test_since_is_when_the_status_began(url):
    history = History(url)
    assert record(history, 1, "ok") == "2026-11-01T09:00:00Z"
    assert record(history, 2, "ok") == "2026-11-01T09:00:00Z"
    assert record(history, 3, "critical") == "2026-11-03T09:00:00Z"
    assert record(history, 4, "critical") == "2026-11-03T09:00:00Z"
    # A run that did not look at the host (--limit) does not make its status look new.
    record(history, 5, "ok", hosts=("beta",))
    assert record(history, 6, "critical") == "2026-11-03T09:00:00Z"
    assert record(history, 7, "ok") == "2026-11-07T09:00:00Z"


def test_a_subject_that_went_away_and_came_back_begins_anew(url):
    history = History(url)
    gone = [outcome("host", "roll_call", "critical", "unreachable")]
    for day, outcomes in ((1, gone), (2, [outcome("disk", "health", "ok", "")]), (3, gone)):
        history.record(make_run(day, outcomes))
    (found,) = history.load(history.find()).hosts[0].outcomes
    assert found["since"] == "2026-11-03T09:00:00Z"


def test_since_of_the_module_wins(url):
    history = History(url)
    history.record(make_run(2, [{**outcome("disk", "health", "critical", ""), "since": "2026-10-01T00:00:00Z"}]))
    assert history.load(history.find()).hosts[0].outcomes[0]["since"] == "2026-10-01T00:00:00Z"


def test_charts_read_the_last_runs_of_the_same_playbook_up_to_the_one_shown(url):
    history = History(url)
    for day in range(1, 8):
        record(history, day, "critical" if day == 6 else "ok")
        record(history, day, "warning", playbook="weekly")
    shown = history.find("20261106T090000Z-daily")
    recent = history.recent(shown, 3)
    assert [run.columns["started"][8:10] for run in recent] == ["04", "05", "06"]
    assert [point["status"] for point in history.host_history(recent)["alpha"]] == ["ok", "ok", "critical"]
    assert [
        value
        for _metric, _start, value in history.metric_history(recent, [("alpha", "health", "disk", 0)])[
            "alpha", "health", "disk", 0
        ]
    ] == [4, 5, 6]
    assert list(history.bad(shown)) == [("alpha", "health", "disk", 0)]
    assert history.find(playbook="weekly").id == "20261107T090000Z-weekly"


def test_a_run_that_is_not_there_is_named(url):
    history = History(url)
    record(history, 1, "ok")
    with pytest.raises(HistoryError, match=r"holds no run '2020' of the playbook 'daily'\. Give the id"):
        history.find("2020", "daily")


def test_recorders_at_the_same_time_all_land(url):
    recorders = [start_recorder(url, 50, f"run{number}") for number in range(4)]
    for each in recorders:
        assert each.communicate(timeout=60)[0].split() == ["open", "done"]
    history = History(url)
    for number in range(4):
        run = history.load(history.find(f"run{number}"))
        assert len(run.hosts) == 50
        assert all(len(host.outcomes) == 20 for host in run.hosts)


def test_a_killed_recorder_leaves_nothing_of_its_run_and_blocks_nobody(url):
    history = History(url)
    record(history, 1, "ok")
    for delay in (0.0, 0.1, 0.4):
        with start_recorder(url, 5000, f"killed{delay}") as recorder:
            assert recorder.stdout.readline() == "open\n"
            time.sleep(delay)
            recorder.send_signal(signal.SIGKILL)
        assert recorder.returncode == -signal.SIGKILL
    assert record(history, 2, "ok") == "2026-11-01T09:00:00Z"
    assert [run.columns["started"][8:10] for run in history.recent(history.find())] == ["01", "02"]
    tables = _counts(url)
    assert tables == {"runs": 2, "host_runs": 2, "outcomes": 2, "current_status": 1}


def test_a_store_of_a_later_release_is_left_alone(url):
    history = History(url)
    record(history, 1, "ok")
    with _engine(url).begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE schema_version SET version = 99"))
    for work in (lambda: record(history, 2, "ok"), history.find):
        with pytest.raises(HistoryError, match=r"schema version 99, this release knows \d+\)\. Update the collection"):
            work()
    assert _counts(url)["runs"] == 1


def test_the_sqlite_file_and_its_folders_are_private(tmp_path):
    path = tmp_path / "one" / "two" / "history.db"
    old = os.umask(0)
    try:
        record(History(f"sqlite:///{path}"), 1, "ok")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (path.parent, path.parent.parent)] == [0o700, 0o700]
    assert sqlite3.connect(path).execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_reading_a_history_that_does_not_exist_makes_none(tmp_path):
    with pytest.raises(HistoryError, match="holds no history yet"):
        History(f"sqlite:///{tmp_path}/history.db").find()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ("history.db", "is not a database URL"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite://host/file.db", "names no file"),
        ("mysql://user:topsecret@host/database", "is of the kind 'mysql', not sqlite or postgresql"),
        ("postgresql://user:topsecret@host:port/database", "is not a database URL"),
        ("postgresql+asyncpg://user:topsecret@host/database?password=topsecret", "is of the kind"),
    ],
)
def test_a_wrong_url_is_refused_with_the_right_form_and_without_its_password(wrong, problem):
    with pytest.raises(HistoryError) as caught:
        History(wrong)
    message = str(caught.value)
    assert message.startswith("history_url: ")
    assert problem in message
    assert "sqlite:///~/.local/state" in message
    assert "topsecret" not in message


def test_a_wrong_password_is_told_and_not_shown(postgresql_server, postgresql_database):
    right = postgresql_server.url(postgresql_database)
    with pytest.raises(HistoryError) as caught:
        record(History(right.replace(right.split(":")[2].split("@")[0], "wr0ngsecret")), 1, "ok")
    message = str(caught.value)
    assert "password authentication failed" in message
    assert "postgres:***@127.0.0.1" in message
    assert "PGPASSWORD" in message
    assert "wr0ngsecret" not in message
    assert caught.value.__cause__ is None


def test_an_unreachable_database_is_told_at_once(postgresql_server):
    started = time.monotonic()
    with pytest.raises(
        HistoryError, match=r"postgresql://postgres:\*\*\*@127\.0\.0\.1:1/none cannot be used: .*refused.*Check address"
    ):
        record(History("postgresql://postgres:topsecret@127.0.0.1:1/none"), 1, "ok")
    assert time.monotonic() - started < 12


def test_a_user_who_may_not_create_tables_is_told(postgresql_server, postgresql_database):
    postgresql_server.psql(f"""CREATE ROLE "guest_{postgresql_database}" LOGIN PASSWORD 'guestsecret'""")
    url = f"postgresql://guest_{postgresql_database}:guestsecret@{postgresql_server.host}:{postgresql_server.port}/{postgresql_database}"
    with pytest.raises(HistoryError, match="permission denied for schema public") as caught:
        record(History(url), 1, "ok")
    assert "guestsecret" not in str(caught.value)
    postgresql_server.psql(f'DROP ROLE "guest_{postgresql_database}"')


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        HistoryError, match=rf"{tmp_path}/file/history\.db cannot be used: .*{tmp_path}/file must be a folder"
    ):
        record(History(f"sqlite:///{tmp_path}/file/history.db"), 1, "ok")


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path):
    path = tmp_path / "history.db"
    path.write_text("my notes\n" * 100)
    with pytest.raises(HistoryError, match="file is not a database"):
        record(History(f"sqlite:///{path}"), 1, "ok")
    assert path.read_text() == "my notes\n" * 100


def test_a_full_disk_loses_only_the_run_that_did_not_fit(tmp_path):
    """A file system of 1 MiB in a mount namespace of its own: the small run fits, the big one does not, the small one stays."""
    unshare = shutil.which("unshare")
    assert unshare, "the program unshare is missing: install the package util-linux"
    script = """
set -eu
mount -t tmpfs -o size=1m none "$1"
"$2" -c "$3" "sqlite:///$1/history.db" 1 small
"$2" -c "$3" "sqlite:///$1/history.db" 3000 big || echo failed
"$2" -c "$3" "sqlite:///$1/history.db" 1 again
"""
    rights = ["--mount"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--mount"]
    argv = [unshare, *rights, "sh", "-c", script, "sh", str(tmp_path), sys.executable, RECORDER]
    done = subprocess.run(argv, text=True, capture_output=True, check=False)
    assert done.stdout.split() == ["open", "done", "open", "failed", "open", "done"], done.stderr
    assert "database or disk is full" in done.stderr
    assert "with free space" in done.stderr


def _engine(url):
    return sqlalchemy.create_engine(
        url.replace("postgresql://", "postgresql+psycopg://"), poolclass=sqlalchemy.pool.NullPool
    )


def _counts(url):
    with _engine(url).connect() as connection:
        return {
            name: connection.execute(sqlalchemy.text(f"SELECT count(*) FROM {name}")).scalar()
            for name in ("runs", "host_runs", "outcomes", "current_status")
        }
