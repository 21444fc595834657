# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rotations of an SSH key under faults (K3): at every moment a key of the controller opens every host, tried with ssh itself."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from ansible.playbook.play_context import PlayContext

from ansible_collections.sre.runbooks.plugins.plugin_utils import ssh_private, ssh_proof

from .conftest import OTHER, Fleet, Run


def forked(work):
    """Do `work` in a process of its own; return its id."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException as error:  # noqa: BLE001 - told to whoever waits, by the exit status
        sys.__stderr__.write(f"{error!r}\n")
        os._exit(1)
    os._exit(0)


def deadly(steps):
    """Kill this process at the step of that number: before each renaming, removal and call of ssh-keygen, and before its result is used."""
    count = [0]

    def around(function):
        def stepped(*arguments, **more):
            count[0] += 1
            if count[0] == steps:
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)
            return function(*arguments, **more)

        return stepped

    os.replace, os.unlink, os.chmod = around(os.replace), around(os.unlink), around(os.chmod)
    ssh_private._keygen = around(ssh_private._keygen)
    ssh_proof.connect = around(ssh_proof.connect)


def never_locked_out(fleet):
    """The private key at its place, or one that the journal has for the host, opens every host."""
    keys = [fleet.private, *fleet.kept(), fleet.private.with_name("id_ed25519.pending")]
    public = {
        key: fleet.mark(
            subprocess.run(["ssh-keygen", "-y", "-f", str(key)], capture_output=True, text=True, check=True).stdout
        )
        for key in keys
        if key.exists()
    }
    for host, server in fleet.servers.items():
        held = server.keys()
        assert public[fleet.private] in held or any(
            mark in held for key, mark in public.items() if key in fleet.kept()
        ), host
        assert server.authorized.read_text().startswith(f"# keys of {host}\n{OTHER}\n")


def settled(fleet):
    """The key at its place opens every host; what else does is in its overlap; nothing is left over."""
    mark, journal = fleet.mark(), fleet.journal()
    assert journal["current"]["fingerprint"] == mark
    assert not journal.get("pending")
    assert not journal["given_up"]
    previous = {each["fingerprint"] for each in journal["previous"]}
    for host, server in fleet.servers.items():
        held = set(server.keys()[1:])
        assert mark in held
        assert held - {mark} <= previous
        assert fleet.opens(fleet.private, host)
    assert not list(fleet.private.parent.glob("*.pending*"))
    assert not list(fleet.private.parent.glob(".*.partial"))
    assert len(fleet.kept()) == len(previous)
    return mark


@pytest.fixture
def two(tmp_path):
    """Two hosts are enough for whatever is done many times."""
    made = Fleet(tmp_path, ("web1", "web2"))
    made.start()
    yield made
    made.stop()


@pytest.mark.parametrize(("hosts", "stride"), [(("web1",), 1), (("web1", "web2"), 13)], ids=["one", "two"])
def test_killed_at_every_single_step_no_host_is_locked_out_and_the_next_run_converges(tmp_path, hosts, stride):
    """Each run is killed later than the one before, and has to make up for it; every other one has no overlap.

    Each connection takes time, so that every step is tried with one host, and some with two.
    """
    made = Fleet(tmp_path, hosts)
    made.start()
    steps, ended = 1 - stride, 0
    while ended < 2:
        steps += stride

        def rotate(steps=steps):
            deadly(steps)
            Run(made, **{"compromised" if steps % 2 else "force": True}).go()

        _child, status = os.waitpid(forked(rotate), 0)
        never_locked_out(made)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            ended += 1
            settled(made)
    assert steps > 25
    whole, _hosts = Run(made, compromised=True).go()
    assert whole["status"] == "ok", whole
    settled(made)
    assert all(len(server.keys()) == 2 for server in made.servers.values())
    made.stop()


@pytest.mark.parametrize("stage", ["status", "add", "prove", "revoke"])
def test_a_host_lost_at_a_stage_keeps_the_old_key_and_is_retried(fleet, stage):
    old = fleet.mark()
    whole, _hosts = Run(fleet, lambda at, host: not (host == "web3" and at == stage), compromised=True).go()
    new = fleet.mark()
    assert new != old
    assert whole["status"] == "critical", "a key that is known to others opens a host yet"
    assert "web3" in whole["summary"]
    assert old in set(fleet.servers["web3"].keys())
    assert old not in set(fleet.servers["web1"].keys())
    (kept,) = fleet.kept()
    assert fleet.opens(kept, "web3")
    never_locked_out(fleet)
    whole, _hosts = Run(fleet).go()
    assert whole["status"] == "ok", whole
    assert settled(fleet) == new
    assert not fleet.kept()


def test_a_host_that_is_away_for_two_rotations_is_reached_with_the_key_of_old(fleet):
    old, away = fleet.mark(), [True]

    def before(_stage, host):
        return not (host == "web3" and away[0])

    whole, _hosts = Run(fleet, before, force=True, overlap=0.0).go()
    assert whole["status"] == "warning"
    Run(fleet, before, force=True, overlap=0.0).go()
    assert fleet.servers["web3"].keys()[1:] == [old]
    assert any(fleet.opens(kept, "web3") for kept in fleet.kept())
    away[0] = False
    whole, _hosts = Run(fleet, before, overlap=0.0).go()
    assert whole["status"] == "ok", whole
    new = settled(fleet)
    assert fleet.servers["web3"].keys()[1:] == [new]
    assert not fleet.kept()


def test_a_host_that_refuses_the_new_key_takes_it_back_everywhere(fleet):
    old, server = fleet.mark(), fleet.servers["web2"]
    elsewhere = server.folder / "elsewhere"
    elsewhere.write_text(fleet.old + "\n")
    server.stop()
    server.configure()
    config = (server.folder / "sshd_config").read_text()
    (server.folder / "sshd_config").write_text(config.replace(str(server.authorized), str(elsewhere)))
    server.start()
    whole, _hosts = Run(fleet, force=True).go()
    assert whole["status"] == "critical"
    assert "rolled back, the key in use stays: web2: " in whole["summary"]
    assert "Permission denied" in whole["summary"]
    assert settled(fleet) == old
    assert all(each.keys()[1:] == [old] for each in fleet.servers.values())
    (server.folder / "sshd_config").write_text(config)
    server.stop()
    server.start()
    whole, _hosts = Run(fleet, force=True).go()
    assert whole["status"] == "ok"
    assert settled(fleet) != old


def test_neither_an_agent_nor_a_key_of_the_configuration_counts_as_proof(fleet, monkeypatch):
    """The first connection may use them; the second must be opened by the new key alone, with the host key checked as ever."""
    other = fleet.folder / "unknown"
    from .conftest import make_key

    public = make_key(other)
    told = subprocess.run(["ssh-agent", "-s"], check=True, capture_output=True, text=True).stdout
    settings = dict(part.split("=", 1) for part in told.replace("\n", " ").split("; ") if "=" in part)
    monkeypatch.setenv("SSH_AUTH_SOCK", settings["SSH_AUTH_SOCK"])
    try:
        subprocess.run(["ssh-add", "-q", str(fleet.private)], check=True, capture_output=True)
        (fleet.folder / "ssh_config").write_text(f"Host *\n  IdentityFile {fleet.private}\n")
        variables = fleet.variables("web1")

        def connect(private, **more):
            return ssh_proof.connect(PlayContext(), {"timeout": 10}, {**variables, **more}, str(private))

        refused = connect(other)
        assert refused.refused
        assert not refused.opened
        configured = variables["ansible_ssh_common_args"].replace("-F none", f"-F {fleet.folder}/ssh_config")
        # The configuration brings the old key along: what counts is which one the server has accepted.
        found = connect(other, ansible_ssh_common_args=configured)
        assert found.opened == fleet.mark() != fleet.mark(public)
        assert connect(fleet.private, ansible_ssh_common_args=configured).opened == fleet.mark()
        (fleet.folder / "known").write_text(
            f"[127.0.0.1]:{fleet.servers['web1'].port} {fleet.servers['web2'].public}\n"
        )
        stranger = connect(
            fleet.private, ansible_ssh_common_args=configured.replace(str(fleet.known), f"{fleet.folder}/known")
        )
        assert not stranger.opened
        assert "Host key verification failed" in stranger.problem
    finally:
        os.kill(int(settings["SSH_AGENT_PID"]), signal.SIGTERM)


def test_a_file_that_is_a_link_or_somebody_elses_makes_the_rotation_wait(fleet):
    old, server = fleet.mark(), fleet.servers["web2"]
    real = server.authorized.with_name("real")
    server.authorized.rename(real)
    server.authorized.symlink_to(real)
    before = real.read_text()
    whole, hosts = Run(fleet, force=True).go()
    assert whole["status"] == "warning"
    assert "the rotation waits" in whole["summary"]
    assert "web2" in whole["summary"]
    assert "symbolic link, which is not followed" in hosts["web2"][0]["summary"]
    assert hosts["web2"][0]["status"] == "critical"
    assert real.read_text() == before
    assert server.authorized.is_symlink()
    assert fleet.mark() == old
    server.authorized.unlink()
    os.link(real, server.authorized)
    assert "hard links" in Run(fleet, force=True).go()[1]["web2"][0]["summary"]
    real.unlink()
    if os.geteuid() == 0:
        os.chown(server.authorized, 65534, 65534)
    else:
        server.authorized = "/etc/hosts"
    assert "belongs to the user" in Run(fleet, force=True).go()[1]["web2"][0]["summary"]
    assert fleet.mark() == old
    assert all(fleet.servers[host].keys()[1:] == [old] for host in ("web1", "web3"))


def test_a_folder_that_is_a_link_is_not_followed(fleet):
    server = fleet.servers["web1"]
    link = server.folder / "link"
    link.symlink_to(server.authorized.parent)
    server.authorized = link / "authorized_keys"
    _whole, hosts = Run(fleet, force=True).go()
    assert "is a symbolic link or no folder" in hosts["web1"][0]["summary"]


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
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k,mode=700", "none", folder], check=True)
    (folder / "authorized_keys").write_text(content)
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as stream:
        while True:
            stream.write(b"x" * 4096)


@pytest.mark.parametrize("where", ["host", "controller"])
def test_disk_full(fleet, where):
    """On a host: rolled back everywhere. On the controller: no pair is made, and no half one stays."""
    old, folder, told = fleet.mark(), fleet.servers["web2"].authorized.parent, fleet.folder / "told.json"
    content = fleet.servers["web2"].authorized.read_text()

    def rotate():
        if where == "host":
            alone_with_a_full_disk(folder, content)
            whole, hosts = Run(fleet, force=True).go()
        else:
            data = {path.name: path.read_bytes() for path in fleet.private.parent.iterdir()}
            alone_with_a_full_disk(fleet.private.parent, "")
            (fleet.private.parent / "filler").unlink()
            for name, each in data.items():
                (fleet.private.parent / name).write_bytes(each)
            fleet.private.chmod(0o600)
            with contextlib.suppress(OSError), (fleet.private.parent / "filler").open("wb", buffering=0) as stream:
                while True:
                    stream.write(b"x" * 4096)
            try:
                Run(fleet, force=True).go()
            except Exception as error:  # noqa: BLE001 - looked at below
                whole, hosts = {"status": "critical", "summary": str(error)}, {}
        left = sorted(os.listdir(folder if where == "host" else fleet.private.parent))
        told.write_text(json.dumps({"whole": whole, "hosts": hosts, "left": left, "mark": fleet.mark()}))

    assert os.waitpid(forked(rotate), 0)[1] == 0
    seen = json.loads(told.read_text())
    assert seen["whole"]["status"] == "critical"
    assert "No space left on device" in json.dumps(seen)
    assert seen["mark"] == old
    assert not [name for name in seen["left"] if "partial" in name or "pending" in name]
    assert all(fleet.servers[host].keys()[1:] == [old] for host in fleet.hosts)


def test_two_rotations_at_once_end_with_one_key(two):
    for _round in range(2):
        children = [forked(Run(two, force=True).go) for _number in range(2)]
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
        never_locked_out(two)
    whole, _hosts = Run(two, compromised=True).go()
    assert whole["status"] == "ok", whole
    settled(two)
    assert all(len(server.keys()) == 2 for server in two.servers.values())


def test_options_and_comments_are_kept_and_given_to_the_new_key(fleet):
    server = fleet.servers["web1"]
    words = " ".join(fleet.old.split()[:2])
    lines = [
        "# for the automation", f'from="127.0.0.0/8,::1",environment="A=\\"b c\\"",no-pty {words} automation@old',
        f'command="echo \\"two words\\"",restrict {OTHER}', f"cert-authority {OTHER.replace('eva', 'ca')}", "nonsense", "",
    ]  # fmt: skip
    server.authorized.write_text("\n".join(lines))
    whole, hosts = Run(fleet, compromised=True).go()
    assert whole["status"] == "ok", (whole, hosts)
    public = subprocess.run(
        ["ssh-keygen", "-y", "-f", str(fleet.private)], check=True, capture_output=True, text=True
    ).stdout.split()
    assert server.authorized.read_text() == "\n".join(
        [
            lines[0],
            f'from="127.0.0.0/8,::1",environment="A=\\"b c\\"",no-pty {" ".join(public[:2])} automation',
            *lines[2:],
        ]
    )


@pytest.mark.parametrize("case", ["limit", "left out", "silent", "unknown"])
def test_hosts_that_are_left_out_make_the_rotation_wait(fleet, monkeypatch, case):
    old = fleet.mark()
    Run(fleet).go()
    if case == "limit":
        run = Run(fleet, hosts=("web1",), force=True, limited=True)
    elif case == "left out":
        run = Run(fleet, hosts=("web1", "web2"), force=True)
    elif case == "silent":
        run = Run(fleet, force=True)
        host = run.host

        def quiet(name, stage, **more):
            return None if name == "web3" else host(name, stage, **more)

        monkeypatch.setattr(run, "host", quiet)
    else:
        fleet.servers["web3"].authorized.write_text(OTHER + "\n")
        run = Run(fleet, force=True)
    whole, hosts = run.go()
    assert whole["status"] == ("critical" if case == "unknown" else "warning"), whole
    assert fleet.mark() == old
    if case == "unknown":
        assert "holds none of the keys that open it now" in hosts["web3"][0]["summary"]
        assert fleet.servers["web3"].authorized.read_text() == OTHER + "\n"
    assert all(fleet.servers[name].keys()[1:] == [old] for name in ("web1", "web2"))


def test_a_key_half_a_year_old_is_due_and_its_predecessor_goes_after_the_overlap(fleet, monkeypatch):
    old, real = fleet.mark(), time.time
    assert Run(fleet).go()[0]["status"] == "ok"
    monkeypatch.setattr(time, "time", lambda: real() + 181 * 86400)
    Run(fleet).go()
    new = settled(fleet)
    assert new != old
    monkeypatch.setattr(time, "time", real)
    Run(fleet).go()
    assert settled(fleet) == new, "a clock that is set back makes no key due, and ends no overlap"
    assert len(fleet.kept()) == 1
    monkeypatch.setattr(time, "time", lambda: real() + 183 * 86400)
    assert Run(fleet).go()[0]["status"] == "ok"
    assert settled(fleet) == new
    assert not fleet.kept()
    assert all(server.keys()[1:] == [new] for server in fleet.servers.values())
