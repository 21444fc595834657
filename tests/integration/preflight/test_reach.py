# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an inventory points to and what the host lacks: reachability, programs, folders (issue 4, 6; D1, H5, H10, L4, L5)."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from .conftest import CHECKOUT, MODULE, database, tree

CHECK = {"name": "x"}


def one(outcomes, subject):
    """The rules, status and summary of the only outcome."""
    assert list(outcomes) == [subject], outcomes
    outcome = outcomes[subject]
    return outcome["details"]["rules"], outcome["status"], outcome["summary"]


@pytest.mark.parametrize(
    ("check", "rule", "status", "told"),
    [
        ({"type": "port", "port": 1}, "target_down", "critical", "127.0.0.1:1 cannot be reached"),
        ({"type": "http", "url": "http://127.0.0.1:1/health"}, "target_down", "critical", "Correct the check"),
        ({"type": "postgresql", "connection": {"host": "127.0.0.1", "port": 1}}, "target_down", "critical", "refused"),
        ({"type": "redis", "connection": {"port": 1}}, "target_down", "critical", "refused"),
        ({"type": "sqlite", "path": "/nowhere/app.db"}, "target_down", "critical", "/nowhere/app.db"),
        ({"type": "process", "pattern": "no-such-program-[0-9]+"}, "target_down", "critical", "0 processes"),
        ({"type": "log_freshness", "path": "/nowhere/*.log", "warning": "> 1h"}, "target_down", "critical", "nowhere"),
        ({"type": "clock", "server": "127.0.0.1", "port": 1, "warning": "> 1"}, "check_impossible", "unknown", "127.0.0.1"),
    ],
)  # fmt: skip
def test_a_check_without_its_target(found, check, rule, status, told):
    rules, was, summary = one(found("reachability", checks=[{**CHECK, **check}]), f"{check['type']}:x")
    assert rules == [rule]
    assert was == status
    assert told in summary


def test_targets_that_are_there_and_those_made_later_are_no_finding(found, postgresql_server, redis_server, tmp_path):
    (tmp_path / "pid").write_text(f"{os.getpid()}\n")
    checks = [
        {"name": "a", "type": "postgresql", "connection": {
            "host": "127.0.0.1", "port": postgresql_server.port, "user": "postgres", "password": postgresql_server.password}},
        {"name": "b", "type": "redis", "connection": {"socket": str(redis_server.socket), "password": redis_server.password}},
        {"name": "c", "type": "port", "port": redis_server.port},
        # Health, not reachability: the target is there, and it is bad.
        {"name": "d", "type": "port", "port": redis_server.port, "state": "closed"},
        {"name": "e", "type": "process", "pidfile": str(tmp_path / "pid")},
        # The first run of the backup makes what this looks at.
        {"name": "f", "type": "backup", "directory": str(tmp_path / "backups")},
    ]  # fmt: skip
    assert found("reachability", checks=checks) == {}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"engine": "sqlite", "path": "/nowhere/app.db"}, "/nowhere/app.db does not exist"),
        ({"engine": "files", "paths": ["/nowhere/etc"]}, "/nowhere/etc"),
        ({"engine": "postgresql", "host": "127.0.0.1", "port": 1}, "database x"),
    ],
)
def test_a_backup_source_that_is_not_there(found, source, told):
    outcomes = found("reachability", sources=[{**CHECK, **source}])
    rules, status, summary = one(outcomes, f"{source['engine']}:x")
    assert (rules, status) == (["source_unreachable"], "critical")
    assert told in summary


def test_a_database_that_the_server_does_not_have(found, postgresql_server):
    place = {"host": "127.0.0.1", "port": postgresql_server.port, "user": "postgres"}
    source = {**CHECK, "engine": "postgresql", "database": "nobody", **place, "password": postgresql_server.password}
    _rules, status, summary = one(found("reachability", sources=[source]), "postgresql:x")
    assert status == "critical"
    assert "nobody" in summary
    assert postgresql_server.password not in summary


def test_a_restic_repository_that_is_not_there_or_has_another_password(found, tmp_path):
    """D1: a look at it writes nothing, and no password is told."""
    repository = tmp_path / "repository"
    source = {**CHECK, "engine": "sqlite", "path": str(database(tmp_path / "app.db"))}

    def look(password, **more):
        restic = {"repository": str(repository), "password": password, **more}
        return found("reachability", sources=[source], backup={"directory": str(tmp_path / "b"), "restic": restic})

    rules, status, summary = one(look("right-one-here"), f"restic:{repository}")
    assert (rules, status) == (["repository_unreachable"], "critical")
    assert "there is no restic repository" in summary
    assert look("right-one-here", init=True) == {}
    assert not repository.exists()
    environment = {**os.environ, "RESTIC_PASSWORD": "right-one-here"}
    subprocess.run(["restic", "init", "--repo", repository], env=environment, check=True, capture_output=True)
    assert look("right-one-here") == {}
    rules, status, summary = one(look("another-one-here"), f"restic:{repository}")
    assert (rules, status) == (["repository_unreachable"], "critical")
    assert "another-one-here" not in summary


def test_scans_and_clean_ups_without_their_logs(found, tmp_path):
    scan = {"sources": [{"name": "app", "path": str(tmp_path / "*.log")}]}
    policy = {
        "name": "old",
        "paths": [str(tmp_path / "gone")],
        "patterns": ["*"],
        "older_than": "1d",
        "action": "delete",
    }
    outcomes = found("reachability", log_scan=scan, log_cleanup={"policies": [policy]})
    assert outcomes["log_scan:app"]["details"]["rules"] == ["scan_source_missing"]
    assert outcomes["log_cleanup:old"]["details"]["rules"] == ["cleanup_folder_missing"]
    (tmp_path / "gone").mkdir()
    (tmp_path / "app.log").touch()
    assert found("reachability", log_scan=scan, log_cleanup={"policies": [policy]}) == {}


def test_programs_that_are_missing_are_told_with_those_who_need_them(found, without, tmp_path):
    """Each program once, with its package; the client of a check, the compressor of a backup, and of a clean-up."""
    path = database(tmp_path / "app.db")
    policy = {"name": "old", "paths": [str(tmp_path)], "patterns": ["*"], "older_than": "1d", "action": "compress"}
    inventory = {
        "checks": [{**CHECK, "type": "redis"}, {**CHECK, "type": "tls", "path": str(path)}],
        "sources": [{**CHECK, "engine": "sqlite", "path": str(path)}],
        "log_cleanup": {"policies": [policy]},
    }
    assert found("programs", **inventory) == {}
    without("redis-cli", "zstd")
    outcomes = found("programs", **inventory)
    assert outcomes.keys() == {"program:redis-cli", "program:zstd"}
    assert "redis:x need it. Install the package redis-tools" in outcomes["program:redis-cli"]["summary"]
    assert "sqlite:x, log_cleanup:old need it" in outcomes["program:zstd"]["summary"]
    assert outcomes["program:zstd"]["status"] == "critical"
    # It is told once, not as a check that cannot be made as well.
    assert found("reachability", checks=[{**CHECK, "type": "redis"}]) == {}


def test_a_python_without_psutil(tmp_path):
    """As on a host that nobody has prepared: it is told, and what can be looked at without it is."""
    (tmp_path / "psutil.py").write_text("raise ImportError\n")
    given = json.dumps({"kinds": ["programs", "databases", "policies"], "state_dir": str(tmp_path / "state")})
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{CHECKOUT / '.work/collections'}"}
    done = subprocess.run(
        [sys.executable, "-c", MODULE, given], env=environment, capture_output=True, text=True, check=False
    )
    found = {each["subject"]: each["status"] for each in json.loads(done.stdout)["outcomes"]}
    assert found == {"program:psutil": "critical", "preflight:databases": "unknown", "preflight:policies": "ok"}


def test_what_runs_in_a_container_needs_no_program_on_the_host(found, without):
    without("redis-cli", "psql")
    checks = [{**CHECK, "type": kind, "connection": {"container": "x"}} for kind in ("redis", "postgresql")]
    assert not {each for each in found("programs", checks=checks) if each in ("program:redis-cli", "program:psql")}


def test_engines_tell_what_they_run(found, without):
    """D1: the dump program, and what proves its copies."""
    without("pg_restore", "redis-check-rdb", "redis-server", "mariadb-dump", "mysqldump", "age")
    sources = [
        {"name": "a", "engine": "postgresql"},
        {"name": "b", "engine": "redis"},
        {"name": "c", "engine": "mysql"},
        {"name": "d", "engine": "redis", "container": "x"},
    ]
    needs = {subject: each["summary"] for subject, each in found("programs", sources=sources).items()}
    assert "redis:b, redis:d need it" in needs["program:redis-server"]
    assert "redis:b, redis:d need it" in needs["program:redis-check-rdb"]
    assert any(each.startswith("program:m") for each in needs)


def test_versions_are_told(run, tmp_path):
    source = {**CHECK, "engine": "sqlite", "path": str(database(tmp_path / "app.db"))}
    (outcome,) = run(kinds=["programs"], sources=[source])["outcomes"]
    assert outcome["subject"] == "preflight:programs"
    assert outcome["details"]["versions"]["python"] == sys.version.split()[0]
    assert outcome["details"]["versions"]["zstd"][0].isdigit()


def test_a_backup_folder_that_cannot_be_made(found, tmp_path):
    (tmp_path / "file").touch()
    source = {**CHECK, "engine": "sqlite", "path": str(database(tmp_path / "app.db"))}
    folder = tmp_path / "file" / "backups"
    rules, status, summary = one(
        found("folders", sources=[source], backup={"directory": str(folder)}), f"folder:{folder}"
    )
    assert (rules, status) == (["folder_unwritable"], "critical")
    assert f"{tmp_path}/file is no folder" in summary


def test_a_disk_that_is_mounted_read_only(run_in_namespace, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    source = {**CHECK, "engine": "sqlite", "path": str(database(tmp_path / "app.db"))}
    result = run_in_namespace(
        f"mount -t tmpfs -o ro none {disk}", kinds=["folders"], sources=[source], backup={"directory": str(disk / "b")}
    )
    (outcome,) = result["outcomes"]
    assert outcome["subject"] == f"folder:{disk}/b"
    assert f"{disk} is on a file system that is mounted read-only" in outcome["summary"]


def test_a_disk_too_small_for_one_copy_and_one_too_small_for_all(run_in_namespace, tmp_path):
    """Thirty daily copies of a megabyte do not fit into ten."""
    disk = tmp_path / "disk"
    disk.mkdir()
    path = database(tmp_path / "app.db")
    os.truncate(path, 2**20)
    options = {"kinds": ["folders"], "sources": [{**CHECK, "engine": "sqlite", "path": str(path)}]}
    rules = {}
    for size in ("1M", "10M", "80M"):
        result = run_in_namespace(
            f"mount -t tmpfs -o size={size} none {disk}", **options, backup={"directory": str(disk)}
        )
        rules[size] = [each["details"].get("rules") for each in result["outcomes"]]
    assert rules == {"1M": [["no_room_for_one"]], "10M": [["no_room_for_all"]], "80M": [None]}


def test_a_source_larger_than_its_limit(found, tmp_path):
    source = {**CHECK, "engine": "sqlite", "path": str(database(tmp_path / "app.db")), "limits": {"bytes": "1kB"}}
    rules, status, _summary = one(
        found("folders", sources=[source], backup={"directory": str(tmp_path / "b")}), "sqlite:x"
    )
    assert (rules, status) == (["source_over_limit"], "critical")


def test_nothing_is_written(found, tmp_path):
    source = {**CHECK, "engine": "sqlite", "path": str(database(tmp_path / "app.db"))}
    before = tree(tmp_path)
    found("folders", "reachability", "programs", sources=[source], backup={"directory": str(tmp_path / "b")})
    assert tree(tmp_path) == before
