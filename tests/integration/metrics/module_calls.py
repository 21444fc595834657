# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small real call of every module that makes outcomes on a host; a new module is added here."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any


def prepare(folder: Path) -> None:
    """A database, logs, a program's file, a folder of migrations."""
    with contextlib.closing(sqlite3.connect(folder / "app.db")) as database:
        database.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, born TEXT)")
        database.executemany("INSERT INTO people (name, born) VALUES (?, ?)", [("ana", "2020-01-01")] * 50)
        database.commit()
    (folder / "app.log").write_text("2026-11-21 09:00:00 ERROR one\n2026-11-21 09:00:01 INFO took 1.5s\n" * 20)
    (folder / "app.log.1").write_text("old\n")
    (folder / "one.env").write_text("ONE=1\n")
    (folder / "new.csv").write_text("name,born\nbo,2021-01-01\n")
    (folder / "alembic.ini").write_text("[alembic]\nscript_location = versions\n")
    for name in ("backups", "archive", "ssh"):
        (folder / name).mkdir()


def calls(folder: Path, url: str, token: str) -> list[tuple[str, dict[str, Any]]]:
    """Modules and arguments, in an order in which the later ones find what the earlier ones made."""
    database = {"name": "app", "engine": "sqlite", "path": f"{folder}/app.db"}
    table = {**database, "table": "people"}
    key = {"name": "key", "provider": {"type": "command", "create": ["true"], "revoke": ["true"], "list": ["echo", "[]"]},
           "consumers": [{"path": f"{folder}/one.env", "variable": "ONE"}],
           "verify": {"type": "command", "argv": ["true"], "within": "0s"}}  # fmt: skip
    wait = {"guard": {"always": "nothing is there to be harmed"}, "wait": "0s"}
    command = {"name": "nothing", "action": "command", "argv": ["true"], **wait}
    switch = {"kind": "file", "path": f"{folder}/maintenance"}
    access = {
        "name": "app", "url": url, "headers": {"Authorization": f"Bearer {token}"}, "list": {"path": "/auth/users"},
        "create": {"path": "/auth/users", "body": {"username": "{name}"}}, "role": {"path": "/auth/users/{id}/role", "body": {"role": "{role}"}},
        "disable": {"path": "/auth/users/{id}/disable"}, "roles": ["ADMIN", "VIEWER"], "users": [],
    }  # fmt: skip
    return [
        ("health_check", {"checks": [
            {"name": "cpu", "type": "cpu", "warning": "> 1000"}, {"name": "memory", "type": "memory", "warning": "> 1000"},
            {"name": "disk", "type": "disk", "paths": ["/"], "warning": "> 1000"},
            {"name": "api", "type": "http", "url": f"{url}/health"},
            {"name": "business", "type": "http", "url": f"{url}/api/v1/metrics", "values": {
                name: name for name in ("utilization", "conflicts", "delay_risk", "cache_hit_rate", "error_rate", "queue_depth")}},
            {"name": "database", "type": "sqlite", "path": f"{folder}/app.db"},
            {"name": "gone", "type": "port", "port": 1, "timeout": "1s"}]}),
        ("backup", {"sources": [database], "directory": f"{folder}/backups"}),
        ("backup_info", {"directory": f"{folder}/backups", "sources": [database]}),
        ("backup_verify", {"directory": f"{folder}/backups", "level": "restored"}),
        ("restore", {"restores": [database], "directory": f"{folder}/backups", "safety_backup": False}),
        ("database_export", {"databases": [{**table, "dest": f"{folder}/people.csv"}]}),
        ("database_import", {"databases": [{**table, "src": f"{folder}/new.csv"}]}),
        ("database_archive", {"databases": [{**table, "column": "born"}], "older_than": "90d", "directory": f"{folder}/archive"}),
        ("database_vacuum", {"databases": [database]}),
        ("database_indexes", {"databases": [database], "indexes": [{"database": "app", "table": "people", "columns": ["born"]}]}),
        ("log_scan", {"sources": [{"name": "app", "path": f"{folder}/app.log"}], "read": "cursor", "from_start": True,
                      "rules": [{"name": "errors", "pattern": "ERROR", "warning": "> 100"}],
                      "measures": [{"name": "took", "pattern": r"took (?P<value>[\d.]+)s", "unit": "s"}]}),
        ("log_cleanup", {"policies": [{"name": "old", "paths": [str(folder)], "patterns": ["app.log.*"], "older_than": "7d", "action": "delete"}]}),
        ("env_file", {"path": f"{folder}/one.env", "variable": "TWO", "value": "2"}),
        ("secret_scan", {"scans": [{"name": "app", "paths": [str(folder / "one.env")]}]}),
        ("security_audit", {"audits": [{"name": "permissions", "type": "permissions"}, {"name": "ages", "type": "key_ages"}]}),
        ("access_review", {"services": [access]}),
        ("rotating_key", {"keys": [key], "stage": "status"}),
        ("ssh_keys", {"stage": "status", "user": "root", "run": "r1"}),
        ("maintenance", {"state": "status", "switch": switch}),
        ("migration", {"migrations": [{"name": "app", "directory": str(folder), "command": ["false"], "database": "app"}],
                       "databases": [database], "backup_directory": f"{folder}/backups"}),
        ("patching", {"windows": [{"days": ["sun"], "start": "02:00", "end": "02:01", "zone": "UTC"}], "updates": "none", "refresh": False}),
        ("preflight", {"kinds": ["policies"], "checks": [], "sources": [database], "backup": {"directory": f"{folder}/backups"}}),
        ("stabilise", {"incident": "INC-20261121-101500-0002", "actions": [command], "verify": [
            {"name": "file", "type": "file", "path": f"{folder}/one.env", "metrics": {"files": {"critical": "< 1"}}}]}),
        ("diagnostics", {"incident": "INC-20261121-101500-0003", "collect": ["resources"], "directory": f"{folder}/bundles"}),
        ("scaling", {"targets": [{"name": "workers", "kind": "systemd", "template": "nobody-has-it@.service", "maximum": 2,
                                  "measures": [{"name": "cpu", "type": "cpu"}]}]}),
        ("site_steps", {"steps": [{"name": "drift", "argv": ["true"], "cadences": ["weekly"]}]}),
    ]  # fmt: skip
