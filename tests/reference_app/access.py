# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may do what: the admin token, API keys stored as hashes, roles, the calls a minute."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import deque
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from flask import g, request

from .database import API_KEYS, AUDIT_LOGS, Database, now
from .logs import Logs
from .settings import Settings

ROLES = ("ADMIN", "PROJECT_MANAGER", "ANALYST", "VIEWER")
_STATUS = {"AUTH_001": 401, "AUTH_002": 401, "AUTH_003": 403, "VAL_001": 400, "API_001": 429}


class RefusalError(Exception):
    """A request is refused, with one of the error codes."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, _STATUS[code]


class Access:
    """Looks at the bearer token of a request. The admin token's file is read each time, so that it can be rotated."""

    def __init__(self, settings: Settings, database: Database, logs: Logs) -> None:
        self._settings, self._database, self._logs = settings, database, logs
        self._calls: dict[int, deque[float]] = {}
        self._lock = threading.Lock()

    def create_key(self, name: str, owner: str, role: str, days: float) -> tuple[int, str]:
        """Create a key of 32 random bytes, store its hash, and return its id and the key, which is shown this once."""
        key = "ra_" + secrets.token_urlsafe(32)
        created = now()
        row = self._database.insert(
            API_KEYS,
            name=name,
            owner=owner,
            role=role,
            key_hash=_hash(key),
            created_at=created,
            expires_at=created + timedelta(days=days),
        )
        return row, key

    def record(self, action: str, subject: str) -> None:
        """Write down who did what, in the audit log and in the audit table."""
        self._logs.audit.info(
            "%s %s by %s",
            action,
            subject,
            g.actor,
            extra={"fields": {"actor": g.actor, "action": action, "subject": subject}},
        )
        self._database.insert(AUDIT_LOGS, created_at=now(), actor=g.actor, action=action, subject=subject)

    def identify(self) -> tuple[str, str]:
        kind, _space, token = request.headers.get("Authorization", "").partition(" ")
        token = token.strip() if kind.lower() == "bearer" else request.headers.get("X-API-Key", "")
        if not token:
            raise RefusalError("AUTH_001", "authentication failed: no token")
        g.token = token
        if hmac.compare_digest(token.encode(), self._settings.admin_token_file.read_bytes().strip()):
            return "admin", "ADMIN"
        with self._database.begin() as connection:
            key = connection.execute(sa.select(API_KEYS).where(API_KEYS.c.key_hash == _hash(token))).first()
            if key is None or key.revoked_at is not None:
                raise RefusalError(
                    "AUTH_001",
                    "authentication failed: " + ("unknown key" if key is None else f"key {key.id} is revoked"),
                )
            if key.expires_at < now():
                raise RefusalError("AUTH_002", f"authentication failed: key {key.id} is expired")
            connection.execute(API_KEYS.update().where(API_KEYS.c.id == key.id).values(last_used_at=now()))
        self._limit(key.id)
        return f"key {key.id} of {key.owner}", key.role

    def _limit(self, key: int) -> None:
        with self._lock:
            calls, moment = self._calls.setdefault(key, deque()), time.monotonic()
            while calls and calls[0] < moment - 60:
                calls.popleft()
            if len(calls) >= self._settings.rate_limit:
                raise RefusalError("API_001", f"rate limit exceeded: key {key}")
            calls.append(moment)


def payload(**kinds: Any) -> dict[str, Any]:
    """Return the request's JSON object. `kinds` names the fields allowed with their type or types.

    Raises RefusalError with VAL_001.
    """
    body = request.get_json(silent=True)
    if body is None and not request.get_data():
        body = {}
    if not isinstance(body, dict):
        raise RefusalError("VAL_001", "the body is no JSON object")
    for name, value in body.items():
        if name not in kinds:
            raise RefusalError("VAL_001", f"unknown field {name}; known are {', '.join(sorted(kinds))}")
        # bool is an int to Python, but not to a caller.
        if not isinstance(value, kinds[name]) or (isinstance(value, bool) and kinds[name] is not bool):
            raise RefusalError("VAL_001", f"the field {name} is of the wrong kind")
    return body


def need(body: dict[str, Any], name: str) -> Any:
    """Return a field that must be there; raises RefusalError with VAL_001."""
    if body.get(name) in (None, ""):
        raise RefusalError("VAL_001", f"the field {name} is missing")
    return body[name]


def role_of(body: dict[str, Any]) -> str:
    """Return the role asked for, VIEWER by default; raises RefusalError with VAL_001."""
    role = body.get("role", "VIEWER")
    if role not in ROLES:
        raise RefusalError("VAL_001", f"unknown role {role}; known are {', '.join(ROLES)}")
    return str(role)


def _hash(key: str) -> str:
    # A key is 256 random bits: nothing to guess, so a plain hash is enough.
    return hashlib.sha256(key.encode()).hexdigest()
