# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an engine is, and what it may use.

An engine is a module beside this one with
  OPTIONS    argument spec of its own options; secrets are `no_log`
  EXTENSION  of its copies' names, before that of the compression; a function `extension(source)` besides when it depends
             on the source's options
  check(source, where)            raises InputError for options that cannot be used, fills in defaults that depend on
                                  other options; reads nothing of the host
  preflight(source, work) -> Preflight
                                  looks at the source without changing anything; RunbookError when it cannot be backed up
  programs(source, level) -> list[str]
                                  those that it runs on the host, none for what runs in the source's container; may be
                                  missing where it runs none
  sweep(source, work) -> list[str]
                                  removes what killed runs left outside the backup folder; returns what it removed
  dump(source, partial, work) -> Dump
                                  writes a consistent copy to the file `partial`, which exists and is empty
  read(source, path, work) -> dict
                                  reads the copy `path` to its end; returns figures, raises Mismatch for a broken copy
  restore(source, path, figures, work) -> dict
                                  restores the copy into a scratch place, compares with the `figures` of its dump, cleans
                                  up; returns figures, raises Mismatch for a difference and another RunbookError when
                                  the comparison could not be made

`source` holds the validated options. All raise RunbookError with the thing, the value and the remedy.
"""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _packing
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

if t.TYPE_CHECKING:
    from types import ModuleType

    from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands

Source = t.Mapping[str, t.Any]


def extension(engine: ModuleType, source: Source) -> str:
    """What the names of this source's copies get before the extension of the compression."""
    found: str = engine.extension(source) if hasattr(engine, "extension") else engine.EXTENSION
    return found


class Mismatch(RunbookError):
    """A copy is not what its manifest says: evidence against the copy, in contrast to a proof that could not be made."""


class Preflight(t.NamedTuple):
    """`source_bytes` is what the dump reads at most, `scratch_bytes` what dump or proof need in the backup folder besides."""

    source_bytes: int
    scratch_bytes: int
    versions: dict[str, str]


class Dump(t.NamedTuple):
    """`sha256` of the file as it was written, the figures that a restored copy must have, and what a person should know."""

    sha256: str
    figures: dict[str, t.Any]
    warnings: tuple[str, ...] = ()


class Work(t.NamedTuple):
    """What an engine may use for one source.

    `folder` is where scratch files may lie, `token` is unique to this backup folder and name and stable between runs,
    `level` the verification asked for, `deadline` a time of the monotonic clock or None, `identity` the file with the secret
    key of encrypted copies.
    """

    commands: Commands
    packing: _packing.Packing
    folder: str
    name: str
    token: str
    level: str
    deadline: float | None = None
    identity: str | None = None

    def seconds(self) -> float | None:
        """The time that is left; RunbookError when there is none."""
        if self.deadline is None:
            return None
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise RunbookError(
                "the time limit (limits.seconds) has passed. Raise it, or find out why the source is slow."
            )
        return left

    def unpack(self, path: str) -> list[list[str]]:
        """The pipeline that writes the content of the copy `path` to standard output."""
        return _packing.unpack(path, self.identity)

    def scratch(self, purpose: str) -> str:
        """A path for a temporary file or folder; its name is one that the next run sweeps."""
        return os.path.join(self.folder, f".{self.name}_{purpose}.{os.getpid()}.partial")
