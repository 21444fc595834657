# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which copy is restored. Pure but for the manifests that are read."""

from __future__ import annotations

import datetime
import os
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _catalog
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError

LATEST = "latest"


class Wish(t.NamedTuple):
    """What `from` asks for: the newest copy until `moment` (seconds since the epoch, None for now), or that of `path`."""

    moment: float | None = None
    path: str | None = None


def wish(text: str, option: str) -> Wish:
    """Read `from`. A time without a zone is UTC, as the time stamps in the names of copies are."""
    if text == LATEST:
        return Wish()
    if os.path.isabs(text):
        return Wish(path=os.path.normpath(text))
    moment = _moment(text)
    if moment is None:
        raise InputError(
            option, text, "names no copy", "Write latest, a time such as 2026-11-20T09:00:00Z, or the path of a copy."
        )
    return Wish(moment=moment)


def choose(
    directory: str, name: str, wanted: Wish, level: str | None, force: bool, now: float
) -> tuple[_catalog.Copy, dict[str, t.Any]]:
    """The copy and its manifest; RunbookError with what there is when none fits.

    A copy of which a proof failed, or that was never proven at all, is taken with `force` alone.
    """
    copy = _named(wanted.path, name) if wanted.path else _newest(directory, name, wanted, level, force, now)
    problem = _problem(copy, level)
    if problem and not force:
        raise RunbookError(f"{copy.path}: {problem}. Choose another copy with from, or set force to restore it anyway.")
    return copy, _catalog.manifest(copy)


def _named(path: str, name: str) -> _catalog.Copy:
    found = _catalog.folder(os.path.dirname(os.path.dirname(path)), os.path.basename(os.path.dirname(path))).copies
    copy = next((each for each in found if each.path == path), None)
    if copy is None:
        raise RunbookError(
            f"from: {path} is no copy with a manifest beside it. Name the data file as backup_info lists it."
        )
    if copy.name != name:
        raise RunbookError(f"from: {path} is a copy of {copy.name}, not of {name}. Correct name or from.")
    return copy


def _newest(directory: str, name: str, wanted: Wish, level: str | None, force: bool, now: float) -> _catalog.Copy:
    until = now if wanted.moment is None else wanted.moment
    copies = _catalog.folder(directory, name).copies
    if not copies:
        raise RunbookError(
            f"{os.path.join(directory, name)} holds no copy. Correct name or directory, or bring the copies there."
        )
    past = [copy for copy in copies if copy.created <= min(until, now)]
    for copy in past:
        if force or _problem(copy, level) is None:
            return copy
    asked = "" if wanted.moment is None else f" until {_shown(until)}"
    proof = "proven" if level is None else f"proven as {level}"
    raise RunbookError(
        f"none of the {len(copies)} copies of {name}{asked} is {proof} (newest {_shown(copies[0].created)}, "
        f"oldest {_shown(copies[-1].created)}). Name one in from, lower level, or set force."
    )


def _problem(copy: _catalog.Copy, level: str | None) -> str | None:
    if copy.failed:
        return f"failed a proof: {copy.problem}" if copy.problem else "failed a proof"
    if copy.level is None:
        return "was never proven"
    if level is not None and not copy.good(level):
        return f"is proven as {copy.level} only, not as {level}"
    return None


def _moment(text: str) -> float | None:
    if len(text) == 16 and text[8:9] == "T" and text.endswith("Z"):
        text = f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[9:11]}:{text[11:13]}:{text[13:15]}Z"
    try:
        found = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    if found.tzinfo is None:
        found = found.replace(tzinfo=datetime.timezone.utc)
    return found.timestamp()


def _shown(seconds: float) -> str:
    return _catalog.stamp(seconds)
