# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sre.runbooks.backup of a real Redis server, and the faults under it (D1, D2, D4)."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _packing, _settings, _verify
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Work
from ansible_collections.sre.runbooks.plugins.module_utils._core import runbook
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

from ..conftest import redis
from .conftest import copies, wait_for
from .kills import Killer, sound
from .test_faults_postgresql import Wire, broken_in_the_middle, meanwhile

FILL = "for i=1,{keys} do redis.call('set', 'key ' .. i, redis.sha1hex(i) .. redis.sha1hex(i + 1)) end"
TYPES = """
redis.call('hset', 'hash', 'a', 1); redis.call('rpush', 'list', 'a', 'b'); redis.call('sadd', 'set', 'a');
redis.call('zadd', 'sorted', 1, 'a'); redis.call('xadd', 'stream', '*', 'a', 1); redis.call('set', 'odd \\n key', 'x')
"""


@pytest.fixture
def filled(redis_server):
    """Three databases with keys of all types, some of which end soon."""
    redis_server.command("FLUSHALL")
    redis_server.command("EVAL", FILL.format(keys=1000), "0")
    redis_server.command("EVAL", TYPES, "0")
    redis_server.command("-n", "3", "SET", "soon", "x", "PX", "150")
    redis_server.command("-n", "3", "SET", "later", "x", "EX", "1000")
    redis_server.command("-n", "15", "SET", "last", "x")
    yield redis_server
    redis_server.command("CONFIG", "SET", "rdb-key-save-delay", "0")
    redis_server.command("FLUSHALL")


@pytest.fixture
def source(filled):
    return of(filled)


def of(server, **changes):
    return {
        "name": "cache",
        "engine": "redis",
        "host": server.host,
        "port": server.port,
        "password": server.password,
        **changes,
    }


@pytest.fixture
def wire(filled):
    """More than fits into the buffers of a connection, and what stops in its middle."""
    filled.command("EVAL", FILL.format(keys=150000), "0")
    between = Wire(filled)
    yield between
    between.close()
    for each in between._sockets:
        each.close()


def content(path):
    return subprocess.run(["zstd", "-dqc", str(path)], check=True, capture_output=True).stdout


def scratch_servers(store):
    """Command lines of redis servers that loaded a copy below `store`."""
    lines = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(each.read_bytes())
        except OSError:
            continue
    return [line for line in lines if b"redis-server" in line and str(store).encode() in line]


def test_a_copy_is_restored_compared_and_described(one, source, store, filled, tmp_path):
    outcome = one(source)
    assert outcome["status"] == "ok", outcome
    assert outcome["subject"] == "redis:cache"
    ((path, manifest),) = copies(store, "cache")
    keys = manifest["figures"]["keys"]
    assert keys in (1008, 1009), "the key that ends soon may have ended"
    assert outcome["summary"].endswith(f"restored and compared: {keys:,} keys".replace(",", " "))
    assert path.name.endswith("Z.rdb.zst")
    assert manifest["figures"]["after"]["0"] == 1006
    assert manifest["versions"]["server"] == manifest["versions"]["client"]
    assert manifest["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [(each["level"], each["ok"]) for each in manifest["verifications"]] == [
        ("checksum", True),
        ("restored", True),
    ]
    assert manifest["verifications"][-1]["figures"]["databases"] == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name, path.name + ".manifest.json"]
    assert source["password"] not in json.dumps(manifest)
    (tmp_path / "copy.rdb").write_bytes(content(path))
    report = subprocess.run(
        ["redis-check-rdb", tmp_path / "copy.rdb"], check=True, capture_output=True, text=True
    ).stdout
    # Nothing follows the checksum: the mark of the stream is not in the file.
    assert f"[offset {(tmp_path / 'copy.rdb').stat().st_size}] \\o/ RDB looks OK! \\o/" in report
    assert not scratch_servers(store)
    assert not list(filled.directory.glob("*.rdb")), "the server's own files are not touched"


def test_keys_whose_time_passes_between_dump_and_proof_are_no_difference(one, source, store, filled):
    """A server would drop them while it loads; the scratch server counts what is in the copy."""
    for number in range(200):
        filled.command("-n", "5", "SET", f"short {number}", "x", "PX", "400")
    assert one(source)["status"] == "ok"
    ((path, document),) = copies(store, "cache")
    wait_for(lambda: filled.command("-n", "5", "DBSIZE") == "0")
    record = proven(source, path, document)
    assert record["ok"] is True, record
    assert record["figures"]["keys"] == document["figures"]["keys"]


def test_the_copy_is_that_of_one_moment_while_keys_are_written(one, source, store, filled):
    """Each transaction adds a key to two databases; nothing is called quiet that was not."""
    # It would be counted before the dump and end before it, or be in the dump and end before it is counted after it.
    filled.command("-n", "3", "DEL", "soon")
    stop = threading.Event()

    def write():
        script = "for i=1,50 do redis.call('select', 7); redis.call('rpush', 'a', i); redis.call('select', 8); redis.call('set', ARGV[1] .. i, i) end"
        number = 0
        while not stop.is_set():
            number += 1
            filled.command("EVAL", script, "0", f"{number} ")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        outcomes = [one(source, retention={"keep_last": 5}) for _number in range(3)]
    finally:
        stop.set()
        writer.join()
    assert [outcome["status"] for outcome in outcomes] == ["ok"] * 3, outcomes
    figures = [manifest["figures"] for _path, manifest in copies(store, "cache")]
    assert not all(each["quiet"] for each in figures)
    assert all(sum(each["before"].values()) <= each["keys"] <= sum(each["after"].values()) for each in figures)


@pytest.mark.parametrize("level", ["checksum", "archive"])
def test_lower_levels_are_on_record_as_what_they_are(one, source, store, level):
    assert one(source, verify=level)["status"] == "ok"
    ((_path, manifest),) = copies(store, "cache")
    assert manifest["verifications"][-1]["level"] == level
    assert one(source, verify=level, interval="1h")["summary"].startswith("nothing to do: ")


def test_by_socket_and_by_a_user_with_the_rights_it_needs(one, source, filled):
    filled.command(
        "ACL", "SETUSER", "backup", "reset", "on", ">geheim", "+ping", "+info", "+psync", "+sync", "+replconf"
    )
    try:
        outcome = one(
            {"name": "cache", "engine": "redis", "socket": str(filled.socket), "user": "backup", "password": "geheim"}
        )
    finally:
        filled.command("ACL", "DELUSER", "backup")
    assert outcome["status"] == "ok", outcome


def test_an_empty_server(one, source, filled):
    filled.command("FLUSHALL")
    assert one(source)["summary"].endswith("restored and compared: 0 keys")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"password": "wrong-secret"}, "WRONGPASS invalid username-password pair"),
        ({"password": None}, "NOAUTH Authentication required"),
        ({"port": 1}, "Could not connect to Redis at 127.0.0.1:1: Connection refused"),
        ({"socket": "/nonexistent/socket"}, "No such file or directory"),
    ],
)
def test_a_source_that_fails_is_critical_and_stops_no_other(run, source, store, changes, reason):
    broken = {key: value for key, value in {**source, "name": "broken", **changes}.items() if value is not None}
    result = run(broken, source)
    assert [each["status"] for each in result["outcomes"]] == ["critical", "ok"]
    assert reason in result["outcomes"][0]["summary"]
    assert "check host, port, socket, user and password" in result["outcomes"][0]["summary"]
    text = json.dumps(result)
    assert "wrong-secret" not in text
    assert source["password"] not in text
    assert not (store / "broken").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"port": 0}, "is no port"), ({"port": 70000}, "is no port"), ({"database": 1}, "database. Supported")],
)
def test_bad_input_is_refused(run, changes, words):
    result = run({"name": "x", "engine": "redis", **changes})
    assert result["failed"] is True
    assert words in result["msg"]


@pytest.mark.parametrize("program", ["redis-cli", "redis-check-rdb"])
def test_a_missing_program_names_its_package(one, source, without, program):
    without(program)
    outcome = one(source)
    assert outcome["status"] == "critical"
    assert f"{program} is not installed on this host. Install the package redis-tools" in outcome["summary"]


def test_the_tools_alone_are_enough_for_a_proof(one, source, without):
    """The package redis-server would start a service, which nobody wants beside a server in a container."""
    without("redis-server")
    assert one(source)["status"] == "ok"


def test_the_server_stops_in_mid_dump(one, store):
    with redis() as server:
        server.command("EVAL", FILL.format(keys=150000), "0")
        wire = Wire(server)
        pid = int(server.command("INFO", "server").partition("process_id:")[2].split()[0])
        told = broken_in_the_middle(one, of(server, name="main"), store, wire, lambda: os.kill(pid, signal.SIGKILL))
        wire.close()
    assert "redis-cli ended with status 1" in told or "the transfer ended before its end" in told


@pytest.mark.parametrize("way", ["network", "session"])
def test_the_connection_is_cut(one, source, store, wire, filled, way):
    cut = wire.cut if way == "network" else lambda: filled.command("CLIENT", "KILL", "TYPE", "replica")
    told = broken_in_the_middle(one, {**source, "name": "main"}, store, wire, cut)
    assert "redis-cli ended with status 1" in told or "the transfer ended before its end" in told
    assert one(source)["status"] == "ok"


def test_the_time_limit_ends_a_transfer_that_stands_still(one, source, store, wire):
    outcome = one({**source, "port": wire.port}, limits={"seconds": "2s"})
    assert outcome["status"] == "critical"
    assert "did not end within" in outcome["summary"]
    assert not list((store / "cache").iterdir())


def test_no_time_at_all(one, source, store):
    outcome = one(source, limits={"seconds": "1ms"})
    assert outcome["status"] == "critical"
    assert not scratch_servers(store)


def test_the_disk_fills_during_the_dump(one, source, wire, store):
    """A limit on the size of files is met in the middle of the stream, as a full disk is."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        outcome = one(source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    assert outcome["status"] == "critical"
    assert "File too large" in outcome["summary"]
    assert not list((store / "cache").iterdir())


def test_a_disk_that_cannot_hold_the_copy_is_not_written_to(source, wire, small_disk, tmp_path):
    results, left = small_disk("4m", tmp_path / "disk", {"sources": [source]})
    (outcome,) = results[0]["outcomes"]
    assert outcome["status"] == "critical"
    assert "are free" in outcome["summary"]
    assert not [path for path in left if "cache_" in path]


def proven(source, path, document, level="restored"):
    (item,), _secrets = _settings.items([source])
    with patch_module_args({}):
        module = runbook.build({})
    work = Work(Commands(module.run_command), _packing.choose("zstd", None), str(path.parent), "cache", "token", level)
    return _verify.prove(item.engine, item.source, str(path), document, work)


@pytest.mark.parametrize("level", ["archive", "restored"])
@pytest.mark.parametrize("change", ["cut", "bit", "text", "figures"])
def test_a_copy_with_another_content_fails_though_its_checksum_fits(one, source, store, level, change):
    assert one(source)["status"] == "ok"
    ((path, document),) = copies(store, "cache")
    text = bytearray(content(path))
    if change == "cut":
        text = text[: len(text) // 2]
    elif change == "bit":
        text[len(text) // 2] ^= 1
    elif change == "text":
        text = bytearray(b"no file of Redis")
    elif level == "restored":
        document["figures"]["keys"] += 1
    else:
        return
    packed = subprocess.run(["zstd", "-qc"], input=bytes(text), stdout=subprocess.PIPE, check=True).stdout
    path.write_bytes(packed)
    document.update(sha256=hashlib.sha256(packed).hexdigest(), size_bytes=len(packed))
    record = proven(source, path, document, level)
    assert record["ok"] is False, record
    assert not scratch_servers(store)
    assert not list(path.parent.glob(".*"))


def test_keys_of_a_quiet_source_are_compared_by_database(one, source, store):
    assert one(source)["status"] == "ok"
    ((path, document),) = copies(store, "cache")
    document["figures"].update(quiet=True, before={"0": 1005, "1": 1, "3": 2, "15": 1})
    record = proven(source, path, document)
    assert record["ok"] is False
    assert "and nothing was written" in record["figures"]["problem"]


def test_killed_at_random_moments_it_converges(in_memory, store):
    """kill -9, fifty times and more: every copy is whole, no scratch server stays, the next run succeeds."""
    with redis() as server:
        server.command("EVAL", FILL.format(keys=200), "0")
        options = {"directory": str(store), "sources": [of(server)], "retention": {"keep_last": 3}}
        with Killer(options) as killer:
            for _number in killer.kill(52):
                assert sound(store, "cache") >= 1
            # Of those that were killed, as many had made a copy as the machine had time for.
            for _number in range(3):
                killer.whole()
        assert sound(store, "cache") == 3
        assert not list((store / "cache").glob(".*"))
        wait_for(lambda: not scratch_servers(store))
        assert server.command("DBSIZE") == "200"


def test_a_second_run_is_told_that_one_is_running(one, started, source, wire):
    first = started({**source, "port": wire.port})
    assert wire.held.wait(30)
    outcome = one(source)
    assert outcome["status"] == "warning"
    assert f"another run holds this lock (process {first.pid})" in outcome["summary"]
    wire.free()
    assert json.loads(first.communicate(timeout=60)[0])["status"] == "ok"


def test_keys_that_are_removed_meanwhile_are_in_the_copy(one, source, store, wire, filled):
    """What the server forked off does not change any more."""
    remove = "for i=1,1000 do redis.call('del', 'key ' .. i) end"
    with meanwhile(wire.held, lambda: (filled.command("EVAL", remove, "0"), wire.free())):
        outcome = one({**source, "port": wire.port})
    assert outcome["status"] == "ok", outcome
    assert copies(store, "cache")[0][1]["figures"]["keys"] > 150000


def test_a_password_that_is_part_of_numbers(one, source, filled):
    """What is blotted out of messages is not blotted out of what is compared."""
    filled.command("ACL", "SETUSER", "digits", "reset", "on", ">10", "+ping", "+info", "+psync", "+sync", "+replconf")
    try:
        outcome = one({**source, "user": "digits", "password": "10"})
    finally:
        filled.command("ACL", "DELUSER", "digits")
    assert outcome["status"] == "ok", outcome


def test_an_encrypted_copy_is_proven(one, source, store):
    """Compressed and encrypted while the keys are counted."""
    text = subprocess.run(["age-keygen"], check=True, capture_output=True, text=True).stdout
    outcome = one(source, encryption={"recipients": [text.partition("public key: ")[2].split()[0]]})
    assert outcome["status"] == "ok", outcome
    assert copies(store, "cache")[0][0].name.endswith(".rdb.zst.age")
