# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program that ends a lease, whoever else is gone by then: `python -I keeper.pyz <state folder> <name> [--detach]`.

It runs from an archive in the state folder (`_start`), with the standard library alone, as a unit of systemd or as a process on its own. It
follows renewals, ends when the lease is gone, and tries until the mode is off.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import lock
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import Busy, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._maintenance import _lease
from ansible_collections.sre.runbooks.plugins.module_utils._maintenance._switch import Work

LOOK_SECONDS = 1.0
SWITCH_SECONDS = 120.0
LOCK_SECONDS = 30.0
PAUSES = (1.0, 5.0, 15.0, 30.0, 60.0)
OUTPUT_BYTES = 65536
READY = b"."
UNITS = "/etc/systemd/system"


def unit(name: str) -> str:
    """The unit of systemd that keeps the lease `name`."""
    return f"sre-runbooks-maintenance-{name}.service"


def alive(state_dir: str, name: str) -> bool:
    """Whether a keeper is there: it holds a lock for as long as it lives."""
    return lock.held(_lease.folder(state_dir), f"{name}.keeper")


def main() -> None:
    """Keep the lease that the arguments name."""
    state_dir, name = sys.argv[1:3]
    if sys.argv[3:] == ["--detach"]:
        _detach(state_dir, name)
    else:
        _keep(state_dir, name, is_unit=sys.argv[3:] == ["--unit"])


def _detach(state_dir: str, name: str) -> None:
    """Let a grandchild without terminal, session and open files keep it; end when it does."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        os.waitpid(child, 0)
        with os.fdopen(reading, "rb") as stream:
            os._exit(0 if stream.read() == READY else 1)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    for number in {int(each) for each in os.listdir("/proc/self/fd")} - {0, 1, 2, writing}:
        try:
            os.close(number)
        except OSError:
            pass  # the one with which the folder was read
    _keep(state_dir, name, writing)


def _keep(state_dir: str, name: str, ready: int | None = None, is_unit: bool = False) -> None:
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(lock.hold(_lease.folder(state_dir), f"{name}.keeper", 3))
        except Busy:
            return  # another keeper is there
        if ready is not None:
            os.write(ready, READY)
            os.close(ready)
        failed = 0
        while not _over(state_dir, name, held, is_unit):
            renewed = _pause(state_dir, name, PAUSES[min(failed, len(PAUSES) - 1)])
            failed = 0 if renewed else failed + 1


def _pause(state_dir: str, name: str, seconds: float) -> bool:
    """Wait before the next attempt; return at once when the lease is gone or was renewed, and whether it was: its end is another one."""
    until = time.monotonic() + seconds
    while (rest := until - time.monotonic()) > 0:
        time.sleep(min(rest, LOOK_SECONDS))
        with contextlib.suppress(RunbookError):
            lease = _lease.load(state_dir, name)
            if not lease or _lease.left(lease) > 0:
                return bool(lease)
    return False


def _over(state_dir: str, name: str, held: contextlib.ExitStack, is_unit: bool) -> bool:
    """Wait for the end of the lease; return whether all is done, and nobody takes this process for a keeper any more."""
    try:
        while (lease := _lease.load(state_dir, name)) and (seconds := _lease.left(lease)) > 0:
            time.sleep(min(seconds, LOOK_SECONDS))
        with _lease.hold(state_dir, LOCK_SECONDS):
            # It may have been renewed meanwhile.
            lease = _lease.load(state_dir, name)
            if lease and (_lease.left(lease) > 0 or not _ended(state_dir, lease)):
                return False
            if is_unit:
                _forget_unit(name)
            # Who begins a lease looks for a keeper while it has the folder's lock.
            held.close()
            return True
    except RunbookError as error:
        _say(error)
        return False


def _ended(state_dir: str, lease: _lease.Lease) -> bool:
    """Switch off; where that fails it is kept in the lease for whoever looks."""
    try:
        _lease.release(state_dir, lease, "expired", Work(run, time.monotonic() + SWITCH_SECONDS))
    except RunbookError as error:
        _say(error)
        lease["problem"] = str(error)
        _lease.save(state_dir, lease)
        return False
    return True


def _say(error: Exception) -> None:
    """For the journal of systemd; a process of its own says it to nobody."""
    sys.stderr.write(f"{error}\n")
    sys.stderr.flush()


def run(argv: t.Sequence[str], seconds: float) -> tuple[int, str]:
    """Run a program of the site, at most so long, in a session of its own that ends with it; return exit status and output."""
    with tempfile.TemporaryFile() as output:
        if not os.access(argv[0], os.X_OK):
            raise RunbookError(f"{argv[0]}: cannot be started: it is no program that may be run here")
        child = _start(argv, output.fileno())
        deadline = time.monotonic() + seconds
        while not (done := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                raise RunbookError(f"{argv[0]} did not end within {seconds:g} s")
            time.sleep(0.05)
        output.seek(0)
        return os.WEXITSTATUS(done[1]) if os.WIFEXITED(done[1]) else 128, output.read(OUTPUT_BYTES).decode(
            errors="replace"
        )


def _start(argv: t.Sequence[str], output: int) -> int:
    """Start a program in a process group of its own, without input, with its output in the file `output`; return its id."""
    child = os.fork()
    if child:
        # Here too: whoever comes first.
        with contextlib.suppress(OSError):
            os.setpgid(child, child)
        return child
    try:
        os.setpgid(0, 0)
        for number, source in enumerate((os.open(os.devnull, os.O_RDONLY), output, output)):
            os.dup2(source, number)
        environment = {"PATH": os.environ.get("PATH") or os.defpath, "LC_ALL": "C.UTF-8"}
        os.execve(argv[0], list(argv), environment)  # noqa: S606 - a list, no shell is wanted
    except OSError as error:
        _say(error)
    finally:
        # Reached only where nothing could be started: this is a copy of the keeper, which must not go on.
        os._exit(127)


def _forget_unit(name: str) -> None:
    """Remove the unit that brings this up after a boot; what stays of it finds no lease then."""
    try:
        run([shutil.which("systemctl") or "/bin/systemctl", "disable", "--quiet", "--", unit(name)], 30)
        os.unlink(os.path.join(UNITS, unit(name)))
    except (RunbookError, OSError) as error:
        _say(error)


if __name__ == "__main__":
    main()
