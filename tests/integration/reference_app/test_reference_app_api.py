# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the reference application offers: rows H4, H8, H9, K2, K5, I5 of the systems it stands for."""

from __future__ import annotations

import re
import time

import pytest

H8_METRICS = {
    "utilization",
    "unallocated_hours_percent",
    "conflicts",
    "delay_risk",
    "cache_hit_rate",
    "error_rate",
    "success_rate_percent",
    "prediction_accuracy_percent",
    "model_latency_seconds",
    "throughput_per_minute",
    "queue_depth",
}


def create_key(app, **fields):
    answer = app.admin("POST", "/auth/api-keys", {"name": "test", "role": "VIEWER", **fields})
    assert answer.status == 201, answer
    return answer.body


def test_h4_health_says_status_database_version_and_time(app):
    answer = app.call("GET", "/health")
    assert answer.status == 200
    assert set(answer.body) == {"status", "database", "version", "timestamp"}
    assert (answer.body["status"], answer.body["database"]) == ("healthy", "connected")


def test_h9_status_holds_the_age_of_the_last_sync(app):
    sync = app.call("GET", "/status").body["sync"]
    assert 0 <= sync["age_seconds"] < 300
    assert sync["status"] == "fresh"


def test_h8_business_metrics_of_a_seeded_service_are_within_bounds(app):
    metrics = app.call("GET", "/api/v1/metrics").body
    assert set(metrics) == H8_METRICS
    assert 0.50 <= metrics["utilization"] <= 0.95
    assert metrics["unallocated_hours_percent"] < 30
    assert metrics["conflicts"] <= 10
    assert metrics["delay_risk"] < 0.40
    assert metrics["cache_hit_rate"] > 0.8
    assert metrics["error_rate"] < 0.01
    assert metrics["success_rate_percent"] >= 95
    assert metrics["prediction_accuracy_percent"] >= 90
    assert metrics["model_latency_seconds"] < 0.1
    assert metrics["throughput_per_minute"] >= 1000
    assert metrics["queue_depth"] == 0


def test_metrics_are_in_the_format_of_prometheus(app):
    app.call("GET", "/health")
    text = app.call("GET", "/metrics").body
    assert re.search(r'^api_requests_total\{endpoint="/health",method="GET",status="200"\} [1-9]', text, re.MULTILINE)
    assert re.search(r"^business_utilization 0\.\d+$", text, re.MULTILINE)
    assert re.search(r"^process_resident_memory_bytes ", text, re.MULTILINE)


def test_k2_two_keys_work_until_the_old_one_is_revoked(app):
    old, new = create_key(app, expires_in_days=90), create_key(app)
    assert app.call("GET", "/api/v1/whoami", token=old["key"]).body["role"] == "VIEWER"
    assert app.call("GET", "/api/v1/whoami", token=new["key"]).status == 200
    assert app.admin("DELETE", f"/auth/api-keys/{old['id']}").status == 204
    refused = app.call("GET", "/api/v1/whoami", token=old["key"])
    assert (refused.status, refused.body["error"]) == (401, "AUTH_001")
    assert app.call("GET", "/api/v1/whoami", token=new["key"]).status == 200
    assert app.admin("DELETE", f"/auth/api-keys/{old['id']}").status == 204
    assert app.admin("DELETE", "/auth/api-keys/999999").status == 404


def test_k1_a_key_is_stored_as_a_hash_and_written_to_no_log(app):
    key = create_key(app)["key"]
    assert len(key) > 43
    app.call("GET", "/api/v1/whoami", token=key)
    assert key not in str(app.admin("GET", "/auth/api-keys").body)
    texts = [path.read_text() for path in app.log_dir.iterdir()]
    assert not any(key in text or app.token in text for text in texts)
    if app.database.exists():
        raw = b"".join(path.read_bytes() for path in app.database.parent.iterdir())
        assert key.encode() not in raw


def test_an_expired_key_is_refused(app):
    key = create_key(app, expires_in_days=0.000001)["key"]
    time.sleep(0.3)
    refused = app.call("GET", "/api/v1/whoami", token=key)
    assert (refused.status, refused.body["error"]) == (401, "AUTH_002")


def test_a_viewer_may_not_plan_and_nobody_without_token_may_do_anything(app):
    key = create_key(app)["key"]
    assert app.call("POST", "/api/v1/allocations", {}, token=key).body["error"] == "AUTH_003"
    assert app.call("POST", "/auth/users", {"username": "x"}, token=key).status == 403
    assert app.call("GET", "/api/v1/projects").status == 401
    assert app.call("PUT", "/admin/sick", {"error_rate": 1}).status == 401


def test_too_many_calls_with_one_key_are_refused(app):
    key = create_key(app)["key"]
    answers = [app.call("GET", "/api/v1/whoami", token=key) for _each in range(51)]
    assert [answer.status for answer in answers] == [200] * 50 + [429]
    assert "rate limit exceeded" in app.log_dir.joinpath("feature11_errors.log").read_text()


def test_allocations_are_written_and_read(app):
    key = create_key(app, role="PROJECT_MANAGER")["key"]
    body = {"task_id": 1, "worker_id": 1, "hours": 4, "start_date": "2020-01-02"}
    made = app.call("POST", "/api/v1/allocations", body, token=key)
    assert made.status == 201
    newest = app.call("GET", "/api/v1/allocations", token=key).body[0]
    assert (newest["id"], newest["hours"], newest["start_date"]) == (made.body["id"], 4, "2020-01-02T00:00:00Z")
    tasks = app.call("GET", "/api/v1/projects/PRJ001/tasks", token=key).body
    assert tasks["total_tasks"] == 40


@pytest.mark.parametrize(
    "body",
    [
        {"task_id": 999999, "worker_id": 1, "hours": 4, "start_date": "2020-01-02"},
        {"task_id": 1, "worker_id": 1, "hours": "four", "start_date": "2020-01-02"},
        {"task_id": 1, "worker_id": 1, "hours": 4, "start_date": "soon"},
        {"task_id": 1, "worker_id": 1, "hours": 4},
        {"task_id": True, "worker_id": 1, "hours": 4, "start_date": "2020-01-02"},
        {"unknown": 1},
        ["no object"],
    ],
)
def test_bad_input_is_named_and_changes_nothing(app, body):
    before = app.admin("GET", "/api/v1/allocations").body
    answer = app.admin("POST", "/api/v1/allocations", body)
    assert (answer.status, answer.body["error"]) == (400, "VAL_001")
    assert app.admin("GET", "/api/v1/allocations").body == before


def test_k5_users_have_roles_and_can_be_disabled(app):
    made = app.admin(
        "POST", "/auth/users", {"username": "planner", "email": "p@example.org", "role": "PROJECT_MANAGER"}
    )
    assert made.status == 201
    assert app.admin("POST", "/auth/users", {"username": "planner"}).status == 409
    assert app.admin("POST", "/auth/users", {"username": "other", "role": "KING"}).status == 400
    assert app.admin("PUT", f"/auth/users/{made.body['id']}/disable").status == 200
    users = {user["username"]: user for user in app.admin("GET", "/auth/users").body}
    assert users["planner"]["disabled"] is True
    assert users["planner"]["role"] == "PROJECT_MANAGER"
    assert users["viewer"]["disabled"] is False


def test_i5_maintenance_mode_closes_the_business_and_leaves_health_open(app):
    assert app.admin("POST", "/admin/maintenance-mode").body == {"maintenance": True}
    try:
        assert app.admin("GET", "/api/v1/projects").status == 503
        assert app.call("GET", "/health").body["status"] == "maintenance"
    finally:
        assert app.admin("DELETE", "/admin/maintenance-mode").body == {"maintenance": False}
    assert app.admin("GET", "/api/v1/projects").status == 200


def test_i5_cache_and_queue_are_counted_and_cleared(app):
    app.admin("GET", "/api/v1/projects/PRJ002/tasks")
    assert app.admin("GET", "/api/v1/cache/stats").body["entries"] >= 1
    assert app.admin("POST", "/api/v1/cache/flush").body["flushed"] >= 1
    assert app.admin("GET", "/api/v1/cache/stats").body["entries"] == 0
    for _each in range(3):
        assert app.admin("POST", "/api/v1/evaluate", {"model_name": "m", "task": "t"}).status == 202
    assert app.admin("POST", "/api/v1/evaluate/next").status == 200
    assert app.call("GET", "/api/v1/metrics").body["queue_depth"] == 2
    assert app.admin("POST", "/api/v1/queue/clear").body == {"cleared": 2}
    assert app.admin("GET", "/api/v1/queue").body == {"depth": 0}
