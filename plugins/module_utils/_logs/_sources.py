# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where lines come from: sources as users write them, and the files of a source with their rotated kin (L4, L6)."""

from __future__ import annotations

import os
import re
import stat
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import paths, threshold
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._logs import _timestamps
from ansible_collections.sre.runbooks.plugins.module_utils._logs._rules import Bounds, unique

PACKINGS = ("gz", "xz", "bz2", "zst")
MOST = 20000
"""Files of one source; what is known of each takes half a kilobyte (B9)."""
_BEGIN = re.compile(r"(?<=.)[.-]", re.DOTALL)
_PACKED = re.compile(rf"(?P<name>.+)\.(?P<packing>{'|'.join(PACKINGS)})\Z", re.DOTALL)
_NUMBER = r"(?:\d{1,4}|\d{8}(?:[-_T]?\d{2,6})?|\d{4}-\d\d-\d\d(?:[T_-]\d[\d:-]*)?|old)"
_ROTATED = (
    re.compile(rf"(?P<stem>.+?)[.-]{_NUMBER}(?P<end>)\Z", re.DOTALL),
    re.compile(rf"(?P<stem>.+?)[.-]{_NUMBER}(?P<end>\.[A-Za-z]+)\Z", re.DOTALL),
)


class Source(t.NamedTuple):
    """One source; exactly one of `path`, `unit` and `container` is set. `bounds` hold for its size in bytes."""

    name: str
    path: str | None
    unit: str | None
    container: str | None
    format: str
    timestamp: str | None
    zone: str
    bounds: Bounds


class File(t.NamedTuple):
    """One file of a source. `base` is the path under which it is or was written; `live` says that it still is."""

    path: str
    base: str
    packing: str
    live: bool
    size: int
    mtime: float
    inode: int
    device: int


def read(given: t.Sequence[t.Mapping[str, t.Any]]) -> list[Source]:
    """Sources as the module hands them over."""
    found = []
    for each in given:
        option = f"sources[{each['name']}]"
        if sum(bool(each[key]) for key in ("path", "unit", "container")) != 1:
            raise InputError(
                option, each["name"], "names not exactly one place", "Give one of path, unit and container."
            )
        if each["path"] and not os.path.isabs(each["path"]):
            raise InputError(f"{option}.path", each["path"], "is no absolute path", "Begin it with a slash.")
        _timestamps.Reader(0, each["timestamp"], each["zone"], f"{option}.timestamp")
        bounds = threshold.parse_levels(each, option)
        if not each["path"] and any(bounds.values()):
            raise InputError(option, each["name"], "has no size to be bounded", "Bound the size of a path only.")
        keys = ("name", "path", "unit", "container", "format", "timestamp", "zone")
        found.append(Source(**{key: each[key] for key in keys}, bounds=bounds))
    unique([each.name for each in found], "sources")
    return found


def files(path: str) -> tuple[list[File], list[str]]:
    """The regular files that the glob matches, and those that were rotated away from them, the oldest first.

    Comes with the paths that cannot be looked at. Of a rotated log and its archive beside it (they are being packed) only the log counts.
    """
    folders: dict[str, set[str]] = {}
    denied: list[str] = []
    for count, found in enumerate(paths.matching(path)):
        if count >= MOST:
            raise RunbookError(f"{path} matches more than {MOST:,} files. Name fewer, by a narrower pattern.")
        folder, name = os.path.split(found)
        folders.setdefault(folder, set()).add(name)
    result: list[File] = []
    for folder, names in sorted(folders.items()):
        result += _family(folder, names, denied)
    return sorted(result, key=lambda each: (each.base, each.live, each.mtime, each.path)), denied


def _family(folder: str, matched: set[str], denied: list[str]) -> list[File]:
    present = _kin(folder, matched)
    live = {name for name in matched if base_name(name, present) == name}
    found = []
    for name in sorted(present):
        base = base_name(name, present)
        if name not in matched and base not in live:
            continue
        packing = packing_of(name)
        plain = name[: -len(packing) - 1] if packing else ""
        if plain in present and plain != base:
            continue
        file = _look(os.path.join(folder, name), os.path.join(folder, base), packing, base == name, denied)
        if file is not None:
            found.append(file)
    return found


def _kin(folder: str, matched: set[str]) -> set[str]:
    """The names in a folder that begin as one of those matched does: rotated files are among them."""
    begins = {_BEGIN.split(name, maxsplit=1)[0] for name in matched}
    present = set(matched)
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if _BEGIN.split(entry.name, maxsplit=1)[0] in begins:
                    present.add(entry.name)
                    if len(present) > MOST + len(matched):
                        return set(matched)
    except PermissionError:  # a folder that may be passed through, not read
        pass
    return present


def _look(path: str, base: str, packing: str, live: bool, denied: list[str]) -> File | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        denied.append(f"{path}: {error.strerror}")
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    if not os.access(path, os.R_OK):
        denied.append(f"{path}: Permission denied")
        return None
    return File(path, base, packing, live, status.st_size, status.st_mtime, status.st_ino, status.st_dev)


def packing_of(name: str) -> str:
    """`gz` of `app.log.1.gz`; empty for what is not compressed."""
    match = _PACKED.match(name)
    return match["packing"] if match else ""


def base_name(name: str, present: t.Container[str]) -> str:
    """The name under which a rotated log was written: `app.log` of `app.log.1`, `app.log-20261120.gz`, `app.1.log`.

    A name is taken for a rotated one when it is packed or when its base is in the same folder (`present`).
    """
    packed = _PACKED.match(name)
    plain = packed["name"] if packed else name
    for expression in _ROTATED:
        match = expression.match(plain)
        if match and match["stem"] + match["end"] in present:
            return match["stem"] + match["end"]
    match = _ROTATED[0].match(plain) if packed else None
    return match["stem"] if match else plain
