# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forty hosts to measure on, and how to run programs against them."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
FOLDER = CHECKOUT / ".work/lab/benchmarks"
HOSTS = FOLDER / "hosts.yml"
INVENTORY = [f"--inventory={HERE}/inventory", f"--inventory={HOSTS}"]
FORKS = "20"


@contextlib.contextmanager
def lab(keep: bool) -> Iterator[None]:
    """Have the hosts; with `keep` they are left for the next call, and taken as they are when they are there."""
    if not HOSTS.exists() or "bench1" not in HOSTS.read_text(encoding="utf-8"):
        FOLDER.mkdir(parents=True, exist_ok=True)
        HOSTS.write_text("{}\n", encoding="utf-8")
        _must(CHECKOUT / "tests/lab/create.yml")
        _must(HERE / "prepare.yml")
    try:
        with _connections():
            yield
    finally:
        if not keep:
            _must(CHECKOUT / "tests/lab/destroy.yml")


@contextlib.contextmanager
def _connections() -> Iterator[None]:
    """A folder for the sockets of SSH connections that stay open between playbooks, as Ansible keeps them by default.

    They live for longer than Ansible's minute: a playbook measured after a long one shall not have to connect again.
    Afterwards they are closed.
    """
    sockets = Path(tempfile.mkdtemp(prefix="ssh-"))
    os.environ["ANSIBLE_SSH_CONTROL_PATH_DIR"] = str(sockets)
    os.environ["ANSIBLE_SSH_ARGS"] = "-C -o ControlMaster=auto -o ControlPersist=15m"
    try:
        yield
    finally:
        for socket in sockets.iterdir():
            subprocess.run(["ssh", "-O", "exit", "-S", str(socket), "any"], capture_output=True, check=False)
        shutil.rmtree(sockets, ignore_errors=True)


def playbook(name: str, *arguments: str) -> float:
    """Run a playbook on all names and return how many seconds it took."""
    return timed(["ansible-playbook", *INVENTORY, name, *arguments])


def mitogen(name: str) -> float:
    """Run a playbook under Mitogen's strategy as the execution environment has it: ansible-core and this collection.

    Mitogen reads the metadata of all collections that are installed, for each task of each host; the hundred that
    come with the package `ansible` would cost more than the task. It also shares a connection between the names of one
    address, so the ten names of a host have one port. The interpreter is named, as docs/performance.md tells its users:
    looking for it costs more than all else.
    """
    strategy = next(_core_environment().glob("lib/python3*/site-packages/ansible_mitogen/plugins/strategy"))
    environment = {"ANSIBLE_STRATEGY": "mitogen_linear", "ANSIBLE_STRATEGY_PLUGINS": str(strategy)}
    # One multiplexer, as docs/performance.md advises for a small controller.
    environment["MITOGEN_CPU_COUNT"] = "1"
    program = str(_core_environment() / "bin/ansible-playbook")
    inventory = [INVENTORY[0], f"--inventory={_one_port_a_host()}"]
    return timed([program, *inventory, name, "--extra-vars=ansible_python_interpreter=/usr/bin/python3"], environment)


def timed(argv: list[str], environment: dict[str, str] | None = None) -> float:
    """Run a program that has to succeed, and return how many seconds it took."""
    variables = {
        **os.environ,
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_FORKS": FORKS,
        **(environment or {}),
    }
    started = time.monotonic()
    done = subprocess.run(argv, env=variables, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    if done.returncode:
        sys.exit(f"{' '.join(argv)}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}")
    return seconds


def _must(path: Path) -> None:
    done = subprocess.run(["ansible-playbook", *INVENTORY, str(path)], cwd=CHECKOUT, stdout=sys.stderr, check=False)
    if done.returncode:
        sys.exit(f"{path} failed")


def _core_environment() -> Path:
    environment = CHECKOUT / ".work/venv-core"
    if not (environment / "done").exists():
        installed = importlib.metadata.version("ansible-core")
        python = environment / "bin/python"
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        wanted = [f"ansible-core=={installed}", f"mitogen=={importlib.metadata.version('mitogen')}"]
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *wanted], stdout=sys.stderr, check=True)
        (environment / "done").touch()
    return environment


def _one_port_a_host() -> Path:
    inventory = yaml.safe_load(HOSTS.read_text(encoding="utf-8"))
    names = inventory["all"]["children"]["lab_names"]["hosts"]
    for name, variables in names.items():
        variables["ansible_port"] = names[name.split("_")[0]]["ansible_port"]
    path = FOLDER / "names" / "hosts.yml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(inventory), encoding="utf-8")
    return path
