# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ladder of proofs: the bytes are those that were written, the archive can be read, the data comes back the same."""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _catalog, _manifest
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Mismatch, Source, Work
from ansible_collections.sre.runbooks.plugins.module_utils._core import files

if t.TYPE_CHECKING:
    from types import ModuleType


def checksum(path: str, sha256: str, size_bytes: int) -> None:
    """Read the file from the disk and compare; Mismatch when it is not what was written."""
    _forget(path)
    if os.stat(path).st_size != size_bytes:
        raise Mismatch(f"{path}: has {os.stat(path).st_size} bytes, {size_bytes} were written")
    if files.sha256(path) != sha256:
        raise Mismatch(f"{path}: its SHA-256 is not that of what was written")


def damage(copy: _catalog.Copy) -> str | None:
    """What is wrong with the bytes of `copy`, by its manifest's checksum; the proof at its making lies in the past."""
    document = _catalog.manifest(copy)
    try:
        checksum(copy.path, document["sha256"], document["size_bytes"])
    except Mismatch as error:
        return str(error)
    return None


def condemn(copy: _catalog.Copy, problem: str) -> None:
    """Record that `copy` failed, so that it counts as a backup no more."""
    document = _catalog.manifest(copy)
    document["verifications"].append(_manifest.verification("checksum", False, 0.0, {"problem": problem}))
    _manifest.write(copy.path, document)


def prove(
    engine: ModuleType, source: Source, path: str, document: dict[str, t.Any], work: Work, *, fresh: bool = False
) -> dict[str, t.Any]:
    """Climb to `work.level` and record what was found in the manifest `document` and on disk; return the record.

    A copy that is not what its manifest says gets a record with `ok` false. A proof that could not be made raises and
    leaves no record. With `fresh` the checksum was compared a moment ago.
    """
    started = time.monotonic()
    figures: dict[str, t.Any] = {}
    ok = True
    try:
        if not fresh:
            checksum(path, document["sha256"], document["size_bytes"])
        if work.level == "archive":
            figures = engine.read(source, path, work)
        elif work.level == "restored":
            figures = engine.restore(source, path, document["figures"], work)
    except Mismatch as error:
        ok, figures = False, {"problem": str(error)}
    record = _manifest.verification(work.level, ok, time.monotonic() - started, figures)
    document["verifications"].append(record)
    _manifest.write(path, document)
    return record


def _forget(path: str) -> None:
    """Ask the kernel to drop its cached pages, so that the disk is read and not the memory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
