# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sickness on purpose, logs (rows L1 to L3, L5) and the life of the process."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from reference_app.process import Process, StartError


def answers(app: Process) -> bool:
    try:
        return app.call("GET", "/health", timeout=1).status == 200
    except TimeoutError:
        return False


def test_latency_is_felt_and_goes_away(healthy):
    assert healthy.admin("PUT", "/admin/sick", {"latency_seconds": 0.4}).status == 200
    started = time.monotonic()
    assert healthy.call("GET", "/health").status == 200
    assert time.monotonic() - started >= 0.4
    assert healthy.call("GET", "/api/v1/metrics").body["model_latency_seconds"] > 0.4
    healthy.admin("DELETE", "/admin/sick")
    assert healthy.call("GET", "/api/v1/metrics").body["model_latency_seconds"] < 0.1


def test_the_share_of_500s_is_exact(healthy):
    healthy.admin("PUT", "/admin/sick", {"error_rate": 0.25})
    answers = [healthy.call("GET", "/health").status for _each in range(20)]
    assert answers.count(500) == 5
    healthy.admin("PUT", "/admin/sick", {"error_rate": 0})
    healthy.admin("DELETE", "/admin/sick")
    assert healthy.call("GET", "/health").status == 200


def test_error_rate_shows_in_the_business_metrics(healthy):
    # Half of the calls fail, so one of two reads succeeds.
    healthy.admin("PUT", "/admin/sick", {"error_rate": 0.5})
    answers = [healthy.call("GET", "/api/v1/metrics") for _each in range(2)]
    metrics = next(answer.body for answer in answers if answer.status == 200)
    assert metrics["error_rate"] > 0.4
    assert metrics["success_rate_percent"] < 50


def test_without_database_health_is_503_and_names_it(healthy):
    healthy.admin("PUT", "/admin/sick", {"database_down": True})
    answer = healthy.call("GET", "/health")
    assert (answer.status, answer.body["status"], answer.body["database"]) == (503, "unhealthy", "disconnected")
    assert healthy.call("GET", "/status").body["components"]["database"] == "disconnected"
    healthy.admin("DELETE", "/admin/sick")
    assert healthy.call("GET", "/health").status == 200


def test_l3_error_lines_hold_every_code(healthy):
    healthy.admin("PUT", "/admin/sick", {"error_lines": 12})
    text = healthy.log_dir.joinpath("feature11_errors.log").read_text()
    for code in ("AUTH_001", "AUTH_002", "AUTH_003", "VAL_001", "DB_001", "API_001"):
        line = rf"^\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d,\d{{3}} - feature11 - ERROR - \[{code}\] [^\n]+ of 12$"
        assert len(re.findall(line, text, re.MULTILINE)) >= 2, code


def test_memory_is_held_and_given_back(healthy):
    process = psutil.Process(healthy.pid)
    before = process.memory_info().rss
    healthy.admin("PUT", "/admin/sick", {"memory_mib": 100})
    assert process.memory_info().rss - before > 90 * 2**20
    healthy.admin("DELETE", "/admin/sick")
    assert process.memory_info().rss - before < 20 * 2**20


def test_h9_a_stale_sync_shows_everywhere(healthy):
    healthy.admin("PUT", "/admin/sick", {"stale_sync_seconds": 3600})
    assert healthy.admin("POST", "/api/v1/sync").status == 502
    sync = healthy.call("GET", "/status").body["sync"]
    assert sync["age_seconds"] >= 3600
    assert sync["status"] == "stale"
    healthy.admin("DELETE", "/admin/sick")
    assert healthy.admin("POST", "/api/v1/sync").body["age_seconds"] < 60


def test_h8_any_business_metric_can_be_given(healthy):
    healthy.admin("PUT", "/admin/sick", {"metrics": {"utilization": 0.3}, "queue_depth": 25})
    metrics = healthy.call("GET", "/api/v1/metrics").body
    assert (metrics["utilization"], metrics["queue_depth"]) == (0.3, 25)


def test_bad_sickness_is_refused(healthy):
    for body in ({"error_rate": 2}, {"latency_seconds": "long"}, {"fever": 40}, {"memory_mib": 10**6}):
        assert healthy.admin("PUT", "/admin/sick", body).status == 400, body


def test_one_hung_worker_leaves_the_others(lone_app):
    lone_app.start()
    lone_app.admin("PUT", "/admin/sick", {"hung_workers": 1})
    assert lone_app.call("GET", "/health").status == 200


def test_many_callers_at_once_all_get_their_answer(lone_app):
    lone_app.run("--seed", "50")
    lone_app.start()
    paths = ["/api/v1/metrics", "/status", "/metrics", "/api/v1/allocations", "/health"] * 60
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda path: lone_app.admin("GET", path).status, paths))
    assert statuses == [200] * len(paths)


def test_with_all_workers_hung_nothing_answers_and_sigterm_still_ends_it(lone_app):
    lone_app.start()
    lone_app.admin("PUT", "/admin/sick", {"hung_workers": 8})
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and answers(lone_app):
        time.sleep(0.1)
    assert not answers(lone_app)
    assert lone_app.stop() == 0


def test_sigterm_ends_it_cleanly_with_the_data_kept(lone_app):
    lone_app.run("--seed", "50")
    lone_app.start()
    child = lone_app.pid
    key = lone_app.admin("POST", "/auth/api-keys", {"name": "kept"}).body["key"]
    assert lone_app.stop() == 0
    assert not psutil.pid_exists(child)
    assert "feature11 stopped" in lone_app.log_dir.joinpath("feature11.log").read_text()
    lone_app.start()
    assert lone_app.call("GET", "/api/v1/whoami", token=key).status == 200


def test_l2_optimization_and_sync_times_are_in_the_performance_log(lone_app):
    lone_app.start()
    # The service's own first synchronisation may not have ended yet.
    assert lone_app.admin("POST", "/api/v1/sync").status == 200
    lone_app.admin("POST", "/api/v1/optimize", {"seconds": 6})
    text = lone_app.log_dir.joinpath("feature11_performance.log").read_text()
    assert re.search(
        r"^[\d :,-]+ - feature11\.performance - INFO - Optimization completed in 6\.\d{3}s$", text, re.MULTILINE
    )
    assert "Monday.com sync completed in 0." in text


def test_l1_audit_access_and_json_logs(lone_app):
    lone_app.start()
    lone_app.admin("POST", "/auth/api-keys", {"name": "audited"})
    assert lone_app.call("GET", "/api/v1/whoami?x=1", token="wrong").status == 401
    lone_app.stop()
    assert "create_key 1 audited by admin" in lone_app.log_dir.joinpath("feature11_audit.log").read_text()
    access = lone_app.log_dir.joinpath("feature11_access.log").read_text()
    line = (
        r'^127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:[\d:]+ \+\d{4}\] "GET /api/v1/whoami\?x=1 HTTP/1\.1" 401 \d+ \d\.\d{3}$'
    )
    assert re.search(line, access, re.MULTILINE)
    entries = [
        json.loads(line) for line in lone_app.log_dir.joinpath("feature11_events.jsonl").read_text().splitlines()
    ]
    assert any(entry.get("code") == "AUTH_001" and "authentication failed" in entry["message"] for entry in entries)
    assert all(entry["timestamp"].endswith("+00:00") for entry in entries)


def test_l5_a_log_that_was_moved_away_loses_no_line(lone_app):
    lone_app.start()
    access = lone_app.log_dir.joinpath("feature11_access.log")
    for number in range(3):
        lone_app.call("GET", f"/health?n={number}")
        access.rename(access.with_suffix(f".log.{number}"))
    lone_app.call("GET", "/health?n=3")
    lone_app.stop()
    lines = "".join(path.read_text() for path in lone_app.log_dir.glob("feature11_access.log*"))
    assert all(lines.count(f"?n={number} ") == 1 for number in range(4))


def test_seeding_twice_adds_nothing_and_logs_have_their_age(lone_app):
    lone_app.run("--seed", "60", "--seed-logs", "3")
    lone_app.run("--seed", "60")
    lone_app.start()
    assert lone_app.admin("GET", "/api/v1/projects/PRJ001/tasks").body["total_tasks"] == 30
    ages = sorted(round((time.time() - path.stat().st_mtime) / 86400) for path in lone_app.log_dir.glob("*.log.*"))
    assert ages == [1, 2, 3]


def test_a_setting_that_is_missing_or_unknown_is_named(tmp_path: Path):
    for wrong, message in (
        ({"log_dir": ""}, "REFERENCE_APP_LOG_DIR is missing"),
        ({"colour": 1}, "REFERENCE_APP_COLOUR"),
    ):
        process = Process(tmp_path / "wrong", **wrong)
        with pytest.raises(StartError, match=message):
            process.start()
