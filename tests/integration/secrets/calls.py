# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls of modules with a canary in every secret option; tests/unit/test_collection_secrets.py sees that none is missing.

A new module with secrets, or a new secret option, is added to `calls`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

CANARY = "canary-"
# Packages that a module imports for something else than to read such entries from its options.
NOT_READ = {"backup_info": ("_health",), "security_audit": ("_health",), "access_review": ("_keys",)}

# What the roles of the playbooks call with the same lists is not called a second time by itself.
BY_ROLES = (
    "health_check", "backup", "backup_verify", "restore", "database_archive", "database_vacuum", "database_indexes", "migration",
)  # fmt: skip
STAGES_BY_ROLES = ("status", "create", "promote", "revoke")


class Place(NamedTuple):
    """Where real servers are, with the canaries that open them, and a folder on this machine."""

    folder: str
    url: str
    token: str
    postgresql: dict[str, Any]
    mysql: dict[str, Any]
    redis: dict[str, Any]
    dead: int


# Main metrics of checks, where they are not the time of an answer.
MAIN = {"command": "value", "prometheus": "value", "migrations": "pending"}

# For whoever wants to know of the options alone.
NOWHERE = Place(
    "/nowhere", "http://127.0.0.1:1", f"{CANARY}token", {"password": f"{CANARY}pg"}, {"password": f"{CANARY}my"}, {"password": f"{CANARY}re"}, 1
)  # fmt: skip


def canary(name: str) -> str:
    """A value that is in no file but for this name."""
    return f"{CANARY}{name}-0123456789"


def wrong(reach: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The same server with a password that it refuses."""
    return {**reach, "password": canary(name)}


def databases(place: Place) -> list[dict[str, Any]]:
    """Sources of a backup and databases of other modules: of each engine one whose password is right, and one that is not."""
    servers = {"postgresql": place.postgresql, "mysql": place.mysql}
    found = []
    for engine, reach in servers.items():
        found.append({"name": f"{engine}_right", "engine": engine, **reach})
        found.append({"name": f"{engine}_wrong", "engine": engine, **wrong(reach, f"{engine}-refused")})
    return found


def sources(place: Place) -> list[dict[str, Any]]:
    """Sources of a backup."""
    return [
        *databases(place),
        {"name": "redis_right", "engine": "redis", **place.redis},
        {"name": "redis_wrong", "engine": "redis", **wrong(place.redis, "redis-refused")},
    ]


def restic(place: Place) -> dict[str, Any]:
    """A repository on this machine."""
    return {
        "repository": f"{place.folder}/restic",
        "password": canary("restic"),
        "environment": {"AWS_SECRET_ACCESS_KEY": canary("bucket")},
        "init": True,
    }


def checks(place: Place) -> list[dict[str, Any]]:
    """Checks with secrets, which pass, fail, and cannot be made."""
    bearer = {"Authorization": f"Bearer {place.token}", "X-Other": canary("header")}
    echo = ["sh", "-c", 'echo "it is $SECRET"; echo "it was $SECRET" >&2; exit "${CODE:-1}"']
    found: list[dict[str, Any]] = [
        {"name": "http", "type": "http", "url": f"{place.url}/auth/users", "headers": bearer, "expect": {"status": 200}},
        {"name": "http body", "type": "http", "url": f"{place.url}/admin/sick", "method": "PUT", "headers": bearer,
         "body": {"metrics": canary("body")}, "expect": {"status": 299}},
        {"name": "http away", "type": "http", "url": f"http://127.0.0.1:{place.dead}/", "headers": {"X": canary("header-away")}},
        {"name": "metrics", "type": "metrics", "url": f"{place.url}/no-such-page", "headers": {"X": canary("metrics")}},
        {"name": "prometheus", "type": "prometheus", "url": place.url, "query": "up", "warning": "< 1",
         "headers": {"X": canary("prometheus")}},
        {"name": "command", "type": "command", "argv": echo, "environment": {"SECRET": canary("environment")}},
        {"name": "migrations", "type": "migrations", "directory": place.folder, "command": echo, "environment": {"SECRET": canary("migrations")}},
        {"name": "redis", "type": "redis", "connection": place.redis},
        {"name": "redis refused", "type": "redis", "connection": wrong(place.redis, "redis-check")},
    ]  # fmt: skip
    for kind, reach in (("postgresql", place.postgresql), ("mysql", place.mysql)):
        found.append({"name": kind, "type": kind, "connection": reach})
        found.append({"name": f"{kind} refused", "type": kind, "connection": wrong(reach, f"{kind}-check")})
    return found


def switch(place: Place) -> dict[str, Any]:
    """Maintenance mode of the application."""
    return {
        "kind": "http", "url": f"{place.url}/admin/maintenance-mode",
        "headers": {"Authorization": f"Bearer {place.token}", "X": canary("switch-header")},
        "on_body": {"note": canary("switch-on")}, "off_body": {"note": canary("switch-off")},
    }  # fmt: skip


def actions(place: Place) -> list[dict[str, Any]]:
    """Actions on a service that is ill, each with secrets of its own."""
    free = {"wait": "0s", "guard": {"always": "nothing is there to be harmed"}}
    request = {
        "url": f"{place.url}/no-such-page",
        "headers": {"X": canary("action-header")},
        "body": {"note": canary("action-body")},
    }
    return [
        {"name": "ask", "action": "http", **request, **free},
        {"name": "flush", "action": "cache_flush", "redis": place.redis, "patterns": ["x:*"], **free},
        {"name": "flush there", "action": "cache_flush", "http": request, **free},
        {"name": "clear", "action": "queue_clear", "redis": wrong(place.redis, "redis-queue"), "key": "queue", **free},
        {"name": "clear there", "action": "queue_clear", "http": request, **free},
        {"name": "close", "action": "maintenance_mode", "switch": {**switch(place), "look_url": f"{place.url}/no-such-page"}, **free},
        {"name": "restore", "action": "database_restore", **free,
         "restore": {"restores": [{"name": "nothing", "engine": "postgresql", **wrong(place.postgresql, "restore")}], "directory": f"{place.folder}/backups"}},
    ]  # fmt: skip


def keys(place: Place) -> list[dict[str, Any]]:
    """Keys of providers with secrets of their own, proven by calls with others."""
    http = {"url": place.url, "headers": {"Authorization": f"Bearer {place.token}", "X": canary("provider-header")}}
    file = f"{place.folder}/program.env"
    echo = ["sh", "-c", 'echo "it is $SECRET"; echo "it was $SECRET" >&2; exit 1']
    return [
        {"name": "by_http",
         "provider": {"type": "http", **http, "list": {"path": "/auth/api-keys"},
                      "create": {"path": "/auth/api-keys", "body": {"name": "{label}", "note": canary("create-body")}},
                      "revoke": {"path": "/auth/api-keys/{id}", "method": "POST", "body": {"note": canary("revoke-body")}}},
         "consumers": [{"path": file, "variable": "BY_HTTP"}],
         "verify": {"type": "http", "url": f"{place.url}/api/v1/whoami", "headers": {"X": canary("verify-header")}, "within": "0s",
                    "used_by": {"url": f"{place.url}/health", "headers": {"X": canary("used-by")}}}},
        {"name": "by_store", "provider": {"type": "store", "engine": "postgresql", **server(place.postgresql, "store")}},
        {"name": "by_role", "provider": {"type": "postgresql_role", **server(place.postgresql, "role"), "users": ["one", "two"]}},
        {"name": "by_user", "provider": {"type": "mysql_user", **server(place.mysql, "user"), "users": ["one", "two"]}},
        {"name": "by_command", "provider": {"type": "command", "create": echo, "revoke": echo, "list": echo, "environment": {"SECRET": canary("command")}}},
        {"name": "by_vault", "provider": {"type": "vault", "url": place.url, "path": "one", "token": canary("vault-token"),
                                          "headers": {"X": canary("vault-header")}}},
        {"name": "proven_by_postgresql", "consumers": [{"path": file, "variable": "PG"}],
         "verify": {"type": "postgresql", **wrong(place.postgresql, "verify-pg"), "within": "0s"}},
        {"name": "proven_by_mysql", "consumers": [{"path": file, "variable": "MY"}],
         "verify": {"type": "mysql", **wrong(place.mysql, "verify-my"), "within": "0s"}},
        {"name": "proven_by_command", "consumers": [{"path": file, "variable": "COMMAND"}],
         "verify": {"type": "command", "argv": ["sh", "-c", 'echo "$SRE_RUNBOOKS_KEY"; exit 2'], "within": "0s"}},
    ]  # fmt: skip


def server(reach: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The same of a provider, whose `host` is that of the inventory."""
    return {("server" if option == "host" else option): value for option, value in wrong(reach, name).items()}


def program_file(place: Place) -> dict[str, str]:
    """What stands in the file that the keys' program reads: variable and value."""
    return {
        "BY_HTTP": canary("held-http"),
        "PG": canary("held-pg"),
        "MY": canary("held-my"),
        "COMMAND": canary("held-command"),
    }


def calls(place: Place) -> list[tuple[str, dict[str, Any]]]:
    """Modules and their arguments. What a call comes to does not matter: nothing of it may be told."""
    folder, found = place.folder, list[tuple[str, dict[str, Any]]]()
    state = {"state_dir": f"{folder}/state", "textfile_dir": f"{folder}/textfile"}
    tables = [{**each, "table": "people"} for each in databases(place)]
    backup = {"sources": sources(place), "directory": f"{folder}/backups", "restic": restic(place)}
    found += [
        ("health_check", {"checks": checks(place), **state}),
        ("backup", {**backup, **state}),
        ("backup_info", {"directory": f"{folder}/backups", "sources": sources(place)}),
        ("backup_verify", {"directory": f"{folder}/backups", "sources": sources(place), "level": "restored", **state}),
        ("restore", {"restores": sources(place), "directory": f"{folder}/backups", "safety_backup": False, **state}),
        ("database_export", {"databases": [{**each, "dest": f"{folder}/{each['name']}.csv"} for each in tables]}),
        ("database_import", {"databases": [{**each, "src": f"{folder}/people.csv"} for each in tables], "on_duplicate": "skip"}),
        ("database_archive", {"databases": [{**each, "column": "born"} for each in tables], "older_than": "90d",
                              "directory": f"{folder}/archive", **state}),
        ("database_vacuum", {"databases": databases(place), **state}),
        ("database_indexes", {"databases": databases(place), "indexes": [
            {"database": each["name"], "table": "people", "columns": ["born"]} for each in databases(place)], **state}),
        ("migration", {"migrations": [{"name": "mcp", "directory": folder, "command": ["false"], "database": "postgresql_wrong"}],
                       "databases": databases(place), "backup_directory": f"{folder}/backups", **state}),
        ("preflight", {"kinds": ["checks", "policies"], "checks": checks(place), "sources": sources(place),
                       "backup": {"directory": f"{folder}/backups", "restic": restic(place)}, **state}),
        ("preflight", {"kinds": ["incidents"], "runbooks": [{"name": "unresponsive", "actions": actions(place)}],
                       "remedies": {"ask": actions(place)[0]}, **state}),
        ("env_file", {"path": f"{folder}/one.env", "variable": "ONE", "value": canary("value"), **state}),
        ("env_file", {"variables": [
            {"path": f"{folder}/one.env", "variable": "ONE", "value": canary("value-of-a-list")},
            {"path": f"{folder}/bad.json", "variable": "a.b", "format": "json", "value": canary("value-of-json")}], **state}),
    ]  # fmt: skip
    found += [
        ("access_review", {"services": [{
            "name": "app", "url": place.url, "headers": {"Authorization": f"Bearer {place.token}", "X": canary("review-header")},
            "list": {"path": "/auth/users"}, "create": {"path": "/auth/users", "body": {"username": "{name}", "note": canary("review-body")}},
            "role": {"path": "/auth/users/{id}/role", "body": {"role": "{role}", "note": canary("review-role")}},
            "disable": {"path": "/auth/users/{id}/disable", "body": {"note": canary("review-disable")}},
            "roles": ["ADMIN", "VIEWER"], "users": [{"name": "ana", "role": "ADMIN", "attributes": {"email": canary("review-email")}}]}], **state}),
        ("diagnostics", {"incident": "INC-20261121-101500-0001", "collect": ["postgresql", "mysql", "redis", "logs"], "logs": [f"{folder}/program.env"],
                         "secrets": list(program_file(place).values()), "databases": sources(place), "directory": f"{folder}/bundles", **state}),
        ("patching", {"windows": [{"days": ["sun"], "start": "02:00", "end": "04:00"}], "updates": "none", "refresh": False,
                      "checks": checks(place), "checks_within": "0s", **state}),
        ("site_steps", {"steps": [
            {"name": each, "cadences": ["weekly"], "expect": each, "environment": {"SECRET": canary(f"step-{each}")},
             "argv": ["sh", "-c", 'echo "it is $SECRET"; echo "it was $SECRET" >&2; exit 1']} for each in ("nagios", "json", "success")], **state}),
        ("scaling", {"targets": [
            {"name": each["name"], "kind": "compose", "project": "canaries", "service": "none", "files": ["/nowhere"], "maximum": 3, "measures": [each],
             "up": {main: "> 100 for 1h"}, "down": {main: "< 1 for 1h"}}
            for each in checks(place) for main in [MAIN.get(each["type"], "response_seconds")]], **state}),
        ("stabilise", {"incident": "INC-20261121-101500-0002", "actions": actions(place), "verify": checks(place)[:2], "timeout": "30s", **state}),
        ("stabilise", {"incident": "INC-20261121-101500-0003", "actions": actions(place)[:1], "verify": checks(place), "timeout": "5s", **state}),
        ("maintenance", {"state": "on", "owner": "ops", "switch": {**switch(place), "look_url": f"{place.url}/no-such-page"}, **state}),
        ("maintenance", {"state": "on", "owner": "ops", "lease": "5m", "switch": switch(place),
                         "alertmanager": {"url": f"http://127.0.0.1:{place.dead}", "headers": {"X": canary("alertmanager")},
                                          "matchers": [{"name": "host", "value": "h"}]}, **state}),
        ("maintenance", {"state": "status", "switch": switch(place), **state}),
        ("maintenance", {"state": "off", "owner": "ops", "switch": switch(place), **state}),
        ("notify", {"contacts": [{"name": "all", "urls": [f"json://user:{canary('notify')}@127.0.0.1:{place.dead}/"]}],
                    "incident": {"id": "INC-20261121-101500-0004", "type": "unresponsive", "severity": "P1", "system": "F11", "hosts": ["host1"],
                                 "summary": "no answer"}}),
    ]  # fmt: skip
    for stage in ("status", "create", "distribute", "prove", "promote", "rollback", "revoke", "prove_dead"):
        orders = {"by_http": {"pending": {"label": "by_http-1", "fingerprint": "0123456789ab"}}}
        values = {"values": {"by_http": canary("new-value")}, "orders": orders} if stage == "distribute" else {}
        found.append(("rotating_key", {"keys": keys(place), "stage": stage, "run": "r1", **values, **state}))
    return found
