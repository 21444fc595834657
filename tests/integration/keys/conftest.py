# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys of the reference application, a real service: as rows of its table, and through its admin API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.testing import patch_module_args

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from reference_app.process import Process

from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
from ansible_collections.sre.runbooks.plugins.module_utils._keys import _registry
from ansible_collections.sre.runbooks.plugins.module_utils._keys._provider import Work, fingerprint
from ansible_collections.sre.runbooks.plugins.modules import rotating_key

CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def application():
    """The reference application with its keys in SQLite; in memory, for it writes to its database at every one of very many calls."""
    with (
        tempfile.TemporaryDirectory(prefix="sre-runbooks-", dir="/dev/shm") as folder,
        Process(Path(folder), rate_limit=1_000_000) as process,
    ):
        yield process


@pytest.fixture
def run_command():
    """What AnsibleModule.run_command is to modules, of a real module."""
    from ansible.module_utils.basic import AnsibleModule

    with patch_module_args({}):
        return AnsibleModule({}).run_command


@pytest.fixture
def provider(run_command):
    """Read a provider's options as the module does; return its module, the options, and what it may use."""

    def go(name="reporting", label="reporting-20261121T100000Z-0a1b2c3d", **given):
        module = _registry.load(given.pop("type"))
        result = ArgumentSpecValidator(module.OPTIONS).validate(given)
        assert not result.error_messages, result.error_messages
        options = result.validated_parameters
        module.check(options, "keys.reporting.provider")
        return module, options, Work(Commands(run_command), name, label, None, time.monotonic() + 30)

    return go


class Fleet:
    """A host that makes keys and three that use them, as names of an inventory; the programs that use them run all the time."""

    HOSTS = ("web1", "web2", "web3")
    all_hosts = ("db1", *HOSTS)

    def __init__(self, folder, application, owner="reporting"):
        self.folder, self.application, self.name = folder, application, owner
        self.old = self.key_of(owner)
        self.programs = {}
        self.key = {
            "name": owner,
            "provider": {"host": "db1", **self.http()},
            "consumers": [
                {
                    "hosts": host,
                    "path": f"{folder}/{host}/.env",
                    "variable": "API_KEY",
                    "command": [f"{folder}/{host}/reload"],
                }
                for host in self.HOSTS
            ],
            "verify": {"type": "http", "url": f"{application.url}/api/v1/whoami", "within": "5s"},
        }

    def key_of(self, name):
        """A key made in the application itself, past the collection."""
        answer = self.application.admin("POST", "/auth/api-keys", {"name": name, "role": "ANALYST"})
        assert answer.status == 201
        return answer.body

    def http(self):
        return {
            "type": "http", "url": self.application.url, "headers": {"Authorization": f"Bearer {self.application.token}"},
            "create": {
                "path": "/auth/api-keys",
                "body": {"name": "{label}", "owner": "{name}", "role": "ANALYST", "expires_in_days": 90},
            },
            "revoke": {"path": "/auth/api-keys/{id}"},
            "list": {"path": "/auth/api-keys"},
        }  # fmt: skip

    def settled(self):
        """One key everywhere, which is the journal's; nothing pending; whatever else works is in its overlap."""
        journal = self.journal()
        (held,) = self.held()
        assert fingerprint(self.name, held) == journal["current"]["fingerprint"]
        assert self.accepted(held)
        assert not journal["pending"]
        assert sorted(map(str, self.alive())) == sorted(
            [journal["current"]["id"], *[each["id"] for each in journal["previous"]]]
        )
        return held

    def home(self, host):
        return self.folder / host

    def start(self):
        """Write the files, start the programs."""
        for host in self.HOSTS:
            home = self.home(host)
            home.mkdir()
            (home / ".env").write_text(f"# of {host}\nAPI_KEY={self.old['key']}\nOTHER=1\n")
            (home / ".env").chmod(0o640)
            program = subprocess.Popen(
                [
                    sys.executable, str(Path(__file__).with_name("consumer.py")), str(home / ".env"),
                    f"{self.application.url}/api/v1/whoami", str(home),
                ]
            )  # fmt: skip
            self.programs[host] = program
            # It ends when the program has read its file, as a reload of a unit does: a call with the old key that is still
            # under way would be refused when that is revoked at once.
            (home / "reload").write_text(
                f"#!/bin/sh -e\necho $$ >{home}/asked\nkill -HUP {program.pid}\n"
                f'until [ "$(cat {home}/read)" = $$ ]; do sleep 0.01; done\n'
            )
            (home / "reload").chmod(0o700)
        until(lambda: all((self.home(host) / "calls").exists() for host in self.HOSTS))

    def stop(self):
        for program in self.programs.values():
            program.kill()
            program.wait()

    def inventory(self, **more):
        """The inventory; `more` are variables of all hosts."""
        hosts = {host: {"runbooks_state_dir": str(self.home(host) / "state")} for host in self.HOSTS}
        (self.folder / "db1").mkdir(exist_ok=True)
        document = {
            "all": {
                "vars": {
                    "ansible_connection": "local", "ansible_python_interpreter": sys.executable,
                    "runbooks_history_url": f"sqlite:///{self.folder}/history.db", "report_directory": str(self.folder / "reports"),
                    "runbooks_keys_api": [self.key], "runbooks_system": "F11", "report_fail_on": "never", **more,
                },
                "children": {
                    "users": {"hosts": hosts},
                    "makers": {"hosts": {"db1": {"runbooks_state_dir": str(self.folder / "db1" / "state")}}},
                },
            }
        }  # fmt: skip
        path = self.folder / "inventory.json"
        path.write_text(json.dumps(document))
        return path

    def argv(self, *arguments, **more):
        return [
            str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self.inventory(**more)),
            "sre.runbooks.rotate_keys", *arguments,
        ]  # fmt: skip

    def environment(self):
        return {
            **os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "ANSIBLE_LOCAL_TEMP": str(self.folder / "tmp"),
            "ANSIBLE_REMOTE_TEMP": str(self.folder / "tmp"), "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".work/collections"),
        }  # fmt: skip

    def rotate(self, *arguments, **more):
        """Run the playbook; return what it printed."""
        done = subprocess.run(
            self.argv(*arguments, **more),
            check=False,
            env=self.environment(),
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def force(self, *arguments, **more):
        return self.rotate("-e", json.dumps({"key_rotation_force": [self.name]}), *arguments, **more)

    # --- What there is ---

    def held(self):
        """The keys in the files of all hosts."""
        return {(self.home(host) / ".env").read_text().partition("API_KEY=")[2].split("\n")[0] for host in self.HOSTS}

    def accepted(self, key):
        return self.application.call("GET", "/api/v1/whoami", token=key).status == 200

    def alive(self):
        """The ids of the keys that work, of those that are this fleet's."""
        listed = self.application.admin("GET", "/auth/api-keys").body
        return [each["id"] for each in listed if each["name"].startswith(self.name) and each["revoked_at"] is None]

    def refused(self):
        """The calls of the programs that were refused so far."""
        paths = [self.home(host) / "refused" for host in self.HOSTS]
        return [line for path in paths if path.exists() for line in path.read_text().splitlines()]

    def journal(self):
        return json.loads((self.folder / "db1/state/keys.json").read_text())["keys"][self.name]

    def audit(self, host="db1"):
        path = self.home(host) / "state/keys_audit.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def fleet(tmp_path, application):
    """A fleet whose programs run, of whose calls none may ever have been refused."""
    made = Fleet(tmp_path, application, f"reporting-{os.urandom(3).hex()}")
    made.start()
    yield made
    refused = made.refused()
    made.stop()
    assert not refused


@pytest.fixture
def call(capsys, tmp_path):
    """Call sre.runbooks.rotating_key in this process and return its result."""

    def go(check=False, **arguments):
        arguments = {"state_dir": str(tmp_path / "state"), "run": "r1", **arguments, "_ansible_check_mode": check}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            rotating_key.main()
        return json.loads(capsys.readouterr().out)

    return go
