# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ladder of proofs: the bytes are those that were written, the archive can be read, the data comes back the same."""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _catalog, _manifest, _packing
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Mismatch, Source, Work
from ansible_collections.sre.runbooks.plugins.module_utils._core import files
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import forsake
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import CommandFailed, RunbookError

if t.TYPE_CHECKING:
    from types import ModuleType

# A program that is ended by the end of its reader, as a signal and as a shell's status.
_PIPE = (-13, 141)
# What age says of the key and not of the copy.
_NOT_OURS = ("no identity matched", "identity", "passphrase", "permission denied", "no such file")


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


def condemn(copy: _catalog.Copy, problem: str, level: str = "checksum") -> dict[str, t.Any]:
    """Record that `copy` failed, so that it counts as a backup no more; return the record."""
    document = _catalog.manifest(copy)
    record = _manifest.verification(level, False, 0.0, {"problem": problem})
    _manifest.record(document, record)
    _manifest.write(copy.path, document)
    return record


def prove(
    engine: ModuleType, source: Source, path: str, document: dict[str, t.Any], work: Work, *, fresh: bool = False
) -> dict[str, t.Any]:
    """Climb to `work.level` and record what was found in the manifest `document` and on disk; return the record.

    A copy that is not what its manifest says gets a record with `ok` false; Mismatch when that cannot be written. A proof
    that could not be made raises and leaves no record. With `fresh` the copy was made a moment ago: its checksum was compared, and its key is at hand.
    """

    def climb() -> dict[str, t.Any]:
        if not fresh:
            checksum(path, document["sha256"], document["size_bytes"])
            if work.level != "checksum":
                openable(path, work)
        if work.level == "archive":
            return dict(engine.read(source, path, work))
        if work.level == "restored":
            try:
                return dict(engine.restore(source, path, document["figures"], work))
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                # Figures are whatever stands in the manifest now; what a dump has just made is no excuse.
                if fresh:
                    raise
                raise Mismatch(f"{path}: the figures in its manifest cannot be compared: {error!r}") from error
        return {}

    return _recorded(path, document, work.level, climb)


def prove_bytes(path: str, document: dict[str, t.Any]) -> dict[str, t.Any]:
    """The first step alone, which needs neither engine nor key."""

    def climb() -> dict[str, t.Any]:
        checksum(path, document["sha256"], document["size_bytes"])
        return {}

    return _recorded(path, document, "checksum", climb)


def _recorded(
    path: str, document: dict[str, t.Any], level: str, climb: t.Callable[[], dict[str, t.Any]]
) -> dict[str, t.Any]:
    started = time.monotonic()
    ok = True
    try:
        figures = climb()
    except (Mismatch, _packing.Unreadable) as error:
        ok, figures = False, {"problem": str(error)}
    record = _manifest.verification(level, ok, time.monotonic() - started, figures)
    _manifest.record(document, record)
    try:
        _manifest.write(path, document)
    except RunbookError as error:
        if ok:
            raise
        raise Mismatch(f"{figures['problem']} (which could not be recorded: {error})") from error
    return record


def openable(path: str, work: Work) -> None:
    """The key at hand opens the copy, if it is encrypted; RunbookError when it does not, for that is no fault of the copy."""
    if not path.endswith(_packing.ENCRYPTED):
        return

    def taste(_input: t.IO[bytes], content: t.IO[bytes]) -> None:
        content.read(1)
        forsake(content)

    try:
        work.commands.converse(work.unpack(path)[:1], taste, timeout=work.seconds())
    except CommandFailed as error:
        if error.rc in _PIPE:
            return
        if any(sign in error.stderr.lower() for sign in _NOT_OURS):
            raise RunbookError(
                f"{path}: cannot be decrypted with encryption.identity {work.identity}: {error}. "
                "Name the file with the secret key of one of its recipients."
            ) from error
        if error.rc not in (124, 137):
            raise Mismatch(f"{path}: cannot be decrypted: {error}") from error
        raise


def _forget(path: str) -> None:
    """Ask the kernel to drop its cached pages, so that the disk is read and not the memory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
