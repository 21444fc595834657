# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was done, as JSON lines for log collectors and C(sre.runbooks.log_scan); the keys are in docs/metrics.md."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import typing as t
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.plugin_utils._engine import make_private_folder
from ansible_collections.sre.runbooks.plugins.plugin_utils.history import count
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import Run

FILE_MODE = 0o640
"""As reports: no secrets, but names of hosts and their weak points."""

LEVELS = {"ok": "info", "skipped": "info", "unknown": "warning", "warning": "warning", "critical": "error"}
BUFFER = 1 << 20
TAIL = 1 << 16


def append(path: str, run: Run) -> None:
    """Add the lines of `run` to the file `path`: one for it, and one for each outcome.

    All of them or, where they cannot be written, none; another writer's lines do not come between them.
    """
    log = Path(path).expanduser().absolute()
    try:
        make_private_folder(log.parent)
        with _held(log) as descriptor:
            size = _without_half_line(descriptor)
            try:
                for part in _buffers(lines(run)):
                    _write(descriptor, part)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
    except OSError as error:
        remedy = "Its folder must be one of this controller that this user can write to, with free space."
        raise InputError("log", str(log), f"cannot be added to: {error.strerror}", remedy) from error


def lines(run: Run) -> Iterator[str]:
    """Yield the lines, each with its end."""
    shared = {"time": run.finished, "run": run.id, "playbook": run.playbook}
    outcomes = [each for host in run.hosts for each in host.outcomes]
    totals = {
        "started": run.started,
        "stages": run.stages,
        "hosts": len(run.hosts),
        "answered": sum(host.answered for host in run.hosts),
        "counts": count(outcomes),
        "version": run.version,
    }
    yield _line({**shared, "event": "run", "level": LEVELS[run.status], "status": run.status, **totals})
    for host in run.hosts:
        for each in host.outcomes:
            names = ("stage", "subject", "status", "summary", "since", "metrics")
            found = {name: each[name] for name in names if name in each}
            who = {"host": host.name, "system": host.system}
            yield _line({**shared, "event": "outcome", "level": LEVELS[each["status"]], **who, **found})


def _line(document: dict[str, t.Any]) -> str:
    # All that a program could take for the end of a line is written as an escape.
    return json.dumps(document, separators=(",", ":")) + "\n"


@contextlib.contextmanager
def _held(log: Path) -> Iterator[int]:
    """Open the file that stands at `log` and keep other writers out; one that is renamed meanwhile is let go."""
    while True:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(log, flags, FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            mine = os.fstat(descriptor)
            with contextlib.suppress(FileNotFoundError):
                there = os.stat(log)
                if (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino):
                    if mine.st_size == 0:
                        # Whatever the umask is. A file that is there keeps what its administrator gave it.
                        os.fchmod(descriptor, FILE_MODE)
                    yield descriptor
                    return
        finally:
            os.close(descriptor)


def _without_half_line(descriptor: int) -> int:
    """Cut off what a writer that was killed left of a line; return the size."""
    size = os.fstat(descriptor).st_size
    end = size
    while end:
        start = max(0, end - TAIL)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end != size:
        os.ftruncate(descriptor, end)
    return end


def _buffers(texts: Iterator[str]) -> Iterator[bytes]:
    buffer = bytearray()
    for text in texts:
        buffer += text.encode("ascii")
        if len(buffer) > BUFFER:
            yield bytes(buffer)
            buffer.clear()
    yield bytes(buffer)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
