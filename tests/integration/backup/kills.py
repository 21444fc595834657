# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""kill -9 of the module at random moments, often: a process that has imported everything forks one for each run."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import hashlib
import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .conftest import ENVIRONMENT, copies, wait_for

STAMP = "%Y%m%dT%H%M%SZ"

PARENT = """
import json, os, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sre.runbooks.plugins.module_utils._backup import _registry
from ansible_collections.sre.runbooks.plugins.modules import backup
for name in _registry.NAMES:
    _registry.load(name)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
        with patch_module_args(json.loads(line)):
            backup.main()
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


class Killer:
    """Runs the module with `options` in processes of their own."""

    def __init__(self, options: dict) -> None:
        self.options = json.dumps(options)
        self.locks = Path(options["directory"]) / ".locks"
        self.chance = random.Random(4)
        descriptor, name = tempfile.mkstemp(prefix="sre-runbooks-")
        os.close(descriptor)
        self.said = Path(name)
        self.parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, name],
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Killer:
        self.seconds = self.whole()
        return self

    def __exit__(self, *_ignored: object) -> None:
        self.parent.stdin.close()
        self.parent.wait()
        self.said.unlink()

    def whole(self) -> float:
        """One run to its end, which has to make a copy; how long it took."""
        took = self.run(None)[1]
        said = self.said.read_text(encoding="utf-8")
        assert json.loads(said)["status"] in ("ok", "warning"), said
        return took

    def run(self, after: float | None) -> tuple[bool, float]:
        """One run, killed after so many seconds if it still runs then; whether it was, and how long it took."""
        begun = time.monotonic()
        self.parent.stdin.write(self.options + "\n")
        self.parent.stdin.flush()
        child = int(self.parent.stdout.readline())
        if after is not None and not select.select([self.parent.stdout.fileno()], [], [], after)[0]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        killed, took = int(self.parent.stdout.readline()) == signal.SIGKILL, time.monotonic() - begun
        if killed:
            # A program that it was just starting shares its locks until that runs; a next run waits for a second only.
            wait_for(lambda: all(unlocked(path) for path in self.locks.glob("*.lock")))
        return killed, took

    def kill(self, times: int):
        """Kill so many runs, each at a random moment of as long as the first one took; yields after each."""
        killed = 0
        while killed < times:
            hit, took = self.run(self.chance.uniform(0.0, self.seconds))
            if hit:
                killed += 1
                yield killed
            else:
                # The machine may have less to do than it had.
                self.seconds = (self.seconds + took) / 2


def unlocked(path: Path) -> bool:
    """Whether nobody holds the lock."""
    with path.open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def sound(store: Path, name: str) -> int:
    """Every copy is whole: what has a manifest has the checksum in it; how many there are."""
    found = copies(store, name)
    for path, manifest in found:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == manifest["sha256"], path
    return len(found)


def age(store: Path, name: str) -> None:
    """Make the copies of today seem old: a second one within a second would have to wait, and be killed only there."""
    found = copies(store, name)
    old = [path for path, _manifest in found if path.name.startswith(f"{name}_2020")]
    last = old[-1].name.removeprefix(f"{name}_").split(".")[0] if old else "20200101T000000Z"
    moment = datetime.datetime.strptime(last, STAMP)
    for path, manifest in found:
        if path in old:
            continue
        moment += datetime.timedelta(seconds=1)
        aged = path.with_name(f"{name}_{moment.strftime(STAMP)}.{path.name.split('.', 1)[1]}")
        path.with_name(path.name + ".manifest.json").unlink()
        path.rename(aged)
        aged.with_name(aged.name + ".manifest.json").write_text(json.dumps({**manifest, "file": aged.name}))
