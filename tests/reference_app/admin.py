# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The admin API: keys, users, maintenance mode, cache, queue, and sickness on purpose."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import sqlalchemy as sa
from flask import Blueprint, g, jsonify, request
from flask.typing import ResponseReturnValue

from .access import RefusalError, need, payload, role_of
from .database import API_KEYS, USERS, iso, now
from .guard import requires
from .services import services
from .state import Sickness

MAX_DAYS = 366
MAX_MEMORY_MIB = 1024
MAX_WORKERS = 64
MAX_LINES = 10_000
HANG_SECONDS = 600.0
_NUMBER = (int, float)
_SICK_FIELDS: dict[str, Any] = {
    "latency_seconds": _NUMBER,
    "error_rate": _NUMBER,
    "memory_mib": int,
    "hung_workers": int,
    "hang_seconds": _NUMBER,
    "stale_sync_seconds": int,
    "queue_depth": int,
    "error_lines": int,
    "database_down": bool,
    "metrics": dict,
}
_LIMITS = {
    "latency_seconds": 60,
    "error_rate": 1,
    "memory_mib": MAX_MEMORY_MIB,
    "hung_workers": MAX_WORKERS,
    "error_lines": MAX_LINES,
}

blueprint = Blueprint("admin", __name__)


@blueprint.post("/auth/api-keys")
@requires("ADMIN")
def create_key() -> ResponseReturnValue:
    body = payload(name=str, owner=str, role=str, expires_in_days=_NUMBER)
    days = body.get("expires_in_days", 90)
    if not 0 < days <= MAX_DAYS:
        raise RefusalError("VAL_001", f"expires_in_days is not between 0 and {MAX_DAYS}")
    name, role = need(body, "name"), role_of(body)
    row, key = services.access.create_key(name, body.get("owner", name), role, days)
    services.access.record("create_key", f"{row} {name}")
    expires = services.database.rows(sa.select(API_KEYS.c.expires_at).where(API_KEYS.c.id == row))[0].expires_at
    return jsonify(id=row, name=name, role=role, key=key, expires_at=iso(expires)), 201


@blueprint.get("/auth/api-keys")
@requires("ADMIN")
def list_keys() -> ResponseReturnValue:
    rows = services.database.rows(sa.select(API_KEYS).order_by(API_KEYS.c.id))
    moments = ("created_at", "expires_at", "revoked_at", "last_used_at")
    plain = ("id", "name", "owner", "role")
    return jsonify(
        [
            {**{name: getattr(row, name) for name in plain}, **{name: iso(getattr(row, name)) for name in moments}}
            for row in rows
        ]
    )


@blueprint.delete("/auth/api-keys/<int:row>")
@requires("ADMIN")
def revoke_key(row: int) -> ResponseReturnValue:
    found = services.database.rows(sa.select(API_KEYS.c.revoked_at).where(API_KEYS.c.id == row))
    if not found:
        return jsonify(error="NOT_FOUND", message=f"no key {row}"), 404
    if found[0].revoked_at is None:
        services.database.update(API_KEYS, row, revoked_at=now())
        services.access.record("revoke_key", str(row))
    return "", 204


@blueprint.post("/auth/users")
@requires("ADMIN")
def create_user() -> ResponseReturnValue:
    body = payload(username=str, email=str, role=str)
    name, role = need(body, "username"), role_of(body)
    try:
        row = services.database.insert(
            USERS, username=name, email=body.get("email", ""), role=role, disabled=False, created_at=now()
        )
    except sa.exc.IntegrityError:
        return jsonify(error="CONFLICT", message=f"the user {name} is there"), 409
    services.access.record("create_user", f"{name} {role}")
    return jsonify(id=row, username=name, role=role, disabled=False), 201


@blueprint.get("/auth/users")
@requires("ADMIN")
def list_users() -> ResponseReturnValue:
    """All users; with `page` and `per_page` so many, and where the next ones are."""
    columns = ("id", "username", "email", "role", "disabled")
    logins = sa.select(API_KEYS.c.owner, sa.func.max(API_KEYS.c.last_used_at)).group_by(API_KEYS.c.owner)
    last = dict(tuple(row) for row in services.database.rows(logins))
    users = [
        {**{name: getattr(row, name) for name in columns}, "created_at": iso(row.created_at), "last_login_at": iso(last.get(row.username))}
        for row in services.database.rows(sa.select(USERS).order_by(USERS.c.id))
    ]  # fmt: skip
    page, size = request.args.get("page", 0, type=int), request.args.get("per_page", 100, type=int)
    if page < 1 or size < 1:
        return jsonify(users)
    more = f"/auth/users?page={page + 1}&per_page={size}" if len(users) > page * size else None
    return jsonify(items=users[(page - 1) * size : page * size], next=more, total=len(users))


@blueprint.put("/auth/users/<int:row>/role")
@requires("ADMIN")
def change_role(row: int) -> ResponseReturnValue:
    role = role_of({"role": need(payload(role=str), "role")})
    if not services.database.update(USERS, row, role=role):
        return jsonify(error="NOT_FOUND", message=f"no user {row}"), 404
    services.access.record("change_role", f"{row} {role}")
    return jsonify(id=row, role=role)


@blueprint.put("/auth/users/<int:row>/enable")
@requires("ADMIN")
def enable_user(row: int) -> ResponseReturnValue:
    if not services.database.update(USERS, row, disabled=False):
        return jsonify(error="NOT_FOUND", message=f"no user {row}"), 404
    services.access.record("enable_user", str(row))
    return jsonify(id=row, disabled=False)


@blueprint.put("/auth/users/<int:row>/disable")
@requires("ADMIN")
def disable_user(row: int) -> ResponseReturnValue:
    if not services.database.update(USERS, row, disabled=True):
        return jsonify(error="NOT_FOUND", message=f"no user {row}"), 404
    services.access.record("disable_user", str(row))
    return jsonify(id=row, disabled=True)


@blueprint.route("/admin/maintenance-mode", methods=["GET", "POST", "DELETE"])
@requires("ADMIN")
def maintenance() -> ResponseReturnValue:
    if request.method != "GET":
        services.state.maintenance = request.method == "POST"
        services.access.record("maintenance_mode", "on" if services.state.maintenance else "off")
    return jsonify(maintenance=services.state.maintenance)


@blueprint.get("/api/v1/cache/stats")
@requires("ADMIN")
def cache_stats() -> ResponseReturnValue:
    return jsonify(services.state.cache.stats())


@blueprint.post("/api/v1/cache/flush")
@requires("ADMIN")
def flush_cache() -> ResponseReturnValue:
    gone = services.state.cache.flush()
    services.access.record("flush_cache", f"{gone} entries")
    return jsonify(flushed=gone)


@blueprint.get("/api/v1/queue")
@requires("ADMIN")
def queue() -> ResponseReturnValue:
    return jsonify(depth=services.state.queue_depth())


@blueprint.post("/api/v1/queue/clear")
@requires("ADMIN")
def clear_queue() -> ResponseReturnValue:
    gone = services.state.queue_depth()
    services.state.queue.clear()
    services.state.sickness.queue_depth = 0
    services.access.record("clear_queue", f"{gone} jobs")
    return jsonify(cleared=gone)


@blueprint.get("/admin/sick")
@requires("ADMIN")
def sickness() -> ResponseReturnValue:
    return jsonify(services.state.sickness.report())


@blueprint.put("/admin/sick")
@requires("ADMIN")
def fall_sick() -> ResponseReturnValue:
    body = payload(**_SICK_FIELDS)
    for name, value in body.items():
        if isinstance(value, _NUMBER) and not 0 <= value <= _LIMITS.get(name, 10**9):
            raise RefusalError("VAL_001", f"{name} is not between 0 and {_LIMITS.get(name, 10**9)}")
    # First the record: with the database gone, nothing could be written down about it.
    services.access.record("sick", ", ".join(sorted(body)))
    _apply(body)
    return jsonify(services.state.sickness.report())


def _apply(body: dict[str, Any]) -> None:
    for name in {field.name for field in fields(Sickness)} & set(body) - {"memory_mib", "hung_workers"}:
        setattr(services.state.sickness, name, body[name])
    if "memory_mib" in body:
        services.state.sickness.hold_memory(body["memory_mib"])
    if body.get("error_lines"):
        services.state.write_error_lines(body["error_lines"])
    if body.get("hung_workers"):
        services.state.hang_workers(body["hung_workers"], body.get("hang_seconds", HANG_SECONDS), g.token)


@blueprint.delete("/admin/sick")
@requires("ADMIN")
def recover() -> ResponseReturnValue:
    # Here the recovery goes first, for the same reason.
    services.state.sickness.recover()
    services.access.record("recover", g.actor)
    return jsonify(services.state.sickness.report())


@blueprint.get("/admin/hang")
@requires("ADMIN")
def hang() -> ResponseReturnValue:
    services.state.sickness.hang(request.args.get("seconds", HANG_SECONDS, type=float))
    return "", 204
