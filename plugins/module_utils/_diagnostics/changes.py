# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What changed lately: packages, files, deployments, and what this collection did itself."""

from __future__ import annotations

import contextlib
import functools
import glob
import heapq
import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import MissingProgram, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics import _find
from ansible_collections.sre.runbooks.plugins.module_utils._logs import _lines

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._settings import Settings
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._work import Work, Writer

COLLECTS = "packages, files, deployments and runs of this collection, as far as they changed lately"
DPKG = "/var/log/dpkg.log"
APT = "/var/log/apt/history.log"
MOST = 1000
_TAIL = 1 << 20


def would(settings: Settings) -> list[str]:
    """The folders that are looked through."""
    return ["packages", *settings.paths, *settings.deployments, settings.state_dir]


def collect(work: Work) -> None:
    """Each by itself."""
    work.attempt([functools.partial(each, work) for each in (_packages, _files, _deployments, _runs)])


def _packages(work: Work) -> None:
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() - work.settings.changed_within))
    with work.part("changes/packages.txt") as part:
        if os.path.exists("/var/lib/dpkg/status"):
            for path in _newer(DPKG, work):
                part.blocks(_since(_content(path, work.commands), since.encode()))
            with contextlib.suppress(RunbookError, OSError):
                for path in _newer(APT, work):
                    part.text(f"## {path}")
                    part.blocks(_content(path, work.commands))
            return
        try:
            rows = list(work.output(["rpm", "-qa", "--last"]))
        except MissingProgram as error:
            raise RunbookError("neither dpkg nor rpm is here to tell of packages") from error
        part.text("\n".join(b"".join(rows).decode("utf-8", "replace").splitlines()[:MOST]))


def _newer(path: str, work: Work) -> list[str]:
    """A log and those rotated away from it, as far as they were written lately, the oldest first."""
    found = []
    for each in [path, *glob.glob(f"{glob.escape(path)}.*")]:
        with contextlib.suppress(OSError):
            when = os.lstat(each).st_mtime
            if when >= time.time() - work.settings.changed_within and not os.path.islink(each):
                found.append((when, each))
    return [each for _when, each in sorted(found)]


def _content(path: str, commands: Commands) -> t.Iterator[bytes]:
    """The end of a log, or an archive of one."""
    if path.endswith(".gz"):
        yield from _lines.blocks(_lines.unpack(path, "gz", commands))
        return
    size = os.stat(path).st_size
    yield from _lines.blocks(_lines.read(_lines.Span(path, max(0, size - _TAIL), size)))


def _since(blocks: t.Iterator[bytes], since: bytes) -> t.Iterator[bytes]:
    """Lines of dpkg's log, which begin with the local time."""
    for block in blocks:
        kept = [line for line in block.splitlines(keepends=True) if line[: len(since)] >= since]
        if kept:
            yield b"".join(kept)


def _files(work: Work) -> None:
    if not work.settings.paths:
        return
    with work.part("changes/files.txt") as part:
        cutoff = time.time() - work.settings.changed_within
        newest = heapq.nlargest(MOST + 1, _changed(work, cutoff))
        if len(newest) > MOST:
            part.truncated()
            part.note(f"the newest {MOST}")
        part.text(
            "\n".join(f"{_time(when)} {size:>12} {path}" for when, path, size in sorted(newest[:MOST]))
            or "no file changed"
        )
        for path in work.settings.paths:
            if not os.path.lexists(path):
                part.text(f"{path}: is not there")


def _changed(work: Work, cutoff: float) -> t.Iterator[tuple[float, str, int]]:
    for path in work.settings.paths:
        for number, (each, info) in enumerate(_find.files(path)):
            if not number % 1000:
                work.left()
            # A file that was moved here keeps its content's time: the inode's tells.
            when = max(info.st_mtime, info.st_ctime)
            if when >= cutoff:
                yield when, each, info.st_size


def _deployments(work: Work) -> None:
    if not work.settings.deployments:
        return
    with work.part("changes/deployments.txt") as part:
        for path in work.settings.deployments:
            _deployment(path, part)


def _deployment(path: str, part: Writer) -> None:
    """What links point to, and which revision is checked out, by git's own files: its programs run what a repository says."""
    if not os.path.lexists(path):
        part.text(f"{path}: is not there")
        return
    for each in [path, *_links(path)]:
        with contextlib.suppress(OSError):
            info = os.lstat(each)
            target = f" -> {os.readlink(each)}" if os.path.islink(each) else ""
            part.text(f"{_time(info.st_mtime)} {each}{target}")
    revision = _revision(os.path.join(os.path.realpath(path), ".git"))
    if revision:
        part.text(f"{path}: git {revision}")


def _links(path: str) -> list[str]:
    with contextlib.suppress(OSError), os.scandir(path) as entries:
        return sorted(entry.path for entry in entries if entry.is_symlink())[:MOST]
    return []


def _revision(folder: str) -> str:
    try:
        head = _small(os.path.join(folder, "HEAD"))
        if not head.startswith("ref: "):
            return head
        name = head[5:]
        with contextlib.suppress(OSError):
            return f"{_small(os.path.join(folder, os.path.normpath('/' + name).lstrip('/')))} ({name})"
        with open(os.path.join(folder, "packed-refs"), encoding="utf-8", errors="replace") as stream:
            for line in stream:
                if line.rstrip().endswith(f" {name}"):
                    return f"{line.split()[0]} ({name})"
    except OSError:
        pass
    return ""


def _small(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read(4096).strip()


def _runs(work: Work) -> None:
    """What the host remembers of runs, by its files: their content is for those runs."""
    found = [(info.st_mtime, path, info.st_size) for path, info in _find.files(work.settings.state_dir)]
    with work.part("changes/runs.txt") as part:
        part.text(
            "\n".join(f"{_time(when)} {size:>12} {path}" for when, path, size in sorted(found)[-MOST:])
            or "no run left anything"
        )


def _time(when: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))
