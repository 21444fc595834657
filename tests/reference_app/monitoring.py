# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What watches the service: health, status, Prometheus metrics and the business metrics of row H8."""

from __future__ import annotations

import time

import sqlalchemy as sa
from flask import Blueprint, Response, jsonify
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from . import __version__
from .database import iso, now
from .services import services

blueprint = Blueprint("monitoring", __name__)


def database_answers() -> bool:
    try:
        services.database.ping()
    except sa.exc.SQLAlchemyError as error:
        services.logs.failure("DB_001", f"health: {type(error).__name__}")
        return False
    return True


@blueprint.get("/health")
def health() -> ResponseReturnValue:
    connected = database_answers()
    status = "unhealthy" if not connected else "maintenance" if services.state.maintenance else "healthy"
    body = {
        "status": status,
        "database": "connected" if connected else "disconnected",
        "version": __version__,
        "timestamp": iso(now()),
    }
    return jsonify(body), 200 if connected else 503


@blueprint.get("/status")
def status() -> ResponseReturnValue:
    connected = database_answers()
    sync = (
        services.state.sync_report() if connected else {"status": "unknown", "last_success": None, "age_seconds": None}
    )
    components = {
        "database": "connected" if connected else "disconnected",
        "sync": sync["status"],
        "cache": services.state.cache.stats(),
        "queue": {"depth": services.state.queue_depth()},
        "maintenance": services.state.maintenance,
    }
    well = connected and sync["status"] == "fresh" and not services.state.maintenance
    body = {
        "system": services.settings.name,
        "status": "healthy" if well else "degraded",
        "version": __version__,
        "components": components,
    }
    return jsonify({**body, "sync": sync, "uptime_seconds": time.monotonic() - services.state.started})


@blueprint.get("/metrics")
def metrics() -> Response:
    return Response(generate_latest(services.meter.registry), content_type=CONTENT_TYPE_LATEST)


@blueprint.get("/api/v1/metrics")
def business_metrics() -> ResponseReturnValue:
    return jsonify(services.state.business_metrics())
