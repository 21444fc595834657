# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.backup_verify with every engine, with encrypted copies, and killed at any moment (D4)."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _registry
from ansible_collections.sre.runbooks.plugins.module_utils._core import lock
from ansible_collections.sre.runbooks.plugins.modules import backup_verify

from .conftest import ENVIRONMENT, copies, database, wait_for

SCRATCH = r"SELECT count(*) FROM pg_database WHERE datname LIKE 'sre\_runbooks%'"


@pytest.fixture
def postgresql(postgresql_server, postgresql_database):
    """A source that reaches the server by TCP with a password."""
    sql = "CREATE TABLE numbers (n int); INSERT INTO numbers SELECT generate_series(1, 5000)"
    postgresql_server.psql(sql, postgresql_database)
    server = postgresql_server
    place = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
    return {"engine": "postgresql", "database": postgresql_database, **place}


@pytest.fixture
def source_of(request, tmp_path):
    """A source of any engine."""

    def go(engine):
        if engine == "postgresql":
            return {"name": "x", **request.getfixturevalue("postgresql")}
        if engine == "mysql":
            server, name = request.getfixturevalue("mariadb_server"), request.getfixturevalue("mariadb_database")
            server.sql("CREATE TABLE numbers (n int); INSERT INTO numbers SELECT seq FROM seq_1_to_5000", name)
            place = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
            return {"name": "x", "engine": "mysql", "database": name, **place}
        if engine == "redis":
            server = request.getfixturevalue("redis_server")
            for number in range(50):
                server.command("SET", f"verify:{number}", "x" * 100)
            return {
                "name": "x",
                "engine": "redis",
                "host": server.host,
                "port": server.port,
                "password": server.password,
            }
        path = database(tmp_path / "app.db")
        return {
            "name": "x",
            "engine": engine,
            **({"path": str(path)} if engine == "sqlite" else {"paths": [str(path)]}),
        }

    return go


@pytest.mark.parametrize("engine", _registry.NAMES)
def test_copies_of_every_engine_are_proven_anew_and_damage_is_found(one, verify, store, source_of, engine):
    source = source_of(engine)
    assert one(source)["status"] == "ok"
    for level in ("restored", "archive"):
        result = verify(sources=[source], level=level)
        assert result["status"] == "ok", result
        assert (result["proofs"][0]["ok"], result["changed"]) == (True, True)
        assert result["outcomes"][0]["metrics"]["recovery_time_seconds"] > 0
    path, document = copies(store, "x")[0]
    manifest = path.with_name(path.name + ".manifest.json")
    good = path.read_bytes()
    # One bit.
    path.write_bytes(bytes([*good[: len(good) // 2], good[len(good) // 2] ^ 1, *good[len(good) // 2 + 1 :]]))
    result = verify(sources=[source])
    assert (result["status"], result["proofs"][0]["ok"]) == ("critical", False)
    # Cut, and the manifest made to fit.
    path.write_bytes(good[: len(good) // 2])
    fitting = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size_bytes": path.stat().st_size}
    for level in ("archive", "restored"):
        manifest.write_text(json.dumps({**document, **fitting}))
        result = verify(sources=[source], level=level)
        assert result["status"] == "critical", result["outcomes"]
        assert result["proofs"][0]["ok"] is False
    # Figures that no dump has written: no traceback.
    path.write_bytes(good)
    for key in document["figures"]:
        figures = {name: value for name, value in document["figures"].items() if name != key}
        for hostile in (figures, {**figures, key: "x"}):
            manifest.write_text(json.dumps({**document, "figures": hostile}))
            assert "outcomes" in verify(sources=[source]), key
    manifest.write_text(json.dumps(document))
    assert verify(sources=[source])["status"] == "ok"
    assert not list((store / "x").glob(".*"))


def test_a_server_needs_the_password_that_no_manifest_holds(one, verify, store, postgresql, monkeypatch):
    monkeypatch.delenv("PGPASSWORD", raising=False)
    source = {"name": "main", **postgresql}
    one(source)
    before = copies(store, "main")
    result = verify()
    assert result["status"] == "unknown"
    assert "could not be verified: main_" in result["outcomes"][0]["summary"]
    assert "password" in result["outcomes"][0]["summary"]
    assert copies(store, "main") == before, "a proof that could not be made is no evidence"
    result = verify(sources=[source])
    assert result["status"] == "ok"
    assert source["password"] not in json.dumps(result) + str(copies(store, "main"))


def test_a_server_that_is_gone_is_unknown_and_one_that_moved_is_found_by_sources(
    one, run, verify, store, postgresql, postgresql_server, tmp_path
):
    app = {"name": "app", "engine": "sqlite", "path": str(database(tmp_path / "app.db"))}
    run({"name": "main", **postgresql}, app)
    path, document = copies(store, "main")[0]
    document["source"]["port"] = 1
    path.with_name(path.name + ".manifest.json").write_text(json.dumps(document))
    found = {each["subject"]: each for each in verify()["outcomes"]}
    assert {subject: each["status"] for subject, each in found.items()} == {
        "postgresql:main": "unknown",
        "sqlite:app": "ok",
    }
    moved = {"name": "main", "engine": "postgresql", "database": postgresql["database"], "user": postgresql_server.user}
    moved.update(host=str(postgresql_server.socket_dir), port=postgresql_server.port)
    assert verify(names=["main"], sources=[moved])["status"] == "ok"
    assert postgresql_server.psql(SCRATCH) == "0"


def test_what_a_copy_holds_is_told_by_its_manifest_and_not_by_the_policy_of_today(
    one, verify, postgresql, postgresql_server
):
    postgresql_server.psql("CREATE TABLE sessions (n int); INSERT INTO sessions VALUES (1)", postgresql["database"])
    source = {"name": "main", **postgresql}
    one({**source, "exclude": ["sessions"]})
    assert verify(sources=[source])["status"] == "ok"
    one(source, retention={"keep_last": 2})
    assert verify(sources=[{**source, "exclude": ["numbers"]}])["status"] == "ok"


@pytest.fixture
def keys(tmp_path):
    """Two pairs of keys: (path of the identity, recipient)."""

    def make(name):
        path = tmp_path / name
        done = subprocess.run(["age-keygen", "-o", str(path)], check=True, capture_output=True, text=True)
        return str(path), done.stderr.rpartition(" ")[2].strip()

    return make("ours"), make("theirs")


@pytest.mark.parametrize("engine", ["files", "sqlite"])
def test_an_encrypted_copy_needs_its_key_and_the_wrong_one_says_nothing_against_it(
    one, verify, store, source_of, keys, engine
):
    (ours, recipient), (theirs, _other) = keys
    source = source_of(engine)
    assert one(source, encryption={"recipients": [recipient]})["status"] == "ok"
    path = copies(store, "x")[0][0]
    assert path.suffix == ".age"
    result = verify()
    (outcome,) = result["outcomes"]
    assert outcome["status"] == "unknown"
    assert "Set encryption.identity" in outcome["summary"]
    assert [proof["level"] for proof in result["proofs"]] == ["checksum"], "as far as it can be proven"
    before = copies(store, "x")
    (outcome,) = verify(encryption={"identity": theirs})["outcomes"]
    assert outcome["status"] == "unknown"
    assert f"cannot be decrypted with encryption.identity {theirs}" in outcome["summary"]
    assert copies(store, "x") == before
    assert verify(encryption={"identity": ours})["status"] == "ok"
    assert copies(store, "x")[0][1]["verifications"][-1]["level"] == "restored"
    assert verify(sources=[{**source, "encryption": {"recipients": [recipient], "identity": ours}}])["status"] == "ok"
    # Damage is damage, with the key and without it.
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    assert verify()["status"] == "critical"


KILLS = 20


def test_killed_at_any_moment_no_copy_is_harmed_and_the_next_run_sweeps(
    run, verify, store, postgresql, postgresql_server, tmp_path
):
    path = str(database(tmp_path / "app.db", rows=4000))
    sources = [
        {"name": "main", **postgresql},
        {"name": "app", "engine": "sqlite", "path": path},
        {"name": "settings", "engine": "files", "paths": [path]},
    ]
    assert run(*sources)["status"] == "ok"
    data = {str(each): each.read_bytes() for each in store.glob("*/*.zst")}
    assert len(data) == 3
    started = time.monotonic()
    options = {"directory": str(store), "state_dir": str(tmp_path / "state"), "sources": sources}
    assert verify(**options)["status"] == "ok"
    whole = time.monotonic() - started
    context = multiprocessing.get_context("fork")
    left = killed = 0
    while killed < KILLS:
        process = context.Process(target=_verify, args=(options,))
        process.start()
        time.sleep(whole * (killed + random.random()) / KILLS)
        if process.is_alive():
            killed += 1
        else:
            # The machine has more time than when it was measured.
            whole *= 0.9
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        for name in ("main", "app", "settings"):
            # A program that was just being started shares the lock until it runs.
            with lock.hold(str(store / ".locks"), name, wait=2):
                pass
            ((_path, document),) = copies(store, name)
            assert all(each["ok"] for each in document["verifications"])
        left += len(list(store.glob("*/.*.partial"))) + int(postgresql_server.psql(SCRATCH))
    assert left, "some of them in the midst of a proof"
    # Programs of a killed run may take a moment to see the end of their pipes.
    wait_for(lambda: not programs(process.pid))
    result = verify(**options)
    assert result["status"] == "ok", result
    assert list(store.glob("*/.*.partial")) == []
    assert postgresql_server.psql(SCRATCH) == "0"
    assert {str(each): each.read_bytes() for each in store.glob("*/*.zst")} == data
    assert run(*sources, interval="1d")["changed"] is False


def programs(session):
    """The processes of this session."""
    found = []
    for each in os.listdir("/proc"):
        with contextlib.suppress(ValueError, OSError):
            if os.getsid(int(each)) == session:
                found.append(each)
    return found


def _verify(options):
    """In a process of its own, which has no test around it."""
    os.setsid()
    with patch_module_args(options), contextlib.suppress(SystemExit):
        backup_verify.main()
    os._exit(0)


# Run in a mount namespace of its own, with 8 MiB of disk at argv[1]: a backup, a disk that fills, verifications.
DISK_FULL = """
import contextlib, io, json, os, pathlib, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sre.runbooks.plugins.modules import backup, backup_verify
store, source = sys.argv[1], json.loads(sys.argv[2])

def call(module, **options):
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit), patch_module_args({"directory": store, **options}):
        module.main()
    return json.loads(output.getvalue())

made = call(backup, sources=[source])
copy = next(path for path in pathlib.Path(store).glob("*/*") if not path.name.endswith(".json"))
filler = pathlib.Path(store) / "filler"
with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as stream:
    while True:
        stream.write(bytes(1 << 16))
left = os.statvfs(store).f_bavail
os.truncate(filler, filler.stat().st_size - (1 << 16))
small = call(backup_verify, state_dir=store + "/.state")
with contextlib.suppress(OSError), open(filler, "ab", buffering=0) as stream:
    while True:
        stream.write(bytes(1 << 12))
full = call(backup_verify, state_dir=store + "/.state")
archive = call(backup_verify, state_dir=store + "/.state", level="archive")
with open(copy, "r+b") as stream:
    stream.seek(20)
    bit = stream.read(1)[0] ^ 1
    stream.seek(20)
    stream.write(bytes([bit]))
broken = call(backup_verify, state_dir=store + "/.state")
with open(copy, "r+b") as stream:
    stream.seek(20)
    stream.write(bytes([bit ^ 1]))
scratch = [path.name for path in pathlib.Path(store).glob("*/.*")]
filler.unlink()
after = call(backup_verify, state_dir=store + "/.state")
print(json.dumps([made, left, small, full, archive, broken, scratch, after]))
"""


@pytest.mark.parametrize("engine", ["files", "sqlite"])
def test_a_disk_that_is_full_says_nothing_against_a_copy_and_is_left_as_it_was(source_of, engine, tmp_path):
    source = source_of(engine)
    folder = tmp_path / "disk"
    folder.mkdir()
    script = 'mount -t tmpfs -o size=8M none "$1" && exec "$2" -c "$SCRIPT" "$1" "$3"'
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    done = subprocess.run(
        [*unshare, "sh", "-c", script, "sh", str(folder), sys.executable, json.dumps(source)],
        env={**ENVIRONMENT, "SCRIPT": DISK_FULL},
        capture_output=True,
        text=True,
        check=True,
    )
    made, left, small, full, archive, broken, scratch, after = json.loads(done.stdout)
    assert (made["status"], left) == ("ok", 0)
    # Room for the manifest, none for the restored copy.
    assert (small["status"], small["proofs"]) == ("unknown", [])
    assert "are free. Make room" in small["outcomes"][0]["summary"]
    (outcome,) = full["outcomes"]
    assert outcome["status"] == "unknown", outcome
    assert "Make room" in outcome["summary"]
    assert outcome["metrics"]["failed_copies"] == 0
    assert archive["status"] == "unknown"
    assert "No space left on device" in archive["outcomes"][0]["summary"]
    assert broken["status"] == "critical", "what cannot be recorded is told"
    assert "could not be recorded" in broken["outcomes"][0]["summary"]
    assert scratch == []
    assert after["status"] == "ok"


def test_a_dump_that_counted_nothing_is_restored_and_says_that_it_was_not_compared(run, verify, store, postgresql):
    source = {"name": "x", **postgresql}
    assert run(source, verify="archive")["status"] == "ok"
    result = verify(sources=[source], level="restored")
    assert result["status"] == "ok", result
    ((_path, manifest),) = copies(store, "x")
    proof = manifest["verifications"][-1]
    assert (proof["level"], proof["ok"], proof["figures"]["compared"], proof["figures"]["rows"]) == (
        "restored",
        True,
        False,
        5000,
    )
