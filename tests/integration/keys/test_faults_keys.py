# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rotations under faults (K2, K3). Programs on three hosts call the service all the time: not one call may be refused."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import socket
import subprocess
import threading
import time

import pytest

from .rotation import Rotation, deadly, forked, statuses

ALL_OK = {"db1": "ok", "web1": "ok", "web2": "ok", "web3": "ok"}


def refused_none(fleet):
    """Every program has made a call since, and none was ever refused."""
    before = {host: int((fleet.home(host) / "calls").read_text() or 0) for host in fleet.HOSTS}
    deadline = time.monotonic() + 10
    while any(int((fleet.home(host) / "calls").read_text() or 0) <= before[host] for host in fleet.HOSTS):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert not fleet.refused()


def test_killed_at_every_single_step_every_program_can_always_authenticate(fleet):
    """Each run is killed one step later than the one before, and has to make up for it; every other one has no overlap."""
    steps, ended = 0, 0
    while ended < 2:
        steps += 1
        option = "compromised" if steps % 2 else "force"

        def rotate(steps=steps, option=option):
            deadly(steps)
            Rotation(fleet, **{option: [fleet.name]}).go()

        _child, status = os.waitpid(forked(rotate), 0)
        refused_none(fleet)
        assert all(fleet.accepted(key) for key in fleet.held())
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            ended += 1
            fleet.settled()
    assert steps > 40
    assert statuses(Rotation(fleet).go()) == ALL_OK
    fleet.settled()
    # No part of a key that a killed run was writing stays.
    assert not [path for host in fleet.HOSTS for path in fleet.home(host).rglob(".*.partial")]


class Gate:
    """The provider by an address that can be closed; programs reach the service past it."""

    def __init__(self, port):
        self.target, self.open = port, True
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                came, _address = self.listener.accept()
                if not self.open:
                    came.close()
                    continue
                there = socket.create_connection(("127.0.0.1", self.target))
                for source, sink in ((came, there), (there, came)):
                    threading.Thread(target=self.pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def pump(source, sink):
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def gate(fleet):
    made = Gate(int(fleet.application.url.rpartition(":")[2]))
    fleet.key["provider"]["url"] = made.url
    yield made
    made.listener.close()


def closing(gate, at):
    """The provider is down from the stage `at` on."""

    def before(stage, _host):
        gate.open = gate.open and stage != at
        return True

    return before


@pytest.mark.parametrize("at", ["status", "create"])
def test_provider_down_before_a_key_is_made(fleet, gate, at):
    said = Rotation(fleet, closing(gate, at), force=[fleet.name]).go()
    assert statuses(said)["db1"] == "critical"
    assert fleet.held() == {fleet.old["key"]}
    assert fleet.alive() == [fleet.old["id"]]
    gate.open = True
    assert statuses(Rotation(fleet, force=[fleet.name]).go()) == ALL_OK
    assert fleet.settled() != fleet.old["key"]
    refused_none(fleet)


def test_provider_down_when_the_old_key_is_to_be_revoked(fleet, gate):
    said = Rotation(fleet, closing(gate, "revoke"), compromised=[fleet.name]).go()
    assert statuses(said) == {**ALL_OK, "db1": "critical"}
    assert fleet.accepted(fleet.old["key"])
    (new,) = fleet.held()
    gate.open = True
    # The next run needs nobody to ask for it: it is in the journal that this key is over.
    assert statuses(Rotation(fleet).go()) == ALL_OK
    assert fleet.settled() == new
    assert not fleet.accepted(fleet.old["key"])
    assert not any(
        (fleet.home(host) / "state/keys" / name).exists() for host in fleet.HOSTS for name in ("", new) if name
    )
    refused_none(fleet)


def test_an_answer_without_a_key_changes_nothing(fleet):
    fleet.key["provider"]["create"]["key"] = "secret"
    said = Rotation(fleet, force=[fleet.name]).go()
    assert "answered without a key" in said["db1"][0]["summary"]
    assert statuses(said)["db1"] == "critical"
    assert fleet.held() == {fleet.old["key"]}
    assert fleet.alive() == [fleet.old["id"]]
    assert not fleet.journal()["pending"]


def test_a_consumer_that_is_not_reachable_makes_the_rotation_wait(fleet):
    said = Rotation(fleet, lambda _stage, host: host != "web3", force=[fleet.name]).go()
    assert statuses(said)["db1"] == "warning"
    assert "rotation waits: web3: no answer" in said["db1"][0]["summary"]
    assert fleet.held() == {fleet.old["key"]}
    assert fleet.alive() == [fleet.old["id"]]


@pytest.mark.parametrize("lost", ["distribute", "prove", "rollback"])
def test_a_consumer_lost_in_mid_rotation_may_hold_the_new_key_which_lives_until_it_is_seen_without(fleet, lost):
    stages = ["distribute", "prove", "promote", "rollback", "revoke", "dead"]
    gone = stages[stages.index(lost) :] if lost != "rollback" else ["prove", "promote", "rollback", "revoke", "dead"]
    said = Rotation(fleet, lambda stage, host: not (host == "web3" and stage in gone), force=[fleet.name]).go()
    assert statuses(said)["db1"] == "critical"
    refused_none(fleet)
    assert all(fleet.accepted(key) for key in fleet.held())
    assert fleet.journal()["pending"]["abandoned"]
    assert len(fleet.alive()) == 2
    assert statuses(Rotation(fleet, force=[fleet.name]).go())["db1"] == "ok"
    fleet.settled()
    refused_none(fleet)


def test_one_program_that_cannot_use_the_new_key_takes_all_of_them_back(fleet):
    reload = fleet.home("web2") / "reload"
    works = reload.read_text()
    reload.write_text("#!/bin/sh\necho cannot reload >&2\nexit 1\n")
    said = Rotation(fleet, force=[fleet.name]).go()
    assert statuses(said)["db1"] == statuses(said)["web2"] == "critical"
    assert "rolled back" in said["db1"][0]["summary"]
    assert "web2" in said["db1"][0]["summary"]
    assert fleet.held() == {fleet.old["key"]}
    # web2 was told to go back too, and could not read its file again: as long as it may use the new key, that one lives.
    assert fleet.journal()["pending"]["abandoned"]
    reload.write_text(works)
    Rotation(fleet).go()
    assert fleet.alive() == [fleet.old["id"]]
    assert not fleet.journal()["pending"]
    assert [each["event"] for each in fleet.audit()] == ["created", "abandoned", "revoked"]
    refused_none(fleet)


def test_a_key_that_the_service_does_not_accept_is_taken_back_and_revoked_at_once(fleet):
    fleet.key["provider"]["create"]["body"]["expires_in_days"] = 1e-9
    fleet.key["verify"]["within"] = "1s"
    # Its programs are not told: they would be refused, for the service itself made a key that is dead.
    for host in fleet.HOSTS:
        (fleet.home(host) / "reload").write_text("#!/bin/sh\n")
    said = Rotation(fleet, force=[fleet.name]).go()
    assert statuses(said)["db1"] == "critical"
    assert "expected 200" in said["db1"][0]["summary"]
    assert fleet.held() == {fleet.old["key"]}
    assert fleet.alive() == [fleet.old["id"]]
    refused_none(fleet)


def test_two_rotations_at_once_end_with_one_key(fleet):
    for _round in range(4):
        children = [forked(Rotation(fleet, force=[fleet.name]).go) for _number in range(2)]
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
        refused_none(fleet)
        assert all(fleet.accepted(key) for key in fleet.held())
    assert statuses(Rotation(fleet, compromised=[fleet.name]).go()) == ALL_OK
    fleet.settled()
    assert len(fleet.alive()) == 1
    refused_none(fleet)


def test_a_clock_that_is_set_back_makes_no_key_younger_and_no_overlap_longer(fleet, monkeypatch):
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 100 * 86400)
    Rotation(fleet).go()
    monkeypatch.setattr(time, "time", real)
    # It was due by that clock, was rotated, and is not due any more.
    new = fleet.settled()
    assert new != fleet.old["key"]
    said = Rotation(fleet).go()
    assert statuses(said) == ALL_OK
    assert fleet.settled() == new
    assert fleet.accepted(fleet.old["key"])
    journal = fleet.journal()
    assert 0 < journal["previous"][0]["revoke_at"] - journal["current"]["at"] <= 86400
    last = json.loads((fleet.folder / "db1/state/keys.json").read_text())["last"]
    assert last > real() + 99 * 86400
    # By its journal the overlap is over only when the clock has come there again, or the key is said to be compromised.
    Rotation(fleet, compromised=[fleet.name]).go()
    assert not fleet.accepted(fleet.old["key"])
    fleet.settled()


def alone_with_a_full_disk(folder, content):
    """In a mount namespace of this process: `folder` is a file system without room for a second copy of its file."""
    user = os.geteuid(), os.getegid()
    flags = 0x20000 if user[0] == 0 else 0x20000 | 0x10000000
    assert ctypes.CDLL(None, use_errno=True).unshare(flags) == 0
    if user[0] != 0:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user[0]} 1"), ("gid_map", f"0 {user[1]} 1")):
            with open(f"/proc/self/{name}", "w") as stream:
                stream.write(text)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "none", folder], check=True)
    (folder / ".env").write_text(content)
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as stream:
        while True:
            stream.write(b"x" * 4096)


def test_disk_full_while_the_file_is_written(fleet):
    folder = fleet.home("web2") / "config"
    folder.mkdir()
    content = (fleet.home("web2") / ".env").read_text()
    (folder / ".env").write_text(content)
    fleet.key["consumers"][1]["path"] = str(folder / ".env")
    told = fleet.folder / "told.json"

    def rotate():
        alone_with_a_full_disk(folder, content)
        said = Rotation(fleet, force=[fleet.name]).go()
        told.write_text(json.dumps({"said": said, "left": (folder / ".env").read_text(), "files": os.listdir(folder)}))

    assert os.waitpid(forked(rotate), 0)[1] == 0
    seen = json.loads(told.read_text())
    assert statuses(seen["said"])["db1"] == "critical"
    assert "No space left on device" in json.dumps(seen["said"]["web2"])
    assert seen["left"] == content
    assert sorted(seen["files"]) == [".env", "filler"]
    assert fleet.held() == {fleet.old["key"]}
    assert fleet.alive() == [fleet.old["id"]]
    assert not fleet.journal()["pending"]
    refused_none(fleet)
