# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Flask application: what every request goes through, and the end points put together."""

from __future__ import annotations

import time

import sqlalchemy as sa
from flask import Flask, g, jsonify, request
from flask.typing import ResponseReturnValue
from flask.wrappers import Response
from werkzeug.exceptions import HTTPException, InternalServerError

from . import admin, business, monitoring
from .access import RefusalError
from .services import EXTENSION, Services, services

#: What stays usable while the service is sick or in maintenance, so that it can be healed and watched.
_ALWAYS = ("/admin/", "/auth/")
_NEVER_CLOSED = (*_ALWAYS, "/health", "/status", "/metrics", "/api/v1/metrics")


def create_app(parts: Services) -> Flask:
    """Put the application together."""
    app = Flask(__name__)
    app.extensions[EXTENSION] = parts
    for module in (monitoring, business, admin):
        app.register_blueprint(module.blueprint)
    app.before_request(_suffer)
    app.after_request(_account)
    app.register_error_handler(RefusalError, _refused)
    app.register_error_handler(sa.exc.SQLAlchemyError, _no_database)
    app.register_error_handler(HTTPException, _known)
    app.register_error_handler(InternalServerError, _unknown)
    return app


def _suffer() -> ResponseReturnValue | None:
    """Let the request feel what is wrong with the service."""
    g.started = time.perf_counter()
    state = services.state
    if request.path.startswith(_ALWAYS):
        return None
    if state.sickness.latency_seconds:
        slower = state.sickness.latency_seconds
        services.logs.main.warning("SLOW %s %s takes %.3fs longer", request.method, request.path, slower)
        time.sleep(slower)
    if state.sickness.fails_now():
        services.logs.main.error("failure of %s %s: on purpose", request.method, request.path)
        return jsonify(error="INTERNAL", message="internal error"), 500
    if state.maintenance and not request.path.startswith(_NEVER_CLOSED):
        return jsonify(error="MAINTENANCE", message="in maintenance"), 503
    return None


def _account(response: Response) -> Response:
    """Count and log the request."""
    seconds = time.perf_counter() - g.started
    # The route's pattern, not the path, so that ids do not make new series.
    endpoint = request.url_rule.rule if request.url_rule else "unknown"
    services.meter.observe(request.method, endpoint, response.status_code, seconds)
    services.state.count(response.status_code >= 500)
    line = f"{request.method} {request.full_path.rstrip('?')} {request.environ.get('SERVER_PROTOCOL')}"
    size = response.calculate_content_length() or 0
    services.logs.request(request.remote_addr or "-", line, response.status_code, size, seconds)
    return response


def _refused(error: RefusalError) -> ResponseReturnValue:
    services.logs.failure(error.code, f"{error.message} from {request.remote_addr}", path=request.path)
    return jsonify(error=error.code, message=error.message), error.status


def _no_database(error: sa.exc.SQLAlchemyError) -> ResponseReturnValue:
    # The class alone: the text of some drivers holds the connection's address and user.
    services.logs.failure("DB_001", f"{request.path}: {type(error).__name__}")
    return jsonify(error="DB_001", message="database connection error"), 503


def _known(error: HTTPException) -> ResponseReturnValue:
    return jsonify(error=error.name, message=error.description), error.code or 500


def _unknown(error: InternalServerError) -> ResponseReturnValue:
    cause = error.original_exception or error
    services.logs.main.critical("CRITICAL failure of %s %s: %s", request.method, request.path, type(cause).__name__)
    return jsonify(error="INTERNAL", message="internal error"), 500
