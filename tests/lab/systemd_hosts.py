# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts of the lab for one file of tests: containers that systemd has booted, reached by podman, without a network but loopback."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
LIMITS = ["--cgroups=disabled", "--network=none", "--ulimit=nofile=20000:20000", "--ulimit=nproc=1000:1000"]
# The first who needs the image builds it; others wait for that.
BUILD_SECONDS = 1800
BOOTED = 'until systemctl is-system-running --wait; do [ "$(systemctl is-system-running)" != degraded ] || exit 1; sleep 0.2; done'


def in_lab(
    *argv: str | Path, check: bool = True, data: str | None = None, timeout: float = 600, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a program where podman works on this machine."""
    return subprocess.run(
        [HERE / "enter", *argv], check=check, text=True, capture_output=True, timeout=timeout, input=data,
        cwd=CHECKOUT, env={**os.environ, "ANSIBLE_NOCOLOR": "1", **environment},
    )  # fmt: skip


class Hosts:
    """A context in which hosts with these names run."""

    def __init__(self, *names: str) -> None:
        mark = secrets.token_hex(4)
        self.containers = {name: f"sre-runbooks-{mark}-{name}" for name in names}

    def __enter__(self) -> Hosts:
        image = in_lab(HERE / "image", timeout=BUILD_SECONDS).stdout.strip()
        try:
            for name, container in self.containers.items():
                run = ["podman", "run", "--detach", f"--name={container}", f"--hostname={name}", "--systemd=always"]
                in_lab(*run, *LIMITS, image, "/sbin/init")
            for name in self.containers:
                self.shell(name, BOOTED)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_ignored: object) -> None:
        in_lab("podman", "rm", "--force", "--time=0", *self.containers.values(), check=False)

    def shell(self, name: str, script: str, data: str | None = None, check: bool = True) -> str:
        """Run a shell script on a host as root; return what it printed."""
        argv = ["podman", "exec", "--interactive", self.containers[name], "sh", "-euc", script]
        done = in_lab(*argv, data=data, check=False)
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def write(self, name: str, path: str, text: str) -> None:
        """Write a file of a host; anybody may run it."""
        self.shell(name, f'mkdir -p "$(dirname {path})"; cat > {path}; chmod 755 {path}', data=text)

    def variables(self, name: str) -> dict[str, Any]:
        """How Ansible reaches a host."""
        return {
            "ansible_connection": "containers.podman.podman",
            "ansible_host": self.containers[name],
            "ansible_python_interpreter": "/usr/bin/python3",
        }

    def play(self, program: Path, arguments: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        """Run ansible-playbook where its connections find the hosts."""
        return in_lab(program, *arguments, check=False)


def inventory(path: Path, hosts: dict[str, dict[str, Any]], variables: dict[str, Any]) -> Path:
    """Write an inventory of these hosts."""
    path.write_text(json.dumps({"all": {"hosts": hosts, "vars": variables}}))
    return path
