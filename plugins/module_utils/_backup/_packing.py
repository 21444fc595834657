# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compression of copies, and how their bytes get to the disk and back."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import threading
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands, forsake
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, InputError, RunbookError

# Names of the algorithms, the extension of their files, and the lowest and highest level that their program takes.
ALGORITHMS: dict[str, tuple[str, int, int]] = {"zstd": (".zst", 1, 19), "gzip": (".gz", 1, 9), "none": ("", 0, 0)}
# What encryption by age adds to a file's name, after the extension of the compression.
ENCRYPTED = ".age"
_PIECE = 1 << 18
# Python has the name from 3.10 on (fcntl(2)).
_F_SETPIPE_SZ = 1031
DEFAULT_LEVEL = {"zstd": 3, "gzip": 6, "none": 0}


class Unreadable(RunbookError):
    """The programs that unpack a copy cannot make sense of its bytes."""


class Packing(t.NamedTuple):
    """An algorithm with its level, and the public keys of those who may read the copy; without any it is not encrypted."""

    algorithm: str
    level: int
    recipients: tuple[str, ...] = ()

    @property
    def extension(self) -> str:
        """What it adds to a file's name."""
        return ALGORITHMS[self.algorithm][0] + (ENCRYPTED if self.recipients else "")

    def pack(self, path: str | None = None) -> list[list[str]]:
        """The pipeline that packs the file `path`, by default its standard input, to standard output."""
        what = [] if path is None else ["--", path]
        threads = ["-T0"] if self.algorithm == "zstd" else []
        first = [self.algorithm, f"-{self.level}", *threads, "-q", "-c", *what]
        stages = [["cat", *what] if self.algorithm == "none" else first]
        if self.recipients:
            stages.append(encrypt(self.recipients))
        return stages


def encrypt(recipients: t.Sequence[str]) -> list[str]:
    """The program that encrypts its standard input to the public keys `recipients`."""
    return ["age", "--encrypt", *[part for each in recipients for part in ("--recipient", each)]]


def choose(algorithm: str, level: int | None, option: str = "compression.level") -> Packing:
    """The packing that the options `compression.algorithm` and `compression.level` ask for; the latter is called `option`."""
    _extension, lowest, highest = ALGORITHMS[algorithm]
    if level is None:
        level = DEFAULT_LEVEL[algorithm]
    elif not lowest <= level <= highest:
        raise InputError(option, level, f"is no level of {algorithm}", f"Give one from {lowest} to {highest}, or none.")
    return Packing(algorithm, level)


def unpack(path: str, identity: str | None = None) -> list[list[str]]:
    """The pipeline that writes the content of the copy `path`, by its extensions, to standard output.

    `identity` is the file with the secret key of an encrypted copy.
    """
    stages: list[list[str]] = []
    name = path
    if name.endswith(ENCRYPTED):
        if identity is None:
            raise RunbookError(
                f"{path}: is encrypted, and no identity is given. Set encryption.identity to the file with its secret key."
            )
        stages.append(["age", "--decrypt", "--identity", identity, "--", path])
        name = name[: -len(ENCRYPTED)]
    for algorithm, (extension, _lowest, _highest) in ALGORITHMS.items():
        if extension and name.endswith(extension):
            stages.append([algorithm, "-d", "-q", "-c", *([] if stages else ["--", path])])
    return stages or [["cat", "--", path]]


def unpack_to(commands: Commands, stages: t.Sequence[t.Sequence[str]], destination: str, timeout: float | None) -> None:
    """Write what the pipeline `stages` gives to the new file `destination`; `Unreadable` when a program finds the copy broken."""
    os.close(os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    try:
        _write(commands, stages, destination, None, None, timeout=timeout)
    except CommandFailed as error:
        # A program that ran out of time says nothing of the copy.
        if error.rc in (124, 137):
            raise
        raise Unreadable(f"the copy cannot be unpacked: {error}") from error


def store(
    commands: Commands,
    stages: t.Sequence[t.Sequence[str]],
    partial: str,
    feed: t.Callable[[t.IO[bytes]], None] | None = None,
    **place: t.Any,
) -> str:
    """Write what the pipeline gives to the file `partial`, which exists; return the SHA-256 of it.

    The sum is taken from the stream, so that reading the file back compares two different things. `feed` writes the
    pipeline's input; `place` is passed to the command gateway.
    """
    digest = hashlib.sha256()
    _write(commands, stages, partial, feed, digest.update, **place)
    return digest.hexdigest()


def _write(
    commands: Commands,
    stages: t.Sequence[t.Sequence[str]],
    path: str,
    feed: t.Callable[[t.IO[bytes]], None] | None,
    seen: t.Callable[[bytes], None] | None,
    **place: t.Any,
) -> None:
    """Write what the pipeline gives to the file `path`, which exists, and show each piece to `seen`.

    This process writes, not a program: one that outlives a killed run could make files after the next run has swept.
    """
    problems: list[OSError] = []

    def drain(output: t.IO[bytes]) -> None:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
            # Fewer turns between the packer and this process; where the user's share of pipes is used up it stays small.
            with contextlib.suppress(OSError):
                fcntl.fcntl(output.fileno(), _F_SETPIPE_SZ, 4 * _PIECE)
            with os.fdopen(descriptor, "wb", buffering=0) as target:
                for piece in iter(lambda: output.read(_PIECE), b""):
                    if seen is not None:
                        seen(piece)
                    written = 0
                    while written < len(piece):
                        written += target.write(memoryview(piece)[written:])
        except OSError as error:
            problems.append(error)
            forsake(output)

    def talk(requests: t.IO[bytes], output: t.IO[bytes]) -> None:
        thread = threading.Thread(target=drain, args=(output,))
        thread.start()
        try:
            if feed is not None:
                feed(requests)
        finally:
            with contextlib.suppress(OSError):
                requests.close()
            thread.join()
            if problems:
                problems[0].filename = path
                raise problems[0]

    commands.converse(stages, talk, **place)
