# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service as a plain process in one folder, for the demo and the tests; standard library only."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PACKAGE_FOLDER = Path(__file__).resolve().parent.parent
START_SECONDS = 30
STOP_SECONDS = 15


class StartError(RuntimeError):
    """The service did not start; the message holds what it printed."""


@dataclass
class Answer:
    """An answer: `body` is the decoded JSON, or the text where it is none."""

    status: int
    body: Any


class Process:
    """One service with its data, logs, token and port file below `folder`."""

    def __init__(
        self,
        folder: Path,
        name: str = "feature11",
        database_url: str | None = None,
        python: str = sys.executable,
        **settings: Any,
    ) -> None:
        self.folder, self.name, self.python = folder, name, python
        self.database, self.log_dir = folder / "data" / f"{name}.db", folder / "logs"
        self.port_file, self.pid_file, self.token_file = folder / "port", folder / "pid", folder / "admin_token"
        self._output = folder / "output.log"
        self._child: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        if not self.token_file.exists():
            self.token_file.touch(mode=0o600)
            self.token_file.write_text(secrets.token_urlsafe(32) + "\n", encoding="ascii")
        given = {
            "name": name,
            "port": 0,
            "port_file": self.port_file,
            "database_url": database_url or f"sqlite:///{self.database}",
            "log_dir": self.log_dir,
            "admin_token_file": self.token_file,
            **settings,
        }
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("REFERENCE_APP_")}
        self._environment = {
            **inherited,
            "PYTHONPATH": str(_PACKAGE_FOLDER),
            **{f"REFERENCE_APP_{key.upper()}": str(value) for key, value in given.items()},
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port_file.read_text(encoding='ascii').strip()}"

    @property
    def token(self) -> str:
        return self.token_file.read_text(encoding="ascii").strip()

    @property
    def pid(self) -> int:
        assert self._child is not None, "the service was not started"
        return self._child.pid

    def run(self, *arguments: str) -> None:
        """Run the program to its end, to seed for instance; raises CalledProcessError."""
        subprocess.run([self.python, "-m", "reference_app", *arguments], env=self._environment, check=True)

    def start(self) -> None:
        """Start the service and wait until it is healthy; raises StartError."""
        self.port_file.unlink(missing_ok=True)
        with self._output.open("wb") as output:
            self._child = subprocess.Popen(
                [*_die_with_parent(), self.python, "-m", "reference_app"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.pid_file.write_text(f"{self.pid}\n", encoding="ascii")
        deadline = time.monotonic() + START_SECONDS
        while not self._is_healthy():
            if self._child.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise StartError(f"{self.name} did not start: {self._output.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> int:
        """End the service by SIGTERM, by SIGKILL if it stays, and return its exit status."""
        if self._child is None:
            return 0
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        self.pid_file.unlink(missing_ok=True)
        return self._child.returncode

    def call(self, method: str, path: str, body: Any = None, token: str | None = None, timeout: float = 10) -> Answer:
        """Make one request; raises URLError or TimeoutError when there is no answer."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return Answer(response.status, _decoded(response.read()))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _decoded(error.read()))

    def admin(self, method: str, path: str, body: Any = None) -> Answer:
        """Make one request with the admin token."""
        return self.call(method, path, body, self.token)

    def _is_healthy(self) -> bool:
        try:
            return self.port_file.exists() and self.call("GET", "/health").status == 200
        except OSError:
            return False

    def __enter__(self) -> Process:
        self.start()
        return self

    def __exit__(self, *_ignored: object) -> None:
        self.stop()


def _die_with_parent() -> list[str]:
    """Have the kernel end the service when who started it is killed."""
    program = shutil.which("setpriv")
    return [program, "--pdeathsig", "TERM"] if program else []


def _decoded(raw: bytes) -> Any:
    text = raw.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except ValueError:
        return text
