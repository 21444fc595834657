# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook sre.runbooks.rotate_keys with its role sre.runbooks.key_rotation and module sre.runbooks.rotating_key (K2, K3).

The programs that use the key call the service all the time; the fixture `fleet` fails a test in which one call was refused.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from pathlib import Path

import psutil

CHECKOUT = Path(__file__).resolve().parents[3]


class Listings:
    """Samples the command lines of all processes while it is entered."""

    def __enter__(self):
        self.seen, self._over = set(), threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def __exit__(self, *_ignored):
        self._over.set()
        self._thread.join()

    def _sample(self):
        while not self._over.wait(0.02):
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    self.seen.add(process.read_bytes())


def killed(process):
    """Kill it and all that it started, at once."""
    parent = psutil.Process(process.pid)
    parent.suspend()
    for each in [*parent.children(recursive=True), parent]:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    return process.communicate()[0]


def test_k2_killed_then_compromised_with_every_secret_inside(fleet):
    """Canaries: the old key, the new ones, the admin token, a header; nowhere but where they belong."""
    fleet.key["provider"]["headers"]["X-Canary"] = "canary-0123456789-header"
    argv = fleet.argv("-vvvv", "-e", json.dumps({"key_rotation_force": [fleet.name]}))
    with Listings() as listings:
        process = subprocess.Popen(
            argv, env=fleet.environment(), cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        brought = fleet.home("web1") / "state/keys_audit.jsonl"
        while not brought.exists() and process.poll() is None:
            time.sleep(0.005)
        told = killed(process)
        assert all(fleet.accepted(key) for key in fleet.held())
        canaries = {fleet.old["key"], fleet.application.token, "canary-0123456789-header", *fleet.held()}
        told += fleet.rotate("-vvvv", "-e", json.dumps({"key_rotation_compromised": [fleet.name]}))
    new = fleet.settled()
    canaries.add(new)
    assert len(canaries) >= 4
    assert not fleet.accepted(fleet.old["key"])
    # What was revoked is proven dead on every host, and its value is gone.
    assert all("proven_dead" in [each["event"] for each in fleet.audit(host)] for host in fleet.HOSTS)
    assert not [path for host in fleet.HOSTS for path in (fleet.home(host) / "state/keys").iterdir()]
    assert {each["event"] for each in fleet.audit()} >= {"created", "abandoned", "promoted", "revoked"}
    assert all(each["who"] and each["run"] and each["time"] for each in fleet.audit())
    places = [told, *(line.decode(errors="replace") for line in listings.seen)]
    belongs = {fleet.home(host) / ".env" for host in fleet.HOSTS} | {fleet.folder / "inventory.json"}
    for path in fleet.folder.rglob("*"):
        if path.is_file() and path not in belongs:
            places.append(path.read_bytes().decode(errors="replace"))
    assert not [(canary[:6], place[:200]) for canary in canaries for place in places if canary in place]
    assert [oct(path.stat().st_mode & 0o777) for path in sorted(fleet.home("web1").glob("state/*.json*"))] == [
        "0o600"
    ] * 2
    assert oct((fleet.home("web1") / ".env").stat().st_mode & 0o777) == "0o640"
    assert (fleet.home("web1") / ".env").read_text() == f"# of web1\nAPI_KEY={new}\nOTHER=1\n"


def test_check_mode_tells_what_is_due_and_changes_nothing(fleet):
    told = fleet.force("--check", "-v")
    assert "would be rotated: forced" in told
    assert fleet.held() == {fleet.old["key"]}
    assert fleet.alive() == [fleet.old["id"]]
    assert not list(fleet.folder.glob("*/state"))


def test_a_host_that_cannot_be_reached_makes_the_rotation_wait(fleet):
    path = fleet.inventory()
    document = json.loads(path.read_text())
    document["all"]["children"]["users"]["hosts"]["web3"] |= {
        "ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_retries": 0,
    }  # fmt: skip
    path.write_text(json.dumps(document))
    argv = [*fleet.argv("-e", json.dumps({"key_rotation_force": [fleet.name]}))]
    path.write_text(json.dumps(document))
    done = subprocess.run(
        argv, env=fleet.environment(), cwd=CHECKOUT, capture_output=True, text=True, timeout=180, check=False
    )
    told = done.stdout + done.stderr
    assert "rotation waits: web3: no answer" in told
    assert "the key in use stays" in told.lower()
    assert fleet.held() == {fleet.old["key"]}
    assert fleet.alive() == [fleet.old["id"]]


def test_a_run_with_nothing_due_changes_nothing_and_proves_what_is_there(fleet):
    told = fleet.rotate()
    assert told.count("changed=0") == len(fleet.all_hosts)
    assert fleet.held() == {fleet.old["key"]}
