# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Users of the reference application, a real service, through its admin API."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from reference_app.process import Process

from ansible_collections.sre.runbooks.plugins.modules import access_review


@pytest.fixture(scope="session")
def process(tmp_path_factory):
    """The reference application."""
    with Process(tmp_path_factory.mktemp("application"), rate_limit=1_000_000) as started:
        yield started


class Access:
    """The application with no enabled user but those of a test, and how it stands in an inventory."""

    def __init__(self, process):
        self.process = process

    def users(self):
        """Enabled users with their roles."""
        return {each["username"]: each["role"] for each in self.all() if not each["disabled"]}

    def all(self):
        return self.process.admin("GET", "/auth/users").body

    def add(self, name, role="VIEWER"):
        answer = self.process.admin("POST", "/auth/users", {"username": name, "role": role, "email": ""})
        if answer.status == 409:
            (known,) = [each for each in self.all() if each["username"] == name]
            self.process.admin("PUT", f"/auth/users/{known['id']}/enable")
            self.process.admin("PUT", f"/auth/users/{known['id']}/role", {"role": role})
            return known["id"]
        assert answer.status == 201
        return answer.body["id"]

    def service(self, users=(), **more):
        return {
            "name": "app", "url": self.process.url, "headers": {"Authorization": f"Bearer {self.process.token}"}, "acts_as": "",
            "timeout": "10s", "list": {"path": "/auth/users"},
            "create": {"path": "/auth/users", "body": {"username": "{name}", "email": "{email}", "role": "{role}"}},
            "role": {"path": "/auth/users/{id}/role", "body": {"role": "{role}"}},
            "disable": {"path": "/auth/users/{id}/disable"}, "enable": {"path": "/auth/users/{id}/enable"},
            "limits": {"users": 10, "percent": 100}, "users": list(users), **more,
        }  # fmt: skip


@pytest.fixture
def access(process):
    """The application; users of earlier tests are disabled."""
    made = Access(process)
    for each in made.all():
        if not each["disabled"]:
            process.admin("PUT", f"/auth/users/{each['id']}/disable")
    return made


@pytest.fixture
def review(capsys, tmp_path):
    """Call sre.runbooks.access_review in this process; return its result."""

    def go(*services, check=False, **more):
        arguments = {
            "services": list(services), "state_dir": str(tmp_path / "state"), **more, "_ansible_check_mode": check, "_ansible_diff": True,
        }  # fmt: skip
        with patch_module_args(arguments), pytest.raises(SystemExit):
            access_review.main()
        return json.loads(capsys.readouterr().out)

    return go


class Wire:
    """A way to the application that ends, or answers itself, when the function `answers` says so."""

    def __init__(self, target, answers):
        self.target, self.answers, self.requests = target, answers, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                came, _address = self.listener.accept()
                with came:
                    self.one(came)

    def one(self, came):
        data = b""
        while b"\r\n\r\n" not in data:
            data += came.recv(65536)
        head, _end, body = data.partition(b"\r\n\r\n")
        length = [
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
        ]
        while length and len(body) < length[0]:
            body += came.recv(65536)
        line = head.split(b"\r\n")[0].decode()
        self.requests.append(line)
        own = self.answers(line, len(self.requests))
        if own is None:
            with socket.create_connection(("127.0.0.1", self.target)) as there:
                there.sendall(head + b"\r\n\r\n" + body)
                while piece := there.recv(65536):
                    came.sendall(piece)
        elif own:
            came.sendall(own)


@pytest.fixture
def wire(process):
    """Make a way to the application."""
    made = []

    def go(answers):
        made.append(Wire(int(process.url.rpartition(":")[2]), answers))
        return made[-1]

    yield go
    for each in made:
        each.listener.close()
