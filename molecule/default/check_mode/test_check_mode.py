# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A daily run in check mode, before the first real one, leaves every file of every host as it was."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import testinfra

LAB = Path(__file__).resolve().parents[3] / ".work/lab/molecule"
HOSTS = ("resources1", "models1")

#: Lists what lies on the host: type, mode, owner, target or content. Run there, so it is text.
LISTING = r"""
import hashlib, json, os, stat

# The kernel's and volatile folders; then what changes by itself while nobody does anything: journals (every command
# is in them), the database servers' own files (a SELECT writes there too), the log and the database of the running
# service (health is asked for), the login records of SSH.
EXCLUDED = ("/proc", "/sys", "/run", "/tmp", "/dev", "/var/log/journal", "/var/lib/postgresql", "/var/log/postgresql",
            "/var/lib/redis", "/var/log/redis", "/var/log/wtmp", "/var/log/lastlog", "/var/lib/systemd/timers")
LIVING = ("/opt/feature11/logs", "/opt/ghosteam/logs", "/opt/feature11/data")
# SQLite's own, which come and go with the connections of the running service.
COMPANIONS = (".db-wal", ".db-shm", ".db-journal")

def entry(path):
    status = os.lstat(path)
    what = [stat.filemode(status.st_mode), status.st_uid, status.st_gid]
    living = os.path.dirname(path) in LIVING and (path.endswith((".log", ".jsonl")) or ".db" in path)
    if stat.S_ISLNK(status.st_mode):
        what.append(os.readlink(path))
    elif stat.S_ISREG(status.st_mode) and not living:
        with open(path, "rb") as file:
            what += [status.st_mtime_ns, hashlib.sha256(file.read()).hexdigest()]
    return what

found = {}
for folder, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(folder, name) not in EXCLUDED]
    for name in folders + files:
        path = os.path.join(folder, name)
        if path not in EXCLUDED and not (folder in LIVING and name.endswith(COMPANIONS)):
            found[path.encode(errors="surrogateescape").decode("latin-1")] = entry(path)
print(json.dumps(found))
"""


def listing(host: Any) -> dict[str, Any]:
    program = base64.b64encode(LISTING.encode()).decode()
    found: dict[str, Any] = json.loads(host.check_output(f"echo {program} | base64 -d | python3 -"))
    return found


def controller() -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in LAB.rglob("*")}


@pytest.fixture(scope="module")
def trees(daily: Callable[..., Any]) -> tuple[dict[str, Any], dict[str, Any], Any]:
    hosts = {name: testinfra.get_host(f"ansible://{name}") for name in HOSTS}
    # The first connection makes what every connection makes, once.
    for host in hosts.values():
        host.check_output("true")
    before: dict[str, Any] = {name: listing(host) for name, host in hosts.items()}
    before["controller"] = controller()
    run = daily("--check", "--diff")
    after: dict[str, Any] = {name: listing(host) for name, host in hosts.items()}
    after["controller"] = controller()
    return before, after, run


@pytest.mark.parametrize("name", [*HOSTS, "controller"])
def test_no_file_differs(trees: Any, name: str) -> None:
    before, after, _run = trees
    assert len(before[name]) > (1000 if name in HOSTS else 1)
    differing = sorted(
        path for path in before[name].keys() | after[name].keys() if before[name].get(path) != after[name].get(path)
    )
    assert differing == []


def test_every_stage_ran_and_would_change_something(trees: Any) -> None:
    run = trees[2]
    assert run.returncode == 0, run.stderr
    for name in HOSTS:
        stats = run.output["stats"][name]
        assert stats["failures"] == stats["rescued"] == 0
        assert stats["changed"] >= 2, "a backup is due and old logs are there"
