# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From an alert to its runbook by Prometheus, Alertmanager and ansible-rulebook: nobody touches anything (I3, I7, I8).

The reference application hangs; Prometheus sees it, Alertmanager tells, the rulebook starts the playbook, the application is
restarted and verified, the incident is closed, and the times stand in its post-mortem.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from reference_app.process import Process

ROOT = Path(__file__).resolve().parents[3]
RULEBOOK = ROOT / ".work/rulebook/bin/ansible-rulebook"
TOKEN = "a-token-of-the-tests"


def port():
    """A free one; asked for late, so that nobody else takes it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(number):
    with socket.create_connection(("127.0.0.1", number), timeout=1):
        return True


def wait_for(condition, seconds, what, logs=()):
    """Return what `condition` gives as soon as that is true."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, urllib.error.URLError, sqlite3.Error, ValueError, KeyError):
            found = condition()
            if found:
                return found
        if time.monotonic() > deadline:
            tails = "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-6000:]}" for path in logs)
            pytest.fail(f"not within {seconds} s: {what}\n{tails}")
        time.sleep(0.1)


@contextlib.contextmanager
def running(log, *argv, env=None):
    """A server of the test, ended with all its children when the block ends or this process dies."""
    with log.open("wb") as output:
        child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *map(str, argv)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, cwd=ROOT, start_new_session=True,
        )  # fmt: skip
    try:
        yield child
    finally:
        # A playbook that was started has a session of its own, and would outlive the program that started it.
        for process in [*psutil.Process(child.pid).children(recursive=True), psutil.Process(child.pid)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        child.wait()


def get(url):
    with urllib.request.urlopen(url, timeout=1) as answer:
        return answer.read().decode()


def inventory(folder, application):
    """One host, this machine; its service is restarted by a program of the site."""
    restart = folder / "restart"
    environment = " ".join(
        f"{key}={value}"
        for key, value in application._environment.items()
        if key.startswith(("REFERENCE_APP_", "PYTHONPATH"))
    )
    address = application.url.rpartition(":")[2]
    restart.write_text(
        f"#!/bin/sh\nset -eu\nkill -9 $(cat {application.pid_file}) || true\nsleep 0.2\n"
        f"setsid env {environment} REFERENCE_APP_PORT={address} {sys.executable} -m reference_app </dev/null >{folder}/restarted.log 2>&1 &\n"
        f"echo $! >{application.pid_file}\n"
    )
    restart.chmod(0o700)
    check = {"use": {"names": ["api"]}}
    document = {
        "all": {
            "hosts": {"f11-app": {"runbooks_system": "F11"}},
            "vars": {
                "ansible_connection": "local", "ansible_python_interpreter": sys.executable,
                "runbooks_state_dir": f"{folder}/state", "runbooks_history_url": f"sqlite:///{folder}/history.db",
                "runbooks_report_directory": f"{folder}/reports", "runbooks_incident_directory": f"{folder}/incidents",
                "diagnostics_directory": f"{folder}/bundles", "diagnostics_fetch_directory": f"{folder}/fetched",
                "diagnostics_collect": ["resources", "processes"], "incident_quiet": "1s",
                "runbooks_checks_app": [
                    {"name": "api", "type": "http", "url": f"{application.url}/health", "timeout": "2s", "expect": {"status": 200}},
                ],
                "runbooks_incidents_site": [
                    {
                        "name": "unresponsive", "title": "The API does not answer", "why": "Nobody can allocate anything.",
                        "detect": {"checks": [check]}, "verify": {"checks": [check]},
                        "stabilise": [{"name": "restart", "action": "command", "argv": [str(restart)], "guard": {"sick": [check]}, "wait": "30s"}],
                    }
                ],
            },
        }
    }  # fmt: skip
    path = folder / "inventory.json"
    path.write_text(json.dumps(document))
    return path


def settings(folder, application, ports):
    """Prometheus that looks each second, and Alertmanager that tells at once."""
    alert = {
        "alert": "ApiSilent", "expr": 'up{job="app"} == 0', "for": "1s",
        "labels": {"incident_type": "unresponsive", "runbooks_hosts": "f11-app", "severity": "critical"},
    }  # fmt: skip
    (folder / "rules.yml").write_text(json.dumps({"groups": [{"name": "app", "rules": [alert]}]}))
    prometheus = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "rules.yml")],
        "scrape_configs": [{"job_name": "app", "static_configs": [{"targets": [application.url.removeprefix("http://")]}]}],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{ports['alertmanager']}"]}]}]},
    }  # fmt: skip
    (folder / "prometheus.yml").write_text(json.dumps(prometheus))
    route = {
        "receiver": "runbooks", "group_by": ["incident_type", "runbooks_hosts"], "group_wait": "0s", "group_interval": "1s", "repeat_interval": "2s",
    }  # fmt: skip
    hook = {
        "url": f"http://127.0.0.1:{ports['rulebook']}/endpoint", "send_resolved": True,
        "http_config": {"authorization": {"type": "Bearer", "credentials": TOKEN}},
    }  # fmt: skip
    (folder / "alertmanager.yml").write_text(
        json.dumps({"route": route, "receivers": [{"name": "runbooks", "webhook_configs": [hook]}]})
    )


@pytest.fixture
def stage(tmp_path):
    """The application, and the three programs that watch it."""
    with Process(tmp_path / "app") as application:
        ports = {name: port() for name in ("prometheus", "alertmanager", "rulebook")}
        settings(tmp_path, application, ports)
        path = inventory(tmp_path, application)
        environment = {
            **os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "TMPDIR": str(tmp_path),
            "ANSIBLE_LOCAL_TEMP": str(tmp_path / "tmp"), "ANSIBLE_REMOTE_TEMP": str(tmp_path / "tmp"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".work/collections"), "ANSIBLE_HOME": str(tmp_path / "ansible"),
            "RUNBOOKS_EDA_TOKEN": TOKEN, "RUNBOOKS_EDA_PORT": str(ports["rulebook"]), "RUNBOOKS_EDA_HOST": "127.0.0.1",
        }  # fmt: skip
        rulebook = [
            RULEBOOK, "--rulebook", "sre.runbooks.incidents", "--inventory", path,
            "--env-vars", "RUNBOOKS_EDA_TOKEN,RUNBOOKS_EDA_PORT,RUNBOOKS_EDA_HOST", "--print-events",
        ]  # fmt: skip
        alertmanager = [
            "prometheus-alertmanager", f"--config.file={tmp_path}/alertmanager.yml", f"--storage.path={tmp_path}/alerts", "--cluster.listen-address=",
            f"--web.listen-address=127.0.0.1:{ports['alertmanager']}",
        ]  # fmt: skip
        prometheus = [
            "prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{ports['prometheus']}",
        ]  # fmt: skip
        logs = [tmp_path / f"{name}.log" for name in ("prometheus", "alertmanager", "rulebook")]
        try:
            with (
                running(logs[2], *rulebook, env=environment),
                running(logs[1], *alertmanager),
                running(logs[0], *prometheus),
            ):
                wait_for(lambda: listens(ports["rulebook"]), 60, "rulebook", logs)
                wait_for(lambda: get(f"http://127.0.0.1:{ports['alertmanager']}/-/ready"), 30, "alertmanager", logs)
                query = f"http://127.0.0.1:{ports['prometheus']}/api/v1/query?query=up"
                wait_for(lambda: '"1"' in get(query), 30, "prometheus", logs)
                yield application, tmp_path, logs, ports
        finally:
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(application.pid_file.read_text()), signal.SIGKILL)


def incidents(folder):
    with contextlib.closing(sqlite3.connect(f"file:{folder}/history.db?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute("SELECT * FROM incidents")]


def runs(folder):
    with contextlib.closing(sqlite3.connect(f"file:{folder}/history.db?mode=ro", uri=True)) as database:
        return database.execute("SELECT count(*) FROM runs WHERE playbook = 'incident'").fetchone()[0]


def hangs(application):
    try:
        application.call("GET", "/health", timeout=1)
    except TimeoutError:
        return True
    return False


def test_i8_an_application_that_hangs_is_healthy_again_and_nobody_touched_it(stage):
    application, folder, logs, _ports = stage
    application.admin("PUT", "/admin/sick", {"hung_workers": 8, "hang_seconds": 600})
    # The workers are taken one after the other, after the answer.
    wait_for(lambda: hangs(application), 30, "hanging", logs)
    wait_for(lambda: application.call("GET", "/health", timeout=1).status == 200, 120, "healthy again", logs)
    (incident,) = wait_for(
        lambda: [each for each in incidents(folder) if each["state"] == "closed"], 120, "incident closed", logs
    )
    assert (incident["type"], incident["system"], incident["severity"]) == ("unresponsive", "F11", "P1")
    text = (folder / "incidents" / f"{incident['id']}.md").read_text()
    (detected,) = re.findall(r"(?i)time to detect[^\n]*?([\d.]+) s", text)
    (resolved,) = re.findall(r"(?i)time to resolve[^\n]*?([\d.]+ (?:s|min))", text)
    print(f"detected after {detected} s, resolved after {resolved}")
    assert float(detected) < 60
    assert runs(folder) == 1, "alerts are repeated every two seconds"
    assert list((folder / "fetched").rglob("*.tar.*")), "a bundle was made before the restart"


def post(number, token, kind):
    """Tell the rulebook of an alert as Alertmanager does; return the status of the answer."""
    labels = {"incident_type": kind, "runbooks_hosts": "f11-app"}
    body = {"status": "firing", "commonLabels": labels, "alerts": [{"startsAt": "2026-11-21T09:00:00Z"}]}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"http://127.0.0.1:{number}/endpoint", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_an_alert_without_the_token_or_a_runbook_starts_nothing(stage):
    _application, folder, logs, ports = stage
    assert post(ports["rulebook"], "wrong", "unresponsive") == 401
    assert post(ports["rulebook"], TOKEN, "../../../etc/passwd") == 200
    wait_for(lambda: "is no runbook" in logs[2].read_text(), 60, "refused", logs)
    assert not (folder / "history.db").exists()
    assert TOKEN not in logs[2].read_text()
