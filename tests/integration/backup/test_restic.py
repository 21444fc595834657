# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies in a repository of the real restic: a folder, a host behind sftp, a bucket of an S3 server (D1, D2, D4)."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _restic_client

from ..conftest import free_port
from .conftest import copies, database, tree, wait_for

PASSWORD = "correct-horse-battery"
SPY = '#!/bin/sh\n{{ tr "\\0" " " </proc/$$/cmdline; echo; }} >>"{log}"\nexec {real} "$@"\n'


@pytest.fixture(scope="session")
def empty_repository(tmp_path_factory):
    """A new repository, to be copied: deriving its key from the password takes half a second at each opening."""
    folder = tmp_path_factory.mktemp("restic") / "repository"
    subprocess.run(
        ["restic", "init", "--quiet"], env={**environment(folder), "RESTIC_CACHE_DIR": f"{folder}-cache"}, check=True
    )
    return folder


def environment(place):
    return {**os.environ, "RESTIC_PASSWORD": PASSWORD, "RESTIC_REPOSITORY": str(place), "TZ": "UTC"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """restic keeps its cache of a repository with the test, not with the user."""
    monkeypatch.setenv("RESTIC_CACHE_DIR", str(tmp_path / "restic-cache"))


@pytest.fixture
def repository(tmp_path, empty_repository):
    """A repository of this test alone."""
    return Path(shutil.copytree(empty_repository, tmp_path / "repository"))


@pytest.fixture
def source(tmp_path):
    """A small database."""
    return {"name": "app", "engine": "sqlite", "path": str(database(tmp_path / "app.db"))}


def option(place, **more):
    return {"repository": str(place), "password": PASSWORD, "check": False, **more}


def snapshots(place, **more):
    """What restic itself says."""
    return json.loads(
        subprocess.check_output(["restic", "snapshots", "--json"], env={**environment(place), **more}) or "null"
    )


def locks(repository):
    """Those that restic has finished writing."""
    return [path for path in (repository / "locks").iterdir() if len(path.name) == 64]


def content(place, path, **more):
    """The SHA-256 of a file in the newest snapshot."""
    argv = ["restic", "dump", "latest", str(path)]
    return hashlib.sha256(subprocess.check_output(argv, env={**environment(place), **more})).hexdigest()


def test_a_proven_copy_and_its_manifest_are_there_and_a_second_run_changes_nothing(run, store, source, repository):
    options = {"restic": option(repository, check=True, read_data_subset="100%"), "interval": "1d"}
    result = run(source, **options)
    assert result["status"] == "ok", result
    outcome, check = result["outcomes"]
    assert f"in the restic repository {repository} after" in outcome["summary"]
    assert (check["subject"], check["stage"]) == (f"restic:{repository}", "backup")
    assert check["summary"] == "structure checked, 100% of the data read"
    ((copy, manifest),) = copies(store, "app")
    (snapshot,) = snapshots(repository)
    assert snapshot["paths"] == [str(copy), str(copy) + ".manifest.json"]
    assert sorted(snapshot["tags"]) == ["app", "restored", "sre-runbooks"]
    assert snapshot["hostname"] == platform.node()
    assert snapshot["time"][:19] == manifest["created"][:19]
    assert snapshot["id"].startswith(manifest["restic"]["snapshot"])
    assert outcome["details"]["restic"]["snapshot"] == manifest["restic"]["snapshot"]
    assert content(repository, copy) == manifest["sha256"]
    before = tree(store)
    again = run(source, **options)
    assert (again["changed"], len(again["outcomes"])) == (False, 1)
    assert tree(store) == before
    assert PASSWORD not in json.dumps(result)
    record = copy.with_name(copy.name + ".manifest.json")
    record.write_text(json.dumps({key: value for key, value in manifest.items() if key != "restic"}))
    assert run(source, **options)["changed"] is True, "as after a run that was killed before it was recorded"
    assert len(snapshots(repository)) == 1


def test_retention_knows_pins_and_a_folder_that_got_lost_takes_nothing_with_it(one, source, store, repository):
    options = {"retention": {"keep_last": 1}, "restic": option(repository)}
    kept = []
    for number in range(3):
        outcome = one(source, **options)
        path = Path(outcome["details"]["path"])
        kept.append(str(path))
        if number == 0:
            path.with_name(path.name + ".pin").touch()
    assert outcome["details"]["restic"]["forgotten"] == {Path(kept[1]).name: "no rule keeps it"}
    assert sorted(each["paths"][0] for each in snapshots(repository)) == [kept[0], kept[2]]
    shutil.rmtree(store)
    subprocess.run(["restic", "tag", "--quiet", "--add", "pinned", "latest"], env=environment(repository), check=True)
    options["retention"] = {"keep_last": 2}
    outcome = one(source, **options)
    assert list(outcome["details"]["restic"]["forgotten"]) == [Path(kept[0]).name], "its pin is gone"
    assert len(snapshots(repository)) == 2


def test_a_repository_that_was_away_gets_the_copy_in_the_next_run(run, source, store, repository):
    away = repository.rename(repository.with_name("away"))
    options = {"restic": option(repository, check=True), "interval": "1d"}
    result = run(source, **options)
    (outcome,) = result["outcomes"]
    assert result["status"] == "critical"
    assert "restored and compared" in outcome["summary"]
    assert f"NOT in the restic repository {repository}: there is no restic repository at" in outcome["summary"]
    assert "set restic.init to true" in outcome["summary"]
    assert not repository.exists()
    away.rename(repository)
    result = run(source, **options)
    assert (result["status"], result["changed"]) == ("ok", True)
    assert result["outcomes"][0]["summary"].startswith("nothing to do: ")
    assert len(copies(store, "app")) == len(snapshots(repository)) == 1


@pytest.mark.parametrize("dry", [False, True])
def test_a_wrong_password_is_critical_and_the_copy_stays_good(run, info, source, repository, tmp_path, dry):
    (tmp_path / "password").write_text("the-wrong-password\n")
    given = {"repository": str(repository), "password_file": str(tmp_path / "password"), "init": True}
    result = run(source, restic=given, _ansible_check_mode=dry)
    (outcome,) = result["outcomes"]
    assert outcome["status"] == "critical"
    assert "wrong password or no key found" in outcome["summary"]
    assert "the-wrong-password" not in json.dumps(result)
    if not dry:
        assert info()["copies"][0]["failed"] is False
    (tmp_path / "password").write_text(PASSWORD + "\n")
    assert run(source, restic={**given, "check": False}, _ansible_check_mode=dry)["status"] == "ok"
    assert (tmp_path / "restic-cache").exists() is not dry


def test_a_flipped_bit_in_a_pack_is_found_by_the_check(run, source, repository):
    options = {"restic": option(repository, check=True, read_data_subset="100%"), "retention": {"keep_last": 5}}
    assert run(source, **options)["status"] == "ok"
    pack = max((repository / "data").rglob("?" * 64), key=lambda path: path.stat().st_size)
    pack.chmod(0o600)
    data = bytearray(pack.read_bytes())
    data[len(data) // 3] ^= 1
    pack.write_bytes(data)
    result = run(source, **options)
    assert [each["status"] for each in result["outcomes"]] == ["ok", "critical"]
    assert f"restic check finds damage in {repository}" in result["outcomes"][1]["summary"]


def test_a_lost_pack_is_found_without_reading_data_and_what_cannot_be_removed_is_told(run, source, repository):
    options = {"restic": option(repository, check=True), "retention": {"keep_last": 1}}
    assert run(source, **options)["status"] == "ok"
    for pack in (repository / "data").rglob("?" * 64):
        pack.unlink()
    result = run(source, **options)
    assert [each["status"] for each in result["outcomes"]] == ["critical", "critical"]
    assert f"in the restic repository {repository} after" in result["outcomes"][0]["summary"]
    assert "where old ones could not be removed: restic ended with" in result["outcomes"][0]["summary"]
    assert "restic check finds damage" in result["outcomes"][1]["summary"]


def test_the_lock_of_a_killed_run_does_not_stay_in_the_way(one, source, repository):
    """An exclusive lock on this host whose process is dead, as `restic prune` leaves it."""
    process = subprocess.Popen(["restic", "check", "--quiet"], env=environment(repository))
    wait_for(lambda: locks(repository))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert locks(repository)
    outcome = one(source, restic=option(repository))
    assert outcome["status"] == "ok", outcome
    assert not locks(repository)


def test_a_repository_that_another_host_holds_is_waited_for(one, source, repository, monkeypatch):
    process = subprocess.Popen(["restic", "check", "--quiet"], env=environment(repository))
    wait_for(lambda: locks(repository))
    process.send_signal(signal.SIGSTOP)
    again = threading.Timer(1, process.send_signal, [signal.SIGCONT])
    again.start()
    monkeypatch.setattr(_restic_client, "PAUSE_SECONDS", 0.2)
    try:
        outcome = one(source, restic=option(repository))
        assert outcome["status"] == "ok", outcome
        assert outcome["metrics"]["restic_seconds"] > 1
    finally:
        again.join()
        assert process.wait() == 0


def test_a_snapshot_without_the_whole_copy_is_not_taken_for_one(one, source, store, repository, tmp_path, monkeypatch):
    """The copy is cut while restic reads it: what is in the repository is not what was proven."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "restic").write_text(
        '#!/bin/sh\ncase "$*" in *backup*) for path; do :; done; copy=${path%.manifest.json}\n'
        f'cp -p "$copy" {tmp_path}/whole; truncate -s 10 "$copy"; {shutil.which("restic")} "$@"; status=$?\n'
        f'cp -p {tmp_path}/whole "$copy"; exit $status;; *) exec {shutil.which("restic")} "$@";; esac\n'
    )
    (folder / "restic").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    outcome = one(source, restic=option(repository))
    assert outcome["status"] == "critical"
    assert f"NOT in the restic repository {repository}: the snapshot " in outcome["summary"]
    assert "holds 10 bytes of " in outcome["summary"]
    monkeypatch.setenv("PATH", os.environ["PATH"].partition(":")[2])
    outcome = one(source, restic=option(repository), interval="1d")
    assert outcome["status"] == "ok"
    assert len(snapshots(repository)) == 1, "the one that was cut is gone"
    ((copy, manifest),) = copies(store, "app")
    assert content(repository, copy) == manifest["sha256"]


def test_secrets_are_in_no_argument(one, source, repository, tmp_path, monkeypatch):
    folder = tmp_path / "spies"
    folder.mkdir()
    (folder / "restic").write_text(SPY.format(log=folder / "log", real=shutil.which("restic")))
    (folder / "restic").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    given = option(repository, environment={"AWS_SECRET_ACCESS_KEY": "also-a-secret"})
    outcome = one(source, restic=given)
    assert outcome["status"] == "ok"
    called = (folder / "log").read_text()
    assert "restic backup" in called.replace(str(folder) + "/", "")
    assert PASSWORD not in called
    assert "also-a-secret" not in called


def test_a_source_may_stay_at_home_or_go_elsewhere(run, source, store, repository, tmp_path):
    other = Path(shutil.copytree(repository, tmp_path / "other"))
    home, away = {**source, "name": "home", "restic": {}}, {**source, "name": "else", "restic": option(other)}
    assert run(home, away, restic=option(repository))["status"] == "ok"
    assert not list((repository / "snapshots").iterdir())
    assert [each["tags"][1] for each in snapshots(other)] == ["else"]
    moved = {**source, "name": "else", "restic": option(repository), "interval": "1d"}
    assert run(moved)["outcomes"][0]["details"]["restic"]["repository"] == str(repository)
    assert [each["tags"][1] for each in snapshots(repository)] == ["else"]


def test_without_restic_the_copy_is_made_and_the_package_named(run, source, store, without, repository):
    without("restic")
    (outcome,) = run(source, restic=option(repository))["outcomes"]
    assert outcome["status"] == "critical"
    assert "restic is not installed on this host. Install the package restic" in outcome["summary"]
    assert len(copies(store, "app")) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"password": "x" * 8}, "restic.repository: '' is no place"),
        ({"repository": "relative", "password": "x" * 8}, "restic.repository: 'relative' is no place"),
        ({"repository": "/r"}, "restic.password: None and password_file: one of them opens the repository"),
        ({"repository": "/r", "password": "x" * 8, "password_file": "/p"}, "one of them opens the repository"),
        ({"repository": "/r", "password": "x" * 8, "read_data_subset": "some"}, "'some' is no share"),
        ({"repository": "{store}/restic", "password": "x" * 8}, "is in the folder of the copies"),
    ],
)
def test_options_that_cannot_be_used_are_refused_before_anything(run, source, store, given, message):
    if "repository" in given:
        given = {**given, "repository": given["repository"].format(store=store)}
    assert message in run(source, restic=given)["msg"]
    assert "sources.app.restic." in run({**source, "restic": given})["msg"]
    assert not store.exists()


@contextlib.contextmanager
def sshd(folder):
    """A real sshd on loopback that serves sftp to this user's new key; the command that reaches it."""
    folder.mkdir(mode=0o700)
    for name in ("host", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "client.pub", folder / "authorized")
    port = free_port()
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile {folder}/pid\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/authorized\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", str(folder / "config"), "-E", str(folder / "log")])
    try:
        wait_for(
            lambda: (
                subprocess.run(["ssh-keyscan", "-p", str(port), "127.0.0.1"], capture_output=True, check=False).stdout
            )
        )
        yield (
            f"ssh -p {port} -i {folder}/client -o BatchMode=yes -o StrictHostKeyChecking=accept-new "
            f"-o UserKnownHostsFile={folder}/known 127.0.0.1 -s sftp"
        )
    finally:
        server.terminate()
        server.wait(10)


def test_sftp(run, source, store, repository, tmp_path):
    with sshd(tmp_path / "ssh") as command:
        given = option(f"sftp:127.0.0.1:{repository}", options={"sftp.command": command}, check=True)
        result = run(source, restic=given)
    assert result["status"] == "ok", result
    ((copy, manifest),) = copies(store, "app")
    assert content(repository, copy) == manifest["sha256"]
    result = run(source, restic=given)
    assert result["status"] == "critical", "the host is away"
    assert "NOT in the restic repository sftp:127.0.0.1:" in result["outcomes"][0]["summary"]


@pytest.fixture
def s3():
    """The address of a real S3 server on loopback."""
    port = free_port()
    program = Path(sys.executable).with_name("moto_server")
    server = subprocess.Popen(
        [str(program), "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def answers():
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/data.json") as reply,
        ):
            return reply.status == 200
        return False

    try:
        wait_for(answers, 60)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def test_s3(run, source, store, s3, tmp_path):
    keys = {"AWS_ACCESS_KEY_ID": "the-key-id-of-a-test", "AWS_SECRET_ACCESS_KEY": "the-secret-key-of-a-test"}
    keys["RESTIC_CACHE_DIR"] = str(tmp_path / "cache")
    place = f"s3:{s3}/bucket/backups"
    given = option(place, init=True, check=True, read_data_subset="100%", environment=keys)
    (outcome,) = run(source, restic=given, _ansible_check_mode=True)["outcomes"]
    assert outcome["status"] == "ok", outcome
    assert f"would be brought to the restic repository {place}, which would be created" in outcome["summary"]
    assert not (tmp_path / "cache").exists()
    result = run(source, restic=given)
    assert (tmp_path / "cache").exists()
    assert result["status"] == "ok", result
    assert keys["AWS_SECRET_ACCESS_KEY"] not in json.dumps(result)
    ((copy, manifest),) = copies(store, "app")
    assert content(place, copy, **keys) == manifest["sha256"]
    assert manifest["restic"]["repository"] == place
