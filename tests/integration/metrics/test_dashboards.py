# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dashboards against a real Prometheus that scrapes what real calls wrote, with the rules loaded: every panel has data (R5, R6)."""

from __future__ import annotations

import contextlib
import datetime
import importlib
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from reference_app.process import Process

from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome
from ansible_collections.sre.runbooks.plugins.plugin_utils import run_metrics
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_state import Incident
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import HostAnswer, Run

from ..conftest import free_port
from .module_calls import calls, prepare

ROOT = Path(__file__).resolve().parents[3]
DASHBOARDS = sorted((ROOT / "extensions/grafana").glob("*.json"))
RULES = ROOT / "extensions/prometheus/rules"
CALLED = ("health_check", "backup", "backup_verify", "log_scan")


def panels():
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"]


def test_the_dashboards_are_those_of_their_generator():
    done = subprocess.run(
        [sys.executable, ROOT / "tools/dashboards.py", "--check"], text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_ids_are_unique_and_whoever_looks_chooses_the_data_source():
    documents = [json.loads(path.read_text()) for path in DASHBOARDS]
    assert len({each["uid"] for each in documents}) == len({each["title"] for each in documents}) == len(documents) == 4
    for document in documents:
        ids = [panel["id"] for panel in document["panels"]]
        assert len(set(ids)) == len(ids)
        assert [each["name"] for each in document["templating"]["list"] if each["type"] == "datasource"] == [
            "datasource"
        ]
        assert set(re.findall(r'"uid": "([^"]*)"', json.dumps([document["panels"], document["templating"]]))) == {
            "${datasource}"
        }
        places = [panel["gridPos"] for panel in document["panels"]]
        cells = [
            (x, y)
            for at in places
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        ]
        assert len(set(cells)) == len(cells), "two panels lie over each other"
        assert max(x for x, _y in cells) < 24


@contextlib.contextmanager
def running(log, *argv):
    with log.open("wb") as output, subprocess.Popen([*map(str, argv)], stdout=output, stderr=output) as child:
        try:
            yield
        finally:
            child.kill()


def asked(address, expr):
    """The series that Prometheus answers; an expression that it cannot read fails the test."""
    query = urllib.parse.urlencode({"query": expr})
    try:
        with urllib.request.urlopen(f"http://{address}/api/v1/query?{query}", timeout=10) as answer:
            return json.load(answer)["data"]["result"]
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 503:
                raise  # it has not begun yet
            pytest.fail(f"{expr}: {error.read().decode()}")


def write_metrics(folder, application, capsys):
    """What a host and its controller have written."""
    work, textfile = folder / "work", folder / "textfile"
    work.mkdir()
    textfile.mkdir()
    prepare(work)
    for name, arguments in calls(work, application.url, application.token_file.read_text().strip()):
        if name in CALLED:
            module = importlib.import_module(f"ansible_collections.sre.runbooks.plugins.modules.{name}")
            with (
                patch_module_args({**arguments, "textfile_dir": str(textfile), "state_dir": f"{work}/state"}),
                pytest.raises(SystemExit),
            ):
                module.main()
            capsys.readouterr()
    now = datetime.datetime.now(datetime.UTC)
    text = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    host = HostAnswer("f11.example.org", "F11", True, [outcome("disk:/", "health", "critical", "full")])
    run_metrics.write_run(str(textfile), Run("id", "daily", text, text, False, "0.1.0", ["health"], [host]))
    incident = Incident("INC-1", "unresponsive", "F11", severity="P1", started=text, detected=text)
    run_metrics.write_incidents(str(textfile), [incident], now)
    return textfile


@pytest.fixture
def prometheus(tmp_path, capsys):
    """The address of a Prometheus with node_exporter and the application as targets, labelled as docs/alerts.md says."""
    with Process(tmp_path / "app") as application:
        textfile = write_metrics(tmp_path, application, capsys)
        exporter, address = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        labels = {"system": "F11", "runbooks_hosts": "feature11"}
        node = {"job_name": "node", "honor_labels": True, "static_configs": [{"targets": [exporter], "labels": labels}]}
        target = application.url.removeprefix("http://")
        api = {
            "job_name": "api",
            "static_configs": [{"targets": [target], "labels": {**labels, "runbooks_objective": "api"}}],
        }
        settings = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [f"{RULES}/*.yml"], "scrape_configs": [node, api],
        }  # fmt: skip
        (tmp_path / "prometheus.yml").write_text(json.dumps(settings))
        with (
            running(tmp_path / "exporter.log", "prometheus-node-exporter", f"--web.listen-address={exporter}",
                    f"--collector.textfile.directory={textfile}"),
            running(tmp_path / "prometheus.log", "prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--web.listen-address={address}",
                    f"--storage.tsdb.path={tmp_path}/data"),
        ):  # fmt: skip
            deadline = time.monotonic() + 60
            while True:
                with contextlib.suppress(OSError):
                    if asked(
                        address, "sre_runbooks:api_error_budget_left_ratio:30d and on() sre_runbooks:host_cpu_percent"
                    ):
                        break
                assert time.monotonic() < deadline, (tmp_path / "prometheus.log").read_text()[-3000:]
                application.call("GET", "/health")
                time.sleep(0.2)
            yield address


def test_every_panel_has_data_and_the_variables_values(prometheus):
    deadline = time.monotonic() + 30
    wanted = {title: re.sub(r"\$(system|instance)", ".*", expr) for title, expr in panels()}
    assert not [expr for expr in wanted.values() if "$" in expr]
    # And the alerts tell of what is wrong here, with the host that an incident is for; each rule has its own turn.
    wanted["alerts"] = 'ALERTS{alertname="OutcomeCritical", runbooks_hosts="feature11"}'
    while True:
        empty = [title for title, expr in wanted.items() if not asked(prometheus, expr)]
        if not empty or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    assert not empty
    assert len(wanted) > 41
    for path in DASHBOARDS:
        (query,) = [
            each["query"]["query"]
            for each in json.loads(path.read_text())["templating"]["list"]
            if each["type"] == "query"
        ]
        metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", query).groups()
        assert asked(prometheus, f'{metric}{{{label}!=""}}')
