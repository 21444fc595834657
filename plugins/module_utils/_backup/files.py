# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plain files and folders: a tar archive (PAX), streamed; symbolic links are kept as links and never followed.

Every file's SHA-256 is taken from the very bytes that go into the archive. One digest over all entries in their order
stands in the manifest, so that the proof needs no list of a million files.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import stat
import tarfile
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _files_restore, _packing, _tree
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import (
    Dump,
    Mismatch,
    Preflight,
    Source,
    Work,
)
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError

OPTIONS: dict[str, t.Any] = {
    "paths": {"type": "list", "elements": "path", "required": True},
    "exclude": {"type": "list", "elements": "str", "default": []},
}
EXTENSION = ".tar"
# Names of files that a warning shows.
SHOWN = 5


def check(source: dict[str, t.Any], where: str) -> None:
    """Some path is given, and each from the root on."""
    if not source["paths"]:
        raise InputError(f"{where}.paths", source["paths"], "names nothing", "Name the files and folders to keep.")
    for path in source["paths"]:
        if not os.path.isabs(path):
            raise InputError(f"{where}.paths", path, "is no absolute path", "Write it from the root on.")
        if os.path.normpath(path) in ("/", "//"):
            raise InputError(f"{where}.paths", path, "is the whole file system", "Name the folders that matter.")


def preflight(source: Source, work: Work) -> Preflight:
    """Every path exists, and there is something in them."""
    roots = _roots(source["paths"])
    total = count = 0
    for entry in _tree.walk(roots, _excluder(source["exclude"])):
        count += 1
        total += entry.info.st_size if stat.S_ISREG(entry.info.st_mode) else 0
    if not count:
        raise RunbookError(f"exclude: {source['exclude']} leaves nothing of {', '.join(source['paths'])}. Correct it.")
    # A header and padding for each entry; unpacked for the proof they take about as much again.
    size = total + count * 1536
    return Preflight(size, size if work.level == "restored" else 0, {"tar": "pax"})


def sweep(source: Source, work: Work) -> list[str]:
    """Everything that a killed run leaves lies in the backup folder."""
    return []


def dump(source: Source, partial: str, work: Work) -> Dump:
    """Stream the tree into the archive."""
    roots = _roots(source["paths"])
    summary = _files_restore.Summary()
    notes = _tree.Notes()

    def feed(archive: t.IO[bytes]) -> None:
        with tarfile.open(fileobj=archive, mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 20) as tar:
            for entry in _tree.walk(roots, _excluder(source["exclude"]), notes):
                work.seconds()
                _add(tar, entry, summary, notes)
                # TarFile keeps every member in memory otherwise, and every inode, of which only hard links need one.
                tar.members = []  # type: ignore[attr-defined]
                if entry.info.st_nlink == 1:
                    tar.inodes.pop((entry.info.st_ino, entry.info.st_dev), None)  # type: ignore[attr-defined]

    sha256 = _packing.store(work.commands, work.packing.pack(), partial, feed, timeout=work.seconds())
    return Dump(sha256, summary.figures(), notes.warnings(SHOWN))


def read(source: Source, path: str, work: Work) -> dict[str, t.Any]:
    """Read the archive to its end."""
    return _files_restore.scan(path, None, work).shown()


def restore(source: Source, path: str, figures: t.Mapping[str, t.Any], work: Work) -> dict[str, t.Any]:
    """Unpack the archive into a scratch folder, read the files back from there, compare."""
    found = _files_restore.scan(path, work.scratch("restore"), work)
    if found.figures() != dict(figures):
        raise Mismatch(
            f"{path}: the restored files differ from those of the dump: {found.figures()} instead of {dict(figures)}"
        )
    return found.shown()


def _add(tar: tarfile.TarFile, entry: _tree.Entry, summary: _files_restore.Summary, notes: _tree.Notes) -> None:
    """Add one entry; what vanished before it could be opened is noted, what cannot be read is an error."""
    try:
        with _tree.opened(entry) as stream:
            info = tar.gettarinfo(arcname=entry.path, fileobj=stream) if stream else _member(tar, entry)
            if info is None:
                notes.special.append(entry.path)
            elif stream is None or info.islnk():
                tar.addfile(info)
                summary.add(info, "")
            else:
                reader = _tree.Exactly(stream, info.size)
                tar.addfile(info, reader)
                summary.add(info, reader.digest())
                if reader.changed():
                    notes.changed.append(entry.path)
    except FileNotFoundError:
        notes.vanished.append(entry.path)
    except PermissionError as error:
        raise _tree.unreadable(entry.path, error) from error


def _member(tar: tarfile.TarFile, entry: _tree.Entry) -> tarfile.TarInfo | None:
    """A folder or a symbolic link; sockets, devices and named pipes hold no data to keep."""
    if not (stat.S_ISDIR(entry.info.st_mode) or stat.S_ISLNK(entry.info.st_mode)):
        return None
    return tar.gettarinfo(entry.path)


def _roots(paths: t.Sequence[str]) -> list[str]:
    """The paths that exist, globs resolved; each must match, and none may be a symbolic link itself."""
    roots: list[str] = []
    for path in paths:
        if os.path.islink(path):
            raise RunbookError(f"paths: {path} is a symbolic link to {os.readlink(path)}. Name the target instead.")
        if os.path.lexists(path):
            roots.append(os.path.normpath(path))
            continue
        found = sorted(glob.glob(path)) if glob.has_magic(path) else []
        if not found:
            raise RunbookError(f"paths: {_tree.printable(path)} does not exist. Correct the path, or take it out.")
        roots.extend(os.path.normpath(each) for each in found)
    return _outermost(roots)


def _outermost(roots: t.Sequence[str]) -> list[str]:
    """Without paths inside of others and doubles, so that nothing is archived twice."""
    kept: list[str] = []
    for root in sorted(set(roots)):
        if not any(root == each or root.startswith(each.rstrip("/") + "/") for each in kept):
            kept.append(root)
    return kept


def _excluder(patterns: t.Sequence[str]) -> t.Callable[[str], bool]:
    """A pattern with a slash is compared with the whole path, one without with the last part."""
    whole = [pattern for pattern in patterns if "/" in pattern]
    last = [pattern for pattern in patterns if "/" not in pattern]

    def excluded(path: str) -> bool:
        name = os.path.basename(path)
        return any(fnmatch.fnmatchcase(path, pattern) for pattern in whole) or any(
            fnmatch.fnmatchcase(name, pattern) for pattern in last
        )

    return excluded
