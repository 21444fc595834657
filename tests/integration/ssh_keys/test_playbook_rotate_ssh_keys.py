# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Playbook sre.runbooks.rotate_ssh_keys: role sre.runbooks.ssh_keys, modules sre.runbooks.ssh_keys and sre.runbooks.ssh_key_pair (K3).

Hosts are real SSH servers; modules get there by SSH, with the key that is rotated.
"""

from __future__ import annotations

import json

import pytest

from .conftest import OTHER


@pytest.fixture
def fleet(tmp_path):
    from .conftest import Fleet

    made = Fleet(tmp_path, ("web1", "web2"))
    made.start()
    yield made
    made.stop()


def secret_of(path):
    """The lines of a private key that tell it: all but the first, which is alike in all of them."""
    return path.read_text().splitlines()[2:-1]


def test_rotated_then_compromised_and_nothing_of_a_private_key_is_shown(fleet):
    old, secrets = fleet.mark(), secret_of(fleet.private)
    told = fleet.play("--check", "-e", "ssh_keys_force=true")
    assert "would be rotated: forced" in told
    assert fleet.mark() == old
    assert not fleet.kept()
    assert not (fleet.folder / "controller/state").exists()
    told = fleet.play("-e", "ssh_keys_force=true", "-vvvv")
    new = fleet.mark()
    secrets += secret_of(fleet.private)
    assert new != old
    (kept,) = fleet.kept()
    for host, server in fleet.servers.items():
        assert server.keys()[1:] == [old, new]
        assert server.authorized.read_text().startswith(f"# keys of {host}\n{OTHER}\n{fleet.old}\nssh-ed25519 ")
        assert oct(server.authorized.stat().st_mode & 0o777) == "0o640"
        assert fleet.opens(kept, host)
    assert f"rotated: {new}" in told or "the old one ends in 24.0 h" in told
    told += fleet.play("-e", "ssh_keys_compromised=true", "-vvvv")
    last = fleet.mark()
    secrets += secret_of(fleet.private)
    assert len({old, new, last}) == 3
    assert all(server.keys()[1:] == [last] for server in fleet.servers.values())
    assert not fleet.kept()
    assert sorted(path.name for path in fleet.private.parent.iterdir()) == [
        "id_ed25519", "id_ed25519.pub", "known_hosts", "state",
    ]  # fmt: skip
    assert oct(fleet.private.stat().st_mode & 0o777) == "0o600"
    assert len(secrets) >= 9
    places = [told] + [
        path.read_bytes().decode(errors="replace")
        for path in fleet.folder.rglob("*")
        if path.is_file() and path not in (fleet.private, *(fleet.folder / host / "host_key" for host in fleet.hosts))
    ]
    assert not [secret for secret in secrets for place in places if secret in place]
    events = [
        json.loads(line)["event"]
        for line in (fleet.folder / "controller/state/keys_audit.jsonl").read_text().splitlines()
    ]
    assert events == ["created", "promoted", "created", "promoted", "ended", "ended"]


def test_a_host_that_is_down_keeps_the_old_key_which_is_kept_for_it(fleet):
    old = fleet.mark()
    fleet.servers["web2"].stop()
    told = fleet.play("-e", "ssh_keys_force=true", "-e", "ssh_keys_overlap=0s")
    new = fleet.mark()
    assert new != old
    assert "web2 could not be reached: the old key goes on to open it" in " ".join(told.split())
    assert fleet.servers["web2"].keys()[1:] == [old]
    assert fleet.servers["web1"].keys()[1:] == [new], "its overlap was over, and the new one was proven"
    (kept,) = fleet.kept()
    fleet.servers["web2"].start()
    assert fleet.opens(kept, "web2")
    assert not fleet.opens(fleet.private, "web2")
    told = fleet.play("--limit", "web2", "-e", "ssh_keys_overlap=0s")
    assert "could not be reached" not in told
    assert fleet.servers["web2"].keys()[1:] == [new]
    assert fleet.opens(fleet.private, "web2")
    assert not fleet.kept()
