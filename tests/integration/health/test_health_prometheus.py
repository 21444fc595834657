# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PromQL against a real Prometheus, exposition pages of a real node_exporter and the application (H11)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
SECRET = "geheim-0123456789"


# --- prometheus ------------------------------------------------------------------------------------------------------


def test_a_scalar(check, prometheus_server):
    outcome = check("prometheus", url=prometheus_server, query="scalar(count(up))", warning="> 2", critical="> 3")
    assert (outcome["subject"], outcome["status"], outcome["metrics"]) == ("prometheus:x", "warning", {"value": 3})
    assert outcome["summary"] == "value is 3, bound > 2; the value is 3"


def test_each_series_is_an_outcome_of_its_own(run, prometheus_server):
    outcomes = run(
        {"name": "targets", "type": "prometheus", "url": f"{prometheus_server}/", "query": "up", "critical": "< 1"}
    )["outcomes"]
    found = {each["subject"].partition('job="')[2].rstrip('"}'): each["status"] for each in outcomes}
    assert found == {"prometheus": "ok", "node": "ok", "gone": "critical"}
    (gone,) = [each for each in outcomes if each["status"] == "critical"]
    assert gone["subject"] == 'prometheus:targets:up{instance="127.0.0.1:1",job="gone"}'
    assert gone["summary"] == 'value is 0, bound < 1; up{instance="127.0.0.1:1",job="gone"} is 0'


@pytest.mark.parametrize(
    ("query", "summary"),
    [
        ("no_such_series", "query: 'no_such_series' gives no series: what it asks for is not there"),
        ("up > 17", "query: 'up > 17' gives no series: what it asks for is not there"),
        ("scalar(no_such_series)", "value is not known here"),
        ("vector(0) / 0", "value is not known here"),
        ("vector(1) / 0", "value is not known here"),
        ("up[5m]", "query: 'up[5m]' gives a matrix. Write one that gives a scalar or an instant vector."),
        ('"text"', """query: '"text"' gives a string. Write one that gives a scalar or an instant vector."""),
    ],
)
def test_what_gives_no_figure_is_unknown_never_ok(check, prometheus_server, query, summary):
    outcome = check("prometheus", url=prometheus_server, query=query, warning="> 1e9", critical="< -1e9")
    assert outcome["status"] == "unknown"
    assert summary in outcome["summary"]


def test_a_query_that_is_none_is_unknown_in_the_words_of_prometheus(check, prometheus_server):
    outcome = check("prometheus", url=prometheus_server, query="sum(", warning="> 1")
    assert outcome["status"] == "unknown"
    assert outcome["summary"].startswith(f"{prometheus_server}: invalid parameter")
    assert "parse error" in outcome["summary"]


def test_a_query_that_gives_too_many_series(run, prometheus_server):
    entry = {"name": "all", "type": "prometheus", "url": prometheus_server, "query": '{__name__=~".+"}'}
    outcomes = run({**entry, "warning": "> 1e300"})["outcomes"]
    assert len(outcomes) == 101
    assert outcomes[-1]["subject"] == "prometheus:all:(others)"
    assert outcomes[-1]["status"] == "unknown"
    assert "were not looked at. Aggregate it." in outcomes[-1]["summary"]


def test_for_is_counted_for_each_series(run, prometheus_server):
    entry = {"name": "up", "type": "prometheus", "url": prometheus_server, "query": 'up{job!="node"}'}
    outcomes = run({**entry, "critical": "< 1 for 5m"})["outcomes"]
    assert sorted((each["status"], each.get("pending", False)) for each in outcomes) == [("ok", False), ("ok", True)]


def test_a_prometheus_that_is_down_or_never_answers_is_critical(check, hanging):
    outcome = check("prometheus", url="http://127.0.0.1:1", query="up", warning="> 1")
    assert (outcome["status"], outcome["summary"][-18:]) == ("critical", "Connection refused")
    began = time.monotonic()
    outcome = check("prometheus", url=f"http://127.0.0.1:{hanging}", query="up", warning="> 1", timeout="300ms")
    assert outcome["status"] == "critical"
    assert outcome["summary"].endswith(": no whole answer within 0.3 s")
    assert time.monotonic() - began < 10


@pytest.fixture
def page(serve):
    """Start a server that answers every request with `status` and `parts`; its address, and the requests that came."""

    def go(parts, status="200 OK"):
        asked = []

        def talk(connection):
            asked.append(connection.recv(65536).decode())
            connection.sendall(f"HTTP/1.1 {status}\r\n\r\n".encode())
            for part in parts() if callable(parts) else [parts]:
                connection.sendall(part)

        return f"http://127.0.0.1:{serve(talk)}", asked

    return go


@pytest.mark.parametrize(
    ("status", "body", "expected", "summary"),
    [
        ("503 Service Unavailable", '{"status": "error", "error": "starting"}', "critical", ": status is 503: starting"),
        ("502 Bad Gateway", "<html>", "critical", ": status is 502"),
        ("401 Unauthorized", "", "unknown", ": status is 401, the answer is none of Prometheus"),
        ("200 OK", "<html>", "unknown", ": status is 200, the answer is none of Prometheus"),
        ("200 OK", "[1]", "unknown", ": status is 200, the answer is none of Prometheus"),
        ("200 OK", '{"data": 1}', "unknown", "the answer is none of Prometheus: TypeError"),
        ("200 OK", '{"data": {"resultType": "vector", "result": [1]}}', "unknown", "the answer is none of Prometheus"),
        ("200 OK", '{"data": {"resultType": "vector", "result": [{"metric": {}, "histogram": []}]}}', "unknown", "a histogram"),
        ("200 OK", "x" * (2 * 2**20), "critical", "the answer is larger than 1.0 MiB"),
    ],
    ids=range(9),
)  # fmt: skip
def test_an_answer_that_is_none(check, page, status, body, expected, summary):
    url, _asked = page(body.encode(), status)
    outcome = check("prometheus", url=url, query="up", warning="> 1")
    assert outcome["status"] == expected
    assert summary in outcome["summary"]


def test_the_token_is_sent_and_not_told(run, page):
    url, asked = page(b'{"data": {"resultType": "scalar", "result": [1, "7"]}}')
    result = run(
        {"name": "x", "type": "prometheus", "url": url, "query": 'up{a="b c"}', "warning": "> 9",
         "headers": {"Authorization": f"Bearer {SECRET}"}}
    )  # fmt: skip
    assert result["status"] == "ok"
    assert f"\r\nAuthorization: Bearer {SECRET}\r\n" in asked[0]
    assert asked[0].startswith("GET /api/v1/query?query=up%7Ba%3D%22b+c%22%7D&timeout=5s HTTP/1.1\r\n")
    assert SECRET not in json.dumps(result)


# --- metrics ---------------------------------------------------------------------------------------------------------


def test_samples_of_a_node_exporter(check, node_exporter):
    outcome = check(
        "metrics",
        url=node_exporter,
        samples={"load": "node_load1", "memory_bytes": "node_memory_MemTotal_bytes", "ok": 'promhttp_metric_handler_requests_total{code="200"}'},
        warning=">= 0",
        metrics={"memory_bytes": {"critical": "< 1 MiB"}},
    )  # fmt: skip
    meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    assert outcome["status"] == "warning"
    assert outcome["metrics"]["memory_bytes"] == int(meminfo["MemTotal"].split()[0]) * 1024
    assert outcome["metrics"]["load"] >= 0
    assert outcome["metrics"]["response_seconds"] < 5
    assert outcome["summary"].startswith("load is ")


def test_a_selector_of_several_samples_is_an_outcome_each(run, node_exporter):
    entry = {
        "name": "node",
        "type": "metrics",
        "url": node_exporter,
        "samples": {"up": 'node_network_up{device="lo"}', "success": "node_scrape_collector_success", "load": "node_load1"},
        "metrics": {"success": {"warning": "> 1"}, "load": {"critical": "< 0"}},
    }  # fmt: skip
    outcomes = run(entry)["outcomes"]
    subjects = {each["subject"]: each for each in outcomes}
    assert len(subjects) == len(outcomes) > 20
    assert {"up", "load", "response_seconds"} == set(subjects["metrics:node"]["metrics"])
    loadavg = subjects['metrics:node:success{collector="loadavg"}']
    assert (loadavg["status"], loadavg["metrics"]) == ("ok", {"success": 1})


def test_the_application_can_be_scraped(check, app):
    page = app.call("GET", "/metrics").body
    name = next(line.split("{")[0].split()[0] for line in page.splitlines() if line and not line.startswith("#"))
    assert check("metrics", url=f"{app.url}/metrics")["status"] == "ok"
    assert check("metrics", url=f"{app.url}/health")["status"] == "critical"
    assert check("metrics", url=f"{app.url}/nowhere")["summary"].endswith("/nowhere: status is 404, expected 200")
    assert name.replace("_", "a").isalnum()


PAGE = rb"""# HELP jobs Jobs. # TYPE is a lie
# TYPE jobs gauge
jobs{queue="a",state="waiting"} 7
jobs{queue="b",state="waiting",} 9 1395066363000
jobs_total{ queue = "a" } 1e3
path{p="C:\\dir\n\"x\"}, y"} 1
nan NaN
inf +Inf
le_bucket{le="0.5"} 3 # {trace_id="KOO5S4vxi0o"} 0.67
broken{a="b} 4
jobs nothing
"""


@pytest.mark.parametrize(
    ("selector", "value"),
    [
        ('jobs{queue="a"}', 7),
        ('jobs{queue!="a"}', 9),
        ('jobs { state = "waiting" , queue = "b" }', 9),
        ('jobs{queue="a",missing=""}', 7),
        ("jobs_total", 1000),
        (r'path{p="C:\\dir\n\"x\"}, y"}', 1),
        ('le_bucket{le="0.5"}', 3),
        ("nan", None),
        ("inf", None),
        ("broken", None),
        ("nothing", None),
        ("job", None),
        ('jobs{queue="c"}', None),
    ],
)
def test_selectors(check, page, selector, value):
    url, _asked = page(PAGE)
    outcome = check("metrics", url=url, samples={"it": selector})
    assert outcome["metrics"].get("it") == value
    assert outcome["status"] == ("ok" if value is not None else "unknown")


@pytest.mark.parametrize(
    "body", [b"", b"<html>\nNothing to see 1 here\n</html>", b"# HELP a b\n# TYPE a gauge\n", b"\0\xff" * 1000]
)
def test_a_page_without_samples_is_critical(check, page, body):
    url, _asked = page(body)
    outcome = check("metrics", url=url)
    assert outcome["summary"] == f"{url}: the answer holds no sample, it is no page of metrics"


def test_a_line_without_end_is_not_kept(check, page):
    def parts():
        while True:
            yield b"x" * 65536

    url, _asked = page(parts)
    outcome = check("metrics", url=url, timeout="60s")
    assert (outcome["status"], outcome["summary"]) == (
        "critical",
        f"{url}: a line of the page is longer than 1048576 bytes",
    )


def test_a_page_without_end_ends_at_the_timeout(check, page):
    def parts():
        while True:
            yield b'jobs{queue="a"} 7\n' * 1000

    url, _asked = page(parts)
    began = time.monotonic()
    outcome = check("metrics", url=url, timeout="1s", samples={"jobs": "jobs"})
    assert (outcome["status"], outcome["summary"]) == ("critical", f"{url}: no whole answer within 1 s")
    assert time.monotonic() - began < 10


MEASURED = """
import json, re, sys
from ansible_collections.sre.runbooks.plugins.module_utils._health import metrics
def peak():
    # Of this program alone: ru_maxrss begins with what the parent had.
    with open("/proc/self/status") as status:
        return int(re.search(r"VmHWM:\\s*(\\d+)", status.read())[1])
options = {"url": sys.argv[1], "headers": {}, "validate_certs": True, "ca_path": None, "timeout": 60.0,
           "samples": {"last": "last_of_all", "one": 'requests{path="/api/17",code="200"}', "many": "requests"}}
before = peak()
seen = metrics.observe(options, None)
after = peak()
print(json.dumps([after - before, seen[0].metrics, len(seen), seen[-1].summary]))
"""


def test_a_page_of_50_mb_is_read_as_a_stream(page):
    """Faults, B9: the page is never held as a whole, and every line of it is looked at."""
    lines = 600_000

    def parts():
        for start in range(0, lines, 1000):
            yield "".join(
                f'requests{{path="/api/{number}",code="{"200" if number % 2 else "500"}",'
                f'pod="web-7f9c6d5b8-{number % 97:05d}-padding-of-a-name"}} {number}\n'
                for number in range(start, start + 1000)
            ).encode()
        yield b"last_of_all 42"

    url, _asked = page(parts)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, url],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / ".work/collections")},
        check=True,
        capture_output=True,
        text=True,
    )
    grown, metrics, seen, last = json.loads(done.stdout)
    assert (metrics["last"], metrics["one"]) == (42, 17)
    assert seen == 102  # one for those that are alone, a hundred of the many, one for the rest
    assert last == "many selects more than 100 samples, the others were not looked at. Name more labels."
    assert grown < 8 * 1024  # KiB
