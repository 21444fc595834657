# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compress logs in place without losing a line, killed at any moment.

The order: write archives under temporary names, unpack them again and compare, fsync, give them their names, move the
sources aside, make sure that nobody wrote to them or has them open for writing, remove them. A source that changed goes
back to its name and its archive goes. Whatever a killed run leaves, the next one sweeps and comes to the same end.

A batch of files shares the two runs of zstd, for starting a program costs more than packing a small log.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import os
import stat
import typing as t
import zlib

from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._logs import retire
from ansible_collections.sre.runbooks.plugins.module_utils._logs.actions import (
    CHANGED,
    READ,
    File,
    Known,
    Left,
    Sink,
    Tools,
    open_source,
)
from ansible_collections.sre.runbooks.plugins.module_utils._logs.frames import MAGIC, copy_frame
from ansible_collections.sre.runbooks.plugins.module_utils._logs.policy import SUFFIXES

TAKEN = "its archive's name is taken by something else"
BATCH_FILES = 128  # two descriptors each
BATCH_BYTES = 32 << 20
CHUNK = 1 << 20
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class _Readable(t.Protocol):
    def read(self, size: int, /) -> bytes: ...


class Job:
    """A file on its way: its name, the open source, what is known of it, and the archive when it is made."""

    def __init__(self, name: str, source: int, before: Known, suffix: str) -> None:
        self.name = name
        self.source = source
        self.before = before
        self.target = name + suffix
        self.partial = f".{self.target}.{os.getpid()}.partial"
        self.archive: int | None = None  # open while it has its temporary name
        self.published = False

    def made(self) -> int:
        """The open archive."""
        if self.archive is None:
            raise RunbookError("the archive is not open")
        return self.archive


def compress(folder: int, files: t.Iterable[File], tools: Tools, sink: Sink) -> None:
    """Replace files by their compressed copies beside them, with their owners, modes and times."""
    suffix = SUFFIXES[tools.policy.compression]
    jobs: list[Job] = []
    try:
        for file in files:
            try:
                jobs.append(Job(file[0], *open_source(folder, file, tools), suffix))
            except (OSError, RunbookError) as error:
                sink.refused(file[0], error)
            if len(jobs) >= BATCH_FILES or sum(job.before[2] for job in jobs) >= BATCH_BYTES:
                _batch(folder, jobs, tools, sink)
        _batch(folder, jobs, tools, sink)
    finally:
        for job in jobs:
            os.close(job.source)


def _batch(folder: int, jobs: list[Job], tools: Tools, sink: Sink) -> None:
    """Compress and close `jobs`, which are none afterwards."""
    whole = _each(jobs, lambda job: _prepare(folder, job, tools), sink)
    try:
        new = [job for job in whole if job.archive is not None]
        spoilt = _make(new, tools)
        for job, error in spoilt.items():
            sink.refused(job.name, error)
        whole = [job for job in whole if job not in spoilt]
        # All are written before the first is synced: the file system then needs one turn for them, not one for each.
        whole = _each(whole, lambda job: None if job.archive is None else _sync(job), sink)
        whole = _each(whole, lambda job: None if job.archive is None else _publish(folder, job), sink)
        if whole:
            os.fsync(folder)
        whole = _each(whole, lambda job: _retire(folder, job), sink)
        for job in whole:
            size = os.stat(job.target, dir_fd=folder, follow_symlinks=False).st_size
            sink.acted(job.before[2], job.before[2] - size)
        if whole:
            os.fsync(folder)
    finally:
        for job in jobs:
            os.close(job.source)
            if job.archive is not None:
                os.close(job.archive)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(job.partial, dir_fd=folder)
        jobs.clear()


def _each(jobs: t.Iterable[Job], step: t.Callable[[Job], object], sink: Sink) -> list[Job]:
    """Take a step with each job; return those with which it went well."""
    well = []
    for job in jobs:
        try:
            step(job)
            well.append(job)
        except (OSError, RunbookError) as error:
            sink.refused(job.name, error)
    return well


def _prepare(folder: int, job: Job, tools: Tools) -> None:
    """Open an archive to be made, unless a whole one is there from a run that was killed before the last step."""
    try:
        archive = os.open(job.target, READ, dir_fd=folder)
    except FileNotFoundError:
        job.archive = os.open(job.partial, _CREATE, 0o600, dir_fd=folder)
        return
    except OSError as error:
        raise Left(TAKEN, fault=True) from error
    try:
        # zstd hands out what it does not know as it is, hence the look at the first bytes.
        known = stat.S_ISREG(os.fstat(archive).st_mode) and (
            tools.policy.compression == "gzip" or os.pread(archive, 4, 0) == MAGIC
        )
        if not known or _differing([(job, archive)], tools):
            raise Left(TAKEN, fault=True)
    except (OSError, EOFError, zlib.error, RunbookError) as error:
        raise Left(TAKEN, fault=True) from error
    finally:
        os.close(archive)


def _make(jobs: t.Sequence[Job], tools: Tools) -> dict[Job, OSError | RunbookError]:
    """Write the archives of `jobs` and compare them; return those that did not come out well."""
    if not jobs:
        return {}
    try:
        _pack(jobs, tools)
        differing = _differing([(job, job.made()) for job in jobs], tools)
        if len(jobs) == 1 or not differing:
            return {job: Left(CHANGED) for job in differing}
    except (OSError, EOFError, zlib.error, RunbookError) as error:
        if len(jobs) == 1:
            return {jobs[0]: error if isinstance(error, (OSError, RunbookError)) else RunbookError(str(error))}
    # One file spoils its whole batch, such as one that was cut while it was read. Which one shows when each is alone.
    spoilt = {}
    for job in jobs:
        os.ftruncate(job.made(), 0)
        os.lseek(job.made(), 0, os.SEEK_SET)
        spoilt.update(_make([job], tools))
    return spoilt


def _pack(jobs: t.Sequence[Job], tools: Tools) -> None:
    if tools.policy.compression == "gzip":
        for job in jobs:
            with (
                os.fdopen(job.made(), "wb", closefd=False) as stream,
                gzip.GzipFile("", "wb", 6, stream, job.before[1] / 1e9) as packer,
            ):
                for piece in pieces(job.source):
                    packer.write(piece)
        return

    def take(_input: t.IO[bytes], output: t.IO[bytes]) -> None:
        for job in jobs:
            with os.fdopen(job.made(), "wb", closefd=False) as stream:
                size = copy_frame(output, stream.write)
            if size not in (None, job.before[2]):
                raise Left(CHANGED)

    _zstd(tools, [], [job.source for job in jobs], take)


def _differing(pairs: t.Sequence[tuple[Job, int]], tools: Tools) -> list[Job]:
    """Unpack the archives again and compare them with their sources; return the jobs where they differ."""
    if tools.policy.compression == "gzip":
        found = []
        for job, archive in pairs:
            os.lseek(archive, 0, os.SEEK_SET)
            with os.fdopen(archive, "rb", closefd=False) as stream, gzip.GzipFile("", "rb", fileobj=stream) as unpacked:
                if not _equal(unpacked, job) or unpacked.read(1):
                    found.append(job)
        return found
    differing: list[Job] = []

    def compare(_input: t.IO[bytes], output: t.IO[bytes]) -> None:
        differing.extend(job for job, _archive in pairs if not _equal(output, job))
        if output.read(1):
            raise RunbookError("zstd: unpacks more than was packed")

    _zstd(tools, ["-d"], [archive for _job, archive in pairs], compare)
    return differing


def _equal(stream: _Readable, job: Job) -> bool:
    """Whether the next bytes of `stream` are the source's; reads as many as the source had, equal or not."""
    equal, position, size = True, 0, job.before[2]
    while position < size:
        piece = stream.read(min(CHUNK, size - position))
        if not piece:
            return False
        equal = equal and piece == os.pread(job.source, len(piece), position)
        position += len(piece)
    return equal


def _zstd(
    tools: Tools, options: list[str], inputs: list[int], talk: t.Callable[[t.IO[bytes], t.IO[bytes]], None]
) -> None:
    """Run zstd once over open files, named by descriptor: what it reads cannot be swapped. -f lets it take such names."""
    commands = Commands(functools.partial(tools.run_command, pass_fds=inputs))
    names = [f"/proc/self/fd/{descriptor}" for descriptor in inputs]
    commands.converse([["zstd", "-q", "-f", "-c", *options, "--", *names]], talk)


def _sync(job: Job) -> None:
    retire.take_after(os.fstat(job.source), job.made())
    os.fsync(job.made())


def _publish(folder: int, job: Job) -> None:
    try:
        retire.rename(folder, job.partial, folder, job.target)
    except FileExistsError as error:
        raise Left(TAKEN, fault=True) from error
    job.published = True


def _retire(folder: int, job: Job) -> None:
    try:
        retire.retire(folder, job.name, job.source, job.before)
    except Left:
        if job.published:
            os.unlink(job.target, dir_fd=folder)
        raise


def pieces(descriptor: int) -> t.Iterator[bytes]:
    """The content of an open file from its beginning."""
    position = 0
    while True:
        piece = os.pread(descriptor, CHUNK, position)
        if not piece:
            return
        position += len(piece)
        yield piece
