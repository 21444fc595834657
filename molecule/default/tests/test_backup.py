# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows D1, D3, D4: the newest copy of everything restores, by the engines' own programs, to what the source holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import testinfra

FOLDER = "/var/backups/sre-runbooks"
# Tables that the running service adds rows to.
GROWING = {"sync_runs", "audit_logs", "evaluations"}
COPIES = [
    ("resources1", "feature11", "sqlite"),
    ("resources1", "feature11_config", "files"),
    ("models1", "ghosteam_v5", "postgresql"),
    ("models1", "ghosteam_cache", "redis"),
    ("models1", "ghosteam_config", "files"),
    ("models1", "ghosteam_models", "files"),
]


def newest(host: Any, name: str) -> str:
    """Path of the newest copy of `name`."""
    found: list[str] = host.check_output(f"ls -1 {FOLDER}/{name}/*.manifest.json").splitlines()
    return max(found).removesuffix(".manifest.json")


@pytest.fixture(params=["resources1", "models1"])
def scratch(request: pytest.FixtureRequest) -> Iterator[tuple[Any, str]]:
    host = testinfra.get_host(f"ansible://{request.param}")
    folder = host.check_output("mktemp --directory")
    yield host, folder
    host.check_output(f"rm -r {folder}")


@pytest.mark.parametrize(("host_name", "name", "engine"), COPIES)
def test_manifest_tells_the_truth(host_name: str, name: str, engine: str) -> None:
    host = testinfra.get_host(f"ansible://{host_name}")
    copy = newest(host, name)
    manifest = json.loads(host.file(f"{copy}.manifest.json").content_string)
    assert manifest["engine"] == engine
    assert manifest["sha256"] == host.check_output(f"sha256sum {copy}").split()[0]
    assert manifest["size_bytes"] == host.file(copy).size
    assert manifest["verifications"][-1]["level"] == "restored"
    assert manifest["verifications"][-1]["ok"] is True
    assert (host.file(copy).mode, host.file(copy).user) == (0o600, "root")


@pytest.mark.parametrize(("host_name", "name"), [each[:2] for each in COPIES])
def test_second_run_made_no_second_copy(host_name: str, name: str) -> None:
    host = testinfra.get_host(f"ansible://{host_name}")
    assert len(host.check_output(f"ls -1A {FOLDER}/{name}").splitlines()) == 2, "one copy and its manifest"


@pytest.mark.parametrize("scratch", ["resources1"], indirect=True)
def test_sqlite_restores(scratch: tuple[Any, str]) -> None:
    host, folder = scratch
    host.check_output(f"zstd -dq {newest(host, 'feature11')} -o {folder}/copy.db")
    assert host.check_output(f"sqlite3 {folder}/copy.db 'PRAGMA integrity_check'") == "ok"
    counts = [sqlite_counts(host, path) for path in ("/opt/feature11/data/feature11.db", f"{folder}/copy.db")]
    assert counts[1]["tasks"] == "2000"
    assert_same(*counts)


@pytest.mark.parametrize("scratch", ["models1"], indirect=True)
def test_postgresql_restores(scratch: tuple[Any, str]) -> None:
    host, _folder = scratch
    copy = newest(host, "ghosteam_v5")
    host.check_output("runuser -u postgres -- createdb --template=template0 restored")
    try:
        host.check_output(
            f"zstd -dcq {copy} | runuser -u postgres -- pg_restore --exit-on-error --no-owner --dbname=restored"
        )
        counts = [postgresql_counts(host, database) for database in ("ghosteam_v5", "restored")]
    finally:
        host.check_output("runuser -u postgres -- dropdb restored")
    assert counts[1]["tasks"] == "2000"
    assert_same(*counts)


@pytest.mark.parametrize(
    ("scratch", "name", "member"),
    [
        ("resources1", "feature11_config", "/opt/feature11/.env"),
        ("resources1", "feature11_config", "/etc/systemd/system/feature11.service"),
        ("models1", "ghosteam_config", "/opt/ghosteam/configs/model.yml"),
        ("models1", "ghosteam_models", "/opt/ghosteam/models/model-1.bin"),
    ],
    indirect=["scratch"],
)
def test_files_restore(scratch: tuple[Any, str], name: str, member: str) -> None:
    host, folder = scratch
    host.check_output(f"zstd -dcq {newest(host, name)} | tar --extract --directory={folder}")
    assert host.check_output(f"sha256sum <{folder}{member}") == host.check_output(f"sha256sum <{member}")
    restored, source = host.file(folder + member), host.file(member)
    assert (restored.mode, restored.user, restored.group) == (source.mode, source.user, source.group)


def test_no_scratch_database_is_left() -> None:
    host = testinfra.get_host("ansible://models1")
    names = host.check_output("runuser -u postgres -- psql -AtXc 'SELECT datname FROM pg_database'").splitlines()
    assert set(names) == {"postgres", "template0", "template1", "ghosteam_v5"}


def assert_same(source: dict[str, str], copy: dict[str, str]) -> None:
    assert source.keys() == copy.keys()
    assert {name for name in source if source[name] != copy[name]} <= GROWING


def sqlite_counts(host: Any, path: str) -> dict[str, str]:
    tables = host.check_output(
        f"sqlite3 {path} \"SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'\""
    )
    return {table: host.check_output(f"sqlite3 {path} 'SELECT count(*) FROM {table}'") for table in tables.split()}


def postgresql_counts(host: Any, database: str) -> dict[str, str]:
    psql = f"runuser -u postgres -- psql -AtX {database} -c"
    tables = host.check_output(f"{psql} \"SELECT tablename FROM pg_tables WHERE schemaname = 'public'\"")
    return {table: host.check_output(f"{psql} 'SELECT count(*) FROM {table}'") for table in tables.split()}
