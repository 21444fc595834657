# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ends a program that runs too long, and everything that it started.

A thread does what the program `timeout` does, which would be one more process to start for each command.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import typing as t

GRACE_SECONDS = 5.0


class Watchdog:
    """A context in which one program may run for `seconds` (None: as long as it likes).

    At the end of that time the program and its descendants get SIGTERM, and after `GRACE_SECONDS` SIGKILL; where the program
    leads a session, so do all of that session. `barked` tells that it came to that.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._over = threading.Event()
        self._timer: threading.Timer | None = None
        self.barked = False

    def watch(self, process: t.Any) -> None:
        """The time of `process`, a Popen object, begins."""
        if self._seconds is not None:
            self._timer = threading.Timer(self._seconds, self._bark, [process])
            self._timer.daemon = True
            self._timer.start()

    def __enter__(self) -> Watchdog:
        return self

    def __exit__(self, *_ignored: object) -> None:
        if self._timer is not None:
            self._over.set()
            self._timer.cancel()
            if self.barked:
                self._timer.join()

    def _bark(self, process: t.Any) -> None:
        if process.poll() is not None:
            return
        self.barked = True
        family = {process.pid: _started(process.pid), **_descendants(process.pid)}
        _send(signal.SIGTERM, family)
        self._over.wait(GRACE_SECONDS)
        # A child that came while the others were told is found below those that still live.
        for pid in list(family):
            family.update(_descendants(pid))
        _send(signal.SIGKILL, family)


def _send(number: signal.Signals, family: t.Mapping[int, str]) -> None:
    """Signal each process that is still the one it was; one of another user (below sudo) has to end by its own limit."""
    for pid, started in family.items():
        if started and _started(pid) == started:
            with contextlib.suppress(OSError):
                os.kill(pid, number)


def _descendants(ancestor: int) -> dict[int, str]:
    """Process ids below `ancestor` and in the session that it leads, each with the time at which it started.

    One whose parent has ended is no descendant any more, but still of the session.
    """
    children: dict[str, list[int]] = {}
    session: list[int] = []
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        stat = _stat(pid)
        children.setdefault(stat[1], []).append(pid)
        if stat[3] == str(ancestor) and pid != ancestor:
            session.append(pid)
    found = {pid: _started(pid) for pid in session}
    todo = [ancestor, *session]
    while todo:
        for pid in children.get(str(todo.pop()), ()):
            if pid not in found:
                found[pid] = _started(pid)
                todo.append(pid)
    return found


def _started(pid: int) -> str:
    """When it started, in clock ticks since boot; empty when there is no such process."""
    return _stat(pid)[19]


def _stat(pid: int) -> list[str]:
    """The fields of proc_pid_stat(5) after the program's name: state, parent, …, the start time as number 19."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            return stream.read().rpartition(b")")[2].decode("ascii").split()
    except OSError:
        return [""] * 20
