# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The store of incidents on real SQLite and real PostgreSQL, and what can go wrong with either (I7)."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time

import pytest
import sqlalchemy

from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome
from ansible_collections.sre.runbooks.plugins.plugin_utils import _schema
from ansible_collections.sre.runbooks.plugins.plugin_utils.history import History
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_state import Event
from ansible_collections.sre.runbooks.plugins.plugin_utils.incidents import Incidents
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import HostAnswer, Run

from ..conftest import postgresql_files, postgresql_running

OPENER = """
import sys, time
from ansible_collections.sre.runbooks.plugins.plugin_utils.incidents import Incidents
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_state import Event
url, spool, name = sys.argv[1:4]
def work(ledger):
    before = ledger.latest("unresponsive:F11")
    # Long enough that the other one comes in between, were it let in.
    time.sleep(0.3)
    if before is not None and before.state != "closed":
        return "met", ledger.append(before.id, [Event("2026-11-21T09:00:01Z", "alert", name, name)]).id
    return "opened", ledger.append(f"INC-{name}", [Event("2026-11-21T09:00:00Z", "opened", name, name, details={"type": "unresponsive", "system": "F11"})]).id
print("ready", flush=True)
sys.stdin.readline()
kept = Incidents(url, spool, wait=20).run(work)
print(kept.where, *kept.value, flush=True)
"""


def opened(id_, type_="unresponsive", at="2026-11-21T09:00:00Z"):
    details = {"type": type_, "system": "F11", "hosts": ["a", "b"], "started": "2026-11-21T08:57:00Z"}
    return Event(at, "opened", "no answer", f"{id_}:opened", actor="Kim", details=details)


def note(token, text="looked", at="2026-11-21T09:05:00Z"):
    return Event(at, "note", text, token, actor="Kim", details={"text": "ü\n'\"; DROP TABLE incidents; --"})


def append(store, id_, *events):
    return store.run(lambda ledger: ledger.append(id_, events))


def engine(url):
    return sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


@pytest.fixture
def store(url, tmp_path):
    return Incidents(url, str(tmp_path / "spool"), wait=0.4)


def test_an_incident_and_its_time_line_come_back_as_they_were_written(store):
    append(store, "INC-1", opened("INC-1"))
    kept = append(store, "INC-1", note("t1"), note("t2"))
    assert (kept.where, kept.value.events, kept.value.hosts) == ("store", 3, ("a", "b"))
    events = store.run(lambda ledger: ledger.events("INC-1")).value
    assert [(each.number, each.kind, each.actor) for each in events] == [
        (1, "opened", "Kim"),
        (2, "note", "Kim"),
        (3, "note", "Kim"),
    ]
    assert events[1].details == note("t1").details
    assert store.run(lambda ledger: ledger.find("INC-1")).value == kept.value
    assert store.run(lambda ledger: (ledger.find("INC-2"), ledger.latest("x:y"))).value == (None, None)
    with engine(store._store._parsed.render_as_string(hide_password=False)).connect() as connection:
        row = connection.execute(sqlalchemy.text("SELECT key, state, hosts, started FROM incidents")).one()
    assert tuple(row) == ("unresponsive:F11", "open", '["a", "b"]', "2026-11-21T08:57:00Z")


def test_the_same_event_told_twice_is_kept_once(store):
    append(store, "INC-1", opened("INC-1"), note("t1"))
    assert append(store, "INC-1", note("t1"), note("t2"), note("t2")).value.events == 3


def test_the_time_line_is_only_added_to(store, url):
    append(store, "INC-1", opened("INC-1"), note("t1"))
    statements = [
        "UPDATE incident_events SET summary = 'nothing happened'",
        "DELETE FROM incident_events",
        "DELETE FROM incident_events WHERE number = 2",
    ]
    if url.startswith("sqlite"):
        statements.append("INSERT OR REPLACE INTO incident_events SELECT incident, number, at, actor, host, stage, kind, subject, status,"
                          " 'nothing', details, run, token FROM incident_events WHERE number = 2")  # fmt: skip
    else:
        statements.append("TRUNCATE incident_events")
    for statement in statements:
        with (
            engine(url).connect() as connection,
            pytest.raises(sqlalchemy.exc.DBAPIError, match="incident_events is only added to"),
        ):
            connection.execute(sqlalchemy.text(statement))
    assert [each.summary for each in store.run(lambda ledger: ledger.events("INC-1")).value] == ["no answer", "looked"]


def test_of_one_key_at_most_one_is_not_closed_whoever_writes(store, url):
    append(store, "INC-1", opened("INC-1"))
    columns = "key, type, system, hosts, severity, why, started, detected, acknowledged, stable, closed, document"
    copy = f"INSERT INTO incidents (id, state, {columns}) SELECT 'INC-2', :state, {columns} FROM incidents"
    with engine(url).connect() as connection, pytest.raises(sqlalchemy.exc.IntegrityError):
        connection.execute(sqlalchemy.text(copy), {"state": "stable"})
    with engine(url).begin() as connection:
        connection.execute(sqlalchemy.text(copy), {"state": "closed"})


def test_two_alerts_at_once_make_one_incident(url, tmp_path):
    """Two processes that both find nothing would both open one (fault: two alerts for one cause)."""
    argv = [sys.executable, "-c", OPENER, url, str(tmp_path / "spool")]
    both = [
        subprocess.Popen([*argv, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in ("one", "two")
    ]
    for each in both:
        assert each.stdout.readline() == "ready\n"
    for each in both:
        each.stdin.write("go\n")
        each.stdin.flush()
    found = sorted(each.communicate(timeout=60)[0].split() for each in both)
    assert [each[:2] for each in found] == [["store", "met"], ["store", "opened"]]
    assert found[0][2] == found[1][2]
    incidents = Incidents(url, str(tmp_path / "spool")).run(lambda ledger: ledger.recent()).value
    assert [(each.alerts, each.events) for each in incidents] == [(2, 2)]


def test_a_writer_that_is_killed_leaves_all_of_a_call_or_nothing(url, tmp_path):
    program = OPENER.replace("time.sleep(0.3)", "print('inside', flush=True); time.sleep(30)")
    argv = [sys.executable, "-c", program, url, str(tmp_path / "spool"), "killed"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as opener:
        opener.stdin.write("go\n")
        opener.stdin.flush()
        assert [opener.stdout.readline() for _line in range(2)] == ["ready\n", "inside\n"]
        opener.send_signal(signal.SIGKILL)
    store = Incidents(url, str(tmp_path / "spool"), wait=5)
    assert store.run(lambda ledger: ledger.recent()).value == []
    assert append(store, "INC-1", opened("INC-1")).where == "store"


def test_a_store_of_the_release_before_gets_the_tables_and_keeps_its_runs(url, tmp_path):
    rows = [HostAnswer("alpha", "F11", True, [outcome("disk", "health", "ok", "")])]
    when = "2026-11-21T09:00:00Z"
    History(url).record(Run("one", "daily", when, when, False, "0.1.0", ["health"], rows))
    gone = [
        "INDEX outcomes_bad",
        *(f"TABLE {name}" for name in ("run_figures", "run_statuses", "incident_events", "incidents")),
    ]
    if not url.startswith("sqlite"):
        gone.append("FUNCTION incident_events_only_added_to")
    with engine(url).begin() as connection:
        for each in gone:
            connection.exec_driver_sql(f"DROP {each}")
        before = _schema.MIGRATIONS.index(_schema._add_incidents)
        connection.exec_driver_sql(f"UPDATE schema_version SET version = {before}")
    store = Incidents(url, str(tmp_path / "spool"))
    # Looking does not change the store, and finds nothing.
    assert store.run(lambda ledger: ledger.recent(), dry=True).value == []
    assert append(store, "INC-1", opened("INC-1")).where == "store"
    assert History(url).find().id == "one"


@contextlib.contextmanager
def held(url):
    """The store as it is while somebody else has it: locked for writing."""
    with engine(url).connect() as connection:
        if url.startswith("sqlite"):
            connection.connection.driver_connection.isolation_level = None
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql("BEGIN")
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7311042906118)")
        yield
        connection.exec_driver_sql("ROLLBACK")


def test_while_the_store_is_locked_the_incident_goes_on_and_the_next_run_takes_it_in(store, url):
    """The history store locked: SQLite busy, PostgreSQL's lock held by another session."""
    append(store, "INC-1", opened("INC-1"))
    with held(url):
        started = time.monotonic()
        kept = append(store, "INC-1", note("t1"))
        assert time.monotonic() - started < 10
        assert kept.where == "spool"
        assert "cannot be used" in kept.trouble
        # What is known of it goes along: opened before in the store.
        assert (kept.value.state, kept.value.hosts, kept.value.events) == ("open", ("a", "b"), 2)
        assert store.run(lambda ledger: ledger.latest("unresponsive:F11").id).value == "INC-1"
        acknowledged = Event("2026-11-21T09:06:00Z", "acknowledged", "on it", "t2", actor="Kim")
        assert append(store, "INC-1", acknowledged).value.acknowledged_by == "Kim"
    assert stat.S_IMODE(store.spool.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.spool.path.parent.stat().st_mode) == 0o700
    kept = store.run(lambda ledger: (ledger.find("INC-1"), ledger.events("INC-1")))
    assert (kept.where, kept.taken_in, kept.refused) == ("store", 2, 0)
    assert kept.value[0].acknowledged_by == "Kim"
    assert [each.kind for each in kept.value[1]] == ["opened", "note", "acknowledged"]
    assert not store.spool.path.exists()
    assert store.run(lambda ledger: ledger.events("INC-1")).taken_in == 0


def test_an_incident_opened_in_the_spool_is_the_one_that_another_controller_opened(store, url):
    append(store, "INC-0", opened("INC-0", "memory"))
    with held(url):
        assert append(store, "INC-2", opened("INC-2"), note("t1")).where == "spool"
        # The next alarm on this controller meets it there.
        assert store.run(lambda ledger: ledger.latest("unresponsive:F11").id).value == "INC-2"
    with engine(url).connect():
        other = Incidents(url, f"{store.spool.path.parent}-other")
        append(other, "INC-1", opened("INC-1"))
    found = store.run(lambda ledger: (ledger.find("INC-2"), ledger.events("INC-2"))).value
    assert found[0].id == "INC-1"
    assert [(each.kind, each.subject) for each in found[1]] == [("opened", ""), ("merged", "INC-2"), ("note", "")]
    assert append(store, "INC-2", note("t9")).value.id == "INC-1"


def test_half_a_line_and_lines_of_nobody_are_kept_aside(store):
    append(store, "INC-1", opened("INC-1"))
    with store.spool.held():
        store.spool.add([("INC-404", note("t0"))])
        with store.spool.path.open("a") as stream:
            stream.write('{"incident": "INC-1", "ev')
        # The line after that of a killed writer is whole.
        store.spool.add([("INC-1", note("t1"))])
    kept = store.run(lambda ledger: ledger.find("INC-1"))
    assert (kept.taken_in, kept.refused, kept.value.events) == (1, 2, 2)
    assert len(store.spool.refused.read_text().splitlines()) == 2
    assert stat.S_IMODE(store.spool.refused.stat().st_mode) == 0o600


def test_a_run_killed_between_store_and_spool_takes_nothing_in_twice(store, url, monkeypatch):
    append(store, "INC-1", opened("INC-1"))
    with held(url):
        append(store, "INC-1", note("t1"))
    before = store.spool.path.read_bytes()
    assert store.run(lambda ledger: ledger.find("INC-1")).value.events == 2
    store.spool.path.write_bytes(before)
    kept = store.run(lambda ledger: ledger.find("INC-1"))
    assert (kept.value.events, store.spool.path.exists()) == (2, False)


def test_where_neither_can_be_written_the_incident_goes_on_and_says_so(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    store = Incidents(f"sqlite:///{blocked}/history.db")
    kept = append(store, "INC-1", opened("INC-1"))
    assert (kept.where, kept.value.id) == ("nowhere", "INC-1")
    assert "Nor can the spool be written" in kept.trouble


FILLED = """
import sys
from ansible_collections.sre.runbooks.plugins.plugin_utils.incidents import Incidents
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_state import Event
store = Incidents("postgresql://nobody@127.0.0.1:1/none", sys.argv[1], wait=1)
about = {"type": "memory", "system": "F11"}
kept = store.run(lambda ledger: ledger.append("INC-1", [Event("2026-11-21T09:00:00Z", "opened", "x", "t0", details=about)]))
print(kept.where)
try:
    with open(f"{sys.argv[1]}/fill", "wb", buffering=0) as stream:
        while stream.write(b"x" * 512):
            pass
except OSError:
    pass
kept = store.run(lambda ledger: ledger.append("INC-1", [Event("2026-11-21T09:00:00Z", "note", "x" * 9000, "t1")]))
print(kept.where)
entries, bad = store.spool.entries()
print(*(event.kind for _id, event in entries), bad)
"""


def test_a_disk_that_is_full_leaves_no_half_line(tmp_path):
    """A small disk in a mount namespace of its own, and no server at all."""
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    script = 'mount -t tmpfs -o size=64k none "$1" && exec "$0" -c "$2" "$1"'
    argv = [*unshare, "sh", "-c", script, sys.executable, str(tmp_path), FILLED]
    done = subprocess.run(argv, text=True, capture_output=True, check=False)
    assert done.stdout.splitlines() == ["spool", "nowhere", "opened []"], done.stderr


def test_postgresql_that_is_down_and_comes_back(tmp_path):
    """The history store down: the server is stopped, the spool fills, the server starts, the spool is taken in."""
    with postgresql_files() as server:
        url = server.url()
        store = Incidents(url, str(tmp_path / "spool"), wait=2)
        with postgresql_running(server):
            append(store, "INC-1", opened("INC-1"))
        kept = append(store, "INC-1", note("t1"))
        assert (kept.where, kept.value.hosts) == ("spool", ("a", "b"))
        assert server.password not in kept.trouble
        assert server.password not in store.spool.path.read_text()
        with postgresql_running(server):
            kept = store.run(lambda ledger: ledger.find("INC-1"))
        assert (kept.where, kept.taken_in, kept.value.events) == ("store", 1, 2)


def test_looking_writes_nothing(store, url, tmp_path):
    append(store, "INC-1", opened("INC-1"))
    with held(url):
        append(store, "INC-1", note("t1"))
    spooled = store.spool.path.read_bytes()
    kept = store.run(lambda ledger: ledger.append("INC-1", [note("t2")]), dry=True)
    assert (kept.where, kept.value.events) == ("nowhere", 3)
    assert store.spool.path.read_bytes() == spooled
    fresh = Incidents(f"sqlite:///{tmp_path}/none/history.db")
    assert fresh.run(lambda ledger: ledger.recent(), dry=True).value == []
    assert not (tmp_path / "none").exists()


def test_the_spool_of_another_store_is_left_alone(tmp_path):
    one, two = (Incidents(f"sqlite:///{tmp_path}/{name}.db", str(tmp_path)) for name in ("one", "two"))
    assert one.spool.path != two.spool.path
    append(one, "INC-1", opened("INC-1"))
    with sqlite3.connect(tmp_path / "one.db", isolation_level=None) as connection:
        connection.execute("BEGIN IMMEDIATE")
        append(Incidents(f"sqlite:///{tmp_path}/one.db", str(tmp_path), wait=0.2), "INC-1", note("t1"))
        connection.execute("ROLLBACK")
    connection.close()
    assert two.run(lambda ledger: ledger.recent()).value == []
    assert one.spool.path.exists()
    assert os.listdir(tmp_path)
