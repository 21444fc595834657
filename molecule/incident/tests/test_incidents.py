# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each of the eight types of incidents: the application is broken for real, `sre.runbooks.incident` is run, and it is healthy (I1, I3 to I5, I7, I8).

All of them happen at the beginning, side by side on different hosts; each test then looks at one. What was measured is written
to .work/lab/incident/times.md, a table.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import shlex
import sqlite3
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[3]
LAB = CHECKOUT / ".work/lab/incident"
PORTS = {"web1": 8000, "web2": 8000, "models1": 8081}
RESTART = "service_restart:restart the services"
FORMAT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Case:
    """A type of incident: where it happens, what breaks the host and how a person sees that it is well (both shell), what is to follow.

    `actions` are the outcomes of stabilise on each host, in order. `sick`, a JSON, is what the application is told to suffer from.
    """

    name: str
    hosts: tuple[str, ...]
    severity: str
    actions: tuple[tuple[str, str], ...]
    sick: dict[str, Any] = field(default_factory=dict)
    broken: str = ""
    well: str = "true"


def value(host: str, path: str, name: str, test: str) -> str:
    """Shell that fails when a figure of the application's JSON does not pass a test in Python."""
    names = "".join(f"[{part!r}]" for part in name.split("."))
    program = f"import json, sys; x = json.load(sys.stdin){names}; sys.exit(None if x {test} else f'{name} is {{x}}')"
    return f"curl -sf --max-time 5 http://127.0.0.1:{PORTS[host]}{path} | python3 -c {shlex.quote(program)}"


def release(folder: str, link: str, unit: str, **sick: Any) -> str:
    """Shell that deploys release 2, which is a bad one: whoever runs it falls sick at each start."""
    written = shlex.quote(json.dumps(sick))
    return (
        f"mkdir {folder}/2; echo {written} >{folder}/2/sick.json; ln -sfn {folder}/2 {link}; systemctl restart {unit}"
    )


CASES = {
    case.name: case
    for case in (
        Case(
            "unresponsive", ("web1", "web2"), "P1", ((RESTART, "ok"),), sick={"hung_workers": 8, "hang_seconds": 600},
            well=value("web1", "/health", "status", "== 'healthy'"),
        ),
        Case(
            "sync_failing", ("web1",), "P2", (("http:synchronise now", "critical"), (RESTART, "ok")), sick={"stale_sync_seconds": 7200},
            well=value("web1", "/status", "sync.age_seconds", "< 300"),
        ),
        Case(
            "memory", ("models1",), "P2", (("cache_flush:flush the cache", "warning"), (RESTART, "ok")), sick={"memory_mib": 600},
            well="test $(ps -o rss= -p $(systemctl show -P MainPID ghosteam-v5-api)) -lt 300000",
        ),
        Case(
            "error_rate", ("web2",), "P2", ((RESTART, "warning"), ("release_rollback:go back to the release before", "ok")),
            broken=release("/opt/feature11/releases", "/opt/feature11/current", "feature11", error_rate=0.3),
            well=f"readlink /opt/feature11/current | grep -q '/1$' && {value('web2', '/api/v1/metrics', 'error_rate', '< 0.02')}",
        ),
        Case(
            "database_connection", ("models1",), "P2", (("service_restart:restart the database", "ok"),),
            broken="systemctl stop postgresql@15-main",
            well=f"runuser -u postgres -- psql -XAtc 'SELECT 1' >&2 && {value('models1', '/health', 'database', '== ' + repr('connected'))}",
        ),
        Case(
            "cache", ("models1",), "P2", (("cache_flush:flush the cache", "critical"), ("service_restart:restart the cache", "ok")),
            broken="systemctl stop redis-server",
            well="systemctl is-active redis-server >&2 && redis-cli ping >&2",
        ),
        Case(
            "api_timeouts", ("models1",), "P1", (("queue_clear:clear the queue", "skipped"), (RESTART, "ok")), sick={"latency_seconds": 2.5},
            well="test $(curl -so /dev/null -w '%{time_total}' http://127.0.0.1:8081/health | cut -d. -f1) -lt 1",
        ),
        Case(
            "prediction_errors", ("models1",), "P2", (("release_rollback:go back to the model before", "ok"),),
            broken=release("/opt/ghosteam/models", "/opt/ghosteam/models/current", "ghosteam-v5-api", metrics={"prediction_accuracy_percent": 71.0}),
            well=f"readlink /opt/ghosteam/models/current | grep -q '/1$' && {value('models1', '/api/v1/metrics', 'prediction_accuracy_percent', '>= 90')}",
        ),
    )
}  # fmt: skip


def on(host: str, command: str) -> str:
    """Run a shell command as root on a host of the lab, past Ansible; an error of it is an AssertionError."""
    inventory = yaml.safe_load((LAB / "hosts.yml").read_text(encoding="utf-8"))["all"]["children"]["lab_names"]
    options = inventory["vars"]["ansible_ssh_common_args"].split()
    done = subprocess.run(
        ["ssh", "-T", *options, "-i", LAB / "key", "-p", str(inventory["hosts"][host]["ansible_port"]), "sre@127.0.0.1", "sudo bash -eu -o pipefail"],
        input=command, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{host}: {command}: {done.stdout} {done.stderr}"
    return done.stdout


@dataclass
class Happened:
    """One incident: the run's exit status and output, whether the host was sick before, when it was broken and when the run ended."""

    status: int
    output: str
    broken: float
    ended: float


def is_well(host: str, case: Case) -> bool:
    with contextlib.suppress(AssertionError):
        on(host, case.well)
        return True
    return False


def happen(case: Case) -> Happened:
    """Break the hosts of a case, and run its runbook."""
    broken = time.time()
    for host in case.hosts:
        if case.sick:
            on(
                host,
                f"curl -sf --max-time 20 -X PUT -H \"Authorization: Bearer $(cat /opt/*/admin_token)\" "
                f"-H 'Content-Type: application/json' -d {shlex.quote(json.dumps(case.sick))} http://127.0.0.1:{PORTS[host]}/admin/sick",
            )  # fmt: skip
        if case.broken:
            on(host, case.broken)
    # Workers hang one after the other, after the answer to the request that tells them to.
    until = time.monotonic() + 60
    while any(is_well(host, case) for host in case.hosts):
        assert time.monotonic() < until, f"{case.name}: not broken"
    started = f"{datetime.datetime.fromtimestamp(broken, datetime.UTC):{FORMAT}}"
    given = {
        "incident_type": case.name,
        "runbooks_hosts": ",".join(case.hosts),
        "incident_started": started,
        "incident_actor": "the lab",
    }
    done = subprocess.run(
        ["ansible-playbook", "sre.runbooks.incident", "--extra-vars", json.dumps(given)],
        env={**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    (LAB / f"{case.name}.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    return Happened(done.returncode, done.stdout + done.stderr, broken, time.time())


def chain(*names: str) -> dict[str, Happened]:
    """Let one happen after the other."""
    return {name: happen(CASES[name]) for name in names}


@pytest.fixture(scope="module")
def happened() -> dict[str, Happened]:
    """All eight, side by side where their hosts allow it."""
    with ThreadPoolExecutor() as pool:
        models = pool.submit(chain, "database_connection", "cache", "api_timeouts", "prediction_errors", "memory")
        found = chain("unresponsive")
        web2 = pool.submit(chain, "error_rate")
        found |= chain("sync_failing") | web2.result() | models.result()
    (LAB / "times.md").write_text(table(found), encoding="utf-8")
    return found


def rows(sql: str, *given: Any) -> list[dict[str, Any]]:
    connection = sqlite3.connect(LAB / "history.db")
    try:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(sql, given)]
    finally:
        connection.close()


def incident_of(name: str) -> dict[str, Any]:
    (incident,) = rows("SELECT * FROM incidents WHERE type = ?", name)
    return incident


def events_of(name: str) -> list[dict[str, Any]]:
    found = rows("SELECT * FROM incident_events WHERE incident = ? ORDER BY number", incident_of(name)["number"])
    return [{**each, "details": json.loads(each["details"])} for each in found]


def seconds(before: str, after: str) -> float:
    return (datetime.datetime.strptime(after, FORMAT) - datetime.datetime.strptime(before, FORMAT)).total_seconds()


def table(found: dict[str, Happened]) -> str:
    """What was measured, as Markdown."""
    lines = ["| type | hosts | what ended it | to detect | to resolve | the run in all |", "|---|---|---|---|---|---|"]
    for name, case in CASES.items():
        incident = incident_of(name)
        whole = found[name].ended - found[name].broken
        ended = case.actions[-1][0].partition(":")[2]
        resolved = f"{seconds(incident['detected'], incident['stable']):.0f} s" if incident["stable"] else "not"
        lines.append(
            f"| `{name}` | {len(case.hosts)} | {ended} | {seconds(incident['started'], incident['detected']):.0f} s "
            f"| {resolved} | {whole:.0f} s |"
        )
    return "\n".join(lines) + "\n"


every = pytest.mark.parametrize("name", list(CASES))


@every
def test_it_is_detected_and_the_host_is_really_well_again(happened: dict[str, Happened], name: str) -> None:
    """I3, I8: broken, seen by the runbook's checks, mended, and well to whoever looks past Ansible; within the targets."""
    case, run = CASES[name], happened[name]
    assert run.status == 0, run.output
    for host in case.hosts:
        on(host, case.well)
    found = [each for each in events_of(name) if each["kind"] == "outcome" and each["stage"] == "detect"]
    assert {each["host"] for each in found if each["status"] == "critical"} == set(case.hosts), found
    incident = incident_of(name)
    assert seconds(incident["started"], incident["detected"]) < 300
    assert seconds(incident["detected"], incident["stable"]) < 900


@every
def test_the_mildest_action_that_helps_is_taken_each_behind_its_guard(happened: dict[str, Happened], name: str) -> None:
    """I5: the order of the runbook, and nothing after what helped."""
    case = CASES[name]
    assert happened[name].status == 0, happened[name].output
    for host in case.hosts:
        told = [each for each in events_of(name) if each["stage"] == "stabilise" and each["kind"] == "outcome"]
        taken = [each for each in told if each["host"] == host and each["subject"] != "host"]
        assert tuple((each["subject"], each["status"]) for each in taken) == case.actions, [
            each["summary"] for each in taken
        ]
        begun = [each["at"] for each in taken if each["details"].get("details", {}).get("at")]
        assert begun == sorted(begun)


@every
def test_it_is_all_on_record_in_order(happened: dict[str, Happened], name: str) -> None:
    """I1, I4, I7: severity, bundle before the first change, states, post-mortem."""
    case, incident, events = CASES[name], incident_of(name), events_of(name)
    assert (incident["state"], incident["severity"]) == ("stable", case.severity), (
        incident["why"],
        happened[name].output,
    )
    assert sorted(json.loads(incident["hosts"])) == sorted(case.hosts)
    assert [each["number"] for each in events] == list(range(1, len(events) + 1))
    milestones = [
        each["kind"] for each in events if each["kind"] in ("opened", "evidence", "severity", "stable", "postmortem")
    ]
    bundles = ["evidence"] * len(case.hosts)
    assert milestones == ["opened", *bundles, "severity", "stable", "postmortem", "postmortem"]
    first = min(each["at"] for each in events if each["stage"] == "stabilise")
    for bundle in (each for each in events if each["kind"] == "evidence"):
        path = Path(bundle["details"]["path"])
        assert hashlib.sha256(path.read_bytes()).hexdigest() == bundle["details"]["sha256"]
        assert bundle["at"] <= first
        assert (
            path.stat().st_mtime
            <= datetime.datetime.strptime(first, FORMAT).replace(tzinfo=datetime.UTC).timestamp() + 1
        )
    for path in (LAB / "incidents" / f"{incident['id']}.md", LAB / "incidents" / f"{incident['id']}.html"):
        assert incident["id"] in path.read_text(encoding="utf-8")


def test_hosts_of_one_system_are_down_one_at_a_time(happened: dict[str, Happened]) -> None:
    """I5: `serial`. The second host is not restarted before the first is well."""
    assert happened["unresponsive"].status == 0
    times = {}
    for each in events_of("unresponsive"):
        if each["subject"] == RESTART:
            begun = datetime.datetime.strptime(each["details"]["details"]["at"], FORMAT).timestamp()
            times[each["host"]] = (begun, begun + each["details"]["metrics"]["duration_seconds"])
    (first, second) = sorted(times.values())
    # To the second, as times are recorded.
    assert second[0] + 1 >= first[1]
    assert happened["unresponsive"].output.count("PLAY [Stabilise]") == 2
