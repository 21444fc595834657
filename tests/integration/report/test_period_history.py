# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reports of periods from real SQLite and real PostgreSQL: runs of several playbooks, in which things come, go and come back."""

from __future__ import annotations

import datetime
import json
import secrets
import shutil
from pathlib import Path

import pytest
import sqlalchemy

from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome
from ansible_collections.sre.runbooks.plugins.plugin_utils import costs, kpis
from ansible_collections.sre.runbooks.plugins.plugin_utils.capacity import Limit
from ansible_collections.sre.runbooks.plugins.plugin_utils.history import History
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_state import Event
from ansible_collections.sre.runbooks.plugins.plugin_utils.incidents import Incidents
from ansible_collections.sre.runbooks.plugins.plugin_utils.model import from_history
from ansible_collections.sre.runbooks.plugins.plugin_utils.model_period import Settings
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import HostAnswer, Run

FRIDAY = datetime.datetime(2026, 11, 20, 15, tzinfo=datetime.UTC)
DOCUMENTS = Path(__file__).resolve().parents[2] / "unit/report_documents"
REMEDY = "Renew the token."


def iso(moment):
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def make_run(playbook, at, *hosts):
    return Run(f"{at:%Y%m%dT%H%M%SZ}-{playbook}", playbook, iso(at), iso(at), False, "0.1.0", ["health"], list(hosts))


def f11(day):
    """The host of F11 so many days before Friday: its disk fills up, an issue comes back, one is over, one is new."""
    back = day in (0, 1, 4)
    return HostAnswer(
        "f11-app1.example.org", "F11", True,
        [
            outcome("disk:disk:/", "health", "ok", "/", metrics={"used_percent": 80 - day / 2, "free_bytes": 1e9}),
            outcome("http:api", "health", "critical" if day == 2 else "ok", "api", metrics={"response_seconds": 0.1 if day < 7 else 0.15}),
            outcome("http:business", "health", "ok", "", metrics={"response_seconds": 0.1, "error_rate": 0.0005, "deployments_total": 20 - day}),
            outcome("sqlite:app", "health", "warning" if day >= 1 else "ok", "big", metrics={"response_seconds": 0.1, "size_bytes": 2e9 - day * 1e7}),
            outcome("rule:auth", "log_scan", "warning" if back else "ok", "31 (> 20)", metrics={"count": 31}, details={"remedy": REMEDY}),
            outcome("cpu:cpu", "health", "warning" if day == 0 else "ok", "81 %", metrics={"cpu_percent": 40 if day < 7 else 20}),
            outcome("sqlite:app", "backup", "ok", "", metrics={"duration_seconds": 5, "size_bytes": 3 * 2**30}),
        ],
    )  # fmt: skip


def gho(day):
    """The host of GHO, which has not answered since twelve days before Friday."""
    if day <= 12:
        return HostAnswer(
            "gho-api1.example.org", "GHO", False, [outcome("host", "roll_call", "critical", "unreachable")]
        )
    return HostAnswer(
        "gho-api1.example.org",
        "GHO",
        True,
        [outcome("http:api", "health", "ok", "", metrics={"response_seconds": 0.3})],
    )


def fill(history):
    """Three weeks of daily runs, then Friday's weekly run, which looks at other things."""
    for day in range(20, -1, -1):
        history.record(make_run("daily", FRIDAY - datetime.timedelta(days=day, hours=6), f11(day), gho(day)))
    vacuum = outcome("sqlite:app", "vacuum", "ok", "1.4 GiB -> 1.2 GiB", metrics={"size_bytes": 1.2e9})
    history.record(make_run("weekly", FRIDAY, HostAnswer("f11-app1.example.org", "F11", True, [vacuum]), gho(0)))
    return history


@pytest.fixture(scope="module")
def filled_sqlite(tmp_path_factory):
    """The file of a filled store that no test writes to."""
    path = tmp_path_factory.mktemp("filled") / "history.db"
    fill(History(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="module")
def filled_postgresql(postgresql_server):
    """The name of the database of a filled store that no test writes to."""
    name = postgresql_server.create_database("filled")
    fill(History(postgresql_server.url(name)))
    yield name
    postgresql_server.psql(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(params=["sqlite", "postgresql"])
def history(request):
    """The filled store, of each kind; not to be written to."""
    if request.param == "sqlite":
        return History(f"sqlite:///{request.getfixturevalue('filled_sqlite')}")
    server = request.getfixturevalue("postgresql_server")
    return History(server.url(request.getfixturevalue("filled_postgresql")))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """A copy of the filled store, of each kind, for one test."""
    if request.param == "sqlite":
        path = tmp_path / "history.db"
        shutil.copyfile(request.getfixturevalue("filled_sqlite"), path)
        yield f"sqlite:///{path}"
        return
    server = request.getfixturevalue("postgresql_server")
    name = f"copy_{secrets.token_hex(4)}"
    server.psql(f'CREATE DATABASE "{name}" TEMPLATE "{request.getfixturevalue("filled_postgresql")}"')
    yield server.url(name)
    server.psql(f'DROP DATABASE "{name}" WITH (FORCE)')


def report(history, settings=None, run_id=""):
    return from_history(history, history.find(run_id), settings or Settings("weekly"))


def by(rows, *names):
    return {tuple(row[name] for name in names): row for row in rows}


def test_a_weekly_report_is_about_the_daily_runs_too(history):
    """R2, R4: KPIs, trends and counts over all playbooks' runs of the week, beside the week before."""
    document = report(history)
    assert document["period"] == {
        "name": "weekly", "from": "2026-11-13T15:00:00Z", "to": "2026-11-20T15:00:00Z", "days": 7.0, "runs": 8,
        "before": {"from": "2026-11-06T15:00:00Z", "to": "2026-11-13T15:00:00Z", "runs": 7},
    }  # fmt: skip
    kpi = by(document["kpis"], "name", "system")
    uptime = kpi["uptime", "F11"]
    # One of seven daily observations was critical; each stands for the day before it, the first back to Friday's beginning.
    assert uptime["value"] == pytest.approx(100 * 5.75 / 6.75)
    assert (uptime["before"], uptime["met"], uptime["direction"], uptime["observations"]) == (100.0, False, "worse", 7)
    assert uptime["budget"]["spent_seconds"] == pytest.approx(86400, abs=1)
    assert uptime["budget"]["left_percent"] < -10_000
    assert len(uptime["points"]) == 7
    speed = kpi["response_time", "F11"]
    assert (speed["value"], speed["before"], speed["met"], speed["direction"]) == (0.1, 0.15, True, "better")
    assert kpi["error_rate", "F11"]["value"] == pytest.approx(0.05)
    assert kpi["deployment_frequency", "F11"]["value"] == 1.0
    assert kpi["deployment_frequency", "F11"]["met"] is True
    assert kpi["throughput", "F11"]["met"] is None
    assert "no data" in kpi["throughput", "F11"]["why"]
    # Nothing answered: no speed, and there is no observation of its uptime in either week to hold against.
    assert kpi["response_time", "GHO"]["value"] is None
    trend = by(document["trends"], "system", "subject", "metric")
    assert (trend["F11", "cpu:cpu", "cpu_percent"]["value"], trend["F11", "cpu:cpu", "cpu_percent"]["direction"]) == (
        40,
        "worse",
    )
    assert trend["F11", "http:api", "response_seconds"]["direction"] == "better"
    assert document["summary"][0].startswith("2 hosts of 2 systems, 8 runs; in the last one 1 did not answer")


def test_issues_know_whether_they_are_new_open_returned_or_resolved(history):
    """R2: the state of each, though the weekly run looked at none of them."""
    document = report(history)
    found = by(document["issues"], "stage", "subject")
    assert {key: (row["state"], row["runs"]) for key, row in found.items()} == {
        ("roll_call", "host"): ("open", 8),
        ("log_scan", "rule:auth"): ("returned", 3),
        ("health", "cpu:cpu"): ("new", 1),
        ("health", "http:api"): ("resolved", 1),
        ("health", "sqlite:app"): ("resolved", 6),
    }
    assert found["health", "http:api"]["until"] == "2026-11-19T09:00:00Z"
    assert found["health", "sqlite:app"]["until"] == "2026-11-20T09:00:00Z"
    assert found["log_scan", "rule:auth"]["since"] == "2026-11-19T09:00:00Z"
    assert document["issue_counts"] == {"returned": 1, "new": 1, "open": 1, "resolved": 2}
    assert [row["state"] for row in document["issues"]][:3] == ["open", "returned", "new"]
    assert document["recommendations"] == [{"what": REMEDY, "why": "1 issue: rule:auth", "where": "F11"}]
    assert document["actions"][0]["what"].startswith("Bring gho-api1.example.org back")
    assert any("2 issues resolved" in each["what"] for each in document["achievements"])


def test_capacity_is_projected_from_all_of_the_history(history):
    """R7: the disk to its date, the database to the limit that the site names for it, the cpu not at all."""
    document = report(history, Settings("weekly", limits_of={"F11": [Limit(2.1e9, subject="sqlite:*")]}))
    found = by(document["capacity"], "stage", "subject", "metric")
    disk = found["health", "disk:disk:/", "used_percent"]
    assert (disk["value"], disk["days_left"], disk["runs_out"], disk["observations"]) == (80.0, 40, "2026-12-30", 21)
    assert disk["per_day"] == pytest.approx(0.5)
    assert found["health", "sqlite:app", "size_bytes"]["days_left"] == 10
    assert not [key for key in found if key[1] == "cpu:cpu"]
    assert document["capacity"][0] is found["health", "sqlite:app", "size_bytes"]
    without = by(report(history)["capacity"], "stage", "subject", "metric")["health", "sqlite:app", "size_bytes"]
    assert (without["limit"], without["runs_out"]) == (None, None)


def test_a_run_of_one_system_reports_that_system(url):
    history = History(url)
    history.record(make_run("weekly", FRIDAY + datetime.timedelta(hours=1), f11(0)))
    document = report(history)
    for key in ("kpis", "trends", "issues", "capacity"):
        assert {row["system"] for row in document[key]} == {"F11"}, key


def test_an_old_run_is_reported_as_it_was(history):
    """What was recorded later does not change it."""
    document = report(history, run_id="20261116T090000Z-daily")
    assert document["period"]["to"] == "2026-11-16T09:00:00Z"
    found = by(document["issues"], "stage", "subject")
    assert (found["log_scan", "rule:auth"]["state"], found["health", "sqlite:app"]["state"]) == ("new", "open")


def test_times_of_incidents_are_kpis_and_incidents_of_the_period_are_told(url, tmp_path):
    """R4, I8: what was detected in the week counts, what is open is told, whenever it was."""
    history = History(url)
    store = Incidents(url, str(tmp_path / "spool"))
    for number, (system, day, minutes) in enumerate((("F11", 3, 10), ("F11", 9, 30), ("GHO", 30, None))):
        at = FRIDAY - datetime.timedelta(days=day)
        about = {
            "type": "api_timeouts",
            "system": system,
            "hosts": ["a"],
            "severity": "P2",
            "started": iso(at - datetime.timedelta(minutes=2)),
        }
        events = [Event(iso(at), "opened", "slow", f"{number}:opened", details=about)]
        if minutes:
            events.append(Event(iso(at + datetime.timedelta(minutes=minutes)), "stable", "well", f"{number}:stable"))
            events.append(Event(iso(at + datetime.timedelta(hours=9)), "closed", "done", f"{number}:closed"))
        store.run(lambda ledger, number=number, events=events: ledger.append(f"INC-{number}", events))
    document = report(history)
    kpi = by(document["kpis"], "name", "system")
    assert (kpi["time_to_detect", "F11"]["value"], kpi["time_to_detect", "F11"]["met"]) == (120.0, True)
    resolve = kpi["time_to_resolve", "F11"]
    assert (resolve["value"], resolve["before"], resolve["met"], resolve["direction"]) == (
        600.0,
        1800.0,
        True,
        "better",
    )
    assert kpi["time_to_resolve", "GHO"]["met"] is None
    assert [each["id"] for each in document["incidents"]] == ["INC-2", "INC-0"]
    assert any(each["what"] == "Resolve the incident INC-2" for each in document["actions"])


def test_a_value_of_prometheus_comes_before_the_share_of_observations(url):
    """R4: a site's own KPI, and the shipped one from where it is measured all the time."""
    history = History(url)
    seen = outcome("prometheus:uptime", "health", "ok", "", metrics={"value": 99.97})
    pace = outcome("http:model", "health", "ok", "", metrics={"prediction_accuracy_percent": 93.0})
    history.record(
        make_run(
            "daily", FRIDAY + datetime.timedelta(hours=1), HostAnswer("f11-app1.example.org", "F11", True, [seen, pace])
        )
    )
    own = kpis.read_kpis(
        [
            {
                "name": "accuracy",
                "unit": "percent",
                "target": "> 90",
                "from": {"stage": "health", "metric": "prediction_accuracy_percent"},
            }
        ]
    )
    document = report(history, Settings("weekly", kpis_of={"F11": own}))
    found = by(document["kpis"], "name", "system")
    assert (found["uptime", "F11"]["value"], found["uptime", "F11"]["why"]) == (
        99.97,
        "health value, mean of 1 observation",
    )
    assert (found["accuracy", "F11"]["value"], found["accuracy", "F11"]["met"]) == (93.0, True)


def test_costs_stand_beside_those_of_the_week_before(history):
    """R3: hosts and the size of the newest copies."""
    document = report(
        history, Settings("weekly", costs=costs.read_costs({"currency": "EUR", "host": 43.482, "backup_gib": 1}))
    )
    rows = by(document["costs"]["rows"], "system", "what")
    assert rows["F11", "hosts"]["amount"] == 10.0
    assert (rows["F11", "backups"]["quantity"], rows["F11", "backups"]["before"]) == (3.0, 0.69)
    assert document["costs"]["total"] == pytest.approx(20.69)


def test_a_store_of_the_release_before_is_reported_all_the_same_and_brought_up_to_date(url):
    """Without the figures that this release keeps, they come out of the outcomes; the next run makes the tables."""
    history = History(url)
    before = report(history)
    with _engine(url).begin() as connection:
        for statement in (
            "DROP TABLE run_figures",
            "DROP TABLE run_statuses",
            "DROP INDEX outcomes_bad",
            "UPDATE schema_version SET version = 3",
        ):
            connection.execute(sqlalchemy.text(statement))
    after = report(history)
    assert after == before
    history.record(make_run("daily", FRIDAY + datetime.timedelta(hours=18), f11(0), gho(0)))
    with _engine(url).connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT count(DISTINCT run) FROM run_statuses")).scalar() == 1
    document = report(history)
    assert (document["period"]["runs"], by(document["kpis"], "name", "system")["uptime", "F11"]["observations"]) == (
        8,
        7,
    )


def test_hosts_with_subjects_of_their_own_are_put_together(url):
    """What each host calls differently does not make the figures of a run as many as its outcomes."""
    history = History(url)
    hosts = []
    for number in range(600):
        own = outcome(f"http:h{number}", "health", "ok", "", metrics={"response_seconds": number / 1000})
        hosts.append(HostAnswer(f"h{number}", "F11", True, [own, outcome("cpu:cpu", "health", "ok", "")]))
    history.record(make_run("monthly", FRIDAY, *hosts))
    with _engine(url).connect() as connection:
        found = connection.execute(
            sqlalchemy.text("SELECT subject, ok FROM run_statuses WHERE run = 23 ORDER BY subject")
        ).all()
    assert [tuple(row) for row in found] == [("cpu:cpu", 600), ("http:*", 600)]


def test_a_run_without_a_period_has_the_keys_and_nothing_in_them(history):
    document = report(history, Settings())
    assert document["period"] is None
    assert (document["kpis"], document["issues"], document["summary"], document["costs"]) == ([], [], [], None)


@pytest.mark.parametrize("name", ["weekly", "monthly"])
def test_the_documents_that_the_pages_are_tested_with_are_as_real_ones(name, history):
    """The samples have the keys of a real document, at every place where the real one has something."""
    with (DOCUMENTS / f"{name}.json").open(encoding="utf-8") as stream:
        sample = json.load(stream)
    real = report(history, Settings(name, costs=costs.read_costs({"currency": "EUR", "host": 40})))
    assert set(sample) == set(real)
    assert set(sample["period"]) == set(real["period"])
    assert set(sample["costs"]) == set(real["costs"])
    for key in ("kpis", "trends", "issues", "capacity", "actions", "recommendations", "achievements", "plan"):
        assert real[key], key
        assert set(sample[key][0]) == set(real[key][0]), key
    assert set(sample["costs"]["rows"][0]) == set(real["costs"]["rows"][0])
    assert set(sample["kpis"][0]["budget"]) == set(by(real["kpis"], "name", "system")["uptime", "F11"]["budget"])
    assert set(sample["actions"][0]["where"]) == set(real["actions"][0]["where"])


def _engine(url):
    return sqlalchemy.create_engine(
        url.replace("postgresql://", "postgresql+psycopg://"), poolclass=sqlalchemy.pool.NullPool
    )
