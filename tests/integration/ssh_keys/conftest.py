# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts that real SSH servers stand for: each with its own host key, port and file of authorised keys; this user logs in."""

from __future__ import annotations

import contextlib
import getpass
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible.playbook.play_context import PlayContext

from ansible_collections.sre.runbooks.plugins.action.ssh_key_pair import act
from ansible_collections.sre.runbooks.plugins.module_utils._ssh_keys import _lines
from ansible_collections.sre.runbooks.plugins.modules import ssh_keys
from ansible_collections.sre.runbooks.plugins.plugin_utils import ssh_heard, ssh_keyring, ssh_proof
from ansible_collections.sre.runbooks.plugins.plugin_utils.keys import outcomes

CHECKOUT = Path(__file__).resolve().parents[3]
USER = getpass.getuser()
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl eva@laptop"


def make_key(path, comment="test"):
    """A key pair; its public line."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)], check=True)
    return Path(f"{path}.pub").read_text().strip()


class Server:
    """One sshd that takes the keys of `authorized`; `stop` and `start` make the host away and back."""

    def __init__(self, folder):
        self.folder = folder
        # Held for as long as the host is, without listening: nobody else is given the port while its server is away.
        self.place = socket.socket()
        self.place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.place.bind(("127.0.0.1", 0))
        self.port = self.place.getsockname()[1]
        (folder / "ssh").mkdir(parents=True, mode=0o700)
        self.authorized = folder / "ssh" / "authorized_keys"
        self.public = make_key(folder / "host_key")
        self.process = None
        self.configure()

    def configure(self, *more):
        lines = [
            f"Port {self.port}", "ListenAddress 127.0.0.1", f"HostKey {self.folder}/host_key", f"PidFile {self.folder}/pid",
            "UsePAM no", "StrictModes no", f"AuthorizedKeysFile {self.authorized}", "PasswordAuthentication no",
            "KbdInteractiveAuthentication no", "PermitRootLogin yes", "LogLevel VERBOSE", "MaxStartups 100", "KexAlgorithms curve25519-sha256", *more,
        ]  # fmt: skip
        (self.folder / "sshd_config").write_text("\n".join(lines) + "\n")

    def start(self):
        program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        assert program, "the program sshd is missing: install the package openssh-server"
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [program, "-D", "-f", str(self.folder / "sshd_config"), "-E", str(self.folder / "log")]
        )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self.process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.01)
        raise AssertionError("sshd does not answer")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)

    def keys(self):
        """The fingerprints in its file, in their order."""
        lines = _lines.split(self.authorized.read_text())
        return [_lines.fingerprint(line.blob) for line in lines if line.blob]


class Fleet:
    """The controller's key, and the hosts that it opens."""

    def __init__(self, folder, hosts=("web1", "web2", "web3")):
        self.folder, self.hosts = folder, tuple(hosts)
        (folder / "controller").mkdir(mode=0o700)
        self.private = folder / "controller" / "id_ed25519"
        self.old = make_key(self.private, "automation@controller")
        self.servers = {host: Server(folder / host) for host in hosts}
        self.known = folder / "controller" / "known_hosts"
        self.known.write_text(
            "".join(f"[127.0.0.1]:{each.port} {' '.join(each.public.split()[:2])}\n" for each in self.servers.values())
        )
        for host, server in self.servers.items():
            server.authorized.write_text(f"# keys of {host}\n{OTHER}\n{self.old}\n")
            server.authorized.chmod(0o640)

    def start(self):
        for server in self.servers.values():
            server.start()

    def stop(self):
        for server in self.servers.values():
            server.stop()
            server.place.close()

    def mark(self, public=None):
        """The fingerprint of a public key, of the one at its place by default."""
        text = (
            public
            or subprocess.run(
                ["ssh-keygen", "-y", "-f", str(self.private)], check=True, capture_output=True, text=True
            ).stdout
        )
        return _lines.fingerprint(_lines.public(text, "")[1])

    def variables(self, host):
        return {
            "inventory_hostname": host, "ansible_host": "127.0.0.1", "ansible_port": self.servers[host].port, "ansible_user": USER,
            "ansible_ssh_private_key_file": str(self.private),
            "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={self.known} -o GlobalKnownHostsFile=/dev/null",
            "ansible_host_key_checking": True, "ansible_ssh_retries": 0,
            "ansible_python_interpreter": sys.executable,
        }  # fmt: skip

    def opens(self, private, host):
        """Whether a private key opens a host, by ssh itself."""
        return subprocess.run(
            ["ssh", "-F", "none", "-o", f"UserKnownHostsFile={self.known}", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes",
             "-o", "IdentityAgent=none", "-i", str(private), "-p", str(self.servers[host].port), f"{USER}@127.0.0.1", "true"],
            check=False, capture_output=True,
        ).returncode == 0  # fmt: skip

    def journal(self):
        document = json.loads((self.folder / "controller/state/ssh_pairs.json").read_text())
        return document["keys"][str(self.private)]

    def kept(self):
        return sorted(path for path in self.private.parent.glob("*.previous-*"))

    # --- The playbook ---

    def inventory(self, **more):
        document = {
            "all": {
                "vars": {
                    "runbooks_history_url": f"sqlite:///{self.folder}/history.db", "report_directory": str(self.folder / "reports"),
                    "report_fail_on": "never", "runbooks_controller_state_dir": str(self.folder / "controller/state"), **more,
                },
                "hosts": {
                    host: {
                        **{name: value for name, value in self.variables(host).items() if name != "inventory_hostname"},
                        "runbooks_ssh_keys_path": str(server.authorized), "runbooks_state_dir": str(self.folder / host / "state"),
                    }
                    for host, server in self.servers.items()
                },
            }
        }  # fmt: skip
        path = self.folder / "inventory.json"
        path.write_text(json.dumps(document))
        return path

    def argv(self, *arguments, **more):
        return [
            str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self.inventory(**more)),
            "sre.runbooks.rotate_ssh_keys", *arguments,
        ]  # fmt: skip

    def environment(self):
        return {
            **os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "ANSIBLE_LOCAL_TEMP": str(self.folder / "tmp"),
            "ANSIBLE_REMOTE_TEMP": str(self.folder / "remote"), "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".work/collections"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.folder / "cp"),
        }  # fmt: skip

    def play(self, *arguments, **more):
        done = subprocess.run(
            self.argv(*arguments, **more), check=False, env=self.environment(), cwd=CHECKOUT, capture_output=True, text=True,
            timeout=180,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def fleet(tmp_path):
    """Three hosts that answer; at the end none may be left that no key of the controller opens."""
    made = Fleet(tmp_path)
    made.start()
    yield made
    made.stop()


class Run:
    """The stages of the role in its order, without ansible-playbook; `before` says no to make a host away at a stage."""

    STAGES = ("status", "add", "prove", "rollback", "revoke")

    def __init__(self, fleet, before=lambda stage, host: True, hosts=None, **options):
        self.fleet, self.before = fleet, before
        self.hosts = tuple(hosts or fleet.hosts)
        self.said = {host: {} for host in self.hosts}
        self.run = f"run-{os.urandom(4).hex()}"
        self.asked = ssh_keyring.Asked(
            str(fleet.private), "automation", self.run, options.get("force", False), options.get("compromised", False),
            options.get("max_age", 180 * 86400.0), options.get("overlap", 86400.0), fleet.hosts, self.hosts,
            options.get("limited", False),
        )  # fmt: skip
        self.pair = []

    def controller(self, stage):
        if self.before(stage, "controller"):
            heard = ssh_heard.heard(self.said.__getitem__, self.hosts)
            lost = frozenset(host for host in self.hosts if self.said[host].get("lost"))
            heard = heard._replace(lost=heard.lost | lost)
            state = str(self.fleet.folder / "controller/state")
            self.pair.append(act(stage, self.asked, heard, state, "tests", False))
        return self.pair[-1]["facts"]

    def host(self, host, stage, **more):
        if self.said[host].get("lost"):
            return
        if not self.before(stage, host):
            self.said[host]["lost"] = True
            return
        arguments = {
            "stage": stage, "run": self.run, "path": str(self.fleet.servers[host].authorized),
            "state_dir": str(self.fleet.folder / host / "state"), **more,
        }  # fmt: skip
        output = io.StringIO()
        with patch_module_args(arguments), contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
            ssh_keys.main()
        self.said[host][f"__ssh_keys_{stage}_result"] = json.loads(output.getvalue())

    def prove(self, host, facts):
        if self.said[host].get("lost") or not self.before("prove", host):
            self.said[host]["lost"] = True
            return
        answer = ssh_proof.connect(
            PlayContext(), {"timeout": 10}, self.fleet.variables(host), facts["private_key"], None
        )
        good = answer.opened == facts["fingerprint"]
        report = {
            "seen": True, "proven": facts["fingerprint"] if good else "", "away": answer.away,
            "problem": "" if good else answer.problem or "another key",
        }  # fmt: skip
        self.said[host]["__ssh_keys_prove_result"] = {"report": report, "outcomes": []}

    def report(self, host, stage):
        return self.said[host].get(f"__ssh_keys_{stage}_result", {}).get("report", {})

    def go(self):
        """Do all stages; return the outcome of the controller and those of the hosts."""
        facts = self.controller("status")
        for host in self.hosts:
            self.host(host, "status", key=facts["key"])
        facts = self.controller("create")
        good = [host for host in self.hosts if self.report(host, "status").get("seen")]
        for host in good:
            if facts["fingerprint"] not in self.report(host, "status")["held"]:
                self.host(host, "add", key=facts["key"], beside=facts["beside"])
        for host in good:
            if facts["pending"] or facts["over"] or host in facts["with"]:
                self.prove(host, facts)
        facts = self.controller("decide")
        for host in good:
            if facts["given_up"]:
                self.host(host, "rollback", remove=facts["given_up"], beside=facts["beside"])
        for host in good:
            held = set(self.report(host, "status")["held"]) & set(facts["over_fingerprints"])
            if self.report(host, "prove").get("proven") == facts["fingerprint"] and held and not facts["pending"]:
                self.host(host, "revoke", key=facts["key"], remove=facts["over"])
        self.controller("finish")
        results = {
            host: outcomes([each for each in said.values() if isinstance(each, dict)])
            for host, said in self.said.items()
        }
        (whole,) = outcomes(self.pair)
        return whole, results
