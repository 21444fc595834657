# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module maintenance, called as Ansible calls it, on the reference application and a real Alertmanager."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from reference_app.process import Process

from ansible_collections.sre.runbooks.plugins.modules import maintenance

from ..conftest import free_port

CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def service(tmp_path_factory):
    """The reference application, for all tests."""
    with Process(tmp_path_factory.mktemp("application")) as process:
        yield process


@pytest.fixture
def application(service):
    """The reference application, open."""
    service.admin("DELETE", "/admin/maintenance-mode")
    return service


def is_on(application):
    """Whether the application is in maintenance."""
    return application.admin("GET", "/admin/maintenance-mode").body["maintenance"]


def http(application, **more):
    """The switch of the application."""
    headers = {"Authorization": f"Bearer {application.token}"}
    return {"kind": "http", "url": f"{application.url}/admin/maintenance-mode", "headers": headers, **more}


class Host:
    """A host with its state folder: calls the module, and knows the keepers of its leases."""

    def __init__(self, folder):
        self.folder, self.state_dir = folder, folder / "state"
        self.flag = folder / "flag"

    def switch(self, **more):
        """A flag file."""
        return {"kind": "file", "path": str(self.flag), **more}

    def arguments(self, state, **options):
        return {"state": state, "owner": "ops", "state_dir": str(self.state_dir), **options}

    def keepers(self):
        """Process ids of what ends the leases here."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if (
                    entry.name.isdigit()
                    and str(self.state_dir / "maintenance/keeper.pyz").encode() in (entry / "cmdline").read_bytes()
                ):
                    found.append(int(entry.name))
        return found

    def kill_keepers(self):
        for process in self.keepers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        until(lambda: not self.keepers())

    def lease(self, name="maintenance"):
        """What is kept of it; None when there is none."""
        path = self.state_dir / "maintenance" / f"{name}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def events(self):
        path = self.state_dir / "maintenance.json"
        return [each["event"] for each in json.loads(path.read_text())["events"]] if path.exists() else []


@pytest.fixture
def host(tmp_path):
    made = Host(tmp_path)
    yield made
    made.kill_keepers()


@pytest.fixture
def run(capsys, host):
    """Call the module; return its result."""

    def go(state, **options):
        with patch_module_args(host.arguments(state, **options)), pytest.raises(SystemExit):
            maintenance.main()
        return json.loads(capsys.readouterr().out)

    return go


def until(condition, seconds=10.0):
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


class Alertmanager:
    """A running one."""

    def __init__(self, folder):
        program = shutil.which("prometheus-alertmanager")
        assert program, "install the package prometheus-alertmanager"
        self.url = f"http://127.0.0.1:{free_port()}"
        config = folder / "alertmanager.yml"
        config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
        self.argv = [
            program, f"--config.file={config}", f"--storage.path={folder}/data", "--cluster.listen-address=",
            f"--web.listen-address={self.url[7:]}",
        ]  # fmt: skip
        self.log = folder / "log"

    @contextlib.contextmanager
    def running(self):
        with self.log.open("wb") as log:
            process = subprocess.Popen(self.argv, stdout=log, stderr=log)
        try:
            until(self._ready)
            yield self
        finally:
            process.terminate()
            process.wait()

    def _ready(self):
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"{self.url}/-/ready").status == 200
        return False

    def silences(self):
        """Those that are not over."""
        with urllib.request.urlopen(f"{self.url}/api/v2/silences") as answer:
            return [each for each in json.load(answer) if each["status"]["state"] != "expired"]

    def alert(self, **labels):
        """Raise an alert; return whether it is silenced."""
        body = json.dumps([{"labels": {"alertname": "Down", **labels}}]).encode()
        request = urllib.request.Request(
            f"{self.url}/api/v2/alerts", body, {"Content-Type": "application/json"}, method="POST"
        )
        urllib.request.urlopen(request).close()
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts") as answer:
            return next(
                bool(each["status"]["silencedBy"])
                for each in json.load(answer)
                if labels.items() <= each["labels"].items()
            )


@pytest.fixture(scope="session")
def alerts(tmp_path_factory):
    with Alertmanager(tmp_path_factory.mktemp("alertmanager")).running() as running:
        yield running
