# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work the systems do, small: projects and their tasks, allocations, optimization, evaluations, synchronisation."""

from __future__ import annotations

import time
from datetime import datetime

import sqlalchemy as sa
from flask import Blueprint, g, jsonify, request
from flask.typing import ResponseReturnValue

from .access import RefusalError, need, payload
from .database import ALLOCATIONS, EVALUATIONS, PROJECTS, TASKS, WORKERS, iso, now
from .guard import requires
from .services import services

PAGE = 100
PLANNERS = ("ADMIN", "PROJECT_MANAGER")
ANALYSTS = (*PLANNERS, "ANALYST")

blueprint = Blueprint("business", __name__, url_prefix="/api/v1")


@blueprint.get("/whoami")
@requires()
def whoami() -> ResponseReturnValue:
    return jsonify(actor=g.actor, role=g.role)


@blueprint.get("/projects")
@requires()
def projects() -> ResponseReturnValue:
    return jsonify(
        [
            {"code": row.code, "name": row.name}
            for row in services.database.rows(sa.select(PROJECTS).order_by(PROJECTS.c.id))
        ]
    )


@blueprint.get("/projects/<code>/tasks")
@requires()
def tasks(code: str) -> ResponseReturnValue:
    found = services.state.cache.get(f"tasks:{code}")
    if found is None:
        query = sa.select(TASKS).join(PROJECTS, PROJECTS.c.id == TASKS.c.project_id).where(PROJECTS.c.code == code)
        rows = services.database.rows(query.order_by(TASKS.c.id))
        columns = ("id", "title", "status", "estimated_hours", "delay_risk")
        found = {
            "total_tasks": len(rows),
            "tasks": [{name: getattr(row, name) for name in columns} for row in rows[:PAGE]],
        }
        services.state.cache.put(f"tasks:{code}", found)
    return jsonify(found)


@blueprint.get("/allocations")
@requires()
def allocations() -> ResponseReturnValue:
    rows = services.database.rows(sa.select(ALLOCATIONS).order_by(ALLOCATIONS.c.id.desc()).limit(PAGE))
    columns = ("id", "task_id", "worker_id", "hours")
    return jsonify(
        [{**{name: getattr(row, name) for name in columns}, "start_date": iso(row.start_date)} for row in rows]
    )


@blueprint.post("/allocations")
@requires(*PLANNERS)
def allocate() -> ResponseReturnValue:
    body = payload(task_id=int, worker_id=int, hours=(int, float), start_date=str)
    for table, name in ((TASKS, "task_id"), (WORKERS, "worker_id")):
        if not services.database.rows(sa.select(table.c.id).where(table.c.id == need(body, name))):
            raise RefusalError("VAL_001", f"no {table.name[:-1]} {body[name]}")
    try:
        start = datetime.fromisoformat(need(body, "start_date")).replace(tzinfo=None)
    except ValueError:
        raise RefusalError("VAL_001", f"start_date is no date: {body['start_date']}") from None
    values = {
        "task_id": body["task_id"],
        "worker_id": body["worker_id"],
        "hours": float(need(body, "hours")),
        "start_date": start,
    }
    return jsonify(id=services.database.insert(ALLOCATIONS, created_date=now(), **values)), 201


@blueprint.post("/optimize")
@requires(*ANALYSTS)
def optimize() -> ResponseReturnValue:
    # `seconds` pretends a project so large that it takes as long, for the limits of row L2.
    seconds = payload(seconds=(int, float)).get("seconds", 0)
    started = time.perf_counter()
    risky = services.database.rows(
        sa.select(TASKS.c.id).where(TASKS.c.delay_risk > 0.4).order_by(TASKS.c.delay_risk.desc()).limit(20)
    )
    taken = time.perf_counter() - started + seconds
    services.logs.performance.info(
        "Optimization completed in %.3fs", taken, extra={"fields": {"duration_seconds": round(taken, 3)}}
    )
    return jsonify(recommendations=[row.id for row in risky], duration_seconds=taken)


@blueprint.post("/evaluate")
@requires(*ANALYSTS)
def evaluate() -> ResponseReturnValue:
    body = payload(model_name=str, task=str, language=str)
    services.state.queue.append({"model": need(body, "model_name"), "requested_at": iso(now())})
    return jsonify(queued=services.state.queue_depth()), 202


@blueprint.post("/evaluate/next")
@requires(*ANALYSTS)
def evaluate_next() -> ResponseReturnValue:
    if not services.state.queue:
        return "", 204
    job, started = services.state.queue.popleft(), time.perf_counter()
    row = services.database.insert(
        EVALUATIONS,
        model=job["model"],
        status="succeeded",
        correct=True,
        duration_seconds=0.04 + time.perf_counter() - started,
        created_at=now(),
    )
    return jsonify(id=row)


@blueprint.post("/sync")
@requires(*PLANNERS)
def synchronise() -> ResponseReturnValue:
    if not services.state.synchronise():
        return jsonify(error="SYNC", message="Monday.com does not answer"), 502
    return jsonify(services.state.sync_report())


@blueprint.get("/debug/performance")
@requires(*ANALYSTS)
def performance() -> ResponseReturnValue:
    return jsonify(queue_depth=services.state.queue_depth(), cache=services.state.cache.stats(), path=request.path)
