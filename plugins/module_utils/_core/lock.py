# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Locks that die with their owner: flock(2) on a file of the state folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import files
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import Busy, RunbookError

# A program that a killed run was just starting holds its lock until it has started: milliseconds, more on a busy host.
WAIT_SECONDS = 1.0


@contextlib.contextmanager
def hold(directory: str, name: str, wait: float = WAIT_SECONDS) -> t.Iterator[None]:
    """Hold the lock `name` in `directory` while the block runs.

    Waits up to `wait` seconds, then raises `Busy` with the owner's process id. The kernel lets go of the lock when the
    owner ends in any way; the file stays, for removing it would let two owners in.
    """
    files.make_directory(directory)
    path = os.path.join(directory, f"{name}.lock")
    descriptor = _open(path)
    try:
        _acquire(descriptor, path, time.monotonic() + wait)
        yield
    finally:
        os.close(descriptor)


def held(directory: str, name: str) -> bool:
    """Whether somebody holds the lock `name`; those who look keep nobody from it, and do not take each other for its owner."""
    path = os.path.join(directory, f"{name}.lock")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: str, error: OSError) -> RunbookError:
    return RunbookError(
        f"{path}: cannot open this lock: {error.strerror}. Give access to it, or remove it if it is no regular file."
    )


def _acquire(descriptor: int, path: str, deadline: float) -> None:
    """Take the lock and leave our process id in it for whoever waits."""
    try:
        _wait(descriptor, path, deadline)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    except OSError as error:
        raise RunbookError(f"{path}: cannot lock: {error.strerror}. Choose a folder on a local file system.") from error


def _wait(descriptor: int, path: str, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                owner = os.pread(descriptor, 32, 0).decode(errors="replace") or "unknown"
                raise Busy(
                    f"{path}: another run holds this lock (process {owner}). Wait until it has ended."
                ) from error
            time.sleep(0.1)
