# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies encrypted by the real age, and proven on a host that has no secret key (D3, D4)."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import stat
import subprocess

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _encryption
from ansible_collections.sre.runbooks.plugins.module_utils._core import runbook
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

from .conftest import copies, database, tree

# Writes down how age was called and with which secrets at hand, then is age.
SPY = """#!/bin/sh
{ printf '%s\\n' "$0 $*"; env; } >>"$SPY_LOG"
exec "$REAL" "$@"
"""


def key(folder, kind="age"):
    """A new key: its public part and the file with its secret part."""
    secret = folder / f"{kind}.key"
    if kind == "age":
        subprocess.run(["age-keygen", "-o", str(secret)], check=True, capture_output=True)
        return subprocess.check_output(["age-keygen", "-y", str(secret)], text=True).strip(), secret
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "ops@example.com", "-f", str(secret)], check=True)
    return secret.with_name(secret.name + ".pub").read_text().strip(), secret


def stanzas(path):
    """The kinds of keys that the header of an encrypted file names."""
    return re.findall(rb"^-> (\S+)", path.read_bytes()[:4000], re.MULTILINE)


@pytest.fixture(params=["sqlite", "files", "postgresql", "mysql", "redis"])
def source(request, tmp_path):
    """A source of each kind of pipeline: from a file, from this process, from a program."""
    path = database(tmp_path / "app.db")
    if request.param == "sqlite":
        return {"name": "x", "engine": "sqlite", "path": str(path)}
    if request.param == "files":
        return {"name": "x", "engine": "files", "paths": [str(path)]}
    if request.param == "mysql":
        server, name = request.getfixturevalue("mariadb_server"), request.getfixturevalue("mariadb_database")
        server.sql("CREATE TABLE numbers (n int) AS SELECT seq AS n FROM seq_1_to_20000", name)
        place = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
        return {"name": "x", "engine": "mysql", "database": name, **place}
    if request.param == "redis":
        server = request.getfixturevalue("redis_server")
        server.command("SET", "key", os.urandom(1000).hex())
        return {"name": "x", "engine": "redis", "host": server.host, "port": server.port, "password": server.password}
    server, name = request.getfixturevalue("postgresql_server"), request.getfixturevalue("postgresql_database")
    server.psql("CREATE TABLE numbers AS SELECT generate_series(1, 20000) AS n", name)
    place = {"host": str(server.socket_dir), "port": server.port, "user": server.user}
    return {"name": "x", "engine": "postgresql", "database": name, **place}


@pytest.fixture
def spy(tmp_path, monkeypatch):
    """The log of all calls of age and age-keygen."""
    folder = tmp_path / "spies"
    folder.mkdir()
    log = folder / "log"
    for program in ("age", "age-keygen"):
        path = folder / program
        path.write_text(SPY.replace("$REAL", str(shutil.which(program))).replace("$SPY_LOG", str(log)))
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return log


@pytest.fixture
def commands():
    """The gateway of a module."""
    with patch_module_args({}):
        return Commands(runbook.build({}).run_command)


def test_the_encrypted_bytes_are_restored_and_compared_without_the_secret_key(one, store, tmp_path, source, spy):
    recipient, secret = key(tmp_path)
    outcome = one(source, encryption={"recipients": [recipient]})
    assert outcome["status"] == "ok", outcome
    assert "encrypted, decrypted with a key of this run alone, which is gone" in outcome["summary"]
    assert outcome["details"]["proof"]["encryption"] == _encryption.ONE_OFF
    ((copy, manifest),) = copies(store, "x")
    assert copy.name.endswith(".zst.age")
    assert copy.read_bytes().startswith(b"age-encryption.org/v1\n")
    assert [each["level"] for each in manifest["verifications"]] == ["checksum", "restored"]
    assert manifest["encryption"] == {"program": "age", "recipients": [recipient], "proof": _encryption.ONE_OFF}
    assert stanzas(copy)[:2] == [b"X25519", b"X25519"], "one for the recipient, one for the proof"
    plain = subprocess.check_output(f"age -d -i {secret} {copy} | zstd -dc", shell=True)
    assert len(plain) > 100
    called = spy.read_text()
    assert f"/proc/{os.getpid()}/fd/" in called, "the proof decrypts"
    assert "AGE-SECRET-KEY" not in called
    assert not [fd for fd in os.listdir("/proc/self/fd") if "age-identity" in _target(fd)]
    assert not list(copy.parent.glob(".*"))


def _target(descriptor):
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except FileNotFoundError:
        return ""


def test_the_key_of_a_run_is_readable_by_nobody_else(commands):
    with _encryption._one_off_key(commands) as (public, path):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        text = subprocess.check_output(["cat", path], text=True)
        assert public in text
        assert "AGE-SECRET-KEY-1" in text
        if os.geteuid() == 0:
            other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", path]
            done = subprocess.run(other, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stdout) == (1, "")
            assert "Permission denied" in done.stderr
    assert not os.path.exists(path)


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_ssh_keys_are_recipients_too(one, store, tmp_path, kind):
    recipient, secret = key(tmp_path, kind)
    source = {"name": "x", "engine": "sqlite", "path": str(database(tmp_path / "app.db"))}
    assert one(source, encryption={"recipients": [recipient]})["status"] == "ok"
    ((copy, _manifest),) = copies(store, "x")
    assert stanzas(copy)[:2] == [f"ssh-{kind}".encode(), b"X25519"]
    assert subprocess.run(["age", "-d", "-i", str(secret), "-o", os.devnull, str(copy)], check=False).returncode == 0


def test_with_an_identity_on_the_host_no_other_key_is_made(one, store, tmp_path):
    recipient, secret = key(tmp_path)
    source = {"name": "x", "engine": "sqlite", "path": str(database(tmp_path / "app.db"))}
    outcome = one(source, encryption={"recipients": [recipient], "identity": str(secret)})
    assert outcome["status"] == "ok", outcome
    ((copy, manifest),) = copies(store, "x")
    assert len([kind for kind in stanzas(copy) if kind == b"X25519"]) == 1
    assert manifest["encryption"]["proof"] == "decrypted with the identity of the host"


@pytest.mark.parametrize("wrong", ["another", "missing"])
def test_an_identity_that_does_not_open_the_copies_is_told_before_one_is_made(one, store, tmp_path, wrong):
    recipient, _secret = key(tmp_path)
    (tmp_path / "other").mkdir()
    identity = key(tmp_path / "other")[1] if wrong == "another" else tmp_path / "nothing"
    source = {"name": "x", "engine": "sqlite", "path": str(database(tmp_path / "app.db"))}
    outcome = one(source, encryption={"recipients": [recipient], "identity": str(identity)})
    assert outcome["status"] == "critical"
    assert f"encryption.identity: {identity} does not open copies for these recipients" in outcome["summary"]
    assert copies(store, "x") == []


@pytest.mark.parametrize(
    ("recipients", "reason"),
    [
        ([], r"encryption\.recipients: \[\] names nobody"),
        (["age1abc"], r"encryption\.recipients: 'age1abc' is no X25519 key; keys of plugins and post-quantum"),
        (["age1yubikey1q2w3e4r5t6y7u8"], "cannot be mixed with the one that each copy is proven with"),
        (["age1" + "q" * 58], "is no key that age encrypts to: malformed recipient .*invalid checksum"),
        (["hello"], "'hello' is no public key. Give public keys of age"),
        (["ssh-ed25519 AAAA"], "is no key that age encrypts to: malformed SSH recipient"),
        (["ssh-dss AAAA"], "is no public key"),
        (["-d"], "is no public key"),
        (["AGE-SECRET-KEY-1QQQQ"], r"\(a secret key, not shown\)' must not be here"),
    ],
)
def test_recipients_that_are_no_keys_are_refused_before_anything(run, store, tmp_path, recipients, reason):
    good = key(tmp_path)[0]
    path = str(database(tmp_path / "app.db"))
    for options in (
        {"encryption": {"recipients": recipients and [good, *recipients]}},
        {"encryption": {"recipients": [good]}, "own": {"encryption": {"recipients": recipients}}},
    ):
        own = options.pop("own", {})
        source = {"name": "x", "engine": "sqlite", "path": path, **own}
        result = run(source, **options)
        assert result["failed"]
        assert re.search(reason, result["msg"]), result["msg"]
        assert "SECRET-KEY-1" not in str(result)
        assert own == {} or result["msg"].startswith("sources.x.encryption.recipients: ")
    assert not store.exists()


def test_an_identity_without_recipients_is_a_mistake(run, tmp_path):
    result = run({"name": "x", "engine": "sqlite", "path": "/x.db"}, encryption={"identity": "/key"})
    assert "encryption.recipients: None names nobody" in result["msg"]


@pytest.mark.parametrize("dry", [False, True])
def test_without_age_the_source_says_so_and_the_others_go_on(run, tmp_path, without, dry):
    recipient, _secret = key(tmp_path)
    path = str(database(tmp_path / "app.db"))
    without("age")
    result = run(
        {"name": "x", "engine": "sqlite", "path": path, "encryption": {"recipients": [recipient]}},
        {"name": "y", "engine": "sqlite", "path": path},
        _ansible_check_mode=dry,
    )
    assert [each["status"] for each in result["outcomes"]] == ["critical", "ok"]
    assert "age is not installed on this host. Install the package age" in result["outcomes"][0]["summary"]


def test_a_secret_source_without_recipients_is_refused_before_anything_was_changed(run, store, tmp_path):
    (tmp_path / ".env").write_text("TOKEN=1")
    plain = {"name": "app", "engine": "sqlite", "path": str(database(tmp_path / "app.db"))}
    secret = {"name": "settings", "engine": "files", "paths": [str(tmp_path / ".env")], "secret": True}
    recipient, _secret = key(tmp_path)
    before = tree(tmp_path)
    for options in ({}, {"encryption": {"recipients": [recipient]}, "own": {"encryption": {}}}):
        own = options.pop("own", {})
        result = run(plain, {**secret, **own}, **options)
        assert result["msg"].startswith("sources.settings.secret: True asks for an encrypted copy, and nobody is named")
    assert tree(tmp_path) == before
    result = run(plain, {**secret, "encryption": {"recipients": [recipient]}})
    assert result["status"] == "ok"
    assert [copies(store, name)[0][0].suffixes[-1] for name in ("app", "settings")] == [".zst", ".age"]
    assert b"TOKEN" not in copies(store, "settings")[0][0].read_bytes()


@pytest.mark.parametrize("level", ["checksum", "archive"])
def test_lower_levels_of_proof(one, store, tmp_path, level):
    recipient, _secret = key(tmp_path)
    source = {"name": "x", "engine": "sqlite", "path": str(database(tmp_path / "app.db"))}
    outcome = one(source, encryption={"recipients": [recipient]}, verify=level)
    assert outcome["status"] == "ok", outcome
    ((copy, manifest),) = copies(store, "x")
    assert ("proof" in manifest["encryption"]) == (level == "archive")
    assert len([kind for kind in stanzas(copy) if kind == b"X25519"]) == (2 if level == "archive" else 1)


def test_an_encrypted_copy_within_the_interval_means_nothing_to_do(run, tmp_path):
    recipient, _secret = key(tmp_path)
    source = {"name": "x", "engine": "sqlite", "path": str(database(tmp_path / "app.db"))}
    options = {"encryption": {"recipients": [recipient]}, "interval": "1d"}
    assert run(source, **options)["changed"] is True
    before = tree(tmp_path)
    assert run(source, **options)["changed"] is False
    assert tree(tmp_path) == before


def test_uncompressed_and_encrypted(one, store, tmp_path):
    recipient, secret = key(tmp_path)
    path = database(tmp_path / "app.db", "delete")
    options = {"encryption": {"recipients": [recipient]}, "compression": {"algorithm": "none"}}
    assert one({"name": "x", "engine": "sqlite", "path": str(path)}, **options)["status"] == "ok"
    ((copy, _manifest),) = copies(store, "x")
    assert copy.name.endswith("Z.sqlite.age")
    subprocess.run(["age", "-d", "-i", str(secret), "-o", str(tmp_path / "plain.db"), str(copy)], check=True)
    assert sqlite3.connect(tmp_path / "plain.db").execute("SELECT count(*) FROM done").fetchone() == (200,)
