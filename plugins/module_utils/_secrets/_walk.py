# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of a scan: links are not followed, file systems not crossed, names excluded with their folders (K4)."""

from __future__ import annotations

import fnmatch
import glob
import os
import stat
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import paths

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._secrets._options import Scan

# What holds no secret of the host but looks like it: lists of hashes, minified code, translations, other people's code
# with its tests, and the folders that git keeps its objects in (its `config` is looked at).
USUAL_EXCLUDES = (
    "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".tox", "objects", "site-packages", "dist-packages",
    "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "Pipfile.lock", "poetry.lock", "uv.lock", "pdm.lock",
    "Cargo.lock", "composer.lock", "Gemfile.lock", "go.sum", "packages.lock.json", "flake.lock", "*.min.js", "*.min.css", "*.map",
    "*.bundle.js", "*.svg", "*.po", "*.pot", "*.ipynb", "*.baseline", "SHA256SUMS", "*.sha256", "*.sha512", "*.md5sums",
    "*.example", "*.sample", "*.dist", "*.template", "*.crt", "*.cer", "*.pub", "known_hosts", "ssh_known_hosts", "ssh_host_*.pub",
    "ca-certificates", "machine-id",
)  # fmt: skip
# `.git/objects`, not any folder of that name.
_ONLY_IN = {"objects": ".git"}


class File(t.NamedTuple):
    """A regular file and what lstat(2) said of it."""

    path: str
    status: os.stat_result


class Walk:
    """Goes through the paths of a scan. `problems` says what could not be looked at and why, as {path: reason}."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._exclude = [*scan.exclude, *(USUAL_EXCLUDES if scan.usual_excludes else ())]
        self.problems: dict[str, str] = {}
        self.mounts = 0
        self.links = 0

    def __iter__(self) -> t.Iterator[File]:
        for path in self._scan.paths:
            if glob.has_magic(path):
                for each in paths.matching(path):
                    yield from self._top(each)
            elif os.path.lexists(path):
                yield from self._top(path)
            else:
                self.problems[path] = "is not there"

    def _top(self, path: str) -> t.Iterator[File]:
        """A path that the user named: exclusions hold only for what is below it."""
        try:
            status = os.lstat(path)
        except OSError as error:
            self.problems[path] = error.strerror or "cannot be looked at"
            return
        if stat.S_ISLNK(status.st_mode):
            self.problems[path] = "is a symbolic link; name its target"
        elif stat.S_ISDIR(status.st_mode):
            yield from self._below(path, status.st_dev)
        elif stat.S_ISREG(status.st_mode):
            yield File(path, status)
        else:
            self.problems[path] = "is neither a folder nor a file"

    def _below(self, top: str, device: int) -> t.Iterator[File]:
        todo = [top]
        while todo:
            folder = todo.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if not self._excluded(entry):
                            yield from self._entry(entry, device, todo)
            except FileNotFoundError:
                continue
            except OSError as error:
                self.problems[folder] = error.strerror or "cannot be read"

    def _entry(self, entry: os.DirEntry[str], device: int, todo: list[str]) -> t.Iterator[File]:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
        except OSError as error:
            self.problems[entry.path] = error.strerror or "cannot be looked at"
            return
        if stat.S_ISLNK(status.st_mode):
            self.links += 1
        elif stat.S_ISDIR(status.st_mode):
            if status.st_dev != device:
                self.mounts += 1
            elif self._scan.recurse:
                todo.append(entry.path)
        elif stat.S_ISREG(status.st_mode) and self._wanted(entry):
            yield File(entry.path, status)

    def _excluded(self, entry: os.DirEntry[str]) -> bool:
        if any(matches(entry.path, entry.name, each) for each in self._exclude):
            parent = _ONLY_IN.get(entry.name)
            return parent is None or os.path.basename(os.path.dirname(entry.path)) == parent
        return False

    def _wanted(self, entry: os.DirEntry[str]) -> bool:
        return not self._scan.patterns or any(matches(entry.path, entry.name, each) for each in self._scan.patterns)


def matches(path: str, name: str, pattern: str) -> bool:
    """Whether a shell pattern fits: one with a slash the whole path, else the name."""
    return fnmatch.fnmatchcase(path if "/" in pattern else name, pattern)
