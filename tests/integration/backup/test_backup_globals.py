# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Roles, memberships, tablespaces and settings of a real PostgreSQL cluster, proven in a cluster made for it (D1, D4)."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import stat
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _settings, _verify, _work
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Work
from ansible_collections.sre.runbooks.plugins.module_utils._backup._packing import choose
from ansible_collections.sre.runbooks.plugins.module_utils._core import postgresql, runbook
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

from .conftest import copies

# Of this process: others run the same tests at the same time.
TOKEN = f"test{os.getpid()}"
# Other tests of this session make roles too; these have names that nobody else uses.
OWNER, MEMBER = 'odd "owner', "ein mitglied's"
ROLES = f"""
CREATE ROLE "{OWNER.replace('"', '""')}" NOLOGIN CREATEDB VALID UNTIL '2030-01-01 00:00:00+00';
CREATE ROLE "{MEMBER}" LOGIN PASSWORD 'the-password' CONNECTION LIMIT 3;
COMMENT ON ROLE "{MEMBER}" IS E'two lines;\n\n\\\\! and no command';
GRANT "{OWNER.replace('"', '""')}" TO "{MEMBER}" WITH ADMIN OPTION;
GRANT pg_monitor TO "{MEMBER}";
ALTER ROLE "{MEMBER}" SET search_path = 'a', 'b';
"""


@pytest.fixture
def source(postgresql_server):
    """The cluster's globals; with roles that have odd names, and a tablespace."""
    drop = f'DROP ROLE IF EXISTS "{MEMBER}"; DROP ROLE IF EXISTS "{OWNER.replace(chr(34), chr(34) * 2)}"'
    place = Path(tempfile.mkdtemp(prefix="sre-runbooks-tablespace-", dir="/tmp"))
    if os.geteuid() == 0:
        os.chown(place, pwd.getpwnam("postgres").pw_uid, pwd.getpwnam("postgres").pw_gid)
    postgresql_server.psql("DROP TABLESPACE IF EXISTS elsewhere")
    postgresql_server.psql(drop)
    postgresql_server.psql(ROLES)
    postgresql_server.psql(f"CREATE TABLESPACE elsewhere LOCATION '{place}'")
    yield {
        "name": "roles", "engine": "postgresql", "globals": True, "host": postgresql_server.host,
        "port": postgresql_server.port, "user": postgresql_server.user, "password": postgresql_server.password,
    }  # fmt: skip
    postgresql_server.psql("DROP TABLESPACE elsewhere")
    place.rmdir()
    postgresql_server.psql(drop)


def clusters(store, inside=""):
    """What there is in the scratch clusters of this test."""
    return list(Path(tempfile.gettempdir()).glob(f"sre-runbooks-{_work.token(str(store / 'roles'))}-*{inside}"))


def script(path):
    return subprocess.check_output(["zstd", "-dqc", str(path)], text=True)


def test_globals_are_restored_into_a_cluster_of_their_own_and_compared(one, source, store, tmp_path, monkeypatch):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.chdir(closed)
    outcome = one(source)
    assert outcome["status"] == "ok", outcome
    assert outcome["subject"] == "postgresql:roles"
    assert "restored and compared" in outcome["summary"]
    assert outcome["details"]["proof"]["tablespaces"] >= 1
    ((path, manifest),) = copies(store, "roles")
    assert path.name.endswith("Z.globals.sql.zst")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    figures = manifest["figures"]
    assert figures["roles"][MEMBER]["connection_limit"] == 3
    assert figures["roles"][MEMBER]["password"] == "scram-sha-256"
    assert figures["roles"][OWNER]["valid_until"] == "2030-01-01 00:00:00+00"
    assert [OWNER, MEMBER, True] in figures["memberships"]
    assert ["pg_monitor", MEMBER, False] in figures["memberships"]
    assert [MEMBER, "search_path"] in figures["settings"]
    assert figures["tablespaces"]["elsewhere"] == "postgres"
    text = script(path)
    assert "SCRAM-SHA-256$" in text
    assert not clusters(store), "the scratch cluster is gone"


def test_hashes_of_passwords_stand_in_the_copy_alone(run, source, store, postgresql_server, caplog):
    """A script that fails is quoted by psql; what it says must not hold the hash."""
    result = run(source)
    ((path, _manifest),) = copies(store, "roles")
    hashes = {line.split("'")[1] for line in script(path).splitlines() if " PASSWORD '" in line}
    assert len(hashes) >= 2
    told = json.dumps(result) + path.with_name(path.name + ".manifest.json").read_text() + caplog.text
    assert not [each for each in hashes if each in told]
    assert source["password"] not in told


@pytest.fixture
def prove(one, source, store):
    """Make a copy, let `change` work on its text, and prove it; return the record."""

    def go(level, change):
        assert one(source, verify="checksum")["status"] == "ok"
        ((path, document),) = copies(store, "roles")
        packed = subprocess.run(
            ["zstd", "-qc"], input=change(script(path)).encode(), stdout=subprocess.PIPE, check=True
        ).stdout
        path.write_bytes(packed)
        document.update(sha256=hashlib.sha256(packed).hexdigest(), size_bytes=len(packed))
        (item,), _secrets = _settings.items([source])
        with patch_module_args({}):
            module = runbook.build({})
        work = Work(Commands(module.run_command), choose("zstd", None), str(path.parent), "roles", TOKEN, level)
        return _verify.prove(item.engine, item.source, str(path), document, work)

    return go


@pytest.mark.parametrize("level", ["archive", "restored"])
def test_a_whole_script_is_proven(prove, level):
    assert prove(level, str)["ok"] is True


@pytest.mark.parametrize("level", ["archive", "restored"])
def test_a_script_that_was_cut_fails(prove, level):
    record = prove(level, lambda text: text[: text.index("ALTER ROLE")])
    assert record["ok"] is False
    assert "closing mark" in record["figures"]["problem"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("WITH ADMIN OPTION", "", "memberships of the restored copy differ"),
        ("CONNECTION LIMIT 3", "", f"roles of the restored copy differ from the source's in the dump: {MEMBER}"),
        (" SET search_path TO", " SET work_mem TO '1MB';\n--", "settings of the restored copy differ"),
        ("CREATE TABLESPACE elsewhere", "-- ", "elsewhere"),
        ("PASSWORD 'SCRAM", "PASSWRD 'SCRAM", "unrecognized role option"),
        ("CREATE ROLE", "\\! touch /tmp/sre-runbooks-obeyed\nCREATE ROLE", None),
        (
            "\nCREATE ROLE",
            "\nCOPY (SELECT 1) TO PROGRAM 'touch /tmp/sre-runbooks-obeyed';\nCREATE ROLE",
            "a statement that",
        ),
        ("CREATE ROLE", "SELECT 1 \\! touch /tmp/sre-runbooks-obeyed\n;CREATE ROLE", "a command of psql"),
    ],
)
def test_what_does_not_come_back_is_told(prove, old, new, reason):
    record = prove("restored", lambda text: text.replace(old, new))
    assert record["ok"] is (reason is None)
    if reason:
        assert reason in record["figures"]["problem"]
    assert "SCRAM-SHA-256$" not in json.dumps(record)
    assert not os.path.exists("/tmp/sre-runbooks-obeyed")
    assert not list(Path(tempfile.gettempdir()).glob(f"sre-runbooks-{TOKEN}-*"))


def test_without_the_right_to_read_passwords_there_is_a_warning(one, source, store, postgresql_server):
    # The password is part of a role's name: nothing may be blotted out of what is compared.
    postgresql_server.psql("DROP ROLE IF EXISTS globals_plain; CREATE ROLE globals_plain LOGIN PASSWORD 'plain'")
    try:
        outcome = one({**source, "user": "globals_plain", "password": "plain"})
    finally:
        postgresql_server.psql("DROP ROLE globals_plain")
    assert outcome["status"] == "warning", outcome["summary"]
    assert "restored and compared" in outcome["summary"]
    assert "without the passwords of roles, which the user" in outcome["summary"]
    ((path, manifest),) = copies(store, "roles")
    assert manifest["figures"]["roles"][MEMBER]["password"] is None
    assert "PASSWORD" not in script(path)


def test_where_there_is_no_server_program_the_remedy_is_told(
    one, source, store, tmp_path, monkeypatch, postgresql_server, without
):
    without("initdb")
    clients = tmp_path / "clients"
    clients.mkdir()
    for name in ("psql", "pg_dumpall", "pg_dump"):
        (clients / name).symlink_to(postgresql_server.bindir / name)
    monkeypatch.setattr(postgresql, "CLIENT_FOLDERS", (str(clients),))
    outcome = one(source)
    assert outcome["status"] == "critical"
    assert "NOT proven as restored: initdb is not installed on this host" in outcome["summary"]
    assert "Install the package postgresql, or set verify to archive" in outcome["summary"]
    assert one(source, verify="archive")["status"] == "ok"


def test_what_a_killed_run_left_is_removed_by_the_next(one, source, store):
    token = _work.token(str(store / "roles"))
    left = Path(tempfile.gettempdir()) / f"sre-runbooks-{token}-killed"
    (left / "data").mkdir(parents=True)
    other = Path(tempfile.gettempdir()) / "sre-runbooks-000000000000-running"
    other.mkdir(exist_ok=True)
    try:
        outcome = one(source)
        assert outcome["status"] == "ok"
        assert outcome["details"]["swept"] == [str(left)]
        assert not left.exists()
        assert other.exists()
    finally:
        other.rmdir()


def test_a_cluster_ends_with_its_maker(one, started, source, store):
    """kill -9 of the module while the scratch server runs: the kernel ends the server."""
    process = started(source)
    deadline = time.monotonic() + 30
    # initdb runs servers of its own, which have no socket.
    while not (found := clusters(store, "/.s.PGSQL.5432")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
    server = int((found[0].parent / "data/postmaster.pid").read_text().split()[0])
    process.kill()
    process.wait()
    while os.path.exists(f"/proc/{server}") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not os.path.exists(f"/proc/{server}")
    assert one(source)["status"] == "ok"
    assert not clusters(store)


def test_tables_cannot_be_excluded_from_globals(run, source):
    result = run({**source, "exclude": ["x"]})
    assert result["failed"] is True
    assert "sources.roles.exclude: ['x'] leaves out tables, and globals hold none" in result["msg"]


def test_an_encrypted_copy_is_proven_too(one, source, store, tmp_path):
    key = subprocess.run(["age-keygen", "-o", str(tmp_path / "key")], capture_output=True, text=True, check=True).stderr
    outcome = one(source, encryption={"recipients": [key.split()[-1]]})
    assert outcome["status"] == "ok", outcome
    assert "restored and compared" in outcome["summary"]
    ((path, _manifest),) = copies(store, "roles")
    assert path.name.endswith("Z.globals.sql.zst.age")
